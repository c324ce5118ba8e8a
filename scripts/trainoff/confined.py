"""Reads an untrusted file in a short-lived process of its own, limited in memory and time.

The readers have limits of their own (see `bounds`) and check sizes before they read. This is the second line of defense:
whatever a library does with a malicious or damaged file, the result is an error message, and the main process is unharmed.
The system limits memory where it can (RLIMIT_AS, on Linux), and the parent checks it everywhere, every few milliseconds. This is
not a sandbox: the process can open whatever its user can.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from trainoff import bounds
from trainoff.errors import UserError, one_line

# Memory of Python and its libraries before the file is opened; only the parent's check counts it.
START_BYTES = 256 * bounds.MIB
# Time for the process to import what it needs, on a busy machine.
START_SECONDS = 60
CHECK_SECONDS = 0.02


def call(function: str, where: str, content_bytes: int = 0, largest_bytes: int = 0, **arguments: Any) -> Any:
    """The JSON value that `function` ("module:name") returns for the arguments, which are JSON values too.

    where: begins every message, such as "weights: file.h5". content_bytes: how much content it reads, which sets its time limit;
    largest_bytes: how much of that at once, which raises its memory limit.
    Raises UserError as the function does, and when it needs more memory or time than bounds allow, or the process fails.
    """
    seconds = bounds.CONFINED_SECONDS + content_bytes / bounds.CONFINED_BYTES_PER_SECOND
    memory = bounds.CONFINED_BYTES + 2 * largest_bytes
    reply, end = run({"function": function, "arguments": arguments, "seconds": seconds, "bytes": memory})
    if "value" in reply:
        return reply["value"]
    if "refused" in reply:
        raise UserError(reply["refused"])
    reason = {
        "time": f"it was not read within {seconds:.0f} seconds",
        "memory": f"reading it takes more than {memory >> 20} MiB of memory",
    }.get(end) or f"reading it failed ({reply.get('broken') or end})"
    raise UserError(f"{where} is not used: {reason}. It is damaged or malicious; get a fresh copy from its source.")


def in_new_process(request: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The reply to a request, {} for none, and how the process ended: "", "time", "memory", or in words."""
    # The same import path as here. One thread, since math libraries reserve memory for every processor.
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as requested:
        requested.write(json.dumps(request).encode())
        requested.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "trainoff.confined"],
            stdin=requested,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        end = _watch(process, request["seconds"], request["bytes"])
        output.seek(0)
        lines = output.read().splitlines()
    # The first line only says that reading begins.
    reply = json.loads(lines[1]) if len(lines) > 1 else {}
    return reply, end or reply.get("end", "") or (
        f"its process ended with code {process.returncode}" if not reply else ""
    )


# Fuzz tests, which read thousands of files, replace it with a faster way to start processes.
run = in_new_process


def _watch(process, seconds, memory):
    """Waits for the process and ends it when it takes too much time or memory; returns which, or ""."""
    started = time.monotonic()
    observed = psutil.Process(process.pid)
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return "time" if process.wait(CHECK_SECONDS) == -signal.SIGXCPU else ""
            with contextlib.suppress(psutil.Error):
                if observed.memory_info().rss > START_BYTES + memory:
                    return "memory"
            # The process limits its own processor time, which does not depend on load; this ends one that only waits.
            if time.monotonic() - started > START_SECONDS + seconds:
                return "time"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to a request, in the process that reads: {"value": …}, {"refused": …}, {"end": …} or {"broken": …}."""
    module, _, name = request["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    try:
        return {"value": function(**request["arguments"])}
    except UserError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"end": "memory"}
    except Exception as error:
        return {"broken": f"{type(error).__name__}: {one_line(error)}"}


def limit(seconds: float, memory: int) -> None:
    """Limits this process from now on, where the system can: processor time, and memory in bytes beyond what it has."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = int(used.ru_utime + used.ru_stime + seconds) + 1
    _lower(resource.RLIMIT_CPU, cpu)
    with contextlib.suppress(OSError):  # macOS has no /proc, and would ignore the limit anyway
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)


def _lower(what, value):
    _, hard = resource.getrlimit(what)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main() -> None:
    request = json.load(sys.stdin)
    reply = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    importlib.import_module(request["function"].partition(":")[0])
    os.write(reply, b"reading\n")
    limit(request["seconds"], request["bytes"])
    with os.fdopen(reply, "w") as stream:
        stream.write(json.dumps(answer(request)))


if __name__ == "__main__":
    main()
