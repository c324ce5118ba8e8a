"""Time in which a child process did not run: stopped by a signal or a debugger, frozen, or with its machine asleep or paused.

An epoch's seconds would include that time. No single clock shows it, so there are four sources, all on the machine's
monotonic clock, which nobody can set and which all processes share:

- the supervisor's polls: is the child stopped by a signal?
- a gap between two polls: the supervisor did not run either, together with the child (a paused virtual machine, a frozen
  container) or alone (Ctrl-Z);
- a pause in the child's heartbeat (trainoff.measure.child): the child did not run, or it held its interpreter's lock;
- a clock that continues while the machine sleeps.
"""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psutil

# A longer time between two polls is not explained by a busy machine. The supervisor polls every 0.2 s.
GAP_SECONDS = 0.7
# Shorter sleep is within the error of reading two clocks one after the other.
SLEEP_SECONDS = 0.1
STOPPED = {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
# How often a measurement is attempted during which trainings are stopped, by a signal or with the machine.
ATTEMPTS_IF_STOPPED = 3


@dataclass(frozen=True)
class Stop:
    """The child did not run for `seconds` between `start` and `end`, times on the monotonic clock.

    The monotonic clock stands still while the machine sleeps: then `seconds` is more than the time between the two.
    """

    start: float
    end: float
    seconds: float


def time_with_sleep() -> float:
    """Seconds on a clock that, unlike time.monotonic, continues while the machine sleeps; only differences are meaningful."""
    # CLOCK_BOOTTIME exists on Linux; on a Mac CLOCK_MONOTONIC continues during sleep, and time.monotonic is another clock.
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Looks:
    """What the supervisor observes of a child from one poll to the next.

    ran: seconds that the child may have run while it was watched. stopped_for: seconds since it was last seen running, while it
    is stopped by a signal. gaps: (start, end) of times without a poll. stops: Stops by a signal. sleeps: Stops with the machine
    asleep.
    """

    def __init__(self, pid, clock=time.monotonic, clock_with_sleep=time_with_sleep):
        self._clock, self._clock_with_sleep = clock, clock_with_sleep
        self._child = None
        with contextlib.suppress(psutil.Error):
            self._child = psutil.Process(pid)
        self._last, self._last_with_sleep = clock(), clock_with_sleep()
        self._was_stopped = False
        self.ran = self.stopped_for = 0.0
        self.gaps, self.stops, self.sleeps = [], [], []

    def look(self) -> None:
        """Call it at short intervals while the child lives, and once after its end."""
        now, now_with_sleep = self._clock(), self._clock_with_sleep()
        start, elapsed = self._last, now - self._last
        slept = now_with_sleep - self._last_with_sleep - elapsed
        self._last, self._last_with_sleep = now, now_with_sleep
        if slept > SLEEP_SECONDS:
            self.sleeps.append(Stop(start, now, slept))
        if elapsed > GAP_SECONDS:
            self.gaps.append((start, now))
        stopped = self._is_stopped()
        if stopped or self._was_stopped:
            self._add(start, now)
        elif elapsed <= GAP_SECONDS:
            self.ran += elapsed
        self.stopped_for = self.stopped_for + min(elapsed, GAP_SECONDS) if stopped else 0.0
        self._was_stopped = stopped

    def _add(self, start, end):
        if self.stops and self.stops[-1].end == start:
            start = self.stops.pop().start
        self.stops.append(Stop(start, end, end - start))

    def _is_stopped(self):
        try:
            return self._child is not None and self._child.status() in STOPPED
        except psutil.Error:
            return False


def of_child(looks: Looks, pauses: list[dict[str, Any]]) -> list[Stop]:
    """The Stops of a child from all sources, in order of time and without overlap.

    looks: the supervisor's, up to the child's end. pauses: the events "pause" of the child's journal, each with start and end.
    """
    stops = [
        Stop(pause["start"], pause["end"], pause["end"] - pause["start"]) for pause in pauses if _is_stop(pause, looks)
    ]
    # A heartbeat is more precise than a poll.
    stops += [seen for seen in looks.stops if not any(_overlap(seen, stop) > 0 for stop in stops)]
    return _merged(stops + looks.sleeps)


def _is_stop(pause, looks):
    """Whether the supervisor saw the child stopped, or had a gap itself, during a pause in the child's heartbeat.

    A pause alone proves nothing: a framework may wait for its device and block all other threads of the interpreter.
    """
    seen = [*looks.gaps, *((stop.start, stop.end) for stop in looks.stops)]
    return any(start < pause["end"] and pause["start"] < end for start, end in seen)


def seconds_within(stops: Iterable[Stop], start: float, end: float) -> float:
    """How long the child did not run between two times on the monotonic clock; 0.0 when it ran throughout."""
    return sum(stop.seconds * _overlap(stop, Stop(start, end, 0.0)) / (stop.end - stop.start) for stop in stops)


def _overlap(stop, other):
    return max(0.0, min(stop.end, other.end) - max(stop.start, other.start))


def _merged(stops):
    merged = []
    for stop in sorted(stops, key=lambda stop: (stop.start, stop.end)):
        if stop.end <= stop.start:
            continue
        if merged and stop.start < merged[-1].end:
            last = merged.pop()
            # Time that the monotonic clock missed is added to the time that it shows.
            extra = sum(max(0.0, part.seconds - (part.end - part.start)) for part in (last, stop))
            end = max(last.end, stop.end)
            stop = Stop(last.start, end, end - last.start + extra)
        merged.append(stop)
    return merged
