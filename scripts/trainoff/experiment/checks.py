"""Checks of an experiment and of the catalog of devices; each fault is reported in one sentence."""

import json
import math
import os
import re
from typing import Any

import jsonschema

from trainoff import axes, bounds
from trainoff.errors import UserError, did_you_mean, one_line
from trainoff.experiment import schema_faults as faults
from trainoff.experiment.experiment_file import unshowable
from trainoff.experiment.plan import NO_SIZE
from trainoff.machine import variables
from trainoff.shapes import Entry, Experiment

# Keys of each dataset besides its name.
DATASET_KEYS = {
    "digits": (),
    "cifar10": ("archive", "sha256"),
    "cifar100": ("archive", "sha256", "labels"),
    "folder": ("path", "fit", "validation_fraction", "on_bad_image"),
    "arrays": ("path",),
}


def check(config: dict[str, Any], schema: dict[str, Any], models: dict[str, dict[str, Any]], where: str) -> None:
    """Raises UserError with one sentence for the first thing wrong in `config`, the merged experiment.

    schema: schemas/config.schema.yaml; models: catalog/models.yaml; where: names of the files that were read.
    """
    models = models | (config.get("models") if isinstance(config.get("models"), dict) else {})
    training = config.get("training")
    if isinstance(training, dict) and "optimizer" in training:
        raise UserError(
            f"{where}: training.optimizer: is an axis now. Expected a list under grid: optimizer: "
            f"[{one_line(training['optimizer'], 20)}]. Finished runs stay valid."
        )
    # Snakemake's own key, added when a config is given on the command line.
    config = {key: value for key, value in config.items() if key != "replace_workflow_config"}
    error = faults.first(faults.Validator(schema), config)
    if error is not None:
        raise UserError(f"{where}: {faults.sentence(error)}")
    char = unshowable(config)
    if char:
        raise UserError(f"{where}: a text holds the invisible character {char}. Remove it.")
    for sentence in [*_grid_contradictions(config["grid"], config, models, "grid"), *_contradictions(config)]:
        raise UserError(f"{where}: {sentence}")


def check_decided(decided: dict[Any, Any], schema: dict[str, Any], where: str) -> None:
    """Raises UserError with one sentence for the first thing wrong in `decided`, what the file `where` of `make decide` holds."""
    keys = schema["properties"]
    minutes = next(kind for kind in keys["turns"]["anyOf"] if "properties" in kind)["properties"]["minutes"]
    turns = {"type": "object", "additionalProperties": False, "properties": {"minutes": minutes}}
    allowed = {"more_replicates": keys["more_replicates"], "turns": turns}
    validator = faults.Validator({"type": "object", "additionalProperties": False, "properties": allowed})
    if error := faults.first(validator, decided):
        raise UserError(f"{where}: {faults.sentence(error)} Correct it or delete the file; the runs stay.")


def check_devices(
    devices: list[Entry], config: Experiment, schema: dict[str, Any], models: dict[str, dict[str, Any]]
) -> None:
    """Raises UserError with one sentence for the first thing wrong in device entries (of `devices` below), or for too many."""
    validator = jsonschema.Draft202012Validator({"$ref": "#/$defs/device", "$defs": schema["$defs"]})
    for device in devices:
        where = f"device {device['name']}"
        error = faults.first(validator, device)
        if error is not None:
            raise UserError(f"{where}: {faults.sentence(error)}")
        for sentence in [
            *_grid_contradictions(device["grid"], config, models, "grid"),
            *_device_contradictions(device, config["grid"] | device["grid"]),
        ]:
            raise UserError(f"{where}: {sentence}")
    for more in config["more_replicates"]:
        if unknown := sorted(set(more["configuration"]) - set(axes.names())):
            raise UserError(
                f"more_replicates: there is no axis {one_line(unknown[0])!r}. Expected some of {', '.join(axes.names())}."
            )
    count = sum(_max_runs(device["name"], config["grid"] | device["grid"], config) for device in devices)
    if count > bounds.EXPERIMENT_RUNS:
        raise UserError(
            f"grid: its axes, {config['replicates']} replicates and {len(devices)} devices make {count:,} runs. Expected at most "
            f"{bounds.EXPERIMENT_RUNS:,}; remove values from the axes."
        )


def _max_runs(name, grid, config):
    """How many runs a device has at most; where entries of more_replicates overlap, it may have fewer."""
    replicates, entries = config["replicates"], [more for more in config["more_replicates"] if name in more["devices"]]
    configurations = math.prod(map(len, grid.values()))
    more_runs = sum(
        max(0, more["replicates"] - replicates)
        * math.prod(len(values) for axis, values in grid.items() if axis not in more["configuration"])
        for more in entries
    )
    max_replicates = max([replicates, *(more["replicates"] for more in entries)])
    return min(replicates * configurations + more_runs, max_replicates * configurations)


