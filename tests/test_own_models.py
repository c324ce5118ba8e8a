"""Models of the user's own: what they may be, what they are refused for, and what identifies them."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from project import ROOT
from test_train import RUN, data, run  # noqa: F401 (data is a fixture)

import prepare_weights
from trainoff.errors import UserError
from trainoff.experiment import networks, own_code

CATALOG = yaml.safe_load((ROOT / "catalog/models.yaml").read_text())
PIXELS = (32, 32, 3)
CLASSES = 10


def written(folder, body, name="my_net.py"):
    """The architecture of a function `build` with that body, in a file of its own."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    (folder / name).write_text(
        f"import keras\nfrom keras import layers\n\n\ndef build(input_shape, classes):\n{lines}\n"
    )
    return {"function": f"{folder / name}:build"}


def built(architecture, trainable=True, shape=PIXELS, dtype="uint8", random_layers=True):
    from trainoff.measure import models

    run = {"architecture": architecture, "classes": CLASSES, "trainable": trainable, "seed": 0}
    return models.build(run | {"random_layers": random_layers}, shape, dtype)


@pytest.mark.parametrize(
    "body, words",
    [
        ("keras.Sequential([layers.Dense(classes)])", "build returned None, not a Keras model.*lack a return"),
        ("return 3", "build returned 3, not a Keras model"),
        ("return keras.Sequential([layers.Conv2D(classes, 3)])", r"output of shape \(None, 30, 30, 10\). Expected \(None, 10\)"),
        (
            "class Net(keras.Model):\n    def call(self, inputs):\n        inputs + 1\nreturn Net()",
            "the model has no output: its call may lack a return. Expected",
        ),
        ("return keras.Sequential([layers.Flatten()])", r"output of shape \(None, 3072\)"),
        ("x = [1]\nreturn x[classes]", "build failed: my_net.py, line 7, in build: IndexError: list index out of range"),
        ("import sys\nsys.exit(3)", "line 7, in build: it ends Python .exit code 3."),
        (
            "m = keras.Sequential([layers.Flatten(), layers.Dense(1)])\nm.compile(loss='mse')\nm.fit([[1.0]], [[1.0]])",
            "line 8, in build: it trains a model, but should only build one",
        ),
        (
            "a, b = keras.Input(input_shape), keras.Input((3,))\nreturn keras.Model([a, b], layers.Dense(classes)(b))",
            r"cannot take inputs of shape \(None, 32, 32, 3\): ValueError",
        ),
        (
            "keras.mixed_precision.set_global_policy('mixed_float16')\nreturn keras.Sequential([layers.Dense(classes)])",
            "build sets Keras' dtype_policy to mixed_float16 for all models. Expected float32",
        ),
        ("import nothing_of_that_name", "line 6, in build: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("return keras.Sequential([layers.Flatten(), layers.Dense(classes)]), ['last']", "Expected the model alone, or with it"),
    ],
)  # fmt: skip
def test_a_function_is_refused_with_file_and_line(body, words, tmp_path):
    with pytest.raises(UserError, match=words):
        built(written(tmp_path, body))


def test_what_is_raised_in_our_scripts_is_not_blamed_on_a_file_beside_them(tmp_path):
    """As when the time is up: Snakemake's copy of the script lies below the folder of the user's file."""
    from trainoff.measure import own

    copy = tmp_path / ".snakemake/scripts/tmp.prepare_weights.py"
    copy.parent.mkdir(parents=True)
    copy.write_text("def give_up():\n    raise TimeoutError('time is up')\n")
    code = compile("def build(give_up):\n    give_up()\n", str(tmp_path / "my_net.py"), "exec")
    names, other = {}, {}
    exec(code, names)
    exec(compile(copy.read_text(), str(copy), "exec"), other)
    with pytest.raises(TimeoutError) as raised:
        names["build"](other["give_up"])
    assert (
        own._blame(raised.value, {"function": f"{tmp_path / 'my_net.py'}:build"})
        == "my_net.py, line 2, in build: TimeoutError: time is up"
    )


def test_probabilities_and_outputs_that_are_no_numbers_are_refused(tmp_path):
    from trainoff.measure import own

    images = np.arange(2 * 32 * 32 * 3, dtype="uint8").reshape(2, *PIXELS)
    for last, words in (
        ("activation='softmax'", "ends in probabilities"),
        ("bias_initializer=lambda *a, **k: 1 / 0 * 1", "Zero"),
    ):
        body = f"return keras.Sequential([layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(classes, {last})])"
        architecture = written(tmp_path, body)
        with pytest.raises(UserError, match=words):
            own.check_outputs(architecture, built(architecture)[0].predict(images, verbose=0))
    own.check_outputs(architecture, [[0.0, 0.0], [0.2, 0.1]])  # logits of an untrained model may well lie there
    with pytest.raises(UserError, match="not finite"):
        own.check_outputs(architecture, [[np.nan, 1.0]])


SUBCLASS = """
class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution, self.normal = layers.Conv2D(8, 3), layers.BatchNormalization()
        self.drop, self.last = layers.Dropout(0.5), layers.Dense(classes)
    def call(self, pixels, training=None):
        features = self.normal(self.convolution(pixels / 255), training=training)
        return self.last(self.drop(keras.ops.mean(features, axis=(1, 2)), training=training))
return Net()
"""
MARKED = """
inputs = keras.Input(input_shape)
hidden, last = layers.Dense(32, activation="relu"), layers.Dense(classes)
return keras.Model(inputs, last(hidden(layers.Flatten()(inputs)))), [hidden, last]
"""
TEXT = """
words = keras.Input(input_shape, dtype="int32")
read = layers.Bidirectional(layers.LSTM(16, dropout=0.2))(layers.Embedding(100, 8)(words))
return keras.Model(words, layers.Dense(classes)(read))
"""
# name: body, input, weights that train with the last layer alone, operations of the layers with kernels.
FINE = {
    "subclass": (SUBCLASS, (PIXELS, "uint8"), 8 * 10 + 10, 2 * (30 * 30 * 3 * 3 * 3 * 8 + 8 * 10)),
    "marked": (MARKED, (PIXELS, "uint8"), 3072 * 32 + 32 + 32 * 10 + 10, 2 * (3072 * 32 + 32 * 10)),
    "text": (TEXT, ((20,), "int32"), 32 * 10 + 10, 2 * (2 * 20 * 4 * 16 * (8 + 16) + 32 * 10)),
}


@pytest.mark.parametrize("name", FINE)
def test_models_of_all_kinds_are_counted_frozen_and_saved(name, tmp_path):
    from trainoff.measure import models, own

    body, (shape, dtype), last, operations = FINE[name]
    architecture = written(tmp_path, body)
    model, base = built(architecture, trainable=False, shape=shape, dtype=dtype, random_layers=False)
    facts = models.describe(model, architecture)
    assert (facts["trainable_parameters"], facts["flops_per_image"]) == (last, operations)
    dropouts = [vars(part)[key] for part in base._flatten_layers() for key in ("rate", "dropout") if key in vars(part)]
    assert not any(dropouts), "a probe must draw nothing at random"
    whole, other = built(architecture, shape=shape, dtype=dtype)
    assert models.describe(whole, architecture)["parameters"] == facts["parameters"] >= facts["trainable_parameters"]
    own.save(base, tmp_path / "weights.npz")
    own.load(architecture, other, tmp_path / "weights.npz")
    assert own.digest(base, "0") == own.digest(other, "0") != own.digest(base, "1")
    other.weights[0].assign(other.weights[0] + 1.0)
    assert own.digest(base, "0") != own.digest(other, "0")
    changed = written(tmp_path, "return keras.Sequential([layers.Flatten(), layers.Dense(classes)])", "changed.py")
    if dtype == "uint8":
        with pytest.raises(UserError, match="another one here than when its starting weights were prepared"):
            own.load(changed, built(changed)[1], tmp_path / "weights.npz")


def test_a_saved_model_is_loaded_without_any_code_in_the_precision_of_the_run(tmp_path):
    import keras
    from keras import layers

    inputs = keras.Input(PIXELS)
    features = layers.Flatten()(layers.Conv2D(4, 3)(inputs))
    saved = keras.Model(inputs, layers.Dense(CLASSES)(features))
    saved.save(tmp_path / "saved.keras")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, base = built({"file": str(tmp_path / "saved.keras")})
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in base.layers if layer.weights} == {"bfloat16"}
    assert model.output.dtype == "float32"
    for one, other in zip(saved.get_weights(), base.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    ran, marker = tmp_path / "ran", str(tmp_path / "ran")
    keras.Model(
        inputs, layers.Dense(CLASSES)(layers.Lambda(lambda x: (__import__("os").mkdir(marker), x)[1])(features))
    ).save(tmp_path / "code.keras")
    if ran.exists():
        ran.rmdir()
    with pytest.raises(UserError, match="holds Python code .a Lambda layer., which is never run"):
        built({"file": str(tmp_path / "code.keras")})
    assert not ran.exists()


def test_the_same_start_comes_from_the_same_seed_and_is_trained_from(data, tmp_path):  # noqa: F811
    """The vision transformer of the examples: prepared twice, trained once; its record says so and how much memory it took."""
    files, folder = data
    source = {"function": f"{ROOT / 'examples/vision_transformer.py'}:build"}
    architecture = own_code.entries({"vit": source})["vit"]
    said = []
    for seed, name in ((0, "one"), (0, "same"), (1, "other")):
        prepare_weights.prepare_own(
            architecture,
            {"weights": "random", "seed": seed},
            None,
            folder / "images.json",
            files["train_images"],
            tmp_path / f"{name}.npz",
            tmp_path / f"{name}.json",
            timeout_seconds=600,
            say=said.append,
        )
    one, same, other = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "same", "other"))
    assert one["weights_sha256"] == same["weights_sha256"] != other["weights_sha256"]
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "same.npz").read_bytes()
    (tmp_path / "images.json").write_text((folder / "images.json").read_text())
    (tmp_path / "weights.json").write_text((tmp_path / "one.json").read_text())
    own_data = files | {"weights": str(tmp_path / "one.npz")}, tmp_path
    record = run(own_data, tmp_path, model="vit", architecture=architecture, trainable=True)
    assert record["status"] == "ok", record["failure"]
    assert record["model"]["flops_per_image"] > 1e6
    assert record["memory"]["peak_bytes"] > 100e6 and record["memory"]["peak_device_bytes"] is None


