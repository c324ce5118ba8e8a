"""Disks that cannot be written to. That is the place's fault and never a run's: no record is made of it."""

import errno
import os
import re
import tempfile
from pathlib import Path

from trainoff.errors import UserError, one_line

# No space or no inodes left, quota used up, mounted read-only, broken, gone.
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)
# Words of the system in other programs' messages; of a broken disk they say too little.
_WORDS = re.compile("|".join(re.escape(os.strerror(number)) for number in ERRORS[:3]), re.IGNORECASE)
# As much as shows that there is room for more than a name.
_BYTES = 65_536
NO_TEMPORARY = "No usable temporary directory"


class DiskFault(UserError):
    """A disk that this work needs cannot be written to. The sweep stops; what is finished stays."""

    def __init__(self, words, where=None):
        place = f" ({where})" if where else ""
        super().__init__(
            f"{words}{place}. The sweep stops, since this is no fault of the device; nothing finished is lost. Make room, or "
            "make the place writable, and start again: it goes on with what is not finished."
        )


def words_in(text: str) -> str | None:
    """What `text` says of a disk that cannot be written to, None where it says nothing of it."""
    found = _WORDS.search(text)
    return found and found.group()


def words_of(error: BaseException | None) -> str | None:
    """The same for an exception, or one that it came from."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in ERRORS:
            return os.strerror(error.errno)
        if words := words_in(str(error)):
            return words
        if NO_TEMPORARY in str(error):  # tempfile tried each by writing to it
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


def places(results: str | Path) -> dict[str, Path]:
    """{what it is called: folder} of the places that a training writes to. results: a folder of results."""
    found = {"the results": Path(results), "temporary files, TMPDIR": _temporary(), "the home folder": Path.home()}
    return {name: folder for name, folder in found.items() if folder is not None and folder.is_dir()}


def _temporary():
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # none of those that it tries can be written to
        return Path(os.environ.get("TMPDIR", "/tmp"))


def place_of(error: BaseException, results: str | Path) -> str | None:
    """What to call the place that an exception is about: its file, or the first of `places` that cannot be written to."""
    if getattr(error, "filename", None):
        return one_line(error.filename)
    return next((name for name, folder in places(results).items() if fault_of(folder)), None)
