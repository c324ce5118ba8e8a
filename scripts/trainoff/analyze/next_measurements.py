"""What more measuring would decide: replicates or minutes for each undecided pair, and epochs per process for each result."""

import dataclasses
import math
from datetime import datetime

import pandas as pd

from trainoff import configurations, numbers, records
from trainoff.analyze import stats
from trainoff.windows import best_length

AXES = list(configurations.AXES)
SIDES = ("device", "baseline")
COLUMNS = [*AXES, *SIDES, "source", "more_replicates", "minutes", *(f"{side}_minutes" for side in SIDES), "expected"]
EPOCH_COLUMNS = [*AXES, "device", "start_seconds", "epoch_seconds", "epoch_spread", "run_spread", "best_epochs"]
# More replicates than this are not proposed: such a pair is not decided by patience.
MAX_REPLICATES = 10
# The maximum of `turns.minutes` (schemas/config.schema.yaml).
MAX_TURNS_MINUTES = 1440
# Maximum number of entries that decisions add to an experiment in total, whose file has limits (trainoff.bounds).
MAX_ENTRIES = 500
# Standard errors between an estimate and 1 (APART) or the margin of equivalence (WITHIN) that make a verdict likely: the 95 %
# quantiles, two-sided and one-sided, with some reserve for an unlucky sample.
APART, WITHIN = 2.2, 1.9


