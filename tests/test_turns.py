"""Turns: what pairs of slices say, real trainings that take turns, and their faults."""

import dataclasses
import json
import math
import random
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import synthetic
import turns as simulation
import yaml
from project import ROOT

import compare_devices
from trainoff import turn_statistics, windows
from trainoff.analyze import next_measurements, obstacles, reasons, turns
from trainoff.experiment import plan
from trainoff.measure import turning as measure_turning
from trainoff.records import RUN_KEYS
from trainoff.report import caveats, turn_words
from trainoff.report import reasons as sentences
from trainoff.supervise import turning
from trainoff.workflow import validity

# Of TensorFlow against itself, and against PyTorch, whose processes differ.
SPREAD = turn_statistics.session_spread("tensorflow", "tensorflow")
WIDE = turn_statistics.session_spread("tensorflow", "torch")


def experiments(ratio, noise=0.09, apart=SPREAD, known=SPREAD, number=150):
    """Standings of simulated turns that were looked at after every session and stopped when decided.

    noise: what neighboring slices differ by. apart: what sessions differ by, of which `known` is known.
    """
    draw = np.random.default_rng(5)
    sessions = simulation.simulated(noise, apart, known)
    return [simulation.experiment(sessions, 5, ratio, draw)[0] for _ in range(number)]


def called(found, *verdicts):
    return np.mean([one.verdict in verdicts for one in found])


def test_equal_devices_are_seldom_called_different_however_often_one_looks():
    found = [one for noise in (0.05, 0.15) for one in experiments(1.0, noise)]
    assert called(found, "faster", "slower") <= 0.05 and "equivalent" in {one.verdict for one in found}
    assert np.mean([one.low <= 1 <= one.high for one in found]) >= 0.93
    assert called(experiments(1.0, 0.02, SPREAD / 10), "equivalent") > 0.9


def test_processes_that_differ_raise_few_false_alarms():
    """As much as their framework's are known to, and by half more than that."""
    assert called(experiments(1.0, apart=WIDE, known=WIDE), "faster", "slower") <= 0.05
    assert called(experiments(1.0, apart=1.5 * SPREAD, number=300), "faster", "slower") <= 0.07
    thrice = experiments(3.0, apart=WIDE, known=WIDE, number=30)
    assert called(thrice, "faster") == 1 and max(len(one.sessions) for one in thrice) <= 4


def test_10_percent_are_found_with_the_noise_of_a_quiet_virtual_machine():
    found = experiments(1.1)
    assert called(found, "faster") >= 0.9
    assert np.mean([one.low <= 1.1 <= one.high for one in found]) >= 0.93


def test_single_slices_that_are_far_off_change_little():
    draw = np.random.default_rng(6)
    values = math.log(1.2) + draw.normal(0, 0.03, 60)
    before = turn_statistics.stand([values[:30], values[30:]], 0.05, SPREAD)
    values[::15] += 1.5
    after = turn_statistics.stand([values[:30], values[30:]], 0.05, SPREAD)
    assert before.verdict == after.verdict == "faster"
    assert after.ratio == pytest.approx(before.ratio, rel=0.02)


def test_sessions_that_disagree_widen_the_interval():
    draw = np.random.default_rng(7)
    values = draw.normal(0.12, 0.03, 60)
    alike = turn_statistics.stand([values[:30], values[30:]], 0.05, SPREAD)
    apart = turn_statistics.stand([values[:30] - 0.2, values[30:] + 0.2], 0.05, SPREAD)
    assert alike.verdict == "faster" and apart.verdict == "undecided"


def test_a_difference_ends_the_turns_early_only_beyond_doubt():
    draw = np.random.default_rng(9)
    found = [
        turn_statistics.stand([draw.normal(middle, 0.03, 10) for _ in range(4)], 0.05, SPREAD) for middle in (0.07, 0.5)
    ]
    assert [one.verdict for one in found] == ["faster", "faster"] and [one.settled for one in found] == [False, True]


def test_few_pairs_say_nothing_and_identical_ones_are_no_error():
    assert turn_statistics.stand([], 0.05, SPREAD).verdict == "undecided"
    few = turn_statistics.stand([[0.5] * 5], 0.05, SPREAD)
    assert (few.ratio, few.low, few.pairs) == (None, None, 5)
    same = turn_statistics.stand([[0.5] * 20, [0.5] * 20], 0.05, SPREAD)
    assert same.verdict == "faster" and same.ratio == pytest.approx(math.exp(0.5))


