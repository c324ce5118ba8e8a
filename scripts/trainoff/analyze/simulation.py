"""Experiments made of known truth: what the statistics say when we know what they ought to say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from trainoff.analyze import noise, stats


@dataclass(frozen=True)
class Noise:
    """How rates scatter, as standard deviations of their logarithms.

    run and window: between runs of one device (a number, or several that configurations have in turn), and between windows of
    one run; normal, unless recorded deviations (logarithms, centred) are given to draw from instead.
    """

    run: float | tuple[float, ...]
    window: float | tuple[float, ...]
    run_deviations: tuple[float, ...] = field(default=(), repr=False)
    window_deviations: tuple[float, ...] = field(default=(), repr=False)
    # What is known beforehand of the device's kind (noise.Kind).
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
    """Rates of one simulated device, images per second: an array of configurations × replicates × windows."""
    runs = scatter.draw_runs(generator, (configurations, replicates, 1))
    within = scatter.draw_windows(generator, (configurations, replicates, windows))
    return 100 * ratio * np.exp(runs + within)


def ratios(device_rates: np.ndarray, baseline_rates: np.ndarray, kind: noise.Kind = noise.UNKNOWN) -> list[stats.Ratio]:
    """The stats.Ratio of each configuration of two devices of a kind (arrays as `device` returns)."""
    sides = [stats.rates(rates.tolist(), kind) for rates in (device_rates, baseline_rates)]
    return stats.ratios(*sides)


def verdicts(found: list[stats.Ratio]) -> list[str]:
    """The verdict on each configuration of an experiment, as trainoff compares devices."""
    return [verdict for *_, verdict in stats.judge(found)]


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
    """Share of experiments in which any verdict calls a difference, of equal devices."""
    return float(np.mean([any(verdict in ("faster", "slower") for verdict in verdicts(one)) for one in many]))


def found_rate(many: list[list[stats.Ratio]]) -> float:
    """Share of all configurations called faster."""
    return float(np.mean([verdict == "faster" for one in many for verdict in verdicts(one)]))


def held(many: list[list[stats.Ratio]], ratio: float = 1.0) -> tuple[float, float]:
    """Shares of the 95 % intervals that hold the true ratio: of configurations, and of means over them."""
    single = [found.interval for one in many for found in one]
    means = [stats.geometric_mean(one)[1:] for one in many]
    return tuple(float(np.mean([low <= ratio <= high for low, high in ends])) for ends in (single, means))


def smallest_found(
    generator: np.random.Generator,
    scatter: Noise,
    experiments: int,
    configurations: int,
    replicates: int,
    windows: int,
    share: float = 0.9,
    most: float = 1.0,
) -> float | None:
    """The smallest difference (0.1 = 10 %) that `share` of the comparisons call, within 0.5 %; None when over `most`.

    The device is faster by the same on every configuration.
    """
    size = experiments, configurations, replicates, windows
    low, high = 0.0, most
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
    """The Noise of recorded windows (a table as `trainoff.analyze.tables.window_table` makes).

    Deviations of runs from the mean of their configuration and device are known only where there are two or more runs;
    where there are none, runs are assumed to scatter by `assumed_run`.
    """
    counted = windows[~windows["warm_up"].astype(bool)]
    logs = np.log(counted["images_per_second"])
    keys = [counted[key] for key in run_keys]
    # Deviations from a mean of n values are too small by (n - 1) / n in variance.
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
    """Deviations from the mean of their group, as large as those from the true mean; groups of one are left out."""
    groups = values.groupby(keys)
    number = groups.transform("size")
    deviations = (values - groups.transform("mean")) * np.sqrt(number / (number - 1).where(number > 1))
    return deviations[number > 1].to_numpy()


def _draw(generator, shape, deviation, recorded):
    if len(recorded):
        return generator.choice(recorded, shape)
    return generator.normal(0, 1, shape) * np.resize(deviation, (shape[0], 1, 1))
