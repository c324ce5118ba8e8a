"""What an experiment may contain, and the messages when it contains something else."""

import contextlib
import copy
import datetime
import math
import re
from pathlib import Path

import pytest
import yaml

from trainoff import axes
from trainoff.errors import UserError
from trainoff.experiment import checks, plan

ROOT = Path(__file__).parents[1]
SCHEMA = axes.into_experiment_schema(yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text()))
MODELS = yaml.safe_load((ROOT / "catalog/models.yaml").read_text())
CATALOG = yaml.safe_load((ROOT / "catalog/devices.yaml").read_text())
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())


def merged(changes, base=DEFAULT):
    """`base` with `changes` merged in key by key, as Snakemake merges --configfile."""
    config = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            config[key] = merged(value, config[key])
        else:
            config[key] = value
    return config


def check(config):
    checks.check(config, SCHEMA, MODELS, "config.yaml")


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *ROOT.glob("presets/*.yaml")], ids=lambda path: path.stem)
def test_shipped_experiments_are_valid(path):
    check(merged(yaml.safe_load(path.read_text())))


def test_every_key_of_the_schema_is_in_the_default_experiment_or_optional_there():
    """The schema and the default experiment match."""
    assert set(SCHEMA["properties"]) == set(DEFAULT)
    for section in ("images", "grid", "training", "protocol", "energy", "money"):
        assert set(SCHEMA["properties"][section]["properties"]) == set(DEFAULT[section]), section


def test_default_experiment_has_eight_configurations():
    devices = plan.devices(DEFAULT, CATALOG, detect=lambda: ["cpu", "cuda"])
    runs = plan.runs(DEFAULT, devices)
    assert len(runs) == 8 * 2
    assert len({tuple(plan.wildcards(run).items()) for run in runs}) == len(runs)


def test_some_configurations_have_more_replicates_than_others():
    more = [
        {"devices": ["cpu"], "configuration": {"batch_size": 32, "trainable": False}, "replicates": 3},
        {"devices": ["cpu", "cuda"], "configuration": {"batch_size": 32}, "replicates": 2},
    ]
    config = merged({"devices": ["cpu", "cuda"], "more_replicates": more})
    runs = plan.runs(config, plan.devices(config, CATALOG, detect=list))
    # Two image sizes each: 8 configurations have one replicate, batch size 32 two, and on the CPU with the last layer three.
    assert [run["replicate"] for run in runs] == [1] * 16 + [2] * 8 + [3] * 2
    assert {(run["device"]["name"], run["batch_size"], run["trainable"]) for run in runs[-2:]} == {("cpu", 32, False)}
    with pytest.raises(UserError, match="there is no axis 'batchsize'"):
        wrong = merged({"more_replicates": [{"devices": ["cpu"], "configuration": {"batchsize": 1}, "replicates": 2}]})
        checks.check_devices(plan.devices(wrong, CATALOG, detect=lambda: ["cpu"]), wrong, SCHEMA, MODELS)


@pytest.mark.parametrize("configuration, refused", [({"learning_rate": 0.001, "img_dim": 96}, False), ({}, True)])
def test_replicates_of_one_configuration_do_not_count_for_all(configuration, refused):
    """A file that `make decide` wrote must not be refused at the next start."""
    more = {"devices": ["cpu"], "configuration": configuration, "replicates": 10}
    rates = [rank / 1000 for rank in range(1, 2001)]
    config = merged({"grid": {"learning_rate": rates}, "devices": ["cpu"], "more_replicates": [more]})
    with pytest.raises(UserError, match="make 160,000 runs") if refused else contextlib.nullcontext():
        checks.check_devices(plan.devices(config, CATALOG, detect=list), config, SCHEMA, MODELS)


def test_replicates_are_interleaved_and_share_seeds_across_devices():
    config = merged({"replicates": 3})
    runs = plan.runs(config, plan.devices(config, CATALOG, detect=lambda: ["cpu", "cuda"]))
    assert [run["replicate"] for run in runs] == [1] * 16 + [2] * 16 + [3] * 16
    assert {(run["replicate"], run["seed"]) for run in runs} == {(1, 0), (2, 1), (3, 2)}
    assert [run["device"]["name"] for run in runs[:4]] == ["cpu", "cuda", "cpu", "cuda"]


