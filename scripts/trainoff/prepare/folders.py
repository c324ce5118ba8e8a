"""Images of a user's own: a folder with one folder per class, or such folders for training and for validation.

What is there is told at every start from names and bytes alone (`index`); images are decoded once, when they are prepared
(`load`). Order and split follow from pixels, so that neither names nor file times change what is trained on.
"""

import functools
import hashlib
import json
import os
import stat
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainoff import bounds
from trainoff.errors import UserError, one_line
from trainoff.files import Hashes
from trainoff.prepare.parallel import in_order, in_processes

TRAIN = "train"
# The folder of validation images goes by several names.
VALIDATION = ("validation", "valid", "val", "test")
LAYOUT = "Expected one folder per class with its images inside, or such folders in train/ and validation/"
NAMED = 5  # files that a message names
FILES_AT_ONCE = 64  # that a thread hashes


@dataclass(frozen=True)
class File:
    """A file that should be an image. split: "train", "validation", or None where the folder gives no split."""

    split: str | None
    label: int
    path: str
    sha256: str


@dataclass(frozen=True)
class Index:
    """What a folder holds. sha256: over the classes, splits and bytes of all files, whatever the files are called."""

    classes: list[str]
    files: list[File]
    sha256: str


def index(folder: str | Path, hashes: Hashes, workers: int) -> Index:
    """The Index of a folder of images. hashes: a files.Hashes, so that only new files are read; workers: threads that read.

    Hidden files and folders are left out. Raises UserError for a folder that is not laid out as LAYOUT says.
    """
    places = _classes_of(folder)
    names = sorted({name for _, name, _ in places})
    if len(names) < 2:
        only = f"one class, {one_line(names[0])}" if names else "no class"
        raise UserError(f"dataset.path: {_shown(folder)} holds {only}. {LAYOUT}: at least two classes.")
    if len(names) > bounds.CLASSES:
        raise UserError(
            f"dataset.path: {_shown(folder)} holds {len(names):,} folders. Expected at most {bounds.CLASSES:,} classes."
        )
    labels = {name: label for label, name in enumerate(names)}
    found = [(split, labels[name], path) for split, name, place in places for path in _files_below(place)]
    _check_complete(folder, names, found)
    digests = in_order(lambda place: _sha256(place[-1], hashes), found, workers, FILES_AT_ONCE)
    files = [File(*place, sha256) for place, sha256 in zip(found, digests, strict=True)]
    lines = sorted(json.dumps([file.split, names[file.label], file.sha256]) for file in files)
    return Index(names, files, hashlib.sha256("\n".join(lines).encode()).hexdigest())


def _classes_of(folder):
    """[(split or None, class name, path)] of all folders of classes."""
    top = _folders_in(folder)
    validation = next((name for name in VALIDATION if name in top), None)
    if TRAIN not in top:
        return [(None, name, place) for name, places in top.items() for place in places]
    if validation is None:
        raise UserError(
            f"dataset.path: {_shown(folder)} holds {TRAIN}/ but no {VALIDATION[0]}/ beside it. Add it, or name the folder "
            f"{TRAIN} itself: then a part of its images validates."
        )
    return [
        (split, name, place)
        for split, above in ((TRAIN, TRAIN), ("validation", validation))
        for name, places in _folders_in(top[above][0]).items()
        for place in places
    ]


