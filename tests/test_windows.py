"""The summary of one run's windows, on windows of known truth."""

import math

import numpy as np
import pytest
from scipy import stats

from trainoff import windows


def run(seconds, images=640, warm_up=0):
    return [
        {"epoch": epoch, "images": images, "seconds": value, "warm_up": epoch <= warm_up}
        for epoch, value in enumerate(seconds, start=1)
    ]


def test_rate_is_the_median_of_the_counted_windows():
    summary = windows.summarize(run([100, 8, 10, 5], warm_up=1))
    assert summary["images_per_second"] == pytest.approx(80)
    assert set(summary) == {"images_per_second", "ci_low", "ci_high", "unstable"}
    assert summary["ci_low"] < 80 < summary["ci_high"]


@pytest.mark.parametrize("seconds", [[], [3.0]])
def test_nothing_counted_is_unknown_not_zero(seconds):
    assert set(windows.summarize(run(seconds, warm_up=1)).values()) == {None}


def test_few_windows_leave_unknown_what_they_cannot_tell():
    summary = windows.summarize(run([8]))
    assert summary == {"images_per_second": 80, "ci_low": None, "ci_high": None, "unstable": None}
    two = windows.summarize(run([8, 8.1]))
    assert two["ci_low"] < two["ci_high"] and two["unstable"] is None


@pytest.mark.parametrize("seconds", [0, 0.0, -1.5, math.nan, math.inf])
@pytest.mark.parametrize("warm_up", [0, 1])
def test_impossible_times_are_refused(seconds, warm_up):
    with pytest.raises(ValueError, match="epoch 1"):
        windows.summarize(run([seconds, 8, 8], warm_up=warm_up))


@pytest.mark.parametrize("number", [2, 3, 5, 9])
@pytest.mark.parametrize("kind", ["normal", "heavy tails"])
def test_interval_holds_the_truth_in_95_of_100_runs(number, kind):
    generator = np.random.default_rng(number)
    noise = generator.standard_normal if kind == "normal" else lambda size: generator.standard_t(3, size)
    hits = 0
    for _ in range(1500):
        summary = windows.summarize(run(list(10 * np.exp(0.02 * noise(number)))))
        hits += summary["ci_low"] <= 64 <= summary["ci_high"]
    assert 0.935 <= hits / 1500 <= 0.997


def test_bootstrap_variance_is_what_drawing_gives():
    generator = np.random.default_rng(1)
    for number in (3, 4, 9, 10):
        values = generator.normal(size=number)
        drawn = np.var(np.median(generator.choice(values, (200_000, number)), axis=1))
        assert windows.variance_of_median(values) == pytest.approx(drawn, rel=0.02)
        assert sum(weight for *_, weight in windows.resampled_median(number)) == pytest.approx(1)


def test_t_quantiles():
    for degrees in (1, 2, 8, 12, 25, 45, 200):
        assert windows.student_t(degrees) == pytest.approx(stats.t.isf(0.025, degrees), rel=1e-3)


def test_an_outlier_neither_moves_the_rate_nor_blows_up_the_interval():
    steady = [8.00, 8.05, 7.95, 8.02, 7.98, 8.01, 7.99, 8.03]
    summary = windows.summarize(run([*steady, 16]))
    assert summary["images_per_second"] == pytest.approx(80, rel=0.005)
    # A mean's interval would be half as wide as the outlier is far.
    assert summary["ci_high"] / summary["ci_low"] < 1.15
    assert summary["unstable"] is True


def test_drift_is_flagged():
    generator = np.random.default_rng(2)
    drifting = 8 * np.linspace(1, 1.12, 9) * np.exp(0.005 * generator.standard_normal(9))
    assert windows.summarize(run(list(drifting)))["unstable"] is True
    # The same windows in another order scatter as much, but do not drift.
    assert windows.summarize(run([drifting[i] for i in (4, 0, 8, 2, 6, 1, 7, 3, 5)]))["unstable"] is False


def test_a_trend_too_small_to_matter_is_not_flagged():
    assert windows.summarize(run(list(8 * np.linspace(1, 1.02, 9))))["unstable"] is False


def test_scatter_is_flagged_with_three_windows():
    assert windows.summarize(run([8, 10, 8.2]))["unstable"] is True
    assert windows.summarize(run([8, 8.3, 8.1]))["unstable"] is False


def test_steady_runs_are_seldom_flagged():
    generator = np.random.default_rng(3)
    for number in (3, 9):
        flagged = [windows.is_unstable(list(np.exp(0.03 * generator.standard_normal(number)))) for _ in range(500)]
        assert np.mean(flagged) < 0.05


def test_a_hundred_thousand_windows_are_summarized_as_a_hundred_are():
    noise = np.random.default_rng(4).standard_normal
    short, long = (windows.summarize(run(list(8 * np.exp(0.02 * noise(number))))) for number in (100, 100_000))
    assert long["images_per_second"] == pytest.approx(80, rel=0.001) and long["unstable"] is False
    widths = [math.log(summary["ci_high"] / summary["ci_low"]) for summary in (short, long)]
    assert 10 < widths[0] / widths[1] < 100, "about the root of a thousand"
    assert len(windows.resampled_median(100_000)) < 300_000, "ranks near the middle alone"


def test_a_drift_is_found_in_long_runs_too():
    generator = np.random.default_rng(5)
    drifting = 8 * np.linspace(1, 1.12, 5000) * np.exp(0.03 * generator.standard_normal(5000))
    assert windows.is_unstable(list(1 / drifting)) is True
    assert windows.is_unstable(list(1 / generator.permutation(drifting))) is False