def test_what_is_undecided_says_how_many_more_sessions_would_decide():
    draw = np.random.default_rng(8)
    standing = turn_statistics.stand([draw.normal(0.04, 0.1, 10), draw.normal(0.04, 0.1, 10)], 0.05, SPREAD)
    assert standing.verdict == "undecided" and 1 <= turn_statistics.more_sessions(standing, 0.05) < 50


def test_sessions_are_longer_where_starts_are_and_where_slices_scatter_more():
    assert windows.best_length(15, 1, 0.09, 0.03) == 12
    assert windows.best_length(60, 1, 0.09, 0.03) == windows.best_length(15, 1, 0.18, 0.03) == 24


CONFIG = {
    "grid": synthetic.SMALL_GRID,
    "seed": 3,
    "turns": {"minutes": 1, "slice_seconds": 0.3, "equivalence": 0.05},
}


def entries(*names):
    return [plan.DEVICE_DEFAULTS | {"name": name, "backend": "tensorflow", "accelerator": "cpu"} for name in names]


def test_each_device_takes_turns_with_the_first_on_what_both_have():
    found = plan.turns(CONFIG, entries("a", "b", "c"))
    assert [(device["name"], baseline["name"]) for device, baseline, _ in found] == [("b", "a"), ("c", "a")] * 2
    assert plan.turns(CONFIG | {"turns": False}, entries("a", "b")) == []
    assert plan.turns(CONFIG, entries("a")) == []
    odd = entries("a", "b")
    odd[1]["grid"] = {"trainable": [True]}
    assert [run["trainable"] for *_, run in plan.turns(CONFIG, odd)] == [True]


RUN = {
    "model": "mobilenetv2",
    "architecture": {"application": "MobileNetV2", "module": "mobilenet_v2"},
    "batch_size": 8,
    "img_dim": 32,
    "trainable": False,
    "precision": "float32",
    "xla": False,
    "learning_rate": 5e-4,
    "optimizer": "adam",
    "learning_rate_decay": None,
    "dropout": 0.4,
    "batch_norm_momentum": 0.9,
    "on_divergence": None,
    "replicate": 1,
    "seed": 0,
    "classes": 10,
    "epochs": 2,
    "images_per_epoch": 16,
    "warm_up_epochs": 1,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    draw = np.random.default_rng(0)
    np.save(folder / "train_images.npy", draw.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8))
    np.save(folder / "train_labels.npy", draw.integers(0, 10, 40).astype(np.int32))
    paths = {name: str(folder / f"{name}.npy") for name in ("train_images", "train_labels")}
    return paths | {"weights": None}


def take_turns(files, tmp_path, meddle=None, runs=None, minutes=None):
    """Sessions of two real trainings. meddle: called with the ids of their processes, in a thread, once both train."""
    minutes = minutes or (1.0 if meddle else 0.01)
    runs = runs or {side: RUN | {"device": entries(side)[0]} for side in turn_statistics.SIDES}
    settings = {"minutes": minutes, "slice_seconds": 0.3, "equivalence": 0.05}

    def watch():
        while len(ready := [child for child in psutil.Process().children() if _ready(child, tmp_path)]) < 2:
            time.sleep(0.2)
        meddle(ready)

    if meddle:
        threading.Thread(target=watch, daemon=True).start()
    logs = {side: str(tmp_path / f"{side}.log") for side in turn_statistics.SIDES}
    return turning.take_turns(
        turning.Pairing(runs, files, logs, settings, 5, random.Random(0)), notify=lambda words: None
    )


def _ready(child, tmp_path):
    try:
        return "turning" in " ".join(child.cmdline()) and child.cpu_times().user > 8
    except psutil.Error:
        return False


