"""Time in which a child process did not run: stopped by a signal or a debugger, frozen, or with its machine asleep or paused.

An epoch's seconds would hold that time as well. No single clock tells it, so there are four witnesses, all on the machine's
monotonic clock, which nobody can set and which every process shares:

- each look of the supervisor at the child: is it stopped by a signal?
- a gap between two looks: the supervisor did not run either, with the child (a paused virtual machine, a frozen container) or
  without it (Ctrl-Z);
- a pause between two beats of the child's heart (trainoff.measure.child): the child did not run, or held its interpreter;
- a clock that goes on while the machine sleeps.
"""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psutil

# Two looks further apart than this were not a matter of a busy machine. The supervisor looks every 0.2 s.
GAP_SECONDS = 0.7
# Sleep shorter than this is rounding of two clocks that are read one after the other.
SLEEP_SECONDS = 0.1
STOPPED = {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}


@dataclass(frozen=True)
class Stop:
    """The child did not run for `seconds` between `start` and `end`, times on the monotonic clock.

    Of a machine that slept, the monotonic clock stood still: then `seconds` is more than lies between the two.
    """

    start: float
    end: float
    seconds: float


def time_with_sleep() -> float:
    """Seconds on a clock that, unlike time.monotonic, goes on while the machine sleeps; only differences mean something."""
    # Linux; on a Mac this is the clock that goes on, and time.monotonic another.
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Looks:
    """What the supervisor sees of a child from one look to the next.

    ran: seconds that the child may have run while it was watched. stopped_for: seconds since it was last seen running, where it
    is stopped by a signal. gaps: (start, end) of the times without a look. stops, sleeps: Stops by a signal, and of the machine.
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
        """To be called at short intervals while the child lives, and once after its end."""
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


def found(looks: Looks, pauses: list[dict[str, Any]]) -> list[Stop]:
    """The Stops of a child, in order of time and without overlap, from all witnesses.

    looks: the supervisor's, to the end. pauses: the events "pause" of the child's journal, each with start and end.
    """
    stops = [
        Stop(pause["start"], pause["end"], pause["end"] - pause["start"]) for pause in pauses if _is_stop(pause, looks)
    ]
    # A beat is closer to the moment than a look.
    stops += [seen for seen in looks.stops if not any(_overlap(seen, told) > 0 for told in stops)]
    return _merged(stops + looks.sleeps)


def _is_stop(pause, looks):
    """Whether the supervisor saw the child stopped, or nothing at all, during a pause of the child's heart.

    A pause alone proves nothing: a framework may wait for its device and let no other thread of the interpreter run.
    """
    seen = [*looks.gaps, *((stop.start, stop.end) for stop in looks.stops)]
    return any(start < pause["end"] and pause["start"] < end for start, end in seen)


def seconds_within(stops: Iterable[Stop], start: float, end: float) -> float:
    """How long the child did not run between two times on the monotonic clock; 0.0 when it did all the time."""
    return sum(stop.seconds * _overlap(stop, Stop(start, end, 0.0)) / (stop.end - stop.start) for stop in stops)


def _overlap(one, other):
    return max(0.0, min(one.end, other.end) - max(one.start, other.start))


def _merged(stops):
    merged = []
    for stop in sorted(stops, key=lambda stop: (stop.start, stop.end)):
        if stop.end <= stop.start:
            continue
        if merged and stop.start < merged[-1].end:
            last = merged.pop()
            # What the monotonic clock missed comes on top of what it shows.
            extra = sum(max(0.0, one.seconds - (one.end - one.start)) for one in (last, stop))
            end = max(last.end, stop.end)
            stop = Stop(last.start, end, end - last.start + extra)
        merged.append(stop)
    return merged
