"""The benchmarks measure what they say; how fast anything is, is theirs to tell and not asserted here."""

import json
import os
import sys

import pytest
from project import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import false_alarms
import harness
import real_turns
import train_job


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", "tensorflow")
    return tmp_path


@pytest.mark.slow
def test_every_lane_trains_in_turns(in_folder):
    (run,) = harness.runs_to_measure("cpu", "one")
    run |= {"img_dim": 32, "batch_size": 16, "images_per_epoch": 32}
    paths = harness.in_new_process("prepare.log", harness.prepare, run, in_folder / "data")
    rates = harness.in_new_process("measure.log", harness.measure_input_paths, run, paths, 0, 2)
    assert set(rates) == {"ours", "bare_fit", "descendants"}
    assert all(len(windows) == 2 and min(windows) > 0 for windows in rates.values())


def test_a_failure_in_a_process_of_its_own_ends_the_benchmark_and_names_the_log(in_folder):
    with pytest.raises(SystemExit, match="measure.log"):
        harness.in_new_process("measure.log", harness.measure_input_paths, {}, {}, 1, 1)
    assert "KeyError" in (in_folder / "measure.log").read_text()


def test_a_bound_is_missed_only_when_the_whole_interval_lies_below_it():
    rates = {"ours": [97, 97, 96, 97, 98, 97], "bare_fit": [100] * 6, "descendants": [100, 96, 100, 96, 100, 96]}
    ratios = harness.ratios_of(rates)
    assert ratios["ours / bare fit"]["median"] == 0.97
    assert ratios["ours / bare fit"]["verdict"] == "missed"
    assert ratios["ours / descendants"]["low"] < 1 < ratios["ours / descendants"]["high"]
    assert ratios["ours / descendants"]["verdict"] == "unsettled"
    assert harness.ratios_of(rates | {"bare_fit": [98] * 6})["ours / bare fit"]["verdict"] == "met"
    assert "MISSED" in harness.table([{"configuration": "c", "ratios": ratios}])


def test_the_default_experiment_is_measured_whole():
    runs = harness.runs_to_measure("cpu", "default")
    assert len(runs) == 8
    assert len({(run["batch_size"], run["img_dim"], run["trainable"]) for run in runs}) == 8


def test_a_jobs_cost_leaves_out_the_training():
    def record(started, finished):
        return {
            "cold_start": {"import_seconds": 4.0, "build_seconds": 1.0, "first_step_seconds": 3.0},
            "windows": [{"seconds": 2.0, "validation_seconds": 0.5}, {"seconds": 2.0, "validation_seconds": 0.25}],
            "provenance": {
                "started_at": f"2026-01-01T00:{started}+00:00",
                "finished_at": f"2026-01-01T00:{finished}+00:00",
            },
        }

    found = train_job.costs([record("00:02.000", "00:15.750"), record("00:16.500", "00:29.750")], sweep_seconds=30)
    assert found == {"script": [1.0, 0.5], "between": [0.75], "job": 1.5, "sweep": 2.25}


def test_false_alarms_are_counted_at_the_size_of_the_experiments():
    assert false_alarms.size_of("config.yaml") == (8, 1, 3)
    assert false_alarms.size_of("presets/wandb-study.yaml") == (8, 3, 9)


def test_real_turns_are_counted_by_their_known_difference():
    def experiment(more, verdict, low, high, status="ok"):
        found = {"more": more, "seconds": 120.0, "status": status, "verdict": verdict, "low": low, "high": high}
        return found | {"pairs": 20, "sessions": [1.0, 1.0], "log_ratios": [[0.0, 0.1], [0.0, 0.1]]}

    told = real_turns.summary(
        [
            experiment(0.0, "equivalent", 0.97, 1.03),
            experiment(0.0, "faster", 1.01, 1.05),
            experiment(0.05, "undecided", 0.99, 1.08),
            experiment(0.05, "undecided", None, None, status="crashed"),
        ]
    )
    assert (told["0"]["faster"], told["0"]["equivalent"], told["0"]["interval_holds_the_truth"]) == (1, 1, 1)
    assert (told["0.05"]["experiments"], told["0.05"]["failed"], told["0.05"]["undecided"]) == (1, 1, 1)
    assert told["0"]["sessions"] == 4 and told["0"]["median_minutes"] == 2.0


def test_a_side_with_more_to_do_counts_less_than_it_trains(monkeypatch):
    def begin(side, name, run, files, log, timeout_minutes, folder, slice_seconds):
        side.name, side.slice_seconds = name, slice_seconds

    base = real_turns.turning.Side
    monkeypatch.setattr(base, "__init__", begin)
    monkeypatch.setattr(base, "wait_until_ready", lambda side: setattr(side, "steps", 21))
    monkeypatch.setattr(base, "slices", lambda side: [{"images": 210, "seconds": 2.0}])
    loaded = type("Side", (real_turns.Loaded,), {"more": 0.05})
    device, baseline = (loaded(name, {}, {}, "log", 1, "folder", 2.0) for name in ("device", "baseline"))
    for side in (device, baseline):
        side.wait_until_ready()
    assert (device.steps, device.slices()[0]["images"], device.slice_seconds) == (21, 210, 2.0)
    assert baseline.steps == 20 and baseline.slices()[0]["images"] == pytest.approx(200)
    assert baseline.slice_seconds == pytest.approx(2.1), "as many counted steps as the other side"


@pytest.mark.slow
def test_data_of_ones_own_is_prepared_and_trained_in_turns_with_the_archive(in_folder, monkeypatch):
    import own_data

    monkeypatch.setattr(sys, "argv", ["own_data.py", "--images", "700", "--photos", "20", "--minutes", "0"])
    own_data.main()  # its exit status depends on what else this machine does
    found = json.loads((in_folder / "results/benchmarks/own_data.json").read_text())
    assert {name: facts["images"] for name, facts in found["prepared"].items()} == {"images": 700, "photos": 20}
    assert all(facts["seconds"] > 0 and facts["idle_cores"] >= 0 for facts in found["prepared"].values())
    assert len(found["training"]["ratio"]["pairs"]) >= harness.LEAST_PAIRS and found["training"]["ratio"]["median"] > 0
