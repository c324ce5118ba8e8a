"""Makes the starting weights of one model at one image size: the same file for every device and replicate."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from trainoff.files import sha256, sha256_of_all, whole, write_text
from trainoff.measure import models
from trainoff.prepare import weights_file
from trainoff.workflow.script import logged


def prepare_weights(architecture, img_dim, made_from, source, train_images, output, facts):
    """Writes the weights below the last layer to `output` (.npz) and facts about them to `facts` (JSON).

    made_from: {"weights": "random", "imagenet" or "file", "seed": …, …}, told in the facts as it is. source: the file to read
    for the last two. train_images: .npy that random
    weights are calibrated on. facts: weights (random, imagenet or file) and weights_sha256: of the file, or of the
    random numbers before calibration, so that equal means the same start on any machine; prepared_sha256, of `output`.
    """
    # Keras' default backend here; a machine may hide its GPUs from this step, it computes next to nothing.
    base = models.build_base(architecture, img_dim)
    if made_from["weights"] == "random":
        models.randomise(base, made_from["seed"])
        digest = hashlib.sha256(b"".join(array.tobytes() for array in base.get_weights())).hexdigest()
        models.calibrate(base, architecture, np.load(train_images, mmap_mode="r")[: models.CALIBRATION_IMAGES])
    else:
        weights_file.load(base, source)
        digest = sha256(source)
    with whole(output) as path:
        models.save(base, path)
    known = {"weights": made_from["weights"], "weights_sha256": digest, "prepared_sha256": sha256_of_all([output])}
    write_text(facts, json.dumps({"made_from": made_from, **known}, indent=1))


if __name__ == "__main__":
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    with logged(snakemake.log[0]):
        prepare_weights(
            architecture=snakemake.params.architecture,
            img_dim=int(snakemake.wildcards.img_dim),
            made_from=snakemake.params.made_from,
            source=snakemake.params.own_file or snakemake.input.get("source"),
            train_images=Path(snakemake.input.image_facts).with_name("train_images.npy"),
            output=snakemake.output.weights,
            facts=snakemake.output.facts,
        )
