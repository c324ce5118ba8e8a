"""Two devices compared: which pair the report is about, the rows of tables seen from either device, and the verdicts.

Numbers and codes only; trainoff.report.words puts them into words.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from trainoff import configurations, numbers
from trainoff.analyze.reasons import decoded
from trainoff.energy import MEASURED

# Columns of the tables comparison, best and overall that are inverted when the sides of a pair are exchanged: (ratio, low, high).
RATIOS = (
    ("ratio", "ci_low", "ci_high"),
    ("energy_ratio", "energy_low", "energy_high"),
    ("cost_ratio", "cost_low", "cost_high"),
    ("owned_cost_ratio", "owned_cost_low", "owned_cost_high"),
)
SIDES = ("images_per_second", "replicates", "spread_source", "precision", "xla")
OPPOSITE = {"faster": "slower", "slower": "faster"}
WAYS = ("owned", "rented")
# Subsets of the table `overall` whose ratios may be too different for a common one: {subset: its value of trainable}.
PARTS = {"trainable=true": True, "trainable=false": False}


@dataclass(frozen=True)
class Pair:
    """The two devices that the report compares first, by name: `device` against `baseline`."""

    device: str
    baseline: str


@dataclass(frozen=True)
class Verdict:
    """Which device of a pair wins in one quantity.

    outcome: wins, undecided or unknown; for speed also equivalent, or depends: each device wins in some configurations, neither
    overall; for energy also estimated: from readings of different parts. ratio, low, high: of the winner (or the device that the
    ratio favors), at least 1; None if unknown. The outcome `estimated` has no interval: its low and high are the ends over the
    configurations. won, lost, equivalent: the configurations that the winner won and lost, and those that are equivalent within
    `margin` (0.05 for ±5 %), for speed only. compared: the configurations with this ratio, out of `total`; from_turns: those of
    them that took turns, for speed and rent. kind: measured, estimated or unknown. facts: {device: what its figure is about}.
    reasons: {device: reason code or recorded text} of an unknown outcome. parts: the Verdicts with all weights and with the last
    layer alone, if one has a winner and their intervals do not overlap, so that a common ratio describes neither.
    """

    quantity: str
    outcome: str
    winner: str | None = None
    loser: str | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    won: int = 0
    lost: int = 0
    equivalent: int = 0
    margin: float | None = None
    compared: int = 0
    from_turns: int = 0
    total: int = 0
    kind: str = "unknown"
    facts: dict = field(default_factory=dict)
    reasons: dict = field(default_factory=dict)
    parts: tuple["Verdict", ...] = ()

    @property
    def open(self) -> int:
        """The configurations whose speed is undecided."""
        return self.compared - self.won - self.lost - self.equivalent


def by_speed(rates: pd.DataFrame, devices: Iterable[str], accelerators: dict[str, str]) -> list[str]:
    """Names of `devices`: accelerators before CPUs, fast before slow, devices without a speed last.

    The order is by the mean over configurations of the logarithm of images per second, relative to all devices with that
    configuration. accelerators: {name: "cpu" or another kind}.
    """
    known = rates.dropna(subset="images_per_second")
    logs = np.log(known["images_per_second"].astype(float))
    keys = [known[axis] for axis in configurations.AXES]
    above = (logs - logs.groupby(keys).transform("mean")).groupby(known["device"]).mean().to_dict()
    return sorted(
        devices, key=lambda name: (name not in above, accelerators.get(name) == "cpu", -above.get(name, -math.inf))
    )


def chosen(
    ranked: list[str],
    accelerators: dict[str, str],
    frameworks: dict[str, str],
    compare: Sequence[str] | None = None,
    baseline: str | None = None,
) -> Pair | None:
    """The Pair that the report is about, None with a single device.

    ranked: names in the order of `by_speed`. accelerators: as there. frameworks: {name: its framework}. compare: two names.
    baseline: the device that the best of the others is compared with. Without either, the two fastest accelerators; a single
    accelerator is compared with the fastest CPU, preferably on the same framework, so that only the devices differ.
    """
    here = [name for name in compare or [] if name in ranked]
    if len(here) == 2:
        return Pair(*here)
    if len(ranked) < 2:
        return None
    if baseline in ranked:
        return Pair(next(name for name in ranked if name != baseline), baseline)
    first, *others = ranked

    def is_cpu_on_another_framework(name):
        return accelerators.get(name) == "cpu" and frameworks.get(name) != frameworks.get(first)

    # min() returns the first device for which this is False, and accelerators are ranked before CPUs.
    return Pair(first, min(others, key=is_cpu_on_another_framework))


def turned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of pairs with the sides exchanged: every ratio inverted, every verdict from the other side."""
    result = table.copy()
    for middle, low, high in RATIOS:
        if middle in table:
            result[middle], result[low], result[high] = 1 / table[middle], 1 / table[high], 1 / table[low]
    for name in SIDES:
        if name in table and f"baseline_{name}" in table:
            result[name], result[f"baseline_{name}"] = table[f"baseline_{name}"], table[name]
    result["device"], result["baseline"] = table["baseline"], table["device"]
    if "verdict" in table:
        result["verdict"] = table["verdict"].replace(OPPOSITE)
    if "faster" in table and "slower" in table:
        result["faster"], result["slower"] = table["slower"], table["faster"]
    return result


