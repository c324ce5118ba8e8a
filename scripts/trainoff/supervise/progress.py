"""Progress lines for the user: which run of how many, how fast it trains, how long the rest will take.

Durations are differences of the monotonic clock, which nobody can set.
"""

import json
import logging
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, TextIO

from trainoff import axes, units
from trainoff.errors import CLEAR, printable
from trainoff.files import write_text
from trainoff.shapes import Record, Run


def write_plan(path: str | Path, records: Collection[str | Path]) -> None:
    """Notes which runs or turns a sweep is about to do, so that each can report its place among them. records: their paths.

    Records that will be replaced may still be there.
    """
    before = {path: stamp for path in map(str, records) if (stamp := _stamp(path))}
    plan = {"started": time.monotonic(), "boot": _boot(), "records": sorted(map(str, records)), "before": before}
    write_text(path, json.dumps(plan))


def is_news(record: logging.LogRecord) -> bool:
    """Whether a log record of Snakemake is more than a notice that the next job started, which the job prints itself."""
    return not record.getMessage().startswith(("Select jobs to execute", "Execute "))


def describe(run: Run) -> str:
    """A run (of the experiment or of a record) in a few words: "cpu · mobilenetv2 · batch 32 · 96 px · all weights"."""
    device = run["device"]
    name = device["name"] if isinstance(device, dict) else device
    return " · ".join([name, *axes.words(run), f"replicate {run['replicate']}"])


class Passing(str):
    """A transient message: a terminal shows it until the next one, a log omits it."""


def event_words(event: dict[str, Any], img_dim: int | None = None) -> Passing | None:
    """The message for an event of trainoff.measure.child; None for none. img_dim: of the run, 0 where samples are not images."""
    if event["event"] == "first_step":
        return Passing(f"started, first step took {event['seconds']:.0f} s")
    if event["event"] == "window":
        window = event["window"]
        rate = window["images"] / window["seconds"]
        accuracy = window["val_accuracy"]
        learned = "" if accuracy is None else f", validation accuracy {accuracy:.0%}"
        return Passing(
            f"epoch {window['epoch']}: {rate:.0f} {units.samples(img_dim)}/s{learned}{' (warm-up)' if window['warm_up'] else ''}"
        )
    return None


def failure_words(status: str, message: str | None) -> str:
    """How a failed run ended: "timed out: The run took longer than …"."""
    return f"{status.replace('_', ' ')}: {message}"


def outcome_words(record: Record) -> str:
    """How a run ended, from its record: "finished at 71 images/s" or "crashed: …"."""
    if record["status"] != "ok":
        return failure_words(record["status"], record["failure"]["message"])
    rate = record["throughput"]["images_per_second"]
    stopped = record.get("conditions", {}).get("suspended_seconds")
    words = "finished" if rate is None else f"finished at {rate:.0f} {units.samples(record['run']['img_dim'])}/s"
    return f"{words} (stopped for {_duration(stopped)} meanwhile, which does not count)" if stopped else words


def follow(metrics: Collection[str | Path], terminal: TextIO, seconds: float = 5.0) -> None:
    """Reports runs that end elsewhere, such as on the nodes of a cluster, as their records appear: one line each.

    metrics: paths of the planned runs' records. terminal: stream to write to. Returns once all are there, so it is meant for a
    separate thread. seconds: polling interval.
    """
    started, open_runs, total = time.monotonic(), list(metrics), len(metrics)
    while open_runs:
        time.sleep(seconds)
        for path in [path for path in open_runs if Path(path).is_file()]:
            try:
                record = json.loads(Path(path).read_text(encoding="utf-8"))
                words = f"{describe(record['run'])}: {outcome_words(record)}"
            except (OSError, ValueError, KeyError, TypeError):
                continue  # not complete yet on this side of a shared disk
            open_runs.remove(path)
            done = total - len(open_runs)
            left = (time.monotonic() - started) / done * len(open_runs)
            rest = f"about {_duration(left)} left" if open_runs else "that was the last"
            print(f"[{done}/{total}] {words}; {rest}", file=terminal, flush=True)


