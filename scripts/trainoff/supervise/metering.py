"""The energy of a device while something else runs, read in a separate process that sees only that device.

Run as `python -m trainoff.supervise.metering ACCELERATOR`: it writes the line "ready", reads the counter until its standard input
ends, and then writes {"joules", "reason", "source", "scope"} as JSON.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from trainoff.machine import devices, variables
from trainoff.measure import meters
from trainoff.shapes import Device

SCRIPTS = Path(__file__).parents[2]
# How long to wait for a counter: a driver that hangs must not hold what runs meanwhile.
PATIENCE_SECONDS = 60.0


@contextlib.contextmanager
def metered(device: Device) -> Iterator[dict[str, Any]]:
    """Yields a dict that holds, after the block, the energy that the device of a run consumed meanwhile: see above."""
    energy = {
        "joules": None,
        "reason": "The process that reads the energy counter failed.",
        "source": None,
        "scope": None,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "trainoff.supervise.metering", device["accelerator"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=variables.passed_on(os.environ) | {"PYTHONPATH": str(SCRIPTS)} | devices.environment(device),
    )
    try:
        opened = bool(select.select([process.stdout], [], [], PATIENCE_SECONDS)[0])
        if opened:
            process.stdout.readline()
        yield energy
        try:
            # A counter that opened late misses what came before.
            answer, _ = process.communicate(timeout=PATIENCE_SECONDS if opened else 0)
            energy |= json.loads(answer)
        except subprocess.TimeoutExpired:
            energy["reason"] = f"The energy counter did not answer within {PATIENCE_SECONDS:.0f} s."
        except ValueError:
            pass
    finally:
        process.kill()
        # A call that hangs in the driver cannot be ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_SECONDS)


def main(accelerator: str, until: Callable[[], Any], output: TextIO) -> None:
    """Reads the meter until `until()` returns and writes the result to the stream `output`."""
    meter = meters.open_meter(accelerator)
    meter.start()
    started = time.perf_counter()
    print("ready", file=output, flush=True)
    until()
    joules, reason = meter.stop(time.perf_counter() - started)
    print(json.dumps({"joules": joules, "reason": reason, **meters.facts(meter)}), file=output, flush=True)


if __name__ == "__main__":
    # A counter's library may write to standard output, where the parent expects only our own lines.
    _output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    main(sys.argv[1], sys.stdin.read, _output)
