"""How much the runs of a device differ from one to the next: one model for every interval and verdict.

The logarithm of a run's rate scatters around that of its configuration with a variance that is the configuration's own. Of few
runs alone it is hardly known, so what all configurations of the device show is used for each (empirical Bayes, as in G. Smyth
(2004), Linear models and empirical Bayes methods for assessing differential expression, section 3):

    variance of configuration c = (s² + w_c) × d / chi²(d)

s is the device's spread from run to run, w_c the part that comes from the epochs of a run, d says how alike the
configurations are. Nothing is fixed at its best estimate: s and d are averaged over a grid, weighted by how well they explain
the runs and by what is known of devices of this kind (catalog/noise.yaml). With a single run per configuration only that
knowledge is left. In a ratio of two devices chi²(d) is the same for both, since what makes a configuration noisy, such as
short epochs, does so on either.
"""

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from trainoff import windows

# Grid of the device's spread: from a thousandth of a percent to a factor of e.
SPREADS = np.geomspace(5e-4, 0.8, 32)
# How alike configurations are, in degrees of freedom, and how likely each is beforehand.
ALIKENESS = np.array([1.0, 2.0, 4.0, 8.0, 60.0])
ALIKELY = np.array([4.0, 3.0, 2.0, 1.5, 1.0])
# Where no run was repeated: a kind's factor already holds how configurations differ.
ALIKELY_UNSEEN = np.array([1e-9, 1e-9, 0.5, 0.5, 1e-9])
# Tails of what is known of a kind: a device may be far from its kind, and the runs then say so.
KIND_DEGREES = 3
# No two runs are equal beyond this: a clock that repeats itself tells nothing of the noise.
MIN_SPREAD = 1e-4
# A run on a busy machine scatters about twice as much (docs/benchmarks.md).
BUSY = 2.0
# Below this weight a point of the grid changes nothing.
NEGLIGIBLE = 1e-3
# By which variances are enlarged: without it, intervals held the known truth of simulations in 94 % of cases.
CALIBRATION = 1.05
# Epochs that what the configurations of a device share about the scatter of epochs is worth, for each of them.
SHARED_EPOCHS = 4
# Devices that the catalog's figure for a kind is worth, where other devices of that kind were measured.
KIND_DEVICES = 2
# A GPU that computes for less of the time waits for the processor, whose noise is then that of the training.
WAITING_GPU_PERCENT = 80.0
# NVIDIA's GPUs for data centers, by their names.
_DATACENTER = re.compile(r"\b(Tesla|[VPAHB][1-9]00|GH200|GB200|A[1-4]0G?|L40?S?|T4|K80|M60)\b")
# Two-sided tail areas at which the average over the grid and the Student's t that stands for it are equal.
TAILS = (0.05, 0.005)


@dataclass(frozen=True)
class Kind:
    """What is known beforehand of the spread from run to run on a kind of device.

    spread: standard deviation of the logarithm, its middle over devices of the kind. factor: about two thirds of the devices
    lie within this factor of it.
    """

    name: str
    spread: float
    factor: float


# For runs of which nothing else is known, as in catalog/noise.yaml.
UNKNOWN = Kind("unknown", 0.10, 2.0)


@dataclass(frozen=True)
class Sample:
    """The runs of one configuration on a device.

    rates: logarithms of their rates. within: variance of one of them that its epochs account for. busy: whether other
    programs kept the machine busy.
    """

    rates: tuple[float, ...]
    within: float
    busy: bool = False


@dataclass(frozen=True)
class Spread:
    """Variance of the logarithm of one run's rate and its degrees of freedom, as an estimate of Student's t has them.

    source: "runs" where runs of this device were compared, else the name of the kind that it is assumed from.
    """

    variance: float
    degrees: float
    source: str


def kinds(catalog: dict[str, dict[str, Any]]) -> dict[str, Kind]:
    """{name: Kind} of catalog/noise.yaml."""
    return {name: Kind(name, entry["spread"], entry["factor"]) for name, entry in catalog.items()}