def test_two_real_trainings_take_turns(files, tmp_path):
    sessions = take_turns(files, tmp_path)
    assert [session["status"] for session in sessions] == ["ok", "ok"], "the time was up before"
    assert [len(session["pairs"]) for session in sessions] == [turning.MIN_PAIRS] * 2
    assert turn_statistics.stand(map(turn_statistics.logs_of, sessions), 0.05, SPREAD).low is not None
    lengths = [{name: side["steps_per_slice"] for name, side in session["sides"].items()} for session in sessions]
    assert lengths[0] == lengths[1], "found once"
    assert len({pair["first"] for session in sessions for pair in session["pairs"]}) == 2
    for session in sessions:
        for side in session["sides"].values():
            assert side["status"] == "ok" and side["steps_per_slice"] > 1
            assert side["waiting_cores"] < turning.SPINNING, "a training that waits computes"
    json.dumps(sessions, allow_nan=False)


@pytest.mark.parametrize("step, wanted, most", [(0.01, 30, 150), (0.1, 3, 20), (0.4, 1, 2), (4.0, 1, 2)])
def test_a_slice_is_whole_steps_and_a_slow_training_is_timed_in_two(step, wanted, most, monkeypatch):
    now, trained, model = [0.0], [], SimpleNamespace()
    monkeypatch.setattr(measure_turning.time, "perf_counter", lambda: now[0])

    def fit(steps, epochs, callbacks):
        model.stop_training = False
        (clock,) = callbacks
        clock.set_model(model)
        while not model.stop_training:
            trained.append(steps)
            now[0] += steps * step
            clock.on_epoch_end(0)

    backend = SimpleNamespace(synchronize=lambda model: None)
    assert measure_turning._steps_of_slice(0.3, fit, backend, model) == wanted
    assert sum(trained) <= most


def test_a_training_that_is_killed_ends_the_turns_and_is_named(files, tmp_path):
    session = take_turns(files, tmp_path, lambda children: children[0].send_signal(signal.SIGSEGV), minutes=3)[-1]
    assert session["status"] == "crashed" and session["failed"] in turn_statistics.SIDES
    assert not [child for child in psutil.Process().children() if "turning" in " ".join(child.cmdline())]


def test_a_device_that_is_not_there_ends_the_turns(files, tmp_path):
    runs = {side: RUN | {"device": entries(side)[0]} for side in turn_statistics.SIDES}
    runs["baseline"]["device"]["accelerator"] = "cuda"
    (session,) = take_turns(files, tmp_path, runs=runs)
    assert (session["status"], session["failed"], session["pairs"]) == ("unavailable", "baseline", [])


def slices(ratio, number, generator):
    for _ in range(number):
        first = generator.choice(turn_statistics.SIDES)
        one = {
            "images": 320,
            "suspended_seconds": 0.0,
            "waited_seconds": 1.0,
            "waited_cpu_seconds": 0.0,
            "lead_in": False,
        }
        device, baseline = (generator.gauss(1, 0.02) for _ in range(2))
        yield {
            "first": first,
            "counted": True,
            "device": one | {"seconds": device / ratio},
            "baseline": one | {"seconds": baseline},
        }


def record(ratio=1.2, status="ok", minutes=4):
    generator = random.Random(1)
    side = {"status": "ok", "failure": None, "waiting_cores": 0.01, "spinning": False}
    session = {
        "status": status,
        "failed": None if status == "ok" else "device",
        "message": None if status == "ok" else "It fell over.",
        "sides": {"device": side, "baseline": side},
        "pairs": list(slices(ratio, 20, generator)),
    }
    return {
        "schema_version": 1,
        "protocol_version": 1,
        "run": {axis: values[0] for axis, values in synthetic.GRID.items()} | {"seed": 0},
        "device": "laptop",
        "baseline": "cpu",
        "status": status,
        "failed": session["failed"] and "laptop",
        "message": session["message"],
        "turns": {"minutes": minutes, "slice_seconds": 1.75, "equivalence": 0.05},
        "seconds": 200.0,
        "standing": None if status != "ok" else {"verdict": "undecided"},
        "sessions": [session, session],
        "conditions": {},
        "devices": {},
        "host": {},
        "identity": {"device": {"backend": "tensorflow"}, "baseline": {"backend": "tensorflow"}},
    }


