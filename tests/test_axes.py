"""One entry of the table of axes is enough: paths, schemas, records, tables, labels, the page and trackers follow from it."""

import json
import re
from pathlib import Path

import pandas as pd
import project
import pytest
import yaml
from machine import EXPERIMENT, Machine

from trainoff import axes, records
from trainoff.errors import UserError
from trainoff.exchange import bundles, tracking
from trainoff.experiment import checks, plan
from trainoff.workflow import keeping, validity

LATER = axes.Axis("warmth", "Warmth", {"enum": ["cold", "hot"]}, "str", usual="cold", before="cold")
RUN = {
    "device": "cpu",
    "model": "mobilenetv2",
    "batch_size": 32,
    "img_dim": 96,
    "trainable": False,
    "precision": "float32",
    "xla": False,
    "learning_rate": 0.0005,
    "optimizer": "adam",
    "replicate": 1,
    "seed": 0,
}
PATH = (
    "results/runs/cpu/model~mobilenetv2/batch_size~32/img_dim~96/trainable~false/precision~float32/xla~false/"
    "learning_rate~0.0005/optimizer~adam/replicate~1/metrics.json"
)


def test_the_published_schema_of_records_names_every_axis():
    run = json.loads(records.SCHEMA_PATH.read_text())["properties"]["run"]
    assert {name: run["properties"][name] for name in axes.names()} == {
        axis.name: axis.recorded or axis.schema for axis in axes.AXES
    }
    assert set(run["required"]) == {"device", "replicate", "seed"} | {
        axis.name for axis in axes.AXES if axis.before is axes.ABSENT
    }


def test_values_fit_their_wildcards():
    for name, word in plan.wildcards(RUN | {"device": {"name": "cpu"}}).items():
        if name in axes.names():
            assert re.fullmatch(axes.by_name(name).constraint, word)


def test_runs_that_differ_in_one_value_have_different_names():
    """Trackers would write one over the other."""
    other = {"batch_size": 64, "img_dim": 128, "trainable": True, "precision": "mixed_float16", "xla": True}
    other |= {"model": "resnet50", "learning_rate": 0.001, "optimizer": "sgd", "replicate": 2}
    found = {tracking.name({"run": RUN | {key: value}}) for key, value in other.items()} | {tracking.name({"run": RUN})}
    assert len(found) == len(other) + 1


def test_a_later_axis_leaves_earlier_records_as_they_are(monkeypatch, tmp_path):
    monkeypatch.setattr(axes, "AXES", (*axes.AXES, LATER))
    assert axes.complete(RUN)["warmth"] == "cold"
    assert axes.complete(RUN, {"warmth": "hot", "epochs": 4}) == RUN | {"warmth": "hot"}, "it was a setting"
    assert axes.without_later(RUN | {"warmth": "cold"}) == {key: RUN[key] for key in RUN if key != "optimizer"}
    assert axes.default_grid() == {"optimizer": ["adam"], "warmth": ["cold"]}
    now = PATH.replace("/replicate", "/warmth~cold/replicate")
    assert axes.earlier_paths(now) == [PATH, PATH.replace("/optimizer~adam", "")]
    for number, text in enumerate((json.dumps({"run": RUN}), "{", '{"run": "no run"}')):
        old, new = tmp_path / str(number) / PATH, tmp_path / str(number) / now
        old.parent.mkdir(parents=True)
        old.write_text(text)
        keeping.move_to_later_path(str(new).replace("cold", "hot"))
        assert old.exists()
        keeping.move_to_later_path(new)
        assert new.read_text() == text and not old.exists()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_record_in_which_an_axis_was_a_setting_stays_valid(optimizer, tmp_path):
    """Its run does not name the optimizer, its identity does: it moves to the path of that optimizer and is the run there."""
    run = {key: value for key, value in RUN.items() if key != "optimizer"}
    identity = {"dropout": 0.4, "optimizer": optimizer}
    other = "adam" if optimizer == "sgd" else "sgd"
    old = tmp_path / PATH.replace("/optimizer~adam", "")
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps({"run": run, "identity": identity, "status": "ok", "training": {"converged": True}}))
    for name in (other, optimizer):
        keeping.move_to_later_path(tmp_path / PATH.replace("adam", name))
    path = tmp_path / PATH.replace("adam", optimizer)
    wanted = RUN | {"device": {"name": "cpu"}}
    assert validity.judge(path, wanted | {"optimizer": optimizer}, {"dropout": 0.4}).finished
    change = validity.judge(path, wanted | {"optimizer": other}, {"dropout": 0.4}).change
    assert str(change) == f"optimizer {optimizer} → {other}"
    assert validity.words_of_settings(identity) == "dropout=0.4"
    turns = {"run": run, "identity": {"device": identity, "baseline": identity}}
    path.write_text(json.dumps(turns))
    assert records.parse(path)["run"]["optimizer"] == optimizer


