"""Small archives in the layout of cifar-10-binary.tar.gz."""

import gzip
import io
import tarfile

import numpy as np

from trainoff.prepare.datasets import CIFAR10_FOLDER, CIFAR10_TRAIN, CIFAR10_VALIDATION


def batch(labels, seed):
    """One batch file: a record of a label byte and random pixels for every label."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    return np.concatenate([np.asarray(labels, np.uint8)[:, None], pixels], axis=1).tobytes()


def cifar10_files(per_class=4):
    """{file name: bytes} of a data set with 5 × per_class training and per_class test images of every class."""
    labels = np.tile(np.arange(10), per_class)
    files = {name: batch(labels, seed) for seed, name in enumerate([*CIFAR10_TRAIN, *CIFAR10_VALIDATION])}
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    return files | {"batches.meta.txt": names.replace(" ", "\n").encode()}


def write_archive(path, files, folder=CIFAR10_FOLDER):
    """Writes {name: bytes or TarInfo} as a .tar.gz with one folder."""
    path.write_bytes(gzip.compress(plain_archive(files, folder)))
    return path


def plain_archive(files, folder=CIFAR10_FOLDER):
    """{name: bytes or TarInfo} as the bytes of a .tar with one folder."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            member = tarfile.TarInfo(f"{folder}/{name}" if folder else name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()