def kind_name(run: dict[str, Any]) -> str:
    """The name in catalog/noise.yaml of what a run was measured on. run: a row of the table of runs."""
    on_battery_or_mains = isinstance(run.get("power_source"), str)
    if run["accelerator"] == "cuda":
        if run.get("gpu_percent", math.nan) < WAITING_GPU_PERCENT:
            return "waiting_gpu"
        if _DATACENTER.search(str(run["device_name"])):
            return "datacenter_gpu"
        return "laptop" if on_battery_or_mains else "desktop_gpu"
    if on_battery_or_mains:
        return "laptop"
    if run["accelerator"] == "metal":
        return "apple_gpu"
    virtual = run.get("virtual")
    return {True: "virtual_cpu", False: "bare_cpu"}.get(None if virtual is None else bool(virtual), "unknown")


def informed(kind: Kind, measured: list[float]) -> Kind:
    """The Kind with what other devices of it showed. measured: their spreads (see `typical`)."""
    if not measured:
        return kind
    logs = [math.log(spread) for spread in measured]
    middle = (KIND_DEVICES * math.log(kind.spread) + sum(logs)) / (KIND_DEVICES + len(logs))
    return Kind(kind.name, math.exp(middle), kind.factor)


def typical(samples: list[Sample]) -> float | None:
    """Spread of the runs of a device over its Samples, as a standard deviation; None without repeated runs."""
    parts = [(len(one.rates) - 1, _variance(one.rates)) for one in samples if len(one.rates) > 1]
    total = sum(degrees for degrees, _ in parts)
    return math.sqrt(sum(degrees * variance for degrees, variance in parts) / total) if total else None


def samples(configurations: list[list[list[float]]], busy: list[bool], kind: Kind) -> list[Sample]:
    """The Samples of one device. configurations: for each, lists of log rates, one list of counted epochs per run.

    busy: one flag per configuration. What a single configuration says of the scatter of its epochs is moderated by what
    all of them say. Where a single epoch of single runs is all there is, epochs are taken to scatter as runs of the Kind do.
    """
    own = []
    for runs in configurations:
        known = [variance for run in runs if (variance := windows.variance_of_median(run)) is not None]
        own.append((sum(map(len, runs)) - len(runs), sum(known) / len(known) if known else None))
    total = sum(degrees for degrees, variance in own if variance is not None)
    if total:
        shared = sum(degrees * variance for degrees, variance in own if variance is not None) / total
    else:
        # Repeated runs of one epoch each show both together.
        shared = 0.0 if any(len(runs) > 1 for runs in configurations) else kind.spread**2
    return [
        Sample(
            tuple(map(statistics.median, runs)),
            (SHARED_EPOCHS * shared + degrees * (variance or 0.0)) / (SHARED_EPOCHS + degrees),
            flag,
        )
        for runs, (degrees, variance), flag in zip(configurations, own, busy, strict=True)
    ]


def spreads(samples: list[Sample], kind: Kind) -> list[Spread]:
    """The Spread of each of the Samples of one device, which is of the given Kind."""
    if not samples:
        return []
    side = _side(samples, kind)
    source = "runs" if side.repeated else kind.name
    return [Spread(*one, source) for one in _pooled([side])]


def of_ratios(sides: Sequence[tuple[list[Sample], Kind]]) -> list[tuple[float, float]] | None:
    """[(variance, degrees)] of the logarithm of two devices' ratio, one per configuration, as estimates of Student's t.

    sides: the Samples of the device and of the baseline on the same configurations, and the Kind of each. A configuration
    is taken to be loud or quiet on both alike, so that the runs of both say how much it is. Where that is wrong, the
    variance of the ratio is still right if both have as many runs. None where one of them repeated no run.
    """
    both = [_side(*one) for one in sides]
    return _pooled(both, of_means=True) if all(side.repeated for side in both) else None


@dataclass(frozen=True)
class _Side:
    """The runs of one device as arrays, one place per configuration."""

    runs: np.ndarray
    # Variance seen between its runs, and its degrees of freedom: 0 of a single run.
    seen: np.ndarray
    degrees: np.ndarray
    # Variance of one run's rate if the spread were that of SPREADS: configurations × spreads.
    expected: np.ndarray
    # Logarithm of the prior density of SPREADS.
    prior: np.ndarray

    @property
    def repeated(self):
        return bool(self.degrees.any())


def _side(samples, kind):
    loud = np.array([BUSY**2 if sample.busy else 1.0 for sample in samples])
    within = np.array([sample.within for sample in samples])
    runs = np.array([len(sample.rates) for sample in samples])
    return _Side(
        runs=runs,
        seen=np.array([_variance(sample.rates) for sample in samples]),
        degrees=runs - 1,
        expected=loud[:, None] * SPREADS[None, :] ** 2 + within[:, None],
        prior=_log_prior(kind),
    )


