"""Intervals, tests and verdicts, on simulated experiments of known truth."""

import numpy as np
import pytest

from trainoff.analyze import noise, simulation, stats
from trainoff.analyze.simulation import Noise

CONFIGURATIONS = 8


def generator():
    return np.random.default_rng(7)


@pytest.mark.parametrize(
    "replicates, windows, run", [(1, 1, 0.05), (1, 3, 0.01), (1, 3, 0.14), (2, 3, 0.05), (3, 9, 0.05)]
)
def test_equal_devices_are_seldom_called_different(replicates, windows, run):
    many = simulation.simulate(generator(), Noise(run, 0.02), 60, CONFIGURATIONS, replicates, windows)
    assert simulation.false_alarm_rate(many) <= 0.05


def test_the_alarm_is_not_silent():
    """What keeps false alarms down is not that nothing is ever called."""
    many = simulation.simulate(generator(), Noise(0.01, 0.02), 20, CONFIGURATIONS, 1, 3, ratio=1.8)
    assert simulation.found_rate(many) > 0.99


def test_a_difference_of_10_percent_is_found_with_three_replicates_and_not_with_one_of_an_unknown_machine():
    rates = [
        simulation.found_rate(
            simulation.simulate(generator(), Noise(0.01, 0.01), 20, CONFIGURATIONS, replicates, 9, ratio=1.1)
        )
        for replicates in (1, 3)
    ]
    assert rates[0] == 0 and rates[1] > 0.95


def test_equal_devices_with_little_noise_are_equivalent():
    many = simulation.simulate(generator(), Noise(0.01, 0.01), 20, CONFIGURATIONS, 3, 9)
    assert (
        np.mean([verdict == "equivalent" for experiment in many for verdict in simulation.verdicts(experiment)]) > 0.9
    )
    many = simulation.simulate(generator(), Noise(0.01, 0.01), 40, CONFIGURATIONS, 3, 9, ratio=1.05)
    assert np.mean(["equivalent" in simulation.verdicts(experiment) for experiment in many]) <= 0.05


def called(device, baseline):
    return simulation.verdicts(simulation.ratios(device, baseline))


@pytest.mark.parametrize("slow", [0.5, 0.8])
def test_an_outlier_does_not_flip_a_verdict(slow):
    faster = simulation.device(generator(), Noise(0.005, 0.01), CONFIGURATIONS, 3, 9, ratio=1.1)
    baseline = simulation.device(np.random.default_rng(8), Noise(0.005, 0.01), CONFIGURATIONS, 3, 9)
    before = called(faster, baseline)
    disturbed_window = faster.copy()
    disturbed_window[:, 1, 4] *= slow
    disturbed_run = faster.copy()
    disturbed_run[:, 1] *= slow
    assert before == ["faster"] * CONFIGURATIONS
    assert called(disturbed_window, baseline) == before
    assert "slower" not in called(disturbed_run, baseline)


@pytest.mark.parametrize("replicates", [1, 2, 3])
def test_interval_of_a_mean_over_configurations_holds_the_truth(replicates):
    """Over devices of a kind: what is not known of one is not known of any configuration."""
    draw, kind, hits = generator(), noise.Kind("gpu", 0.015, 2.0), []
    for _ in range(100):
        scatter = [Noise(kind.spread * kind.factor ** draw.normal(), 0.01) for _ in range(2)]
        devices = [
            simulation.device(draw, noise_of_device, CONFIGURATIONS, replicates, 9, ratio=ratio)
            for noise_of_device, ratio in zip(scatter, (0.8, 1.0), strict=True)
        ]
        _, low, high = stats.geometric_mean(simulation.ratios(*devices, kind))
        hits.append(low <= 0.8 <= high)
    assert 0.92 <= np.mean(hits) < 1


def test_the_interval_of_one_run_includes_how_much_runs_differ():
    quiet, loud = noise.Kind("quiet", 0.01, 1.5), noise.Kind("loud", 0.12, 1.5)
    widths = []
    for kind in (quiet, loud):
        rate = stats.rate([[78, 80, 82]], kind)
        assert (rate.images_per_second, len(rate.runs), rate.spread_source) == (pytest.approx(80), 1, kind.name)
        low, high = stats.interval(rate.images_per_second, rate.variance, rate.degrees)
        widths.append(high / low)
    assert widths[0] > 1.05 and widths[1] > 1.5


def test_a_single_epoch_is_taken_to_scatter_as_runs_of_its_kind_do():
    kind = noise.Kind("quiet", 0.02, 1.5)
    single, three = stats.rate([[80]], kind), stats.rate([[80, 80.1, 79.9]], kind)
    assert 1.9 < single.variance / three.variance < 2.1
    # A difference that no noise explains is one.
    assert stats.judge([stats.ratio(stats.rate([[1600]], kind), single)])[0][2] == "faster"
    # Of repeated runs, what is seen holds the scatter of their epochs.
    repeated = [stats.rates([runs] * 4, kind)[0] for runs in ([[80], [81], [82]], [[80, 80.1], [81, 81.1], [82, 82.1]])]
    assert repeated[0].variance == pytest.approx(repeated[1].variance, rel=0.1)


def test_identical_times_are_no_difference_and_no_error():
    same, other = (stats.rates([[[rate, rate], [rate, rate]]] * 4) for rate in (80, 90))
    assert stats.ratio(same[0], same[0]).p_value == 1
    assert {verdict for *_, verdict in stats.judge(list(map(stats.ratio, other, same)))} == {"faster"}


def test_correction_is_benjamini_hochbergs():
    assert stats.adjust([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.03, 0.03])
    assert stats.adjust([]) == []


def test_verdicts():
    ratio = stats.Ratio(ratio=1.2, variance=0.01**2, degrees=10)
    assert stats.verdict(ratio, 0.04) == "faster"
    assert stats.verdict(ratio, 0.06) == "undecided"
    assert stats.verdict(stats.Ratio(0.8, 0.01**2, 10), 0.04) == "slower"
    assert stats.verdict(stats.Ratio(1.02, 0.001**2, 10), 0.01, 0.01) == "equivalent"
    assert stats.Ratio(1.2, 0.01**2, 10).p_different() > 0.95


def test_a_verdict_and_its_interval_agree():
    draw = generator()
    for _ in range(20):
        ratios = simulation.ratios(*(simulation.device(draw, Noise(0.02, 0.02), 4, 3, 5) for _ in range(2)))
        for ratio, (*_, verdict) in zip(ratios, stats.judge(ratios), strict=True):
            low, high = ratio.interval
            assert verdict != "faster" or low > 1
            assert verdict != "slower" or high < 1
            assert verdict != "equivalent" or 1 / 1.05 < ratio.ratio < 1.05


def test_the_method_states_its_numbers():
    for part in ("empirical Bayes", "t-test", "Benjamini", "5%", "geometric"):
        assert part in stats.METHOD


def test_one_run_on_a_busy_machine_is_trusted_less():
    def verdict(factor, busy):
        sides = [stats.rates([[[rate * scale for rate in (99, 100, 101)]]], busy=[busy])[0] for scale in (factor, 1)]
        ratio = stats.ratio(*sides)
        return stats.verdict(ratio, ratio.p_value)

    assert verdict(1.9, busy=False) == "faster"
    assert verdict(1.9, busy=True) == "undecided"
    assert verdict(6, busy=True) == "faster"
