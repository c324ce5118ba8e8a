"""A model of the user's own: made by a function in a Python file, or saved as a .keras file.

What goes wrong in the user's file is told as the user's: the file, the line, and the error as it stands. Keras is imported
inside the functions, since importing it takes seconds and must happen after the device is chosen.
"""

import contextlib
import hashlib
import importlib.util
import json
import math
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainoff.errors import UserError, one_line

# How often a function that has not returned yet is told of.
NOTICE_SECONDS = 30
# Up to here rows of outputs count as summing to 1.
PROBABILITY_TOLERANCE = 1e-3
# To how many decimals starting weights are compared between machines: initializers round differently on each processor.
DECIMALS = 3
# How Keras makes parts of its messages bold.
TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")
WHAT_A_FUNCTION_IS = (
    "a function of input_shape and classes that returns a Keras model ending in logits, one for each class"
)


def build(
    architecture: dict[str, str], shape: tuple[int, ...], classes: int, say: Callable[[str], None] | None = None
) -> tuple[Any, list[Any] | None]:
    """(model, head): the user's own model, and the layers that train when only the last layer does.

    architecture: {"function": "file.py:name"} or {"file": "saved.keras"}, see trainoff.experiment.own_code. shape: of one input,
    without the batch. head: the layers that the function marked; None for the last one with weights. say: called with a line of
    text while a slow function runs. Raises UserError for whatever is wrong with the user's file.
    """
    if "file" in architecture:
        return _saved(architecture["file"]), None
    with _notices(architecture["function"], say):
        return _made(architecture["function"], shape, classes)


def connect(architecture: dict[str, str], model: Any, inputs: Any, classes: int) -> Any:
    """The model's outputs for Keras' symbolic `inputs`, float32 (batch, classes). Raises UserError when it does not fit them."""
    import keras

    name = name_of(architecture)
    # Pixels come as bytes; token numbers stay whole.
    values = keras.ops.cast(inputs, "float32") if inputs.dtype == "uint8" else inputs
    try:
        outputs = model(values)
    except Exception as error:
        raise UserError(
            f"{name}: the model cannot take inputs of shape {tuple(inputs.shape)}: {_blame(error, architecture)}"
        ) from error
    found = getattr(outputs, "shape", None)
    if found is None or tuple(found) != (None, classes):
        told = "no output: its call may lack a return"
        if outputs is not None:
            told = f"an output of shape {tuple(found)}" if found is not None else f"{len(outputs)} outputs"
        hint = " Two classes need two logits." if found is not None and classes == 2 and found[-1] == 1 else ""
        raise UserError(
            f"{name}: the model has {told}. Expected (None, {classes}): one logit for each of the {classes} classes, such as "
            f"those of a last layer keras.layers.Dense({classes}).{hint}"
        )
    if not model.trainable_variables:
        raise UserError(f"{name}: the model has no weights to train. Expected at least one layer with weights.")
    return keras.ops.cast(outputs, "float32")


def freeze_all_but(head: list[Any] | None, architecture: dict[str, str], model: Any) -> None:
    """Leaves only the layers `head` to train; None for the last layer that has weights."""
    layers = model._flatten_layers(include_self=False)
    leaves = [layer for layer in layers if not list(layer._flatten_layers(include_self=False))]
    if head is None:
        head = [layer for layer in leaves if layer.trainable_variables][-1:]
    kept = {id(variable) for layer in head for variable in layer.trainable_variables}
    if not kept:
        raise UserError(
            f"{name_of(architecture)}: trainable: false trains the last layer alone, and the layers that are marked for it "
            "have no weights. Expected layers of the model: return model, [layer, …]."
        )
    for layer in leaves:
        if not any(id(variable) in kept for variable in layer.variables):
            layer.trainable = False  # batch normalization then computes as in inference
    # Weights that a layer holds beside layers of its own.
    for variable in model.trainable_variables:
        variable.trainable = id(variable) in kept


def set_dropout(model: Any, rate: float) -> None:
    """Gives every layer of the model that drops inputs at random the rate `rate`."""
    for layer in model._flatten_layers():
        for attribute in ("rate", "dropout", "recurrent_dropout"):
            # Where it is a property, the layer has layers of its own that hold the value.
            if isinstance(vars(layer).get(attribute), float):
                setattr(layer, attribute, rate)


def set_precision(model: Any, policy: Any) -> None:
    """Gives every layer of a saved model the dtype policy of the run, in place of the one that it was saved with."""
    for layer in model._flatten_layers():
        layer.dtype_policy = policy


def check_outputs(architecture: dict[str, str], outputs: Any) -> None:
    """Raises UserError when `outputs`, (n, classes), of the untrained model for real inputs are no logits."""
    name = name_of(architecture)
    outputs = np.asarray(outputs)
    if not np.isfinite(outputs).all():
        raise UserError(
            f"{name}: the untrained model's outputs for the first training inputs are not finite. Expected finite logits: "
            "check the scaling of the inputs (pixels come as 0 to 255) and the weights."
        )
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=PROBABILITY_TOLERANCE):
        raise UserError(
            f"{name}: the model ends in probabilities (softmax): each row of its outputs sums to 1. Expected logits, since "
            "the loss applies the softmax itself: take the activation off the last layer."
        )


