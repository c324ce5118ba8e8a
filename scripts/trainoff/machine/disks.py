"""Disks that cannot be written to. Such a fault belongs to the machine, never to a run, so it is not recorded."""

import errno
import os
import re
import tempfile
from pathlib import Path

from trainoff.errors import UserError, one_line

# No space or no inodes left, quota exceeded, mounted read-only, I/O error, stale network mount.
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)
# The system's words in other programs' messages. Those for the other errors are too general to search for.
_WORDS = re.compile("|".join(re.escape(os.strerror(number)) for number in ERRORS[:3]), re.IGNORECASE)
# Enough to show that there is room for data, not only for a file name.
_BYTES = 65_536
NO_TEMPORARY = "No usable temporary directory"


class DiskFault(UserError):
    """A disk that the sweep needs cannot be written to. The sweep stops; finished runs stay."""

    def __init__(self, words, where=None):
        place = f" ({where})" if where else ""
        super().__init__(
            f"{words}{place}. The sweep stops, because this is not the device's fault; finished runs are kept. Free some space "
            "or make the folder writable, and start again: the sweep continues with the unfinished runs."
        )


def words_in(text: str) -> str | None:
    """The words in `text` about a disk that cannot be written to, None where there are none."""
    match = _WORDS.search(text)
    return match and match.group()


def words_of(error: BaseException | None) -> str | None:
    """The same for an exception or one of its causes."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in ERRORS:
            return os.strerror(error.errno)
        if words := words_in(str(error)):
            return words
        if NO_TEMPORARY in str(error):  # tempfile has tried to write to each candidate
            return "No folder for temporary files can be written to"
        error = error.__cause__ or error.__context__
    return None


def fault_of(folder: str | Path) -> str | None:
    """Why no file can be written in `folder`, in the system's words; None where it can."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".trainoff-") as file:
            file.write(b"\0" * _BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return None


def nearest(folder: Path) -> Path:
    """`folder`, or the nearest of its parents that exists and that this user may look at."""
    return next(path for path in (folder, *folder.parents) if os.path.isdir(path))


def places(results: str | Path) -> dict[str, Path]:
    """{name: folder} of the places that a training writes to. results: a folder of results."""
    folders = {"the results": Path(results), "temporary files, TMPDIR": _temporary(), "the home folder": Path.home()}
    return {name: folder for name, folder in folders.items() if folder is not None and folder.is_dir()}


def _temporary():
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # none of its candidates can be written to
        return Path(os.environ.get("TMPDIR", "/tmp"))


def place_of(error: BaseException, results: str | Path) -> str | None:
    """The place that an exception is about: its file, or the first of `places` that cannot be written to; None if unknown."""
    if getattr(error, "filename", None):
        return one_line(error.filename)
    return next((name for name, folder in places(results).items() if fault_of(folder)), None)
