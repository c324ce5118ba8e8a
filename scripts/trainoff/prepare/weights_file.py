"""The user's weights, in whatever file Keras saved them: read as arrays and matched to the network; no code in them runs.

Legacy .h5 (Keras 1 to 3, `save_weights` or `save`), .weights.h5 and .keras (Keras 3), of the network itself, of a model that
contains it as a layer, or of one that extends it. The format is recognized by content, whatever the file's name.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trainoff import bounds, confined
from trainoff.errors import UserError, one_line
from trainoff.prepare import hdf5

# Names that Keras 2 used for some weights.
FORMER_NAMES = {"kernel": ["depthwise_kernel"]}
FORMATS = "an .h5, .weights.h5 or .keras file that Keras saved"
# First bytes of other files.
FOREIGN = {b"\x80": "a pickle, an older format of PyTorch", b"<": "a web page"}


def load(network: Any, path: str | Path) -> None:
    """Gives the Keras model `network` the weights in the file at `path`. Raises UserError when they do not fit."""
    with tempfile.TemporaryDirectory(prefix="trainoff-") as folder:
        template, variables = Path(folder, "template.weights.h5"), _variables(network)
        wanted = Wanted([(v.path, tuple(v.shape)) for v in variables], _trained_first(network, variables))
        of_keras, file = read(path, folder, network.name, wanted, lambda: _under_keras_names(network, template))
        with np.load(file, allow_pickle=False) as arrays:
            if of_keras:
                _put(network, template, of_keras, arrays)
            else:
                _assign(network, variables, arrays)


@dataclass(frozen=True)
class Wanted:
    """The weights of a network under the names in legacy files.

    variables: [(path, shape)] in the order of the layers. trained_first: their positions with trainable weights before others,
    the order in legacy files of a model that has the network as a layer.
    """

    variables: list
    trained_first: list


@dataclass(frozen=True)
class WantedByKeras:
    """The weights of a network under the names in a .weights.h5. shapes: {name: shape}; layers: {group: name of the layer}."""

    shapes: dict
    layers: dict


def read(
    path: str | Path, folder: str | Path, network: str, wanted: Wanted, under_keras_names: Callable[[], WantedByKeras]
) -> tuple[WantedByKeras | None, Path]:
    """Writes the arrays in the file at `path` that a network needs to an .npz file in `folder`, keyed by their positions.

    network: its name, for messages. under_keras_names: returns WantedByKeras, called for files of Keras 3 only.
    Returns (WantedByKeras, path of the .npz), arrays in the order of its shapes, or (None, path of the .npz), arrays in the
    order of wanted.variables. Raises UserError when the file does not fit.
    """
    where = f"weights: {one_line(path)}"
    source = str(_source(path, where, Path(folder, "unpacked.h5")))
    structure = confined.call("trainoff.prepare.hdf5:structure", where, path=source, shown=str(path))
    shapes = {name: tuple(shape) for name, (shape, _, _) in structure["arrays"].items()}
    of_keras = None
    if any(f"/{name}".rpartition("/")[0].endswith("/vars") for name in shapes):
        of_keras = under_keras_names()
        names = match_keras(shapes, structure["names"], of_keras)
    else:
        names = match_legacy(shapes, structure["order"], wanted)
    if names is None:
        reason = (
            misfit_keras(shapes, structure["names"], of_keras)
            if of_keras
            else misfit_legacy(shapes, structure["order"], wanted)
        )
        raise UserError(f"{where} does not fit {network}: {reason} Expected {FORMATS}.")
    sizes = [structure["arrays"][name][2] for name in names]
    output = Path(folder, "arrays.npz")
    confined.call(
        "trainoff.prepare.hdf5:extract",
        where,
        content_bytes=sum(sizes),
        largest_bytes=max(sizes, default=0),
        path=source,
        names=names,
        output=str(output),
        shown=str(path),
    )
    return of_keras, output


def _variables(network):
    """The variables of a network layer by layer, within a layer in the order of legacy files."""
    return [v for layer in network.layers for v in (*layer.trainable_weights, *layer.non_trainable_weights)]


def _trained_first(network, variables):
    places = {id(variable): place for place, variable in enumerate(variables)}
    return [places[id(v)] for v in (*network.trainable_weights, *network.non_trainable_weights)]


def _under_keras_names(network, template):
    """WantedByKeras of the network, read from a file that Keras writes to `template`."""
    network.save_weights(template)
    structure = hdf5.structure(template)
    shapes = {name: tuple(shape) for name, (shape, _, _) in structure["arrays"].items()}
    return WantedByKeras(shapes, structure["names"])


def _put(network, template, wanted, arrays):
    """Assigns arrays in the order of `wanted` to the network, by way of the file `template` that Keras wrote."""
    with h5py.File(template, "r+") as file:
        for place, name in enumerate(wanted.shapes):
            file[name][...] = arrays[str(place)]
    network.load_weights(template)


def _assign(network, variables, arrays):
    for place, variable in enumerate(variables):
        variable.assign(arrays[str(place)])
    for layer in network.layers:
        if hasattr(layer, "finalize_state"):  # Normalization computes values from its weights
            layer.finalize_state()


def _source(path, where, unpacked):
    """The HDF5 file to read: `path` itself, or the file unpacked from it. Raises UserError for anything else."""
    if os.path.isdir(path):
        raise UserError(f"{where} is a folder, such as TensorFlow's SavedModel. Expected {FORMATS}.")
    if not os.path.isfile(path):
        raise UserError(f"{where}: there is no such file. Expected {FORMATS}.")
    size = os.path.getsize(path)
    if size > bounds.WEIGHTS_FILE_BYTES:
        raise UserError(
            f"{where} has {size:,} bytes, more than {bounds.WEIGHTS_FILE_BYTES >> 30} GiB. Expected {FORMATS}."
        )
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        if not confined.call(
            "trainoff.prepare.hdf5:unpack_keras", where, content_bytes=size, path=str(path), output=str(unpacked)
        ):
            raise UserError(
                f"{where} is a zip without model.weights.h5: no .keras file (PyTorch's files are zips too). Expected {FORMATS}."
            )
        return unpacked
    if not size:
        raise UserError(f"{where} is empty. Expected {FORMATS}.")
    for sign, what in FOREIGN.items():
        if start.startswith(sign) and start[:4] != b"\x89HDF":
            raise UserError(f"{where} is {what}. Expected {FORMATS}.")
    return Path(path)


def match_keras(shapes: dict[str, tuple[int, ...]], names: dict[str, str], wanted: WantedByKeras) -> list[str] | None:
    """Names of the arrays in a file of Keras 3, one for each wanted array; None when some are missing.

    shapes: {name in the file: shape}; names: {group in the file: name of the layer}.
    """
    return _by_keras_path(shapes, wanted) or _by_layer_name(shapes, names, wanted)


def match_legacy(shapes: dict[str, tuple[int, ...]], order: list[str], wanted: Wanted) -> list[str] | None:
    """The same for a legacy file. order: names of its arrays in the order that it lists, which Keras relies on."""
    return _by_order(shapes, order, wanted) or _by_name(shapes, wanted)


def _by_layer_name(shapes, names, wanted):
    """Matches by layer name, which Keras 3 stores with every layer's arrays, wherever in a larger model the layer is."""
    groups = {}
    for group, layer in names.items():
        groups.setdefault(layer, []).append(group)
    matches = []
    for name, shape in wanted.shapes.items():
        group, _, variable = name.rpartition("/vars/")
        candidates = [f"{other}/vars/{variable}" for other in groups.get(wanted.layers.get(group), [])]
        candidates = [candidate for candidate in candidates if shapes.get(candidate) == shape]
        if len(candidates) != 1:
            return None
        matches += candidates
    return matches


