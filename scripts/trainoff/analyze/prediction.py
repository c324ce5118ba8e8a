"""Training speeds of devices that were not measured: estimates with intervals, from data sheets, counts of layers and anchors.

Two parts (docs/prediction.md):

1. A law for the seconds of one image, with coefficients fitted on published training speeds:

       multiply-adds / peak + bytes of activations / bandwidth + (overhead of layers + bytes of the optimizer / bandwidth) / batch

   each term times a coefficient: that of compute depends on the units that compute (`mode`), those of memory and overhead on the
   class of device. Training the last layer alone computes the forward pass only, with coefficients of its own.

2. A correction in the logarithm: the deviations of anchors from the law, weighted by similarity (best linear prediction with the
   covariance of `Correction`, also known as kriging). An anchor with the same device, chip, framework, network or source counts
   the more, the closer its intensity (multiply-adds per activation), image size, batch size and precision.

Intervals are those of the correction, scaled so that they cover 90 % of the catalog's figures left out of the fit, separately for
each class of device and kind of network (conformal prediction by categories: V. Vovk et al. (2005), Algorithmic learning in a
random world).
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

LEVEL = 0.90
MODES = ("float32", "tf32", "tensor", "half", "metal", "cpu")
CLASSES = ("cuda", "metal", "cpu")
# Prior of the coefficients, in logarithms: (mean, standard deviation).
_COMPUTE, _MEMORY, _OVERHEAD, _OPTIMIZER = (0.3, 0.5), (3.3, 0.5), (-0.7, 1.0), (1.5, 0.5)
_FORWARD_COMPUTE, _FORWARD_MEMORY = (-1.1, 0.3), (-1.4, 0.5)
PRIOR = np.array(
    [_COMPUTE] * len(MODES)
    + [_MEMORY] * len(CLASSES)
    + [_OVERHEAD] * len(CLASSES)
    + [_OPTIMIZER, _FORWARD_COMPUTE, _FORWARD_MEMORY]
)
_AT_MEMORY, _AT_OVERHEAD = len(MODES), len(MODES) + len(CLASSES)
_AT_OPTIMIZER = _AT_OVERHEAD + len(CLASSES)
# The table of timings as a whole weighs as much as this many anchors: it shows the share of memory, but for a single device.
TABLE_WEIGHT = 30
# Multiply-adds per activation below which memory limits a network more than arithmetic, as with depthwise convolutions.
LIGHT = 150
# A category with fewer errors than this takes the stretch of its class of device, and such a class that of all devices.
ENOUGH_ERRORS = 40
BYTES_OF_PRECISION = {"float32": 4, "mixed_float16": 2, "mixed_bfloat16": 2}


@dataclasses.dataclass(frozen=True)
class Correction:
    """Standard deviations of the deviations from the law, in logarithms, and length scales of similarity (far_…).

    Fitted by maximum likelihood on the catalog of 2026-11 (`python benchmarks/prediction.py --fit` fits them again).
    """

    device: float = 0.056
    chip: float = 0.102
    device_task: float = 0.146
    software: float = 0.137
    software_task: float = 0.419
    model: float = 0.261
    source: float = 0.118
    source_device_task: float = 0.138
    noise: float = 0.041
    far_intensity: float = 1.6
    far_image: float = 2.0
    far_precision: float = 0.55
    far_batch: float = 3.4
    # Not fitted, since hardly anything is published: a device without a data sheet; training the last layer alone.
    unknown_device: float = 1.0
    last_layer: float = 0.25


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Images per second of a training with the interval, and the weights of the anchors ({observation: weight})."""

    images_per_second: float
    low: float
    high: float
    weights: dict


@dataclasses.dataclass(frozen=True)
class Terms:
    """The terms of the law for a table of observations, as arrays: seconds at the data sheet's limits, without coefficients."""

    mode: np.ndarray
    device_class: np.ndarray
    trainable: np.ndarray
    compute: np.ndarray
    memory: np.ndarray
    layers: np.ndarray
    optimizer: np.ndarray
    batch_size: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Terms":
        """Forward and backward pass count as three forward passes, a multiply-add as two operations."""
        bandwidth = table["gb_per_second"].to_numpy(float) * 1e9
        width = table["precision"].map(BYTES_OF_PRECISION).to_numpy(float)
        return cls(
            mode=table["mode"].map(MODES.index).to_numpy(int),
            device_class=table["device_class"].map(CLASSES.index).to_numpy(int),
            trainable=table["trainable"].to_numpy(bool),
            compute=6 * table["multiply_adds"].to_numpy(float) / (table["tflops"].to_numpy(float) * 1e12),
            memory=width * table["activations"].to_numpy(float) / bandwidth,
            layers=1e-3 * table["layers"].to_numpy(float),
            optimizer=4 * table["parameters"].to_numpy(float) / bandwidth,
            batch_size=table["batch_size"].to_numpy(float),
        )