def test_how_much_fresh_processes_differ_is_judged_from_all_configurations_together():
    """Equal devices whose processes differ by 15 % for reasons of their own, in eight configurations each."""
    generator, called = random.Random(3), {"together": 0, "alone": 0}
    for _ in range(30):
        found = [record() for _ in range(8)]
        for one in found:
            one["sessions"] = [
                one["sessions"][0] | {"pairs": list(slices(math.exp(generator.gauss(0, 0.15)), 10, generator))}
                for _ in range(2)
            ]
        called["together"] += turns.table(found, 0.05)["verdict"].isin(["faster", "slower"]).sum()
        called["alone"] += sum(turns.table([one], 0.05)["verdict"].isin(["faster", "slower"]).sum() for one in found)
    assert called["together"] / 240 <= 0.1 and called["alone"] / 240 > 0.2


def test_what_a_busy_machine_does_to_one_configuration_widens_no_other():
    quiet, disturbed = [record(1.3) for _ in range(3)], record()
    generator = random.Random(4)
    disturbed["sessions"] = [
        disturbed["sessions"][0] | {"pairs": list(slices(ratio, 10, generator))} for ratio in (0.2, 1.0)
    ]
    before = turns.table(quiet, 0.05)["ci_low"]
    for busy, same in ((True, True), (False, False)):
        disturbed["conditions"] = {"busy": busy}
        after = turns.table([*quiet, disturbed], 0.05)["ci_low"][:3]
        assert (after == before).all() == same


def test_a_framework_whose_processes_differ_is_trusted_less_where_nothing_else_shows_it():
    close, far = record(1.1), record(1.6)
    for one, verdict in ((close, "undecided"), (far, "faster")):
        assert turns.table([one], 0.05)["verdict"].item() == "faster"
        one["identity"] = {"device": {"backend": "torch"}, "baseline": {"backend": "tensorflow"}}
        assert turns.table([one], 0.05)["verdict"].item() == verdict


def test_of_configurations_that_are_all_equal_hardly_ever_one_is_called_different():
    """Eight equal configurations of sessions that differ by 4 %: each verdict at 95 % by itself would call one in a third."""
    generator, called = random.Random(5), 0
    for _ in range(60):
        experiment = [record() for _ in range(8)]
        for one in experiment:
            ratios = [math.exp(generator.gauss(0, 0.04)) for _ in range(6)]
            one["sessions"] = [one["sessions"][0] | {"pairs": list(slices(ratio, 4, generator))} for ratio in ratios]
        called += turns.table(experiment, 0.05)["verdict"].isin(["faster", "slower"]).any()
    assert called <= 8


def test_a_session_that_failed_says_nothing_of_other_configurations():
    good, failing = [record(1.1) for _ in range(2)], record(1.1)
    generator = random.Random(6)
    for ratio in (1.0, 0.4):
        failing["sessions"] = [
            *record(1.1)["sessions"],
            record(status="out_of_memory")["sessions"][0] | {"pairs": list(slices(ratio, 3, generator))},
        ]
        failing["status"] = "out_of_memory"
        assert turns.table([*good, failing], 0.05)["ci_low"][0] == turns.table(good + [record(1.1)], 0.05)["ci_low"][0]


def test_the_page_says_what_would_decide_turns():
    undecided = pd.DataFrame({"source": ["turns"] * 3 + ["runs"], "minutes": [8.0, 12.0, 2000.0, None]})
    undecided["more_replicates"] = pd.array([None] * 4, dtype="Int64")
    (line,) = turn_words.next_lines(undecided)
    assert "Turns of 12 minutes each would decide 2 of 3 undecided ratios" in line and "MINUTES=36`" in line
    schema = yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text())["properties"]["turns"]
    (longest,) = [part["properties"]["minutes"]["maximum"] for part in schema["anyOf"] if "properties" in part]
    assert longest == next_measurements.MAX_TURNS_MINUTES, "more would be refused at the next start"


def test_the_table_of_turns_decides_the_comparison():
    table = turns.table([record() | {"conditions": {"busy": True}}], 0.05)
    assert list(table) == turns.COLUMNS
    row = table.iloc[0]
    assert row["verdict"] == "faster" and row["ci_low"] < 1.2 < row["ci_high"] and row["pairs"] == 40
    devices = [device for device in synthetic.DEVICES if device["name"] in ("cpu", "laptop")]
    records = synthetic.records(devices)
    found = [(f"{rank}.json", one) for rank, one in enumerate(records)]
    runs = compare_devices.tables.run_table(sorted(found, key=lambda one: [one[1]["run"][key] for key in RUN_KEYS]))
    compared = compare_devices.compare(
        runs, compare_devices.tables.window_table(found), ["cpu", "laptop"], turned=table
    )["comparison"]
    assert compared["source"].value_counts().to_dict() == {"runs": 7, "turns": 1}
    told = compared[compared["source"] == "turns"].iloc[0]
    for column in ("ratio", "ci_low", "ci_high", "p_value", "p_value_adjusted", "equivalence"):
        assert told[column] == pytest.approx(row[column]), column
    assert told["verdict"] == "faster"
    assert told["busy"] and told["unstable"] is None, "the flags of runs on which it does not rest"


