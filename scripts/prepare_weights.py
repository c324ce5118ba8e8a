"""Makes the starting weights of one model at one image size: the same file for every device and replicate."""

import hashlib
import json
import os

import numpy as np

from trainoff import models
from trainoff.files import sha256, sha256_of_all, whole, write_text
from trainoff.script import logged


def prepare_weights(architecture, img_dim, weights, source, seed, train_images, output, facts):
    """Writes the weights below the last layer to `output` (.npz) and facts about them to `facts` (JSON).

    weights: "random", "imagenet" or a path; source: the file to read for the last two. train_images: .npy that random
    weights are calibrated on. facts: weights (random, imagenet or file) and weights_sha256: of the file, or of the
    random numbers before calibration, so that equal means the same start on any machine; prepared_sha256, of `output`.
    """
    # Keras' default backend here; a machine may hide its GPUs from this step, it computes next to nothing.
    base = models.build_base(architecture, img_dim)
    if weights == "random":
        models.randomise(base, seed)
        digest = hashlib.sha256(b"".join(array.tobytes() for array in base.get_weights())).hexdigest()
        models.calibrate(base, architecture, np.load(train_images, mmap_mode="r")[: models.CALIBRATION_IMAGES])
    else:
        models.load_pretrained(base, source)
        digest = sha256(source)
    with whole(output) as path:
        models.save(base, path)
    kind = weights if weights in ("random", "imagenet") else "file"
    prepared = sha256_of_all([output])
    write_text(facts, json.dumps({"weights": kind, "weights_sha256": digest, "prepared_sha256": prepared}, indent=1))


if __name__ == "__main__":
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    with logged(snakemake.log[0]):
        prepare_weights(
            architecture=snakemake.params.architecture,
            img_dim=int(snakemake.wildcards.img_dim),
            weights=snakemake.params.weights,
            source=snakemake.input.get("source"),
            seed=snakemake.params.seed,
            train_images=snakemake.input.train_images,
            output=snakemake.output.weights,
            facts=snakemake.output.facts,
        )