class Progress:
    """Lines about one job of a plan: with a live line on a terminal, elsewhere only its start and end.

    plan_file: of write_plan. record: path of the job's record. kind: what the plan holds, "runs" or "turns". max_minutes: of
    each job; None where their mean tells more.
    """

    def __init__(
        self,
        plan_file: str | Path,
        record: str,
        terminal: TextIO,
        kind: str = "runs",
        max_minutes: float | None = None,
    ) -> None:
        self.terminal, self.kind, self.max_minutes = terminal, kind, max_minutes
        self.live = terminal.isatty()
        self.started = time.monotonic()
        self.finished, self.planned, self.since = _standing(plan_file, record)
        self.epochs = self.epochs_done = self.seconds = 0

    def begin(self, run: Run) -> None:
        """Of a run: its settings."""
        self.epochs = run.get("epochs", 0)
        self.seconds = 60 * (run.get("measure_minutes") or 0)
        self.begin_with(describe(run))

    def begin_with(self, words: str) -> None:
        self._line(f"[{self.finished + 1}/{self.planned}] {words}")

    def say(self, words: str) -> None:
        if not isinstance(words, Passing):
            self._line(f"      {words}")
            return
        self.epochs_done += words.startswith("epoch")
        if self.live:
            line = f"      {words}; {self.finished} of {self.planned} {self.kind} done{self._outlook(time.monotonic())}"
            # One column stays free, so that no terminal wraps the line.
            self.terminal.write(f"{CLEAR}{line[: shutil.get_terminal_size().columns - 1]}")
            self.terminal.flush()

    def end(self, outcome: str) -> None:
        """outcome: in words, such as outcome_words."""
        now = time.monotonic()
        took = _duration(now - self.started)
        self._line(f"      {outcome.removesuffix('.')}, after {took}; {self._left(now)}")

    def _line(self, text):
        text = printable(text)[:1000]
        self.terminal.write(f"{CLEAR}{text}\n" if self.live else f"{text}\n")

    def _left(self, now):
        left = self.planned - self.finished - 1
        if left == 0:
            return "that was the last"
        if self.max_minutes is not None:
            # With few minutes, starts alone take longer.
            seconds = max(60 * self.max_minutes, now - self.started)
            return f"{left} more, at most about {_duration(left * seconds)}"
        mean_seconds = (now - self.since) / (self.finished + 1)
        return f"{left} more, about {_duration(left * mean_seconds)} left"

    def _outlook(self, now):
        """ ", about 3 min left" while a run goes on; "" before anything is known of how long a run takes."""
        if not self.epochs_done:
            return ""
        this_run = max(self.seconds, (now - self.started) / self.epochs_done * self.epochs)
        mean_seconds = (self.started - self.since) / self.finished if self.finished else this_run
        left = (self.planned - self.finished - 1) * mean_seconds + max(0.0, this_run - (now - self.started))
        return f", about {_duration(left)} left"


def _standing(plan_file, record):
    """(records of the plan finished so far, records planned, when the sweep began on the monotonic clock)."""
    now = time.monotonic()
    try:
        plan = json.loads(Path(plan_file).read_text())
    except (OSError, ValueError):
        return 0, 1, now
    if record not in plan.get("records", ()):  # a job run on its own, or the plan of an earlier version
        return 0, 1, now
    before = plan.get("before", {})
    finished = sum(_stamp(path) not in (None, before.get(path)) for path in plan["records"])
    # The clock of another machine, where the sweep was planned, cannot be compared with the one here.
    started = min(plan["started"], now) if plan.get("boot", _boot()) == _boot() else now
    return finished, len(plan["records"]), started


def _stamp(path):
    """Identifies one version of the file at a path, independent of the clock; None where there is no file."""
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]


def _boot():
    """The ID of this boot of this machine, since a monotonic clock is valid for one boot only; "" where it is unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
