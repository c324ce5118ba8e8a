"""Two live trainings of one configuration that take turns: sessions of fresh processes, slices in random order, faults."""

import contextlib
import json
import math
import os
import random
import select
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from trainoff import duel, windows
from trainoff.machine import usable
from trainoff.measure import turning
from trainoff.shapes import Files, Run
from trainoff.supervise import stops
from trainoff.supervise.launch import launch

# Sessions that there are whatever they show, unless a training fails, and pairs of the first, which shows how noisy pairs are.
MIN_SESSIONS, FIRST_PAIRS = 2, 6
# Pairs of any other session, and of one whose share of the time is over: all together still give an interval.
MIN_PAIRS = math.ceil(duel.MIN_PAIRS / MIN_SESSIONS)
# A slice that takes so many times as long as it should, and longer than so many seconds, is taken for a hang.
HANG_FACTOR, HANG_SECONDS = 20, 60.0
# What a second model may need beyond the first, as it need not be of the same framework.
MEMORY_MARGIN = 1.5
# Share of a processor that a training takes while it waits, above which it does not wait but spins.
SPINNING = 0.1
# Apple's GPUs slow down after a moment without work: slices there follow one that is not counted.
NEEDS_LEAD_IN = {"metal"}
POLL_SECONDS = 0.2


class Failed(Exception):
    """A session cannot go on. side: whose training it was; status: of the record."""

    def __init__(self, side, status, message):
        super().__init__(message)
        self.side, self.status = side, status


@dataclass(frozen=True)
class Pairing:
    """Two trainings of one configuration, and how they take turns.

    runs: {"device", "baseline"}: as scripts/train.py takes them, with classes. files: paths by name. logs: {side: path}.
    settings: slice_seconds, minutes, equivalence. timeout_minutes: for the start of a training. generator: of random order.
    """

    runs: dict[str, Run]
    files: Files
    logs: Mapping[str, str | Path]
    settings: dict[str, Any]
    timeout_minutes: float
    generator: random.Random

    @property
    def frameworks(self) -> list[str]:
        return [self.runs[side]["device"]["backend"] for side in duel.SIDES]


