"""Preserves records: a finished one when a start is killed, a replaced one for good, one with fewer axes at its new path.

Also ensures that each run is trained once at a time, even if jobs of killed starts or other attempts are still at work on it.
"""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainoff import axes, records
from trainoff.errors import UserError
from trainoff.files import write_text
from trainoff.shapes import Record, Run
from trainoff.workflow.validity import first_change

# A copy of the record until Snakemake has registered it: Snakemake deletes the output of a job whose end it did not see.
KEPT = ".finished.json"
# A copy of the record that a run replaces, until the run's job moves it: Snakemake deletes the output of a job that it starts.
REPLACED = ".replaced.json"


def finished_meanwhile(path: str | Path, run: Run, identity: dict[str, Any], facts: dict[str, Any]) -> Record | None:
    """The record for `path` if another job has finished the run since this start was planned; else None.

    Such a job outlived a killed Snakemake, or its node failed before its end was noticed. run, identity: as in
    validity.identity; facts: about the prepared files.
    """
    wanted = identity | {key: facts[key] for key in ("images_sha256", "prepared_sha256")}
    try:
        record = records.read(Path(path).with_name(KEPT))
    except (OSError, UserError):
        return None
    return record if first_change(record, run, wanted) is None else None


@contextlib.contextmanager
def one_at_a_time(folder: str | Path) -> Iterator[None]:
    """Waits until no other process is in such a block for the folder, where the file system supports locks."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def keep_replaced(path: str | Path) -> None:
    """Copies the record at `path`, if any, before the start of the job that replaces it, which deletes `path`."""
    path = Path(path)
    replaced = path.with_name(REPLACED)
    if path.is_file():
        # If nothing can be written, no job can start either.
        with contextlib.suppress(OSError):
            replaced.unlink(missing_ok=True)
            shutil.copy2(path, replaced)


def supersede(path: str | Path, results: str | Path) -> Path | None:
    """Moves the files that the run at `path` replaces, log included, to superseded/<run>/<when it finished> in `results`.

    Returns that folder, None if nothing is replaced. A record is never deleted. The job calls this before it writes.
    """
    path = Path(path)
    replaced = path.with_name(REPLACED)
    if not replaced.is_file():
        return None
    place = Path(results, "superseded", path.parent.relative_to(results))
    name = _finished_at(replaced)
    target = next(
        folder
        for number in itertools.count()
        if not (folder := place / (f"{name}-{number}" if number else name)).exists()
    )
    target.mkdir(parents=True)
    for file in path.parent.iterdir():
        if file.name == KEPT:
            file.unlink()
        elif file.is_file():
            shutil.move(file, target / (path.name if file.name == REPLACED else file.name))
    return target


def _finished_at(path):
    """When the run of a record ended, as a folder name; for a damaged record, when it was written."""
    try:
        stamp = datetime.fromisoformat(json.loads(path.read_bytes())["provenance"]["finished_at"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return stamp.strftime("%Y-%m-%dT%H-%M-%S")


def move_to_later_path(path: str | Path) -> None:
    """Moves the files of a run from before an axis existed to `path`, where its record is expected now."""
    if os.path.isfile(path):  # called thousands of times; pathlib is several times slower
        return
    path = Path(path)
    for earlier in map(Path, axes.earlier_paths(path.as_posix())):
        if earlier.is_file() and axes.names_run(path.as_posix(), _run_of(earlier)):
            # If it cannot be moved, the run is trained again and the old record stays.
            with contextlib.suppress(OSError):
                path.parent.parent.mkdir(parents=True, exist_ok=True)
                earlier.parent.rename(path.parent)
            return


def _run_of(path):
    """The complete run in the record at `path`; for a damaged record, a run with the defaults of later axes."""
    try:
        run = records.parse(path)["run"]
    except (OSError, UserError, KeyError, TypeError):
        run = None
    return run if isinstance(run, dict) else axes.complete({})


def restore_kept(path: str | Path, alone: bool = True) -> None:
    """Restores the record at `path` if it was finished and then deleted by a start that was killed.

    alone: whether no other start is at work in the folder, which might be about to delete the record. If so, the copy is removed
    once the record is there.
    """
    if not os.path.lexists(os.path.join(os.path.dirname(path), KEPT)):
        return
    path = Path(path)
    copy = path.with_name(KEPT)
    with contextlib.suppress(FileNotFoundError):
        if not path.is_file():
            write_text(path, copy.read_text(encoding="utf-8"))
        if alone:
            copy.unlink()
