"""The power of a device while nothing is trained, measured once per processor or GPU and session, in a process of its own.

A session is the time since the machine was started, twelve hours at most. Run as `python -m trainoff.supervise.idling ACCELERATOR
SECONDS OUTPUT` where the device alone is visible; it writes {"watts", "reason", "source", "scope"} as JSON to OUTPUT.
"""

import contextlib
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from trainoff.files import write_text
from trainoff.machine import devices, variables
from trainoff.measure import child, meters
from trainoff.shapes import Device
from trainoff.supervise import supervise

SCRIPTS = Path(__file__).parents[2]
SESSION_SECONDS = 12 * 3600
# The middle one of three readings: one that something disturbed does no harm.
READINGS = 3
# A device that has just worked needs a moment to slow down.
SETTLE_SECONDS = 3.0
STOPPED = "The idle power is not known: the process that measured it was stopped meanwhile, or the machine was."


def of_session(
    folder: str | Path, device: Device, seconds: float, log: str | Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """The idle power of a device in this session, as {"watts", "reason", "source", "scope"}; measured unless known.

    folder: where the sessions of this results folder are noted. device: as params.run has it. seconds: how long to
    measure; 0 = not at all. log: path for the output of the measuring process. say: takes a line for the person who waits.
    """
    try:
        devices.require(device["accelerator"], device["index"])
    except devices.DeviceUnavailable as error:
        return _unknown(str(error))
    reason = meters.absent(device["accelerator"])
    if reason or not seconds:
        return _unknown(reason or "energy.idle_seconds is 0.")
    path = Path(folder) / f"{device['accelerator']}-{_machine_and_gpu(device)}.json"
    noted = _read(path)
    if noted is not None:
        return noted
    say(f"measuring the idle power for {device['name']} for {seconds:.0f} s, once in this session")
    found = _measure(device, seconds, log)
    if found.get("reason") == STOPPED:  # says nothing of the rest of the session
        return found
    write_text(path, json.dumps({"boot": psutil.boot_time(), "measured": time.time(), "found": found}) + "\n")
    return found


def watts_of(found: dict[str, Any], source: str | None, scope: str | None) -> float | None:
    """Idle watts that may be taken off a reading of that source and scope; None where there are none."""
    return found["watts"] if (found["source"], found["scope"]) == (source, scope) else None


def measure(
    accelerator: str,
    seconds: float,
    sleep: Callable[[float], Any] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Reads the meter of an idle device for about `seconds` in all; see `of_session`. sleep, clock: for tests."""
    meter = meters.open_meter(accelerator)
    if meter.kind is None:
        return _unknown(meter.reason)
    sleep(SETTLE_SECONDS)
    watts = []
    for _ in range(READINGS):
        meter.start()
        started = clock()
        sleep(seconds / READINGS)
        elapsed = clock() - started
        joules, reason = meter.stop(elapsed, training=False)
        if reason:
            return _unknown(reason)
        watts.append(joules / elapsed)
    return {"watts": statistics.median(watts), "reason": None, **meters.facts(meter)}


def _measure(device, seconds, log):
    with tempfile.TemporaryDirectory(prefix="trainoff-") as folder:
        output = Path(folder) / "idle.json"
        arguments = [device["accelerator"], str(seconds), str(output)]
        with open(log, "ab") as stream:
            ending = supervise.run_child(
                [sys.executable, "-m", __name__, *arguments],
                log=stream,
                timeout_seconds=seconds + 120,
                environment=variables.passed_on(os.environ)
                | {"PYTHONPATH": str(SCRIPTS)}
                | devices.environment(device),
                watch=lambda: None,
            )
        if ending.looks.stops or ending.looks.sleeps or ending.looks.gaps:
            return _unknown(STOPPED)
        with contextlib.suppress(OSError, ValueError):
            return json.loads(output.read_text())
    return _unknown("The process that measures the idle machine ended before it was done; the log says more.")


def _read(path):
    """What an earlier run of this session found; None when there was none."""
    try:
        noted = json.loads(path.read_text())
        # The time of the start is computed from the clock, which may be set meanwhile.
        same_start = abs(noted["boot"] - psutil.boot_time()) < 60
        return noted["found"] if same_start and 0 <= time.time() - noted["measured"] < SESSION_SECONDS else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _machine_and_gpu(device):
    """A short name for this machine and the device's GPU, if it has one, that tells neither: nodes of a cluster share a folder.

    Whatever frameworks train on a GPU, idle it is the same.
    """
    gpu = devices.environment(device).get("CUDA_VISIBLE_DEVICES", "")
    return hashlib.sha256(f"{platform.node()} {gpu}".encode()).hexdigest()[:8]


def _unknown(reason):
    return {"watts": None, "reason": reason, "source": None, "scope": None}


if __name__ == "__main__":
    child.end_with_supervisor()
    accelerator, seconds, output = sys.argv[1:]
    write_text(output, json.dumps(measure(accelerator, float(seconds))))
