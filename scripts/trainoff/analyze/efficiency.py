"""Energy and cost of one device against another: intervals, ratios, and why there is none.

Energy is treated as its reciprocal, images per joule, which is a rate like images per second: the same statistics hold.
Figures about different parts of a machine, and figures that nobody measured, enter no ratio. The method in words is METHOD.
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
    "Energy is read over the same windows as the speed, and what stands above idle is that less the power of the idle "
    "machine for the same time. A device's figure is the median over its runs of the median over their counted "
    "windows; intervals and ratios are computed as for the speed. A ratio needs figures that were measured and are "
    "about the same part of the machine. A ratio of rents is the ratio of the prices over that of the speeds, with "
    "the interval of the latter; prices count as exact. For owning, the interval takes both ends of speed and energy, "
    "which is wider than 95%."
)


@dataclass(frozen=True)
class Energy:
    """What the runs of one device say about its energy on one configuration."""

    # stats.Rate in images per joule; None where there is no figure, and reason says why.
    rate: stats.Rate | None
    scope: str | None
    source: str | None
    reason: str | None
    above_idle: float = math.nan
    mean_watts: float = math.nan
    idle_watts: float = math.nan
    # Of the accelerator and the processor package that feeds it; of a whole chip as it is.
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
    """What `of_runs` needs of the tables energy and energy_windows: {run's key: (row, images per joule of its windows)}."""
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
    """The table of runs with the energy of the table energy in place of what the runs recorded themselves."""
    columns = [column for column in table if column not in records.RUN_KEYS]
    kept = runs.drop(columns=[column for column in columns if column in runs])
    return kept.merge(table, on=records.RUN_KEYS, how="left")[list(runs)]


def of_runs(runs: list[dict[str, Any]], found: Drawn, kind: noise.Kind) -> Energy:
    """The Energy of the runs of one cell that count. found: of `read`. kind: noise.Kind."""
    rows = [found[key] for key in map(_key, runs) if key in found]
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
            with_processor(row, run) for run in runs if (row := found.get(_key(run), (None,))[0]) is not None
        ),
    )


def with_processor(energy_row: dict[str, Any], run: dict[str, Any]) -> float:
    """Joules per image of the accelerator and the processor package; NaN where a part was not measured.

    A processor that trains is both. A chip's reading holds both and its memory, and is the nearest there is. energy_row,
    run: rows of the tables energy and runs.
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


def rate_columns(found: Energy) -> dict[str, float | str | None]:
    """The columns RATE_COLUMNS of an Energy."""
    low, high = found.interval
    values = [found.joules_per_image, low, high, found.above_idle, found.mean_watts, found.idle_watts]
    told = [found.scope, found.source, found.reason]
    return dict(zip(RATE_COLUMNS, [*values, *told, found.with_processor], strict=True))


def energy_ratio(device: Energy, baseline: Energy, names: Sequence[str]) -> tuple[stats.Ratio | None, str | None]:
    """(stats.Ratio of the joules per image, None), or (None, reason). device, baseline: Energy; names: theirs, in order."""
    for one, name in zip((device, baseline), names, strict=True):
        if one.rate is None:
            return None, reason("no_energy", device=name, why=decoded(one.reason))
        if one.source not in energy.MEASURED:
            return None, reason("declared_energy", device=name)
    if device.scope != baseline.scope:
        sides = (device, baseline)
        return None, reason(
            "other_scope",
            devices=list(names),
            scopes=[one.scope for one in sides],
            sources=[one.source for one in sides],
        )
    # Images per joule of the baseline over those of the device are joules of the device over those of the baseline.
    return stats.ratio(baseline.rate, device.rate), None


def cost_columns(
    sides: Sequence[tuple[stats.Rate, Energy]], names: Sequence[str], assumptions: dict[str, Any], speed: stats.Ratio
) -> dict[str, Any]:
    """The columns of cost of one configuration and pair.

    sides: (stats.Rate, Energy) of the device and of the baseline. assumptions: of trainoff.analyze.cost. speed: stats.Ratio.
    """
    facts = [assumptions["devices"].get(name, {"purchase": None, "rental": None}) for name in names]
    reasons = [cost.renting_unknown(name, True, one["rental"]) for name, one in zip(names, facts, strict=True)]
    values = dict.fromkeys(RATIO_COLUMNS[4:-1], math.nan)
    if not any(reasons):
        prices = facts[0]["rental"]["per_hour"] / facts[1]["rental"]["per_hour"]
        low, high = speed.interval
        values |= {"cost_ratio": prices / speed.ratio, "cost_low": prices / high, "cost_high": prices / low}
    power = assumptions["electricity"]
    per_kwh = power and power["per_kwh"]
    ends = [owned_per_image(*side, one["purchase"], per_kwh) for side, one in zip(sides, facts, strict=True)]
    if None not in ends:
        (middle, low, high), (below, below_low, below_high) = ends
        values |= {
            "owned_cost_ratio": middle / below,
            "owned_cost_low": low / below_high,
            "owned_cost_high": high / below_low,
        }
    else:
        reasons += [
            cost.owning_unknown(name, True, one["purchase"], per_kwh, found.rate is not None)
            for name, one, (_, found) in zip(names, facts, sides, strict=True)
        ]
    return values | {"cost_reason": "; ".join(dict.fromkeys(filter(None, reasons)))}


def owned_per_image(
    rate: stats.Rate, found: Energy, purchase: dict[str, Any] | None, per_kwh: float | None
) -> tuple[float, float, float] | None:
    """(cost of an image, lowest, highest) on a device that is owned; None where a part is unknown."""
    if purchase is None or per_kwh is None or found.rate is None:
        return None
    slow, fast = stats.interval(rate.images_per_second, rate.variance, rate.degrees)
    low, high = found.interval
    speeds, joules = (rate.images_per_second, fast, slow), (found.joules_per_image, low, high)
    return tuple(cost.owned(1 / speed, drawn, purchase, per_kwh) for speed, drawn in zip(speeds, joules, strict=True))


def overall_columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the configurations of one pair: geometric, of those that have the ratio. rows: of the comparison.

    Besides the ratios and their intervals, how many configurations stand behind each, and one reason for those that have
    none. Each row carries its stats.Ratio of energy as "found_energy".
    """
    energies = [row["found_energy"] for row in rows if row["found_energy"]]
    mean, low, high = stats.geometric_mean(energies)
    values = {"energy_ratio": mean, "energy_low": low, "energy_high": high, "energy_compared": len(energies)}
    values["energy_reason"] = next((row["energy_reason"] for row in rows if row["energy_reason"]), "")
    for name in ("cost", "owned_cost"):
        own = [row for row in rows if numbers.known(row[f"{name}_ratio"])]
        values |= {f"{name}_{end}": _geometric(row[f"{name}_{end}"] for row in own) for end in ("ratio", "low", "high")}
        values[f"{name}_compared"] = len(own)
    if rows:
        speed = stats.geometric_mean(
            [row["found"] for row in rows if row["found"] and numbers.known(row["cost_ratio"])]
        )
        # Prices are exact, so the mean of the rents is known as well as that of the speeds.
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