def check_counts(images: dict[str, int | None], classes: int, where: str) -> None:
    """Raises UserError for numbers of images that cannot be the same for every class. classes: their number in the dataset."""
    for split, count in images.items():
        if count is not None and count % classes:
            nearest = max(1, round(count / classes)) * classes
            raise UserError(
                f"{where}: images.{split}: {count} cannot be spread evenly over {classes} classes. Expected a multiple of "
                f"{classes}, such as {nearest}, or null for all."
            )


def check_catalog(catalog: dict[str, dict[str, Any]], schema: dict[str, Any]) -> None:
    """Raises UserError with one sentence for the first thing wrong in catalog/devices.yaml. schema: of the experiment."""
    of_device = {**schema["$defs"]["device"], "$defs": schema["$defs"]}
    validator = jsonschema.Draft202012Validator(of_device)
    for name, entry in catalog.items():
        error = faults.first(validator, {"name": name, **entry})
        if error is not None:
            raise UserError(f"catalog/devices.yaml: {name}: {faults.sentence(error)}")


def check_compared(config: Experiment, devices: list[Entry], catalog: dict[str, dict[str, Any]]) -> None:
    """Raises UserError where `compare` or `baseline` names neither a device of the report nor one of the catalog."""
    names = list(dict.fromkeys([*(device["name"] for device in devices), *catalog]))
    for key, wanted in (("compare", config["compare"] or []), ("baseline", [config["baseline"]])):
        for name in wanted:
            if name is not None and name not in names:
                raise UserError(
                    f"{key}: there is no device {one_line(name)!r}{did_you_mean(name, names)}. Expected one of "
                    f"{', '.join(names)}."
                )


def _grid_contradictions(grid, config, models, where):
    """Sentences about faults of axes that a schema cannot express. grid: the experiment's axes, or a device's own."""
    protocol = config["protocol"]
    for name in grid.get("model", config["grid"]["model"]):
        if name not in models:
            yield (
                f"{where}.model: there is no model {one_line(name)!r}{did_you_mean(name, models)}. Expected names from "
                f"catalog/models.yaml ({', '.join(models)}); add an entry for it, or define your own under `models`."
            )
            continue
        smallest = models[name].get("min_img_dim", 1)
        for size in grid.get("img_dim", config["grid"]["img_dim"]):
            if size < smallest and size != NO_SIZE:
                yield f"{where}.img_dim: {size} is too small for {name}. Expected at least {smallest} pixels."
    sizes = grid.get("batch_size", [])
    if misfits := [str(size) for size in sizes if protocol["images_per_epoch"] % size]:
        yield (
            f"protocol.images_per_epoch: {protocol['images_per_epoch']} is not a multiple of batch_size {', '.join(misfits)}. An "
            "epoch is the same number of images for every configuration, in whole batches. Expected "
            f"{_number_that_fits(sizes, protocol)}."
        )
    for values in grid.values():
        # Values with the same JSON text have the same path, so they would be the same run.
        if len({json.dumps(value) for value in values}) < len(values):
            yield f"{where}: {values} lists a value twice."


