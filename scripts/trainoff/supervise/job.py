"""A job that starts measured processes: its rule's inputs and settings, how an earlier start of it ended, its record."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from trainoff.files import write_json
from trainoff.shapes import Run
from trainoff.supervise import progress, slurm, supervise
from trainoff.supervise.launch import Outcome, launch, recovered
from trainoff.supervise.prepared import prepared_files
from trainoff.workflow.script import logged


@dataclass(frozen=True)
class Job:
    """The settings of a script that starts processes and measures them; see `of_rule`."""

    # Path of the record to write. Its folder also holds the notes for a later start of the job.
    record: Path
    # Path for the output of the processes.
    log: Path
    # Time limit of each process.
    timeout_minutes: float
    # Called with one line of text for the user.
    say: Callable[[str], None]
    # Paths of the prepared images and weights by name, as trainoff.measure.protocol.train takes them, and the facts recorded
    # beside them; both empty for a job that generates its own data.
    files: dict[str, str] = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    # Which start of the job this is, from 1, and the last lines of the log of the one before.
    start: int = 1
    earlier_log: list[str] = field(default_factory=list)
    # Where `say` writes; None without a terminal.
    terminal: TextIO | None = None

    @property
    def folder(self) -> Path:
        return Path(self.record).parent

    def with_classes(self, run: Run) -> Run:
        """The run with the number of classes of the prepared images."""
        return run | {"classes": len(self.facts["class_names"])}

    def ended(self) -> Outcome | None:
        """The Outcome of a process whose SLURM job ended for good before this start; None where there is work to do.

        Call it once: it deletes the note of the earlier job.
        """
        result = slurm.ended(self.folder, self.start)
        return result and recovered(self.folder / slurm.JOURNAL, *result, self.earlier_log)

    def launch(self, module: str, run: Run) -> Outcome:
        """The Outcome of `python -m module` for the run. If SLURM ends this start, a later one finds its journal."""
        journal = slurm.begin(self.folder)
        return launch(module, run, self.files, self.log, self.timeout_minutes, self.say, journal)

    def write(self, record: Any) -> None:
        """Writes the record (JSON values, finite numbers) atomically."""
        write_json(self.record, record)

    def say_failure(self, status: str, message: str | None) -> None:
        self.say(progress.failure_words(status, message))


@contextlib.contextmanager
def of_rule(snakemake: Any, record: str | Path, before: Callable[[], Any] = lambda: None) -> Iterator[Job]:
    """Yields the Job of a rule; for the single call in the `if __name__ == "__main__":` block of a script.

    snakemake: the object that Snakemake gives the script, with the inputs image_facts and weight_facts where there are any.
    record: the output to write. Everything the block prints goes to the rule's log, which is read before it is overwritten.
    before: called between the two. Errors end the script; see trainoff.workflow.script.logged.
    """
    log = snakemake.log[0]
    earlier_log = supervise.tail(log)
    facts = [path for name in ("image_facts", "weight_facts") if (path := snakemake.input.get(name))]
    with logged(log, before) as terminal:
        yield Job(
            record=Path(record),
            log=Path(log),
            timeout_minutes=snakemake.resources.timeout_minutes,
            say=lambda words: terminal.write(f"{words}\n"),
            files=prepared_files(*facts) if facts else {},
            facts=_merged(facts),
            start=snakemake.resources.get("start", 1),
            earlier_log=earlier_log,
            terminal=terminal,
        )


def _merged(paths):
    """The contents of several JSON files of facts, in one dict."""
    facts = {}
    for path in paths:
        facts |= json.loads(Path(path).read_text(encoding="utf-8"))
    return facts
