"""The process that trains. It lives apart from its supervisor, so that nothing it does can end the sweep.

Run as `python -m trainoff.measure.child SPEC`, SPEC being a JSON file with the keys run, files and journal. It writes one JSON
object per line to the journal as things happen; what stands there survives any crash. Every event has `at`, the machine's
monotonic clock in seconds, which all processes share. Events:

started     import of the framework begins
imported    seconds, device (facts), software (versions)
built       seconds, model: facts, see models.describe, validation_images: how many
meter       source, scope: the energy counter that the windows are read with; null where there is none
first_step  seconds, loss
window      window: one entry of `windows` in the metrics record
pause       start, end (as `at`): between them this process did not run, or its interpreter let no other thread run
done        the run is complete
failed      status, message: the run ended, and why
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from trainoff.shapes import Files, Run

# Versions that decide what a run computes and how fast.
DISTRIBUTIONS = [
    "tensorflow",
    "tensorflow-metal",
    "keras",
    "torch",
    "jax",
    "jaxlib",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "numpy",
]


# How often the heart beats, and from how long a time without a beat on it is told.
BEAT_SECONDS = 0.1
PAUSE_SECONDS = 0.5
# Exit code of a process that could not write to a disk: EX_IOERR of sysexits.h.
DISK_FAULT = 74


def main(
    spec_path: str, load_work: Callable[[], Callable[[Run, Files, Any, Callable[[dict[str, Any]], None]], None]]
) -> NoReturn:
    """Does the work that the file `spec_path` describes; every outcome ends in the journal.

    load_work: called once the device is started, gives the function that works: work(run, files, backend, report).
    """
    with open(spec_path, encoding="utf-8") as file:
        spec = json.load(file)
    end_with_supervisor()
    try:
        _work_and_tell(spec, load_work)
    except Exception as error:  # the journal itself cannot be written
        _exit_if_disk_fault(error)
        raise
    # Frameworks can crash or hang while they are torn down; the run is complete, so nothing they do there matters.
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _work_and_tell(spec, load_work):
    with open(spec["journal"], "a", encoding="utf-8") as journal:
        lock = threading.Lock()

        def report(event):
            with lock:
                journal.write(json.dumps({"at": time.monotonic(), **event}) + "\n")
                journal.flush()

        threading.Thread(target=_beat, args=(report,), daemon=True).start()
        report({"event": "started"})
        try:
            _start_and_work(spec["run"], spec["files"], load_work, report)
            report({"event": "done"})
        except Exception as error:
            with contextlib.suppress(OSError):
                traceback.print_exc()
            _exit_if_disk_fault(error)
            report({"event": "failed", "status": _status(error), "message": _message(error)})


def _exit_if_disk_fault(error):
    """Ends this process with DISK_FAULT if the exception tells of a disk that cannot be written to: the journal may be on it."""
    from trainoff.machine import disks

    if words := disks.words_of(error):
        with contextlib.suppress(OSError):
            print(words, file=sys.stderr, flush=True)
        os._exit(DISK_FAULT)


def _start_and_work(run, files, load_work, report):
    from trainoff.measure import backends

    device = run["device"]
    started = time.perf_counter()
    backend = backends.load(device["backend"])
    backend.start(device["accelerator"], device["threads"])
    work = load_work()
    report(
        {
            "event": "imported",
            "seconds": time.perf_counter() - started,
            "device": backend.describe(device["accelerator"]),
            "software": _versions(),
        }
    )
    work(run, files, backend, report)


def _beat(report):
    """Reports every time in which this thread could not run; see trainoff.supervise.stops for what it is taken for."""
    last = time.monotonic()
    while True:
        time.sleep(BEAT_SECONDS)
        now = time.monotonic()
        if now - last > PAUSE_SECONDS:
            with contextlib.suppress(OSError):  # the training will meet it, and tell
                report({"event": "pause", "start": last, "end": now})
        last = now


def _training():
    from trainoff.measure import protocol

    return protocol.train


def _versions():
    versions = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions | _run_at_the_start()


def _run_at_the_start():
    """{name: start of its SHA-256} of what this Python runs before any program, where it has such a module."""
    found = {}
    for name in ("sitecustomize", "usercustomize"):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path:
            with contextlib.suppress(OSError), open(path, "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()[:12]
    return found


def _status(error):
    from trainoff.machine.devices import DeviceUnavailable
    from trainoff.measure.memory import words_of_exhaustion

    if isinstance(error, DeviceUnavailable):
        return "unavailable"
    names = {kind.__name__ for kind in type(error).__mro__}
    if "Diverged" in names:
        return "diverged"
    # TensorFlow and torch have classes for it but do not always use them; JAX has only words.
    if names & {"MemoryError", "ResourceExhaustedError", "OutOfMemoryError"} or words_of_exhaustion(str(error)):
        return "out_of_memory"
    return "error"


def _message(error):
    from trainoff.errors import UserError

    first_lines = "\n".join(str(error).strip().splitlines()[:5])
    if isinstance(error, UserError) or type(error).__name__ == "Diverged":
        return first_lines
    return f"{type(error).__name__}: {first_lines}"


def end_with_supervisor() -> None:
    """From now on ends this process when the supervisor, which holds the other end of standard input, is gone."""
    threading.Thread(target=_end_at_end_of_input, daemon=True).start()


def _end_at_end_of_input():
    while os.read(0, 1):
        pass
    if os.getpgrp() == os.getpid():
        # With what this process has started: libraries keep helpers that nothing else would end.
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], _training)