def test_identity_is_the_meaning_of_the_file_and_of_modules_beside_it(tmp_path):
    architecture = written(tmp_path, "from parts import blocks\nreturn blocks.make(classes)")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/__init__.py").write_text("")
    blocks = tmp_path / "parts/blocks.py"
    blocks.write_text("from . import width\n\ndef make(classes):\n    return width.WIDTH\n")
    (tmp_path / "parts/width.py").write_text("WIDTH = 3\n")
    (tmp_path / "unused.py").write_text("WIDTH = 3\n")

    def entry():
        return own_code.entries({"mine": architecture})["mine"]

    first = entry()
    (tmp_path / "unused.py").write_text("WIDTH = 4\n")
    blocks.write_text(
        '"""Blocks."""\nfrom . import width  # how wide\n\n\ndef make(classes):\n    return width.WIDTH\n'
    )
    assert entry() == first
    own_code.require_unchanged(first)
    (tmp_path / "parts/width.py").write_text("WIDTH = 4\n")
    assert entry()["sha256"] != first["sha256"]
    with pytest.raises(UserError, match="has changed since the sweep started"):
        own_code.require_unchanged(first)
    known = networks.identity(entry())
    assert known == {"network": "my_net.py:build", "model_sha256": entry()["sha256"]}


@pytest.mark.parametrize(
    "text, words",
    [
        ("def other(input_shape, classes): pass", "has no function build. Expected def build"),
        ("def built(input_shape, classes): pass", "did you mean built"),
        ("def build(shape): pass", "line 1: build takes shape. Expected def build"),
        ("def build(input_shape, classes, width): pass", "a default for every other parameter"),
        ("def build(input_shape, classes)\n", "my_net.py, line 1: SyntaxError"),
        ("\0", "my_net.py"),
    ],
)
def test_what_needs_no_running_is_refused_at_the_start(text, words, tmp_path):
    (tmp_path / "my_net.py").write_text(text)
    with pytest.raises(UserError, match=words):
        own_code.entries({"mine": {"function": f"{tmp_path / 'my_net.py'}:build"}})
    with pytest.raises(UserError, match="models.mine.function: there is no file"):
        own_code.entries({"mine": {"function": "no/such.py:build"}})


