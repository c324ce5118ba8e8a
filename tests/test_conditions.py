"""What else the machine does is seen, told apart from the run itself, and waited for."""

import dataclasses
import subprocess
import sys
import time

import psutil
import pytest

from trainoff.supervise import conditions


def reading(**values):
    base = dict.fromkeys(conditions.Reading.__dataclass_fields__, 0.0)
    return conditions.Reading(**base | values)


def test_own_work_is_not_others_work():
    before = reading(clock_seconds=0.0, busy_seconds=100.0, own_seconds=5.0)
    after = reading(clock_seconds=10.0, busy_seconds=125.0, own_seconds=25.0)
    assert conditions.other_cores(before, after) == pytest.approx(0.5)


def test_time_stolen_by_other_virtual_machines_counts():
    after = reading(clock_seconds=10.0, stolen_seconds=20.0)
    assert conditions.other_cores(reading(), after) == pytest.approx(2.0)


def test_a_clock_that_stands_tells_nothing():
    assert conditions.other_cores(reading(), reading()) is None


def test_a_busy_program_is_seen():
    """A real process at work, watched over the real counters."""
    worker = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.5)
        before = conditions.read()
        time.sleep(2)
        load = conditions.other_cores(before, conditions.read())
    finally:
        worker.kill()
        worker.wait()
    assert load > 0.3


def test_waiting_ends_when_the_others_are_done():
    loads = iter([psutil.cpu_count(), psutil.cpu_count(), 0.0])
    said, slept = [], []
    load, waited = conditions.wait_for_quiet(60, said.append, sample=lambda: next(loads), sleep=slept.append)
    assert load == 0.0
    assert len(slept) == 2 and len(said) == 1
    assert waited > 0


def test_the_first_look_may_have_begun_before(monkeypatch):
    """What a job does meanwhile is not waited for twice."""
    slept = []
    monkeypatch.setattr(conditions.time, "sleep", slept.append)
    earlier = dataclasses.replace(conditions.read(), clock_seconds=time.monotonic() - 10)
    load, waited = conditions.wait_for_quiet(0, lambda words: None, since=earlier)
    assert slept == [0.0] and load >= 0 and waited == 0.0


def test_waiting_ends_at_its_limit():
    load, waited = conditions.wait_for_quiet(0.1, lambda words: None, sample=lambda: float(psutil.cpu_count()))
    assert load == psutil.cpu_count()
    assert 0.1 <= waited < 30


def test_a_record_holds_only_what_is_known():
    before = conditions.read()
    # A second later, in which nothing ran: two real readings would tell what else the machine does just now.
    found = conditions.describe(0.0, 0.0, before, dataclasses.replace(before, clock_seconds=before.clock_seconds + 1))
    assert found["busy"] is False
    assert found["memory_available_bytes_before"] > 0
    assert all(value is None or isinstance(value, (bool, int, float, str)) for value in found.values())
