"""What a network computes and stores per image, counted once by Keras on the model itself (catalog/counts.csv).

The counts are a committed table rather than a rule, so that tables need no framework: counting takes seconds per model and size,
and published figures also concern models that the experiment does not train. `make counts` writes the table.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from trainoff.errors import UserError, one_line

COLUMNS = ["model", "img_dim", "multiply_adds", "activations", "outputs", "layers", "parameters"]
# Bytes per number stored between forward and backward pass.
BYTES = {"float32": 4, "mixed_float16": 2, "mixed_bfloat16": 2}


@dataclasses.dataclass(frozen=True)
class Work:
    """The forward pass of one image through a network without its last layer, which adds next to nothing.

    multiply_adds: of convolutions and dense layers. activations: values that these put out. outputs: values that all layers put
    out. layers: number of layers. parameters: number of weights, whatever the image.
    """

    multiply_adds: float
    activations: float
    outputs: float
    layers: float
    parameters: float


class Counts:
    """The table of counts: `work(model, img_dim)`."""

    def __init__(self, table):
        self._by_model = {name: group.sort_values("img_dim") for name, group in table.groupby("model")}

    def __contains__(self, model):
        return model in self._by_model

    def work(self, model: str, img_dim: int) -> Work | None:
        """The Work of a model at an image size, None for a model that was not counted.

        Between two counted sizes, and beyond the last, it grows with the number of pixels, which is exact if both sizes are
        multiples of 32, and otherwise off by a few percent.
        """
        if model not in self._by_model:
            return None
        table = self._by_model[model]
        pixels = table["img_dim"].to_numpy(float) ** 2
        right = int(np.clip(np.searchsorted(pixels, img_dim**2), 1, len(pixels) - 1)) if len(pixels) > 1 else 0
        left = max(right - 1, 0)
        share = (img_dim**2 - pixels[left]) / (pixels[right] - pixels[left]) if right > left else 0.0
        values = {}
        for name in ("multiply_adds", "activations", "outputs", "layers", "parameters"):
            low, high = table[name].iloc[left], table[name].iloc[right]
            values[name] = max(float(low + share * (high - low)), float(min(low, high)) * 0.05)
        return Work(**values)


def read(path: str | Path) -> Counts:
    """The Counts in a CSV file with the columns COLUMNS. Raises UserError for any other file."""
    try:
        table = pd.read_csv(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {one_line(error)}. Expected a CSV file; `make counts` writes it.") from error
    if list(table.columns) != COLUMNS:
        raise UserError(f"{path}: the columns are {', '.join(table.columns)}. Expected {', '.join(COLUMNS)}.")
    return Counts(table)


def memory_gb(work: Work, batch_size: int, precision: str, trainable: bool) -> tuple[float, float]:
    """(minimum, usual) memory in GB (10^9 bytes) that a training takes.

    Usual: weights, gradients and two moments of Adam in float32, and every layer's output stored for the backward pass; that is
    what Keras on TensorFlow takes (ResNet50, 224 px, batch 128: 19 GB here, 21 GB published for an M1 Max; MobileNetV2: 11 and
    13). Minimum: half of the outputs, which frameworks reach that store a layer and its activation only once. Training the last
    layer alone needs no backward pass: only two of the largest outputs, about a tenth of all, are held at a time.
    """
    numbers = work.outputs * batch_size * BYTES[precision]
    if not trainable:
        held = work.parameters * 4
        return (held + 0.05 * numbers) / 1e9, (held + 0.2 * numbers) / 1e9
    held = work.parameters * 16
    return (held + 0.5 * numbers) / 1e9, (held + numbers) / 1e9
