"""The user's arrays in a NumPy .npz file: samples of any shape with labels, for the user's own models.

The file is untrusted: names, types and sizes are checked before anything is read, and nothing in it is ever unpickled.
"""

import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainoff import bounds
from trainoff.errors import UserError, one_line

NAMES = ("x_train", "y_train", "x_validation", "y_validation")
# Types that arrays are converted to: three that every framework accepts on every device.
FEED = {"b": np.uint8, "u1": np.uint8, "i": np.int32, "u": np.int32, "f": np.float32}
CHUNK_BYTES = 16 * 2**20
UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, EOFError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """An array in the file, as its header describes it: member of the zip, shape, dtype, whether in Fortran order."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    @property
    def feed(self) -> np.dtype:
        """The type that it is converted to."""
        kind = self.dtype.kind
        return np.dtype(FEED["u1"] if self.dtype.str[1:] == "u1" else FEED[kind])


def members(path: str | Path) -> dict[str, Member]:
    """{name: Member} of the four arrays in the file, from their headers. Raises UserError for anything unexpected."""
    try:
        with zipfile.ZipFile(path) as file:
            present = {name: _member(file, name, path) for name in NAMES if _has(file, name, path)}
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    missing = [name for name in NAMES if name not in present]
    if missing:
        raise UserError(
            f"dataset.path: {_shown(path)} lacks {', '.join(missing)}. Expected a .npz file with {', '.join(NAMES)}."
        )
    _check_shapes(present, path)
    return present


def _has(file, name, path):
    if len(file.infolist()) > bounds.ARRAYS_MEMBERS:
        raise UserError(
            f"dataset.path: {_shown(path)} has {len(file.infolist()):,} members. Expected {', '.join(NAMES)}."
        )
    return f"{name}.npy" in file.namelist()


def _member(file, name, path):
    info = file.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused(path, f"{name} is compressed in a way that NumPy does not use. Write the file again.")
    with file.open(info) as stream:
        shape, fortran, dtype = _header(stream, name, path)
        offset = stream.tell()
    if dtype.hasobject:
        raise _refused(
            path,
            f"{name} holds Python objects, which are pickled: reading them could run any code. "
            "Expected numbers; give all rows the same length.",
        )
    if dtype.kind not in FEED or dtype.itemsize > 8:
        raise _refused(path, f"{name} is of type {one_line(dtype, 60)}. Expected integers, floats or booleans.")
    if len(shape) > bounds.ARRAYS_DIMENSIONS:
        raise _refused(path, f"{name} has {len(shape)} dimensions. Expected at most {bounds.ARRAYS_DIMENSIONS}.")
    size = dtype.itemsize
    for length in shape:
        size *= length
    # A sample is read as a whole, so its size is limited as well.
    if size > min(bounds.ARRAYS_BYTES, bounds.ARRAYS_SAMPLE_BYTES * max(1, *shape[:1])):
        raise _refused(
            path,
            f"{name} of shape {one_line(shape, 60)} is larger than {bounds.ARRAYS_BYTES:,} bytes, or one sample is.",
        )
    if (
        offset + size != info.file_size
        or info.file_size > bounds.ARRAYS_EXPANSION * max(1, info.compress_size) + bounds.ARRAYS_HEADER_BYTES
    ):
        raise _refused(
            path,
            f"{name} announces {size:,} bytes of shape {one_line(shape, 60)}, but has {info.file_size - offset:,}, "
            f"{info.compress_size:,} compressed. Write the file again.",
        )
    return Member(info.filename, shape, dtype, fortran)


def _header(stream, name, path):
    """(shape, whether in Fortran order, dtype) of the array at the start of the stream."""
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream, max_header_size=bounds.ARRAYS_HEADER_BYTES)
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        raise _refused(path, f"{name} is no NumPy array ({one_line(error, 100)}).") from error
    if any(length < 0 for length in shape):
        raise _refused(path, f"{name} has a negative length in its shape {shape}.")
    return shape, fortran, dtype


def _check_shapes(by_name, path):
    for split in ("train", "validation"):
        x, y = by_name[f"x_{split}"], by_name[f"y_{split}"]
        if len(x.shape) < 2 or 0 in x.shape:
            raise _refused(
                path,
                f"x_{split} has shape {x.shape}. Expected samples first and at least one more dimension, none "
                "empty; a single number per sample has shape (n, 1).",
            )
        if y.shape not in ((x.shape[0],), (x.shape[0], 1)):
            hint = " It looks one-hot: np.argmax(y, axis=1) gives labels." if len(y.shape) == 2 else ""
            raise _refused(
                path,
                f"y_{split} has shape {y.shape}, x_{split} {x.shape}. Expected one label per sample, shape "
                f"({x.shape[0]},).{hint}",
            )
        if y.dtype.kind == "f":
            raise _refused(path, f"y_{split} is {y.dtype}. Expected whole numbers from 0, such as int64.")
    x, other = by_name["x_train"], by_name["x_validation"]
    if x.shape[1:] != other.shape[1:] or x.feed != other.feed:
        raise _refused(
            path,
            f"x_train is {x.dtype} {x.shape[1:]} per sample, x_validation {other.dtype} {other.shape[1:]}. "
            "Expected the same shape and type.",
        )


def labels(path: str | Path) -> tuple[dict[str, np.ndarray], int]:
    """{split: labels int32 (n,)} and the number of classes, one more than the largest label. Raises UserError for bad labels."""
    by_name = members(path)
    read = {
        split: np.concatenate(list(chunks(path, by_name[f"y_{split}"]))).reshape(-1)
        for split in ("train", "validation")
    }
    for split, values in read.items():
        if values.min() < 0 or values.max() >= bounds.CLASSES:
            wrong = int(np.argmax((values < 0) | (values >= bounds.CLASSES)))
            raise _refused(
                path,
                f"y_{split}[{wrong}] is {values[wrong]}. Expected labels from 0 to the number of classes minus "
                f"one, below {bounds.CLASSES:,}.",
            )
    read = {split: values.astype(np.int64) for split, values in read.items()}
    counts = np.bincount(read["train"])
    classes = len(counts)
    if classes < 2:
        raise _refused(path, "y_train holds one class. Expected at least two, labels 0 and 1.")
    if not counts.all():
        raise _refused(
            path,
            f"y_train goes up to {classes - 1}, but no sample has label {int(np.argmin(counts))}. Number the "
            "classes from 0 without gaps: np.unique(y, return_inverse=True)[1].",
        )
    if read["validation"].max() >= classes:
        raise _refused(
            path,
            f"y_validation holds label {read['validation'].max()}, y_train goes up to {classes - 1}. Expected every "
            "class in y_train.",
        )
    return {split: values.astype(np.int32) for split, values in read.items()}, classes


def chunks(path: str | Path, member: Member, tick: Callable[[int], Any] = lambda number: None) -> Iterator[np.ndarray]:
    """The array's rows in chunks of a few megabytes, as stored. tick: called with the number of rows of each.

    An array in Fortran order is read whole, since its rows are not contiguous.
    """
    row_bytes = max(1, int(np.prod(member.shape[1:], dtype=np.int64)) * member.dtype.itemsize)
    rows = member.shape[0] if member.fortran else max(1, CHUNK_BYTES // row_bytes)
    try:
        with zipfile.ZipFile(path) as file, file.open(member.name) as stream:
            _header(stream, member.name, path)
            for start in range(0, member.shape[0], rows):
                number = min(rows, member.shape[0] - start)
                data = stream.read(number * row_bytes)
                if len(data) != number * row_bytes:
                    raise EOFError("it ends early")
                chunk = np.frombuffer(data, member.dtype)
                shape = (number, *member.shape[1:])
                yield chunk.reshape(shape, order="F" if member.fortran else "C")
                tick(number)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def converted(
    path: str | Path, member: Member, name: str, tick: Callable[[int], Any] = lambda number: None
) -> Iterator[np.ndarray]:
    """The array's rows in chunks, converted to `member.feed`. Raises UserError for values that are not finite or do not fit."""
    start, feed = 0, member.feed
    for chunk in chunks(path, member, tick):
        if feed == np.float32:
            with np.errstate(over="ignore"):
                result = chunk.astype(feed)
            wrong, expected = ~np.isfinite(result), "finite numbers that fit float32"
        else:
            result = chunk.astype(feed)
            wrong, expected = result != chunk, "whole numbers that fit int32"
        if wrong.any():
            place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            where = ", ".join(map(str, (place[0] + start, *place[1:])))
            raise _refused(path, f"{name}[{where}] is {chunk[place]}. Expected {expected}.")
        yield np.ascontiguousarray(result)
        start += len(chunk)