def _number_that_fits(sizes, protocol):
    """Suggests the number of images nearest to protocol.images_per_epoch that is a multiple of all batch sizes."""
    common = math.lcm(*sizes)
    number = max(1, (protocol["images_per_epoch"] + common // 2) // common) * common
    return (
        f"a multiple of all batch sizes, such as {number}" if len(sizes) > 1 else f"a multiple of it, such as {number}"
    )


def _device_contradictions(device, grid):
    """Sentences about what a device cannot do. grid: the axes that it would run."""
    override = "Remove it from the experiment's grid, or give the device its own:"
    for precision in grid["precision"]:
        if precision not in device["precisions"]:
            yield (
                f"grid.precision: it does not compute in {precision}, according to its entry (precisions: "
                f"{', '.join(device['precisions'])}). {override} grid: {{precision: [float32]}}."
            )
    if True in grid["xla"]:
        if device["backend"] == "torch":
            yield f"grid.xla: PyTorch has no XLA here. {override} grid: {{xla: [false]}}."
        elif device["accelerator"] == "metal":
            yield f"grid.xla: Apple's plugin for TensorFlow has no XLA. {override} grid: {{xla: [false]}}."
    if device["backend"] == "jax":
        if device["accelerator"] == "metal":
            yield "accelerator: JAX has no Apple GPU that works (jax-metal stopped at JAX 0.5). Expected tensorflow or torch."
        if False in grid["xla"] and True in grid["xla"]:
            yield f"grid.xla: JAX always compiles with XLA, so both values are the same run. {override} grid: {{xla: [true]}}."


def _texts(value, key=""):
    """(key, text) of every text in a JSON value."""
    if isinstance(value, str):
        yield key, value
    for name, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _texts(part, f"{key}.{one_line(name)}" if key else one_line(name))


def _contradictions(config):
    """Sentences about keys that contradict each other."""
    protocol, dataset = config["protocol"], config["dataset"]
    for key, text in _texts(config):
        if re.match(r"~[\w.-]*/", text):
            yield f"{key}: {one_line(text)} begins with ~, which only a shell takes for your home folder. Write the path in full."
    if protocol["warm_up_epochs"] >= protocol["epochs"]:
        yield (
            f"protocol.warm_up_epochs: {protocol['warm_up_epochs']} of {protocol['epochs']} epochs leave none to count. "
            "Expected fewer than protocol.epochs."
        )
    minutes = protocol.get("measure_minutes")
    if minutes and minutes >= protocol["timeout_minutes"]:
        yield (
            f"protocol.measure_minutes: {minutes:g} is not less than protocol.timeout_minutes "
            f"({protocol['timeout_minutes']}). Expected fewer minutes."
        )
    if minutes and config["training"].get("cosine_decay"):
        yield (
            "training.cosine_decay: it ends with the last epoch, but protocol.measure_minutes leaves the number of epochs open. "
            "Expected false."
        )
    allowed = DATASET_KEYS[dataset["name"]]
    if foreign := [key for key in dataset if key not in ("name", *allowed)]:
        others = " and ".join(name for name, keys in DATASET_KEYS.items() if foreign[0] in keys)
        yield f"dataset.{foreign[0]}: belongs to {others}, not to {dataset['name']}. Remove it."
    if "path" in allowed and "path" not in dataset:
        kind = "a folder of images" if dataset["name"] == "folder" else "a .npz file"
        yield f"dataset.path: missing. Expected the path of {kind}."
    foreign = [name for name in config["grid"]["model"] if name not in (config.get("models") or {})]
    if dataset["name"] == "arrays" and foreign:
        yield (
            f"grid.model: {one_line(foreign[0])} takes images, but the dataset arrays holds samples of any kind. Expected your "
            "own models, defined under `models`."
        )
    if "sha256" in dataset and "archive" not in dataset:
        yield (
            "dataset.sha256: is the checksum of dataset.archive, which is not set; downloads are verified anyway. Name an "
            "archive or remove it."
        )
    training_settings = config["training"]
    if training_settings.get("cosine_decay") and training_settings["learning_rate_decay"] is not None:
        yield "training: learning_rate_decay and cosine_decay are two schedules. Set one of them to null or false."
    if training_settings.get("augment") == "flip" and dataset["name"] == "arrays":
        yield "training.augment: flip mirrors images, but arrays may not be images. Expected null."
    for name in training_settings.get("variables") or {}:
        if name in variables.SET_HERE:
            yield f"training.variables.{name}: trainoff sets it for every training. Remove it; threads are a key of a device."
        elif not variables.changes_work(name):
            yield (
                f"training.variables.{name}: not one of those that change what a training computes (docs/devices.md). Remove it "
                "and set it in your shell instead."
            )
    for axis, search in (config["limits"] or {}).items():
        if axis != "timeout_minutes" and search["least"] > search["most"]:
            yield f"limits.{axis}: least {search['least']} is above most {search['most']}. Expected least <= most."
    if "archive" in dataset and not os.path.isfile(dataset["archive"]):
        name = one_line(dataset["archive"])
        yield f"dataset.archive: there is no file {name}. Expected the path of the official binary archive, a .tar.gz."
    for name, model in (config.get("models") or {}).items():
        if ("function" in model) == ("file" in model):
            yield f"models.{name}: expected either function, which builds the model, or file, a saved model."
        weights = model.get("weights", "random")
        if weights != "random" and not os.path.isfile(weights):
            yield (
                f"models.{name}.weights: there is no file {one_line(weights)}. Expected random, which keeps the weights that the "
                "model is built with, or the path of a file with its weights."
            )
    if config["weights"] not in ("random", "imagenet") and not os.path.isfile(config["weights"]):
        yield f"weights: there is no file {one_line(config['weights'])}. Expected random, imagenet or the path of a file."