def test_a_bundle_from_before_the_optimizer_was_an_axis_is_read_as_what_it_was(tmp_path):
    """Its experiment and its records hold the optimizer as a setting, and their paths do not name it."""
    told = EXPERIMENT | {"training": EXPERIMENT["training"] | {"optimizer": "sgd"}}
    there, here = Machine(tmp_path / "there", ["cuda"], told), Machine(tmp_path / "here", ["cpu"])
    for path in there.metrics:
        record = json.loads(path.read_text())
        del record["run"]["optimizer"]
        software = {"tensorflow": "2.19.1"}
        hashes = {f"{part}_sha256": record["provenance"]["images_sha256"] for part in ("code", "images", "prepared")}
        kept = {key: told["protocol"][key] for key in ("epochs", "images_per_epoch", "warm_up_epochs")}
        kept |= told["training"] | {"software": software}
        path.write_text(json.dumps(record | {"identity": hashes | kept}))
    with pytest.MonkeyPatch.context() as patched:  # as the version of then wrote them
        patched.setattr(records, "parse", lambda path: json.loads(Path(path).read_text()))
        bundle = there.bundle()
    assert not any("optimizer~" in name for name in bundles.read_manifest(bundle)["files"])
    _, runs = here.tables(bundle)
    assert dict(zip(runs["device"], runs["optimizer"], strict=True)) == {"cpu": "adam", "cuda": "sgd"}
    assert runs["settings"].nunique() == 1, "the optimizer is told by the axis"


def test_an_experiment_that_names_the_optimizer_as_a_setting_is_told_where_it_is_now():
    config = yaml.safe_load((project.ROOT / "config.yaml").read_text())
    config["training"]["optimizer"] = "sgd"
    with pytest.raises(UserError, match=r"training.optimizer: is an axis now.*under grid: optimizer: \[sgd\]"):
        checks.check(config, {}, {}, "config.yaml")


ENTRY = """    Axis(
        "warmth", "Warmth", {"enum": ["cold", "hot"]}, "str", text="{} start".format, usual="cold", before="cold"
    ),
)
"""


def test_an_axis_is_one_entry_and_its_use(copy):
    """From train to page and trackers, in a copy whose finished runs stay finished."""
    table, protocol = copy / "scripts/trainoff/axes.py", copy / "scripts/trainoff/measure/protocol.py"
    text = table.read_text()
    before, start, entries = text.partition("\nAXES = (\n")
    table.write_text(before + start + entries.replace("\n)\n", f"\n{ENTRY}", 1))
    assert project.planned(copy).keys() & {"train", "prepare_images", "prepare_weights"} == set()
    protocol.write_text(
        protocol.read_text().replace('seed = run["seed"]', 'seed = run["seed"] + (run["warmth"] == "hot")')
    )
    tiny = project.SMALL | {"grid": project.SMALL["grid"] | {"warmth": ["cold", "hot"], "trainable": [False]}}
    tiny |= {"trackers": {"tensorboard": True}}
    (copy / "tiny.yaml").write_text(json.dumps(tiny))
    done = project.snakemake(copy)
    assert done.returncode == 0, done.stdout
    runs = pd.read_csv(copy / "results/tables/runs.csv")
    assert sorted(runs["warmth"]) == ["cold", "hot"]
    assert set(pd.read_csv(copy / "results/tables/comparison.csv").columns) >= {"warmth"}
    assert "Warmth" in (copy / "results/report.html").read_text()
    assert "hot start" in (copy / "results/report.html").read_text()
    assert len(list((copy / "results/trackers/tensorboard").rglob("*tfevents*"))) == 2