def load(
    path: str | Path, staging: str | Path, bar: Callable[..., Any]
) -> tuple[dict[str, tuple[np.memmap, np.ndarray]], list[str]]:
    """({split: (samples, labels)}, class names) of the file. samples: (n, …) of a type in FEED, not in memory; labels: int32.

    staging: a folder with space for the samples. bar: makes a progress bar, as tqdm does.
    Raises UserError for samples that are not finite or do not fit their type.
    """
    by_name = members(path)
    by_split, classes = labels(path)
    splits = {}
    with bar(total=sum(map(len, by_split.values())), desc="reading arrays") as read:
        for split, values in by_split.items():
            name = f"x_{split}"
            store = tempfile.TemporaryFile(dir=staging)  # noqa: SIM115 (the array keeps it open)
            for chunk in converted(path, by_name[name], name, read.update):
                store.write(chunk.tobytes())
            store.flush()
            splits[split] = np.memmap(store, by_name[name].feed, "r", shape=by_name[name].shape), values
    return splits, [str(label) for label in range(classes)]


def _refused(path, words):
    return UserError(f"dataset.path: {one_line(path)}: {words}")


def _unreadable(path, error):
    if isinstance(error, FileNotFoundError):
        return UserError(
            f"dataset.path: there is no file {_shown(path)}. Expected a .npz file with {', '.join(NAMES)}."
        )
    return UserError(
        f"dataset.path: {_shown(path)} cannot be read as a .npz file ({one_line(error, 100)}). Write it with np.savez(path, "
        f"{', '.join(f'{name}=…' for name in NAMES)})."
    )


def _shown(path):
    return one_line(path)
