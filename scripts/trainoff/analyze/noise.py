"""How much the runs of a device differ from each other: one model for every interval and verdict.

The logarithm of a run's throughput scatters around that of its configuration, with a variance that differs between
configurations. A few runs alone hardly determine this variance, so the variances of all configurations of the device are used
for each (empirical Bayes, as in G. Smyth (2004), Linear models and empirical Bayes methods for assessing differential
expression, section 3):

    variance of configuration c = (s² + w_c) × d / chi²(d)

s is the device's spread from run to run, w_c the part that comes from the epochs of a run, and d tells how similar the
configurations are. No best estimate is plugged in: s and d are averaged over a grid, weighted by how well they explain the runs
and by what is known of devices of this kind (catalog/noise.yaml). With a single run per configuration only the latter remains.
In a ratio of two devices chi²(d) is the same for both, since what makes a configuration noisy, such as short epochs, does so on
both.
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
# How similar configurations are, in degrees of freedom, and the prior weight of each value.
ALIKENESS = np.array([1.0, 2.0, 4.0, 8.0, 60.0])
ALIKELY = np.array([4.0, 3.0, 2.0, 1.5, 1.0])
# The prior weights if no run was repeated: a kind's factor already covers how configurations differ.
ALIKELY_UNSEEN = np.array([1e-9, 1e-9, 0.5, 0.5, 1e-9])
# Degrees of freedom of the prior of a kind, whose heavy tails let the runs show that a device is far from its kind.
KIND_DEGREES = 3
# Lower limit of a spread: equal times mean that the clock is coarse, not that there is no noise.
MIN_SPREAD = 1e-4
# A run on a busy machine scatters about twice as much (docs/benchmarks.md).
BUSY = 2.0
# Points of the grid with less weight than this are left out.
NEGLIGIBLE = 1e-3
# Factor by which variances are enlarged: without it, intervals covered the true value of simulations in 94 % of cases.
CALIBRATION = 1.05
# How many epochs of its own the shared scatter of epochs weighs as much as, for each configuration of a device.
SHARED_EPOCHS = 4
# How many measured devices of a kind the catalog's figure weighs as much as.
KIND_DEVICES = 2
# A GPU that computes for less of the time waits for the processor, whose noise then dominates.
WAITING_GPU_PERCENT = 80.0
# Names of NVIDIA's GPUs for data centers.
_DATACENTER = re.compile(r"\b(Tesla|[VPAHB][1-9]00|GH200|GB200|A[1-4]0G?|L40?S?|T4|K80|M60)\b")
# Two-sided tail areas at which the mixture over the grid and the Student's t that replaces it agree.
TAILS = (0.05, 0.005)


@dataclass(frozen=True)
class Kind:
    """Prior knowledge of the spread from run to run on a kind of device.

    spread: standard deviation of the logarithm of a run's throughput, typical of devices of the kind. factor: about two thirds
    of the devices lie within this factor of it.
    """

    name: str
    spread: float
    factor: float


# For runs on a kind of device that is not known, as in catalog/noise.yaml.
UNKNOWN = Kind("unknown", 0.10, 2.0)


@dataclass(frozen=True)
class Sample:
    """The runs of one configuration on a device.

    rates: logarithms of their throughputs. within: the part of the variance of one of them that its epochs explain. busy:
    whether other programs kept the machine busy.
    """

    rates: tuple[float, ...]
    within: float
    busy: bool = False


@dataclass(frozen=True)
class Spread:
    """Variance of the logarithm of a run's throughput with its degrees of freedom, for Student's t.

    source: "runs" if runs of this device were compared, otherwise the name of the kind from which it is assumed.
    """

    variance: float
    degrees: float
    source: str


def kinds(catalog: dict[str, dict[str, Any]]) -> dict[str, Kind]:
    """{name: Kind} of catalog/noise.yaml."""
    return {name: Kind(name, entry["spread"], entry["factor"]) for name, entry in catalog.items()}


def kind_name(run: dict[str, Any]) -> str:
    """The name in catalog/noise.yaml of the kind of device of a run. run: a row of the table of runs."""
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
    """The Kind, updated by the spreads of other devices of this kind. measured: their spreads (see `typical`)."""
    if not measured:
        return kind
    logs = [math.log(spread) for spread in measured]
    middle = (KIND_DEVICES * math.log(kind.spread) + sum(logs)) / (KIND_DEVICES + len(logs))
    return Kind(kind.name, math.exp(middle), kind.factor)


def typical(samples: list[Sample]) -> float | None:
    """Spread of a device's runs, pooled over its Samples, as a standard deviation; None without repeated runs."""
    parts = [(len(sample.rates) - 1, _variance(sample.rates)) for sample in samples if len(sample.rates) > 1]
    total = sum(degrees for degrees, _ in parts)
    return math.sqrt(sum(degrees * variance for degrees, variance in parts) / total) if total else None


