"""The idle power of a device, measured once per processor or GPU and session, in a separate process.

A session lasts until the machine restarts, and at most twelve hours. Run as `python -m trainoff.supervise.idling ACCELERATOR
SECONDS OUTPUT` with only that device visible; it writes {"watts", "reason", "source", "scope"} as JSON to OUTPUT.
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
# The median of three readings, so that one disturbed reading does no harm.
READINGS = 3
# A device that has just been busy needs a moment to become idle.
SETTLE_SECONDS = 3.0
STOPPED = "Idle power is unknown: the measuring process or the machine was suspended during the reading."


def of_session(
    folder: str | Path, device: Device, seconds: float, log: str | Path, notify: Callable[[str], None]
) -> dict[str, Any]:
    """The idle power of a device in this session, as {"watts", "reason", "source", "scope"}; measured unless already known.

    folder: where the sessions of this results folder are noted. device: as in params.run. seconds: how long to measure;
    0 = not at all. log: path for the output of the measuring process. notify: called with one line of text for the user.
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
    notify(f"measuring the idle power of {device['name']} for {seconds:.0f} s, once in this session")
    idle = _measure(device, seconds, log)
    if idle.get("reason") == STOPPED:  # worth another try later in the session
        return idle
    write_text(path, json.dumps({"boot": psutil.boot_time(), "measured": time.time(), "found": idle}) + "\n")
    return idle


def watts_of(idle: dict[str, Any], source: str | None, scope: str | None) -> float | None:
    """Idle watts to subtract from a reading of that source and scope; None where there are none."""
    return idle["watts"] if (idle["source"], idle["scope"]) == (source, scope) else None


def measure(
    accelerator: str,
    seconds: float,
    sleep: Callable[[float], Any] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Reads the meter of an idle device for about `seconds` in total; see `of_session`. sleep, clock: for tests."""
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
    return _unknown("The process that measures idle power ended early; see the log.")


def _read(path):
    """The result of an earlier run in this session; None when there was none."""
    try:
        noted = json.loads(path.read_text())
        # The boot time is computed from the clock, which may have been adjusted meanwhile.
        same_start = abs(noted["boot"] - psutil.boot_time()) < 60
        return noted["found"] if same_start and 0 <= time.time() - noted["measured"] < SESSION_SECONDS else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _machine_and_gpu(device):
    """A short hash of this machine's name and the device's GPU, if any: the nodes of a cluster share a folder.

    The framework is not part of it: the idle power of a GPU is the same for all.
    """
    return hashlib.sha256(f"{platform.node()} {devices.gpu_uuid(device)}".encode()).hexdigest()[:8]


def _unknown(reason):
    return {"watts": None, "reason": reason, "source": None, "scope": None}


if __name__ == "__main__":
    child.end_with_supervisor()
    accelerator, seconds, output = sys.argv[1:]
    write_text(output, json.dumps(measure(accelerator, float(seconds))))