def law(coefficients: np.ndarray, terms: Terms) -> np.ndarray:
    """Logarithm of the seconds per image of each observation according to the law alone."""
    c = np.exp(coefficients)
    optimizer, forward_compute, forward_memory = c[_AT_OPTIMIZER:]
    whole = terms.trainable
    step = terms.layers * c[_AT_OVERHEAD + terms.device_class] * np.where(whole, 1.0, 1 / 3)
    step = step + np.where(whole, terms.optimizer * optimizer, 0.0)
    compute = terms.compute * c[terms.mode] * np.where(whole, 1.0, forward_compute)
    memory = terms.memory * c[_AT_MEMORY + terms.device_class] * np.where(whole, 1.0, forward_memory)
    return np.log(compute + memory + step / terms.batch_size)


def fit_law(table: pd.DataFrame, timings: pd.DataFrame, start: np.ndarray | None = None) -> np.ndarray:
    """The coefficients that fit the observations best.

    timings: of `as_observations`; they affect the ratios of terms only. start: coefficients to start from, which is faster.
    """
    seconds = -np.log(table["images_per_second"].to_numpy(float))
    speeds = -np.log(timings["images_per_second"].to_numpy(float))
    # Many figures of the same source, device, framework and image size carry little more information than one.
    same = table.groupby(["device", "software", "source", "img_dim"])["device"].transform("size").to_numpy()
    weight = same**-0.5
    layout = timings["layout"].eq("nhwc").to_numpy()
    spread = (TABLE_WEIGHT / max(len(timings), 1)) ** 0.5
    terms, others = Terms.of(table), Terms.of(timings)

    def residuals(values):
        coefficients, scales = values[:-2], values[-2:]
        off = law(coefficients, others) + np.where(layout, scales[1], scales[0]) - speeds
        return np.concatenate(
            [
                (law(coefficients, terms) - seconds) * weight / 0.3,
                off * spread / 0.3,
                (coefficients - PRIOR[:, 0]) / PRIOR[:, 1],
                scales / 1.0,
            ]
        )

    first = np.concatenate([PRIOR[:, 0] if start is None else start, [0.0, 0.0]])
    return least_squares(residuals, first, loss="soft_l1", xtol=1e-5, ftol=1e-6).x[:-2]


def covariance(left: pd.DataFrame, right: pd.DataFrame, scales: Correction) -> np.ndarray:
    """Covariance between the deviations from the law of two tables of observations (without the noise of each)."""

    def same(column):
        return left[column].to_numpy()[:, None] == right[column].to_numpy()[None, :]

    def near():
        distance = 0.0
        for first, second, far in zip(_task(left), _task(right), _far(scales), strict=True):
            distance = distance + ((first[:, None] - second[None, :]) / far) ** 2
        return np.exp(-0.5 * distance)

    task, kind = near(), same("device_class")
    device, software = same("device"), same("software") & kind
    source = same("source") & software
    unknown = device & left["device"].str.startswith("measured:").to_numpy()[:, None]
    frozen = ~left["trainable"].to_numpy(bool)[:, None] & ~right["trainable"].to_numpy(bool)[None, :]
    return (
        scales.device**2 * device
        + scales.chip**2 * same("chip")
        + scales.device_task**2 * device * task
        + scales.software**2 * software
        + scales.software_task**2 * software * task
        + scales.model**2 * (same("model") & kind)
        + scales.source**2 * source
        + scales.source_device_task**2 * (source & device) * task
        + scales.unknown_device**2 * unknown
        + scales.last_layer**2 * (frozen & kind)
    )


def _task(table):
    """Coordinates of a training: intensity, image size, precision, batch size, weights trained. See `_far` for their scales."""
    return [
        np.log(table["multiply_adds"].to_numpy(float) / table["activations"].to_numpy(float)),
        np.log2(table["img_dim"].to_numpy(float)),
        table["precision"].ne("float32").to_numpy(float),
        np.log2(table["batch_size"].to_numpy(float)),
        table["trainable"].to_numpy(float),
    ]


def _far(scales):
    return (scales.far_intensity, scales.far_image, scales.far_precision, scales.far_batch, 1.0)


# Queries are split into parts of this size, since the covariance between them takes a matrix.
PART = 100


