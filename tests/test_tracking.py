"""Trackers log finished runs exactly as their records say, and cannot stop a sweep."""

import io
import json
import socket
import sys
from pathlib import Path

import pytest
import synthetic
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import track_tensorboard
import track_wandb
from trainoff.exchange import tracking


@pytest.fixture
def metrics(tmp_path):
    """Paths of the metrics of four synthetic runs, one of them failed, one with energy."""
    records = synthetic.records(synthetic.DEVICES[:2], synthetic.SMALL_GRID, failures={1: "crashed"})
    for window in records[0]["windows"]:
        window["energy_joules"] = 2.0 * window["images"]
    return synthetic.write(tmp_path, records)


def written(output):
    return json.loads(Path(output).read_text())


def test_tensorboard_reads_what_the_records_say(metrics, tmp_path):
    output = tmp_path / "tensorboard.json"
    track_tensorboard.main(metrics, output, io.StringIO())
    files = list(written(output)["runs"].values())
    assert len(set(files)) == 4 and written(output)["reason"] is None
    record = json.loads(metrics[0].read_text())
    events = EventAccumulator(files[0]).Reload()
    losses = {event.step: event.value for event in events.Scalars("loss")}
    assert losses == {window["epoch"]: pytest.approx(window["loss"]) for window in record["windows"]}
    watts = [event.value for event in events.Scalars("hardware/watts")]
    assert watts == pytest.approx([2 * window["images"] / window["seconds"] for window in record["windows"]])
    (result,) = events.Scalars("result/images_per_second")
    assert result.value == pytest.approx(record["throughput"]["images_per_second"])
    assert "_hparams_/session_start_info" in events.summary_metadata
    assert socket.gethostname() not in Path(files[0]).name


def test_the_same_records_give_the_same_event_files(metrics, tmp_path):
    paths = [track_tensorboard.write(json.loads(metrics[0].read_text()), tmp_path / name) for name in "ab"]
    assert Path(paths[0]).read_bytes() == Path(paths[1]).read_bytes()


@pytest.mark.parametrize("module, tracker", [("tensorboard", track_tensorboard), ("wandb", track_wandb)])
def test_a_tracker_that_is_not_installed_costs_one_warning(metrics, tmp_path, monkeypatch, module, tracker):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    terminal, output = io.StringIO(), tmp_path / "out.json"
    settings = ["project", None, "offline"] if tracker is track_wandb else []
    tracker.main(metrics, *settings, output, terminal)
    assert terminal.getvalue().count("0 of 4 runs were written") == 1
    assert "The results are complete without it." in terminal.getvalue()
    assert "is not installed" in written(output)["reason"]


def test_weights_and_biases_offline_holds_the_runs_and_nothing_of_this_machine(metrics, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="locks/install.sh dev installs it")
    monkeypatch.setattr(socket, "gethostname", lambda: "name-of-this-machine")
    monkeypatch.setenv("WANDB_MODE", "online")  # the experiment overrides the environment
    output, terminal = tmp_path / "trackers/wandb.json", io.StringIO()
    track_wandb.main(metrics, "a-project", None, "offline", output, terminal)
    assert written(output)["reason"] is None, terminal.getvalue()
    folders = sorted(tmp_path.glob("trackers/wandb/offline-run-*"))
    assert len(folders) == 4
    record = json.loads(metrics[0].read_text())
    (folder,) = [path for path in folders if path.name.endswith(tracking.identity(record))]
    content = next(folder.glob("*.wandb")).read_bytes()
    for words in ("images_per_second", "hardware/watts", "val_accuracy", "mobilenetv2", "a-project"):
        assert words.encode() in content, words
    assert b"name-of-this-machine" not in content
    assert not list(folder.glob("files/*")), "packages or hardware of this machine"

    track_wandb.main(metrics, "a-project", None, "offline", output, terminal)
    assert len(list(tmp_path.glob("trackers/wandb/offline-run-*"))) == 4, "a run was logged twice"


def test_a_run_that_is_trained_again_is_another_run():
    record = synthetic.records(synthetic.DEVICES[:1], synthetic.SMALL_GRID)[0]
    again = {**record, "provenance": record["provenance"] | {"started_at": "2026-02-02T00:00:00Z"}}
    assert tracking.identity(record) != tracking.identity(again)
    assert tracking.name(record) == tracking.name(again)
