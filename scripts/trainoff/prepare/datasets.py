"""Published datasets: images and labels, split into training and validation by their publishers."""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainoff import bounds, confined
from trainoff.errors import UserError, one_line
from trainoff.files import sha256

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Cifar:
    """The official binary archive of CIFAR-10 or CIFAR-100: a folder of files of records, each label bytes and then PIXELS.

    sha256, bytes: as downloaded from url. labels: names of the label bytes of a record; names: for each, the file of its class
    names and the number of classes. member_bytes: maximum size of a file, about twice that of the largest.
    """

    name: str
    url: str
    bytes: int
    sha256: str
    folder: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    labels: tuple[str, ...]
    names: dict[str, tuple[str, int]]
    member_bytes: int

    @property
    def record_bytes(self) -> int:
        return len(self.labels) + PIXELS


# https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR10 = Cifar(
    "CIFAR-10",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "cifar-10-batches-bin",
    tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    ("test_batch.bin",),
    ("label",),
    {"label": ("batches.meta.txt", 10)},
    64 * 2**20,
)
CIFAR100 = Cifar(
    "CIFAR-100",
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    168_513_733,
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    "cifar-100-binary",
    ("train.bin",),
    ("test.bin",),
    ("coarse", "fine"),
    {"coarse": ("coarse_label_names.txt", 20), "fine": ("fine_label_names.txt", 100)},
    320 * 2**20,
)
# What fetch_dataset downloads, by the archive's name: url, SHA-256, bytes.
DOWNLOADS = {
    kind.url.rsplit("/", 1)[-1].removesuffix(".tar.gz"): (kind.url, kind.sha256, kind.bytes)
    for kind in (CIFAR10, CIFAR100)
}

# scikit-learn's digits come without a split: the last fifth in file order validates. They are sorted by writer, so most
# validation digits come from writers that the training images do not include.
DIGITS_VALIDATION_IMAGES = 360
ROWS_AT_ONCE = 1024


def load_digits() -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], list[str]]:
    """{"train": (images, labels), "validation": (images, labels)}, class names.

    images: uint8 (n, 8, 8, 3), gray in three equal channels; labels: int32 (n,) from 0 to 9.
    """
    from sklearn import datasets as sklearn_datasets

    digits = sklearn_datasets.load_digits()
    gray = np.round(digits.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(gray[..., np.newaxis], 3, axis=-1)
    labels = digits.target.astype(np.int32)
    cut = len(images) - DIGITS_VALIDATION_IMAGES
    splits = {"train": (images[:cut], labels[:cut]), "validation": (images[cut:], labels[cut:])}
    return splits, [str(digit) for digit in range(10)]


def load_cifar10(
    archive: str | Path, expected_sha256: str | None = None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], list[str]]:
    """load_cifar for CIFAR-10; labels from 0 to 9."""
    return load_cifar(CIFAR10, "label", archive, expected_sha256)


def load_cifar100(
    archive: str | Path, label: str = "fine", expected_sha256: str | None = None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], list[str]]:
    """load_cifar for CIFAR-100; labels from 0 to 99 (label "fine") or to 19 ("coarse")."""
    return load_cifar(CIFAR100, label, archive, expected_sha256)


def load_cifar(
    kind: Cifar, label: str, archive: str | Path, expected_sha256: str | None = None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], list[str]]:
    """{"train": (images, labels), "validation": (images, labels)}, class names, from a binary .tar.gz of CIFAR.

    kind: a Cifar; label: one of its labels. images: uint8 (n, 32, 32, 3); labels: int32 (n,). The split is the publisher's.
    Nothing is unpacked to a path from the archive. Raises UserError when the file is not such an archive or its SHA-256 is not
    `expected_sha256`.
    """
    if expected_sha256 is not None and (digest := sha256(archive)) != expected_sha256:
        raise UserError(
            f"dataset.archive: {archive} has SHA-256 {digest}, expected {expected_sha256}. It was changed or not fully "
            "copied: download it again, or correct dataset.sha256."
        )
    if not os.path.isfile(archive):
        raise UserError(f"dataset.archive: there is no file {one_line(archive)}.")
    with tempfile.TemporaryDirectory(prefix="trainoff-") as folder:
        files = _members(archive, folder, kind)
        return _splits(files, archive, kind, label)


