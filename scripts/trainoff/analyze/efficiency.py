"""Energy and cost of two devices compared: intervals and ratios, or the reason why there is none.

Statistics are done on the reciprocal, images per joule, which is a rate like images per second. Figures that cover different
parts of a machine, or that were declared and not measured, enter no ratio. METHOD describes the method in words.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from trainoff import energy, numbers, records
from trainoff.analyze import cost, noise, stats
from trainoff.analyze.reasons import decoded, reason
from trainoff.analyze.tables import ENERGY_KEYS

SCOPE_WORDS = {
    "gpu": "the GPU alone",
    "package": "the processor package",
    "gpu_and_package": "the GPU and the processor package",
    "soc": "the whole chip (CPU, GPU and memory)",
    "machine": "the whole machine",
}
SOURCE_WORDS = {
    "nvml": "NVIDIA's counter (NVML)",
    "amdsmi": "AMD's counter (AMD SMI)",
    "ioreport": "Apple's counter (IOReport)",
    "rapl": "the processor's counter (RAPL)",
    "wall_meter": "a wall meter",
    "declared": "declared, not measured",
}
RATE_COLUMNS = [
    "joules_per_image",
    "joules_per_image_low",
    "joules_per_image_high",
    *ENERGY_KEYS[1:],
    "joules_per_image_with_processor",
]
RATIO_COLUMNS = [
    "energy_ratio",
    "energy_low",
    "energy_high",
    "energy_reason",
    "cost_ratio",
    "cost_low",
    "cost_high",
    "owned_cost_ratio",
    "owned_cost_low",
    "owned_cost_high",
    "cost_reason",
]

METHOD = (
    "Energy is read over the same epochs as the speed; energy above idle is the energy less the power of the idle "
    "machine times the same seconds. A device's energy per image is the geometric mean over its runs of the median over their "
    "counted epochs; energy above idle and mean power are medians over its runs. Intervals and ratios are computed as for the "
    "speed, but from each configuration alone. A ratio needs figures that were measured and that cover the same part of the "
    "machine. A ratio of rents is the ratio of the prices divided by that of the speeds, with "
    "the interval of the latter; prices count as exact. For owning, the interval combines both ends of speed and energy, "
    "so it is wider than a 95% interval."
)


@dataclass(frozen=True)
class Energy:
    """The energy of one device on one configuration, over its runs."""

    # stats.Rate in images per joule; None without a figure, and `reason` says why.
    rate: stats.Rate | None
    scope: str | None
    source: str | None
    reason: str | None
    above_idle: float = math.nan
    mean_watts: float = math.nan
    idle_watts: float = math.nan
    # Joules per image of the accelerator with the processor package that feeds it; for a whole chip, of the chip.
    with_processor: float = math.nan

    @property
    def joules_per_image(self) -> float:
        return 1 / self.rate.images_per_second if self.rate else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the joules per image."""
        if self.rate is None:
            return math.nan, math.nan
        low, high = stats.interval(self.rate.images_per_second, self.rate.variance, self.rate.degrees)
        return 1 / high, 1 / low


# {run's key: (row of the table energy, images per joule of its windows)}.
Drawn = dict[tuple[Any, ...], tuple[dict[str, Any], list[float]]]
UNKNOWN = Energy(None, None, None, reason("unread"))


def read(table: pd.DataFrame, windows: pd.DataFrame) -> Drawn:
    """The tables energy and energy_windows for `of_runs`: {run's key: (row, images per joule of its windows)}."""
    per_joule = {}
    counted = windows[~windows["warm_up"].astype(bool) & windows["energy_joules"].notna()]
    for *key, images, joules in counted[[*records.RUN_KEYS, "images", "energy_joules"]].itertuples(
        index=False, name=None
    ):
        per_joule.setdefault(tuple(key), []).append(images / joules)
    keys = table[records.RUN_KEYS].itertuples(index=False, name=None)
    return {
        tuple(key): (row, per_joule.get(tuple(key), []))
        for key, row in zip(keys, table.to_dict("records"), strict=True)
    }


