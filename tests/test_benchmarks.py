"""The benchmarks measure what they say; how fast anything is, is theirs to tell and not asserted here."""

import json
import os
import sys

import false_alarms
import harness
import pytest
import train_job
import turns


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

    result = train_job.costs([record("00:02.000", "00:15.750"), record("00:16.500", "00:29.750")], sweep_seconds=30)
    assert result == {"script": [1.0, 0.5], "between": [0.75], "job": 1.5, "sweep": 2.25}


def test_false_alarms_are_counted_at_the_size_of_the_experiments():
    assert false_alarms.size_of("config.yaml") == (8, 1, 3)
    assert false_alarms.size_of("presets/wandb-study.yaml") == (8, 3, 9)


def test_experiments_are_drawn_from_real_sessions(monkeypatch):
    sessions = [{"log_ratios": [0.01] * 10, "seconds": 30.0}, {"log_ratios": [0.02] * 10, "seconds": 30.0}]
    drawn = turns.recorded({"framework": "tensorflow", "sessions": sessions})
    result = turns.measure(drawn, 5, 20)
    assert result[1.0]["faster"] == result[1.0]["slower"] == 0 and result[1.1]["faster"] == 1
    assert 2 <= result[1.1]["median_sessions"] <= 10 and result[1.1]["median_minutes"] <= 5
    pages = turns.measure_pages(drawn, 5, [1.0, 1.1], 3)
    assert (pages["with_a_false_verdict"], pages["differences_found"]) == (0, 1)
    monkeypatch.setattr(turns, "page", lambda *_: ["faster", "slower"])
    pages = turns.measure_pages(drawn, 5, [1.0, 0.9], 3)
    assert (pages["with_a_false_verdict"], pages["differences_found"]) == (3, 1)


@pytest.mark.slow
def test_data_of_ones_own_is_prepared_and_trained_in_turns_with_the_archive(in_folder, monkeypatch):
    import own_data

    monkeypatch.setattr(sys, "argv", ["own_data.py", "--images", "700", "--photos", "20", "--minutes", "0"])
    own_data.main()  # its exit status depends on what else this machine does
    result = json.loads((in_folder / "results/benchmarks/own_data.json").read_text())
    assert {name: facts["images"] for name, facts in result["prepared"].items()} == {"images": 700, "photos": 20}
    assert all(facts["seconds"] > 0 and facts["idle_cores"] >= 0 for facts in result["prepared"].values())
    assert len(result["training"]["ratio"]["pairs"]) >= harness.MIN_PAIRS and result["training"]["ratio"]["median"] > 0