def samples(configurations: list[list[list[float]]], busy: list[bool], kind: Kind) -> list[Sample]:
    """The Samples of one device. configurations: for each, the log throughputs of the counted epochs, a list per run.

    busy: one flag per configuration. The scatter of the epochs of a configuration is moderated by that of all configurations.
    If there are only single runs with a single epoch, epochs are assumed to scatter as much as runs of the Kind.
    """
    scatters = []
    for runs in configurations:
        known = [variance for run in runs if (variance := windows.variance_of_median(run)) is not None]
        scatters.append((sum(map(len, runs)) - len(runs), sum(known) / len(known) if known else None))
    total = sum(degrees for degrees, variance in scatters if variance is not None)
    if total:
        shared = sum(degrees * variance for degrees, variance in scatters if variance is not None) / total
    else:
        # The scatter of repeated runs with one epoch each already includes that of epochs.
        shared = 0.0 if any(len(runs) > 1 for runs in configurations) else kind.spread**2
    return [
        Sample(
            tuple(map(statistics.median, runs)),
            (SHARED_EPOCHS * shared + degrees * (variance or 0.0)) / (SHARED_EPOCHS + degrees),
            flag,
        )
        for runs, (degrees, variance), flag in zip(configurations, scatters, busy, strict=True)
    ]


def spreads(samples: list[Sample], kind: Kind) -> list[Spread]:
    """The Spread of each of the Samples of a device of the given Kind."""
    if not samples:
        return []
    side = _side(samples, kind)
    source = "runs" if side.repeated else kind.name
    return [Spread(variance, degrees, source) for variance, degrees in _pooled([side])]


def of_ratios(sides: Sequence[tuple[list[Sample], Kind]]) -> list[tuple[float, float]] | None:
    """[(variance, degrees)] of the logarithm of two devices' ratio, one per configuration, for Student's t.

    sides: (Samples, Kind) of the device and of the baseline on the same configurations. A configuration is assumed to be equally
    noisy on both devices, so the runs of both determine how noisy it is. If that is wrong, the variance of the ratio is still
    right when both have equally many runs. None if one of them has no repeated runs.
    """
    arrays = [_side(samples, kind) for samples, kind in sides]
    return _pooled(arrays, of_means=True) if all(side.repeated for side in arrays) else None


