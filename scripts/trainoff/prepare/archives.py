"""Reads untrusted .tar.gz archives: in one pass, headers before content, nothing unpacked under a name from the archive.

The function `extract` runs in a process of its own (see `confined`). Only plain files and folders are accepted; the format is
that of POSIX.1-2001 pax with GNU's long names (https://www.gnu.org/software/tar/manual/html_node/Standard.html).
"""

import gzip
import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from trainoff import bounds
from trainoff.errors import UserError, one_line

PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
LONG_NAME, PAX, PAX_FOR_ALL = tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE
SPECIAL = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a link",
    tarfile.GNUTYPE_LONGLINK: "a link",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}
PADDING = 512


def extract(path: str | Path, wanted: dict[str, int], folder: str | Path) -> dict[str, str]:
    """Writes members of the .tar.gz at `path` to files in `folder`; returns {path in the archive: name of its file there}.

    wanted: {path in the archive: maximum bytes}; those that are not in the archive are left out.

    Raises UserError when the archive holds anything but plain files and folders, a path twice, or more than bounds allow.
    """
    seen, written, used = set(), {}, 0
    try:
        with gzip.open(path) as packed:
            stream = _Counted(packed, path)
            for name, size in _members(stream, path):
                if name in seen:
                    raise _refusal(path, f"it holds {one_line(name, 100)!r} twice")
                seen.add(name)
                if name not in wanted:
                    stream.skip(_padded(size))
                    continue
                used += size
                if size > wanted[name] or used > bounds.ARCHIVE_USED_BYTES:
                    raise _refusal(path, f"{one_line(name, 100)!r} claims {size:,} bytes, more than such a file has")
                written[name] = str(len(written))
                with open(Path(folder, written[name]), "wb") as file:
                    stream.copy(size, file)
                stream.skip(_padded(size) - size)
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        raise UserError(
            f"dataset.archive: {one_line(path)} cannot be read to its end as .tar.gz ({one_line(error)}). It is truncated or not "
            "such an archive; download it again."
        ) from None
    return written


class _Counted:
    """A stream that reads no more than ARCHIVE_UNPACKED_BYTES."""

    def __init__(self, stream, path):
        self._stream, self._path, self._read = stream, path, 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; raises EOFError when there are fewer."""
        self._read += size
        if self._read > bounds.ARCHIVE_UNPACKED_BYTES:
            raise _refusal(self._path, f"it unpacks to more than {bounds.ARCHIVE_UNPACKED_BYTES >> 20} MiB")
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError("it ends in the middle of a member")
        return data

    def copy(self, size: int, file: BinaryIO) -> None:
        while size:
            data = self.read(min(size, bounds.MIB))
            file.write(data)
            size -= len(data)

    def skip(self, size: int) -> None:
        with open(os.devnull, "wb") as nowhere:
            self.copy(size, nowhere)


def _members(stream, path):
    """Yields (path in the archive, bytes) of every file; the caller then reads or skips its content."""
    count, long_name, extended = 0, None, False
    while True:
        block = stream.read(PADDING)
        if not any(block):
            return
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        name, size = header.name, header.size
        count += 1
        if count > bounds.ARCHIVE_MEMBERS:
            raise _refusal(path, f"it has more than {bounds.ARCHIVE_MEMBERS:,} members")
        if header.type in (LONG_NAME, PAX, PAX_FOR_ALL):
            if not 0 <= size <= bounds.ARCHIVE_HEADER_BYTES or extended:
                raise _refusal(path, f"member {count} has a header that is too large, or several headers")
            data = stream.read(_padded(size))[:size]
            if header.type != PAX_FOR_ALL:  # a header for all members, such as a comment, holds no name
                long_name, extended = _name_in(header.type, data, path), True
            elif {"path", "size"} & {keyword for keyword, _ in _records(data, path)}:
                raise _refusal(path, "it gives all its members the same name or size")
            continue
        name, long_name, extended = long_name or name, None, False
        if not 0 < len(name) <= bounds.ARCHIVE_NAME or not name.isprintable():
            raise _refusal(path, f"{one_line(name, 100)!r} is not a valid file name")
        steps = PurePosixPath(name)
        if steps.is_absolute() or ".." in steps.parts:
            raise _refusal(path, f"it has a member whose path points outside ({one_line(name, 100)!r})")
        if size < 0:
            raise _refusal(path, f"{one_line(name, 100)!r} claims a negative size")
        if header.type == tarfile.DIRTYPE or (header.type in PLAIN and header.name.endswith("/")):
            stream.skip(_padded(size))
        elif header.type in PLAIN:
            yield str(steps), size
        else:
            kind = SPECIAL.get(header.type, "of an unknown type")
            raise _refusal(path, f"{one_line(name, 100)!r} is not a plain file but {kind}")


def _name_in(kind, data, path):
    """The name that an extended header gives the member after it, None for none."""
    if kind == LONG_NAME:
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    records = dict(_records(data, path))
    if "size" in records or any(key.startswith("GNU.sparse") for key in records):
        raise _refusal(path, "it holds a sparse file or one of more than 8 GiB")
    return records.get("path")


def _records(data, path):
    """(keyword, value) of every record "length keyword=value" of a pax header."""
    while data.strip(b"\0"):
        length, _, rest = data.partition(b" ")
        if not length.isdigit() or len(length) > 6 or not len(length) + 3 < int(length) <= len(data):
            raise _refusal(path, "one of its extended headers is damaged")
        record = data[len(length) + 1 : int(length) - 1]
        keyword, _, value = record.partition(b"=")
        yield keyword.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
        data = data[int(length) :]


def _padded(size):
    return -(-size // PADDING) * PADDING


def _refusal(path, reason):
    return UserError(
        f"dataset.archive: {one_line(path)} is not used: {reason}. Download the official archive, or pack it again."
    )
