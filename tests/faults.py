"""The faults of tests/drills.py. Each takes a half-done sweep, provokes its fault and does what is said to be done.

It returns the outcome in words; its docstring is its name.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

import project
import psutil
import yaml
from halfdone import (
    DEADLINE_SECONDS,
    EXPERIMENT,
    NotHere,
    expect,
    recover,
    run_files,
    run_to_end,
    said,
    start,
    status_of,
    training_of,
    wait_for,
)


def killed_training(folder):
    """SIGKILL of a training"""
    sweep = start(folder)
    training_of(sweep).kill()
    expect(sweep.wait(DEADLINE_SECONDS) == 0, "the sweep stopped")
    expect(status_of(run_files(folder)[1]) == "crashed", "the run was not recorded as crashed")
    run_files(folder)[1].unlink()
    return "recorded as crashed (SIGKILL), the sweep went on; its record deleted, the run was done again"


def killed_snakemake(folder):
    """SIGKILL of Snakemake"""
    return _killed(folder, os.kill)


def killed_group(folder):
    """SIGKILL of the whole process group"""
    return _killed(folder, os.killpg)


def _killed(folder, kill):
    sweep = start(folder)
    training = training_of(sweep)
    kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    psutil.wait_procs([training], timeout=30)
    expect(not training.is_running(), "the training outlived the sweep")
    return "the training ended by itself; the next start went on"


def stopped(folder):
    """SIGSTOP of everything for five seconds"""
    sweep = start(folder)
    training = training_of(sweep)
    journal = Path(training.cmdline()[-1]).with_name("journal.jsonl")
    wait_for(lambda: journal.exists() and "imported" in journal.read_text(), "the framework")
    everything = [psutil.Process(sweep.pid), *psutil.Process(sweep.pid).children(recursive=True)]
    for process in everything:
        process.suspend()
    time.sleep(5)
    for process in everything:
        process.resume()
    expect(sweep.wait(DEADLINE_SECONDS) == 0, "the sweep stopped")
    record = json.loads(run_files(folder)[1].read_text())
    found = record["conditions"]["suspended_seconds"]
    expect(4.5 < found < 7, f"taken for {found} s")
    expect(record["throughput"]["images_per_second"] is not None, "no epoch was counted")
    return "the time was found and counts nowhere; the run was recorded with its speed"


# Put on Python's path: everything dies when the record is written but does not have its name yet.
DIE_BEFORE_RENAME = """
import os, signal

_replace = os.replace


def replace(source, target, **options):
    if str(target).endswith("metrics.json"):
        os.killpg(os.getpgid(0), signal.SIGKILL)
    return _replace(source, target, **options)


os.replace = replace
"""


def power_cut(folder):
    """Power cut between write and rename"""
    (folder / "fault").mkdir()
    (folder / "fault/sitecustomize.py").write_text(DIE_BEFORE_RENAME)
    code, _ = run_to_end(folder, PYTHONPATH=str(folder / "fault"))
    expect(code == -signal.SIGKILL, "the power was not cut")
    expect(not run_files(folder)[1].exists(), "a half-written record has the name of a whole one")
    return "no record, since the name comes last; the next start did the run again"


@contextlib.contextmanager
def small_disk(folder, mebibytes):
    """The sweep's results on a disk of their own (tmpfs)."""
    results = folder / "results"
    kept = folder / "results.kept"
    shutil.copytree(results, kept)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(results)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        raise NotHere("needs the right to mount a tmpfs")
    try:
        shutil.copytree(kept, results, dirs_exist_ok=True)
        yield results
    finally:
        # What the sweep made goes where the disk was.
        shutil.rmtree(kept)
        shutil.copytree(results, kept)
        subprocess.run(["umount", str(results)], check=True)
        shutil.rmtree(results)
        kept.rename(results)


