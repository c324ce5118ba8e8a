"""Snakemake's lock on a folder, after a kill, and a lock on the results.

Snakemake locks a folder with plain files, which outlive a killed process: the next start would refuse to work and ask for
--unlock. A lock of the operating system shows whether the owner is still alive.
"""

import contextlib
import fcntl
from pathlib import Path

_held = []  # open as long as this process lives; the system releases the lock when it ends in any way


def release_if_abandoned(folder: str | Path) -> bool:
    """Removes Snakemake's lock files from `folder` (a .snakemake) if no other process that called this is alive.

    Returns whether this process is alone there.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    file = open(folder / "alive.lock", "a")  # noqa: SIM115
    _held.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except OSError:  # another process is at work here, or the file system has no such locks: Snakemake's lock decides
        alone = False
    else:
        for lock in folder.glob("locks/*.lock"):
            lock.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)
    return alone


def hold_results(folder: str | Path) -> bool:
    """Locks the folder of an experiment's results until this process ends; returns whether no other start is at work there.

    Snakemake locks the project's folder only, and two clones may have the same results on another disk.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = open(Path(folder, ".in-use.lock"), "a")  # noqa: SIM115
    _held.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no such locks
        return True
    return True
