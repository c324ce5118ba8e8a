"""The throughput of one run, from its timed epochs. Standard library only, since every device's environment needs it.

Time and memory grow no faster than for sorting the windows, since a run may have 100,000 of them.
"""

import functools
import itertools
import math
import statistics
from collections.abc import Sequence

from trainoff.shapes import Window

# A throughput that moves in one direction by more than this over a run means that the machine heats up, throttles or is shared:
# the median then describes no state of the machine. Smaller changes are within the usual spread of runs.
DRIFT_LIMIT = 0.05
# pyperf calls a benchmark unstable when its standard deviation reaches 10 % of the mean; same limit here.
SCATTER_LIMIT = 0.10
# A trend is searched in at most this many values: a longer run is split into this many stretches, each replaced by its median.
TREND_VALUES = 200
# A resampled median falls on ranks within REACH times the root of the number from the middle (ten of its standard deviations),
# and its two middle draws within GAP ranks of each other: everything beyond weighs too little to change a float.
REACH = 5.0
GAP = 60
# Two-sided 5 % of the normal distribution, for the trend test.
TREND_Z = 1.959964

# Two-sided quantiles of Student's t by degrees of freedom, 95 % and 99.9 %; between and beyond these, linear in 1 / degrees.
_T = {
    0.95: ((1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (5, 2.5706), (6, 2.4469), (7, 2.3646), (8, 2.3060),
           (9, 2.2622), (10, 2.2281), (15, 2.1314), (30, 2.0423), (60, 2.0003), (math.inf, 1.9600)),
    0.999: ((1, 636.619), (2, 31.599), (3, 12.924), (4, 8.6103), (5, 6.8688), (6, 5.9588), (7, 5.4079), (8, 5.0413),
            (9, 4.7809), (10, 4.5869), (12, 4.3178), (15, 4.0728), (20, 3.8495), (30, 3.6460), (60, 3.4602), (math.inf, 3.2905)),
}  # fmt: skip


def summarize(windows: list[Window]) -> dict[str, float | bool | None]:
    """The `throughput` of a metrics record, over the counted windows (warm_up false) of one run.

    Returns images_per_second (median), ci_low and ci_high (its 95 % interval, in images per second, which covers this run
    only and not what another run would give; None with fewer than two counted windows), and unstable (None with fewer than
    three). Raises ValueError for a window whose seconds or images are not positive and finite.
    """
    rates = [rate(window) for window in windows]
    rates = [value for value, window in zip(rates, windows, strict=True) if not window["warm_up"]]
    if not rates:
        return {"images_per_second": None, "ci_low": None, "ci_high": None, "unstable": None}
    middle = statistics.median(rates)
    variance = variance_of_median([math.log(value) for value in rates])
    spread = None if variance is None else math.exp(student_t(len(rates) - 1) * math.sqrt(variance))
    return {
        "images_per_second": middle,
        "ci_low": None if spread is None else middle / spread,
        "ci_high": None if spread is None else middle * spread,
        "unstable": is_unstable(rates),
    }


def rate(window: Window) -> float:
    """Images per second of one window."""
    images, seconds = window["images"], window["seconds"]
    if not (0 < seconds < math.inf and 0 < images < math.inf and 0 < images / seconds < math.inf):
        raise ValueError(f"epoch {window['epoch']}: {images} images in {seconds} s; both must be positive and finite")
    return images / seconds


def variance_of_median(values: Sequence[float]) -> float | None:
    """Bootstrap variance of the median of `values`, None for fewer than two; exact, so no random numbers are drawn.

    With Student's t it gives an interval that covers the true median in at least 95 % of cases, from two values up and with
    heavy tails too (tests/test_windows.py). A single outlier widens this interval far less than that of a mean.
    """
    number = len(values)
    if number < 2:
        return None
    values = sorted(values)
    medians = [((values[low] + values[high]) / 2, weight) for low, high, weight in resampled_median(number)]
    mean = sum(weight * median for median, weight in medians)
    variance = sum(weight * (median - mean) ** 2 for median, weight in medians)
    # The median of two values is their mean, whose bootstrap variance is too small by the factor (n - 1) / n.
    return 2 * variance if number == 2 else variance


@functools.lru_cache(maxsize=64)
def resampled_median(number: int) -> tuple[tuple[int, int, float], ...]:
    """Where the median of `number` draws with replacement from `number` sorted values falls.

    Returns (low, high, probability) tuples: the median is the mean of the values of ranks low and high (from 0).
    B. Efron (1979), Bootstrap methods: another look at the jackknife, section 3, extended to even numbers.
    """
    half = (number + 1) // 2
    reach = math.ceil(REACH * math.sqrt(number)) + 2
    near = range(max(0, half - 1 - reach), min(number, half + 1 + reach))
    at_most = [_at_least(half, number, rank / number) for rank in (*near, near.stop)]
    single = dict(zip(near, (after - before for before, after in itertools.pairwise(at_most)), strict=True))
    if number % 2:
        return tuple((rank, rank, weight) for rank, weight in single.items())
    # Half of the draws fall on ranks up to low, at least one on low itself; the others on high and above, at least one on high.
    # By symmetry the share of such draws is the same from either end. In logarithms, since the number of ways overflows a float.
    share = {
        rank: half * math.log((rank + 1) / number) + math.log1p(-((rank / (rank + 1)) ** half))
        for end in (near, range(number - near.stop, number - near.start))
        for rank in end
    }
    ways = math.lgamma(number + 1) - 2 * math.lgamma(half + 1)
    pairs = []
    for low in near:
        for high in range(low + 1, min(low + GAP, near.stop)):
            weight = math.exp(ways + share[low] + share[number - 1 - high])
            single[low] -= weight
            pairs.append((low, high, weight))
    return (*((rank, rank, max(weight, 0.0)) for rank, weight in single.items()), *pairs)


def is_unstable(rates: Sequence[float]) -> bool | None:
    """True when rates (in order of time) scatter or drift beyond the limits above; None for fewer than three.

    Scatter: the standard deviation of their logarithms is over SCATTER_LIMIT. Drift: the Mann-Kendall trend test is
    significant at 5 % and the Theil-Sen line moves by more than DRIFT_LIMIT over the run. The trend test cannot reach
    5 % with fewer than five windows: there a drift shows only as scatter. With more than TREND_VALUES windows it takes medians
    of stretches, since it compares every value with every other.
    """
    number = len(rates)
    if number < 3:
        return None
    logs = [math.log(value) for value in rates]
    mean = math.fsum(logs) / number
    if math.sqrt(math.fsum((value - mean) ** 2 for value in logs) / (number - 1)) > SCATTER_LIMIT:
        return True
    if number > TREND_VALUES:
        ends = [place * number // TREND_VALUES for place in range(TREND_VALUES + 1)]
        logs = [statistics.median(logs[start:end]) for start, end in itertools.pairwise(ends)]
        number = TREND_VALUES
    slopes = [(logs[b] - logs[a]) / (b - a) for b in range(number) for a in range(b)]
    rises = sum((slope > 0) - (slope < 0) for slope in slopes)
    z = (abs(rises) - 1) / math.sqrt(number * (number - 1) * (2 * number + 5) / 18)
    return z > TREND_Z and abs(statistics.median(slopes)) * (number - 1) > math.log1p(DRIFT_LIMIT)


def _at_least(successes, trials, chance):
    """Probability of at least `successes` in `trials` with `chance` each."""
    if chance in (0, 1):
        return float(chance)
    # The shorter tail, summed away from the middle until its terms are too small to count.
    if successes <= trials * chance:
        return 1.0 - _at_least(trials - successes + 1, trials, 1.0 - chance)
    term = math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(chance)
        + (trials - successes) * math.log1p(-chance)
    )
    total, hits, odds = 0.0, successes, chance / (1.0 - chance)
    while term > 1e-20 * total and hits <= trials:
        total += term
        term *= (trials - hits) / (hits + 1) * odds
        hits += 1
    return min(1.0, total)


def best_length(start_seconds: float, seconds: float, within: float, between: float) -> int:
    """The number of epochs per run, or pairs of slices per session, that narrows the interval most in a given time; at least 1.

    start_seconds: of a process; seconds: of an epoch or pair. within, between: standard deviations between epochs (or pairs) of
    one process, and between processes. T. Kalibera and R. Jones (2013), Rigorous benchmarking in reasonable time, section 6.
    """
    return max(1, math.ceil(math.sqrt(start_seconds / seconds) * within / between))


def student_t(degrees: int, level: float = 0.95) -> float:
    """Two-sided quantile of Student's t for a whole number of degrees of freedom, within 0.1 %. level: 0.95 or 0.999."""
    table = _T[level]
    for (low, high_value), (high, low_value) in zip(table, table[1:], strict=False):
        if degrees <= high:
            share = (1 / degrees - 1 / high) / (1 / low - 1 / high)
            return low_value + share * (high_value - low_value)
    return table[-1][1]