def _pooled(sides, of_means=False):
    """[(variance, degrees)] of each configuration: of the logarithm of a run's rate, or of means over runs, summed over sides."""

    # Axes of the grid: the spread of each side, then alikeness.
    def along(values, axis):
        return values.reshape([-1 if place == axis else 1 for place in range(len(sides) + 1)])

    repeated = any(side.repeated for side in sides)
    alike = along(ALIKENESS, len(sides))
    weight = along(np.log(ALIKELY if repeated else ALIKELY_UNSEEN), len(sides))
    for axis, side in enumerate(sides):
        weight = weight + along(side.prior, axis)
    degrees = sum(side.degrees for side in sides)
    for one in np.flatnonzero(degrees):
        parts = [
            (side.degrees[one], along(side.seen[one] / side.expected[one], axis))
            for axis, side in enumerate(sides)
            if side.degrees[one]
        ]
        weight = weight + _log_density(parts, alike)
    weight = np.exp(weight - weight.max())
    kept = weight > NEGLIGIBLE
    *places, alike = np.nonzero(kept)
    weight = weight[kept] / weight[kept].sum()
    alike = ALIKENESS[alike]
    # Axes: configuration, point of the grid.
    total = alike + degrees[:, None]
    expected = [side.expected[:, place] for side, place in zip(sides, places, strict=True)]
    seen = sum((side.degrees * side.seen)[:, None] / one for side, one in zip(sides, expected, strict=True))
    variance = sum(one / (side.runs[:, None] if of_means else 1) for side, one in zip(sides, expected, strict=True))
    return _as_one(weight, np.sqrt(variance * (alike + seen) / total), total)


def _variance(rates):
    return max(float(np.var(rates, ddof=1)), MIN_SPREAD**2) if len(rates) > 1 else 0.0


def _log_prior(kind):
    """Logarithm of the prior density of the spread on the grid, up to a constant: Student's t of its logarithm."""
    distance = np.log(SPREADS / kind.spread) / math.log(kind.factor)
    return -(KIND_DEGREES + 1) / 2 * np.log1p(distance**2 / KIND_DEGREES)


def _log_density(parts, alikeness):
    """Logarithm of the density of sample variances that share one factor alikeness / chi²(alikeness), up to a constant.

    parts: (degrees, variance over what is expected) of each; of a single one that is F(degrees, alikeness).
    """
    degrees = sum(own for own, _ in parts)
    squares = sum(own * x for own, x in parts)
    return (
        sum(own / 2 * np.log(x) for own, x in parts)
        - degrees / 2 * np.log(alikeness)
        - (degrees + alikeness) / 2 * np.log1p(squares / alikeness)
        + special.gammaln((degrees + alikeness) / 2)
        - special.gammaln(alikeness / 2)
    )


def _as_one(weights, scales, degrees):
    """[(variance, degrees)] of the scaled Student's t that have the tails, at TAILS, of mixtures of such: one per row."""
    near, far = (_quantiles(tail, weights, scales, degrees) for tail in TAILS)
    best = np.interp(-far / near, -_RATIOS, _DEGREES)
    variance = CALIBRATION * (near / special.stdtrit(best, 1 - TAILS[0] / 2)) ** 2
    return zip(variance.tolist(), best.tolist(), strict=True)


def _quantiles(tail, weights, scales, degrees):
    """x with P(|T| > x) = tail for mixtures of Student's t, one per row: logarithmic bisection."""
    one_each = scales * special.stdtrit(degrees, 1 - tail / 2)
    low, high = np.log(one_each.min(axis=1)), np.log(one_each.max(axis=1))
    for _ in range(12):
        middle = (low + high) / 2
        outside = 2 * special.stdtr(degrees, -np.exp(middle)[:, None] / scales) @ weights
        low, high = np.where(outside > tail, middle, low), np.where(outside > tail, high, middle)
    return np.exp((low + high) / 2)


_DEGREES = np.geomspace(1.0, 1000.0, 200)
_RATIOS = special.stdtrit(_DEGREES, 1 - TAILS[1] / 2) / special.stdtrit(_DEGREES, 1 - TAILS[0] / 2)
