"""Two live trainings of one configuration that take turns: sessions of fresh processes, slices in random order, failures."""

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

from trainoff import numbers, turn_statistics, windows
from trainoff.machine import usable
from trainoff.measure import turning
from trainoff.shapes import Files, Run
from trainoff.supervise import progress, stops
from trainoff.supervise.launch import launch

# The minimum number of sessions, unless a training fails, and the pairs of the first, which shows how noisy pairs are.
MIN_SESSIONS, FIRST_PAIRS = 2, 6
# Pairs of any other session, and of a session whose share of the time is over: enough in total for an interval.
MIN_PAIRS = math.ceil(turn_statistics.MIN_PAIRS / MIN_SESSIONS)
# A slice that takes this many times its expected time, and more than this many seconds, counts as a hang.
HANG_FACTOR, HANG_SECONDS = 20, 60.0
# How much more memory than the first model the second may need: it may use another framework.
MEMORY_MARGIN = 1.5
# A training that uses more than this share of a processor while it waits is spinning.
SPINNING = 0.1
# Apple's GPUs slow down after a moment without work: each slice there follows one that is not counted.
NEEDS_LEAD_IN = {"metal"}
POLL_SECONDS = 0.2
# Statuses that a training may get only when it has ended (supervise.unfinished_work).
BELATED = ("error", "out_of_memory")


class Failed(Exception):
    """A session cannot continue. side: whose training failed; status: of the record."""

    def __init__(self, side, status, message):
        super().__init__(message)
        self.side, self.status = side, status


@dataclass(frozen=True)
class Pairing:
    """Two trainings of one configuration, and how they take turns.

    runs: {"device", "baseline"}: as scripts/train.py takes them, with classes. files: paths by name. logs: {side: path}.
    settings: slice_seconds, minutes, equivalence. timeout_minutes: for the start of a training. generator: for random order.
    """

    runs: dict[str, Run]
    files: Files
    logs: Mapping[str, str | Path]
    settings: dict[str, Any]
    timeout_minutes: float
    generator: random.Random

    @property
    def names(self) -> dict[str, str]:
        """{side: name of its device}."""
        return {side: run["device"]["name"] for side, run in self.runs.items()}

    @property
    def frameworks(self) -> list[str]:
        return [self.runs[side]["device"]["backend"] for side in turn_statistics.SIDES]