def _by_keras_path(shapes, wanted):
    """Matches by path: Keras 3 numbers layers by type within their model, so the names are the same below some prefix."""
    first = next(iter(wanted.shapes))
    fits = []
    for name in shapes:
        if name == first or name.endswith(f"/{first}"):
            prefix = name.removesuffix(first)
            matches = [prefix + path for path in wanted.shapes]
            if all(shapes.get(match) == shape for match, shape in zip(matches, wanted.shapes.values(), strict=True)):
                fits.append(matches)
    return fits[0] if len(fits) == 1 else None


def _steps(name):
    return tuple(step.split(":")[0] for step in name.split("/"))


def _spellings(path):
    """The ends of names that files may use for the variable `path`, longest first."""
    steps = path.split("/")
    for start in range(max(1, len(steps) - 1)):
        yield tuple(steps[start:])
        for former in FORMER_NAMES.get(steps[-1], []):
            yield (*steps[start:-1], former)


def _ends(shapes):
    """{end of a name: names with that end}."""
    ends = {}
    for name in shapes:
        steps = _steps(name.removeprefix("model_weights/"))
        if name.startswith("optimizer_weights/"):
            continue
        for start in range(len(steps)):
            ends.setdefault(steps[start:], []).append(name)
    return ends


def _by_name(shapes, wanted):
    """Matches by name: legacy files name arrays by layer and weight, below the names of the models around the layer."""
    ends, matches = _ends(shapes), []
    for path, shape in wanted.variables:
        for spelling in _spellings(path):
            candidates = [name for name in ends.get(spelling, []) if shapes[name] == shape]
            if len(candidates) == 1:
                matches += candidates
                break
        else:
            return None
    return matches if len(set(matches)) == len(matches) else None


