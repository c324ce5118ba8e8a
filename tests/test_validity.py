"""Is a record still the run that is wanted? Every key counts as it should, and no damage passes for a finished run."""

import copy

import pytest
import synthetic
from project import ROOT

from trainoff import records
from trainoff.errors import UserError
from trainoff.experiment import plan
from trainoff.workflow import announcing, keeping, validity

MODELS = {"mobilenetv2": {"application": "MobileNetV2", "module": "mobilenet_v2"}}
CONFIG = {
    "title": "T",
    "seed": 0,
    "replicates": 1,
    "deterministic": False,
    "dataset": {"name": "digits"},
    "images": {"train": 1280, "validation": 320},
    "weights": "random",
    "grid": {
        "model": ["mobilenetv2"],
        "batch_size": [32],
        "img_dim": [96],
        "trainable": [True],
        "precision": ["float32"],
        "xla": [False],
        "learning_rate": [0.0005],
        "optimizer": ["adam"],
    },
    "training": {"dropout": 0.4, "learning_rate_decay": None, "batch_norm_momentum": 0.9, "on_divergence": None},
    "protocol": {"epochs": 4, "images_per_epoch": 640, "warm_up_epochs": 1, "timeout_minutes": 60},
}
DEVICE = {"name": "cpu", "backend": "tensorflow", "accelerator": "cpu", "index": 0, "threads": None, "grid": {}}
FACTS = {"images_sha256": "a" * 64, "prepared_sha256": "b" * 64}
VERSIONS = {"tensorflow": "2.19.1", "keras": "3.15.1"}
LOWER_RATE = {"attempts": 1, "reduce_learning_rate": 0.5}


def wanted_of(config=CONFIG, code="c" * 64, versions=VERSIONS, facts=FACTS):
    """(run, identity) that an experiment of one run wants."""
    run = plan.training(plan.runs(config, [DEVICE])[0], config, MODELS)
    data = {"archive_sha256": None, "weights_file_sha256": None}
    return run, validity.identity(run, config, data, code, versions) | facts


def record_of(status="ok", converged=True):
    run, identity = wanted_of()
    record = copy.deepcopy(synthetic.records([{"name": "cpu"}])[0])
    record["run"] = {key: "cpu" if key == "device" else run[key] for key in records.RUN_KEYS}
    record["status"] = status
    record["training"]["converged"] = converged
    record["identity"] = validity.of_record(identity, FACTS, {"tensorflow": "2.19.1+cpu", "keras": "3.15.1"})
    return record


def changed(section, **values):
    return CONFIG | {section: CONFIG[section] | values}


def test_a_record_is_the_run_it_was_made_for():
    assert validity.first_change(record_of(), *wanted_of()) is None


@pytest.mark.parametrize(
    "config, words",
    [
        (changed("training", dropout=0.1), "dropout 0.4 → 0.1"),
        (changed("training", learning_rate_decay={"rate": 0.96, "steps": 10}), "learning_rate_decay null → {"),
        (changed("protocol", epochs=5), "epochs 4 → 5"),
        (changed("images", train=640), "images.train 1280 → 640"),
        (CONFIG | {"deterministic": True}, "deterministic false → true"),
        (CONFIG | {"seed": 3}, "seed 0 → 3"),
        (CONFIG | {"dataset": {"name": "cifar10"}}, "dataset digits → cifar10"),
        (CONFIG | {"weights": "mine.h5"}, "weights random → file"),
        (changed("grid", batch_size=[64]), "batch_size 32 → 64"),
    ],
)
def test_another_setting_is_another_run_and_says_which(config, words):
    assert str(validity.first_change(record_of(), *wanted_of(config))).startswith(words)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"code": "d" * 64}, "the measured code ccccccccccc… → ddddddddddd…"),
        ({"versions": VERSIONS | {"tensorflow": "2.20.0"}}, "tensorflow 2.19.1+cpu → 2.20.0"),
        ({"facts": FACTS | {"images_sha256": "e" * 64}}, "the prepared images aaaaaaaaaaa…"),
        ({"facts": FACTS | {"prepared_sha256": "e" * 64}}, "the prepared weights"),
    ],
)
def test_other_code_data_or_versions_are_another_run(change, words):
    assert str(validity.first_change(record_of(), *wanted_of(**change))).startswith(words)