def test_a_catalog_entry_that_keras_lacks_is_refused_and_none_hides_another():
    networks.check_catalog(CATALOG, CATALOG)
    with pytest.raises(UserError, match="application: keras.applications has no MobileNetV9"):
        networks.check_catalog(["mine"], {"mine": CATALOG["mobilenetv2"] | {"application": "MobileNetV9"}})
    with pytest.raises(UserError, match="mine: it lacks min_img_dim, weights"):
        networks.check_catalog(["mine"], {"mine": {"application": "MobileNetV2", "module": "mobilenet_v2"}})
    with pytest.raises(UserError, match="the catalog has a model with that name"):
        networks.of_experiment({"models": {"vgg16": {"function": "x.py:build"}}}, CATALOG)


def test_only_networks_that_say_so_are_built_otherwise_for_imagenet_weights():
    """Keras' own source: layers that depend on `weights`, whichever of the catalog's networks they belong to."""
    import keras

    modules = {}
    for entry in CATALOG.values():
        modules.setdefault(entry["module"], []).append("imagenet_deviation" in entry)
    for module, deviations in modules.items():
        source = Path(keras.__file__).parent / "src/applications" / f"{module}.py"
        conditions = [
            node
            for node in ast.walk(ast.parse(source.read_text()))
            if isinstance(node, ast.If | ast.IfExp)
            and "weights" in {name.id for name in ast.walk(node.test) if isinstance(name, ast.Name)}
        ]
        layers = [ast.unparse(part) for node in conditions for part in ast.walk(node) if "layers." in ast.unparse(part)]
        assert bool(layers) == all(deviations) == any(deviations), f"{module}: {layers}"


