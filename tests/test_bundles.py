"""Bundles: another machine gets exactly what was measured here, once."""

import getpass
import json
import random
import shutil
import socket
import zipfile
from pathlib import Path

import pytest
import synthetic
from fuzz import record as records_of
from machine import EXPERIMENT, Machine, entry, rewritten

from trainoff import records, windows
from trainoff.analyze import reasons
from trainoff.errors import UserError
from trainoff.exchange import bundles, claims, merging


def test_two_machines_that_exchange_bundles_get_the_same_tables(here, there):
    mine, runs = here.tables(there.bundle())
    theirs, _ = there.tables(here.bundle())
    for name in ("rates", "comparison", "overall"):
        assert mine[name] == theirs[name], name
    assert set(runs["device"]) == {"cpu", "cuda", "v100"}
    assert set(runs.loc[runs["device"] == "cpu", "origin"]) == {"local"}
    (origin,) = set(runs.loc[runs["device"] != "cpu", "origin"])
    assert bundles.read_manifest(there.folder / "bundle.zip")["id"].startswith(origin)
    assert b"faster" in mine["comparison"]


def test_failed_runs_come_with_the_end_of_their_logs(here, there):
    _, runs = here.tables(there.bundle())
    (failed,) = runs[runs["status"] == "crashed"].to_dict("records")
    assert failed["device"] == "cuda" and "SIGSEGV" in failed["reason"]
    metrics = here.folder.parent / failed["metrics"]
    assert metrics.with_name("train.log").read_text() == "made up\n"
    assert json.loads(metrics.read_text())["failure"]["log_tail"]


def test_the_same_content_gives_the_same_bytes(here):
    assert here.bundle("one.zip").read_bytes() == here.bundle("two.zip").read_bytes()


def test_the_same_run_twice_counts_once(here, there):
    _, once = here.tables(there.bundle())
    shutil.copy(there.folder / "bundle.zip", there.folder / "copy.zip")
    later = Machine(there.folder, ["cuda", "v100", "t4"], failures={2: "crashed"}).bundle("later.zip")
    _, runs = here.tables(there.folder / "bundle.zip", there.folder / "copy.zip", later, here.bundle())
    assert len(runs) == len(once) + 6
    assert not runs.duplicated(["device", "trainable", "replicate"]).any()


def test_a_changed_run_is_refused_and_both_files_are_named(here, there):
    first = there.bundle("first.zip")
    for path in there.metrics:
        record = json.loads(path.read_text())
        record["windows"] = [window | {"seconds": window["seconds"] * 2} for window in record["windows"]]
        path.write_text(json.dumps(record | {"throughput": windows.summarize(record["windows"])}))
    with pytest.raises(UserError, match="same run of the same machine with different results") as refused:
        here.tables(first, there.bundle("second.zip"))
    assert "first.zip" in str(refused.value) and "second.zip" in str(refused.value)


def test_an_own_run_that_comes_back_changed_is_refused(here):
    path = here.bundle()
    record = json.loads(here.metrics[0].read_text())
    here.metrics[0].write_text(json.dumps(record | {"cold_start": dict.fromkeys(record["cold_start"], 1.0)}))
    with pytest.raises(UserError, match="different results") as refused:
        here.tables(path)
    assert str(here.metrics[0]) in str(refused.value)


def test_nobody_else_speaks_for_this_machine(here, tmp_path):
    """A bundle that claims to come from this folder, with runs that are not here."""
    liar = Machine(tmp_path / "liar", ["cpu", "cuda"], seed=9)
    origin = bundles.origin_of(here.folder / ".origin")
    path = rewritten(liar.bundle(), manifest=lambda content: content | {"origin": origin})
    with pytest.raises(UserError, match="no such run|different results"):
        here.tables(path)
    alone = Machine(tmp_path / "alone", ["v100"])
    path = rewritten(alone.bundle(), manifest=lambda content: content | {"origin": origin})
    with pytest.raises(UserError, match="claims to come from this project folder .* but this folder has no such run"):
        here.tables(path)


@pytest.mark.parametrize("place, known", [("results/studies/2026/one", True), ("results/imported/0123", False)])
def test_a_run_of_another_experiment_here_is_found_however_deep_its_results_are(
    here, tmp_path, monkeypatch, place, known
):
    other = Machine(tmp_path / "other", ["cuda"])
    for record in other.records:
        folder = tmp_path / place / bundles.run_folder(record["run"])
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(record))
    origin = bundles.origin_of(here.folder / ".origin")
    path = rewritten(other.bundle(), manifest=lambda content: content | {"origin": origin})
    monkeypatch.chdir(tmp_path)
    if known:
        assert set(here.tables(path)[1]["device"]) == {"cpu", "cuda"}
    else:
        with pytest.raises(UserError, match="this folder has no such run"):
            here.tables(path)


