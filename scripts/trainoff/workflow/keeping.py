"""Records that are kept: a finished one through kills, a replaced one for good, one of earlier axes at its new path.

And one training of one run, however many jobs of killed starts, or tries of this one, are at work on it.
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

# The record again, until Snakemake has seen it: it deletes the output of a job whose end it did not see.
KEPT = ".finished.json"
# The record that a run replaces, until the run's job moves it away: Snakemake deletes the output of a job that it starts.
REPLACED = ".replaced.json"


def finished_meanwhile(path: str | Path, run: Run, identity: dict[str, Any], facts: dict[str, Any]) -> Record | None:
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
def one_at_a_time(folder: str | Path) -> Iterator[None]:
    """Waits until no other process is in such a block for the folder, on systems that can tell."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def keep_replaced(path: str | Path) -> None:
    """Keeps the record at `path`, if there is one, through the start of the job that replaces it, which deletes `path`."""
    path = Path(path)
    replaced = path.with_name(REPLACED)
    if path.is_file():
        # Where nothing can be written no job can start either.
        with contextlib.suppress(OSError):
            replaced.unlink(missing_ok=True)
            shutil.copy2(path, replaced)


def supersede(path: str | Path, results: str | Path) -> Path | None:
    """Moves what the run with its record at `path` replaces, log included, to superseded/<run>/<when it finished> in `results`.

    Returns that folder, None where nothing is replaced. A record is never deleted. Called by the job before it writes.
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
    """When the run of a record ended, for the name of a folder; of a damaged record, when it was written."""
    try:
        stamp = datetime.fromisoformat(json.loads(path.read_bytes())["provenance"]["finished_at"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return stamp.strftime("%Y-%m-%dT%H-%M-%S")


def move_to_later_path(path: str | Path) -> None:
    """Moves what a run wrote before an axis existed to `path`, where its record is expected now."""
    if os.path.isfile(path):  # of thousands; pathlib takes several times as long
        return
    path = Path(path)
    for earlier in map(Path, axes.earlier_paths(path.as_posix())):
        if earlier.is_file() and axes.names_run(path.as_posix(), _run_of(earlier)):
            # Where nothing can be moved the run is trained again, and the old record stays.
            with contextlib.suppress(OSError):
                path.parent.parent.mkdir(parents=True, exist_ok=True)
                earlier.parent.rename(path.parent)
            return


def _run_of(path):
    """The complete run in the record at `path`; of a damaged record, a run as all were before later axes."""
    try:
        run = records.parse(path)["run"]
    except (OSError, UserError, KeyError, TypeError):
        run = None
    return run if isinstance(run, dict) else axes.complete({})


def restore_kept(path: str | Path, alone: bool = True) -> None:
    """Puts the record at `path` back if it was finished and then deleted by a start that was killed.

    alone: no other start is at work in the folder, one of which may be about to delete the record: then where the record is
    there it needs no copy any more.
    """
    if not os.path.lexists(os.path.join(os.path.dirname(path), KEPT)):
        return
    path = Path(path)
    kept = path.with_name(KEPT)
    with contextlib.suppress(FileNotFoundError):
        if not path.is_file():
            write_text(path, kept.read_text(encoding="utf-8"))
        if alone:
            kept.unlink()
