"""Throughputs of a device over its runs, ratios of two devices, and verdicts.

Everything is computed on logarithms of throughputs, where a ratio is a difference. METHOD describes the method in words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from trainoff.analyze import noise

LEVEL = 0.05
# Two devices are equivalent when their speeds differ by less than this.
EQUIVALENCE = 0.05


def student_t(degrees: float) -> float:
    """Two-sided quantile of Student's t, from scipy.special, since scipy.stats takes a hundred times as long per number."""
    return float(special.stdtrit(degrees, 1 - LEVEL / 2))


METHOD = (
    "A run's throughput is the median over its counted epochs, a device's throughput the geometric mean over its runs. "
    "All intervals and verdicts use the same model of noise: how much the runs of a device differ is estimated from all of its "
    "configurations together and moderated for each (empirical Bayes), starting from what is known of its kind of device; for a "
    "ratio, the repeated runs of both devices determine how noisy a configuration is. "
    "With a single run, its interval rests on what is known of the kind of device alone; if only one epoch of it counts, epochs "
    "are assumed to scatter as much as runs. "
    "Two devices are compared by a t-test on the logarithms. The p-values of all comparisons in a table are corrected together "
    "by Benjamini and Hochberg's method: at most 5% of the differences that are found are expected to be false. "
    f"Two one-sided tests, corrected in the same way, find two devices equivalent if they differ by less than {EQUIVALENCE:.0%}. "
    "A device is faster or slower if its corrected p-value is below 5%, and then its 95% interval excludes 1; otherwise, unless "
    "equivalent, it is undecided. "
    "Devices of one machine that take turns are judged by the mean over sessions of fresh processes, each summarized by Huber's "
    "mean of the logarithms of the ratios of neighboring slices, with a Student's t interval. Their p-values are corrected "
    "together too, apart from those of runs. "
    "The mean over configurations is geometric; its interval treats the uncertainty of a device's spread as common to all of "
    "them, covers the measurement noise on these configurations and says nothing about others."
)


@dataclass(frozen=True)
class Rate:
    """The throughput of a device on a configuration, over its runs."""

    images_per_second: float
    # Variance of the logarithm of the throughput, with its degrees of freedom.
    variance: float
    degrees: float
    # The runs, and prior knowledge of the device's kind.
    sample: noise.Sample
    kind: noise.Kind
    # Counted windows of all runs.
    windows: int
    # Variance of the logarithm of a run's throughput.
    run_variance: float
    # Where the spread from run to run is known from: "runs", or the name of a kind of device (noise.Spread).
    spread_source: str

    @property
    def runs(self) -> tuple[float, ...]:
        """Logarithms of the median throughputs of the runs."""
        return self.sample.rates