def test_a_run_that_a_job_of_a_killed_start_finishes_is_taken_over_if_it_is_the_one_wanted(tmp_path):
    run, identity = wanted_of(facts={})
    path = tmp_path / "metrics.json"
    assert keeping.finished_meanwhile(path, run, identity, FACTS) is None
    records.write(tmp_path / keeping.KEPT, record_of())
    assert keeping.finished_meanwhile(path, run, identity, FACTS) == record_of()
    assert keeping.finished_meanwhile(path, run, identity, FACTS | {"images_sha256": "e" * 64}) is None
    assert keeping.finished_meanwhile(path, run, identity | {"dropout": 0.1}, FACTS) is None
    (tmp_path / keeping.KEPT).write_text("{")
    assert keeping.finished_meanwhile(path, run, identity, FACTS) is None


def test_a_record_is_never_without_its_copy_while_another_start_may_delete_it(tmp_path):
    path, kept = tmp_path / "metrics.json", tmp_path / keeping.KEPT
    kept.write_text("record")
    keeping.restore_kept(path, alone=False)
    assert path.read_text() == kept.read_text() == "record"
    keeping.restore_kept(path, alone=True)
    assert path.read_text() == "record" and not kept.exists()
    keeping.restore_kept(path)
    assert path.read_text() == "record"


def test_what_is_not_there_to_compare_with_changes_nothing():
    """Images that were not prepared yet, packages that are not installed, keys written in another order."""
    assert validity.first_change(record_of(), *wanted_of(facts={})) is None
    assert validity.first_change(record_of(), *wanted_of(versions={"tensorflow": None, "keras": None})) is None
    backwards = CONFIG | {"training": dict(reversed(CONFIG["training"].items()))}
    assert validity.first_change(record_of(), *wanted_of(backwards)) is None


@pytest.mark.parametrize(
    "status, converged, config, again",
    [
        ("ok", True, changed("protocol", warm_up_epochs=2), False),
        ("ok", True, changed("training", on_divergence=LOWER_RATE), False),
        ("ok", False, changed("training", on_divergence=LOWER_RATE), True),
        ("diverged", False, changed("training", on_divergence=LOWER_RATE), True),
        ("ok", True, changed("protocol", timeout_minutes=90), False),
        ("crashed", None, changed("protocol", timeout_minutes=90), False),
        ("timed_out", None, changed("protocol", timeout_minutes=90), True),
        ("timed_out", None, changed("protocol", timeout_minutes=30), False),
    ],
)
def test_some_keys_count_for_some_ends_alone(status, converged, config, again):
    assert bool(validity.first_change(record_of(status, converged), *wanted_of(config))) is again


@pytest.mark.parametrize("key", sorted(record_of()["identity"]))
def test_no_part_of_an_identity_can_be_missing_without_notice(key):
    record = record_of(status="timed_out", converged=False)
    run, wanted = wanted_of()
    del record["identity"][key]
    assert bool(validity.first_change(record, run, wanted | {"timeout_minutes": 90})) is True
    if key != "timeout_minutes":
        assert bool(validity.first_change(record, run, wanted)) is (key != "warm_up_epochs")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"run": {}}', '{"run": 1}', "[" * 100_000, "\xff"])
def test_rubbish_is_never_finished(text, tmp_path):
    path = tmp_path / "metrics.json"
    path.write_bytes(text.encode("latin-1"))
    verdict = validity.judge(path, *wanted_of())
    assert not verdict.finished and verdict.change


def test_a_record_of_an_earlier_version_is_compared_as_far_as_it_goes():
    run, wanted = wanted_of()
    old = record_of()
    del old["identity"]
    old["windows"] = [{"epoch": epoch, "images": 640, "warm_up": epoch == 1} for epoch in range(1, 5)]
    old["software"] = VERSIONS
    old["provenance"] |= FACTS | {"config_sha256": validity.old_config_sha256(run, 10)}
    assert validity.first_change(old, run, wanted) is None
    for config, words in [
        (changed("training", dropout=0.1), "settings of which the record holds only a hash"),
        (changed("protocol", epochs=5), "epochs 4 → 5"),
        (changed("protocol", images_per_epoch=320), "images_per_epoch 640 → 320"),
    ]:
        assert str(validity.first_change(old, *wanted_of(config))) == words
    assert validity.first_change(old, *wanted_of(changed("protocol", warm_up_epochs=2))) is None
    assert "tensorflow" in str(validity.first_change(old, *wanted_of(versions=VERSIONS | {"tensorflow": "2.20.0"})))
    (line,) = announcing.plan_lines([validity.Verdict(True, old=True)])
    assert "1 finished run kept" in line and "the measured code" in line