@dataclass(frozen=True)
class _Side:
    """The runs of one device as arrays, one place per configuration."""

    runs: np.ndarray
    # Sample variance between its runs, and its degrees of freedom: 0 for a single run.
    seen: np.ndarray
    degrees: np.ndarray
    # Variance of a run for each spread in SPREADS: configurations × spreads.
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
    """[(variance, degrees)] of each configuration, summed over the sides: of a run's logarithm, or of its mean over runs."""

    # Axes of the grid: the spread of each side, then alikeness.
    def along(values, axis):
        return values.reshape([-1 if place == axis else 1 for place in range(len(sides) + 1)])

    repeated = any(side.repeated for side in sides)
    alike = along(ALIKENESS, len(sides))
    weight = along(np.log(ALIKELY if repeated else ALIKELY_UNSEEN), len(sides))
    for axis, side in enumerate(sides):
        weight = weight + along(side.prior, axis)
    degrees = sum(side.degrees for side in sides)
    for place in np.flatnonzero(degrees):
        parts = [
            (side.degrees[place], along(side.seen[place] / side.expected[place], axis))
            for axis, side in enumerate(sides)
            if side.degrees[place]
        ]
        weight = weight + _log_density(parts, alike)
    weight = np.exp(weight - weight.max())
    likely = weight > NEGLIGIBLE
    *places, alike = np.nonzero(likely)
    weight = weight[likely] / weight[likely].sum()
    alike = ALIKENESS[alike]
    # Axes: configuration, point of the grid.
    total = alike + degrees[:, None]
    expected = [side.expected[:, place] for side, place in zip(sides, places, strict=True)]
    seen = sum((side.degrees * side.seen)[:, None] / values for side, values in zip(sides, expected, strict=True))
    variance = sum(
        values / (side.runs[:, None] if of_means else 1) for side, values in zip(sides, expected, strict=True)
    )
    return _as_one(weight, np.sqrt(variance * (alike + seen) / total), total)


def _variance(rates):
    return max(float(np.var(rates, ddof=1)), MIN_SPREAD**2) if len(rates) > 1 else 0.0


def _log_prior(kind):
    """Logarithm of the prior density on the grid of spreads, up to a constant: Student's t in the logarithm of the spread."""
    distance = np.log(SPREADS / kind.spread) / math.log(kind.factor)
    return -(KIND_DEGREES + 1) / 2 * np.log1p(distance**2 / KIND_DEGREES)


def _log_density(parts, alikeness):
    """Logarithm of the density of sample variances that share a factor alikeness / chi²(alikeness), up to a constant.

    parts: (degrees, variance over its expectation) of each. For a single part this is F(degrees, alikeness).
    """
    degrees = sum(part_degrees for part_degrees, _ in parts)
    squares = sum(part_degrees * x for part_degrees, x in parts)
    return (
        sum(part_degrees / 2 * np.log(x) for part_degrees, x in parts)
        - degrees / 2 * np.log(alikeness)
        - (degrees + alikeness) / 2 * np.log1p(squares / alikeness)
        + special.gammaln((degrees + alikeness) / 2)
        - special.gammaln(alikeness / 2)
    )


def _as_one(weights, scales, degrees):
    """[(variance, degrees)] of the scaled Student's t whose tails at TAILS are those of a mixture of Student's t, one per row."""
    near, far = (_quantiles(tail, weights, scales, degrees) for tail in TAILS)
    best = np.interp(-far / near, -_RATIOS, _DEGREES)
    variance = CALIBRATION * (near / special.stdtrit(best, 1 - TAILS[0] / 2)) ** 2
    return zip(variance.tolist(), best.tolist(), strict=True)


def _quantiles(tail, weights, scales, degrees):
    """x with P(|T| > x) = tail for mixtures of Student's t, one per row, by bisection of the logarithm."""
    part_quantiles = scales * special.stdtrit(degrees, 1 - tail / 2)
    low, high = np.log(part_quantiles.min(axis=1)), np.log(part_quantiles.max(axis=1))
    for _ in range(12):
        middle = (low + high) / 2
        outside = 2 * special.stdtr(degrees, -np.exp(middle)[:, None] / scales) @ weights
        low, high = np.where(outside > tail, middle, low), np.where(outside > tail, high, middle)
    return np.exp((low + high) / 2)


_DEGREES = np.geomspace(1.0, 1000.0, 200)
_RATIOS = special.stdtrit(_DEGREES, 1 - TAILS[1] / 2) / special.stdtrit(_DEGREES, 1 - TAILS[0] / 2)
