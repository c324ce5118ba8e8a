"""Messages about the runs in a results folder before a start begins."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from trainoff import axes, numbers
from trainoff.errors import did_you_mean, one_line
from trainoff.files import write_text
from trainoff.shapes import Experiment, Run
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


def unused_lines(config: Experiment, runs: Collection[Run], names: Collection[str]) -> list[str]:
    """Lines about entries of the experiment that nothing uses, mostly because of a misspelled name or value.

    names: of all devices that prices can belong to.
    """
    lines = []
    values = {}
    for run in runs:
        for axis in axes.names():
            values.setdefault((run["device"]["name"], axis), set()).add(run[axis])
    for more in config["more_replicates"]:
        configuration = more["configuration"].items()
        devices = [name for name in more["devices"] if (name, "model") in values]
        if not any(all(value in values[name, axis] for axis, value in configuration) for name in devices):
            lines.append(
                f"more_replicates: {one_line(more, 200)} adds no run here: no run is on such a device with such values. If this "
                "surprises you, check its names and values."
            )
    if len(lines) > 3:
        lines = [
            *lines[:3],
            f"more_replicates: {numbers.count(len(lines) - 3, 'more entry adds', 'more entries add')} no run here.",
        ]
    lines += [
        f"money.prices.{one_line(name, 99)}: no device here has this name{did_you_mean(name, names)}, so its prices are not used."
        for name in config["money"]["prices"]
        if name not in names
    ]
    return lines


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