@pytest.mark.parametrize(
    "changes, key, hint",
    [
        ({"titel": "x"}, "titel", "did you mean title?"),
        ({"grid": {"batchsize": [32]}}, "grid.batchsize", "did you mean batch_size?"),
        ({"grid": {"batch_size": []}}, "grid.batch_size", "the list is empty"),
        ({"grid": {"batch_size": [-32]}}, "grid.batch_size", "-32"),
        ({"grid": {"batch_size": 32}}, "grid.batch_size", "32 is not a list. Write [32]."),
        ({"grid": {"batch_size": [True]}}, "grid.batch_size", "true is not a whole number"),
        ({"grid": {"batch_size": [32, 32]}}, "grid.batch_size", "[32, 32] lists a value twice"),
        ({"grid": {"img_dim": [96.5]}}, "grid.img_dim", "96.5 is not a whole number"),
        ({"grid": {"img_dim": [16]}}, "grid.img_dim", "at least 32"),
        ({"grid": {"learning_rate": ["5e-4"]}}, "grid.learning_rate", "0.0005"),
        ({"grid": {"learning_rate": [0]}}, "grid.learning_rate", "0"),
        (
            {"grid": {"trainable": ["yes"]}},
            "grid.trainable",
            "'yes' is text, not true or false. Write it without quotes.",
        ),
        ({"grid": {"precision": ["float16"]}}, "grid.precision", "mixed_float16"),
        ({"grid": {"model": ["mobilenet_v2"]}}, "grid.model", "did you mean mobilenetv2?"),
        ({"grid": {"model": ["VGG16"]}}, "grid.model", "did you mean vgg16?"),
        ({"REPLICATES": 3}, "REPLICATES", "did you mean replicates?"),
        ({"replicates": 0}, "replicates", "minimum"),
        ({"images": {"train": 0}}, "images.train", "minimum"),
        ({"protocol": {"images_per_epoch": 650}}, "protocol.images_per_epoch", "multiple of batch_size 32"),
        ({"protocol": {"warm_up_epochs": 4}}, "protocol.warm_up_epochs", "none to count"),
        ({"protocol": {"timeout_minutes": 0}}, "protocol.timeout_minutes", "0"),
        ({"protocol": {"timeout_minutes": 0.4}}, "protocol.timeout_minutes", "whole minutes"),
        (
            {"protocol": {"images_per_epoch": 650}, "grid": {"batch_size": [24, 100, 50]}},
            "protocol.images_per_epoch",
            "such as 600",
        ),
        ({"dataset": {"archive": "x.tar.gz"}}, "dataset.archive", "belongs to cifar10 and cifar100, not to digits"),
        ({"dataset": {"name": "folder"}}, "dataset.path", "Expected the path of a folder of images"),
        ({"dataset": {"name": "folder", "path": "images", "archive": "a"}}, "dataset.archive", "belongs to cifar10"),
        ({"dataset": {"name": "arrays", "path": "my.npz"}}, "grid.model", "mobilenetv2 takes images"),
        ({"dataset": {"name": "cifar10", "archive": "no/such.tar.gz"}}, "dataset.archive", "no file"),
        ({"dataset": {"name": "cifar10", "sha256": "0" * 64}}, "dataset.sha256", "Name an archive"),
        ({"dataset": {"name": "CIFAR-10"}}, "dataset.name", "did you mean cifar10?"),
        ({"weights": "no/such.h5"}, "weights", "no file"),
        ({"weights": "~/such.h5"}, "weights", "only a shell takes for your home folder"),
        ({"imports": ["imports", "~/bundles"]}, "imports.1", "Write the path in full"),
        (
            {"pathvars": {"results": "../elsewhere"}},
            "pathvars.results",
            "'../elsewhere' is not allowed here. Expected: Folder",
        ),
        ({"training": {"dropout": 1}}, "training.dropout", "1 is too large, it must be below 1"),
        ({"devices": "cpu"}, "devices", "'cpu' is not allowed here. Write [cpu]. Expected: auto, or a list of names"),
        ({"devices": None}, "devices", "null is not allowed here. Expected: auto, or a list of names"),
        ({"devices": [1]}, "devices.0", "1 is not allowed here. Expected: a name from catalog/devices.yaml"),
        ({"devices": [{"name": "x"}]}, "devices.0.label", "missing"),
        ({"grid": None}, "grid", "null is not a mapping of keys to values"),
        ({"seed": 10**30}, "seed", "is too large"),
        ({"protocol": {"measure_minutes": math.nan}}, "protocol.measure_minutes", "NaN is not a number or null"),
        ({"compare": ["cpu"]}, "compare", '["cpu"] has 1 value, and the minimum is 2'),
        ({"title": 2026}, "title", "2026 is not text. Put it in quotes."),
        ({"title": "x" * 201}, "title", "it has 201 characters, and the maximum is 200"),
        ({"retry": "crashed"}, "retry", "Write [crashed]. Expected: Failed runs to train again, by status"),
        (
            {"energy": {"carbon": {"grams_per_kwh": 1, "source": "a bill", "date": datetime.date(2026, 11, 1)}}},
            "energy.carbon.date",
            "2026-11-01 is not text. Put it in quotes.",
        ),
    ],
)
def test_mistakes_are_named_in_one_sentence(changes, key, hint):
    with pytest.raises(UserError) as caught:
        check(merged(changes))
    message = str(caught.value)
    assert message.startswith(f"config.yaml: {key}"), message
    assert hint in message
    assert "\n" not in message
    assert not re.search(r"schema|of type|instance|None|True|False|\\\\Z", message), "terms of JSON schema or Python"


