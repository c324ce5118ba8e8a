"""Small archives in the layout of cifar-10-binary.tar.gz."""

import gzip
import io
import tarfile

import numpy as np

from trainoff.prepare.datasets import CIFAR10


def batch(labels, seed):
    """A batch file with a record for every label: a label byte and random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    return np.concatenate([np.asarray(labels, np.uint8)[:, None], pixels], axis=1).tobytes()


def cifar10_files(per_class=4):
    """{file name: bytes} of a data set with 5 × per_class training and per_class test images of every class."""
    labels = np.tile(np.arange(10), per_class)
    files = {name: batch(labels, seed) for seed, name in enumerate([*CIFAR10.train, *CIFAR10.validation])}
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    return files | {"batches.meta.txt": names.replace(" ", "\n").encode()}


def cifar100_files(per_class=2):
    """The same for CIFAR-100: 100 fine classes, five in each of 20 coarse ones."""
    fine = np.tile(np.arange(100), per_class)

    def records(seed):
        rows = np.frombuffer(batch(fine, seed), np.uint8).reshape(len(fine), -1)
        return np.concatenate([(fine // 5).astype(np.uint8)[:, None], rows], axis=1).tobytes()

    return {
        "train.bin": records(0),
        "test.bin": records(1),
        "fine_label_names.txt": "\n".join(f"fine_{number}" for number in range(100)).encode(),
        "coarse_label_names.txt": "\n".join(f"coarse_{number}" for number in range(20)).encode(),
    }


def write_archive(path, files, folder=CIFAR10.folder):
    """Writes {name: bytes or TarInfo} as a .tar.gz with one folder."""
    path.write_bytes(gzip.compress(plain_archive(files, folder)))
    return path


def plain_archive(files, folder=CIFAR10.folder):
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
