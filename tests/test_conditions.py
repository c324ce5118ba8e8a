"""What else the machine does is seen, told apart from the run itself, and waited for."""

import dataclasses
import platform
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from trainoff.machine import usable
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


@pytest.fixture
def host(monkeypatch):
    """A host of eight logical processors, of which the odd ones are switched off and 4 and 6 are a job's."""
    seconds = {0: 1000.0, 2: 1000.0, 4: 50.0, 6: 50.0}

    def times(percpu=False):
        each = [SimpleNamespace(user=value, system=0.0) for value in seconds.values()]
        return each if percpu else SimpleNamespace(user=sum(seconds.values()), system=0.0)

    monkeypatch.setattr(psutil, "cpu_times", times)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 4)
    monkeypatch.setattr(usable, "online_processors", lambda: list(seconds))
    monkeypatch.setattr(usable, "allowed_processors", lambda: [4, 6])
    monkeypatch.setattr(conditions.resource, "getrusage", lambda who: SimpleNamespace(ru_utime=0.0, ru_stime=0.0))
    clock = iter(range(0, 100, 10))
    monkeypatch.setattr(conditions.time, "monotonic", lambda: float(next(clock)))
    return seconds


def test_only_the_load_of_the_processors_that_a_run_may_use_counts(host):
    before = conditions.read()
    host[0] += 10.0
    host[6] += 3.0
    load = conditions.other_cores(before, conditions.read())
    assert load == pytest.approx(0.3), "not what others did on theirs"
    assert conditions.is_busy(load) and not conditions.is_busy(0.19), "a tenth of two processors"


def test_where_all_processors_may_be_used_their_whole_load_counts(host, monkeypatch):
    monkeypatch.setattr(usable, "allowed_processors", lambda: list(host))
    before = conditions.read()
    host[0] += 3.0
    load = conditions.other_cores(before, conditions.read())
    assert load == pytest.approx(0.3) and not conditions.is_busy(load) and conditions.is_busy(0.41)
    monkeypatch.setattr(usable, "allowed_processors", lambda: [2])
    assert conditions.other_cores(before, conditions.read()) is None, "processors that changed are not compared"


def test_processors_that_cannot_be_told_apart_count_as_a_whole(host, monkeypatch):
    monkeypatch.setattr(usable, "online_processors", lambda: [0, 1, 2, 3, 4, 5, 6, 7])
    before = conditions.read()
    host[0] += 3.0
    assert conditions.other_cores(before, conditions.read()) == pytest.approx(0.3)


VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               12345.
Pageins:                                9999999.
Pageouts:                                 88888.
Swapins:                                      {swapins}.
Swapouts:                                    40.
"""


def test_a_mac_swaps_only_what_it_swaps(tmp_path, monkeypatch):
    """psutil's counters of a Mac are those of all pages that files are read by."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(sin=10**12, sout=10**12))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program = tmp_path / "vm_stat"
    found = []
    for swapins in (2, 5):
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{VM_STAT.format(swapins=swapins)}END\n")
        program.chmod(0o755)
        found.append(conditions.swapped_bytes())
    assert found == [42 * 16384, 45 * 16384]
    assert conditions.swapped_between(*found) == 3 * 16384
    for text in ("#!/bin/sh\nexit 1\n", "#!/bin/sh\necho Pageins: 5.\n"):
        program.write_text(text)
        assert conditions.swapped_bytes() is None
    assert conditions.swapped_between(5, None) is None and conditions.swapped_between(None, 5) is None


@pytest.mark.parametrize(
    "groups, celsius",
    [
        ({"coretemp": [52.0, 54.0], "nct6775": [127.0], "nvme": [71.0], "acpitz": [90.0]}, 54.0),
        ({"k10temp": [61.0], "amdgpu": [80.0]}, 61.0),
        ({"cpu_thermal": [48.0], "rp1_adc": [55.0]}, 48.0),
        ({"cpu0-thermal": [40.0], "cpu1-thermal": [43.0], "gpu-thermal": [70.0]}, 43.0),
        ({"soc_thermal": [45.0]}, 45.0),
        ({"coretemp": [0.0, None]}, None),
        ({"nvme": [71.0], "iwlwifi_1": [50.0]}, None),
    ],
)
def test_the_temperature_is_that_of_the_processor(groups, celsius, monkeypatch):
    found = {name: [SimpleNamespace(current=value) for value in values] for name, values in groups.items()}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: found, raising=False)
    assert conditions.temperature() == celsius


@pytest.mark.parametrize("system, mhz", [("Linux", 3200.0), ("Darwin", None)])
def test_the_clock_of_a_mac_is_unknown(system, mhz, monkeypatch):
    """There psutil tells the maximum, whatever the chip does."""
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(psutil, "cpu_freq", lambda: SimpleNamespace(current=3200.0), raising=False)
    assert conditions.clock() == mhz