@pytest.mark.parametrize(
    "decided, words",
    [
        ({"more_replicates": 3}, "more_replicates: 3 is not a list. Expected: More"),
        ({"more_replicates": [1]}, "more_replicates.0: 1 is not a mapping"),
        ({"turns": 7}, "turns: 7 is not a mapping"),
        ({"turns": {"minutes": "many"}}, "turns.minutes: 'many' is text"),
        ({"more_replicate": []}, "more_replicate: unknown key (did you mean more_replicates?)"),
    ],
)
def test_an_edited_file_of_make_decide_is_refused_in_a_sentence(decided, words):
    checks.check_decided({"more_replicates": [], "turns": {"minutes": 20}}, SCHEMA, "decide.yaml")
    with pytest.raises(UserError) as caught:
        checks.check_decided(decided, SCHEMA, "decide.yaml")
    message = str(caught.value)
    assert message.startswith(f"decide.yaml: {words}") and message.endswith("delete the file; the runs stay.")


def test_images_are_the_same_number_of_every_class():
    checks.check_counts({"train": 1280, "validation": None}, 10, "config.yaml")
    for count, classes, hint in [
        (1285, 10, "Expected a multiple of 10, such as 1280"),
        (1, 2, "over 2 classes.*such as 2,"),
    ]:
        with pytest.raises(UserError, match=f"config.yaml: images.train: .*{hint}"):
            checks.check_counts({"train": count, "validation": None}, classes, "config.yaml")


def test_no_limit_is_searched_below_the_smallest_image_of_a_model():
    config = merged({"grid": {"model": ["mobilenetv2", "inceptionv3"]}, "limits": {"batch_size": {"img_dim": 64}}})
    devices = plan.devices({"devices": ["cpu"]}, CATALOG, list)
    trials = {(trial["model"], trial["axis"]): trial for trial in plan.limit_trials(config, devices, MODELS)}
    assert [trials[model, "img_dim"]["values"][0] for model in ("mobilenetv2", "inceptionv3")] == [32, 96]
    assert [trials[model, "batch_size"]["img_dim"] for model in ("mobilenetv2", "inceptionv3")] == [64, 75]