class Side:
    """One of the two trainings: a thread that supervises it, and the pipes to talk to it."""

    def __init__(self, name, pairing, folder):
        self.name, self.run = name, pairing.runs[name]
        # The start has a limit of its own in launch; what is beyond it here is a fault of ours, not of the machine.
        minutes = pairing.timeout_minutes + pairing.settings["minutes"]
        turns = {"slice_seconds": pairing.settings["slice_seconds"]}
        paths = {pipe: str(Path(folder, f"{name}-{pipe}")) for pipe in ("orders", "answers")}
        for path in paths.values():
            os.mkfifo(path)
        # Open for both, so that neither opening nor writing ever waits for the other end.
        self._orders, self._answers = (os.open(path, os.O_RDWR) for path in paths.values())
        self._unread = b""
        self._pid = None
        self.failure, self.outcome, self.error = None, None, None

        def supervise():
            try:
                own = self.run | {"turns": turns | paths}
                log = pairing.logs[name]
                self.outcome = launch(turning.__name__, own, pairing.files, log, minutes, say=lambda words: None)
            except BaseException as error:  # of the thread; raised in `close`
                self.error = error

        self.thread = threading.Thread(target=supervise)
        self.thread.start()

    def wait_until_ready(self) -> None:
        self._pid = self._answer(math.inf)["pid"]

    def prepare(self, steps: int | None) -> None:
        """Lets it train a slice that is not counted, of so many steps; None: it times its steps first, while the other waits."""
        # How long a step takes is not known yet, so nothing ends this but the limit of the whole process.
        self.steps = self._order("calibrate" if steps is None else f"steps {steps}", math.inf)["steps"]
        self.slice_seconds = self._order("lead_in", math.inf)["seconds"]

    def take_turn(self) -> float:
        """Trains one slice and returns its seconds."""
        if self.run["device"]["accelerator"] in NEEDS_LEAD_IN:
            self._order("lead_in", self.slice_seconds)
        return self._order("go", self.slice_seconds)["seconds"]

    def _order(self, order, expected_seconds):
        os.write(self._orders, f"{order}\n".encode("ascii"))
        return self._answer(max(HANG_SECONDS, HANG_FACTOR * expected_seconds))

    def _answer(self, seconds):
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            if not self.thread.is_alive():
                raise Failed(self.name, "crashed", "The training ended before it was told to.")
            if time.monotonic() > deadline:
                self.kill()
                raise Failed(self.name, "timed_out", f"It did not finish a slice within {seconds:.0f} s and was ended.")
            if select.select([self._answers], [], [], POLL_SECONDS)[0]:
                self._unread += os.read(self._answers, 65536)
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def memory_bytes(self) -> int:
        """What the training's processes take now; 0 where that cannot be told."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._pid)
            return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])
        return 0

    def kill(self) -> None:
        """Ends the training, if it has said which process it is."""
        if self._pid is not None and self.thread.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)

    def stop(self) -> None:
        os.write(self._orders, b"stop\n")

    def close(self) -> None:
        """Waits for the end of the training."""
        self.thread.join(HANG_SECONDS)
        self.kill()
        self.thread.join()
        for pipe in (self._orders, self._answers):
            os.close(pipe)
        if self.error is not None:
            raise self.error

    def slices(self) -> list[dict[str, Any]]:
        """Its slices that are not lead-ins, each with the seconds in which it was stopped."""
        journal = self.outcome.journal
        pauses = [event for event in journal.events if event["event"] == "pause"]
        found = stops.found(self.outcome.ending.looks, pauses) if self.outcome.ending else []
        return [
            event["slice"]
            | {
                "suspended_seconds": round(
                    stops.seconds_within(found, event["at"] - event["slice"]["seconds"], event["at"]), 3
                )
            }
            for event in journal.events
            if event["event"] == "slice" and not event["slice"]["lead_in"]
        ]

    def facts(self) -> dict[str, Any]:
        """What the record holds of it besides slices."""
        journal = self.outcome.journal
        waits = [event["slice"] for event in journal.events if event["event"] == "slice"]
        waited = sum(one["waited_seconds"] for one in waits)
        share = sum(one["waited_cpu_seconds"] for one in waits) / waited if waited else None
        return {
            "status": self.failure.status if self.failure else self.outcome.status,
            "failure": self.outcome.failure,
            # Taken out and kept once, by scripts/take_turns.py.
            "software": journal.last("imported").get("software", {}),
            "import_seconds": journal.last("imported").get("seconds"),
            "build_seconds": journal.last("built").get("seconds"),
            "first_step_seconds": journal.last("first_step").get("seconds"),
            "steps_per_slice": journal.last("ready").get("steps"),
            "waiting_cores": share,
            "spinning": None if share is None else share > SPINNING,
        }


def take_turns(pairing: Pairing, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """[session]: all that was measured, each as the record holds it, until the difference is decided or time is up.

    Only more fresh processes average out what such processes differ by, so the verdict is checked after each session.
    """
    began = last = time.monotonic()
    found = []
    for one in sessions(pairing):
        found.append(one)
        standing = duel.stand_of(found, pairing.frameworks, pairing.settings["equivalence"])
        say(f"session {len(found)}: {len(one['pairs'])} pairs of slices{_words(standing)}")
        now = time.monotonic()
        late = now + (now - last) - began > 60 * pairing.settings["minutes"]
        if len(found) >= MIN_SESSIONS and (late or standing.settled):
            break
        last = now
    return found


def sessions(pairing: Pairing) -> Iterator[dict[str, Any]]:
    """Sessions as `take_turns` has them, without end, or until one fails. Each is as long as `best_pairs` says."""
    found = []
    while True:
        found.append(_session(pairing, found))
        yield found[-1]
        if found[-1]["status"] != "ok":
            return


def _session(pairing, earlier):
    """earlier: the sessions before this one, of which the first found how many steps a slice has."""
    steps = {side: facts["steps_per_slice"] for one in earlier[:1] for side, facts in one["sides"].items()}
    known = [duel.logs_of(one) for one in earlier]
    spread = duel.session_spread(*pairing.frameworks)
    sides, order, failure = {}, [], None
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trainoff-turns-") as folder:
        try:
            sides["device"] = Side("device", pairing, folder)
            if not steps:
                sides["device"].wait_until_ready()
                _check_memory(sides["device"])
            sides["baseline"] = Side("baseline", pairing, folder)
            for side in sides.values():
                if side.name == "baseline" or steps:
                    side.wait_until_ready()
            for name, side in sides.items():
                side.prepare(steps.get(name))
            values, ready = [], time.monotonic()

            def wanted():
                now = time.monotonic()
                late = now - began > 60 * pairing.settings["minutes"] / MIN_SESSIONS
                return MIN_PAIRS if late else best_pairs([*known, values], ready - began, now - ready, spread)

            while len(values) < wanted():
                names = list(duel.SIDES) if pairing.generator.random() < 0.5 else list(reversed(duel.SIDES))
                seconds = {name: sides[name].take_turn() for name in names}
                rates = {
                    name: sides[name].steps * pairing.runs[name]["batch_size"] / seconds[name] for name in duel.SIDES
                }
                values.append(math.log(rates["device"] / rates["baseline"]))
                order.append(names[0])
        except Failed as error:
            failure = error
        finally:
            for side in sides.values():
                side.stop()
            for side in sides.values():
                if failure is not None:
                    side.kill()
                side.close()
    return _record(sides, order, failure)


def best_pairs(sessions: Sequence[Sequence[float]], start_seconds: float, seconds: float, spread: float) -> int:
    """Pairs that the last of these sessions should have, by the seconds that its start and its pairs so far took.

    sessions: log ratios of pairs. spread: what sessions differ by, as duel.session_spread says.
    """
    least = FIRST_PAIRS if len(sessions) == 1 else MIN_PAIRS
    done = len(sessions[-1])
    if done < least:
        return least
    return max(least, windows.best_length(start_seconds, seconds / done, duel.noise_of_sessions(sessions), spread))


def _record(sides, order, failure):
    """A session as the record holds it."""
    if failure is not None and failure.side in sides:
        sides[failure.side].failure = failure
    own = {name: side.slices() for name, side in sides.items()}
    pairs = [
        {
            "first": first,
            "counted": not any(own[name][place]["suspended_seconds"] for name in duel.SIDES),
            **{name: own[name][place] for name in duel.SIDES},
        }
        for place, first in enumerate(order)
    ]
    status, message, culprit = "ok", None, None
    if failure is not None:
        culprit = failure.side
        outcome = sides[culprit].outcome if culprit in sides else None
        # What the training itself says of its end, where it does.
        known = outcome is not None and outcome.status != "ok" and failure.status == "crashed"
        status = outcome.status if known else failure.status
        message = outcome.message if known else str(failure)
    return {
        "status": status,
        "failed": culprit,
        "message": message,
        "sides": {name: side.facts() for name, side in sides.items()},
        "pairs": pairs,
    }


def _check_memory(side):
    """Raises Failed where a second model like the first would not fit."""
    taken, left = side.memory_bytes(), usable.available_memory_bytes()
    if taken * MEMORY_MARGIN > left:
        raise Failed(
            "baseline",
            "out_of_memory",
            f"One training takes {taken / 1e9:.1f} GB and {left / 1e9:.1f} GB are left: two do not fit. They were not started "
            "together.",
        )


def _words(standing):
    if standing.low is None:
        return ""
    return f", {standing.ratio:.3f} ({standing.low:.3f} to {standing.high:.3f}): {standing.verdict}"
