"""Samples that are no images are called so wherever speed is shown."""

import pytest

from trainoff import configurations, units
from trainoff.supervise import progress

RUN = {
    "device": "cpu",
    "model": "lstm",
    "batch_size": 32,
    "trainable": True,
    "precision": "float32",
    "xla": False,
    "learning_rate": 0.1,
    "optimizer": "adam",
    "replicate": 1,
}


@pytest.mark.parametrize("img_dim, word, size", [(96, "images", " · 96 px"), (0, "samples", "")])
def test_runs_are_told_in_their_unit(img_dim, word, size):
    run = RUN | {"img_dim": img_dim}
    assert progress.describe(run).startswith(f"cpu · lstm · batch 32{size} · all weights · ")
    window = {"epoch": 1, "images": 100, "seconds": 2.0, "val_accuracy": None, "warm_up": False}
    assert progress.event_words({"event": "window", "window": window}, img_dim) == f"epoch 1: 50 {word}/s"
    record = {"run": run, "status": "ok", "throughput": {"images_per_second": 50.0}}
    assert progress.outcome_words(record) == f"finished at 50 {word}/s"
    values = tuple(run[axis] for axis in configurations.AXES)
    assert configurations.label(values, ["batch_size", "img_dim", "trainable"]) == f"batch 32{size} · all weights"


def test_only_words_are_changed():
    text = "Training images per second; per image. images_per_second images/img_dim~0 images/s image.png"
    samples = "Training samples per second; per sample. images_per_second images/img_dim~0 samples/s image.png"
    assert units.worded(text, [0, 0]) == samples
    keys = '{"images": 640, "unit": "images/s", "label": "J per image"}\nimages:\n  train: null\nimages: {train: 1}; images.train'
    assert units.worded(keys, [0]) == keys.replace("images/s", "samples/s").replace("per image", "per sample")
    assert units.worded(text, [0, 96]) == units.worded(text, [96]) == text