def against(table: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """All rows of a table of pairs in which `baseline` takes part, with it as the baseline."""
    as_baseline = table[table["baseline"] == baseline]
    as_device = table[table["device"] == baseline]
    if as_device.empty:
        return as_baseline
    return turned(as_device) if as_baseline.empty else pd.concat([as_baseline, turned(as_device)])


def of_pair(table: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    """The rows of a table of pairs that are about a Pair, seen from its device."""
    rows = against(table, pair.baseline)
    return rows[rows["device"] == pair.device]


def verdicts(tables: dict[str, pd.DataFrame], pair: Pair) -> dict[str, Verdict]:
    """{quantity: Verdict} of a Pair. tables: the tables rates, comparison, overall and costs by name."""
    rows = _by_subset(tables["overall"], pair)
    compared = of_pair(tables["comparison"], pair).query("verdict != 'not_comparable'")[list(configurations.AXES)]
    ways = {name: cheaper_way(_of(tables["costs"], name)) for name in (pair.device, pair.baseline)}

    def energy(subset):
        return _energy(rows[subset], pair, _of_subset(tables["rates"], subset), compared)

    def money(subset):
        return _money(rows[subset], pair, _of_subset(tables["costs"], subset), compared, ways)

    return {
        "speed": speed_of(tables["overall"], pair),
        "energy": _with_parts(energy, rows, pair),
        "money": _with_parts(money, rows, pair),
    }


def speed(row: dict[str, Any], pair: Pair) -> Verdict:
    """The Verdict on the speed of a Pair. row: of the table `overall`, seen from its device."""
    total = int(row["configurations_total"])
    if not row["configurations_compared"]:
        return Verdict("speed", "unknown", total=total, reasons={pair.device: "not_comparable"})
    common = {name: int(row[name]) for name in ("equivalent", "from_turns")}
    common |= {"compared": int(row["configurations_compared"]), "total": total, "kind": "measured"}
    common["margin"] = numbers.known_or_none(row["equivalence"])
    verdict = _sided("speed", pair, (row["ratio"], row["ci_low"], row["ci_high"]), **common)
    won, lost = int(row["faster"]), int(row["slower"])
    if verdict.winner != pair.device:
        won, lost = lost, won
    verdict = _with(verdict, won=won, lost=lost)
    return _with(verdict, outcome=_outcome(verdict))


def _outcome(verdict):
    """Of a Verdict on speed that knows whether its mean excludes 1. A device wins if it also won most decided configurations."""
    clear = verdict.outcome == "wins" and verdict.won > verdict.lost
    if verdict.won and verdict.lost and not clear:
        return "depends"
    # As for a winner, a clear mean is not enough where no configuration is decided.
    if verdict.equivalent == verdict.compared or (_within_margin(verdict) and verdict.open < verdict.compared):
        return "equivalent"
    return "wins" if clear else "undecided"


def _within_margin(verdict):
    known = verdict.low and verdict.high and verdict.margin is not None
    return bool(known) and max(verdict.high, 1 / verdict.low) < 1 + verdict.margin


def speed_of(overall: pd.DataFrame, pair: Pair) -> Verdict:
    """The Verdict on the speed over all configurations, with its `parts`. overall: the table with all its subsets."""
    rows = _by_subset(overall, pair)
    return _with_parts(lambda subset: speed(rows[subset], pair), rows, pair)


def _by_subset(overall, pair):
    return {row["subset"]: row for row in of_pair(overall, pair).to_dict("records")}


def _of(table, device):
    return table[table["device"] == device]


def _of_subset(table, subset):
    return table if subset == "all" else table[table["trainable"] == PARTS[subset]]


def _with_parts(of_subset, subsets, pair):
    """The Verdict over all configurations with its `parts`, all of one kind. of_subset: gives that of one of `subsets`."""
    whole = of_subset("all")
    parts = tuple(of_subset(name) for name in PARTS if name in subsets)
    if whole.kind == "unknown" or len(parts) < 2 or not all(part.kind == whole.kind and part.low for part in parts):
        return whole
    if not any(part.outcome == "wins" for part in parts):
        return whole
    (_, low, high), (_, other_low, other_high) = (seen_from(pair.device, part) for part in parts)
    return _with(whole, parts=parts) if high < other_low or other_high < low else whole


def seen_from(device: str, verdict: Verdict) -> tuple[float | None, float | None, float | None]:
    """(ratio, low, high) of a Verdict, `device` over the other, so below 1 where it loses; None for what is unknown."""
    values = (verdict.ratio, verdict.low, verdict.high)
    if verdict.winner == device:
        return values
    ratio, low, high = (value and 1 / value for value in values)
    return ratio, high, low


def agree(verdict: Verdict) -> bool:
    """Whether the parts of a Verdict, if it has any, have the same winner as the whole."""
    return {(part.winner, part.outcome) for part in verdict.parts} <= {(verdict.winner, "wins")}


def _energy(row, pair, rates, compared):
    total = int(row["configurations_total"])
    facts, reasons = {}, {}
    for name in (pair.device, pair.baseline):
        device_rates = _of(rates, name)
        known = device_rates.dropna(subset="joules_per_image")
        if known.empty:
            texts = device_rates["energy_reason"].dropna()
            reasons[name] = texts.mode().iloc[0] if len(texts) else "unread"
            continue
        facts[name] = {
            "joules_per_image": float(known["joules_per_image"].median()),
            "scope": known["energy_scope"].mode().iloc[0],
            "source": known["energy_source"].mode().iloc[0],
        }
    if row["energy_compared"]:
        # The device with less energy wins, so the ratio is turned over.
        values = (1 / row["energy_ratio"], 1 / row["energy_high"], 1 / row["energy_low"])
        common = {"compared": int(row["energy_compared"]), "total": total, "kind": "measured", "facts": facts}
        return _sided("energy", pair, values, **common)
    if len(facts) == 2:
        differ = len({fact["scope"] for fact in facts.values()}) > 1 and not compared.empty
        # Both have readings, but of other work or of other configurations.
        not_common = {pair.device: "not_comparable" if compared.empty else "no_common_reading"}
        declared = {name: "declared" for name, fact in facts.items() if fact["source"] not in MEASURED}
        reasons = declared or (dict.fromkeys(facts, "other_scope") if differ else not_common)
        if not declared and differ and (estimate := _estimated_energy(pair, rates, compared, facts, total)):
            return estimate
    return Verdict("energy", "unknown", total=total, facts=facts, reasons=reasons)


def _estimated_energy(pair, rates, compared, facts, total):
    """The Verdict on readings of different parts, from what both devices drew with their processors; None if it is open.

    It is open, too, if each device needs less in some configurations. If the machine of a GPU does not report its processor's
    power, the GPU's own reading is too small. It can then still show that the other device needs at least this many times less.
    compared: the axes of the configurations that can be compared. facts gain `covers` (the parts in the estimate) and `in_part`.
    """
    axes, sides = list(configurations.AXES), {}
    for name in (pair.device, pair.baseline):
        device_rates = rates[(rates["device"] == name) & rates["joules_per_image"].notna()]
        scope = facts[name]["scope"]
        # A wall meter covers more than any other reading, by an unknown amount.
        if scope == "machine" or device_rates["energy_scope"].nunique() != 1:
            return None
        whole = device_rates["joules_per_image_with_processor"].notna().all()
        column = "joules_per_image_with_processor" if whole else "joules_per_image"
        sides[name] = device_rates[[*axes, column]].set_axis([*axes, "joules"], axis=1)
        facts[name] |= {"covers": "gpu_and_package" if whole and scope == "gpu" else scope, "in_part": not whole}
    merged = sides[pair.device].merge(sides[pair.baseline], on=axes, suffixes=("", "_other")).merge(compared, on=axes)
    ratios = merged["joules_other"] / merged["joules"]
    if merged.empty or all(facts[name]["in_part"] for name in sides) or ratios.min() < 1 < ratios.max():
        return None
    ratio = _geometric(ratios)
    winner, loser = (pair.device, pair.baseline) if ratio >= 1 else (pair.baseline, pair.device)
    if facts[winner]["in_part"]:
        return None
    return Verdict(
        "energy",
        "estimated",
        winner,
        loser,
        max(ratio, 1 / ratio),
        *sorted(max(end, 1 / end) for end in (ratios.min(), ratios.max())),
        compared=len(merged),
        total=total,
        kind="estimated",
        facts=facts,
        reasons=dict.fromkeys(facts, "other_scope"),
    )


def _money(row, pair, costs, compared, ways):
    """The Verdict on the cost: each device in the cheaper of the ways whose cost is known.

    row: of the table `overall`, which knows the ratio if both devices are rented or both bought. compared: the axes of the
    configurations that can be compared. ways: {device: owned, rented or None}.
    """
    total = int(row["configurations_total"])
    sides = {name: _of(costs, name) for name in (pair.device, pair.baseline)}
    facts = {
        name: {"way": way, "per_1000_images": float(sides[name][f"{way}_per_1000_images"].median())}
        for name, way in ways.items()
        if way
    }
    missing = {name: no_cost(sides[name]) for name, way in ways.items() if not way}
    if missing:
        return Verdict("money", "unknown", total=total, facts=facts, reasons=missing)
    axes = list(configurations.AXES)
    columns = {name: [f"{way}_per_1000_images{end}" for end in ("", "_low", "_high")] for name, way in ways.items()}
    first, second = (
        sides[name][axes + columns[name]].set_axis([*axes, "middle", "low", "high"], axis=1).dropna(subset="middle")
        for name in (pair.device, pair.baseline)
    )
    merged = first.merge(second, on=axes, suffixes=("", "_other")).merge(compared, on=axes)
    if merged.empty:
        return Verdict("money", "unknown", total=total, facts=facts, reasons={pair.device: "not_comparable"})
    # Over the same configurations as a ratio of these runs, so that the two amounts have exactly this ratio.
    for name, column in ((pair.device, "middle"), (pair.baseline, "middle_other")):
        facts[name]["per_1000_images"] = _geometric(merged[column])
    common = {"total": total, "kind": "estimated", "facts": facts}
    ratio = {("rented", "rented"): "cost", ("owned", "owned"): "owned_cost"}.get(tuple(ways.values()))
    if ratio and row[f"{ratio}_compared"]:
        values = [1 / row[f"{ratio}_{end}"] for end in ("ratio", "high", "low")]
        counts = {"compared": int(row[f"{ratio}_compared"]), "from_turns": int(row["from_turns"])}
        return _sided("money", pair, values, **counts, **common)
    # Combining the ends of both sides gives more than a 95 % interval.
    ends = [("middle_other", "middle"), ("low_other", "high"), ("high_other", "low")]
    values = [_geometric(merged[above] / merged[below]) for above, below in ends]
    return _sided("money", pair, values, compared=len(merged), **common)


def cheaper_way(costs: pd.DataFrame) -> str | None:
    """owned or rented, whichever is cheaper for the images of these rows; None if neither is known."""
    known = {way: costs[f"{way}_per_1000_images"].median() for way in WAYS}
    known = {way: value for way, value in known.items() if numbers.known(value)}
    return min(known, key=known.get) if known else None


def no_cost(costs: pd.DataFrame) -> str:
    """The code of why a device has no cost: no_energy, no_electricity, no_speed, no_price or no_run. costs: its rows."""
    texts = {text for way in WAYS for text in costs[f"{way}_reason"].dropna()}
    codes = {reason["code"] for text in texts for reason in decoded(text)}
    if "no_energy_reading" in codes:
        return "no_energy"
    if "no_electricity_price" in codes:
        return "no_electricity"
    if codes == {"no_speed"}:  # prices were not looked for
        return "no_speed"
    return "no_price" if len(costs) else "no_run"


def _sided(quantity, pair, values, **more):
    """The Verdict on a ratio (middle, low, high) of pair.device over pair.baseline, for quantities of which more is better."""
    middle, low, high = (float(value) if numbers.known(value) else None for value in values)
    winner, loser = pair.device, pair.baseline
    if middle < 1:
        winner, loser = loser, winner
        middle, low, high = 1 / middle, high and 1 / high, low and 1 / low
    outcome = "wins" if low is not None and low > 1 else "undecided"
    return Verdict(quantity, outcome, winner, loser, middle, low, high, **more)


def _with(verdict, **changes):
    return Verdict(**(verdict.__dict__ | changes))


def _geometric(values):
    values = [value for value in values if numbers.known(value)]
    return statistics.geometric_mean(values) if values else math.nan
