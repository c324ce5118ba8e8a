"""What the page advises against noise and open verdicts, computed from what the experiment measured and set already."""

from typing import Any

import pandas as pd

from trainoff import configurations as naming
from trainoff.analyze import pairs

MORE_REPLICATES = 2
QUIET_MINUTES = 30
ELSEWHERE = "Measure more replicates on the machines of these devices, and import them again."
TURNS = "Raise `turns.minutes`, or run `make decide`."


def planned_replicates(runs: pd.DataFrame) -> int:
    """How many replicates the table of runs has of every result, failed ones included."""
    return int(runs.groupby([*naming.AXES, "device"], dropna=False)["replicate"].max().min())


def replicates(runs: pd.DataFrame) -> str:
    """More replicates than the experiment has now. runs: the table."""
    return f"Set `replicates: {planned_replicates(runs) + MORE_REPLICATES}` and start again; finished runs are kept."


def epochs(runs: pd.DataFrame, settings: dict[str, Any]) -> str:
    """Twice the epochs of the unstable runs, or twice the minutes where the experiment sets these; "" without such a run."""
    minutes = (settings.get("protocol") or {}).get("measure_minutes")
    unstable = runs[runs["unstable"].fillna(False).astype(bool)]
    if unstable.empty:
        return ""
    if minutes:
        return f"Set `protocol.measure_minutes: {2 * minutes:g}`."
    return f"Set `protocol.epochs: {2 * int(unstable['epochs'].max())}`."


def quiet(settings: dict[str, Any]) -> str:
    """Waiting for a quiet machine; where the experiment waits as long already, the other programs have to go."""
    minutes = (settings.get("protocol") or {}).get("wait_for_quiet_minutes") or 0
    if minutes >= QUIET_MINUTES:
        return "Close the other programs before the next start."
    return f"Set `protocol.wait_for_quiet_minutes: {QUIET_MINUTES}`."


def divergence(settings: dict[str, Any]) -> str:
    """Lower learning rates after a run that did not learn, or from the start where the experiment tries lower ones already."""
    if (settings.get("training") or {}).get("on_divergence"):
        return "Lower `grid.learning_rate`."
    return "Set `training.on_divergence: {reduce_learning_rate: 0.5, attempts: 2}`."


def of_open_verdicts(runs: pd.DataFrame, overall: pd.DataFrame, pair: pairs.Pair) -> dict[str, str]:
    """{quantity: what would decide its verdict}. Speeds measured in turns gain nothing from replicates; energy and cost do, apart
    from rents compared by such speeds, which the cure of the speed decides.

    runs, overall: the tables.
    """
    pair_runs = runs[runs["device"].isin([pair.device, pair.baseline])]
    more = replicates(pair_runs) if (pair_runs["origin"] == "local").any() else ELSEWHERE
    rows = pairs.of_pair(overall[overall["subset"] == "all"], pair)
    return {"speed": TURNS if (rows["from_turns"] > 0).any() else more, "energy": more, "money": more}
