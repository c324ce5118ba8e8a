"""The user's images: a folder with one folder per class, or such folders for training and for validation.

Every start lists the files from names and bytes alone (`index`); images are decoded once, when they are prepared (`load`).
Order and split follow from pixels, so that neither names nor file times change what is trained on.
"""

import functools
import hashlib
import json
import os
import re
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
# Accepted names of the folders with training and with validation images, in lowercase.
TRAINING = (TRAIN, "training")
VALIDATION = ("validation", "valid", "val", "test", "testing")
LAYOUT = "Expected one folder per class with its images inside, or such folders in train/ and validation/"
NAMED = 5  # files that a message names at most
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
    """The content of a folder. sha256: of the classes, splits and bytes of all files, independent of their names."""

    classes: list[str]
    files: list[File]
    sha256: str


def index(folder: str | Path, hashes: Hashes, workers: int) -> Index:
    """The Index of a folder of images. hashes: a cache, so that only new files are read; workers: number of reading threads.

    Hidden files and folders are left out. Raises UserError for a folder that does not have the layout in LAYOUT.
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
    entries = [(split, labels[name], path) for split, name, place in places for path in _files_below(place)]
    _check_complete(folder, names, entries)
    digests = in_order(lambda entry: _sha256(entry[-1], hashes), entries, workers, FILES_AT_ONCE)
    files = [File(*entry, sha256) for entry, sha256 in zip(entries, digests, strict=True)]
    lines = sorted(json.dumps([file.split, names[file.label], file.sha256]) for file in files)
    return Index(names, files, hashlib.sha256("\n".join(lines).encode()).hexdigest())


def _classes_of(folder):
    """[(split or None, class name, path)] of all class folders."""
    top = _folders_in(folder)
    places = {name.lower(): places[0] for name, places in top.items()}
    training, validation = (
        next((places[name] for name in names if name in places), None) for names in (TRAINING, VALIDATION)
    )
    # A class of that name, such as of vehicles, holds images and no classes.
    if training is None or (validation is None and not _folders_in(training)):
        _check_no_split(folder, places)
        return [(None, name, place) for name, places in top.items() for place in places]
    if validation is None:
        name = one_line(os.path.basename(training))
        raise UserError(
            f"dataset.path: {_shown(folder)} holds {name}/ but no {VALIDATION[0]}/ beside it. Add it, or name the folder "
            f"{name} itself: then part of its images is used for validation."
        )
    return [
        (split, name, place)
        for split, above in ((TRAIN, training), ("validation", validation))
        for name, places in _folders_in(above).items()
        for place in places
    ]


def _check_no_split(folder, places):
    """Raises UserError if folders that would be classes are a split under other names, such as seg_train and seg_test."""
    splits = [
        next((place for name, place in places.items() if {*re.split("[^a-z]+", name)} & {*names}), None)
        for names in (TRAINING, VALIDATION)
    ]
    if None not in splits and all(map(_folders_in, splits)):
        training, validation = (one_line(os.path.basename(place), 60) for place in splits)
        raise UserError(
            f"dataset.path: {_shown(folder)} holds {training}/ and {validation}/ with folders inside, so that these two would be "
            f"the classes. Rename them {TRAIN} and {VALIDATION[0]}."
        )


def _folders_in(folder):
    """{name: [path]} of the folders in a folder. Names are normalized, since Unicode can encode the same name in two ways."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"dataset.path: {_shown(folder)} cannot be opened as a folder ({error.strerror}). {LAYOUT}."
        ) from error
    folders = {}
    for entry in entries:
        if not entry.name.startswith(".") and entry.is_dir():
            name = unicodedata.normalize("NFC", os.fsencode(entry.name).decode("utf-8", "replace"))
            folders.setdefault(name, []).append(entry.path)
    return folders


def _files_below(folder):
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.join(place, name)


def _sha256(path, hashes):
    """SHA-256 of the file; "" for a file that cannot be read, which is reported when the images are decoded."""
    try:
        return hashes.sha256(path) if _is_plain(path) else ""
    except OSError:
        return ""


