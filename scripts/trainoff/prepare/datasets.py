"""Images and labels, split into training and validation by their publishers."""

import hashlib
import tarfile
import zlib
from pathlib import PurePosixPath

import numpy as np

from trainoff.errors import UserError, one_line
from trainoff.files import sha256

# https://www.cs.toronto.edu/~kriz/cifar.html; size and hash as downloaded from there.
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_BYTES = 170_052_171
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
# The archive's only folder; its files hold records of one label byte and 3,072 pixel bytes.
CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]
CIFAR10_VALIDATION = ["test_batch.bin"]
CIFAR10_RECORD_BYTES = 1 + 3 * 32 * 32
CIFAR10_FILE_BYTES_LIMIT = 64 * 2**20  # twice the real size: what claims more is no such archive

# scikit-learn's digits come without a split: the last fifth in file order validates. They are sorted by writer, so
# most validation digits come from hands that no training image shows.
DIGITS_VALIDATION_IMAGES = 360


def load_digits():
    """{"train": (images, labels), "validation": (images, labels)}, class names.

    images: uint8 (n, 8, 8, 3), grey in three equal channels; labels: int32 (n,) from 0 to 9.
    """
    from sklearn import datasets as sklearn_datasets

    digits = sklearn_datasets.load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    labels = digits.target.astype(np.int32)
    cut = len(images) - DIGITS_VALIDATION_IMAGES
    splits = {"train": (images[:cut], labels[:cut]), "validation": (images[cut:], labels[cut:])}
    return splits, [str(digit) for digit in range(10)]


def load_cifar10(archive, expected_sha256=None):
    """{"train": (images, labels), "validation": (images, labels)}, class names, from a cifar-10-binary .tar.gz.

    images: uint8 (n, 32, 32, 3); labels: int32 (n,) from 0 to 9. Training images are those of the data batches,
    validation images those of the test batch. Nothing is unpacked to disk.
    Raises UserError when the file is not such an archive or its SHA-256 is not `expected_sha256`.
    """
    if expected_sha256 is not None and (found := sha256(archive)) != expected_sha256:
        raise UserError(
            f"dataset.archive: {archive} has SHA-256 {found}, expected {expected_sha256}. It was changed or not fully "
            "copied: get it again, or correct dataset.sha256."
        )
    try:
        with tarfile.open(archive, "r:gz") as tar:
            files = _members(tar, archive)
    except (tarfile.TarError, EOFError, OSError, ValueError, RecursionError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise UserError(f"dataset.archive: there is no file {archive}.") from error
        raise UserError(
            f"dataset.archive: {archive} cannot be read to its end as .tar.gz ({one_line(error)}). It is truncated or no such "
            "archive: get it again."
        ) from error
    splits = {}
    for split, names in {"train": CIFAR10_TRAIN, "validation": CIFAR10_VALIDATION}.items():
        parts = [_records(files[name], f"{name} in {archive}") for name in names]
        splits[split] = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    names = files["batches.meta.txt"].decode("ascii", errors="replace").split()
    return splits, names[:10] if len(names) >= 10 else [str(label) for label in range(10)]


def _members(tar, archive):
    """Bytes of the archive's files by name; refuses what the official archive would not hold."""
    wanted = {*CIFAR10_TRAIN, *CIFAR10_VALIDATION, "batches.meta.txt"}
    found = {}
    for member in tar:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(
                f"dataset.archive: {archive} has a member that points outside of it ({member.name[:200]!r}). Such an archive is "
                "not used; get the official one."
            )
        if member.size < 0:
            # What follows such a member is the member itself, for ever.
            raise UserError(
                f"dataset.archive: {member.name[:200]!r} in {archive} claims less than no bytes. Get the archive again."
            )
        if path.name not in wanted or path.parts[0] != CIFAR10_FOLDER:
            continue
        if not member.isfile():
            raise UserError(
                f"dataset.archive: {member.name[:200]!r} in {archive} is not a plain file. Get the archive again."
            )
        if member.size > CIFAR10_FILE_BYTES_LIMIT:
            raise UserError(
                f"dataset.archive: {member.name[:200]!r} in {archive} claims {member.size} bytes, more than a file of CIFAR-10 "
                "has."
            )
        found[path.name] = tar.extractfile(member).read()
    missing = sorted(wanted - set(found) - {"batches.meta.txt"})
    if missing:
        raise UserError(
            f"dataset.archive: {archive} lacks {', '.join(missing)}. Expected the binary version of CIFAR-10, a folder "
            f"{CIFAR10_FOLDER} with five data batches and one test batch."
        )
    found.setdefault("batches.meta.txt", b"")
    return found


def _records(data, where):
    """images (n, 32, 32, 3), labels (n,) of one batch file."""
    if not data or len(data) % CIFAR10_RECORD_BYTES:
        raise UserError(
            f"dataset.archive: {where} has {len(data)} bytes, not a whole number of records of {CIFAR10_RECORD_BYTES} bytes "
            "(one label, 3,072 pixels). Expected the binary version of CIFAR-10."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, CIFAR10_RECORD_BYTES)
    labels = records[:, 0].astype(np.int32)
    if labels.max() > 9:
        first = int(np.argmax(labels > 9))
        raise UserError(
            f"dataset.archive: {where}: record {first} has label {labels[first]}. Expected 0 to 9: CIFAR-10, not CIFAR-100."
        )
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def balanced_subset(labels, count, classes, split):
    """Indices of `count` images, the first of each class in equal numbers, in file order; all of them if `count` is None.

    A larger subset holds every smaller one. Raises UserError when a class has too few images.
    """
    if count is None:
        return np.arange(len(labels))
    per_class = count // classes
    chosen = []
    for label in range(classes):
        of_class = np.flatnonzero(labels == label)
        if len(of_class) < per_class:
            fewest = min(int(np.sum(labels == each)) for each in range(classes))
            raise UserError(
                f"images.{split}: {count} images need {per_class} of every class, but class {label} has {len(of_class)}. "
                f"Expected at most {fewest * classes}, or null for all."
            )
        chosen.append(of_class[:per_class])
    return np.sort(np.concatenate(chosen))


def identity(splits):
    """SHA-256 over all pixels and labels of both splits before resizing: equal means the same images, on any machine."""
    digest = hashlib.sha256()
    for split in sorted(splits):
        images, labels = splits[split]
        digest.update(f"{split} {images.shape}".encode())
        digest.update(np.ascontiguousarray(images).tobytes())
        digest.update(labels.astype("<i4").tobytes())
    return digest.hexdigest()
