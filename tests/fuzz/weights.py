"""Weights files: legacy .h5, .weights.h5 and .keras."""

import contextlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np

from fuzz.changes import SIGNS, damaged
from trainoff import bounds
from trainoff.prepare import weights_file

NAME = "weights (.h5, .weights.h5, .keras)"
# {layer: {weight: shape}} of a made-up network.
LAYERS = {
    "Conv1": {"kernel": (3, 3, 3, 8)},
    "bn_Conv1": {"gamma": (8,), "beta": (8,), "moving_mean": (8,), "moving_variance": (8,)},
    "expand": {"kernel": (1, 1, 8, 16), "bias": (16,)},
    "bn_expand": {"gamma": (16,), "beta": (16,), "moving_mean": (16,), "moving_variance": (16,)},
}
KINDS = {
    "Conv1": "conv2d",
    "bn_Conv1": "batch_normalization",
    "expand": "conv2d_1",
    "bn_expand": "batch_normalization_1",
}
VARIABLES = [(f"{layer}/{weight}", shape) for layer, weights in LAYERS.items() for weight, shape in weights.items()]
VALUES = {path: np.random.default_rng(0).standard_normal(shape).astype("float32") for path, shape in VARIABLES}
TRAINED_FIRST = sorted(range(len(VARIABLES)), key=lambda place: "moving" in VARIABLES[place][0])
KERAS_SHAPES = {
    f"layers/{KINDS[layer]}/vars/{place}": shape
    for layer, weights in LAYERS.items()
    for place, shape in enumerate(weights.values())
}
WANTED = weights_file.Wanted(VARIABLES, TRAINED_FIRST)
OF_KERAS = weights_file.WantedByKeras(KERAS_SHAPES, {f"layers/{kind}": layer for layer, kind in KINDS.items()})


def legacy(path, scope="", within="", fixed=True, named=True):
    """A legacy file. scope: group of the layers; within: layer that the network is; named: whether it lists an order."""
    with h5py.File(path, "w") as file:
        group = file.create_group(scope) if scope else file
        order = {within: VARIABLES} if within else {layer: [] for layer in LAYERS}
        for name, shape in VARIABLES:
            order.get(name.split("/")[0], order.get(within) if not within else []).append((name, shape))
        for layer, weights in order.items():
            names = [name for name, _ in weights]
            for name in names:
                group.create_dataset(f"{layer}/{name}", data=VALUES[name])
            if named:
                _set_names(group[layer], "weight_names", names, fixed)
        if named:
            _set_names(group, "layer_names", list(order), fixed)


def _set_names(group, attribute, names, fixed):
    group.attrs[attribute] = np.array([name.encode() for name in names], "S60") if fixed else names


def keras3(path, prefix="", named=True):
    with h5py.File(path, "w") as file:
        for (name, _), keras_name in zip(VARIABLES, KERAS_SHAPES, strict=True):
            file.create_dataset(prefix + keras_name, data=VALUES[name])
        for layer, kind in KINDS.items():
            if named:
                file[f"{prefix}layers/{kind}"].attrs["name"] = layer


def keras_zip(path, compression=zipfile.ZIP_STORED, **options):
    inner = path.with_name("inner.h5")
    keras3(inner, **options)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("config.json", '{"class_name": "Lambda"}')
        archive.write(inner, "model.weights.h5")
    inner.unlink()


VALID = [
    lambda path: legacy(path),
    lambda path: legacy(path, scope="model_weights", fixed=False),
    lambda path: legacy(path, scope="model_weights", within="base"),
    lambda path: legacy(path, named=False),
    lambda path: keras3(path),
    lambda path: keras3(path, prefix="layers/functional/", named=False),
    lambda path: keras_zip(path),
    lambda path: keras_zip(path, compression=zipfile.ZIP_DEFLATED, prefix="layers/functional/"),
]


def place_of(folder):
    return folder / "weights.h5"


def mutated(random, folder):
    path = place_of(folder)
    random.choice(VALID)(path)
    if random.random() < 0.5 and not zipfile.is_zipfile(path):
        for _ in range(random.randint(1, 3)):
            rearranged(random, path)
    if random.random() < 0.7:
        path.write_bytes(damaged(random, path.read_bytes()) or b"\0")
    return path


def rearranged(random, path):
    """Changes one thing in a valid HDF5 file, using HDF5 itself."""
    with h5py.File(path, "r+") as file:
        names = []
        file.visit(names.append)
        name = random.choice(names or ["x"])
        change = random.choice(list(CHANGES.values()))
        if name in file:
            with contextlib.suppress(
                OSError, ValueError, RuntimeError, KeyError, TypeError
            ):  # HDF5 itself cannot write this
                change(random, file, name)


def _replace(make):
    def change(random, file, name):
        del file[name]
        make(random, file, name)

    return change


