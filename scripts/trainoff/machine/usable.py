"""How many processors and how much memory this process may use, given the limits of containers and clusters.

The smallest limit counts: the processors that the process may run on (taskset, cpusets), the quotas of its control groups and
their parents, version 1 and 2, and SLURM's allocation. All files are read below a folder `root`, so that tests can emulate other
machines.
"""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

# Mount points of the cpu controller of version 1; some systems mount two controllers together.
CPU_FOLDERS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


def processors(root: str | Path = "/", environment: Mapping[str, str] = os.environ) -> int:
    """Number of logical processors that this process can keep busy, at least 1."""
    allowed = len(allowed_processors()) or os.cpu_count() or 1
    quota, of_job = processor_quota(root), slurm_processors(environment)
    # With a quota of 1.5 processors, one thread is faster than two that are throttled and wait for each other.
    limits = [allowed, None if quota is None else int(quota + 0.01), of_job]
    return max(1, min(limit for limit in limits if limit is not None))


def allowed_processors() -> list[int]:
    """The numbers of the logical processors that this process may run on, sorted; [] where they are unknown."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def online_processors(root: str | Path = "/") -> list[int]:
    """The numbers of the logical processors that are switched on, ascending; [] where they are unknown.

    They have gaps where some are switched off, such as the second threads of cores.
    """
    ends = [
        part.partition("-") for part in (_text(Path(root, "sys/devices/system/cpu/online")) or "").split(",") if part
    ]
    return [number for first, _, last in ends for number in range(int(first), int(last or first) + 1)]


def processor_quota(root: str | Path = "/") -> float | None:
    """The processor quota of this process's control groups, such as 1.5 processors; None for no limit."""
    quotas = [_quota_v2(folder) for folder in _folders_v2(root)]
    quotas += [_quota_v1(folder) for folder in _folders_v1(root, "cpu", CPU_FOLDERS)]
    return min((quota for quota in quotas if quota is not None), default=None)