def _is_plain(path):
    """Whether a path is a regular file: not a pipe, which would wait forever, nor a broken link."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _check_complete(folder, names, files):
    """Raises UserError when a class has no files to train on, or no files are left for validation.

    files: [(split, label, path)].
    """
    if len(files) > bounds.FOLDER_FILES:
        raise UserError(
            f"dataset.path: {_shown(folder)} holds {len(files):,} files. Expected at most {bounds.FOLDER_FILES:,}."
        )
    trained = Counter(label for split, label, _ in files if split != "validation")
    empty = [names[label] for label in range(len(names)) if not trained[label]]
    given = any(split for split, _, _ in files)
    if empty:
        raise UserError(
            f"dataset.path: {_shown(folder)}: {_some(empty)} {'has' if len(empty) == 1 else 'have'} no files"
            f"{f' in {TRAIN}/' if given else ''}. Add images, or remove the folder{'s' if len(empty) > 1 else ''}."
        )
    validated = any(split == "validation" for split, _, _ in files) if given else max(trained.values()) > 1
    if not validated:
        raise UserError(
            f"dataset.path: {_shown(folder)} leaves no image to validate on. {LAYOUT}; without a split, a class needs two images."
        )


@dataclass
class Rows:
    """Decoded images, each img_dim × img_dim. files, digests: of each image; bad: (path, reason) of what is not an image."""

    images: np.ndarray
    files: list[File]
    digests: list[bytes]
    bad: list[tuple[str, str]]


def decode(
    files: list[File], img_dim: int, fit: str, workers: int, staging: str | Path, tick: Callable[[], Any]
) -> Rows:
    """The Rows of all files that are images. staging: a folder with space for them; tick: called once per file."""
    decode_file = functools.partial(_decoded, img_dim=img_dim, fit=fit)
    store = tempfile.TemporaryFile(dir=staging)  # noqa: SIM115 (the array keeps it open)
    rows = Rows(None, [], [], [])
    results = in_processes(decode_file, [file.path for file in files], workers)
    for file, result in zip(files, results, strict=True):
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
    """(digest, bytes at img_dim × img_dim) of the image in a file, or the reason why it is not an image."""
    # Listing a folder needs no Pillow.
    from trainoff.prepare import pixels

    if not _is_plain(path):
        return "is not a file, or is a broken link"
    try:
        image = pixels.read(path)
    except pixels.BadImage as error:
        return str(error)
    return pixels.digest(image), pixels.square(image, img_dim, fit).tobytes()


def load(
    contents: Index,
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

    folder: the indexed folder, for messages. on_bad_image: "skip" or "stop". validation_fraction: of each class, where the folder
    gives no split. notes: the numbers of skipped_images and of validation_images_in_training, which are equal to the pixel.
    Raises UserError when a file is not an image and on_bad_image is "stop", and when too few images are left.
    """
    rows = decode(contents.files, img_dim, fit, workers, staging, tick)
    if rows.bad:
        words = bad_images(rows.bad, folder)
        print(words)
        if on_bad_image == "stop":
            them = "it" if len(rows.bad) == 1 else "them"
            raise UserError(f"dataset.path: {words} Repair or remove {them}, or set dataset.on_bad_image: skip.")
    labels = np.array([file.label for file in rows.files], np.int32)
    if all(file.split is None for file in contents.files):
        validates = content_split(rows.digests, labels, validation_fraction)
    else:
        validates = np.array([file.split == "validation" for file in rows.files], bool)
    # By content, so that the order of images depends neither on names nor on the file system.
    order = np.array(sorted(range(len(labels)), key=lambda place: (rows.digests[place], labels[place])), np.int64)
    validates, labels = validates[order], labels[order]
    _check_left(labels, validates, contents.classes)
    trained = {rows.digests[place] for place in order[~validates]}
    shared = sum(rows.digests[place] in trained for place in order[validates])
    if shared:
        print(
            f"{shared} validation images are also training images, equal to the pixel: they do not measure generalization."
        )
    splits = {
        split: (Chosen(rows.images, order[part], rows.digests), labels[part])
        for split, part in (("train", ~validates), ("validation", validates))
    }
    notes = {"skipped_images": len(rows.bad), "validation_images_in_training": shared}
    return splits, notes


class Chosen:
    """Rows of an array in another order, read on demand. digests: of the array's rows, where they are known."""

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

    Equal images are all in the same split, whatever their classes.
    """
    owners = {}
    for digest, label in zip(digests, labels, strict=True):
        owners[digest] = min(label, owners.get(digest, label))
    classes = {}
    for digest, label in owners.items():
        classes.setdefault(label, []).append(digest)
    chosen = set()
    for in_class in classes.values():
        number = min(len(in_class) - 1, max(1, round(fraction * len(in_class))))
        chosen.update(sorted(in_class)[:number])
    return np.array([digest in chosen for digest in digests], bool)


def bad_images(bad: list[tuple[str, str]], folder: str | Path) -> str:
    """A sentence about files that are not images: how many, and for the first few what is wrong."""
    named = "; ".join(f"{one_line(os.path.relpath(path, folder), 80)} {reason}" for path, reason in bad[:NAMED])
    more = f"; and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
    return f"{len(bad):,} {'file is not an image' if len(bad) == 1 else 'files are not images'}: {named}{more}."


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
    shown = ", ".join(one_line(name, 60) for name in names[:NAMED])
    return shown + (f" and {len(names) - NAMED:,} more classes" if len(names) > NAMED else "")


def _shown(path):
    return one_line(Path(path))
