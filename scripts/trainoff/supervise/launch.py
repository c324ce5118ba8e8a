"""One device's work in a supervised child process: its start, its reports, its end."""

import contextlib
import errno
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainoff.experiment import own_code
from trainoff.machine import devices, disks, usable, variables
from trainoff.measure import child
from trainoff.privacy import scrub
from trainoff.shapes import Device, Files, Run, Window
from trainoff.supervise import progress, software, stops, supervise
from trainoff.supervise.readings import Readings

SCRIPTS = Path(__file__).parents[2]


class Journal:
    """What the child has reported so far; passes each event on to `notify` in words."""

    def __init__(self, path, notify, img_dim=None):
        self.path = path
        self.notify = notify
        self.img_dim = img_dim
        self.events = []
        self.offset = 0

    def follow(self) -> None:
        """Reads the lines that the child has completed since the last call."""
        with contextlib.suppress(FileNotFoundError), open(self.path, "rb") as file:
            file.seek(self.offset)
            while (line := file.readline()).endswith(b"\n"):
                self.offset += len(line)
                event = json.loads(line)
                self.events.append(event)
                words = progress.event_words(event, self.img_dim)
                if words:
                    self.notify(words)

    def last(self, name: str) -> dict[str, Any]:
        """The latest event of that name, or {}."""
        return next((event for event in reversed(self.events) if event["event"] == name), {})

    def mark(self, suspensions: list[stops.Stop]) -> None:
        """Removes the time in which the child did not run from its reports. suspensions: Stops in order of time.

        A window in which it was stopped gets `suspended_seconds` and does not count (its warm_up is true); other durations
        that include a stop become None.
        """
        before = None
        for event in self.events:
            at = event.get("at")
            if at is None or event["event"] == "pause":
                continue
            if event["event"] == "window":
                _mark_window(event["window"], at, suspensions)
            elif (
                before is not None
                and event.get("seconds") is not None
                and stops.seconds_within(suspensions, before, at)
            ):
                event["seconds"] = None
            before = at

    def add_readings(self, taken: Readings) -> None:
        """Gives every window `readings`: mean and maximum of the machine's readings during the window."""
        for window, start, end in self._on_the_clock():
            if readings := taken.between(start, end):
                window["readings"] = readings

    def _on_the_clock(self):
        """[(window, start, end on the monotonic clock)]"""
        times = []
        for event in self.events:
            if event["event"] == "window" and "at" in event:
                end = event["at"] - event["window"]["validation_seconds"]
                times.append((event["window"], end - event["window"]["seconds"], end))
        return times

    @property
    def epochs(self) -> list[tuple[int, float, float]]:
        """[(number, start, end on the monotonic clock)] of the windows."""
        return [(window["epoch"], start, end) for window, start, end in self._on_the_clock()]

    @property
    def windows(self) -> list[Window]:
        return [event["window"] for event in self.events if event["event"] == "window"]

    @property
    def outcome(self) -> tuple[str, str | None] | None:
        """(status, message) as the child itself reports it, or None if it ended without a report."""
        if self.last("done"):
            return "ok", None
        failed = self.last("failed")
        return (failed["status"], failed["message"]) if failed else None


def _mark_window(window, at, suspensions):
    """at: when it was reported, right after its validation."""
    end = at - window["validation_seconds"]
    window["validation_seconds"] = max(0.0, window["validation_seconds"] - stops.seconds_within(suspensions, end, at))
    stopped = stops.seconds_within(suspensions, end - window["seconds"], end)
    if stopped:
        window["suspended_seconds"] = round(stopped, 3)
        window["warm_up"] = True


@dataclass(frozen=True)
class Outcome:
    """The result of a child process: everything it reported, and how it ended (a `status` of the metrics record)."""

    journal: Journal
    # supervise.Ending; None when no child was started because the device is missing.
    ending: supervise.Ending | None
    status: str
    message: str | None
    # Last lines of its output.
    log_tail: list[str]
    # How long it did not run because it or the machine was suspended; None when no child was started.
    suspended_seconds: float | None = None
    # Readings of the machine meanwhile; None when no child was started.
    readings: Readings | None = None

    @property
    def failure(self) -> dict[str, Any] | None:
        """The `failure` part of a record: None when all went well."""
        if self.status == "ok":
            return None
        return {
            "signal": self.ending and self.ending.signal,
            "exit_code": self.ending and self.ending.exit_code,
            "message": self.message,
            "log_tail": self.log_tail,
        }


def threads_of(device: Device) -> int | None:
    """`threads` of a device's entry, or else the limit that a quota or SLURM sets; None where there is no limit.

    Frameworks see which processors they may run on, but not a quota on processor time.
    """
    usual, left = len(usable.allowed_processors()), devices.usable_threads()
    return device["threads"] or (left if left < usual else None)


