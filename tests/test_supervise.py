"""Real child processes that end in every way; the supervisor tells which."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from trainoff.machine import disks
from trainoff.measure import child
from trainoff.supervise import launch, supervise


def run(code, tmp_path, timeout_seconds=60, watch=lambda: None):
    """Runs Python code as a child; returns (Ending, (status, message))."""
    log = tmp_path / "child.log"
    with open(log, "wb") as output:
        ending = supervise.run_child([sys.executable, "-c", code], output, timeout_seconds, dict(os.environ), watch)
    return ending, supervise.status_of(ending, supervise.tail(log))


@pytest.mark.parametrize(
    "code, status, words",
    [
        ("import os; os.kill(os.getpid(), 11)", "crashed", "SIGSEGV (segmentation fault)"),
        ("import os; os.abort()", "crashed", "SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", "crashed", "SIGKILL (killed from outside)"),
        ("import sys; sys.exit(3)", "crashed", "exit code 3"),
        ("import os; os.write(2, b'std::bad_alloc'); os.abort()", "out_of_memory", "std::bad_alloc"),
        (
            "import os; os.write(2, b'LLVM ERROR: pthread_create failed: Resource temporarily unavailable'); os.abort()",
            "out_of_memory",
            "pthread_create",
        ),
        ("x = bytearray(10**15)", "out_of_memory", "MemoryError"),
        ("raise RuntimeError('could not create a primitive descriptor')", "crashed", "exit code 1"),
    ],
)
def test_every_ending_has_its_status(code, status, words, tmp_path):
    _, (found, message) = run(code, tmp_path)
    assert found == status
    assert words in message


def test_a_hang_ends_at_the_time_limit_with_all_its_processes(tmp_path):
    code = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
    before = set(psutil.Process().children(recursive=True))
    ending, (status, _) = run(code, tmp_path, timeout_seconds=1)
    assert ending.timed_out and status == "timed_out"
    deadline = time.monotonic() + 10
    while set(psutil.Process().children(recursive=True)) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(psutil.Process().children(recursive=True)) - before


def test_a_child_that_is_left_stopped_is_ended(tmp_path):
    code = "import os, signal, time; print('up', flush=True); os.kill(os.getpid(), signal.SIGSTOP); time.sleep(600)"
    ending, (status, message) = run(code, tmp_path, timeout_seconds=2)
    assert ending.timed_out and status == "timed_out" and "stopped by a signal" in message


def test_a_supervisor_whose_snakemake_is_gone_starts_nothing(tmp_path, monkeypatch):
    """Killed before the training began: the job belongs to nobody, even where nobody has noted its end yet."""
    snakemake = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(snakemake.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    monkeypatch.setenv(supervise.CONTROLLER, str(snakemake.pid))
    with pytest.raises(supervise.ControllerGone):
        run("import time; time.sleep(60)", tmp_path)
    snakemake.wait()
    with pytest.raises(supervise.ControllerGone):
        supervise.controller()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
def test_a_full_disk_is_no_fault_of_the_device(tmp_path, monkeypatch):
    """The child's journal cannot be written: no outcome of a run, whatever status it would have had."""
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"run": {}, "files": {}, "journal": "/dev/full"}))
    scripts = str(supervise.__file__).rsplit("/", 3)[0]
    code = f"import sys; sys.path.insert(0, {scripts!r}); from trainoff.measure import child; child.main({str(spec)!r}, None)"
    ending, _ = run(code, tmp_path)
    assert ending.exit_code == child.DISK_FAULT
    with pytest.raises(disks.DiskFault, match="No space left on device"):
        launch._require_disks(tmp_path, ending, "")
    crashed = dataclasses.replace(ending, exit_code=1)
    launch._require_disks(tmp_path, crashed, "Killed")
    with pytest.raises(disks.DiskFault, match="quota"):
        launch._require_disks(tmp_path, crashed, "OSError: [Errno 122] Disk quota exceeded")
    monkeypatch.setattr(disks, "fault_of", lambda folder: None if folder == tmp_path else "Read-only file system")
    with pytest.raises(disks.DiskFault, match="Read-only file system .temporary files, TMPDIR"):
        launch._require_disks(tmp_path, crashed, "")


def test_the_child_dies_with_its_supervisor(tmp_path):
    """SIGKILL leaves the supervisor no time to clean up: the training must notice by itself."""
    code = f"""
import sys, time
sys.path.insert(0, {str(supervise.__file__).rsplit("/", 3)[0]!r})
from trainoff.measure import child
child.end_with_supervisor()
print("up", flush=True)
time.sleep(600)
"""
    script = f"""
import os, sys
sys.path.insert(0, {str(supervise.__file__).rsplit("/", 3)[0]!r})
from trainoff.supervise import supervise
with open({str(tmp_path / "log")!r}, "wb") as log:
    supervise.run_child([sys.executable, "-c", {code!r}], log, 600, dict(os.environ), lambda: None)
"""
    supervisor = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while supervise.tail(tmp_path / "log") != ["up"] and time.monotonic() < deadline:
        time.sleep(0.05)
    (child,) = psutil.Process(supervisor.pid).children()
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait()
    child.wait(timeout=10)
    assert not child.is_running()


@pytest.mark.parametrize(
    "printed, status",
    [
        ("Error: command buffer exited with error status.\n\tInternal Error (0000000e:Internal Error)", "error"),
        (
            "Execution of the command buffer was aborted due to an error during execution. Insufficient Memory (00000008:kIOGPU",
            "out_of_memory",
        ),
        ("W0000 gpu_timer.cc: a warning", "ok"),
    ],
)
def test_a_training_whose_apple_gpu_gave_up_work_is_not_ok(printed, status, tmp_path, monkeypatch):
    """Metal goes on and the training reports that it is done."""
    (tmp_path / "metal_training.py").write_text(
        f"""import json, sys
spec = json.load(open(sys.argv[1]))
print({printed!r}, file=sys.stderr)
print("many other lines\\n" * 100)
open(spec["journal"], "a").write('{{"event": "done"}}\\n')
"""
    )
    (tmp_path / "log").write_text("command buffer exited with error status: of an earlier attempt\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch.devices, "require", lambda accelerator, index: None)
    monkeypatch.setattr(launch.software, "require", lambda device, precision: None)
    device = {"name": "metal", "backend": "tensorflow", "accelerator": "metal", "index": 0, "threads": None}
    outcome = launch.launch(
        "metal_training", {"device": device, "precision": "float32"}, {}, tmp_path / "log", 1, lambda words: None
    )
    assert outcome.status == status
    assert status == "ok" or outcome.message.startswith("The GPU did not finish some of its work")
    assert ("because memory ran out" in (outcome.message or "")) is (status == "out_of_memory")


def test_tail_is_short_whatever_the_log_holds(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"\xff\n" * 1000 + b"x" * 10**6 + b"\nlast\n")
    lines = supervise.tail(log)
    assert lines[-1] == "last"
    assert len(lines) <= 40 and max(map(len, lines)) <= 500