def table(comparison: pd.DataFrame, rates: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per pair and configuration that is undecided: what would decide it, judged by the numbers so far.

    expected: the verdict that is then likely. more_replicates: beyond those of the device with more of them, for both devices or
    for the only one of this machine; None for turns, for devices of other machines, and where not even MAX_REPLICATES would
    suffice. minutes: the time this takes; turns are measured again from the start. device_minutes, baseline_minutes: the part of
    each device in it, which other pairs may need too.
    """
    here = _here(runs)
    spreads = {_key(row, row["device"]): row | {"here": row["device"] in here} for row in rates.to_dict("records")}
    seconds = _run_seconds(runs)
    rows = []
    for row in comparison[comparison["verdict"] == "undecided"].to_dict("records"):
        proposal = {"more_replicates": None, "minutes": row["decisive_minutes"], "expected": None}
        if row["source"] == "runs":
            sides = [_key(row, row[side]) for side in SIDES]
            results = [spreads[side] for side in sides]
            more, expected = _more(math.log(row["ratio"]), results)
            if more is not None:
                total = _replicates(results) + more
                each = {
                    f"{name}_minutes": (total - result["replicates"]) * seconds.get(side, math.nan) / 60
                    if result["here"]
                    else 0.0
                    for name, result, side in zip(SIDES, results, sides, strict=True)
                }
                proposal = {"more_replicates": more, "minutes": sum(each.values()), "expected": expected, **each}
        rows.append({**row, **proposal})
    result = pd.DataFrame(rows, columns=COLUMNS)
    return result.astype({"more_replicates": "Int64"})


def best(undecided: pd.DataFrame) -> tuple[int, int, float, int, int] | None:
    """(replicates, configurations, minutes, decided, open) of the number of replicates that decides most pairs per minute.

    undecided: of `table`. None if no number of replicates decides a pair.
    """
    known = undecided.dropna(subset=["more_replicates", "minutes"])
    choices = []
    for more in sorted(known["more_replicates"].unique()):
        chosen = known[known["more_replicates"] <= more]
        trained = {}
        for row in chosen.to_dict("records"):
            trained |= _further(trained, row, more / row["more_replicates"])
        minutes = float(sum(trained.values()))
        choices.append((int(more), len(chosen[AXES].drop_duplicates()), minutes, len(chosen), len(undecided)))
    return max(choices, key=lambda choice: choice[3] / max(choice[2], 0.1), default=None)


def _further(trained, row, times=1.0):
    """{(device, axes): minutes} of a row of `table`, where they are more than in `trained`: pairs share their replicates."""
    minutes = {_key(row, row[side]): row[f"{side}_minutes"] * times for side in SIDES}
    return {key: value for key, value in minutes.items() if value > trained.get(key, 0.0)}


def _affordable(rows, budget, room):
    """(rows, minutes): as many rows, at most `room`, as fit into `budget` minutes together, the first ones first."""
    chosen, trained, spent = [], {}, 0.0
    for row in rows.to_dict("records"):
        further = _further(trained, row)
        total = spent + sum(value - trained.get(key, 0.0) for key, value in further.items())
        if total <= budget and len(chosen) < room:
            chosen.append(row)
            trained |= further
            spent = total
    return chosen, spent


@dataclasses.dataclass(frozen=True)
class Decision:
    """What to measure next. added: keys of an experiment, for plan.with_decided; {} if nothing fits into the budget.

    minutes: what it takes. decided: the number of pairs that it should decide. open: the number of all undecided pairs.
    cheapest: minutes of the cheapest way to decide a pair, None if there is none.
    """

    added: dict
    minutes: float
    decided: int
    open: int
    cheapest: float | None


def decide(undecided: pd.DataFrame, runs: pd.DataFrame, budget: float, room: int = MAX_ENTRIES) -> Decision:
    """The Decision that decides most undecided pairs within `budget` minutes.

    undecided: of `table`; runs: the table. room: the maximum number of entries. Replicates: the cheapest pairs first. Turns: see
    `turns_choices`.
    """
    replicates = undecided.dropna(subset=["more_replicates", "minutes"]).sort_values("minutes", kind="stable")
    # As `best` proposes, or the cheapest pairs first.
    ways = [replicates, *(replicates[replicates["more_replicates"] <= more] for more in range(1, MAX_REPLICATES))]
    chosen, spent = max((_affordable(rows, budget, room) for rows in ways), key=lambda way: len(way[0]))
    choices = turns_choices(undecided)
    fitting = [choice for choice in choices if choice[2] <= budget - spent]
    added = {}
    if len(chosen):
        added["more_replicates"] = [_entry(row, runs) for row in chosen]
    count, whole, minutes = fitting[-1] if fitting else (0, None, 0.0)
    if whole is not None:
        added["turns"] = {"minutes": whole}
    costs = [*replicates["minutes"], *(choice[2] for choice in choices)]
    return Decision(added, spent + minutes, len(chosen) + count, len(undecided), min(map(float, costs), default=None))


def turns_choices(undecided: pd.DataFrame) -> list[tuple[int, int, float]]:
    """[(pairs decided, `turns.minutes` that this takes, minutes of measuring)], from the cheapest on. undecided: of `table`.

    `turns.minutes` holds for all pairs, so a higher value costs time for every pair that turns left undecided.
    """
    turns = undecided[undecided["source"] == "turns"]
    minutes = sorted(turns.loc[turns["minutes"] <= MAX_TURNS_MINUTES, "minutes"])
    return [(count, int(each), float(each * len(turns))) for count, each in enumerate(minutes, start=1)]


def _entry(row, runs):
    """An entry of the experiment's more_replicates, for the devices of an undecided pair that are on this machine."""
    devices = [name for name in (row["baseline"], row["device"]) if name in _here(runs)]
    pair_runs = runs[runs["device"].isin(devices)]
    for axis in AXES:
        pair_runs = pair_runs[pair_runs[axis] == row[axis]]
    return {
        "devices": devices,
        "configuration": dict(zip(AXES, configurations.configuration_of(row), strict=True)),
        "replicates": int(pair_runs["replicate"].max()) + int(row["more_replicates"]),
    }


def epochs(rates: pd.DataFrame, runs: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """One row per result with runs: how many epochs each process should train (see windows.best_length)."""
    counted, runs = _by_result(windows[~windows["warm_up"].astype(bool)]), _by_result(runs)
    rows = []
    for row in rates.dropna(subset="images_per_second").to_dict("records"):
        timed, result_runs = (groups[_key(row, row["device"])] for groups in (counted, runs))
        # Unknown if any part is.
        starts = result_runs[[*records.COLD_START]].sum(axis=1, min_count=len(records.COLD_START))
        logs = timed["images_per_second"].map(math.log)
        within = logs - logs.groupby(timed["replicate"]).transform("mean")
        degrees = len(timed) - timed["replicate"].nunique()
        variance = float((within**2).sum() / degrees) if degrees > 0 else math.nan
        start, seconds, between = float(starts.median()), float(timed["seconds"].median()), row["run_spread"]
        known = all(map(numbers.known, (variance, between, start))) and between > 0
        rows.append(
            {
                **row,
                "start_seconds": start,
                "epoch_seconds": seconds,
                "epoch_spread": math.sqrt(variance) if numbers.known(variance) else math.nan,
                "best_epochs": best_length(start, seconds, math.sqrt(variance), between) if known else None,
            }
        )
    return pd.DataFrame(rows, columns=EPOCH_COLUMNS).astype({"best_epochs": "Int64"})


def _by_result(table):
    """{(device, axes): rows of the table}."""
    return dict(iter(table.groupby(["device", *AXES], sort=False)))


def _key(row, device):
    return device, *(row[axis] for axis in AXES)


def _more(middle, sides):
    """(further replicates, expected verdict), (None, None) if MAX_REPLICATES do not suffice.

    sides: rows of `rates`, with `here`: whether the device is on this machine, which cannot add to the runs of others.
    """
    if not any(side["here"] for side in sides):
        return None, None
    margin = math.log1p(stats.EQUIVALENCE)
    for more in range(1, MAX_REPLICATES + 1):
        total = _replicates(sides) + more
        error = math.sqrt(
            sum(side["run_spread"] ** 2 / (total if side["here"] else side["replicates"]) for side in sides)
        )
        if abs(middle) + WITHIN * error < margin:
            return more, "equivalent"
        if abs(middle) > APART * error:
            return more, "faster" if middle > 0 else "slower"
    return None, None


def _replicates(sides):
    """Of the side here with more of them: further replicates bring both to the same number."""
    return max(side["replicates"] for side in sides if side["here"])


def _here(runs):
    """The devices of this machine; the runs of others come from bundles."""
    return set(runs.loc[runs["origin"] == "local", "device"])


def _run_seconds(runs):
    """{(device, axes): median seconds of a run from its start to its end}."""
    taken = {}
    for row in runs[runs["status"] == "ok"].to_dict("records"):
        if isinstance(row["started_at"], str) and isinstance(row["finished_at"], str):
            ends = [datetime.fromisoformat(row[name]) for name in ("started_at", "finished_at")]
            taken.setdefault(_key(row, row["device"]), []).append((ends[1] - ends[0]).total_seconds())
    return {key: float(pd.Series(values).median()) for key, values in taken.items()}
