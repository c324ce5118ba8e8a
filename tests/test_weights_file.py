"""Weights in every file that Keras saves: of the network itself, inside a model, under other names; and those that do not fit."""

import re
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from trainoff.errors import UserError
from trainoff.prepare import weights_file

SHAPE = (16, 16, 3)


def network(width=4, dense=False):
    """A small network with all types of layers in the catalog's networks. Keras numbers layers without a name."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.Normalization(name=None)(inputs)
    x = keras.layers.Conv2D(width, 3, name="Conv1", use_bias=False)(x)
    x = keras.layers.BatchNormalization(name="bn_Conv1")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.DepthwiseConv2D(3, name="expanded_depthwise")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.SeparableConv2D(width, 3, name="block_separable")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(width, 1)(x)
    if dense:
        x = keras.layers.Dense(3, name="more")(x)
    return keras.Model(inputs, x, name="small")


@pytest.fixture(scope="module")
def trained():
    """A network with random weights."""
    source = network()
    generator = np.random.default_rng(0)
    source.set_weights([np.asarray(generator.uniform(0.5, 1.5, w.shape), w.dtype) for w in source.get_weights()])
    return source


def inside(base, frozen=False):
    base.trainable = not frozen
    inputs = keras.Input(SHAPE)
    x = base(keras.layers.Rescaling(1 / 255)(keras.layers.RandomFlip()(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(x)))
    model.compile("adam")
    return model


def with_head(base):
    base.trainable = True
    return keras.Model(base.input, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(base.output)))


def in_sequence(base):
    base.trainable = True
    return keras.Sequential([keras.Input(SHAPE), base, keras.layers.Flatten(), keras.layers.Dense(5)])


MODELS = {
    "itself": lambda base: base,
    "inside": inside,
    "inside, frozen": lambda base: inside(base, frozen=True),
    "with a head": with_head,
    "in a sequence": in_sequence,
}


@pytest.mark.parametrize(
    "ending", ["h5", "legacy weights", "weights.h5", "keras", "keras named h5", "weights.h5 named h5"]
)
@pytest.mark.parametrize("model", MODELS)
def test_weights_are_found_in_every_file_that_keras_saves(trained, model, ending, tmp_path):
    whole = MODELS[model](trained)
    path = tmp_path / f"own.{ending.split(' ')[0]}"
    if ending == "legacy weights":
        from keras.src.legacy.saving import legacy_h5_format

        path = tmp_path / "own.h5"
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, whole)
    elif ending.startswith("weights.h5"):
        whole.save_weights(path)
    else:
        whole.save(path)
    if " named " in ending:
        path = shutil.move(path, tmp_path / "renamed.h5")
    loaded = network()
    weights_file.load(loaded, path)
    for expected, actual in zip(trained.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, actual)
    image = np.random.default_rng(1).uniform(size=(1, *SHAPE)).astype("float32")
    trained.layers[1].finalize_state()
    np.testing.assert_allclose(trained(image), loaded(image), rtol=1e-5)


@pytest.mark.parametrize("ordered", [True, False])
def test_names_of_earlier_versions_are_understood(trained, ordered, tmp_path):
    """Keras 2: `:0` after names, depthwise kernels under another name, and, where an order is listed, names with slashes."""
    with h5py.File(tmp_path / "old.h5", "w") as file:
        layers = {}
        for layer in trained.layers:
            for variable in (*layer.trainable_weights, *layer.non_trainable_weights):
                name = (
                    "depthwise_kernel"
                    if layer.name == "expanded_depthwise" and variable.name == "kernel"
                    else variable.name
                )
                group = layer.name.replace("_", "/") if ordered else layer.name
                file[f"{group}/{group}/{name}:0"] = np.asarray(variable)
                layers.setdefault(group, []).append(f"{group}/{name}:0".encode())
        if ordered:
            file.attrs["layer_names"] = [layer.encode() for layer in layers]
            for layer, names in layers.items():
                file[layer].attrs["weight_names"] = names
    loaded = keras.models.clone_model(trained)
    weights_file.load(loaded, tmp_path / "old.h5")
    for expected, actual in zip(trained.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, actual)


def test_what_does_not_fit_is_said_truly(trained, tmp_path):
    def message(path, to=network):
        with pytest.raises(UserError) as caught:
            weights_file.load(to(), path)
        return str(caught.value)

    for ending in ("h5", "keras"):
        path = tmp_path / f"own.{ending}"
        network(width=6).save(path)
        assert re.search("other shapes .*another size or width", message(path))
        trained.save(path)
        assert re.search(
            "of 25 arrays, .* are missing.*from another network, or from a part",
            message(path, lambda: network(dense=True)),
        )
        keras.Sequential([keras.Input((7,)), keras.layers.Dense(3, name="other")]).save(path)
        assert "none of the" in message(path)
        assert "another network" not in message(path)
    (tmp_path / "model.pt").write_bytes(b"PK\x05\x06" + bytes(18))
    assert "is a zip without model.weights.h5" in message(tmp_path / "model.pt")
    assert "is a folder" in message(tmp_path)
    with h5py.File(tmp_path / "none.h5", "w"):
        pass
    assert "holds no arrays" in message(tmp_path / "none.h5")
    with h5py.File(tmp_path / "nan.h5", "w") as file:
        for variable in trained.weights:
            file[variable.path] = np.full(variable.shape, np.nan)
    assert "values that are not finite" in message(tmp_path / "nan.h5", lambda: keras.models.clone_model(trained))


def test_nothing_that_a_model_file_describes_is_built(tmp_path, trained):
    """A Lambda layer's code never runs: the description of the model in the file is not even read."""
    trace = str(tmp_path / "trace")
    base = network()
    outside = keras.Model(base.input, keras.layers.Lambda(lambda x: (open(trace, "w").close(), x)[1])(base.output))
    Path(trace).unlink(missing_ok=True)
    outside.save(tmp_path / "lambda.keras")
    Path(trace).unlink(missing_ok=True)
    weights_file.load(network(), tmp_path / "lambda.keras")
    assert not Path(trace).exists()
