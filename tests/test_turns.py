"""Turns: what pairs of slices say, real trainings that take turns, and their faults."""

import contextlib
import json
import math
import os
import random
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import synthetic
import turns as simulation

from trainoff import turn_statistics, windows
from trainoff.analyze import turns as table_of_turns
from trainoff.experiment import plan
from trainoff.measure import turning as measure_turning
from trainoff.supervise import turning

# Of TensorFlow against itself, and against PyTorch, whose processes differ.
SPREAD = turn_statistics.session_spread("tensorflow", "tensorflow")
WIDE = turn_statistics.session_spread("tensorflow", "torch")


def experiments(ratio, noise=0.09, apart=SPREAD, known=SPREAD, number=150):
    """Standings of simulated turns that were looked at after every session and stopped when decided.

    noise: what neighboring slices differ by. apart: what sessions differ by, of which `known` is known.
    """
    draw = np.random.default_rng(5)
    sessions = simulation.simulated(noise, apart, known)
    return [simulation.experiment(sessions, 5, ratio, draw)[1] for _ in range(number)]


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


@pytest.mark.parametrize("lengths", [(6, 3), (6, 3, 3, 3)])
def test_sessions_of_a_few_noisy_pairs_raise_few_false_alarms(lengths):
    """As of trainings with slow steps. The configurations of a page are tested at 5% over their number."""
    draw, elsewhere, number = np.random.default_rng(5), turn_statistics.Scatter(20 * SPREAD**2, 20), 2000
    alarms = {0.05: 0, 0.05 / 8: 0}
    for _ in range(number):
        sessions = [draw.normal(draw.normal(0, SPREAD), 0.17, length) for length in lengths]
        standing = turn_statistics.stand(sessions, 0.05, SPREAD, elsewhere)
        row = {"ratio": standing.ratio, "ci_low": standing.low, "ci_high": standing.high, "degrees": standing.degrees}
        for level in alarms:
            alarms[level] += table_of_turns.as_ratio(row).p_value < level
    assert all(alarms[level] / number <= 1.6 * level for level in alarms)


def test_10_percent_are_found_with_the_noise_of_a_quiet_virtual_machine():
    found = experiments(1.1)
    assert called(found, "faster") >= 0.9
    assert np.mean([one.low <= 1.1 <= one.high for one in found]) >= 0.93


@pytest.mark.parametrize(
    "values, wanted",
    [
        ([-0.7, -0.68], "cpu is 1.99× as fast as gpu (95% interval 1.9"),
        ([0.7, 0.68], "gpu is 1.99× as fast as cpu (95% interval 1.9"),
        ([0.001, 0.002], "equally fast within 5%: gpu was measured 1.00× as fast as cpu (95% interval 1.00 to 1.00)"),
        ([0.1, -0.2], "undecided: cpu was measured 1.05× as fast as gpu (95% interval "),
    ],
)
def test_the_user_reads_who_wins_and_a_ratio_of_at_least_1(values, wanted):
    standing = turn_statistics.stand([[value - 0.001, value, value + 0.001] * 2 for value in values], 0.05, SPREAD / 20)
    assert turning.words(standing, {"device": "gpu", "baseline": "cpu"}, 0.05).startswith(wanted)
    few = turn_statistics.stand([[0.1]], 0.05, SPREAD)
    assert turning.words(few, {"device": "gpu", "baseline": "cpu"}, 0.05) == "too few usable pairs of slices"


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


@pytest.mark.parametrize("stopped, wanted", [([], 2), ([0], 3), ([0, 1], 4), (range(9), 5)])
def test_sessions_with_stopped_slices_are_made_up_for_after_the_time_is_up(stopped, wanted, tmp_path, monkeypatch):
    def session(number):
        pair = {side: {"images": 8, "seconds": 0.3} for side in turn_statistics.SIDES}
        return {"status": "ok", "pairs": [pair | {"counted": number not in stopped}] * turning.MIN_PAIRS}

    monkeypatch.setattr(turning, "sessions", lambda pairing: map(session, range(9)))
    runs = {side: RUN | {"device": entries(side)[0]} for side in turn_statistics.SIDES}
    settings = {"minutes": 1e-9, "slice_seconds": 0.3, "equivalence": 0.05}
    pairing = turning.Pairing(runs, {}, {}, settings, 5, random.Random(0))
    assert len(turning.take_turns(pairing, notify=lambda words: None)) == wanted


def test_a_training_that_is_stopped_for_longer_than_a_slice_may_take_does_not_hang():
    """By a signal, a frozen container or a paused virtual machine."""
    side = object.__new__(turning.Side)
    training = psutil.Popen(["sleep", "60"], start_new_session=True)
    answers, told = os.pipe()
    side.name, side._pid, side._answers, side._unread = "device", training.pid, answers, b""
    side.thread = threading.current_thread()
    try:
        training.suspend()
        threading.Timer(1.5, lambda: (training.resume(), os.write(told, b'{"seconds": 0.3}\n'))).start()
        assert side._answer(0.5) == {"seconds": 0.3}
        with pytest.raises(turning.Failed, match="did not finish a slice"):
            side._answer(0.5)
        assert training.wait(10) == -signal.SIGKILL
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            training.kill()


def test_ctrl_c_ends_a_training_at_once_even_while_it_starts(files, tmp_path, monkeypatch):
    started = []

    def interrupted(side):
        started.append(side)
        while side._pid is None:
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(turning.Side, "wait_until_ready", interrupted)
    with pytest.raises(KeyboardInterrupt):
        take_turns(files, tmp_path)
    (side,) = started
    assert side.outcome.ending.signal == "SIGKILL" and side.outcome.journal.last("imported") == {}
