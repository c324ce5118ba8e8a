"""Starts, watches and ends a child process that may fail in any way, and reports how it ended."""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from trainoff.errors import UserError
from trainoff.measure.memory import words_of_exhaustion
from trainoff.supervise import stops

# Polling interval: long enough to cost the training nothing.
POLL_SECONDS = 0.2

# Environment variable with the process number of the Snakemake that a job works for.
CONTROLLER = "TRAINOFF_CONTROLLER"
# What Apple's Metal writes if the GPU gives up part of its work. Nothing is raised: the training goes on with wrong numbers
# (github.com/tensorflow/tensorflow/issues/57058, github.com/apple/tensorflow_macos/issues/202).
UNFINISHED = re.compile(rb"command buffer exited with error status|Execution of the command buffer was aborted")
METAL_MEMORY = re.compile(rb"Insufficient Memory|kIOGPUCommandBufferCallbackErrorOutOfMemory")
GONE = "The sweep was killed. Start it again: it goes on with the unfinished runs."
SHELLS = {"sh", "bash", "dash", "zsh"}


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a child process ended.

    signal: name of the signal that ended it, such as "SIGSEGV", or None.
    exit_code: its exit code, or None if a signal ended it.
    timed_out: it was ended because it exceeded its time limit.
    killed_for_memory: it was killed while the system's out-of-memory killer was active.
    left_stopped: it was ended because a signal had stopped it for longer than its time limit.
    looks: the supervisor's observations, for trainoff.supervise.stops.
    """

    signal: str | None
    exit_code: int | None
    timed_out: bool
    killed_for_memory: bool
    left_stopped: bool = False
    looks: stops.Looks | None = None


class ControllerGone(UserError):
    """The process that started this job was killed: nobody waits for its result, and the next start repeats it."""


def name_controller() -> None:
    """Called by Snakemake's process, so that its jobs end when it is killed."""
    os.environ[CONTROLLER] = str(os.getpid())


def controller() -> psutil.Process | None:
    """The process that this one works for: the Snakemake that named itself, or else the nearest ancestor that is not a shell.

    None where there is none. Raises ControllerGone when the named process is gone.
    """
    named = os.environ.get(CONTROLLER, "")
    if named.isdecimal():
        try:
            return psutil.Process(int(named))
        except psutil.NoSuchProcess:
            raise ControllerGone(GONE) from None
    for ancestor in psutil.Process().parents():
        with contextlib.suppress(psutil.Error):
            if ancestor.name() not in SHELLS:
                return ancestor
    return None


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended, zombies included."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def run_child(
    command: list[str],
    log: BinaryIO,
    timeout_seconds: float,
    environment: dict[str, str],
    watch: Callable[[], Any],
    began: Callable[[int], Any] = lambda pid: None,
) -> Ending:
    """Runs `command` until it ends, in whatever way, and returns the Ending.

    log: open file for its standard output and error. environment: its environment variables. timeout_seconds: its time limit;
    time in which it, this process or the machine is stopped does not count.
    watch: called without arguments every POLL_SECONDS. began: called with the child's process ID once it runs. Raises
    ControllerGone when the controller is killed.
    The child leads its own process group; none of it outlives this call. If this process is killed, the child sees the end of
    its standard input and must end itself.
    """
    works_for = controller()
    kills_before = _memory_kills()
    timed_out = left_stopped = False
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
    )
    looks = stops.Looks(child.pid)
    try:
        began(child.pid)
        while child.poll() is None:
            looks.look()
            if max(looks.ran, looks.stopped_for) > timeout_seconds:
                timed_out, left_stopped = True, looks.stopped_for > timeout_seconds
                break
            if works_for is not None and is_gone(works_for):
                raise ControllerGone(GONE)
            watch()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(POLL_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdin.close()
    looks.look()
    watch()
    code = child.returncode
    return Ending(
        signal=signal.Signals(-code).name if code < 0 else None,
        exit_code=code if code >= 0 else None,
        timed_out=timed_out,
        killed_for_memory=code == -signal.SIGKILL and not timed_out and _memory_kills() > kills_before,
        left_stopped=left_stopped,
        looks=looks,
    )


def status_of(ending: Ending, log_tail: list[str]) -> tuple[str, str]:
    """(status, message) of a child that ended without reporting why.

    log_tail: the last lines of its output.
    """
    if ending.left_stopped:
        return (
            "timed_out",
            "The training process was stopped by a signal for longer than protocol.timeout_minutes and was ended.",
        )
    if ending.timed_out:
        return "timed_out", "The run took longer than protocol.timeout_minutes and was ended."
    if ending.killed_for_memory:
        return "out_of_memory", "The operating system killed the training process because memory ran out."
    words = words_of_exhaustion("\n".join(log_tail))
    if words:
        return "out_of_memory", f"The training process ended after it wrote “{words}”."
    if ending.signal:
        return "crashed", f"The training process was ended by {ending.signal}{_MEANING.get(ending.signal, '')}."
    return "crashed", f"The training process ended early with exit code {ending.exit_code}."


def unfinished_work(log: str | Path, start: int) -> tuple[str, str] | None:
    """(status, message) of a training on an Apple GPU that gave up part of its work, whatever the training reports; else None.

    log: its output, from byte `start` on.
    """
    with open(log, "rb") as file:
        file.seek(start)
        words = [line.strip()[:200].decode("utf-8", "replace") for line in file if UNFINISHED.search(line)]
        file.seek(start)
        memory = any(METAL_MEMORY.search(line) for line in file)
    if not words:
        return None
    reason = " because memory ran out" if memory else ""
    return "out_of_memory" if memory else "error", f"The GPU did not finish some of its work{reason}: “{words[0]}”."


_MEANING = {
    "SIGSEGV": " (segmentation fault)",
    "SIGABRT": " (abort)",
    "SIGBUS": " (bus error)",
    "SIGFPE": " (arithmetic error)",
    "SIGILL": " (illegal instruction: the software was built for another processor)",
    "SIGKILL": " (killed from outside)",
}


def tail(path: str | Path, lines: int = 40, line_length: int = 500) -> list[str]:
    """The last `lines` lines of a text file, each cut to `line_length` characters; [] if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, Path(path).stat().st_size - 4 * lines * line_length))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line[:line_length] for line in text.splitlines() if line.strip()][-lines:]


def _memory_kills():
    """The number of processes that Linux' out-of-memory killer has ended since boot; 0 where it is not counted."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