def save(model: Any, path: str | Path) -> None:
    """Writes the weights of the model as an .npz file without pickles, keyed by position and name."""
    with open(path, "wb") as file:
        np.savez(file, **{_key(i, weight): np.asarray(weight) for i, weight in enumerate(model.weights)})


def load(architecture: dict[str, str], model: Any, path: str | Path) -> None:
    """Loads what `save` wrote. Raises UserError where the model is another one than when its weights were prepared."""
    with np.load(path, allow_pickle=False) as arrays:
        stored = {key: arrays[key] for key in arrays.files}
    wanted = {_key(i, weight): tuple(weight.shape) for i, weight in enumerate(model.weights)}
    found = {key: array.shape for key, array in stored.items()}
    if wanted != found:
        place = next(key for key in sorted({*wanted, *found}) if wanted.get(key) != found.get(key))
        raise UserError(
            f"{name_of(architecture)}: the model is another one here than when its starting weights were prepared with "
            f"TensorFlow: weight {place} has shape {wanted.get(place)}, prepared was {found.get(place)}. Expected the same "
            "model on every framework and at every call."
        )
    model.set_weights([stored[key] for key in wanted])


def digest(model: Any, sha256: str) -> str:
    """SHA-256 of the model's weights up to rounding, and of what made them: equal means the same start on any machine.

    sha256: of the meaning of the user's file. Each weight counts with its sum under random signs, over the root of its size.
    """
    sums = []
    for position, weight in enumerate(model.weights):
        values = np.asarray(weight, dtype="float64").ravel()
        signs = np.random.default_rng(position).choice([-1.0, 1.0], size=values.size)
        sums.append(round(float(values @ signs) / math.sqrt(max(1, values.size)), DECIMALS) + 0.0)
    return hashlib.sha256(json.dumps([sha256, sums]).encode()).hexdigest()


def _key(position, weight):
    return f"{position:04d}/{weight.name}"


def operations(model: Any) -> int:
    """Floating-point operations of one forward pass of one input, as models.flops_per_image counts them."""
    return sum(
        2 * positions(layer, *shapes) * math.prod(variable.shape)
        for layer, *shapes in calls(model)
        for variable in layer.variables
        if variable.name.endswith("kernel")
    )


def calls(model: Any) -> list[tuple[Any, tuple[int, ...], tuple[int, ...]]]:
    """[(layer, shape of its input, shape of its output)] of one forward pass of one input.

    Of layers without layers of their own, and of recurrent layers as a whole.
    """
    import keras

    found = []

    def watched(layer, call):
        def wrapper(inputs, *args, **kwargs):
            outputs = call(inputs, *args, **kwargs)
            if hasattr(inputs, "shape") and hasattr(outputs, "shape"):
                found.append((layer, tuple(inputs.shape), tuple(outputs.shape)))
            return outputs

        return wrapper

    layers = [layer for layer in model._flatten_layers(include_self=False) if _counts_whole(layer)]
    inside = {id(part) for layer in layers for part in layer._flatten_layers(include_self=False)}
    layers = [layer for layer in layers if id(layer) not in inside]
    for layer in layers:
        # Past Keras' own __setattr__, which would track it.
        object.__setattr__(layer, "call", watched(layer, layer.call))
    try:
        inputs = model.inputs[0]
        model(keras.ops.zeros((1, *inputs.shape[1:]), dtype=inputs.dtype), training=False)
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")
    return found


def _counts_whole(layer):
    import keras

    return isinstance(layer, keras.layers.RNN) or not list(layer._flatten_layers(include_self=False))


