"""Messages about the runs in a results folder before a start begins."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from trainoff import numbers
from trainoff.errors import one_line
from trainoff.files import write_text
from trainoff.shapes import Experiment
from trainoff.workflow import validity


def shared_folder(results: str | Path, config: Experiment, verdicts: Iterable[validity.Verdict]) -> str | None:
    """A sentence if a start would retrain runs of another experiment in the same folder; else None."""
    note = _experiment_of(results)
    here = {"title": config["title"], "dataset": config["dataset"]["name"]}
    if not note or not any(verdict.change for verdict in verdicts) or note == here:
        return None
    return (
        f"{results}/ holds runs of another experiment ({one_line(note.get('title'), most=80)}, {note.get('dataset')}). To keep "
        "both, give this one its own folder: pathvars: {results: results/my-experiment}. Replaced records move to "
        f"{results}/superseded."
    )


def note_experiment(results: str | Path, config: Experiment) -> None:
    """Notes which experiment's results a folder holds, for shared_folder."""
    here = {"title": config["title"], "dataset": config["dataset"]["name"]}
    if _experiment_of(results) != here:
        write_text(Path(results, "runs", ".experiment.json"), json.dumps(here) + "\n")


def _experiment_of(results):
    try:
        note = json.loads(Path(results, "runs", ".experiment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def plan_lines(verdicts: Collection[validity.Verdict], turns: Collection[validity.Verdict] = ()) -> list[str]:
    """Lines to print before a start: how many finished runs are trained again, how many turns are taken again, and why.

    verdicts: on the runs; turns: on the turns, one per configuration and pair of devices.
    """
    lines = [
        f"{number} finished run{'s' if number > 1 else ''} will be trained again: {change}"
        for change, number in _changes(verdicts)
    ]
    lines += [
        f"turns of {numbers.count(number, 'speed ratio')} will be taken again: {change}"
        for change, number in _changes(turns)
    ]
    old = sum(verdict.old and verdict.finished for verdict in verdicts)
    if old:
        lines.append(
            f"{old} finished run{'s' if old > 1 else ''} kept from an earlier version, whose records do not hold "
            f"{' and '.join(validity.NOT_HELD)}, so these were not compared. To train them again: snakemake --forcerun train"
        )
    return lines


def _changes(verdicts):
    """[(why records are replaced, how many)], the most frequent first."""
    return Counter(str(verdict.change) for verdict in verdicts if verdict.change).most_common()
