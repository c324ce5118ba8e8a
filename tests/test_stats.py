"""Intervals, tests and verdicts, on simulated experiments of known truth."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from trainoff.analyze import simulation, stats
from trainoff.analyze.simulation import Noise

CONFIGURATIONS = 8


def generator():
    return np.random.default_rng(7)


@pytest.mark.parametrize("replicates, windows, run", [(1, 3, 0.01), (1, 3, 0.14), (2, 3, 0.05), (3, 9, 0.05)])
def test_equal_devices_are_seldom_called_different(replicates, windows, run):
    noise = Noise(run=run, window=0.02)
    many = simulation.verdicts_of_many(generator(), noise, 200, CONFIGURATIONS, replicates, windows)
    assert simulation.false_alarm_rate(many) <= 0.05


def test_the_alarm_is_not_silent():
    """What keeps false alarms down is not that nothing is ever called."""
    many = simulation.verdicts_of_many(generator(), Noise(0.01, 0.02), 50, CONFIGURATIONS, 1, 3, ratio=1.8)
    assert simulation.found_rate(many) > 0.99


@pytest.mark.parametrize("replicates", [3, 5])
def test_a_difference_of_10_percent_is_found_with_three_replicates(replicates):
    many = simulation.verdicts_of_many(generator(), Noise(0.01, 0.01), 50, CONFIGURATIONS, replicates, 9, ratio=1.1)
    assert simulation.found_rate(many) > 0.95


def test_a_difference_of_10_percent_is_not_called_on_one_run_each():
    many = simulation.verdicts_of_many(generator(), Noise(0.01, 0.01), 50, CONFIGURATIONS, 1, 9, ratio=1.1)
    assert simulation.found_rate(many) == 0


@pytest.mark.parametrize("slow", [0.5, 0.8])
def test_an_outlier_does_not_flip_a_verdict(slow):
    faster = simulation.device(generator(), Noise(0.005, 0.01), CONFIGURATIONS, 3, 9, ratio=1.1)
    baseline = simulation.device(np.random.default_rng(8), Noise(0.005, 0.01), CONFIGURATIONS, 3, 9)
    before = simulation.verdicts(faster, baseline)
    disturbed_window = faster.copy()
    disturbed_window[:, 1, 4] *= slow
    disturbed_run = faster.copy()
    disturbed_run[:, 1] *= slow
    assert before == ["faster"] * CONFIGURATIONS
    assert simulation.verdicts(disturbed_window, baseline) == before
    assert "slower" not in simulation.verdicts(disturbed_run, baseline)


def test_interval_of_a_ratio_holds_the_truth():
    draw, noise, hits = generator(), Noise(0.03, 0.02), []
    for own, other in zip(
        simulation.device(draw, noise, 400, 3, 9, ratio=1.3), simulation.device(draw, noise, 400, 3, 9), strict=True
    ):
        low, high = stats.ratio(stats.rate(own), stats.rate(other)).interval
        hits.append(low <= 1.3 <= high)
    assert 0.94 <= np.mean(hits) <= 1


def test_interval_of_a_mean_over_configurations_holds_the_truth():
    draw, noise, hits = generator(), Noise(0.03, 0.02), []
    for _ in range(100):
        devices = [simulation.device(draw, noise, 4, 3, 5, ratio=ratio) for ratio in (0.8, 1.0)]
        found = [stats.ratio(stats.rate(own), stats.rate(other)) for own, other in zip(*devices, strict=True)]
        _, low, high = stats.geometric_mean(found)
        hits.append(low <= 0.8 <= high)
    assert np.mean(hits) >= 0.92


def test_several_runs_are_compared_by_welch():
    draw = generator()
    own, other = simulation.device(draw, Noise(0.02, 0.01), 2, 4, 5)
    expected = scipy.stats.ttest_ind(
        np.median(np.log(own), axis=1), np.median(np.log(other), axis=1), equal_var=False
    ).pvalue
    assert stats.ratio(stats.rate(own), stats.rate(other)).p_value == pytest.approx(expected)


def test_bootstrap_of_runs_and_windows_is_what_drawing_gives():
    draw = generator()
    runs = [draw.normal(4, 0.05, size) for size in (9, 4, 7)]
    drawn = []
    for _ in range(4_000):
        chosen = draw.integers(0, 3, 3)
        drawn.append(np.median([np.median(draw.choice(runs[run], len(runs[run]))) for run in chosen]))
    assert stats.rate([np.exp(run) for run in runs]).variance == pytest.approx(np.var(drawn), rel=0.12)


def test_one_run_speaks_of_its_windows_only():
    found = stats.rate([[78, 80, 82]])
    assert (found.images_per_second, found.degrees, len(found.runs)) == (pytest.approx(80), 2, 1)
    assert stats.rate([[80]]).variance is None
    assert all(np.isnan(stats.interval(80, None, 0)))


def test_identical_times_are_no_difference_and_no_error():
    same = stats.rate([[80, 80], [80, 80]])
    assert stats.ratio(same, same).p_value == 1
    other = stats.rate([[90, 90], [90, 90]])
    assert stats.verdict(stats.ratio(other, same), 0.0) == "faster"


def test_correction_is_benjamini_hochbergs():
    assert stats.adjust([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.03, 0.03])
    assert stats.adjust([]) == []


def test_a_verdict_needs_the_corrected_p_value_and_the_interval():
    found = stats.Ratio(ratio=1.2, variance=0.01**2, degrees=10, p_value=0.01)
    assert stats.verdict(found, 0.04) == "faster"
    assert stats.verdict(found, 0.06) == "no_significant_difference"
    wide = stats.Ratio(ratio=1.2, variance=0.5**2, degrees=10, p_value=0.01)
    assert stats.verdict(wide, 0.04) == "no_significant_difference"
    assert stats.verdict(stats.Ratio(0.8, 0.01**2, 10, 0.01), 0.04) == "slower"


def test_the_method_states_its_numbers():
    for part in ("runs first", "Welch", "Benjamini", "5%", "geometric"):
        assert part in stats.METHOD


def test_one_run_on_a_busy_machine_is_trusted_less():
    def verdict(factor, busy):
        sides = [stats.rate([[rate * scale for rate in (99, 100, 101)]]) for scale in (factor, 1)]
        found = stats.ratio(*(dataclasses.replace(side, busy=busy) for side in sides))
        return stats.verdict(found, found.p_value)

    assert verdict(1.8, busy=False) == "faster"
    assert verdict(1.8, busy=True) == "no_significant_difference"
    assert verdict(4, busy=True) == "faster"
