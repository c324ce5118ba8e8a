"""Atomic writes, and hashes of files."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` and renames it to `path` when the block succeeds.

    A reader never sees half a file: whatever goes wrong in the block, `path` stays as it was and the temporary file is
    removed. The content is on the disk before the file is renamed, so that a power cut leaves no empty file behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes private files; results get the usual permissions.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` (UTF-8) to `path`, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Writes a record to `path`, whole or not at all; raises ValueError for a number that is not finite, which JSON lacks."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def sha256(path: str | Path) -> str:
    """SHA-256 of the file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Iterable[str | Path]) -> str:
    """One SHA-256 over the names and bytes of several files, whatever their order and folder."""
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths), key=lambda path: path.name):
        digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()


class Notes:
    """A cache of values by key in a JSON file, for values that take time to compute.

    path: of the file; it may be missing, damaged or read-only.
    """

    def __init__(self, path):
        self._path = Path(path)
        self._new = False
        try:
            noted = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            noted = None
        self._noted = noted if isinstance(noted, dict) else {}

    def of(self, key: str, make: Callable[[], Any], is_valid: Callable[[Any], bool]) -> Any:
        """The cached value of a key; the result of `make()` where there is none, or it is not valid."""
        if not is_valid(self._noted.get(key)):
            self._noted[key] = make()
            self._new = True
        return self._noted[key]

    def save(self) -> None:
        """Writes new values; a folder that cannot be written to only costs time."""
        if self._new:
            with contextlib.suppress(OSError):
                write_text(self._path, json.dumps(self._noted))


class Hashes(Notes):
    """SHA-256 of large files, cached so that an unchanged file is read only once."""

    def sha256(self, path: str | Path) -> str:
        """SHA-256 of the file's bytes. The system sets a file's ctime, so a copy cannot keep an older one's."""
        stat = os.stat(path)
        key = f"{os.path.abspath(path)} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        return self.of(key, lambda: sha256(path), lambda noted: isinstance(noted, str))


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