@pytest.mark.parametrize("name", ["efficientnetb0", pytest.param("efficientnetb7", marks=pytest.mark.slow)])
def test_efficientnet_has_the_layers_that_keras_gives_it_for_imagenet_weights(name, tmp_path, monkeypatch):
    import keras
    from keras.src.utils import file_utils, naming

    from trainoff.measure import models

    entry = CATALOG[name]
    architecture = networks.architecture(entry, "imagenet")
    with monkeypatch.context() as patched:
        patched.setattr(file_utils, "get_file", lambda *args, **options: "weights.h5")
        patched.setattr(keras.Model, "load_weights", lambda *args, **options: None)
        naming.reset_uids()
        wanted = getattr(keras.applications, entry["application"])(include_top=False, input_shape=PIXELS)
    variance = next(weight for weight in wanted.weights if weight.path.endswith("normalization/variance"))
    plain = models.build_base(architecture, 32)
    assert len(plain.layers) == len(wanted.layers) - 1
    variance.assign(np.reshape(entry["imagenet_deviation"], variance.shape))
    models.save(wanted, tmp_path / "weights.npz")
    naming.reset_uids()  # as in a process of its own: layers are found by their names
    found = models.build_base(architecture, 32, tmp_path / "weights.npz")
    models.load(found, tmp_path / "weights.npz")
    kinds = [(type(layer), layer.name.partition("_")[0], layer.count_params()) for layer in found.layers[1:]]
    assert kinds == [(type(layer), layer.name.partition("_")[0], layer.count_params()) for layer in wanted.layers[1:]]
    images = np.random.default_rng(0).uniform(0, 255, (2, *PIXELS)).astype("float32")
    np.testing.assert_array_equal(wanted(images), found(images))
    assert networks.identity(architecture) != networks.identity(networks.architecture(entry, "random"))


def trained_losses(settings):
    """The first losses of a dense network on eight made-up samples, with a run's optimizer as protocol makes it."""
    import keras

    from trainoff.measure import protocol

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers_of(keras)])
    run_ = RUN | {"learning_rate": 0.1, "learning_rate_decay": None, "epochs": 2, "images_per_epoch": 32} | settings
    optimizer = protocol._optimizer(run_)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    inputs = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    return model.fit(inputs, np.arange(8) % 3, batch_size=8, epochs=4, shuffle=False, verbose=0).history["loss"]


def layers_of(keras):
    return keras.layers.Dense(3, kernel_initializer="ones")


def test_optimizers_and_schedules_are_keras_own():
    """Weights that all start at one: the losses of four steps, which differ wherever a setting is used."""
    plain = trained_losses({})
    assert plain == trained_losses(
        {"optimizer": "adam", "warm_up_steps": 0, "cosine_decay": False, "weight_decay": None}
    )
    asked = [
        {"optimizer": "adamw"},
        {"optimizer": "sgd"},
        {"weight_decay": 0.1},
        {"gradient_accumulation": 2},
        {"cosine_decay": True},
        {"warm_up_steps": 3},
    ]
    losses = {json.dumps(one): trained_losses(one) for one in asked}
    for name, found in losses.items():
        assert found[0] == plain[0] and found[1:] != plain[1:], name
    assert len({tuple(found) for found in losses.values()}) == len(asked)
    two = losses[json.dumps({"gradient_accumulation": 2})]
    assert two[0] == two[1] != two[2]


def test_flipped_images_are_the_same_in_every_process_and_leave_the_order_alone():
    from trainoff.measure.batches import training_batches

    images = np.arange(6 * 2 * 4 * 3, dtype="uint8").reshape(6, 2, 4, 3)
    kept = images.copy()
    plain, flipped, again = (training_batches(images, np.arange(6), 4, 7, flip=flip) for flip in (False, True, True))
    mirrored = []
    for _ in range(10):
        (one, labels), (other, other_labels), (same, _) = next(plain), next(flipped), next(again)
        np.testing.assert_array_equal(labels, other_labels)
        np.testing.assert_array_equal(other, same)
        for image, seen in zip(one, other, strict=True):
            assert (seen == image).all() or (seen == image[:, ::-1]).all()
            mirrored.append(not (seen == image).all())
    assert 5 < sum(mirrored) < 35
    np.testing.assert_array_equal(images, kept)