def full_disk(folder):
    """Full disk"""
    with small_disk(folder, 64) as disk:
        filler = disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb") as file:
            while True:
                file.write(b"\0" * 4096)
                file.flush()
        code, words = run_to_end(folder)
        expect(code != 0, "the sweep did not notice")
        expect("No space left on device" in words, f"no sentence about the disk:\n{words}")
        expect("Traceback" not in words, f"a traceback:\n{words}")
        filler.unlink()
        recover(folder)
    return "stopped with a sentence; with room again, the next start went on"


def read_only(folder):
    """Read-only results"""
    with small_disk(folder, 64) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, words = run_to_end(folder)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        expect(code != 0, "the sweep did not notice")
        expect("Read-only file system" in words, f"no sentence about the disk:\n{words}")
        recover(folder)
    return "stopped with a sentence; writable again, the next start went on"


# Put on Python's path: the script that trains is told another time of day, as many seconds off as a file says. Clocks that no
# one can set go on as they are, as they do when a machine's clock is set. (libfaketime breaks Python's sleep.)
SET_CLOCK = """
import datetime, os

if b".train.py" in open("/proc/self/cmdline", "rb").read():

    class Moment(datetime.datetime):
        __slots__ = ()

        @classmethod
        def now(cls, tz=None):
            with open(os.environ["DRILL_CLOCK"]) as file:
                return super().now(tz) + datetime.timedelta(seconds=float(file.read()))

    datetime.datetime = Moment
"""


def jumping_clock(folder):
    """Clock that jumps a day back during a run"""
    clock = folder / "clock"
    clock.write_text("0")
    (folder / "fault").mkdir()
    (folder / "fault/sitecustomize.py").write_text(SET_CLOCK)
    sweep = start(folder, PYTHONPATH=str(folder / "fault"), DRILL_CLOCK=str(clock))
    journal = Path(training_of(sweep).cmdline()[-1]).with_name("journal.jsonl")
    wait_for(lambda: journal.exists() and "first_step" in journal.read_text(), "the first step")
    clock.write_text("-86400")
    expect(sweep.wait(DEADLINE_SECONDS) == 0, "the sweep stopped")
    record = json.loads(run_files(folder)[1].read_text())
    started, finished = (datetime.fromisoformat(record["provenance"][f"{end}_at"]) for end in ("started", "finished"))
    expect(0 < (finished - started).total_seconds() < DEADLINE_SECONDS, "the run's times are wrong")
    expect(all(0 < window["seconds"] < DEADLINE_SECONDS for window in record["windows"]), "a window's time is wrong")
    # The file that such a clock leaves behind is older than what it was made of.
    os.utime(run_files(folder)[1], (time.time() - 86_400,) * 2)
    return "windows are timed by a clock that does not jump; nothing was done twice"


def two_snakemakes(folder):
    """Two Snakemakes on one folder"""
    sweep = start(folder)
    training_of(sweep)
    second = project.snakemake(folder)
    expect(second.returncode != 0, "the second one ran too")
    expect("lock" in second.stdout.lower(), f"no sentence about the lock:\n{second.stdout}")
    expect(sweep.wait(DEADLINE_SECONDS) == 0, "the first one stopped")
    return "the second one was refused; the first one ended well"


def corrupted_metrics(folder):
    """Corrupted metrics file"""
    expect(run_to_end(folder)[0] == 0, "the sweep stopped")
    broken = run_files(folder)[1]
    cut = broken.read_bytes()[:300]
    broken.write_bytes(cut)
    code, words = run_to_end(folder)
    expect(code == 0, "the sweep stopped")
    expect("will be trained again: a record that cannot be read" in words, f"no sentence:\n{words}")
    kept = [path.read_bytes() for path in (folder / "results/superseded").rglob("metrics.json")]
    expect(kept == [cut], "the damaged record was not kept")
    return "named before anything started, moved to results/superseded; that run was done again"


def corrupted_array(folder):
    """Corrupted prepared array"""
    path = folder / "results/images/img_dim~32/train_images.npy"
    kept = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # a disk that forgets does not tell
    code, words = run_to_end(folder)
    expect(code != 0 and not run_files(folder)[1].exists(), "a run was trained on damaged images")
    expect("--forcerun prepare_images" in words, f"no sentence:\n{words}")
    expect(run_to_end(folder, "--forcerun", "prepare_images")[0] == 0, "what the sentence says did not help")
    return "noticed before training (one bit of 300,000 bytes); made again as the sentence says"