def test_image_sizes_do_not_apply_to_arrays():
    config = plan.fitted(merged({"dataset": {"name": "arrays", "path": "my.npz"}}))
    entry = {
        "name": "own",
        "label": "Own",
        "backend": "torch",
        "accelerator": "cpu",
        "env": "torch-cpu",
        "grid": {"img_dim": [64]},
    }
    devices = plan.devices(config | {"devices": ["cpu", entry]}, CATALOG, detect=list)
    assert {run["img_dim"] for run in plan.runs(config, devices)} == {plan.NO_SIZE}
    assert {trial["img_dim"] for trial in plan.limit_trials(config, devices)} == {plan.NO_SIZE}


@pytest.mark.parametrize(
    "chosen, hint",
    [(["cdua"], "did you mean cuda?"), (["cpu", "cpu"], "listed 2 times")],
)
def test_unknown_and_repeated_devices_are_refused(chosen, hint):
    with pytest.raises(UserError, match=hint.replace("?", r"\?")):
        plan.devices(merged({"devices": chosen}), CATALOG, detect=list)


def test_a_device_can_be_written_out():
    entry = {
        "name": "second-gpu",
        "label": "Lab GPU 2",
        "backend": "tensorflow",
        "accelerator": "cuda",
        "env": "tensorflow-cuda",
    }
    config = merged({"devices": ["cpu", entry | {"index": 1}]})
    check(config)
    entries = plan.devices(config, CATALOG, detect=list)
    assert entries[1]["index"] == 1
    checks.check_devices(entries, config, SCHEMA, MODELS)
    with pytest.raises(UserError):
        check(merged({"devices": [entry | {"accelerator": "tpu"}]}))


def test_every_device_of_the_catalog_can_run_the_default_grid():
    entries = plan.devices(merged({"devices": list(CATALOG)}), CATALOG, detect=list)
    checks.check_devices(entries, DEFAULT, SCHEMA, MODELS)
    assert {entry["name"] for entry in entries} >= {
        *("cpu", "cuda", "metal", "cpu-tensorflow", "cpu-torch", "cpu-jax", "cuda-torch", "cuda-jax", "mps-torch")
    }


@pytest.mark.parametrize(
    "name, changes, words",
    [
        ("cpu", {"grid": {"dropout": [0.1]}}, "grid.dropout: unknown key"),
        ("cpu", {"grid": {"batch_size": [48]}}, "640 is not a multiple of batch_size 48"),
        ("cpu", {"grid": {"precision": ["mixed_float16"]}}, "it does not compute in mixed_float16"),
        ("cpu-torch", {"grid": {"xla": [True]}}, "PyTorch has no XLA"),
        ("metal", {"grid": {"xla": [True]}}, "Apple's plugin for TensorFlow has no XLA"),
        ("cpu-jax", {"grid": {"xla": [True, False]}}, "both values are the same run"),
        ("cpu-jax", {"accelerator": "mps"}, "JAX has no Apple GPU that works"),
        ("cpu", {"accelerator": "tpu"}, "accelerator: 'tpu' is not one of"),
        ("cpu", {"backend": "mxnet"}, "backend: 'mxnet' is not one of"),
    ],
)
def test_what_a_device_cannot_do_is_one_sentence_before_anything_runs(name, changes, words):
    (entry,) = plan.devices(merged({"devices": [name]}), CATALOG, detect=list)
    (entry,) = plan.devices({"devices": [entry | changes]}, CATALOG, detect=list)
    with pytest.raises(UserError) as caught:
        checks.check_devices([entry], DEFAULT, SCHEMA, MODELS)
    assert str(caught.value).startswith(f"device {name}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_device_may_have_axes_of_its_own():
    entry = {"name": "cuda", **CATALOG["cuda"], "grid": {"precision": ["float32", "mixed_float16"], "img_dim": [96]}}
    config = merged({"devices": ["cpu", entry], "replicates": 2})
    runs = plan.runs(config, plan.devices(config, CATALOG, detect=list))
    counts = {name: [run for run in runs if run["device"]["name"] == name] for name in ("cpu", "cuda")}
    assert len(counts["cpu"]) == 8 * 2 and len(counts["cuda"]) == 4 * 2 * 2
    assert {run["precision"] for run in counts["cpu"]} == {"float32"}
    assert {run["img_dim"] for run in counts["cuda"]} == {96}
    assert [run["replicate"] for run in runs] == [1] * 16 + [2] * 16
