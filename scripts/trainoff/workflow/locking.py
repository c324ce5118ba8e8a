"""Snakemake's lock on a folder, after a kill.

Snakemake locks a folder with plain files, which outlive a process that was killed: the next start would refuse to work
and ask for --unlock. The operating system's own lock tells whether the owner still lives.
"""

import contextlib
import fcntl
from pathlib import Path

_held = []  # open as long as this process lives; the system lets go of the lock when it ends, however it ends


def release_if_abandoned(folder: str | Path) -> bool:
    """Removes Snakemake's lock files from `folder` (a .snakemake) when no process that called this is alive there.

    Returns whether that is so.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    file = open(folder / "alive.lock", "a")  # noqa: SIM115
    _held.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except OSError:  # somebody is at work here (or the file system has no such locks): Snakemake's lock decides
        alone = False
    else:
        for lock in folder.glob("locks/*.lock"):
            lock.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)
    return alone
