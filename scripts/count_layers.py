"""Writes catalog/counts.csv: the work per image of each model in catalog/models.yaml, counted by Keras; `make counts` runs it.

Models that are in the file already are skipped: adding one takes about a minute, counting all of them about ten.
"""

import csv
import math
import os
from pathlib import Path
from typing import Any

import yaml

from trainoff.analyze import layer_counts
from trainoff.files import whole

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "catalog/counts.csv"
# Other sizes follow from these (trainoff.analyze.layer_counts), since counts grow with the number of pixels.
SIZES = (96, 224)


def count(model: Any) -> tuple[int, int, int, int, int]:
    """The Work of a built Keras model, as numbers in the order of networks.COLUMNS without its first two.

    Each multiply-add of a kernel counts once for each position of its output.
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
        if len(kernels) == 2:  # a separable convolution also keeps the output of its depthwise part
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
    """Adds the models that are missing from TARGET."""
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
        csv.writer(file, lineterminator="\n").writerows([layer_counts.COLUMNS, *rows])


if __name__ == "__main__":
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    main()