def _folders_in(folder):
    """{name: [path]} of the folders in a folder. Unicode writes some names in two ways, which file systems mix up."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"dataset.path: {_shown(folder)} cannot be opened as a folder ({error.strerror}). {LAYOUT}."
        ) from error
    found = {}
    for entry in entries:
        if not entry.name.startswith(".") and entry.is_dir():
            name = unicodedata.normalize("NFC", os.fsencode(entry.name).decode("utf-8", "replace"))
            found.setdefault(name, []).append(entry.path)
    return found


def _files_below(folder):
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.join(place, name)


def _sha256(path, hashes):
    """SHA-256 of the file; "" for what cannot be read, which is named once the images are decoded."""
    try:
        return hashes.sha256(path) if _is_plain(path) else ""
    except OSError:
        return ""


def _is_plain(path):
    """Whether a path leads to a file: no pipe, which would wait for ever, and no link to nowhere."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _check_complete(folder, names, found):
    """Raises UserError where a class has no files to train on, or nothing validates. found: [(split, label, path)]."""
    if len(found) > bounds.FOLDER_FILES:
        raise UserError(
            f"dataset.path: {_shown(folder)} holds {len(found):,} files. Expected at most {bounds.FOLDER_FILES:,}."
        )
    trained = Counter(label for split, label, _ in found if split != "validation")
    empty = [names[label] for label in range(len(names)) if not trained[label]]
    given = any(split for split, _, _ in found)
    if empty:
        raise UserError(
            f"dataset.path: {_shown(folder)}: {_some(empty)} {'has' if len(empty) == 1 else 'have'} no files"
            f"{f' in {TRAIN}/' if given else ''}. Add images, or remove the folder{'s' if len(empty) > 1 else ''}."
        )
    validated = any(split == "validation" for split, _, _ in found) if given else max(trained.values()) > 1
    if not validated:
        raise UserError(
            f"dataset.path: {_shown(folder)} leaves no image to validate on. {LAYOUT}; without a split, a class needs two images."
        )


@dataclass
class Rows:
    """Decoded images, each at img_dim × img_dim, with what order and split follow from. files, digests: as lists."""

    images: np.ndarray
    files: list[File]
    digests: list[bytes]
    bad: list[tuple[str, str]]


def decode(
    files: list[File], img_dim: int, fit: str, workers: int, staging: str | Path, tick: Callable[[], Any]
) -> Rows:
    """The Rows of all files that are images. staging: a folder for as many bytes; tick: called once per file."""
    one = functools.partial(_decoded, img_dim=img_dim, fit=fit)
    store = tempfile.TemporaryFile(dir=staging)  # noqa: SIM115 (the array keeps it open)
    rows = Rows(None, [], [], [])
    for file, result in zip(files, in_processes(one, [file.path for file in files], workers), strict=True):
        tick()
        if isinstance(result, str):
            rows.bad.append((file.path, result))
            continue
        digest, data = result
        store.write(data)
        rows.files.append(file)
        rows.digests.append(digest)
    store.flush()
    shape = (len(rows.files), img_dim, img_dim, 3)
    rows.images = np.memmap(store, np.uint8, "r", shape=shape) if rows.files else np.empty(shape, np.uint8)
    return rows


def _decoded(path, img_dim, fit):
    """(digest, bytes at img_dim × img_dim) of the image in a file, or in words why it gives none."""
    # Pillow is not needed to tell what a folder holds.
    from trainoff.prepare import pixels

    if not _is_plain(path):
        return "is no file, or a link to none"
    try:
        image = pixels.read(path)
    except pixels.BadImage as error:
        return str(error)
    return pixels.digest(image), pixels.square(image, img_dim, fit).tobytes()


