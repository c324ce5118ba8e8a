"""Prints the losses of the first steps under each setting of the training, as this Python's framework computes them.

    KERAS_BACKEND=torch python tests/first_losses.py torch FOLDER

As a run is trained, on eight made-up images: a window of one step each. A JSON object {setting: [losses]}.
"""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

# Weights that are the same everywhere, without anything drawn at random; what is mirrored matters.
MODEL = """
import keras
import numpy as np
from keras import layers


def build(input_shape, classes):
    generator = np.random.default_rng(0)

    def drawn(shape, dtype=None):
        return keras.ops.convert_to_tensor(generator.normal(scale=0.1, size=shape), dtype)

    pixels = keras.Input(input_shape)
    features = layers.Conv2D(4, 3, activation="relu", kernel_initializer=drawn)(layers.Rescaling(1 / 255)(pixels))
    return keras.Model(pixels, layers.Dense(classes, kernel_initializer=drawn)(layers.Flatten()(features)))
"""
SETTINGS = [
    {},
    {"optimizer": "adamw"},
    {"optimizer": "sgd"},
    {"weight_decay": 0.1},
    {"gradient_accumulation": 2},
    {"learning_rate_decay": {"rate": 0.5, "steps": 2}},
    {"cosine_decay": True},
    {"warm_up_steps": 4},
    {"augment": "flip"},
    {"optimizer": "adamw", "gradient_accumulation": 2, "cosine_decay": True, "warm_up_steps": 2, "augment": "flip"},
]
STEPS, IMAGES = 6, 8


def losses(framework, backend, folder, settings):
    """The losses of the first step, and of STEPS steps after it."""
    from trainoff.measure import protocol

    device = {"name": framework, "backend": framework, "accelerator": "cpu", "index": 0, "threads": 1}
    run = {
        "device": device,
        "architecture": {"function": f"{folder / 'small.py'}:build"},
        "batch_size": IMAGES,
        "trainable": True,
        "precision": "float32",
        "xla": framework == "jax",
        "learning_rate": 0.01,
        "learning_rate_decay": None,
        "dropout": 0.0,
        "batch_norm_momentum": None,
        "seed": 0,
        "classes": 3,
        "epochs": STEPS,
        "images_per_epoch": IMAGES,
        "warm_up_epochs": 0,
    }
    names = ("train_images", "train_labels", "validation_images", "validation_labels")
    files = {name: folder / f"{name}.npy" for name in names} | {"weights": None}
    events = []
    protocol.train(run | settings, files, backend, events.append)
    first = [event["loss"] for event in events if event["event"] == "first_step"]
    return first + [event["window"]["loss"] for event in events if event["event"] == "window"]


def time_own_fit(folder):
    """A plain `fit` on these images, timed as in a script of the user's own: leaves a bundle in `folder`/timings."""
    import keras

    from trainoff import Timer

    sys.path.insert(0, str(folder))
    import small

    images, labels = (np.load(folder / f"train_{what}.npy") for what in ("images", "labels"))
    model = small.build(images.shape[1:], 3)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    timer = Timer(folder / "timings", work="eight images", batch_size=4)
    held_back = images, labels
    model.fit(images, labels, batch_size=4, epochs=3, validation_data=held_back, callbacks=[timer], verbose=0)


def main(framework, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.py").write_text(MODEL)
    generator = np.random.default_rng(1)
    images, labels = (
        generator.integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8),
        np.arange(IMAGES, dtype=np.int32) % 3,
    )
    for split in ("train", "validation"):
        np.save(folder / f"{split}_images.npy", images)
        np.save(folder / f"{split}_labels.npy", labels)

    from trainoff.measure import backends

    backend = backends.load(framework)
    backend.start("cpu", 1)
    print(json.dumps({json.dumps(settings): losses(framework, backend, folder, settings) for settings in SETTINGS}))
    with contextlib.redirect_stdout(sys.stderr):
        time_own_fit(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
