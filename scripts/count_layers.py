"""Writes catalog/counts.csv: what each model of catalog/models.yaml computes per image, counted by Keras; `make counts` runs it.

A model that is there already is left as it is, so that a new one takes a minute and all of them some ten.
"""

import csv
import math
import os
from pathlib import Path
from typing import Any

import yaml

from trainoff.analyze import networks
from trainoff.files import whole

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "catalog/counts.csv"
# What lies between and beyond follows (trainoff.analyze.networks): counts grow with the pixels.
SIZES = (96, 224)


def count(model: Any) -> tuple[int, int, int, int, int]:
    """The Work of a Keras model as built, as numbers in the order of networks.COLUMNS without its first two.

    An operation counts once for each multiply-add of a kernel at each position of its output.
    """
    import keras

    multiply_adds = activations = outputs = layers = 0
    for layer in _leaf_layers(model):
        layers += 1
        if isinstance(layer, keras.layers.InputLayer):
            continue
        shape = layer.output[0].shape[1:] if isinstance(layer.output, list | tuple) else layer.output.shape[1:]
        outputs += math.prod(shape)
        kernels = [variable for variable in layer.variables if variable.path.endswith("kernel")]
        positions = math.prod(shape[:-1])
        multiply_adds += positions * sum(math.prod(kernel.shape) for kernel in kernels)
        if len(kernels) == 2:  # a separable convolution puts out its depthwise part too
            activations += positions * math.prod(kernels[0].shape[-2:])
        activations += math.prod(shape) if kernels else 0
    return multiply_adds, activations, outputs, layers, model.count_params()


def _leaf_layers(model):
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaf_layers(layer)
        else:
            yield layer


def main() -> None:
    """Adds the models that are missing in TARGET."""
    from trainoff.measure import models

    with open(TARGET, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    architectures = yaml.safe_load((ROOT / "catalog/models.yaml").read_text(encoding="utf-8"))
    for name, architecture in architectures.items():
        if name in {row[0] for row in rows}:
            continue
        for size in (size for size in SIZES if size >= architecture["min_img_dim"]):
            rows.append([name, size, *count(models.build_base(architecture, size))])
            print(*rows[-1], flush=True)
    rows.sort(key=lambda row: (row[0], int(row[1])))
    with whole(TARGET) as path, open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([networks.COLUMNS, *rows])


if __name__ == "__main__":
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    main()
