"""Time in which a training did not run is found, whoever stopped it, and counts nowhere."""

from types import SimpleNamespace

import psutil
import pytest

from trainoff.supervise import stops
from trainoff.supervise.launch import Journal
from trainoff.supervise.stops import Stop


class Machine:
    """Two clocks, and a child whose state is what the test says."""

    def __init__(self, monkeypatch):
        self.now = self.with_sleep = 100.0
        self.state = psutil.STATUS_RUNNING
        monkeypatch.setattr(stops.psutil, "Process", lambda pid: SimpleNamespace(status=lambda: self.state))
        self.looks = stops.Looks(1, clock=lambda: self.now, clock_with_sleep=lambda: self.with_sleep)

    def passes(self, seconds, asleep=0.0, step=0.2):
        """Time goes by, with a look every `step` seconds."""
        self.with_sleep += asleep
        for _ in range(round(seconds / step)):
            self.now += step
            self.with_sleep += step
            self.looks.look()


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def lost(machine, *pauses):
    pauses = [{"start": start, "end": end} for start, end in pauses]
    return sum(stop.seconds for stop in stops.of_child(machine.looks, pauses))


def test_a_child_that_runs_was_not_stopped_whatever_its_heart_does(machine):
    """A framework that waits for its device may let no other thread run: no proof of a stop."""
    machine.passes(60)
    assert lost(machine, (110, 150)) == 0
    assert machine.looks.ran == pytest.approx(60)


def test_a_stop_of_the_child_alone_is_as_long_as_its_heart_says(machine):
    machine.passes(10)
    machine.state = psutil.STATUS_STOPPED
    machine.passes(8)
    machine.state = psutil.STATUS_RUNNING
    machine.passes(10)
    assert lost(machine, (109.95, 118.02)) == pytest.approx(8.07)
    assert lost(machine) == pytest.approx(8.2), "to the next look, where the child ended before its next beat"
    assert machine.looks.ran == pytest.approx(19.8)
    assert machine.looks.stopped_for == 0


def test_a_stop_of_everything_is_told_from_one_of_the_supervisor(machine):
    machine.passes(10)
    machine.passes(3600, step=3600)
    machine.passes(10)
    assert lost(machine) == 0, "the child went on"
    assert lost(machine, (110, 3710)) == pytest.approx(3600), "the child was stopped as well"
    assert machine.looks.ran == pytest.approx(20), "no time limit is reached by it"


def test_sleep_of_the_machine_is_found_by_the_clock_that_goes_on(machine):
    machine.passes(10)
    machine.passes(0.2, asleep=8 * 3600)
    machine.passes(10)
    assert lost(machine) == pytest.approx(8 * 3600)
    assert machine.looks.ran == pytest.approx(20.2)
    (stop,) = stops.of_child(machine.looks, [])
    assert stops.seconds_within([stop], 100, 120) == pytest.approx(8 * 3600)
    assert stops.seconds_within([stop], 111, 120) == 0


def test_what_several_witnesses_saw_is_counted_once(machine):
    machine.state = psutil.STATUS_STOPPED
    machine.passes(2)
    machine.passes(4, step=4)
    machine.state = psutil.STATUS_RUNNING
    machine.passes(2)
    assert lost(machine, (100, 106.1)) == pytest.approx(6.1)


def test_a_stop_takes_an_epoch_out_of_the_count_and_leaves_other_durations_unknown():
    journal = Journal("none", notify=None)
    window = {"epoch": 1, "seconds": 4.0, "warm_up": False, "validation_seconds": 1.0}
    journal.events = [
        {"event": "started", "at": 0.0},
        {"event": "imported", "at": 5.0, "seconds": 5.0},
        {"event": "first_step", "at": 10.0, "seconds": 3.0},
        *({"event": "window", "at": 15.0 + 5 * place, "window": window | {"epoch": place + 1}} for place in range(4)),
    ]
    journal.mark([Stop(6.0, 7.0, 1.0), Stop(13.0, 14.5, 1.5), Stop(21.0, 23.0, 2.0)])
    assert journal.last("imported")["seconds"] == 5.0
    assert journal.last("first_step")["seconds"] is None
    first, second, third, fourth = journal.windows
    assert first["suspended_seconds"] == 1.0 and first["warm_up"] and first["validation_seconds"] == 0.5
    assert third["suspended_seconds"] == 2.0 and third["warm_up"] and third["validation_seconds"] == 1.0
    assert second == window | {"epoch": 2} and fourth == window | {"epoch": 4}
