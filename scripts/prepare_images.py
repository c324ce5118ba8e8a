"""Writes the training and validation data: arrays that runs map into memory, with images at one size."""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image
from tqdm import tqdm

from trainoff.errors import UserError
from trainoff.files import Hashes, sha256_of_all, whole, write_text
from trainoff.machine import devices
from trainoff.prepare import arrays, datasets, folders, survey
from trainoff.prepare.parallel import in_order
from trainoff.workflow.script import logged

# Number of rows that a thread resizes, or that are copied, at a time.
BLOCK = 64


def prepare_images(
    made_from: dict[str, Any],
    dataset: dict[str, Any],
    source: str | Path | None,
    img_dim: int,
    outputs: Mapping[str, str | Path],
    facts: str | Path,
    terminal: TextIO | None = None,
) -> None:
    """Writes images (n, img_dim, img_dim, 3) uint8 and labels (n,) int32 of each split as .npy, and facts about them.

    For the dataset `arrays`, samples (n, …) of any shape instead of images. Decoding and resizing use all cores.

    made_from: {"dataset": its name, "images": {"train": n or None, "validation": n or None}, …}, copied into the facts.
    dataset: the experiment's key. source: path of its archive or .npz file, or None.
    outputs: {"train_images": path, "train_labels": path, "validation_images": …, "validation_labels": …}.
    facts: path of a JSON file: made_from, dataset, dataset_sha256 (before resizing), images_sha256 (after), class_names,
    class_counts by split, and for the user's images how many files were skipped and how many validation images are also
    training images. terminal: stream for a progress bar, None for none.
    Raises UserError when the data does not match the experiment or has changed since the start.
    """
    workers = devices.usable_threads()
    staging = Path(facts).parent
    bar = functools.partial(tqdm, file=terminal, disable=terminal is None, unit="", mininterval=1, delay=1)
    splits, class_names, notes = _load(made_from, dataset, source, img_dim, staging, workers, bar)
    for split, (images, labels) in splits.items():
        chosen = datasets.balanced_subset(labels, made_from["images"][split], class_names, split)
        splits[split] = images[chosen], labels[chosen]
    with bar(total=sum(len(labels) for _, labels in splits.values()), desc="writing") as written:
        for split, (images, labels) in splits.items():
            if dataset["name"] in ("folder", "arrays"):
                rows = _copied(images)
                shape = images.shape
            else:
                rows = _resized(images, img_dim, workers)
                shape = len(images), img_dim, img_dim, 3
            write_rows(outputs[f"{split}_images"], rows, shape, images.dtype, written.update)
            with whole(outputs[f"{split}_labels"]) as path, open(path, "wb") as file:
                np.save(file, labels, allow_pickle=False)
            print(f"{split}: {len(labels)} samples of shape {shape[1:]}, {len(class_names)} classes")
    write_text(
        facts,
        json.dumps(
            {
                "made_from": made_from,
                "dataset": made_from["dataset"],
                "dataset_sha256": datasets.identity(splits),
                "images_sha256": sha256_of_all(outputs.values()),
                "class_names": class_names,
                "class_counts": {
                    split: np.bincount(labels, minlength=len(class_names)).tolist()
                    for split, (_, labels) in splits.items()
                },
                **notes,
            },
            indent=1,
        ),
    )


def _load(made_from, dataset, source, img_dim, staging, workers, bar):
    """{split: (images, labels)}, class names and notes for the facts. Images of a folder have their final size."""
    name = dataset["name"]
    if name == "digits":
        return *datasets.load_digits(), {}
    if name == "cifar10":
        return *datasets.load_cifar10(source, dataset.get("sha256")), {}
    if name == "cifar100":
        return *datasets.load_cifar100(source, dataset.get("labels", "fine"), dataset.get("sha256")), {}
    hashes = Hashes(survey.NOTES)
    if name == "arrays":
        _check_unchanged(made_from, dataset, hashes.sha256(dataset["path"]))
        return *arrays.load(source, staging, bar), {}
    contents = folders.index(dataset["path"], hashes, workers)
    _check_unchanged(made_from, dataset, contents.sha256)
    with bar(total=len(contents.files), desc="reading images") as read:
        splits, notes = folders.load(
            contents,
            dataset["path"],
            img_dim,
            fit=made_from["fit"],
            on_bad_image=dataset.get("on_bad_image", "stop"),
            validation_fraction=made_from["validation_fraction"],
            workers=workers,
            staging=staging,
            tick=read.update,
        )
    return splits, contents.classes, notes


def _check_unchanged(made_from, dataset, files_sha256):
    if files_sha256 != made_from["files_sha256"]:
        raise UserError(
            f"dataset.path: {dataset['path']} has changed since the start. Start again once it stays as it is."
        )


def _copied(images):
    """The rows of an array, a few at a time, as bytes."""
    return (np.ascontiguousarray(images[start : start + BLOCK]).tobytes() for start in range(0, len(images), BLOCK))


def _resized(images, img_dim, workers):
    """The rows of images, uint8 (n, height, width, 3), scaled bilinearly to img_dim × img_dim, a few at a time, as bytes.

    Pillow computes with integers, so the bytes are the same on every machine.
    """

    def block(start):
        return b"".join(
            Image.fromarray(image).resize((img_dim, img_dim), Image.Resampling.BILINEAR).tobytes()
            for image in images[start : start + BLOCK]
        )

    return in_order(block, range(0, len(images), BLOCK), workers)


def write_rows(
    output: str | Path, rows: Iterable[bytes], shape: tuple[int, ...], dtype: np.dtype, tick: Callable[[int], Any]
) -> None:
    """Writes an array of the given shape and type as .npy, a few rows at a time, since it may be larger than memory.

    rows: its rows as bytes, BLOCK at a time; tick: called with the number of rows each time.
    """
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": tuple(map(int, shape)),
    }
    # Written, not mapped into memory, so that a full disk raises an error that can be reported, not a bus error.
    with whole(output) as path, open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start, data in zip(range(0, shape[0], BLOCK), rows, strict=True):
            file.write(data)
            tick(min(BLOCK, shape[0] - start))


if __name__ == "__main__":
    _dataset = snakemake.params.dataset
    with logged(snakemake.log[0]) as terminal:
        prepare_images(
            made_from=snakemake.params.made_from,
            dataset=_dataset,
            source=_dataset.get("archive") or _dataset.get("path") or snakemake.input.get("source"),
            img_dim=int(snakemake.wildcards.img_dim),
            outputs={name: path for name, path in snakemake.output.items() if name != "facts"},
            facts=snakemake.output.facts,
            terminal=terminal,
        )
