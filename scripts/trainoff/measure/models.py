"""The models that are trained: a keras.applications network below one layer of logits, or a model of the user's own.

Keras is imported inside the functions, since importing it takes seconds and must happen after the device is chosen.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from trainoff.shapes import Location, Run

# Training images on which the batch-norm statistics of random weights are calibrated.
CALIBRATION_IMAGES = 256


def build_base(architecture: dict[str, Any], img_dim: int, weights: Location | None = None) -> Any:
    """The keras.applications network without its classifier, weights as Keras initializes them.

    architecture: an entry of catalog/models.yaml. weights: path of the file that `save` wrote and that will be loaded, None
    for none; some networks have a layer more for weights that were trained on ImageNet (see `_rescaled`).
    """
    import keras

    application = getattr(keras.applications, architecture["application"])
    base = application(include_top=False, weights=None, input_shape=(img_dim, img_dim, 3))
    deviation = architecture.get("imagenet_deviation")
    return _rescaled(base, deviation) if deviation and _normalizes_by(deviation, base, weights) else base


def _rescaled(base, deviation):
    """`base` with the pixels divided by the square root of `deviation` after they are normalized.

    Keras builds EfficientNet so for its ImageNet weights alone, which hold `deviation` where a variance belongs
    (github.com/tensorflow/tensorflow/issues/49930); without it pixels reach the first convolution 2.1 times too small.
    """
    import keras

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        if isinstance(layer, keras.layers.Normalization):
            outputs = keras.layers.Rescaling([1.0 / math.sqrt(channel) for channel in deviation])(outputs)
        return outputs

    return keras.models.clone_model(base, clone_function=lambda layer: layer, call_function=call)


def _normalizes_by(deviation, base, weights):
    """Whether the file `weights` descends from ImageNet weights: its variance of pixels is `deviation`."""
    if weights is None:
        return False
    keys = [_key(i, v) for i, v in enumerate(base.weights) if v.path.endswith("normalization/variance")]
    with np.load(weights, allow_pickle=False) as arrays:
        return any(np.allclose(arrays[key].ravel(), deviation, atol=1e-3) for key in keys)


def build(
    run: Run,
    shape: tuple[int, ...],
    dtype: str,
    weights: Location | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[Any, Any]:
    """The whole model: inputs (batch, *shape) of `dtype` in, logits (batch, classes) out. Returns model, base.

    Images are uint8 pixels (img_dim, img_dim, 3). The scaling of the pixels is part of the model, so that every device
    gets the same bytes and none computes on other inputs. run: with architecture, classes, trainable and seed. `trainable` False
    freezes everything but the last layer and keeps batch normalization in inference. A network of the catalog takes its dropout
    and batch_norm_momentum too, of which None leaves the architecture's own. A model of the user's own comes with its own;
    `random_layers` False turns its dropout off. weights: path of the file that is loaded below the last layer, None for the
    values that Keras draws. say: called with a line of text while a user's slow function runs.
    """
    import keras

    architecture, trainable = run["architecture"], run["trainable"]
    if "application" not in architecture:
        return _build_own(run, shape, dtype, weights, say)
    img_dim = shape[0]
    base = build_base(architecture, img_dim, weights)
    base.trainable = trainable
    if run["batch_norm_momentum"] is not None:
        for layer in _batch_norm_layers(base):
            layer.momentum = run["batch_norm_momentum"]
    scale = getattr(keras.applications, architecture["module"]).preprocess_input
    pixels = keras.Input((img_dim, img_dim, 3), dtype="uint8", name="pixels")
    features = base(scale(keras.ops.cast(pixels, "float32")), training=None if trainable else False)
    features = keras.layers.GlobalAveragePooling2D()(features)
    features = keras.layers.Dropout(run["dropout"], seed=run["seed"])(features)
    # Logits only, in float32 at every precision: an activation in Dense is wrong on Apple's GPUs in graph mode
    # (github.com/tensorflow/tensorflow/issues/92686), and a float16 loss overflows.
    head = keras.layers.Dense(run["classes"], dtype="float32", name="logits")
    model = keras.Model(pixels, head(features))
    head.kernel.assign(_glorot_uniform(np.random.default_rng(run["seed"]), head.kernel.shape))
    if weights is not None:
        load(base, weights)
    return model, base


def _build_own(run, shape, dtype, weights, say):
    import keras

    from trainoff.measure import own

    architecture, classes = run["architecture"], run["classes"]
    base, head = own.build(architecture, shape, classes, say)
    inputs = keras.Input(shape, dtype=dtype, name="inputs")
    model = keras.Model(inputs, own.connect(architecture, base, inputs, classes))
    if weights is not None:
        own.load(architecture, base, weights)
    if not run.get("random_layers", True):
        own.set_dropout(base, 0.0)
    if not run["trainable"]:
        own.freeze_all_but(head, architecture, base)
    return model, base


def describe(model: Any, architecture: dict[str, Any]) -> dict[str, int]:
    """Facts about a built model: parameters, trainable_parameters, flops_per_image (forward; see `flops_per_image`)."""
    from trainoff.measure import own

    count = flops_per_image if "application" in architecture else own.operations
    return {
        "parameters": model.count_params(),
        "trainable_parameters": sum(math.prod(variable.shape) for variable in model.trainable_variables),
        "flops_per_image": count(model),
    }


def flops_per_image(model: Any) -> int:
    """Floating-point operations of one forward pass of one image: two for each multiply-add of its convolutions and dense
    layers, as the papers count them (there often as multiply-adds, which are half); all else is small beside them.
    """
    operations = 0
    for layer in _leaf_layers(model):
        shape = layer.output.shape
        positions = math.prod(shape[1:3]) if len(shape) == 4 else 1
        kernels = [variable for variable in layer.variables if variable.name.endswith("kernel")]
        operations += 2 * positions * sum(math.prod(kernel.shape) for kernel in kernels)
    return operations


def _leaf_layers(model):
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaf_layers(layer)
        else:
            yield layer


def randomize(base: Any, seed: int) -> None:
    """Gives every kernel of `base` Glorot-uniform values drawn by NumPy: the same on every backend and machine."""
    generator = np.random.default_rng(seed)
    for variable in base.trainable_variables:
        if variable.name.endswith("kernel"):  # also of separable convolutions
            variable.assign(_glorot_uniform(generator, variable.shape))


def calibrate(base: Any, architecture: dict[str, Any], images: np.ndarray) -> None:
    """Sets the batch-norm statistics of `base` to those of `images`, uint8 (n, img_dim, img_dim, 3).

    Without it the features of a random network are nearly the same for every image, and its last layer cannot learn.
    """
    import keras

    scale = getattr(keras.applications, architecture["module"]).preprocess_input
    for layer in _batch_norm_layers(base):
        layer.momentum = 0.0  # the moving statistics become those of this one batch; only they are kept
    base(scale(images.astype("float32")), training=True)


def _batch_norm_layers(base):
    import keras

    return [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]


def save(base: Any, path: Location) -> None:
    """Writes the weights of `base` as an .npz file without pickles, keyed by position and name."""
    with open(path, "wb") as file:
        np.savez(file, **{_key(i, v): np.asarray(v) for i, v in enumerate(base.weights)})


def load(base: Any, path: Location) -> None:
    """Loads what `save` wrote into the same architecture."""
    with np.load(path, allow_pickle=False) as arrays:
        base.set_weights([arrays[_key(i, v)] for i, v in enumerate(base.weights)])


def _key(position, variable):
    return f"{position:04d}/{variable.path}"


def _glorot_uniform(generator, shape):
    """Glorot & Bengio 2010, eq. 16; the last two axes are input and output channels, those before them the window."""
    window = int(np.prod(shape[:-2]))
    limit = np.sqrt(6.0 / (window * shape[-2] + window * shape[-1]))
    return generator.uniform(-limit, limit, size=shape).astype("float32")
