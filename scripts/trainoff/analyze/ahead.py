"""What more measuring would decide: replicates or minutes for each open pair, and epochs per process for each result."""

import dataclasses
import math
from datetime import datetime

import pandas as pd

from trainoff import configurations, numbers
from trainoff.analyze import stats
from trainoff.windows import best_length

AXES = list(configurations.AXES)
COLUMNS = [*AXES, "device", "baseline", "source", "more_replicates", "minutes", "expected"]
EPOCH_COLUMNS = [*AXES, "device", "start_seconds", "epoch_seconds", "epoch_spread", "run_spread", "best_epochs"]
# More replicates than this are not proposed: something else than patience is wanted.
MOST_REPLICATES = 10
# As many entries as one decision adds to an experiment, whose file has limits (trainoff.bounds).
MOST_ENTRIES = 500
# Standard errors between the estimate and what it is told from: two-sided and one-sided 95 %, with room for a bad draw.
APART, WITHIN = 2.2, 1.9


def table(comparison: pd.DataFrame, rates: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per pair and configuration that is undecided: what would decide it, as far as today's numbers can tell.

    expected: the verdict that would then be reached. more_replicates: of both devices, None for turns and where no number up to
    MOST_REPLICATES would do; minutes: what that takes, or the further minutes of turns.
    """
    spreads = {_key(row, row["device"]): row for row in rates.to_dict("records")}
    seconds = _run_seconds(runs)
    rows = []
    for row in comparison[comparison["verdict"] == "undecided"].to_dict("records"):
        found = {"more_replicates": None, "minutes": row.get("more_minutes", math.nan), "expected": None}
        if row["source"] == "runs":
            sides = [_key(row, row[side]) for side in ("device", "baseline")]
            more, expected = _more(math.log(row["ratio"]), [spreads[side] for side in sides])
            if more is not None:
                each = [seconds.get(side, math.nan) for side in sides]
                found = {"more_replicates": more, "minutes": more * sum(each) / 60, "expected": expected}
        rows.append({**row, **found})
    result = pd.DataFrame(rows, columns=COLUMNS)
    return result.astype({"more_replicates": "Int64"})


def best(found: pd.DataFrame) -> tuple[int, int, float, int, int] | None:
    """(replicates, configurations, minutes, decided, open) of the number of replicates that decides most pairs per minute.

    found: of `table`. None where no number of replicates decides a pair.
    """
    known = found.dropna(subset=["more_replicates", "minutes"])
    choices = []
    for more in sorted(known["more_replicates"].unique()):
        chosen = known[known["more_replicates"] <= more]
        minutes = float((chosen["minutes"] / chosen["more_replicates"] * more).sum())
        choices.append((int(more), len(chosen[AXES].drop_duplicates()), minutes, len(chosen), len(found)))
    return max(choices, key=lambda choice: choice[3] / max(choice[2], 0.1), default=None)


@dataclasses.dataclass(frozen=True)
class Decision:
    """What to measure next. added: keys of an experiment, for plan.with_decided; {} where nothing fits.

    minutes: what it takes; decided: undecided pairs that it should decide; open: all of them; cheapest: minutes of the pair
    that needs the least, None where nothing is known to decide one.
    """

    added: dict
    minutes: float
    decided: int
    open: int
    cheapest: float | None


def decide(found: pd.DataFrame, runs: pd.DataFrame, turns_minutes: float, budget: float) -> Decision:
    """The Decision that decides most undecided pairs within `budget` minutes.

    found: of `table`; runs: the table; turns_minutes: the minutes of turns per pair and configuration so far.

    Replicates: the cheapest pairs first. Turns: more minutes take turns again wherever they left a pair undecided, so all of
    those are paid for.
    """
    replicates = found.dropna(subset=["more_replicates", "minutes"]).sort_values("minutes", kind="stable")
    chosen = replicates[replicates["minutes"].cumsum() <= budget].head(MOST_ENTRIES)
    spent = float(chosen["minutes"].sum())
    turns = found[(found["source"] == "turns") & found["minutes"].notna()].sort_values("minutes", kind="stable")
    choices = []
    for count, more in enumerate(turns["minutes"], start=1):
        whole = math.ceil(turns_minutes + more)
        choices.append((count, whole, float(whole * len(found[found["source"] == "turns"]))))
    fitting = [choice for choice in choices if choice[2] <= budget - spent]
    added = {}
    if len(chosen):
        added["more_replicates"] = [_entry(row, runs) for row in chosen.to_dict("records")]
    count, whole, minutes = fitting[-1] if fitting else (0, None, 0.0)
    if whole is not None:
        added["turns"] = {"minutes": whole}
    costs = [*replicates["minutes"], *(choice[2] for choice in choices)]
    return Decision(added, spent + minutes, len(chosen) + count, len(found), min(map(float, costs), default=None))


def _entry(row, runs):
    """One of the experiment's more_replicates, for both devices of an undecided pair."""
    there = runs[runs["device"].isin([row["device"], row["baseline"]])]
    for axis in AXES:
        there = there[there[axis] == row[axis]]
    return {
        "devices": [row["baseline"], row["device"]],
        "configuration": {axis: _plain(row[axis]) for axis in AXES},
        "replicates": int(there["replicate"].max()) + int(row["more_replicates"]),
    }


def _plain(value):
    return value.item() if hasattr(value, "item") else value


def epochs(rates: pd.DataFrame, runs: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """One row per result with runs: how many epochs each process should train (see windows.best_length)."""
    counted, runs = _by_result(windows[~windows["warm_up"].astype(bool)]), _by_result(runs)
    rows = []
    for row in rates.dropna(subset="images_per_second").to_dict("records"):
        own, its_runs = (groups[_key(row, row["device"])] for groups in (counted, runs))
        starts = its_runs[["import_seconds", "build_seconds", "first_step_seconds"]].sum(axis=1, min_count=3)
        logs = own["images_per_second"].map(math.log)
        within = logs - logs.groupby(own["replicate"]).transform("mean")
        degrees = len(own) - own["replicate"].nunique()
        variance = float((within**2).sum() / degrees) if degrees > 0 else math.nan
        start, seconds, between = float(starts.median()), float(own["seconds"].median()), row["run_spread"]
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
    """(further replicates on both sides, verdict expected), (None, None) where MOST_REPLICATES do not do."""
    margin = math.log1p(stats.EQUIVALENCE)
    for more in range(1, MOST_REPLICATES + 1):
        error = math.sqrt(sum(side["run_spread"] ** 2 / (side["replicates"] + more) for side in sides))
        if abs(middle) + WITHIN * error < margin:
            return more, "equivalent"
        if abs(middle) > APART * error:
            return more, "faster" if middle > 0 else "slower"
    return None, None


def _run_seconds(runs):
    """{(device, axes): seconds that a run takes from its start to its end, the median}."""
    taken = {}
    for row in runs[runs["status"] == "ok"].to_dict("records"):
        if isinstance(row["started_at"], str) and isinstance(row["finished_at"], str):
            ends = [datetime.fromisoformat(row[name]) for name in ("started_at", "finished_at")]
            taken.setdefault(_key(row, row["device"]), []).append((ends[1] - ends[0]).total_seconds())
    return {key: float(pd.Series(values).median()) for key, values in taken.items()}