class Side:
    """One of the two trainings: a thread that supervises it, and the pipes to talk to it."""

    def __init__(self, name, pairing, folder):
        self.name, self.run = name, pairing.runs[name]
        # The limit of the whole process: protocol.timeout_minutes for its start, plus the time for all turns.
        minutes = pairing.timeout_minutes + pairing.settings["minutes"]
        turns = {"slice_seconds": pairing.settings["slice_seconds"]}
        paths = {pipe: str(Path(folder, f"{name}-{pipe}")) for pipe in ("orders", "answers")}
        for path in paths.values():
            os.mkfifo(path)
        # Opened for reading and writing, so that neither opening nor writing waits for the other end.
        self._orders, self._answers = (os.open(path, os.O_RDWR) for path in paths.values())
        self._unread = b""
        self._pid = None
        self.failure, self.outcome, self.error = None, None, None

        def began(pid):
            self._pid = pid

        def supervise():
            try:
                run = self.run | {"turns": turns | paths}
                log = pairing.logs[name]
                self.outcome = launch(
                    turning.__name__, run, pairing.files, log, minutes, notify=lambda words: None, began=began
                )
            except BaseException as error:  # raised in `_session`
                self.error = error

        self.thread = threading.Thread(target=supervise)
        self.thread.start()

    def wait_until_ready(self) -> None:
        self._answer(math.inf)

    def prepare(self, steps: int | None) -> None:
        """Trains one uncounted slice of this many steps; None: it times its steps first, while the other side waits."""
        # The time of a step is not known yet, so only the limit of the whole process ends this.
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
        # A training that is stopped, alone or with this process, does not hang.
        looks = stops.Looks(self._pid)
        while b"\n" not in self._unread:
            if not self.thread.is_alive():
                raise Failed(self.name, "crashed", "The training ended early.")
            looks.look()
            if looks.ran > seconds:
                self.kill()
                message = f"The training did not finish a slice within {seconds:.0f} s and was ended."
                raise Failed(self.name, "timed_out", message)
            if select.select([self._answers], [], [], POLL_SECONDS)[0]:
                self._unread += os.read(self._answers, 65536)
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def memory_bytes(self) -> int:
        """The resident memory of the training's processes; 0 where it is unknown."""
        with contextlib.suppress(psutil.Error):
            main = psutil.Process(self._pid)
            return sum(process.memory_info().rss for process in [main, *main.children(recursive=True)])
        return 0

    def kill(self) -> None:
        """Ends the training, if it has begun."""
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

    def slices(self) -> list[dict[str, Any]]:
        """Its slices that are not lead-ins, each with the seconds for which it was stopped."""
        events, ending = self.outcome.journal.events, self.outcome.ending
        pauses = [event for event in events if event["event"] == "pause"]
        suspensions = stops.of_child(ending.looks, pauses) if ending else []

        def suspended_seconds(event):
            return stops.seconds_within(suspensions, event["at"] - event["slice"]["seconds"], event["at"])

        return [
            event["slice"] | {"suspended_seconds": round(suspended_seconds(event), 3)}
            for event in events
            if event["event"] == "slice" and not event["slice"]["lead_in"]
        ]

    def facts(self) -> dict[str, Any]:
        """The part of the record about this side, apart from its slices."""
        journal = self.outcome.journal
        slices = [event["slice"] for event in journal.events if event["event"] == "slice"]
        waited = sum(row["waited_seconds"] for row in slices)
        waiting_cores = sum(row["waited_cpu_seconds"] for row in slices) / waited if waited else None
        return {
            "status": self.failure.status if self.failure else self.outcome.status,
            "failure": self.outcome.failure,
            # Moved to the record's identity by scripts/take_turns.py.
            "software": journal.last("imported").get("software", {}),
            "import_seconds": journal.last("imported").get("seconds"),
            "build_seconds": journal.last("built").get("seconds"),
            "first_step_seconds": journal.last("first_step").get("seconds"),
            "steps_per_slice": journal.last("ready").get("steps"),
            "waiting_cores": waiting_cores,
            "spinning": None if waiting_cores is None else waiting_cores > SPINNING,
        }


def take_turns(pairing: Pairing, notify: Callable[[str], None]) -> list[dict[str, Any]]:
    """All sessions, each as in the record, until the difference is decided or the time is up.

    Only fresh processes average out the differences between processes, so the verdict is checked after each session.
    """
    began = last = time.monotonic()
    done = []
    for session in sessions(pairing):
        done.append(session)
        standing = turn_statistics.stand_of(done, pairing.frameworks, pairing.settings["equivalence"])
        notify(
            progress.Passing(f"session {len(done)}: {words(standing, pairing.names, pairing.settings['equivalence'])}")
        )
        now = time.monotonic()
        late = now + (now - last) - began > 60 * pairing.settings["minutes"]
        # Pairs in which a training was stopped do not count, so more sessions make up for them.
        short = standing.low is None and len(done) < MIN_SESSIONS + stops.ATTEMPTS_IF_STOPPED
        if len(done) >= MIN_SESSIONS and (standing.settled or (late and not short)):
            break
        last = now
    return done


def sessions(pairing: Pairing) -> Iterator[dict[str, Any]]:
    """Endless sessions as in the record, until one fails. `best_pairs` decides the length of each."""
    done = []
    while True:
        done.append(_session(pairing, done))
        yield done[-1]
        if done[-1]["status"] != "ok":
            return