def test_the_plan_counts_runs_by_what_changed():
    change = validity.Change("dropout", "0.4", "0.1")
    verdicts = [validity.Verdict(False, change)] * 3 + [validity.Verdict(True), validity.Verdict(False)]
    assert announcing.plan_lines(verdicts) == ["3 finished runs will be trained again: dropout 0.4 → 0.1"]


def test_entries_that_nothing_uses_are_named_at_the_start():
    runs = [wanted_of()[0] | {"device": {"name": "cpu"}, "batch_size": size} for size in (16, 32)]
    entry = {"devices": ["cpu"], "configuration": {"batch_size": 32}, "replicates": 3}
    config = {"more_replicates": [entry], "money": {"prices": {"cpu": "v100"}}}
    assert announcing.unused_lines(config, runs, {"cpu"}) == []
    wrong = [entry | {"devices": ["cpuu"]}, entry | {"configuration": {"batch_size": 64}}]
    lines = announcing.unused_lines(
        {"more_replicates": wrong * 3, "money": {"prices": {"cpuu": "v100"}}}, runs, {"cpu"}
    )
    assert "['cpuu']" in lines[0] and "'batch_size': 64" in lines[1] and "adds no run" in lines[1]
    assert lines[3] == "more_replicates: 3 more entries add no run here."
    assert (
        lines[4] == "money.prices.cpuu: no device here has this name (did you mean cpu?), so its prices are not used."
    )


def test_superseded_records_keep_their_place_and_never_meet(tmp_path):
    path = tmp_path / "runs/cpu/replicate~1/metrics.json"
    folders = []
    for text in ("first", "second"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "train.log").write_text(f"log of the {text}")
        keeping.keep_replaced(path)
        path.unlink()
        folders.append(keeping.supersede(path, tmp_path))
    assert [(folder / "metrics.json").read_text() for folder in folders] == ["first", "second"]
    assert [(folder / "train.log").read_text() for folder in folders] == ["log of the first", "log of the second"]
    assert folders[0].parent == folders[1].parent == tmp_path / "superseded/runs/cpu/replicate~1"
    assert keeping.supersede(path, tmp_path) is None


def test_pins_of_an_environment_are_read_with_extras_and_markers():
    text = (ROOT / "envs/tensorflow-cuda.yaml").read_text()
    assert validity.pinned_versions(DEVICE, text) == VERSIONS
    jax = DEVICE | {"backend": "jax", "accelerator": "cuda"}
    versions = validity.pinned_versions(jax, (ROOT / "envs/jax-cuda.yaml").read_text())
    assert set(versions) == {"jax", "jaxlib", "keras", "jax-cuda12-plugin"} and None not in versions.values()


def test_tables_mark_warm_up_as_the_experiment_has_it_and_refuse_other_runs(tmp_path):
    wanted = {
        "results": str(tmp_path),
        "made_from": [{}, {"mobilenetv2": {}}],
        "config": changed("protocol", warm_up_epochs=2),
        "devices": [DEVICE],
        "networks": MODELS,
        "identities": {"cpu": {"mobilenetv2": wanted_of(facts={})[1]}},
    }
    ready, record = validity.requirement(wanted), record_of()
    ready(0, "metrics.json", record)
    assert [window["warm_up"] for window in record["windows"]][:3] == [True, True, False]
    assert "dropout=0.4" in record["settings"] and "warm_up_epochs=2" in record["settings"]
    record["identity"]["dropout"] = 0.1
    with pytest.raises(UserError, match="metrics.json: is not the run that is wanted: dropout 0.1 → 0.4"):
        ready(0, "metrics.json", record)


def test_what_is_not_installed_computes_nothing_again(tmp_path):
    path = tmp_path / "probe.json"
    versions = {"torch": None, "keras": "3.15.1"}
    assert validity.versions_or_recorded(versions, path) == versions, "there is no probe yet"
    path.write_text('{"software": {"torch": "2.13.0", "keras": "3.14.0"}}')
    assert validity.versions_or_recorded(versions, path) == {"torch": "2.13.0", "keras": "3.15.1"}
    assert validity.versions_or_recorded({"torch": "2.14.0"}, path) == {"torch": "2.14.0"}
    path.write_text("[]")
    assert validity.versions_or_recorded(versions, path) == versions
