"""The models that are trained: a keras.applications network below one layer of logits.

Keras is imported inside the functions, since importing it takes seconds and must happen after the device is chosen.
"""

import math

import numpy as np

from trainoff.errors import UserError, one_line

# Training images on which the batch-norm statistics of random weights are calibrated.
CALIBRATION_IMAGES = 256


def build_base(architecture, img_dim):
    """The keras.applications network without its classifier, weights as Keras initialises them.

    architecture: an entry of catalog/models.yaml.
    """
    import keras

    application = getattr(keras.applications, architecture["application"])
    return application(include_top=False, weights=None, input_shape=(img_dim, img_dim, 3))


def build(architecture, img_dim, classes, dropout, trainable, batch_norm_momentum, seed):
    """The whole model: uint8 pixels (batch, img_dim, img_dim, 3) in, logits (batch, classes) out. Returns model, base.

    `trainable` False freezes everything but the last layer and keeps batch normalisation in inference.
    `batch_norm_momentum` None leaves the architecture's own. The scaling of the pixels is part of the model, so that
    every device gets the same bytes and none computes on other inputs.
    """
    import keras

    base = build_base(architecture, img_dim)
    base.trainable = trainable
    if batch_norm_momentum is not None:
        for layer in _batch_norm_layers(base):
            layer.momentum = batch_norm_momentum
    scale = getattr(keras.applications, architecture["module"]).preprocess_input
    pixels = keras.Input((img_dim, img_dim, 3), dtype="uint8", name="pixels")
    features = base(scale(keras.ops.cast(pixels, "float32")), training=None if trainable else False)
    features = keras.layers.GlobalAveragePooling2D()(features)
    features = keras.layers.Dropout(dropout, seed=seed)(features)
    # Logits only, in float32 at every precision: an activation in Dense is wrong on Apple's GPUs in graph mode
    # (github.com/tensorflow/tensorflow/issues/92686), and a float16 loss overflows.
    head = keras.layers.Dense(classes, dtype="float32", name="logits")
    model = keras.Model(pixels, head(features))
    head.kernel.assign(_glorot_uniform(np.random.default_rng(seed), head.kernel.shape))
    return model, base


def describe(model):
    """Facts about a built model: parameters, trainable_parameters, flops_per_image (forward; see `flops_per_image`)."""
    return {
        "parameters": model.count_params(),
        "trainable_parameters": sum(math.prod(variable.shape) for variable in model.trainable_variables),
        "flops_per_image": flops_per_image(model),
    }


def flops_per_image(model):
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


def randomise(base, seed):
    """Gives every kernel of `base` Glorot-uniform values drawn by NumPy: the same on every backend and machine."""
    generator = np.random.default_rng(seed)
    for variable in base.trainable_variables:
        if variable.name.endswith("kernel"):  # also of separable convolutions
            variable.assign(_glorot_uniform(generator, variable.shape))


def calibrate(base, architecture, images):
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


def load_pretrained(base, path):
    """Loads the .h5 file at `path` into `base`: weights of the same network, with or without a classifier on top.

    Only arrays are read, never a model's description or code. Raises UserError when the file does not fit.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            stored = _arrays_by_name(file)
    except OSError as error:
        raise UserError(
            f"weights: {path} cannot be read as an HDF5 file ({one_line(error)}). Expected an .h5 file with weights of "
            f"{base.name}."
        ) from error
    try:
        base.load_weights(path)
    except Exception:
        # Keras loads a file only if its layers are those of `base` one by one. A file saved with a classifier holds
        # the same layers among others: find them by name.
        _load_by_name(base, stored, path)
    if not all(np.isfinite(array).all() for array in base.get_weights()):
        raise UserError(f"weights: {path} holds values that are not finite. Expected trained weights of {base.name}.")


def save(base, path):
    """Writes the weights of `base` as an .npz file without pickles, keyed by position and name."""
    with open(path, "wb") as file:
        np.savez(file, **{_key(i, v): np.asarray(v) for i, v in enumerate(base.variables)})


def load(base, path):
    """Loads what `save` wrote into the same architecture."""
    with np.load(path, allow_pickle=False) as arrays:
        base.set_weights([arrays[_key(i, v)] for i, v in enumerate(base.variables)])


def _key(position, variable):
    return f"{position:04d}/{variable.path}"


def _glorot_uniform(generator, shape):
    """Glorot & Bengio 2010, eq. 16; the last two axes are input and output channels, those before them the window."""
    window = int(np.prod(shape[:-2]))
    limit = np.sqrt(6.0 / (window * shape[-2] + window * shape[-1]))
    return generator.uniform(-limit, limit, size=shape).astype("float32")


def _arrays_by_name(file):
    """{"layer/weight": array} for every dataset in an HDF5 file, names freed of the ":0" and prefixes of older versions."""
    import h5py

    found = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            layer, weight = name.split("/")[-2:] if "/" in name else ("", name)
            found.setdefault(f"{layer}/{weight.split(':')[0].removeprefix('depthwise_')}", item[()])

    file.get("model_weights", file).visititems(collect)
    return found


def _load_by_name(base, stored, path):
    arrays, problems = [], []
    for layer in base.layers:
        for variable in layer.variables:
            name = f"{layer.name}/{variable.name}"
            array = stored.get(name)
            if array is None:
                problems.append(f"{name} is missing")
            elif array.shape != tuple(variable.shape):
                problems.append(f"{name} has shape {array.shape}, expected {tuple(variable.shape)}")
            arrays.append(array)
    if problems:
        raise UserError(
            f"weights: {path} is of another architecture: of {len(arrays)} tensors of {base.name}, {len(problems)} do not "
            f"fit (first: {problems[0]}). Expected an .h5 file with weights of {base.name}."
        )
    for variable, array in zip((v for layer in base.layers for v in layer.variables), arrays, strict=True):
        variable.assign(array)
