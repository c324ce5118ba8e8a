"""Rates of a device over its runs, ratios of two devices, and whether a difference is one.

Everything is computed on logarithms of rates, where a ratio is a difference. The method in words is METHOD.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from trainoff.analyze import noise

LEVEL = 0.05
# Two devices are equivalent when their speeds differ by less than this.
EQUIVALENCE = 0.05


def _t(degrees):
    """Two-sided quantile of Student's t. scipy.special, as scipy.stats takes a hundred times as long for one number."""
    return float(special.stdtrit(degrees, 1 - LEVEL / 2))


METHOD = (
    "A run's rate is the median over its counted epochs, a device's rate the geometric mean over its runs. "
    "One model of noise serves all intervals and verdicts: how much the runs of a device differ is estimated from all of its "
    "configurations together and moderated for each (empirical Bayes), starting from what is known of its kind of device; for a "
    "ratio, the repeated runs of both devices say how noisy a configuration is. "
    "A single run leaves only that knowledge, and its interval includes it; where a single epoch of it counts, epochs are taken "
    "to scatter as much as runs. "
    "Two devices are compared by a t-test on the logarithms. p-values of all comparisons in a table are corrected together by "
    "Benjamini and Hochberg's method: among the differences called, at most 5 % are expected to be false. "
    f"Two one-sided tests, corrected likewise, call two devices equivalent when they differ by less than {EQUIVALENCE:.0%}. "
    "A device is faster or slower when its corrected p-value is below 5 %, which its 95 % interval then says as well; what is "
    "neither is undecided. "
    "Devices of one machine that take turns are judged by the mean over sessions of fresh processes, each told by Huber's mean "
    "of the logarithms of the ratios of neighboring slices, with a Student's t interval; such rows have no p-value. "
    "The mean over configurations is geometric; its interval takes what is not known of a device's spread as not known of any of "
    "them, covers measurement noise on these configurations and says nothing about others."
)


@dataclass(frozen=True)
class Rate:
    """What the runs of one device say about its rate on one configuration."""

    images_per_second: float
    # Variance of the logarithm of the rate and its degrees of freedom.
    variance: float
    degrees: float
    # The runs behind it, and what is known of the device's kind.
    sample: noise.Sample
    kind: noise.Kind
    # Counted windows of all runs.
    windows: int
    # Variance of the logarithm of one run's rate.
    run_variance: float
    # Where the spread from run to run comes from: "runs", or the name of a kind of device (noise.Spread).
    spread_source: str

    @property
    def runs(self) -> tuple[float, ...]:
        """Logarithms of the median rates of the runs, one per run."""
        return self.sample.rates


@dataclass(frozen=True)
class Ratio:
    """Rate of a device over that of the baseline, with the variance of its logarithm and its degrees of freedom."""

    ratio: float
    variance: float
    degrees: float

    @property
    def interval(self) -> tuple[float, float]:
        return interval(self.ratio, self.variance, self.degrees)

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the t-test that the speeds are equal."""
        return float(2 * special.stdtr(self.degrees, -abs(math.log(self.ratio)) / math.sqrt(self.variance)))

    def p_different(self, margin: float = EQUIVALENCE) -> float:
        """p-value of the two one-sided t-tests that the speeds differ by `margin` or more; small where they do not."""
        nearest = math.log1p(margin) - abs(math.log(self.ratio))
        return float(special.stdtr(self.degrees, -nearest / math.sqrt(self.variance)))


def rate(runs: Sequence[Sequence[float]], kind: noise.Kind = noise.UNKNOWN) -> Rate:
    """The Rate of one or more runs, each a non-empty sequence of its counted epochs' rates in images per second."""
    return rates([runs], kind)[0]


def rates(
    cells: Sequence[Sequence[Sequence[float]]], kind: noise.Kind = noise.UNKNOWN, busy: list[bool] | None = None
) -> list[Rate]:
    """The Rates of all configurations of one device, each what `rate` takes.

    kind: what is known of the spread on such a device. busy: for each, whether other programs kept the machine busy.
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
    """The Ratios of two devices on the same configurations, one Rate of each; how loud a configuration is, both say together."""
    if not device:
        return []
    together = noise.of_ratios([([rate.sample for rate in side], side[0].kind) for side in (device, baseline)])
    if together is None:
        return list(map(ratio, device, baseline))
    return [
        Ratio(own.images_per_second / other.images_per_second, *spread)
        for own, other, spread in zip(device, baseline, together, strict=True)
    ]


def ratio(device: Rate, baseline: Rate) -> Ratio:
    """The Ratio of two Rates, each with what its own device says of its spread."""
    variance = device.variance + baseline.variance
    # Welch and Satterthwaite, of estimates that err each by itself.
    errors = math.hypot(*(side.variance / math.sqrt(side.degrees) for side in (device, baseline)))
    degrees = (variance / errors) ** 2 if errors else math.inf
    return Ratio(device.images_per_second / baseline.images_per_second, variance, degrees)


def interval(middle: float, variance: float, degrees: float) -> tuple[float, float]:
    """95 % interval (low, high) around `middle`, from the variance of its logarithm."""
    spread = math.exp(_t(degrees) * math.sqrt(variance)) if variance else 1.0
    return middle / spread, middle * spread


def adjust(p_values: list[float]) -> list[float]:
    """p-values corrected together by Benjamini and Hochberg's method.

    Chosen over Holm's, which guards every single verdict: a grid asks the same question many times, the answers agree
    more often than not, and Holm would need twice the replicates to hear them. Where no device differs the two are
    equally strict.
    """
    # Here, since it takes a second that every figure would wait for.
    from scipy.stats import false_discovery_control

    return [float(value) for value in false_discovery_control(p_values)] if len(p_values) else []


def judge(found: list[Ratio], margin: float = EQUIVALENCE) -> list[tuple[float, float, str]]:
    """[(p_value_adjusted, p_different_adjusted, verdict)] of Ratios that are judged together."""
    adjusted = adjust([one.p_value for one in found])
    different = adjust([one.p_different(margin) for one in found])
    return [(p, q, verdict(one, p, q)) for one, p, q in zip(found, adjusted, different, strict=True)]


def verdict(found: Ratio, adjusted: float, different: float = 1.0) -> str:
    """faster, slower, equivalent or undecided, of a Ratio and its corrected p-values (see `judge`)."""
    if different < LEVEL:
        return "equivalent"
    if adjusted < LEVEL:
        return "faster" if found.ratio > 1 else "slower"
    return "undecided"


def geometric_mean(ratios: list[Ratio]) -> tuple[float, float, float]:
    """(mean, low, high): geometric mean of Ratios with its 95 % interval; NaN of none.

    Their variances rest on one estimate of how much runs differ, so its error is that of all and does not average out:
    degrees of freedom as Satterthwaite has them, of estimates that err together.
    """
    if not ratios:
        return math.nan, math.nan, math.nan
    mean = math.exp(math.fsum(math.log(one.ratio) for one in ratios) / len(ratios))
    variance = math.fsum(one.variance for one in ratios)
    errors = math.fsum(one.variance / math.sqrt(one.degrees) for one in ratios)
    return mean, *interval(mean, variance / len(ratios) ** 2, (variance / errors) ** 2 if errors else math.inf)
