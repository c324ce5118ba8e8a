"""One training of one run, however many jobs of killed starts, or tries of this one, are at work on it."""

import contextlib
import fcntl
import os
from pathlib import Path

from trainoff import records
from trainoff.errors import UserError
from trainoff.workflow.validity import KEPT, first_change


def finished_meanwhile(path, run, identity, facts):
    """The record of the run to be written to `path` that somebody else has finished since this start was planned; else None.

    That is a job whose Snakemake was killed, or one whose node failed before its end was noticed. run, identity: as `identity`
    takes and gives them; facts: of what was prepared.
    """
    wanted = identity | {key: facts[key] for key in ("images_sha256", "prepared_sha256")}
    try:
        record = records.read(Path(path).with_name(KEPT))
    except (OSError, UserError):
        return None
    return record if first_change(record, run, wanted) is None else None


@contextlib.contextmanager
def one_at_a_time(folder):
    """Waits until no other process is in such a block for the folder, on systems that can tell."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