def _splits(files, archive, kind, label):
    """The return value of load_cifar. files: {name: path of that file from the archive}."""
    splits = {}
    for split, names in {"train": kind.train, "validation": kind.validation}.items():
        parts = [_records(files[name], f"{name} in {archive}", kind, label) for name in names]
        splits[split] = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    names_file, classes = kind.names[label]
    names = files[names_file].read_text("ascii", errors="replace").split() if names_file in files else []
    return splits, names[:classes] if len(names) >= classes else [str(number) for number in range(classes)]


def _members(archive, folder, kind):
    """{name: path} of the archive's files, written to `folder`; rejects what the official archive does not contain."""
    described = {file for file, _ in kind.names.values()}
    wanted = {f"{kind.folder}/{name}": kind.member_bytes for name in (*kind.train, *kind.validation, *described)}
    size = os.path.getsize(archive)
    if size > bounds.ARCHIVE_FILE_BYTES:
        raise UserError(
            f"dataset.archive: {one_line(archive)} has {size:,} bytes, more than {bounds.ARCHIVE_FILE_BYTES >> 30} GiB. Expected "
            f"the binary version of {kind.name}."
        )
    written = confined.call(
        "trainoff.prepare.archives:extract",
        f"dataset.archive: {one_line(archive)}",
        content_bytes=size,
        path=str(archive),
        wanted=wanted,
        folder=folder,
    )
    files = {name.removeprefix(f"{kind.folder}/"): Path(folder, file) for name, file in written.items()}
    missing = [name for name in (*kind.train, *kind.validation) if name not in files]
    if missing:
        raise UserError(
            f"dataset.archive: {one_line(archive)} lacks {', '.join(missing)}. Expected the binary version of {kind.name}, a "
            f"folder {kind.folder} with {', '.join([*kind.train, *kind.validation])}."
        )
    return files


def _records(path, where, kind, label):
    """images (n, 32, 32, 3), labels (n,) of one file of records."""
    size = path.stat().st_size
    if not size or size % kind.record_bytes:
        raise UserError(
            f"dataset.archive: {where} has {size} bytes, not a whole number of records of {kind.record_bytes} bytes "
            f"(labels: {', '.join(kind.labels)}; 3,072 pixels). Expected the binary version of {kind.name}."
        )
    # Memory-mapped, so that labels are checked before the pixels take memory.
    records = np.memmap(path, np.uint8, "r").reshape(-1, kind.record_bytes)
    labels = records[:, kind.labels.index(label)].astype(np.int32)
    _, classes = kind.names[label]
    if labels.max() >= classes:
        first = int(np.argmax(labels >= classes))
        raise UserError(
            f"dataset.archive: {where}: record {first} has {label} {labels[first]}. Expected 0 to {classes - 1}: {kind.name}."
        )
    return records[:, len(kind.labels) :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def balanced_subset(labels: np.ndarray, count: int | None, class_names: Sequence[str], split: str) -> np.ndarray:
    """Indices of `count` images, the first of each class in equal numbers, in file order; all of them if `count` is None.

    A larger subset contains every smaller one. Raises UserError when a class has too few images.
    """
    if count is None:
        return np.arange(len(labels))
    per_class = count // len(class_names)
    counts = np.bincount(labels, minlength=len(class_names))
    if counts.min() < per_class:
        fewest = int(np.argmin(counts))
        maximum = counts[fewest] * len(class_names)
        raise UserError(
            f"images.{split}: {count} images need {per_class} of every class, but class {one_line(class_names[fewest], 60)} "
            f"has {counts[fewest]}. Expected {f'at most {maximum}, or ' if maximum else ''}null for all."
        )
    by_class = np.argsort(labels, kind="stable")
    starts = np.cumsum(counts) - counts
    return np.sort(np.concatenate([by_class[start : start + per_class] for start in starts]))


def identity(splits: Mapping[str, tuple[Any, np.ndarray]]) -> str:
    """SHA-256 of all pixels and labels of both splits before resizing: equal for the same images, on any machine."""
    digest = hashlib.sha256()
    for split in sorted(splits):
        images, labels = splits[split]
        digest.update(f"{split} {images.shape}".encode())
        if hasattr(images, "content"):
            digest.update(images.content())
        else:
            for start in range(0, len(images), ROWS_AT_ONCE):
                digest.update(np.ascontiguousarray(images[start : start + ROWS_AT_ONCE]).tobytes())
        digest.update(labels.astype("<i4").tobytes())
    return digest.hexdigest()
