"""Processors and memory that a container, a control group or a cluster leaves, from made-up trees and from a real group."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from project import ROOT

from trainoff.machine import devices, usable
from trainoff.supervise import conditions, launch, turning

GIB = 2**30
UNLIMITED = "9223372036854771712"


def tree(folder, files):
    """Writes {path: text} below `folder` and returns it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return folder


# {what: (files, quota, memory limit)}
TREES = {
    "no control groups": ({}, None, None),
    "version 2, unlimited": (
        {
            "proc/self/cgroup": "0::/user.slice/session.scope",
            "sys/fs/cgroup/user.slice/session.scope/cpu.max": "max 100000",
            "sys/fs/cgroup/user.slice/session.scope/memory.max": "max",
        },
        None,
        None,
    ),
    "container, version 2, own namespace": (
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/cpu.max": "150000 100000",
            "sys/fs/cgroup/memory.max": str(2 * GIB),
        },
        1.5,
        2 * GIB,
    ),
    "version 2, the limit is of a group above": (
        {
            "proc/self/cgroup": "0::/kubepods/pod1/abc",
            "sys/fs/cgroup/kubepods/pod1/abc/cpu.max": "400000 100000",
            "sys/fs/cgroup/kubepods/pod1/cpu.max": "200000 100000",
            "sys/fs/cgroup/kubepods/pod1/abc/memory.max": "max",
            "sys/fs/cgroup/kubepods/memory.max": str(8 * GIB),
        },
        2.0,
        8 * GIB,
    ),
    "container, version 1, path of the host": (
        {
            "proc/self/cgroup": "4:memory:/docker/0123\n3:cpuset:/docker/0123\n2:cpu,cpuacct:/docker/0123",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(GIB),
        },
        0.5,
        GIB,
    ),
    "version 1, unlimited": (
        {
            "proc/self/cgroup": "4:memory:/\n1:cpu:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED,
        },
        None,
        None,
    ),
    "both versions": (
        {
            "proc/self/cgroup": "1:cpu:/job\n0::/system.slice",
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "300000",
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/unified/system.slice/memory.max": str(3 * GIB),
        },
        3.0,
        3 * GIB,
    ),
    "a path that leads out of what is mounted": (
        {"proc/self/cgroup": "0::/../../other", "sys/fs/cgroup/cpu.max": "100000 100000"},
        1.0,
        None,
    ),
    "files that say nothing": (
        {"proc/self/cgroup": "damaged", "sys/fs/cgroup/cpu.max": "many", "sys/fs/cgroup/memory.max": "much"},
        None,
        None,
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_limits_of_control_groups(name, tmp_path):
    files, quota, memory = TREES[name]
    root = tree(tmp_path, files)
    assert usable.processor_quota(root) == quota
    assert usable.memory_bytes(root, host_bytes=16 * GIB) == (memory or 16 * GIB)


@pytest.mark.parametrize(
    ("quota", "allowed", "slurm", "expected"),
    [
        (None, 8, None, 8),
        (1.5, 8, None, 1),
        (0.3, 8, None, 1),
        (4, 2, None, 2),
        (None, 8, "3", 3),
        (2, 8, "4(x2),6", 2),
    ],
)
def test_the_smallest_limit_counts(quota, allowed, slurm, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(usable, "allowed_processors", lambda: list(range(allowed)))
    limit = "max" if quota is None else int(quota * 100_000)
    root = tree(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": f"{limit} 100000"})
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_CPUS_PER_NODE": slurm} if slurm else {}
    assert usable.processors(root, job) == expected
    # Left over from a job that is none any more.
    assert usable.slurm_processors({"SLURM_JOB_CPUS_PER_NODE": "1"}) is None


def test_memory_that_is_free_in_the_group_without_what_it_caches(tmp_path):
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": str(4 * GIB),
            "sys/fs/cgroup/memory.current": str(3 * GIB),
            "sys/fs/cgroup/memory.stat": f"anon {GIB}\ninactive_file {GIB}",
        },
    )
    assert usable.available_memory_bytes(root, host_bytes=16 * GIB) == 2 * GIB
    assert usable.available_memory_bytes(root, host_bytes=GIB) == GIB


def test_kinds_of_processors(tmp_path):
    intel = tree(tmp_path / "i", {"sys/devices/cpu_core/cpus": "0-15", "sys/devices/cpu_atom/cpus": "16-23"})
    assert usable.kinds_of_processors(intel) == {"performance": "0-15", "efficiency": "16-23"}
    capacities = {
        f"sys/devices/system/cpu/cpu{number}/cpu_capacity": 446 if number < 4 else 1024 for number in range(8)
    }
    assert usable.kinds_of_processors(tree(tmp_path / "a", capacities)) == {
        "capacity 1024": "4-7",
        "capacity 446": "0-3",
    }
    alike = {f"sys/devices/system/cpu/cpu{number}/cpu_capacity": 1024 for number in range(8)}
    assert usable.kinds_of_processors(tree(tmp_path / "s", alike)) == {}
    assert usable.facts(intel)["processor_kinds"] == "performance: 0-15; efficiency: 16-23"


def test_kinds_of_processors_of_a_mac(monkeypatch):
    answers = {
        "hw.perflevel0.name": "Performance",
        "hw.perflevel0.logicalcpu": "4",
        "hw.perflevel1.name": "Efficiency",
        "hw.perflevel1.logicalcpu": "6",
    }
    monkeypatch.setattr(usable.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(usable, "_sysctl", lambda name: answers.get(name, ""))
    assert usable.kinds_of_processors() == {"performance": "4 cores", "efficiency": "6 cores"}


def test_ranges():
    assert usable.ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert usable.ranges([]) == ""


def test_threads_follow_a_quota_and_are_left_to_the_framework_without_one(monkeypatch):
    device = {"backend": "tensorflow", "accelerator": "cpu", "index": 0, "threads": None, "name": "cpu"}
    monkeypatch.setattr(usable, "allowed_processors", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(usable, "processor_quota", lambda root="/": None)
    assert launch.threads_of(device) is None
    assert launch.threads_of(device | {"threads": 3}) == 3
    monkeypatch.setattr(usable, "processor_quota", lambda root="/": 1.0)
    assert launch.threads_of(device) == 1
    assert launch.threads_of(device | {"threads": 3}) == 3
    assert devices.environment(device)["OMP_NUM_THREADS"] == "1"
    assert launch.device_facts(device, {})["threads"] == 1


@pytest.mark.parametrize(
    "text, numbers", [("0-3", [0, 1, 2, 3]), ("0,2-3,8", [0, 2, 3, 8]), ("5", [5]), ("", []), (None, [])]
)
def test_processors_that_are_switched_off_are_left_out(text, numbers, tmp_path):
    if text is not None:
        (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
        (tmp_path / "sys/devices/system/cpu/online").write_text(f"{text}\n")
    assert usable.online_processors(tmp_path) == numbers


def test_what_looks_at_free_memory_looks_at_the_groups(monkeypatch):
    monkeypatch.setattr(usable, "available_memory_bytes", lambda: 1_000_000)
    assert conditions.read().memory_available_bytes == 1_000_000

    class Large:
        def memory_bytes(self):
            return 900_000

    with pytest.raises(turning.Failed, match="two do not fit"):
        turning._check_memory(Large())


@contextlib.contextmanager
def real_group(controller, limits):
    """The folder of a new control group of version 1 or 2 with these limits; skips where none can be made."""
    one, two = Path("/sys/fs/cgroup", controller), Path("/sys/fs/cgroup")
    base = one if one.is_dir() else two
    folder = base / f"trainoff-test-{os.getpid()}"
    try:
        folder.mkdir()
        for name, value in limits["one" if base == one else "two"].items():
            (folder / name).write_text(value)
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield folder
    finally:
        folder.rmdir()


def in_group(folder, code):
    """Runs Python code in a control group and returns what it prints, from JSON."""
    enter = f"open({str(folder / 'cgroup.procs')!r}, 'w').write('0')"
    done = subprocess.run(
        [sys.executable, "-c", f"{enter}\n{code}"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_real_control_group_with_a_quota_of_one_processor():
    limits = {"one": {"cpu.cfs_quota_us": "100000"}, "two": {"cpu.max": "100000 100000"}}
    with real_group("cpu", limits) as folder:
        host = in_group(
            folder, "import json\nfrom trainoff.machine import devices\nprint(json.dumps(devices.describe_host()))"
        )
    assert host["usable_processors"] == 1
    assert host["processor_quota"] == 1.0
    assert host["logical_processors"] == psutil.cpu_count()
    assert host["allowed_processors"] == usable.ranges(usable.allowed_processors())


def test_a_real_control_group_with_a_limit_of_memory():
    limits = {"one": {"memory.limit_in_bytes": str(GIB)}, "two": {"memory.max": str(GIB)}}
    code = (
        "import json\nfrom trainoff.machine import devices, usable\n"
        "print(json.dumps([devices.describe_host(), devices.describe('cpu', 0), usable.available_memory_bytes()]))"
    )
    with real_group("memory", limits) as folder:
        host, device, available = in_group(folder, code)
    assert host["usable_memory_bytes"] == device["memory_bytes"] == GIB
    assert host["memory_bytes"] == psutil.virtual_memory().total
    assert 0 < available < GIB
