"""Prepares the starting weights of one model at one image size: the same file for every device and replicate."""

import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainoff.errors import UserError
from trainoff.experiment import own_code
from trainoff.files import sha256, sha256_of_all, whole, write_text
from trainoff.machine import variables
from trainoff.measure import models, own
from trainoff.prepare import weights_file
from trainoff.workflow.script import logged


def prepare_weights(
    architecture: dict[str, Any],
    img_dim: int,
    made_from: dict[str, Any],
    source: str | Path | None,
    train_images: str | Path,
    output: str | Path,
    facts: str | Path,
) -> None:
    """Writes the weights below the last layer to `output` (.npz) and facts about them to `facts` (JSON).

    made_from: {"weights": "random", "imagenet" or "file", "seed": …, …}, copied into the facts. source: the file to read for the
    last two. train_images: .npy file that random weights are calibrated on. facts: weights (random, imagenet or file);
    weights_sha256, of the file or of the random numbers before calibration, so that it is equal for the same start on any
    machine; prepared_sha256, of `output`.
    """
    # Uses the backend set below and no GPU, since there is little to compute.
    base = models.build_base(architecture, img_dim)
    if made_from["weights"] == "random":
        models.randomize(base, made_from["seed"])
        digest = hashlib.sha256(b"".join(array.tobytes() for array in base.get_weights())).hexdigest()
        models.calibrate(base, architecture, np.load(train_images, mmap_mode="r")[: models.CALIBRATION_IMAGES])
    else:
        weights_file.load(base, source)
        digest = sha256(source)
    with whole(output) as path:
        models.save(base, path)
    _write_facts(facts, made_from, digest, output)


def prepare_own(
    architecture: dict[str, Any],
    made_from: dict[str, Any],
    source: str | Path | None,
    image_facts: str | Path,
    train_images: str | Path,
    output: str | Path,
    facts: str | Path,
    timeout_seconds: float,
    say: Callable[[str], None],
) -> None:
    """The same for the user's own model: builds and checks it, and writes the weights of all its layers.

    image_facts: JSON file beside `train_images`. timeout_seconds: limit for building the model. say: called with a line of text
    while that takes long. For the rest see prepare_weights. Raises UserError for whatever is wrong with the user's file.
    """
    import keras

    own_code.require_unchanged(architecture)
    classes = len(json.loads(Path(image_facts).read_text(encoding="utf-8"))["class_names"])
    inputs = np.load(train_images, mmap_mode="r")[: models.CALIBRATION_IMAGES]
    keras.utils.set_random_seed(made_from["seed"])
    with _time_limit(timeout_seconds, own.name_of(architecture)):
        run = {"architecture": architecture, "classes": classes, "trainable": True, "seed": made_from["seed"]}
        model, base = models.build(run, tuple(inputs.shape[1:]), inputs.dtype.name, say=say)
    if made_from["weights"] == "file":
        weights_file.load(base, source)
    own.check_outputs(architecture, model.predict(inputs, verbose=0))
    digest = sha256(source) if made_from["weights"] == "file" else own.digest(base, architecture["sha256"])
    with whole(output) as path:
        own.save(base, path)
    _write_facts(facts, made_from, digest, output)


def _write_facts(facts, made_from, digest, output):
    known = {"weights": made_from["weights"], "weights_sha256": digest, "prepared_sha256": sha256_of_all([output])}
    write_text(facts, json.dumps({"made_from": made_from, **known}, indent=1))


@contextlib.contextmanager
def _time_limit(seconds, name):
    """Raises UserError if the block takes longer; the message says where in the user's file, if it was there."""
    words = (
        f"no model after {seconds / 60:g} min (protocol.timeout_minutes), and every run builds it. Expected a function "
        "that only builds the model"
    )

    def stop(*_):
        raise TimeoutError(words)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except TimeoutError:
        raise UserError(f"{name}: {words}.") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    _is_own = own_code.is_own(snakemake.params.architecture)
    with logged(snakemake.log[0]) as terminal, variables.closed_here(downloads=_is_own):
        _common = {
            "architecture": snakemake.params.architecture,
            "made_from": snakemake.params.made_from,
            "source": snakemake.params.own_file or snakemake.input.get("source"),
            "train_images": Path(snakemake.input.image_facts).with_name("train_images.npy"),
            "output": snakemake.output.weights,
            "facts": snakemake.output.facts,
        }
        if _is_own:
            prepare_own(
                **_common,
                image_facts=snakemake.input.image_facts,
                timeout_seconds=60 * snakemake.resources.timeout_minutes,
                say=lambda words: terminal.write(f"{words}\n"),
            )
        else:
            prepare_weights(**_common, img_dim=int(snakemake.wildcards.img_dim))