class Predictor:
    """Estimates from observations. stretch: {category: half the interval over the standard deviation}."""

    def __init__(self, table, timings, scales=Correction(), start=None):
        self.table, self.scales = table, scales
        self.coefficients = fit_law(table, timings, start)
        self.missed = -np.log(table["images_per_second"].to_numpy(float)) - law(self.coefficients, Terms.of(table))
        self.inverse = np.linalg.inv(covariance(table, table, scales) + scales.noise**2 * np.eye(len(table)))
        self.stretch = self._calibrated()

    def logarithms(self, queries: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(mean, standard deviation, weights of the anchors) of the logarithm of seconds per image, per query."""
        between = covariance(queries, self.table, self.scales)
        weights = between @ self.inverse
        parts = [queries.iloc[start : start + PART] for start in range(0, len(queries), PART)]
        prior = np.concatenate([np.diag(covariance(part, part, self.scales)) for part in parts])
        variance = prior + self.scales.noise**2 - np.einsum("ij,ij->i", weights, between)
        mean = law(self.coefficients, Terms.of(queries)) + weights @ self.missed
        return mean, np.sqrt(np.maximum(variance, self.scales.noise**2)), weights

    def estimate(self, queries: pd.DataFrame) -> list[Estimate]:
        """An Estimate per row of `queries` (a table of observations whose speed is unknown)."""
        mean, deviation, weights = self.logarithms(queries)
        half = deviation * np.array([self.stretch[category] for category in self._categories(queries)])
        names = self.table.index
        return [
            Estimate(
                float(np.exp(-middle)),
                float(np.exp(-middle - reach)),
                float(np.exp(-middle + reach)),
                {name: float(weight) for name, weight in zip(names, row, strict=True) if abs(weight) > 1e-3},
            )
            for middle, reach, row in zip(mean, half, weights, strict=True)
        ]

    def left_out(self, groups: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(error, standard deviation) in logarithms of every observation, estimated without the observations of its group.

        The coefficients of the law stay the same; the correction is that of the other observations (block of the inverse,
        Rasmussen & Williams 2006, 5.4.2). groups: one label per observation.
        """
        error, deviation = np.empty(len(groups)), np.empty(len(groups))
        pulled = self.inverse @ self.missed
        groups = np.asarray(groups)
        for group in np.unique(groups):
            at = np.flatnonzero(groups == group)
            block = np.linalg.inv(self.inverse[np.ix_(at, at)])
            error[at], deviation[at] = block @ pulled[at], np.sqrt(np.diag(block))
        return error, deviation

    def _calibrated(self):
        """{category: stretch}, so that intervals cover LEVEL of the catalog, each figure estimated without SCHEMES' groups."""
        quoted = self.table["kind"].eq("quoted").to_numpy()
        devices, light = self.table["device_class"].to_numpy()[quoted], is_light(self.table)[quoted]
        stretches = {}
        for trained, schemes in ((True, SCHEMES.values()), (False, (NETWORK,))):
            left_out = [self.left_out(group_labels(self.table, columns)) for columns in schemes]
            ratios = np.concatenate([(np.abs(error) / deviation)[quoted] for error, deviation in left_out])
            for name, kind in itertools.product(CLASSES, (True, False)):
                of_class = devices == name
                masks = [
                    np.tile(mask, len(left_out))
                    for mask in (of_class & (light == kind), of_class, np.full(len(of_class), True))
                ]
                enough = next((mask for mask in masks if mask.sum() >= ENOUGH_ERRORS), masks[-1])
                stretches[name, kind, trained] = max(_quantile(ratios[enough]), stretches.get((name, kind, True), 0.0))
        return stretches

    def _categories(self, queries):
        """[(class of device, whether the network is light, whether a device of this class has trained it)] of observations."""
        known = set(zip(self.table["device_class"], self.table["model"], strict=True))
        pairs = zip(queries["device_class"], queries["model"], strict=True)
        trained = [pair in known for pair in pairs]
        return list(zip(queries["device_class"], is_light(queries).tolist(), trained, strict=True))


def is_light(table: pd.DataFrame) -> np.ndarray:
    """Whether memory limits the network of each observation more than arithmetic does."""
    return (table["multiply_adds"] / table["activations"] < LIGHT).to_numpy()


# What is left out together to calibrate intervals: observations with equal values in these columns.
SCHEMES = {
    "model on a device": ["device", "model", "img_dim"],
    "source on a device": ["device", "source"],
    "device": ["device"],
}
# The same for a network that no device of the class has trained.
NETWORK = ["device_class", "model"]


def group_labels(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """One label per observation, equal where these columns are equal."""
    return table[columns].astype(str).agg("|".join, axis=1).to_numpy()


def _quantile(ratios):
    """The conformal quantile: if errors are exchangeable, the next one is below it with a probability of at least LEVEL."""
    ratios = np.sort(np.asarray(ratios, float))
    if not len(ratios):
        return 1.645
    return float(ratios[min(int(np.ceil((len(ratios) + 1) * LEVEL)) - 1, len(ratios) - 1)])


def as_observations(timings: pd.DataFrame) -> pd.DataFrame:
    """The table of one GPU's training and forward speeds (catalog/timm-training.csv) with the columns that the law needs."""
    table = timings.rename(
        columns={"gmacs": "multiply_adds", "mactivations": "activations", "mparameters": "parameters"}
    )
    table = table.assign(multiply_adds=table["multiply_adds"] * 1e9, activations=table["activations"] * 1e6)
    table = table.assign(parameters=table["parameters"] * 1e6, layers=100, device_class="cuda", mode="tensor")
    table = table.assign(precision="mixed_float16", trainable=True, tflops=71.0, gb_per_second=936.0)
    forward = table.dropna(subset="forward_images_per_second")
    forward = forward.assign(trainable=False, images_per_second=forward["forward_images_per_second"], batch_size=1024)
    columns = [column for column in table if column != "forward_images_per_second"]
    return type(table)({name: [*table[name], *forward[name]] for name in columns})