@dataclass(frozen=True)
class Ratio:
    """Throughput of a device over that of the baseline, with the variance of its logarithm and the degrees of freedom."""

    ratio: float
    variance: float
    degrees: float

    @property
    def interval(self) -> tuple[float, float]:
        return interval(self.ratio, self.variance, self.degrees)

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the t-test of equal speeds."""
        return float(2 * special.stdtr(self.degrees, -abs(math.log(self.ratio)) / math.sqrt(self.variance)))

    def p_different(self, margin: float = EQUIVALENCE) -> float:
        """p-value of the two one-sided t-tests of speeds that differ by `margin` or more; small if they are equivalent."""
        nearest = math.log1p(margin) - abs(math.log(self.ratio))
        return float(special.stdtr(self.degrees, -nearest / math.sqrt(self.variance)))


def rate(runs: Sequence[Sequence[float]], kind: noise.Kind = noise.UNKNOWN) -> Rate:
    """The Rate of one or more runs, each a non-empty sequence of the images per second of its counted epochs."""
    return rates([runs], kind)[0]


def rates(
    cells: Sequence[Sequence[Sequence[float]]], kind: noise.Kind = noise.UNKNOWN, busy: list[bool] | None = None
) -> list[Rate]:
    """The Rates of all configurations of a device. cells: the runs of each, as `rate` takes them.

    kind: prior knowledge of the spread on such a device. busy: for each, whether other programs kept the machine busy.
    """
    logs = [[sorted(map(math.log, run)) for run in runs] for runs in cells]
    samples = noise.samples(logs, busy or [False] * len(cells), kind)
    result = []
    for runs, sample, spread in zip(logs, samples, noise.spreads(samples, kind), strict=True):
        number = len(runs)
        result.append(
            Rate(
                images_per_second=math.exp(math.fsum(sample.rates) / number),
                variance=spread.variance / number,
                degrees=spread.degrees,
                sample=sample,
                kind=kind,
                windows=sum(map(len, runs)),
                run_variance=spread.variance,
                spread_source=spread.source,
            )
        )
    return result


def ratios(device: Sequence[Rate], baseline: Sequence[Rate]) -> list[Ratio]:
    """The Ratios of two devices from their Rates on the same configurations; both determine how noisy a configuration is."""
    if not device:
        return []
    together = noise.of_ratios([([rate.sample for rate in side], side[0].kind) for side in (device, baseline)])
    if together is None:
        return list(map(ratio, device, baseline))
    return [
        Ratio(device_rate.images_per_second / baseline_rate.images_per_second, *spread)
        for device_rate, baseline_rate, spread in zip(device, baseline, together, strict=True)
    ]


def ratio(device: Rate, baseline: Rate) -> Ratio:
    """The Ratio of two Rates, with the spread of each device on its own."""
    variance = device.variance + baseline.variance
    # Welch and Satterthwaite, for independent estimates of the variances.
    errors = math.hypot(*(side.variance / math.sqrt(side.degrees) for side in (device, baseline)))
    degrees = (variance / errors) ** 2 if errors else math.inf
    return Ratio(device.images_per_second / baseline.images_per_second, variance, degrees)


def interval(middle: float, variance: float, degrees: float) -> tuple[float, float]:
    """95 % interval (low, high) around `middle`, from the variance of its logarithm."""
    spread = math.exp(student_t(degrees) * math.sqrt(variance)) if variance else 1.0
    return middle / spread, middle * spread


def adjust(p_values: list[float]) -> list[float]:
    """p-values corrected together by Benjamini and Hochberg's method.

    Chosen over Holm's method, which controls the chance of any false verdict: the configurations of a grid mostly agree, and Holm
    would need twice as many replicates to detect their differences. If no device differs, both are equally strict.
    """
    # Imported here, since the import takes a second, for which every figure would have to wait.
    from scipy.stats import false_discovery_control

    return [float(value) for value in false_discovery_control(p_values)] if len(p_values) else []


def judge(ratios: list[Ratio], margin: float = EQUIVALENCE) -> list[tuple[float, float, str]]:
    """[(p_value_adjusted, p_different_adjusted, verdict)] of Ratios whose p-values are corrected together."""
    adjusted = adjust([ratio.p_value for ratio in ratios])
    different = adjust([ratio.p_different(margin) for ratio in ratios])
    return [(p, q, verdict(ratio, p, q)) for ratio, p, q in zip(ratios, adjusted, different, strict=True)]


def verdict(ratio: Ratio, adjusted: float, different: float = 1.0) -> str:
    """faster, slower, equivalent or undecided, from a Ratio and its corrected p-values (see `judge`)."""
    if different < LEVEL:
        return "equivalent"
    if adjusted < LEVEL:
        return "faster" if ratio.ratio > 1 else "slower"
    return "undecided"


def geometric_mean(ratios: list[Ratio]) -> tuple[float, float, float]:
    """(mean, low, high): geometric mean of Ratios with its 95 % interval; NaN without any.

    The variances come from a common estimate of the spread between runs, so their errors do not average out: Satterthwaite's
    degrees of freedom, for fully dependent estimates.
    """
    if not ratios:
        return math.nan, math.nan, math.nan
    mean = math.exp(math.fsum(math.log(ratio.ratio) for ratio in ratios) / len(ratios))
    variance = math.fsum(ratio.variance for ratio in ratios)
    errors = math.fsum(ratio.variance / math.sqrt(ratio.degrees) for ratio in ratios)
    return mean, *interval(mean, variance / len(ratios) ** 2, (variance / errors) ** 2 if errors else math.inf)