def test_a_copied_folder_takes_a_name_of_its_own(here, tmp_path):
    origin = bundles.origin_of(here.folder / ".origin")
    assert bundles.origin_of(here.folder / ".origin") == origin
    shutil.copytree(here.folder, tmp_path / "copy")
    assert bundles.origin_of(tmp_path / "copy/.origin") != origin
    (tmp_path / "old").write_text("0123abcd\n")
    assert bundles.origin_of(tmp_path / "old") == bundles.origin_of(tmp_path / "old") == "0123abcd"


def test_one_origin_with_two_chips_is_refused(here, tmp_path):
    first = Machine(tmp_path / "first", ["cuda"])
    second = Machine(tmp_path / "second", ["cuda"], seed=3)
    origin = bundles.read_manifest(first.bundle())["origin"]

    def other_chip(content):
        devices = [device | {"chip": "Another chip"} for device in content["devices"]]
        return content | {"origin": origin, "devices": devices}

    def of_record(name, data):
        return data.replace(b'"name":"CUDA"', b'"name":"Another chip"')

    path = rewritten(second.bundle(), change=of_record, manifest=other_chip)
    with pytest.raises(UserError, match="one project folder .* CUDA in one and Another chip in the other"):
        here.survey(first.folder / "bundle.zip", path)
    path = rewritten(second.bundle(), manifest=other_chip)
    with pytest.raises(UserError, match="it ran on CUDA, its bundle lists Another chip"):
        here.tables(path)


CLAIMS = {
    "throughput": (("throughput", "images_per_second"), 1e5),
    "accuracy": (("training", "final_val_accuracy"), 0.999),
    "epochs": (("training", "epochs"), 3),
    "converged": (("training", "converged"), None),
    "energy": (("energy", "joules_per_image"), 1e-3),
    "power": (("energy", "mean_watts"), 1.0),
    "epoch twice": (("windows", 2, "epoch"), 2),
    "time": (("windows", 2, "seconds"), 0.5),
    "impossible time": (("windows", 2, "seconds"), 1e-300),
    "impossible energy": (("windows", 2, "energy_joules"), 1e300),
    "end before start": (("provenance", "finished_at"), "2025-12-31T00:00:00Z"),
    "future": (("provenance", "finished_at"), "9999-01-01T00:00:00Z"),
    "learning rate": (("training", "attempts", 0, "learning_rate"), 0.1),
    "outcome": (("training", "attempts", 0, "outcome"), "crashed"),
    "long text": (("host", "os"), "x" * 6000),
    "device of another line": (("run", "device"), "cuda\n"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_that_its_epochs_contradict_is_refused(claim):
    record = next(
        record
        for record in synthetic.records([{"name": "cuda"}], synthetic.SMALL_GRID)
        if record["training"]["converged"]
    )
    synthetic.add_energy([record], "cuda", 240.0, "nvml", "gpu", idle_watts=40.0)
    records.check(record, "here")
    claims.check(record, "here")
    (*parents, last), value = CLAIMS[claim]
    part = record
    for key in parents:
        part = part[key]
    part[last] = value
    with pytest.raises(UserError, match="here: "):
        records.check(record, "here")
        claims.check(record, "here")


def test_any_digit_altered_in_a_record_is_refused_or_changes_only_what_it_says():
    draw = random.Random(5)
    record = records_of.ORIGINALS[0]
    text, refused = json.dumps(record), 0
    for _ in range(60):
        changed = records_of.with_one_digit(draw, text)
        try:
            parsed = bundles.parsed(changed.encode(), "here")
            records.check(parsed, "here")
            claims.check(parsed, "here")
        except UserError:
            refused += 1
            continue
        for part, key in (
            ("throughput", "images_per_second"),
            ("training", "final_val_accuracy"),
            ("energy", "joules_per_image"),
        ):
            assert parsed[part][key] == pytest.approx(record[part][key], rel=1e-5)
    assert refused > 3


def test_what_nothing_known_comes_near_is_marked_implausible(here, tmp_path):
    fast = Machine(tmp_path / "fast", ["cuda"])
    for path in fast.metrics:
        record = json.loads(path.read_text())
        for window in record["windows"]:
            window["seconds"] /= 1e5
        path.write_text(json.dumps(record | {"throughput": windows.summarize(record["windows"])}))
    _, runs = here.tables(fast.bundle())
    marked = runs[runs["implausible"].notna()]
    assert set(marked["device"]) == {"cuda"} and set(marked["implausible"]) == {reasons.reason("beyond_speed")}


def test_two_machines_with_the_same_device_name_stay_two_devices(here, tmp_path):
    other = Machine(tmp_path / "other", ["cpu"], seed=5)
    survey = here.survey(other.bundle())
    origin = bundles.origin_of(other.folder / ".origin")
    assert [device["name"] for device in survey.devices] == ["cpu", f"cpu@{origin}"]
    assert len({device["label"] for device in survey.devices}) == 2
    tables, runs = here.tables(other.folder / "bundle.zip")
    assert set(runs["device"]) == {"cpu", f"cpu@{origin}"}
    assert f"cpu@{origin},cpu".encode() in tables["comparison"]


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda record: record | {"protocol_version": 2}, "protocol"),
        (lambda record: _provenance(record, dataset_sha256="0" * 64), "dataset"),
        (lambda record: _provenance(record, images_sha256="0" * 64), "images"),
        (lambda record: _provenance(record, weights_sha256="0" * 64), "weights"),
        (None, "settings"),
    ],
)
def test_other_work_is_not_compared_and_the_reason_is_said(here, tmp_path, change, reason):
    training = EXPERIMENT | {"training": EXPERIMENT["training"] | {"dropout": 0.4 if change else 0.2}}
    other = Machine(tmp_path / "other", ["cuda"], training)
    for path in other.metrics if change else []:
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    tables, _ = here.tables(other.bundle())
    comparison = tables["comparison"].decode()
    assert f'""code"": ""other_work"", ""what"": ""{reason}""' in comparison and "faster" not in comparison