def slurm_processors(environment: Mapping[str, str] = os.environ) -> int | None:
    """Processors per node that SLURM allocated to the job; None outside of a job. Not every cluster enforces this limit.

    Read for the whole job, since Snakemake's steps request no processors of their own; "8(x2),4" means three nodes.
    """
    if "SLURM_JOB_ID" not in environment:
        return None
    numbers = re.findall(r"(?:^|,)(\d+)", environment.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return min((int(number) for number in numbers if int(number) > 0), default=None)


def memory_bytes(root: str | Path = "/", host_bytes: int | None = None) -> int:
    """The maximum memory in bytes that this process can use, given the machine and its control groups."""
    host = psutil.virtual_memory().total if host_bytes is None else host_bytes
    return min([host, *(limit for limit, _ in _memory_limits(root))])


def available_memory_bytes(root: str | Path = "/", host_bytes: int | None = None) -> int:
    """The memory in bytes that is free for this process now, in the machine and in its control groups."""
    available = psutil.virtual_memory().available if host_bytes is None else host_bytes
    return max(0, min([available, *(limit - used for limit, used in _memory_limits(root))]))


def kinds_of_processors(root: str | Path = "/") -> dict[str, str]:
    """{kind: its logical processors} if the cores differ in speed, such as {"performance": "0-7", …}; else {}.

    On Linux these are numbers of processors; on a Mac, where a process cannot choose, their count, such as "4 cores".
    """
    if platform.system() == "Darwin":
        return _apple_kinds()
    devices = Path(root, "sys/devices")
    intel = {"performance": devices / "cpu_core/cpus", "efficiency": devices / "cpu_atom/cpus"}
    kinds = {kind: text for kind, path in intel.items() if (text := _text(path))}
    if kinds:
        return kinds
    # Arm; the maximum capacity of a processor is 1024.
    by_capacity = {}
    for path in (devices / "system/cpu").glob("cpu[0-9]*/cpu_capacity"):
        if (capacity := _text(path) or "").isdecimal():
            by_capacity.setdefault(int(capacity), []).append(int(path.parent.name.removeprefix("cpu")))
    if len(by_capacity) < 2:
        return {}
    return {f"capacity {capacity}": ranges(sorted(numbers)) for capacity, numbers in sorted(by_capacity.items())[::-1]}


def _apple_kinds():
    kinds = {}
    for level in range(4):
        name, count = _sysctl(f"hw.perflevel{level}.name"), _sysctl(f"hw.perflevel{level}.logicalcpu")
        if not count:
            break
        kinds[(name or f"level {level}").lower()] = f"{count} cores"
    return kinds if len(kinds) > 1 else {}


def _sysctl(name):
    try:
        return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def facts(root: str | Path = "/", environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The usable part of the machine, for a record's `host`."""
    allowed = allowed_processors()
    kinds = kinds_of_processors(root)
    return {
        "usable_processors": processors(root, environment),
        "allowed_processors": ranges(allowed) or None,
        "processor_quota": processor_quota(root),
        "processor_kinds": "; ".join(f"{kind}: {numbers}" for kind, numbers in kinds.items()) or None,
        "usable_memory_bytes": memory_bytes(root),
    }


def ranges(numbers: Sequence[int]) -> str:
    """[0, 1, 2, 5] as "0-2,5", as Linux writes lists of processors. numbers: ascending."""
    parts, start = [], None
    for place, number in enumerate(numbers):
        if start is None:
            start = number
        if place + 1 == len(numbers) or numbers[place + 1] != number + 1:
            parts.append(f"{start}" if start == number else f"{start}-{number}")
            start = None
    return ",".join(parts)


def _groups(root):
    """[(controllers, path)] of /proc/self/cgroup; version 2 names no controllers."""
    lines = (_text(Path(root, "proc/self/cgroup")) or "").splitlines()
    groups = [parts for line in lines if len(parts := line.split(":", 2)) == 3]
    return [(controllers.split(",") if controllers else [], path) for _, controllers, path in groups]


def _chain(mount, path):
    """The folders of a control group and all its parents, up to the mount point.

    In a container the path may be the host's: then only the mount point exists, which is the container's own group.
    """
    steps = [step for step in path.split("/") if step not in ("", ".")]
    if ".." in steps:
        steps = []
    return [mount.joinpath(*steps[:count]) for count in range(len(steps), -1, -1)]


def _folders_v2(root):
    base = Path(root, "sys/fs/cgroup")
    mounts = [base, base / "unified"]
    return [
        folder
        for controllers, path in _groups(root)
        if not controllers
        for mount in mounts
        for folder in _chain(mount, path)
    ]


def _folders_v1(root, controller, mounts):
    return [
        folder
        for controllers, path in _groups(root)
        if controller in controllers
        for mount in mounts
        for folder in _chain(Path(root, "sys/fs/cgroup", mount), path)
    ]


def _quota_v2(folder):
    """From "150000 100000" or "max 100000": microseconds of processor time per period, and the length of a period."""
    quota, _, period = (_text(folder / "cpu.max") or "").partition(" ")
    return _share(quota, period)


def _quota_v1(folder):
    return _share(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _share(quota, period):
    if not (quota or "").isdecimal() or not (period or "").isdecimal() or int(quota) <= 0 or int(period) <= 0:
        return None  # "max", or -1: no limit
    return int(quota) / int(period)


def _memory_limits(root):
    """[(limit, bytes in use that cannot be reclaimed)] of all control groups that limit memory."""
    limits = [_limit(folder, "memory.max", "memory.current", "inactive_file") for folder in _folders_v2(root)] + [
        _limit(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        for folder in _folders_v1(root, "memory", ("memory",))
    ]
    return [limit for limit in limits if limit is not None]


def _limit(folder, limit, usage, cached):
    """cached: the name in memory.stat of cached file pages, which are reclaimed when memory is needed."""
    limit, used = _text(folder / limit), _text(folder / usage) or "0"
    if not (limit or "").isdecimal() or not used.isdecimal():
        return None
    stat = dict(line.split()[:2] for line in (_text(folder / "memory.stat") or "").splitlines() if " " in line)
    return int(limit), max(0, int(used) - int(stat.get(cached, 0)))


def _text(path):
    """The content of a system file; None where it is missing or cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
