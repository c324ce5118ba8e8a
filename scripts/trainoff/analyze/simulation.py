"""Simulated experiments with a known true ratio, to check what the statistics make of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from trainoff.analyze import noise, stats


@dataclass(frozen=True)
class Noise:
    """How throughputs scatter, as standard deviations of their logarithms.

    run: between runs of a device (a number, or several, which the configurations take in turn). window: between windows of a run.
    Both are normal, unless recorded deviations (centered logarithms) are given to draw from.
    """

    run: float | tuple[float, ...]
    window: float | tuple[float, ...]
    run_deviations: tuple[float, ...] = field(default=(), repr=False)
    window_deviations: tuple[float, ...] = field(default=(), repr=False)
    # Prior knowledge of the device's kind.
    kind: noise.Kind = noise.UNKNOWN

    def draw_runs(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return _draw(generator, shape, self.run, self.run_deviations)

    def draw_windows(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return _draw(generator, shape, self.window, self.window_deviations)


def device(
    generator: np.random.Generator,
    scatter: Noise,
    configurations: int,
    replicates: int,
    windows: int,
    ratio: float = 1.0,
) -> np.ndarray:
    """Images per second of a simulated device: an array of configurations × replicates × windows."""
    runs = scatter.draw_runs(generator, (configurations, replicates, 1))
    within = scatter.draw_windows(generator, (configurations, replicates, windows))
    return 100 * ratio * np.exp(runs + within)


def ratios(device_rates: np.ndarray, baseline_rates: np.ndarray, kind: noise.Kind = noise.UNKNOWN) -> list[stats.Ratio]:
    """The stats.Ratio of each configuration of two devices of the same kind (arrays as `device` returns them)."""
    sides = [stats.rates(rates.tolist(), kind) for rates in (device_rates, baseline_rates)]
    return stats.ratios(*sides)


def verdicts(experiment: list[stats.Ratio]) -> list[str]:
    """The verdict on each configuration of an experiment, as trainoff compares devices."""
    return [verdict for *_, verdict in stats.judge(experiment)]


def simulate(
    generator: np.random.Generator,
    scatter: Noise,
    experiments: int,
    configurations: int,
    replicates: int,
    windows: int,
    ratio: float = 1.0,
) -> list[list[stats.Ratio]]:
    """The Ratios of simulated experiments in which the device is `ratio` times as fast on every configuration."""
    size = configurations, replicates, windows
    return [
        ratios(device(generator, scatter, *size, ratio=ratio), device(generator, scatter, *size), scatter.kind)
        for _ in range(experiments)
    ]


def false_alarm_rate(many: list[list[stats.Ratio]]) -> float:
    """Share of experiments between equal devices in which any verdict is faster or slower."""
    return float(
        np.mean([any(verdict in ("faster", "slower") for verdict in verdicts(experiment)) for experiment in many])
    )


def found_rate(many: list[list[stats.Ratio]]) -> float:
    """Share of all configurations whose verdict is faster."""
    return float(np.mean([verdict == "faster" for experiment in many for verdict in verdicts(experiment)]))


def held(many: list[list[stats.Ratio]], ratio: float = 1.0) -> tuple[float, float]:
    """Shares of the 95 % intervals that cover the true ratio: of configurations, and of means over them."""
    single = [result.interval for experiment in many for result in experiment]
    means = [stats.geometric_mean(experiment)[1:] for experiment in many]
    return tuple(float(np.mean([low <= ratio <= high for low, high in ends])) for ends in (single, means))


def smallest_found(
    generator: np.random.Generator,
    scatter: Noise,
    experiments: int,
    configurations: int,
    replicates: int,
    windows: int,
    share: float = 0.9,
    maximum: float = 1.0,
) -> float | None:
    """The smallest difference (0.1 = 10 %) that `share` of the comparisons detect, to within 0.5 %; None if above `maximum`.

    The device is faster by the same ratio on every configuration.
    """
    size = experiments, configurations, replicates, windows
    low, high = 0.0, maximum
    if found_rate(simulate(generator, scatter, *size, ratio=1 + high)) < share:
        return None
    while high - low > 0.005:
        middle = (low + high) / 2
        if found_rate(simulate(generator, scatter, *size, ratio=1 + middle)) >= share:
            high = middle
        else:
            low = middle
    return high


def recorded_noise(windows: pd.DataFrame, run_keys: Sequence[str], assumed_run: float) -> Noise:
    """The Noise of recorded windows (a table of `trainoff.analyze.tables.window_table`).

    Deviations of runs from the mean of their configuration and device are known only from two runs up; without any, runs are
    assumed to scatter by `assumed_run`.
    """
    counted = windows[~windows["warm_up"].astype(bool)]
    logs = np.log(counted["images_per_second"])
    keys = [counted[key] for key in run_keys]
    within = _centred(logs, keys)
    medians = logs.groupby(keys).median()
    cell_keys = [medians.index.get_level_values(key) for key in run_keys if key not in ("replicate", "seed")]
    between = _centred(medians, cell_keys)
    return Noise(
        run=float(np.sqrt(np.mean(np.square(between)))) if len(between) else assumed_run,
        window=float(np.sqrt(np.mean(np.square(within)))) if len(within) else math.nan,
        run_deviations=tuple(between),
        window_deviations=tuple(within),
    )


def _centred(values, keys):
    """Deviations from the mean of each group, without groups of one value.

    Enlarged by n / (n - 1) in variance, by which deviations from a mean of n values are smaller than from the true mean.
    """
    groups = values.groupby(keys)
    number = groups.transform("size")
    deviations = (values - groups.transform("mean")) * np.sqrt(number / (number - 1).where(number > 1))
    return deviations[number > 1].to_numpy()


def _draw(generator, shape, deviation, recorded):
    if len(recorded):
        return generator.choice(recorded, shape)
    return generator.normal(0, 1, shape) * np.resize(deviation, (shape[0], 1, 1))