def test_single_runs_are_a_caveat_only_where_a_ratio_rests_on_them():
    rates = pd.DataFrame({"images_per_second": [80.0, 90.0], "one_replicate": True})
    for compared, from_turns, caveat in ((8, 8, False), (8, 7, True), (0, 0, True)):
        row = {"subset": "all", "configurations_compared": compared, "from_turns": from_turns}
        assert bool(caveats._single(rates, pd.DataFrame([row]))) == caveat


def test_turns_that_failed_have_a_row_and_no_ratio():
    row = turns.table([record(status="crashed")], 0.05).iloc[0]
    assert (row["verdict"], row["failed"], row["reason"]) == (
        "not_comparable",
        "laptop",
        reasons.recorded("It fell over."),
    )
    assert pd.isna(row["ratio"])


def test_a_row_says_that_its_turns_failed_or_disturbed_each_other():
    spinning = record()
    for session in spinning["sessions"]:
        session["sides"] = {
            side: one | {"spinning": True, "waiting_cores": 1.94} for side, one in session["sides"].items()
        }
    for one, said in (
        (record(status="crashed"), "their turns failed (crashed)"),
        (spinning, "one training kept 1.9 processors busy while it waited for its turn"),
    ):
        row = turns.table([one], 0.05).to_dict("records")[0]
        (code,) = obstacles.turns_caveats(row)
        assert said in sentences.text(code, {})
    assert obstacles.turns_caveats(turns.table([record()], 0.05).to_dict("records")[0]) == []


def test_turns_are_finished_until_something_that_identifies_them_changes(tmp_path):
    path = tmp_path / "turns.json"
    path.write_text(json.dumps(record()))
    own = record()
    sides = {side: own["run"] | {"device": {"name": own[side]}} for side in turn_statistics.SIDES}

    def judged(wanted=own["identity"], retry=()):
        return validity.judge_turns(path, sides, wanted, retry)

    assert judged().finished and judged(retry=["crashed"]).finished
    assert not judged({"device": {"backend": "torch"}, "baseline": {"backend": "tensorflow"}}).finished
    path.write_text(json.dumps(record(status="crashed")))
    assert judged().finished and str(judged(retry=["crashed"]).change) == "crashed, to be retried"
    path.write_text("{")
    assert not judged().finished
    assert not validity.judge_turns(tmp_path / "none", sides, own["identity"]).change


def test_turns_that_the_table_leaves_undecided_are_taken_again_with_more_minutes(tmp_path):
    """The table knows of a pair's other configurations, and of today's margin, and so may differ from the record's verdict."""
    path, other = tmp_path / "turns.json", tmp_path / "other.json"

    def change(status="ok", **settings):
        path.write_text(json.dumps(record(status=status)))
        found = validity.longer_turns(path, record()["turns"] | settings)
        return found and str(found)

    assert change(minutes=8) == "turns.minutes 4 → 8" and change(slice_seconds=3) == "turns.slice_seconds 1.75 → 3"
    assert change() is change(minutes=2) is change("crashed", minutes=8) is None
    decided = record(1.1)
    decided["standing"] = dataclasses.asdict(turn_statistics.stand_of(decided["sessions"], ["tensorflow"] * 2, 0.05))
    path.write_text(json.dumps(decided))
    assert turns.undecided([path], 0.05) == []
    generator = random.Random(2)
    scattered = decided | {
        "sessions": [decided["sessions"][0] | {"pairs": list(slices(ratio, 20, generator))} for ratio in (0.8, 1.3)]
    }
    other.write_text(json.dumps(scattered))
    assert turns.undecided([path, other], 0.05) == [path, other]