def load(
    found: Index,
    folder: str | Path,
    img_dim: int,
    fit: str,
    on_bad_image: str,
    validation_fraction: float | None,
    workers: int,
    staging: str | Path,
    tick: Callable[[], Any] = lambda: None,
) -> tuple[dict[str, tuple[Any, np.ndarray]], dict[str, int]]:
    """({split: (images, labels)}, notes) of an Index. images: uint8 (n, img_dim, img_dim, 3), not in memory.

    folder: of the index, for messages. on_bad_image: "skip" or "stop". validation_fraction: of each class, where the folder
    gives no split. notes: skipped_images, how many; validation_images_in_training: how many are the same to the pixel.
    Raises UserError when a file is no image and on_bad_image is stop, and when too few are left.
    """
    rows = decode(found.files, img_dim, fit, workers, staging, tick)
    if rows.bad:
        words = bad_images(rows.bad, folder)
        print(words)
        if on_bad_image == "stop":
            them = "it" if len(rows.bad) == 1 else "them"
            raise UserError(f"dataset.path: {words} Repair or remove {them}, or set dataset.on_bad_image: skip.")
    labels = np.array([file.label for file in rows.files], np.int32)
    if all(file.split is None for file in found.files):
        validates = content_split(rows.digests, labels, validation_fraction)
    else:
        validates = np.array([file.split == "validation" for file in rows.files], bool)
    # By content: neither names nor the order of a file system decide which image comes when.
    order = np.array(sorted(range(len(labels)), key=lambda place: (rows.digests[place], labels[place])), np.int64)
    validates, labels = validates[order], labels[order]
    _check_left(labels, validates, found.classes)
    trained = {rows.digests[place] for place in order[~validates]}
    shared = sum(rows.digests[place] in trained for place in order[validates])
    if shared:
        print(f"{shared} validation images are training images too, to the pixel: accuracy on them is no validation.")
    splits = {
        split: (Chosen(rows.images, order[part], rows.digests), labels[part])
        for split, part in (("train", ~validates), ("validation", validates))
    }
    notes = {"skipped_images": len(rows.bad), "validation_images_in_training": shared}
    return splits, notes


class Chosen:
    """Rows of an array in another order, read when they are asked for. digests: of the array's rows, where they are known."""

    def __init__(self, array, order, digests=None):
        self.array, self.order, self.digests = array, order, digests
        self.shape, self.dtype = (len(order), *array.shape[1:]), array.dtype

    def __len__(self):
        return len(self.order)

    def __getitem__(self, places):
        if isinstance(places, np.ndarray):
            return Chosen(self.array, self.order[places], self.digests)
        return self.array[self.order[places]]

    def content(self) -> bytes:
        """The rows' digests, in their order, as bytes."""
        return b"".join(self.digests[place] for place in self.order)


def content_split(digests: Sequence[bytes], labels: np.ndarray, fraction: float) -> np.ndarray:
    """Which images validate, bool (n,): about `fraction` of each class, at least one of two, chosen by their content.

    Equal images are all on one side, in whatever classes they are.
    """
    owners = {}
    for digest, label in zip(digests, labels, strict=True):
        owners[digest] = min(label, owners.get(digest, label))
    classes = {}
    for digest, label in owners.items():
        classes.setdefault(label, []).append(digest)
    chosen = set()
    for own in classes.values():
        number = min(len(own) - 1, max(1, round(fraction * len(own))))
        chosen.update(sorted(own)[:number])
    return np.array([digest in chosen for digest in digests], bool)


def bad_images(bad: list[tuple[str, str]], folder: str | Path) -> str:
    """A sentence about files that are no images: how many, the first few and what is wrong with each."""
    named = "; ".join(f"{one_line(os.path.relpath(path, folder), most=80)} {why}" for path, why in bad[:NAMED])
    more = f"; and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
    return f"{len(bad):,} {'file is no image' if len(bad) == 1 else 'files are no images'}: {named}{more}."


def _check_left(labels, validates, classes):
    trained = np.bincount(labels[~validates], minlength=len(classes))
    if without := [name for name, number in zip(classes, trained, strict=True) if not number]:
        raise UserError(
            f"dataset.path: {_some(without)}: no image is left to train on. Add images, or remove the folder."
        )
    if not validates.any():
        raise UserError(
            "dataset.path: no image is left to validate on. Without a split, one class needs two different images."
        )


def _some(names):
    shown = ", ".join(one_line(name, most=60) for name in names[:NAMED])
    return shown + (f" and {len(names) - NAMED:,} more classes" if len(names) > NAMED else "")


def _shown(path):
    return one_line(Path(path))