def _session(pairing, earlier):
    """earlier: the sessions before this one; the first determined the number of steps per slice."""
    steps = {side: facts["steps_per_slice"] for session in earlier[:1] for side, facts in session["sides"].items()}
    known = [turn_statistics.logs_of(session) for session in earlier]
    spread = turn_statistics.session_spread(*pairing.frameworks)
    sides, order, failure, complete = {}, [], None, False
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
                names = (
                    list(turn_statistics.SIDES)
                    if pairing.generator.random() < 0.5
                    else list(reversed(turn_statistics.SIDES))
                )
                seconds = {name: sides[name].take_turn() for name in names}
                rates = {
                    name: sides[name].steps * pairing.runs[name]["batch_size"] / seconds[name]
                    for name in turn_statistics.SIDES
                }
                values.append(math.log(rates["device"] / rates["baseline"]))
                order.append(names[0])
            complete = True
        except Failed as error:
            failure = error
        finally:
            for side in sides.values():
                side.stop()
                if not complete:
                    side.kill()
            for side in sides.values():
                side.close()
    for side in sides.values():
        if side.error is not None:
            raise side.error
    return _record(sides, order, failure)


def best_pairs(sessions: Sequence[Sequence[float]], start_seconds: float, seconds: float, spread: float) -> int:
    """The best number of pairs for the last of these sessions, given the seconds that its start and its pairs so far took.

    sessions: log ratios of pairs. spread: between sessions, from turn_statistics.session_spread.
    """
    minimum = FIRST_PAIRS if len(sessions) == 1 else MIN_PAIRS
    done = len(sessions[-1])
    if done < minimum:
        return minimum
    return max(
        minimum, windows.best_length(start_seconds, seconds / done, turn_statistics.noise_of_sessions(sessions), spread)
    )


def _record(sides, order, failure):
    """A session as in the record."""
    if failure is not None and failure.side in sides:
        sides[failure.side].failure = failure
    slices = {name: side.slices() for name, side in sides.items()}
    pairs = [
        {
            "first": first,
            "counted": not any(slices[name][place]["suspended_seconds"] for name in turn_statistics.SIDES),
            **{name: slices[name][place] for name in turn_statistics.SIDES},
        }
        for place, first in enumerate(order)
    ]
    status, message, culprit = "ok", None, None
    if failure is not None:
        culprit = failure.side
        outcome = sides[culprit].outcome if culprit in sides else None
        # The training's own report of its end, where there is one.
        known = outcome is not None and outcome.status != "ok" and failure.status == "crashed"
        status = outcome.status if known else failure.status
        message = outcome.message if known else str(failure)
    elif culprit := next((name for name, side in sides.items() if side.outcome.status in BELATED), None):
        status, message = sides[culprit].outcome.status, sides[culprit].outcome.message
    return {
        "status": status,
        "failed": culprit,
        "message": message,
        "sides": {name: side.facts() for name, side in sides.items()},
        "pairs": pairs,
    }


def _check_memory(side):
    """Raises Failed where a second model like the first would not fit."""
    used, free = side.memory_bytes(), usable.available_memory_bytes()
    if used * MEMORY_MARGIN > free:
        raise Failed(
            "baseline",
            "out_of_memory",
            f"One training uses {used / 1e9:.1f} GB and {free / 1e9:.1f} GB are free, so two do not fit. They were not started "
            "together.",
        )


def words(standing: turn_statistics.Standing, names: Mapping[str, str], equivalence: float) -> str:
    """Which of two devices is faster: "cpu is 1.78× as fast as gpu (95% interval 1.40 to 2.27)". names: {side: of its device}."""
    if standing.low is None:
        return "too few usable pairs of slices"
    winner, loser = (names[side] for side in turn_statistics.SIDES)
    ratio, low, high = standing.ratio, standing.low, standing.high
    if ratio < 1:
        winner, loser, ratio, low, high = loser, winner, 1 / ratio, 1 / high, 1 / low
    measured = f"{numbers.ratio(ratio)} as fast as {loser} (95% interval {numbers.ratio_interval(low, high)})"
    if standing.verdict in ("faster", "slower"):
        return f"{winner} is {measured}"
    outcome = f"equally fast within {100 * equivalence:g}%" if standing.verdict == "equivalent" else "undecided"
    return f"{outcome}: {winner} was measured {measured}"
