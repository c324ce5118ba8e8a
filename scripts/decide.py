"""Adds to an experiment what would decide most of its undecided pairs within some minutes: decide.py MINUTES CONFIG...

CONFIG: the experiment's files; later ones override earlier ones. Reads the tables of the last start and writes decide.yaml beside
them, which every later start includes until it is deleted.
"""

import math
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from find_report import results_of
from trainoff import numbers
from trainoff.analyze import next_measurements
from trainoff.errors import UserError, one_line
from trainoff.experiment import experiment_file
from trainoff.files import write_text

HEAD = "# Written by make decide: its additions to the experiment. Delete this file to undo them; the runs stay.\n"


def decide(results: str | Path, minutes: float) -> str:
    """Writes decide.yaml in the folder `results` if something helps; returns a message.

    minutes: how long the measuring may take. Raises UserError if there are no tables yet, or no room for more entries.
    """
    file = Path(results, "decide.yaml")
    earlier = experiment_file.read(file) if file.exists() else {}
    entries = earlier.get("more_replicates", [])
    room = next_measurements.MAX_ENTRIES - len(entries)
    if room <= 0:
        raise UserError(
            f"{file}: has {len(entries)} entries, and a start would not read more. Set `replicates: "
            f"{max(entry['replicates'] for entry in entries)}` in the experiment, which covers them all, and delete the file."
        )
    try:
        undecided, runs = (pd.read_parquet(Path(results, "tables", f"{name}.parquet")) for name in ("next", "runs"))
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename}: there is no such table. Run the experiment first: make report, with the same CONFIG."
        ) from None
    if not {*next_measurements.COLUMNS} <= {*undecided}:
        raise UserError(
            f"{results}/tables/next.parquet: was written by an earlier version. Make it again: make report, with the same CONFIG."
        )
    decision = next_measurements.decide(undecided, runs, minutes, room)
    if decision.added:
        added = earlier | decision.added
        added["more_replicates"] = merged(earlier, decision.added)
        write_text(file, HEAD + yaml.safe_dump({key: value for key, value in added.items() if value}, sort_keys=False))
    return words(decision, minutes)


def minutes_of(text: str) -> float:
    """The number of minutes in the first argument."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise UserError(
            f"MINUTES: {one_line(text)!r} is not a number of minutes above 0. Expected one, such as MINUTES=15."
        )
    return minutes


def merged(earlier: dict[str, Any], added: dict[str, Any]) -> list[dict[str, Any]]:
    """The lists `more_replicates` of two additions as one. For the same devices and configuration, the later entry counts."""
    entries = {}
    for entry in [*earlier.get("more_replicates", []), *added.get("more_replicates", [])]:
        entries[yaml.safe_dump([entry["devices"], entry["configuration"]])] = entry
    return list(entries.values())


def words(decision: next_measurements.Decision, minutes: float) -> str:
    """A Decision in one or two sentences."""
    if not decision.open:
        return "Every pair is decided; nothing to add."
    if not decision.added:
        pairs = "the undecided pair" if decision.open == 1 else f"any of the {decision.open:,} undecided pairs"
        if decision.cheapest is None:
            return f"{next_measurements.MAX_REPLICATES} more replicates on this machine would not decide {pairs}."
        return (
            f"{minutes:g} min is not enough to decide {pairs}. "
            f"Try: make decide MINUTES={max(1, round(decision.cheapest + 0.5))}"
        )
    return (
        f"About {numbers.count(max(1, round(decision.minutes)), 'minute')} of measuring should decide {decision.decided} of "
        f"{numbers.count(decision.open, 'undecided pair')}."
    )


if __name__ == "__main__":
    try:
        print(decide(results_of(sys.argv[2:]), minutes_of(sys.argv[1])))
    except UserError as error:
        sys.exit(f"decide: {error}")