def out_of_memory(folder):
    """Out-of-memory kill"""
    sweep = start(folder)
    training = training_of(sweep)
    with memory_limit(training, 100 * 2**20):
        expect(sweep.wait(DEADLINE_SECONDS) == 0, "the sweep stopped")
    record = json.loads(run_files(folder)[1].read_text())
    expect(record["status"] == "out_of_memory", f"recorded as {record['status']}: {record['failure']}")
    run_files(folder)[1].unlink()
    return "recorded as out_of_memory, the sweep went on; its record deleted, the run was done again"


@contextlib.contextmanager
def memory_limit(process, bytes_):
    """Holds a process to so much memory by a control group; beyond that the system kills it."""
    group, limit = control_group()
    try:
        group.mkdir()
        (group / limit).write_text(str(bytes_))
        (group / "cgroup.procs").write_text(str(process.pid))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        process.kill()
        raise NotHere(f"needs the right to make a control group ({error.strerror})") from None
    try:
        yield
    finally:
        psutil.wait_procs([process], timeout=30)
        group.rmdir()


def control_group():
    """(folder of a new control group below this process's own, name of its limit on memory)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, own = line.split(":", 2)
            if controllers == "memory":
                return Path(f"/sys/fs/cgroup/memory{own}/trainoff-{os.getpid()}"), "memory.limit_in_bytes"
            if not controllers and Path("/sys/fs/cgroup/cgroup.controllers").exists():
                return Path(f"/sys/fs/cgroup{own}/trainoff-{os.getpid()}"), "memory.max"
    raise NotHere("needs Linux' control groups")


# Stands in for NVIDIA's program: lists the first of two GPUs as long as the file `gpu` lies beside it.
NVIDIA_SMI = """#!/bin/sh
if [ -e "$(dirname "$0")/gpu" ]; then
    echo "GPU-first, Simulated GPU, 16384, 555.42, 8.0, [N/A], 0"
else
    echo "Unable to determine the device handle for GPU 0000:01:00.0: Unknown Error"
    code=15
fi
echo "GPU-second, Another GPU, 16384, 555.42, 8.0, [N/A], 1"
exit ${code:-0}
"""


def lost_gpu(folder):
    """GPU that disappears (simulated)"""
    programs = folder / "fault"
    programs.mkdir()
    (programs / "nvidia-smi").write_text(NVIDIA_SMI)
    (programs / "nvidia-smi").chmod(0o755)
    (programs / "gpu").touch()
    (folder / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT | {"devices": ["cpu", "cuda"]}))
    path = f"{programs}{os.pathsep}{project.environment()['PATH']}"
    sweep = start(folder, PATH=path)
    wait_for(lambda: "cuda · small" in said(folder), "a run on the GPU")
    (programs / "gpu").unlink()
    expect(sweep.wait(DEADLINE_SECONDS) == 0, "the sweep stopped")
    records = [json.loads(path.read_text()) for path in (folder / "results/runs/cuda").rglob("metrics.json")]
    found = {record["status"] for record in records}
    expect(found == {"unavailable"}, f"recorded as {found}")
    messages = [record["failure"]["message"] for record in records]
    expect(any("was there when the sweep started" in message for message in messages), f"the reason is {messages}")
    expect(all(record["device"]["name"] != "Another GPU" for record in records), "trained on the other GPU")
    shutil.rmtree(folder / "results/runs/cuda")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    return "its runs were recorded as unavailable, all others went on"


FAULTS = [
    killed_training,
    killed_snakemake,
    killed_group,
    stopped,
    power_cut,
    full_disk,
    read_only,
    jumping_clock,
    two_snakemakes,
    corrupted_metrics,
    corrupted_array,
    out_of_memory,
    lost_gpu,
]