def says_no_speed(outcome: Outcome) -> bool:
    """Whether a training succeeded but was stopped in every epoch that would have counted."""
    windows = outcome.journal.windows
    stopped = any("suspended_seconds" in window for window in windows)
    return outcome.status == "ok" and stopped and all(window["warm_up"] for window in windows)


def launch(
    module: str,
    run: Run,
    files: Files,
    log: str | Path,
    timeout_minutes: float,
    notify: Callable[[str], None],
    journal: str | Path | None = None,
    began: Callable[[int], Any] = lambda pid: None,
) -> Outcome:
    """Runs `python -m module` for the device that `run` names until it ends, in whatever way; returns the Outcome.

    module: calls trainoff.measure.child.main. run, files: passed to the child. log: path for its output. notify: called with
    one line of text for the user. journal: where to keep the child's reports; None = in a temporary folder. began: as
    supervise.run_child takes it.
    """
    own_code.require_unchanged(run.get("architecture", {}))
    with tempfile.TemporaryDirectory(prefix="trainoff-") as folder:
        journal = Journal(journal or Path(folder) / "journal.jsonl", notify, run.get("img_dim"))
        try:
            devices.require(run["device"]["accelerator"], run["device"]["index"])
            software.require(run["device"], run["precision"])
        except devices.DeviceUnavailable as error:
            return Outcome(journal, None, "unavailable", str(error), [])
        is_own = own_code.is_own(run.get("architecture", {}))
        environment = variables.closed(
            os.environ,
            SCRIPTS,
            variables.make_keras_home(Path(folder) / "keras", os.environ, downloads=is_own),
            devices.environment(run["device"]),
            run.get("variables"),
        )
        spec = Path(folder) / "spec.json"
        run = run | {"device": run["device"] | {"threads": threads_of(run["device"])}}
        spec.write_text(json.dumps({"run": run, "files": files, "journal": os.path.abspath(journal.path)}))
        with open(log, "ab") as output, Readings(run["device"]) as taken:
            start = output.tell()
            ending = supervise.run_child(
                [sys.executable, "-m", module, str(spec)],
                log=output,
                timeout_seconds=60 * timeout_minutes,
                environment=environment,
                watch=journal.follow,
                began=began,
            )
    suspensions = stops.of_child(ending.looks, [event for event in journal.events if event["event"] == "pause"])
    journal.mark(suspensions)
    journal.add_readings(taken)
    # As one text: a secret may span several lines.
    log_tail = scrub("\n".join(supervise.tail(log))).splitlines()
    status, message = journal.outcome or supervise.status_of(ending, log_tail)
    if run["device"]["accelerator"] == "metal" and status in ("ok", "diverged"):
        status, message = supervise.unfinished_work(log, start) or (status, message)
    if status in ("crashed", "error", "out_of_memory"):
        _require_disks(Path(log).parent, ending, "\n".join([*log_tail, message]))
    suspended_seconds = sum(stop.seconds for stop in suspensions)
    return Outcome(journal, ending, status, message and scrub(message), log_tail, suspended_seconds, taken)


def _require_disks(results, ending, words):
    """Raises DiskFault where a child ended because a disk could not be written to.

    results: a folder on the disk of the results. words: the child's last output.
    """
    reported = disks.words_in(words) or (ending.exit_code == child.DISK_FAULT and os.strerror(errno.ENOSPC))
    for name, folder in disks.places(results).items():
        # A read-only home folder is common on clusters and by itself does not end a training.
        if (fault := disks.fault_of(folder)) and (reported or folder != Path.home()):
            raise disks.DiskFault(fault, name)
    if reported:
        raise disks.DiskFault(reported)


def recovered(journal: str | Path, status: str, message: str | None, log_tail: list[str]) -> Outcome:
    """The Outcome of a child that ended together with its supervisor, from its journal at the path `journal`."""
    earlier = Journal(journal, notify=lambda words: None)
    earlier.follow()
    return Outcome(earlier, None, status, message, log_tail)


def device_facts(device: Device, imported: dict[str, Any]) -> dict[str, Any]:
    """The `device` part of a record. device: what the run says; imported: the child's event of that name, or {}."""
    try:
        facts = devices.describe(device["accelerator"], device["index"])
    except LookupError:  # the device is missing: nothing is known about it
        facts = {"name": None, "memory_bytes": None, "cores": None, "driver": None}
    threads = device["threads"] or devices.usable_threads() if device["accelerator"] == "cpu" else None
    return facts | {
        "backend": device["backend"],
        "accelerator": device["accelerator"],
        "index": device["index"],
        "threads": threads,
        **imported.get("device", {}),
    }


def software_facts(imported: dict[str, Any]) -> dict[str, str | None]:
    """The `software` part of a record, {package: version}. imported: as `device_facts` takes it."""
    return imported.get("software", {"python": None})


def host_facts() -> dict[str, Any]:
    """The `host` part of a record: the machine, and the user's variables that were not passed on to trainings."""
    return devices.describe_host() | {"variables_left_out": variables.left_out(os.environ)}
