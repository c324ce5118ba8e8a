"""Reads inputs one by one, each in a process of its own, and counts the outcomes."""

import importlib
import json
import os
import pkgutil
import random
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path

from trainoff import confined
from trainoff.errors import UserError

FORMATS = sorted(
    module.name
    for module in pkgutil.iter_modules([str(Path(__file__).parent)])
    if module.name not in ("__main__", "runner", "changes")
)
# Limits for a rejected input: bytes of memory above an idle process, and seconds of processor time.
MAX_BYTES, MAX_SECONDS = 500 * 2**20, 5.0
# After this time the process is killed.
PATIENCE_SECONDS = 120
LONGEST_MESSAGE = 2000
HEADER = (
    "| format | tried | accepted rightly | refused clearly | anything else | peak memory above idle | longest |\n"
    "|---|---|---|---|---|---|---|"
)


def run(name, inputs, seed, folder):
    """Outcome of `inputs` mutated inputs of a format, and of its regressions: counts, peaks and a list of findings."""
    module = importlib.import_module(f"fuzz.{name}")
    idle = measured(lambda path: None, None)["peak_bytes"]
    outcome = {
        "format": module.NAME,
        "tried": 0,
        "accepted": 0,
        "refused": 0,
        "peak_bytes": 0,
        "longest_seconds": 0.0,
        "findings": [],
    }
    makers = [(what, lambda _, folder, make=make: make(folder)) for what, make in module.REGRESSIONS.items()]
    makers += [(f"seed {seed}, input {number}", module.mutated) for number in range(inputs)]
    for what, make in makers:
        path = make(random.Random(f"{seed} {what}"), folder)
        result = measured(module.read, path)
        peak = max(0, result["peak_bytes"] - idle)
        outcome["tried"] += 1
        outcome["peak_bytes"] = max(outcome["peak_bytes"], peak)
        outcome["longest_seconds"] = max(outcome["longest_seconds"], result["seconds"])
        finding = finding_in(result, peak)
        if finding:
            outcome["findings"].append(f"{module.NAME}, {what}: {finding}")
        else:
            outcome[result["what"]] += 1
        if isinstance(path, Path) and not path.is_dir():
            path.unlink(missing_ok=True)
    return outcome


def finding_in(result, peak):
    """What is wrong with the result of an input, None if nothing. peak: bytes above idle."""
    if result["what"] == "else":
        return result["message"]
    message = result["message"]
    if message is not None and not (message.isprintable() and 0 < len(message) <= LONGEST_MESSAGE):
        return f"no sentence that a terminal can show: {message[:300]!r} ({len(message)} characters)"
    if result["what"] == "refused" and peak > MAX_BYTES:
        return f"refused at the price of {peak >> 20} MiB"
    if result["seconds"] > MAX_SECONDS:
        return f"took {result['seconds']:.1f} s"
    return None


def measured(read, path):
    """Outcome of `read(path)` in a forked process: {"what": accepted, refused or else, "message", "peak_bytes", "seconds"}."""
    receiver, sender = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        _read_and_tell(read, path, sender)
    os.close(sender)
    reply = _all_of(receiver, started + PATIENCE_SECONDS)
    if reply is None:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    # Processor time of this process and its children, since wall time depends on the machine's load.
    seconds = usage.ru_utime + usage.ru_stime
    result = json.loads(reply) if reply else {"what": "else", "message": f"the process ended with status {status}"}
    if reply is None:
        result["message"] = f"did not end within {PATIENCE_SECONDS} s"
    scale = 1 if sys.platform == "darwin" else 1024
    children = result.get("children_peak", 0)
    return result | {"peak_bytes": max(usage.ru_maxrss, children) * scale, "seconds": seconds}


def _read_and_tell(read, path, sender):
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    confined.run = in_fork
    try:
        read(path)
        result = {"what": "accepted", "message": None}
    except UserError as error:
        result = {"what": "refused", "message": str(error)}
    except BaseException:
        result = {"what": "else", "message": " ".join(traceback.format_exc().split())[-600:]}
    result["children_peak"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    os.write(sender, json.dumps(result)[:60_000].encode())
    os._exit(0)


def _all_of(receiver, deadline):
    """The bytes written to a pipe until it is closed; None if it is still open at the deadline."""
    data = b""
    try:
        while True:
            ready, _, _ = select.select([receiver], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                return None
            part = os.read(receiver, 65536)
            if not part:
                return data
            data += part
    finally:
        os.close(receiver)


def in_fork(request):
    """Replaces confined.in_new_process by a forked process: the same limits, a hundred times as fast."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        importlib.import_module(request["function"].partition(":")[0])
        confined.limit(request["seconds"], request["bytes"])
        data = json.dumps(confined.answer(request)).encode()
        while data:
            data = data[os.write(sender, data) :]
        os._exit(0)
    os.close(sender)
    output = _all_of(receiver, time.monotonic() + PATIENCE_SECONDS - 5)
    if output is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if output is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return {}, "time"
    reply = json.loads(output) if output else {}
    return reply, reply.get("end", "") or ("" if reply else f"its process ended with status {status}")


def row(outcome):
    """The outcome of a format as a row of a Markdown table."""
    return (
        f"| {outcome['format']} | {outcome['tried']:,} | {outcome['accepted']:,} | {outcome['refused']:,} | "
        f"{len(outcome['findings'])} | {outcome['peak_bytes'] / 2**20:.0f} MiB | {outcome['longest_seconds']:.1f} s |"
    )
