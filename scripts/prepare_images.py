"""Writes the images of both splits at one size: uint8 arrays that trainings map into memory."""

import json

import numpy as np
from PIL import Image

from trainoff.files import sha256_of_all, whole, write_text
from trainoff.prepare import datasets
from trainoff.workflow.script import logged


def prepare_images(made_from, archive, archive_sha256, img_dim, outputs, facts):
    """Writes images (n, img_dim, img_dim, 3) uint8 and labels (n,) int32 of each split as .npy, and facts about them.

    made_from: {"dataset": "digits" or "cifar10", "images": {"train": n or None, "validation": n or None}, …}, told in the
    facts as it is. archive: path for cifar10; archive_sha256: that it must have, None for any.
    outputs: {"train_images": path, "train_labels": path, "validation_images": …, "validation_labels": …}.
    facts: path of a JSON file: made_from, dataset, dataset_sha256 (before resizing), images_sha256 (after), class_names.
    """
    counts = made_from["images"]
    if made_from["dataset"] == "digits":
        splits, class_names = datasets.load_digits()
    else:
        splits, class_names = datasets.load_cifar10(archive, archive_sha256)
    for split, (images, labels) in splits.items():
        chosen = datasets.balanced_subset(labels, counts[split], len(class_names), split)
        splits[split] = images[chosen], labels[chosen]
    for split, (images, labels) in splits.items():
        write_resized(outputs[f"{split}_images"], images, img_dim)
        with whole(outputs[f"{split}_labels"]) as path, open(path, "wb") as file:
            np.save(file, labels, allow_pickle=False)
        print(f"{split}: {len(labels)} images at {img_dim} px")
    write_text(
        facts,
        json.dumps(
            {
                "made_from": made_from,
                "dataset": made_from["dataset"],
                "dataset_sha256": datasets.identity(splits),
                "images_sha256": sha256_of_all(outputs.values()),
                "class_names": class_names,
            },
            indent=1,
        ),
    )


def write_resized(output, images, img_dim):
    """Writes `images`, uint8 (n, height, width, 3), scaled bilinearly to img_dim × img_dim.

    One at a time, since a data set scaled up may be larger than memory. Pillow computes in integers: the bytes are the
    same on every machine.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(images), img_dim, img_dim, 3)}
    # Written, not mapped into memory: a full disk then is an error that can be told, and no bus error.
    with whole(output) as path, open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for image in images:
            file.write(Image.fromarray(image).resize((img_dim, img_dim), Image.Resampling.BILINEAR).tobytes())


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        prepare_images(
            made_from=snakemake.params.made_from,
            archive=snakemake.params.own_archive or snakemake.input.get("archive"),
            archive_sha256=snakemake.params.sha256,
            img_dim=int(snakemake.wildcards.img_dim),
            outputs={name: path for name, path in snakemake.output.items() if name != "facts"},
            facts=snakemake.output.facts,
        )