def _external(random, file, name):
    file.create_dataset(name, (8,), "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def _virtual(random, file, name):
    layout = h5py.VirtualLayout((8,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (8,))
    file.create_virtual_dataset(name, layout)


def _deep(random, file, name):
    file.create_group(f"{name}_deep" + "/g" * random.choice([5, 40, 200]))


def _many(random, file, name):
    group = file.create_group(name)
    for number in range(random.choice([10, 3000])):
        group.create_group(str(number))


def _attribute(random, file, name):
    values = [["x"] * 4000, [b"x" * 5000] * 12, 7, "x" * 60_000, [[b"a", b"b"]], np.zeros(3), h5py.Empty("f4")]
    attribute = random.choice(["layer_names", "weight_names", "name", "layer_names0"])
    file[name].attrs[attribute] = random.choice(values)


def _set(value):
    def change(random, file, name):
        item = file[name]
        # An earlier change may claim gigabytes, which would now be written.
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.shape and item.size <= 10**6:
            item[...] = value

    return change


def _empty_type(random, file, name):
    kind = np.dtype([("a", "f4"), ("b", "S8")])
    file.create_dataset(name, data=np.zeros(8, random.choice([kind, "S5", "c8", "?", "i8", "f2", "f8", "u1"])))


CHANGES = {
    "claimed": _replace(
        lambda random, file, name: file.create_dataset(name, random.choice([(40_000, 40_000), (2**40,)]), "f4")
    ),
    "expanding": _replace(
        lambda random, file, name: file.create_dataset(
            name,
            (10**5, 10**4),
            "f4",
            chunks=random.choice([(10, 10), (1000, 10_000)]),
            compression="gzip",
            fillvalue=0,
        )
    ),
    "external": _replace(_external),
    "virtual": _replace(_virtual),
    "soft link": _replace(
        lambda random, file, name: file.__setitem__(name, h5py.SoftLink("/" + random.choice([name, "x"])))
    ),
    "external link": _replace(lambda random, file, name: file.__setitem__(name, h5py.ExternalLink("/etc/passwd", "/"))),
    "hard link": lambda random, file, name: file.__setitem__(f"{name}_again", file[name]),
    "loop": lambda random, file, name: file.__setitem__(f"{name}_loop", file["/"]),
    "texts": _replace(lambda random, file, name: file.create_dataset(name, data=["x" * 1000] * 100)),
    "objects": _replace(lambda random, file, name: file.create_dataset(name, (3,), h5py.ref_dtype)),
    "type": _replace(_empty_type),
    "named type": _replace(lambda random, file, name: file.__setitem__(name, np.dtype("f4"))),
    "array in place of a group": _replace(lambda random, file, name: file.create_dataset(name, data=np.zeros(3))),
    "group in place of an array": _replace(lambda random, file, name: file.create_group(name)),
    "deep": _deep,
    "many": _replace(_many),
    "attribute": _attribute,
    "name": lambda random, file, name: file.move(name, random.choice([f"{name}x", "x" * 2000, *SIGNS[1:6]])),
    "not finite": _set(np.nan),
    "other values": _set(1.0),
    "compressed": _replace(
        lambda random, file, name: file.create_dataset(
            name, data=np.zeros((8,), "f4"), chunks=(8,), compression=random.choice(["gzip", "lzf"]), shuffle=True
        )
    ),
}


def read(path):
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        of_keras, file = weights_file.read(path, folder, "made-up", WANTED, lambda: OF_KERAS)
        with np.load(file, allow_pickle=False) as arrays:
            wanted = OF_KERAS.shapes.values() if of_keras else [shape for _, shape in WANTED.variables]
            assert len(arrays.files) == len(VARIABLES)
            for place, shape in enumerate(wanted):
                array = arrays[str(place)]
                assert array.shape == shape and array.dtype.kind in "fiub" and np.isfinite(array).all()


def _made(change, valid=0, target="Conv1/Conv1/kernel"):
    """A valid file with one change to one array, as a regression."""

    def make(folder):
        import random

        path = place_of(folder)
        VALID[valid](path)
        with h5py.File(path, "r+") as file:
            change(random.Random(0), file, target)
        return path

    return make


def _claims_all(random, file, name):
    """A file of two kilobytes that claims gigabytes under every name."""
    names = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for each in names:
        del file[each]
        file.create_dataset(each, (40_000, 40_000), "f4")


def _scope_is_array(folder):
    path = place_of(folder)
    with h5py.File(path, "w") as file:
        file.create_dataset("model_weights", data=np.zeros(3))
    return path


def _long_texts(folder):
    """A list of names, each the same text of eight megabytes."""
    path = place_of(folder)
    with h5py.File(path, "w") as file:
        legacy_text = "x" * (8 * 2**20)
        data = file.create_dataset("Conv1/Conv1/kernel", data=np.zeros(3))
        data.attrs.create("y", 1)
        try:
            file.attrs["layer_names"] = [legacy_text] * 60
        except OSError:
            file.attrs["layer_names"] = ["x" * 60_000] * 300
    return path


def _bomb(folder):
    path = place_of(folder)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(300 * 2**20))
    return path


def _many_members(folder):
    path = place_of(folder)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(50_000):
            archive.writestr(f"{number}", b"")
    return path


def _other(content):
    def make(folder):
        place_of(folder).write_bytes(content)
        return place_of(folder)

    return make


def _sparse(folder):
    VALID[0](place_of(folder))
    os.truncate(place_of(folder), bounds.WEIGHTS_FILE_BYTES + 1)
    return place_of(folder)


def _folder(folder):
    path = folder / "saved_model"
    path.mkdir(exist_ok=True)
    shutil.copy(Path(__file__), path)
    return path


REGRESSIONS = {
    **{f"one array: {name}": _made(change) for name, change in CHANGES.items()},
    **{f"of Keras 3, one array: {name}": _made(change, 4, "layers/conv2d/vars/0") for name, change in CHANGES.items()},
    "every array claims gigabytes": _made(_claims_all),
    "model_weights is an array": _scope_is_array,
    "names of megabytes": _long_texts,
    "zip that expands a thousandfold": _bomb,
    "zip of 50,000 members": _many_members,
    "empty": _other(b""),
    "web page": _other(b"<!DOCTYPE html><html>"),
    "pickle": _other(b"\x80\x04\x95"),
    "PyTorch": _other(b"PK\x03\x04 but no zip"),
    "larger than the limit": _sparse,
    "folder": _folder,
}