def positions(layer: Any, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int:
    """At how many places the kernels of a layer are applied to one input. inputs, outputs: shapes with the batch in front."""
    import keras

    if isinstance(layer, keras.layers.RNN):
        return inputs[1]
    if isinstance(layer, keras.layers.EinsumDense):
        of_inputs, of_kernel = layer.equation.replace(" ", "").split("->")[0].split(",")
        before, _, after = of_inputs.partition("...")
        unnamed = inputs[len(before) : len(inputs) - len(after)] if "..." in of_inputs else ()
        named = [*zip(before, inputs, strict=False), *zip(after, inputs[len(inputs) - len(after) :], strict=True)]
        free = [size for letter, size in named if letter not in of_kernel]
        # The batch is one of them, and is 1.
        return math.prod(free) * math.prod(unnamed)
    transposed = "Transpose" in type(layer).__name__
    return math.prod((inputs if transposed else outputs)[1:-1])


def name_of(architecture: dict[str, str]) -> str:
    """What the user calls the model's source: "my_net.py:build" or "my.keras"."""
    return architecture.get("function") or architecture["file"]


def _made(function, shape, classes):
    import keras

    path, _, name = function.rpartition(":")
    architecture = {"function": function}
    with _only_building(function):
        try:
            module = _imported(Path(path))
        except (Exception, SystemExit) as error:
            raise UserError(f"{path} cannot be imported: {_blame(error, architecture)}") from error
        maker = getattr(module, name, None)
        if not callable(maker):
            raise UserError(f"{path} has no function {name}. Expected {WHAT_A_FUNCTION_IS}.")
        try:
            made = maker(input_shape=tuple(shape), classes=classes)
        except (Exception, SystemExit) as error:
            raise UserError(f"{function} failed: {_blame(error, architecture)}") from error
    model, marked = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, keras.Model):
        forgotten = " Its last line may lack a return." if model is None else ""
        raise UserError(
            f"{function} returned {one_line(repr(model), 80)}, not a Keras model.{forgotten} Expected {WHAT_A_FUNCTION_IS}."
        )
    if marked is None:
        return model, None
    marked = list(marked) if isinstance(marked, list | tuple) else [marked]
    if not marked or not all(isinstance(layer, keras.layers.Layer) for layer in marked):
        raise UserError(
            f"{function} returned a model and {one_line(repr(marked), 80)}. Expected the model alone, or with it the layers "
            "that train where only the last layer does: return model, [layer, …]."
        )
    return model, marked


def _saved(path):
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        words = one_line(error)
        reason = (
            "It holds Python code (a Lambda layer), which is never run from a file."
            if "ambda" in words
            else f"Keras says: {words}"
        )
        raise UserError(
            f"{path} cannot be loaded as a saved model. {reason} Expected a file that model.save('name.keras') of Keras 3 "
            "wrote, of Keras' own layers; for others name a function that builds the model."
        ) from error
    # Its layers belong to it, whatever policy the run has.
    set_precision(model, keras.config.dtype_policy())
    return model


def _imported(path):
    """The module in the user's file; modules beside it are found as when Python runs that file."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = f"own_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _Trains(Exception):
    """The user's file trains where it should only build."""


@contextlib.contextmanager
def _only_building(function):
    """Makes Keras' training raise _Trains meanwhile, and raises UserError where settings for all models have changed."""
    import keras

    def refuse(*args, **kwargs):
        raise _Trains

    names = ("fit", "train_on_batch")
    settings = {name: getattr(keras.config, name)() for name in ("dtype_policy", "floatx", "image_data_format")}
    for name in names:
        setattr(keras.Model, name, refuse)
    try:
        yield
        for name, value in settings.items():
            if (now := getattr(keras.config, name)()) != value:
                raise UserError(
                    f"{function} sets Keras' {name} to {getattr(now, 'name', now)} for all models. Expected "
                    f"{getattr(value, 'name', value)}; precision is an axis (grid.precision). Take that line out of the file."
                )
    finally:
        for name in names:
            delattr(keras.Model, name)
        for name, value in settings.items():
            getattr(keras.config, f"set_{name}")(value)


@contextlib.contextmanager
def _notices(name, say):
    """Tells every NOTICE_SECONDS that the block still runs."""
    done, started = threading.Event(), time.monotonic()

    def tell():
        while not done.wait(NOTICE_SECONDS):
            say(f"{name} has run for {time.monotonic() - started:.0f} s and has not returned a model yet")

    if say is not None:
        threading.Thread(target=tell, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _blame(error, architecture):
    """Where in the user's files the error arose and what it says: "my_net.py, line 12, in build: ValueError: …"."""
    if isinstance(error, _Trains):
        what = "it trains a model, but should only build one. Put what trains below `if __name__ == '__main__':`."
    elif isinstance(error, SystemExit):
        what = f"it ends Python (exit code {error.code}). Take that out, or put it below `if __name__ == '__main__':`."
    else:
        words = TERMINAL_CODES.sub("", str(error.msg if isinstance(error, SyntaxError) else error))
        what = f"{type(error).__name__}: {one_line(words)}"
        if isinstance(error, ModuleNotFoundError) and "tensorflow" in str(error):
            what += " (this device trains with another framework: use keras and keras.ops alone)"
    if "function" not in architecture:
        return what
    folder = Path(architecture["function"].rpartition(":")[0]).resolve().parent
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename, folder)}, line {error.lineno}: {what}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_below(frame.filename, folder)]
    if not own:
        return what
    where = f"{_short(own[-1].filename, folder)}, line {own[-1].lineno}"
    return f"{where}{f', in {own[-1].name}' if own[-1].name != '<module>' else ''}: {what}"


def _is_below(path, folder):
    parts = Path(path).resolve().parts
    ours = Path(__file__).parents[2].parts
    return (
        parts[: len(folder.parts)] == folder.parts
        # Snakemake runs scripts from copies of its own.
        and not {"site-packages", ".snakemake"} & {*parts}
        and parts[: len(ours)] != ours
    )


def _short(path, folder):
    path = Path(path).resolve()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name