def _by_order(shapes, order, wanted):
    """Matches by order: legacy files list their arrays in order, those of the network consecutively, under whatever names."""
    usual = list(range(len(wanted.variables)))
    fits = []
    for places in (usual, wanted.trained_first) if wanted.trained_first != usual else (usual,):
        targets = [wanted.variables[place] for place in places]
        for start in range(len(order) - len(targets) + 1):
            names = order[start : start + len(targets)]
            if all(_alike(name, shapes[name], *target) for name, target in zip(names, targets, strict=True)):
                by_place = dict(zip(places, names, strict=True))
                fits.append([by_place[place] for place in usual])
    return fits[0] if fits and all(fit == fits[0] for fit in fits) else None


# Names that distinguish weights of the same shape.
DISTINCTIVE = {
    "kernel",
    "bias",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
    "depthwise_kernel",
    "pointwise_kernel",
}


def _alike(name, shape, path, wanted_shape):
    if shape != wanted_shape:
        return False
    in_file, wanted = _steps(name)[-1], path.rpartition("/")[2]
    return in_file == wanted or in_file in FORMER_NAMES.get(wanted, []) or not {in_file, wanted} <= DISTINCTIVE


def misfit_keras(shapes: dict[str, tuple[int, ...]], names: dict[str, str], wanted: WantedByKeras) -> str:
    """What is wrong with a file of Keras 3, in a sentence."""
    best = _nearest_keras(shapes, names, wanted)
    return _misfit(shapes, {path: shapes.get(name) for path, name in best.items()}, wanted.shapes)


def misfit_legacy(shapes: dict[str, tuple[int, ...]], order: list[str], wanted: Wanted) -> str:
    """The same for a legacy file."""
    count = len(wanted.variables)
    for start in range(len(order) - count + 1):
        names = order[start : start + count]
        if all(_alike(name, shape, path, shape) for name, (path, shape) in zip(names, wanted.variables, strict=True)):
            in_file = {path: shapes[name] for name, (path, _) in zip(names, wanted.variables, strict=True)}
            return _misfit(shapes, in_file, dict(wanted.variables))
    ends, in_file = _ends(shapes), {}
    for path, shape in wanted.variables:
        candidates = [name for spelling in _spellings(path) for name in ends.get(spelling, [])]
        fitting = [name for name in candidates if shapes[name] == shape]
        in_file[path] = shapes[(fitting or candidates)[0]] if candidates else None
    return _misfit(shapes, in_file, dict(wanted.variables))


def _misfit(shapes, in_file, wanted):
    """in_file: {wanted name: shape in the file, None for missing}; wanted: {wanted name: shape}."""
    if not shapes:
        return "it holds no arrays."
    missing = [name for name, shape in in_file.items() if shape is None]
    others = [name for name, shape in in_file.items() if shape is not None and shape != wanted[name]]
    count = f"{len(wanted)} arrays"
    first = others and f"first: {one_line(others[0], 100)} is {in_file[others[0]]}, expected {wanted[others[0]]}"
    if len(missing) == len(wanted):
        layers = list(dict.fromkeys(name.removeprefix("model_weights/").split("/")[0] for name in shapes))
        examples = ", ".join(one_line(layer, 40) for layer in layers[:3])
        return (
            f"it holds {len(shapes)} arrays (of {examples}, …), and none of the {count} of the network is among them."
        )
    if others and not missing:
        return (
            f"the layers are the same, but {len(others)} of {count} have other shapes ({first}). It was saved from the same "
            "network in another size or width."
        )
    if missing:
        more = f" and {len(others)} have other shapes ({first})" if others else ""
        return (
            f"of {count}, {len(missing)} are missing (first: {one_line(missing[0], 100)}){more}. It is from another network, or "
            "from a part of it."
        )
    return "each of its arrays is in it more than once, and nothing shows which one to use."


def _nearest_keras(shapes, names, wanted):
    """{wanted name: name in the file}, for the prefix with which most names exist."""
    firsts = list(wanted.shapes)
    groups = {layer: group for group, layer in names.items()}
    prefixes = {
        name.removesuffix(path) for path in firsts[:3] for name in shapes if f"/{name}".endswith(f"/{path}")
    } | {""}
    by_path = [{path: prefix + path for path in firsts} for prefix in prefixes]
    by_layer = {
        path: f"{groups.get(wanted.layers.get(path.rpartition('/vars/')[0]), '')}/vars/{path.rpartition('/')[2]}"
        for path in firsts
    }
    return max([by_layer, *by_path], key=lambda guess: sum(name in shapes for name in guess.values()))