def with_energy(runs: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The table of runs with the energy from the table energy instead of that in the runs' records."""
    columns = [column for column in table if column not in records.RUN_KEYS]
    others = runs.drop(columns=[column for column in columns if column in runs])
    return others.merge(table, on=records.RUN_KEYS, how="left")[list(runs)]


def of_runs(runs: list[dict[str, Any]], drawn: Drawn, kind: noise.Kind) -> Energy:
    """The Energy of a result. runs: those of it that count. drawn: of `read`. kind: noise.Kind."""
    rows = [drawn[key] for key in map(_key, runs) if key in drawn]
    known = [(row, windows) for row, windows in rows if numbers.known(row["joules_per_image"])]
    if not known:
        return Energy(
            None, None, None, next((row["energy_reason"] for row, _ in rows if row["energy_reason"]), UNKNOWN.reason)
        )
    kinds = {(row["energy_scope"], row["energy_source"]) for row, _ in known}
    if len(kinds) > 1:
        return Energy(None, None, None, reason("mixed_readings", readings=sorted(map(list, kinds))))
    ((scope, source),) = kinds
    return Energy(
        stats.rate([windows for _, windows in known], kind),
        scope,
        source,
        None,
        **{name: _median(row[column] for row, _ in known) for name, column in _MEDIANS.items()},
        with_processor=_median(
            with_processor(row, run) for run in runs if (row := drawn.get(_key(run), (None,))[0]) is not None
        ),
    )


def with_processor(energy_row: dict[str, Any], run: dict[str, Any]) -> float:
    """Joules per image of the accelerator and the processor package; NaN if a part was not measured.

    If the processor itself trains, its package is both. The reading of a whole chip covers both and the memory, and is the
    closest available. energy_row, run: rows of the tables energy and runs.
    """
    joules, scope = energy_row["joules_per_image"], energy_row["energy_scope"]
    if not numbers.known(joules) or energy_row["energy_source"] not in energy.MEASURED:
        return math.nan
    if scope in ("package", "soc"):
        return joules
    watts, speed = run.get("package_watts"), run.get("images_per_second")
    if scope != "gpu" or not numbers.known(watts) or not numbers.known(speed):
        return math.nan
    return joules + watts / speed


def _key(run):
    return tuple(run[name] for name in records.RUN_KEYS)


def rate_columns(device_energy: Energy) -> dict[str, float | str | None]:
    """The columns RATE_COLUMNS of an Energy."""
    low, high = device_energy.interval
    values = [
        device_energy.joules_per_image,
        low,
        high,
        device_energy.above_idle,
        device_energy.mean_watts,
        device_energy.idle_watts,
    ]
    texts = [device_energy.scope, device_energy.source, device_energy.reason]
    return dict(zip(RATE_COLUMNS, [*values, *texts, device_energy.with_processor], strict=True))


def energy_ratio(device: Energy, baseline: Energy, names: Sequence[str]) -> tuple[stats.Ratio | None, str | None]:
    """(stats.Ratio of the joules per image, None), or (None, reason). device, baseline: Energy; names: of both, in this order."""
    for side, name in zip((device, baseline), names, strict=True):
        if side.rate is None:
            return None, reason("no_energy", device=name, why=decoded(side.reason))
        if side.source not in energy.MEASURED:
            return None, reason("declared_energy", device=name)
    if device.scope != baseline.scope:
        sides = (device, baseline)
        return None, reason(
            "other_scope",
            devices=list(names),
            scopes=[side.scope for side in sides],
            sources=[side.source for side in sides],
        )
    # The baseline's images per joule over the device's equal the device's joules per image over the baseline's.
    return stats.ratio(baseline.rate, device.rate), None


def cost_columns(
    sides: Sequence[tuple[stats.Rate, Energy]], names: Sequence[str], assumptions: dict[str, Any], speed: stats.Ratio
) -> dict[str, Any]:
    """The cost columns of one configuration and pair.

    sides: (stats.Rate, Energy) of the device and of the baseline. assumptions: of trainoff.analyze.cost. speed: stats.Ratio.
    """
    facts = [assumptions["devices"].get(name, {"purchase": None, "rental": None}) for name in names]
    reasons = [cost.renting_unknown(name, True, entry["rental"]) for name, entry in zip(names, facts, strict=True)]
    values = dict.fromkeys(RATIO_COLUMNS[4:-1], math.nan)
    if not any(reasons):
        prices = facts[0]["rental"]["per_hour"] / facts[1]["rental"]["per_hour"]
        low, high = speed.interval
        values |= {"cost_ratio": prices / speed.ratio, "cost_low": prices / high, "cost_high": prices / low}
    power = assumptions["electricity"]
    per_kwh = power and power["per_kwh"]
    # The baseline's seconds are those of its runs. The device's follow from the ratio of speeds, which turns know better.
    seconds = 1 / sides[1][0].images_per_second
    of_images = [[seconds / value for value in (speed.ratio, *reversed(speed.interval))], [seconds] * 3]
    ends = [
        owned_per_image(of_image, device_energy, entry["purchase"], per_kwh)
        for of_image, (_, device_energy), entry in zip(of_images, sides, facts, strict=True)
    ]
    if None not in ends:
        (middle, low, high), (below, below_low, below_high) = ends
        values |= {
            "owned_cost_ratio": middle / below,
            "owned_cost_low": low / below_high,
            "owned_cost_high": high / below_low,
        }
    else:
        reasons += [
            cost.owning_unknown(name, True, entry["purchase"], per_kwh, device_energy.rate is not None)
            for name, entry, (_, device_energy) in zip(names, facts, sides, strict=True)
        ]
    return values | {"cost_reason": "; ".join(dict.fromkeys(filter(None, reasons)))}


def owned_per_image(
    seconds: Sequence[float], device_energy: Energy, purchase: dict[str, Any] | None, per_kwh: float | None
) -> tuple[float, float, float] | None:
    """(cost of an image, low, high) on a device that is owned; None if a part is unknown.

    seconds: of an image, with the low and the high end of their interval.
    """
    if purchase is None or per_kwh is None or device_energy.rate is None:
        return None
    joules = (device_energy.joules_per_image, *device_energy.interval)
    return tuple(cost.owned(*work, purchase, per_kwh) for work in zip(seconds, joules, strict=True))


def overall_columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Geometric means over the configurations of one pair that have the ratio. rows: of the comparison.

    Besides the ratios and their intervals: the number of configurations behind each, and a reason for those without. Each row
    carries its stats.Ratio of energy as "found_energy".
    """
    energies = [row["found_energy"] for row in rows if row["found_energy"]]
    mean, low, high = stats.geometric_mean(energies)
    values = {"energy_ratio": mean, "energy_low": low, "energy_high": high, "energy_compared": len(energies)}
    values["energy_reason"] = next((row["energy_reason"] for row in rows if row["energy_reason"]), "")
    for name in ("cost", "owned_cost"):
        known_rows = [row for row in rows if numbers.known(row[f"{name}_ratio"])]
        values |= {
            f"{name}_{end}": _geometric(row[f"{name}_{end}"] for row in known_rows) for end in ("ratio", "low", "high")
        }
        values[f"{name}_compared"] = len(known_rows)
    if rows:
        speed = stats.geometric_mean(
            [row["found"] for row in rows if row["found"] and numbers.known(row["cost_ratio"])]
        )
        # Prices are exact, so the mean of the rents has the relative interval of the mean of the speeds.
        values |= {
            "cost_low": values["cost_ratio"] * speed[0] / speed[2],
            "cost_high": values["cost_ratio"] * speed[0] / speed[1],
        }
    values["cost_reason"] = next((row["cost_reason"] for row in rows if row["cost_reason"]), "")
    return values


OVERALL_COLUMNS = [
    "energy_ratio",
    "energy_low",
    "energy_high",
    "energy_compared",
    "energy_reason",
    "cost_ratio",
    "cost_low",
    "cost_high",
    "cost_compared",
    "owned_cost_ratio",
    "owned_cost_low",
    "owned_cost_high",
    "owned_cost_compared",
    "cost_reason",
]

_MEDIANS = {"above_idle": "joules_per_image_above_idle", "mean_watts": "mean_watts", "idle_watts": "idle_watts"}


def _median(values):
    values = [value for value in values if numbers.known(value)]
    return statistics.median(values) if values else math.nan


def _geometric(values):
    values = list(values)
    return statistics.geometric_mean(values) if values else math.nan
