"""Rates of a device over its runs, ratios of two devices, and whether a difference is one.

Everything is computed on logarithms of rates, where a ratio is a difference. The method in words is METHOD.
"""

import functools
import math
import statistics
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from trainoff import windows

LEVEL = 0.05
RESAMPLES = 4000
# Values drawn at a time, for many cells together: enough to be fast, few enough to stay below a hundred megabytes.
RESAMPLED_AT_ONCE = 2_000_000
# Fixed, so that the same metrics give the same tables.
SEED = 20200

# Standard deviation assumed between runs of one device where a single run leaves it unmeasured. Fresh processes were seen to
# differ by 1 to 5 % on machines that one has to oneself, and by 14 % on a virtual machine that looked quiet from within
# (docs/benchmarks.md); the upper end is taken, so that equal devices are not called different. It is trusted as far as an
# estimate from eleven runs would be.
RUN_TO_RUN = 0.15
RUN_TO_RUN_DEGREES = 10
# The same where other programs kept the machine busy: 24 runs on a crowded machine were seen to differ by 31 %.
BUSY_RUN_TO_RUN = 0.3


def _t(degrees):
    """Two-sided quantile of Student's t. scipy.special, as scipy.stats takes a hundred times as long for one number."""
    return float(special.stdtrit(degrees, 1 - LEVEL / 2))


METHOD = (
    "A run's rate is the median over its counted windows, a device's rate the median over its runs. "
    "The 95 % interval comes from a bootstrap that draws runs first and then windows within them, because the windows "
    f"of one run are not independent ({RESAMPLES:,} draws with a fixed seed; the bootstrap's standard error on the "
    "logarithmic scale times Student's t, which keeps intervals of few runs honest). "
    "Two devices are compared by Welch's t-test on the logarithms of their runs' rates, one value per run. "
    "Where a device has a single run, its interval speaks of that run only, and the test assumes that runs of one "
    f"device differ by {RUN_TO_RUN:.0%} (standard deviation), or {BUSY_RUN_TO_RUN:.0%} where other programs kept the machine "
    f"busy; with one run each, differences below about "
    f"{math.expm1(_t(2 * RUN_TO_RUN_DEGREES) * RUN_TO_RUN * math.sqrt(2)):.0%} are never called. "
    "The p-values of all comparisons in the table are corrected together by Benjamini and Hochberg's method: among the "
    "differences called, at most 5 % are expected to be false, and if no device differs at all, the chance of calling "
    "any is at most 5 %. "
    "A device is called faster or slower only when its corrected p-value is below 5 % and the interval of the ratio "
    "excludes 1. "
    "The mean over configurations is geometric; its interval covers measurement noise on these configurations and says "
    "nothing about others."
)


@dataclass(frozen=True)
class Rate:
    """What the runs of one device say about its rate on one configuration."""

    images_per_second: float
    # Bootstrap variance of the logarithm of the rate and its degrees of freedom; None with a single window in all.
    variance: float | None
    degrees: int
    # Logarithms of the median rates of the runs, one per run.
    runs: tuple[float, ...]
    # Counted windows of all runs.
    windows: int
    # Other programs kept the machine busy during any of the runs.
    busy: bool = False


@dataclass(frozen=True)
class Ratio:
    """Rate of a device over that of the baseline, with the variance of its logarithm and its degrees of freedom."""

    ratio: float
    variance: float
    degrees: float
    p_value: float

    @property
    def interval(self):
        return interval(self.ratio, self.variance, self.degrees)


def rate(runs):
    """The Rate of one or more runs, each a non-empty sequence of its counted windows' rates in images per second."""
    return rates([runs])[0]


def rates(cells):
    """The Rates of many cells, each what `rate` takes. Cells of the same shape are resampled together."""
    logs = [[sorted(map(math.log, run)) for run in runs] for runs in cells]
    variances = _hierarchical_variances(logs)
    return [
        Rate(
            images_per_second=statistics.median(map(statistics.median, runs)),
            variance=windows.variance_of_median(own[0]) if len(own) == 1 else variance,
            degrees=(len(own[0]) if len(own) == 1 else len(own)) - 1,
            runs=tuple(map(statistics.median, own)),
            windows=sum(map(len, own)),
        )
        for runs, own, variance in zip(cells, logs, variances, strict=True)
    ]


def ratio(device, baseline):
    """The Ratio of two Rates; neither may have its variance unknown."""
    variance, degrees = _sum([(device.variance, device.degrees), (baseline.variance, baseline.degrees)])
    return Ratio(device.images_per_second / baseline.images_per_second, variance, degrees, _p_value(device, baseline))


def interval(middle, variance, degrees):
    """95 % interval (low, high) around `middle`, from the variance of its logarithm; NaN where that is unknown."""
    if variance is None:
        return math.nan, math.nan
    spread = math.exp(_t(degrees) * math.sqrt(variance)) if variance else 1.0
    return middle / spread, middle * spread