def _provenance(record, **values):
    return record | {"provenance": record["provenance"] | values}


PRIVATE_EXPERIMENT = EXPERIMENT | {
    "devices": [entry("cpu") | {"slurm": {"account": "alice"}}],
    "trackers": {"wandb": {"project": "x", "entity": "alice"}},
    "energy": {"wall_meters": [{"file": "/scratch/alice/meter.csv", "devices": ["cpu"]}]},
}


def test_a_bundle_tells_no_user_no_host_no_home_and_no_secret(tmp_path, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")
    monkeypatch.setattr(socket, "gethostname", lambda: "node7.lab.example")
    monkeypatch.setenv("HOME", "/data/homes/alice")
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "wJalr/home/K7MDENG+bPx",
        "WANDB_API_KEY": "0a1b2c3d4e5f",
        "my_password": "hunter22",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    machine = Machine(tmp_path / "here", ["cpu"], PRIVATE_EXPERIMENT, failures={0: "crashed"})
    record = json.loads(machine.metrics[0].read_text())
    words = f"File /data/homes/alice/x.py, /home/bob/y.py, /Users/carol/z, {Path.cwd()}/main.py: alice has no right"
    lines = [words, "alice@node7.lab.example, node7: no space", *(f"{name}={value}" for name, value in secrets.items())]
    record["failure"] |= {"message": " ".join(lines), "log_tail": lines}
    record["device"]["driver"] = "/home/bob/driver.so"
    machine.metrics[0].write_text(json.dumps(record))
    machine.metrics[0].with_name("train.log").write_text("\n".join(["old"] * 1000 + lines))
    path = machine.bundle()
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name).decode() for name in archive.namelist()}
    text = "".join([*content, *content.values(), path.read_bytes().decode("latin-1")])
    for secret in ("alice", "bob", "carol", "node7", str(Path.cwd()), *secrets.values()):
        assert secret not in text, secret
    assert (
        "cifar.tar.gz" in text
        and "~/x.py" in text
        and "user has no right" in text
        and "<user>@<host>, host: no" in text
    )
    assert text.count("WANDB_API_KEY=<secret>") == 3, "the words around a secret stay: message, its log, the record's"
    assert text.count("old") < 200


def test_a_small_sweep_makes_a_small_bundle(here):
    assert here.bundle().stat().st_size < 3000 * len(here.metrics)


def test_where_bundles_are_looked_for(here, there, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert merging.find(["imports"]) == []
    folder = tmp_path / "imports"
    folder.mkdir()
    shutil.copy(there.bundle(), folder / "b.zip")
    (folder / "notes.txt").write_text("not a bundle")
    assert merging.find(["imports", "imports/b.zip"]) == ["imports/b.zip"]
    with pytest.raises(UserError, match="no file or folder elsewhere"):
        merging.find(["elsewhere"])
    with pytest.raises(UserError, match="the list is empty"):
        merging.survey([], [], entry("cpu"), tmp_path / ".origin")
    assert {device["name"] for device in merging.survey(["imports"], [], entry("cpu"), tmp_path / "o").devices} == {
        "cuda",
        "v100",
    }


# Untrusted archives