def adjust(p_values):
    """p-values corrected together by Benjamini and Hochberg's method.

    Chosen over Holm's, which guards every single verdict: a grid asks the same question many times, the answers agree
    more often than not, and Holm would need twice the replicates to hear them. Where no device differs the two are
    equally strict.
    """
    return [float(value) for value in stats.false_discovery_control(p_values)] if len(p_values) else []


def verdict(found, adjusted):
    """faster, slower or no_significant_difference, of a Ratio and its corrected p-value."""
    low, high = found.interval
    if adjusted < LEVEL and low > 1:
        return "faster"
    if adjusted < LEVEL and high < 1:
        return "slower"
    return "no_significant_difference"


def geometric_mean(ratios):
    """(mean, low, high): geometric mean of Ratios with its 95 % interval; NaN of none."""
    if not ratios:
        return math.nan, math.nan, math.nan
    mean = math.exp(math.fsum(math.log(one.ratio) for one in ratios) / len(ratios))
    variance, degrees = _sum([(one.variance / len(ratios) ** 2, one.degrees) for one in ratios])
    return mean, *interval(mean, variance, degrees)


def _p_value(device, baseline):
    """Two-sided p-value of Welch's t-test on the runs, with what is assumed where a device has one run."""
    difference = float(np.mean(device.runs) - np.mean(baseline.runs))
    variance, degrees = _sum([part for side in (device, baseline) for part in _test_variances(side)])
    if variance == 0:
        return float(difference == 0)
    return float(2 * special.stdtr(degrees, -abs(difference) / math.sqrt(variance)))


def run_to_run(side):
    """The standard deviation between runs that is assumed of a Rate that rests on one."""
    return BUSY_RUN_TO_RUN if side.busy else RUN_TO_RUN


def _test_variances(side):
    """(variance, degrees of freedom) of the parts of one side's mean log rate."""
    if len(side.runs) == 1:
        return [(side.variance, side.degrees), (run_to_run(side) ** 2, RUN_TO_RUN_DEGREES)]
    return [(float(np.var(side.runs, ddof=1)) / len(side.runs), len(side.runs) - 1)]


def _sum(parts):
    """Variance of a sum of independent parts and its degrees of freedom, by Welch and Satterthwaite."""
    variance = math.fsum(part for part, _ in parts)
    below = math.fsum(part**2 / degrees for part, degrees in parts)
    return variance, variance**2 / below if below else math.inf


def _hierarchical_variances(cells):
    """Bootstrap variance of the median of runs' medians, per cell: runs are drawn first, then windows within each run.

    cells: lists of sorted lists of log rates; None for a cell with a single run. The median of drawn windows is drawn
    directly from its known distribution (windows.resampled_median), which is the same as drawing the windows, only faster.
    """
    result = [None] * len(cells)
    shapes = {}
    for place, runs in enumerate(cells):
        if len(runs) > 1:
            shapes.setdefault(tuple(map(len, runs)), []).append(place)
    for counts, places in shapes.items():
        at_once = max(1, RESAMPLED_AT_ONCE // (RESAMPLES * len(counts)))
        for start in range(0, len(places), at_once):
            chunk = places[start : start + at_once]
            for place, variance in zip(chunk, _resample([cells[place] for place in chunk], counts), strict=True):
                result[place] = variance
    return result


def _resample(cells, counts):
    """Bootstrap variances of cells whose runs have as many windows each as `counts` says."""
    number = len(counts)
    chosen, low, high = _draws(counts)
    padded = np.array([[run + [math.nan] * (max(counts) - len(run)) for run in runs] for runs in cells])
    drawn = np.sort((padded[:, chosen, low] + padded[:, chosen, high]) / 2, axis=-1)
    medians = (drawn[..., (number - 1) // 2] + drawn[..., number // 2]) / 2
    # As in windows.variance_of_median: the median of two is their mean.
    return (np.var(medians, axis=-1) * (2 if number == 2 else 1)).tolist()


@functools.cache
def _draws(counts):
    """Which runs, and which two ranks of windows around the median in each, for every resample of such runs."""
    generator = np.random.default_rng(SEED)
    chosen = generator.integers(0, len(counts), size=(RESAMPLES, len(counts)))
    chance = generator.random(chosen.shape)
    low, high = np.zeros_like(chosen), np.zeros_like(chosen)
    for run, count in enumerate(counts):
        here = chosen == run
        ranks = windows.resampled_median(count)
        cumulated = np.cumsum([weight for *_, weight in ranks])
        place = np.minimum(np.searchsorted(cumulated, chance[here]), len(ranks) - 1)
        low[here] = np.array([rank for rank, *_ in ranks])[place]
        high[here] = np.array([rank for _, rank, _ in ranks])[place]
    return chosen, low, high
