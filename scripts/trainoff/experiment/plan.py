"""The experiment, and the runs that follow from it. What is wrong in one is said by trainoff.experiment.checks."""

import functools
import itertools
import json
from collections.abc import Callable
from typing import Any

from trainoff import axes
from trainoff.errors import UserError, did_you_mean, one_line
from trainoff.shapes import Configuration, Entry, Experiment, Run

# What a device entry says that a run depends on; label and env do not change what is computed.
DEVICE_KEYS = ["name", "backend", "accelerator", "index", "threads"]
# Keys of `training` and `protocol` that came later, with what runs from before them were trained with.
LATER_SETTINGS = {
    "weight_decay": None,
    "gradient_accumulation": None,
    "cosine_decay": False,
    "warm_up_steps": 0,
    "augment": None,
    "variables": None,
    "measure_minutes": None,
}
DEVICE_DEFAULTS = {"index": 0, "threads": None, "precisions": ["float32"], "grid": {}}
# The axis img_dim of samples that are no images: it does not apply.
NO_SIZE = 0
# How every probe trains, whatever the grid says. No dropout, since backends draw it differently.
PROBE = {
    "batch_size": 32,
    "trainable": True,
    "learning_rate": 5e-5,  # small steps: larger ones let rounding grow to where it hides a fault
    "learning_rate_decay": None,
    "dropout": 0.0,
    "batch_norm_momentum": None,
    "random_layers": False,  # the same of models of the user's own
    "steps": 5,
}
# How every trial of a limit trains.
LIMIT = PROBE | {"precision": "float32", "xla": False, "steps": 3}


def in_order(value: Any) -> Any:
    """A JSON value with all keys in order, so that what follows from it does not depend on how a file was written."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value, key=str)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


def fitted(config: Experiment) -> Experiment:
    """The experiment as it runs. Where samples are no images the axis img_dim has the one value NO_SIZE, whatever it says."""
    if config["dataset"]["name"] != "arrays":
        return config
    limits = config["limits"] and {key: search for key, search in config["limits"].items() if key != "img_dim"}
    if limits and "batch_size" in limits:
        limits |= {"batch_size": limits["batch_size"] | {"img_dim": NO_SIZE}}
    return config | {"grid": config["grid"] | {"img_dim": [NO_SIZE]}, "limits": limits}


def devices(
    config: Experiment, catalog: dict[str, dict[str, Any]], detect: Callable[[], list[str | Entry]]
) -> list[Entry]:
    """The device entries of an experiment, in its order, each complete with name, index and threads.

    catalog: catalog/devices.yaml; detect: tells the names that `devices: auto` stands for on this machine.
    """
    chosen = detect() if config["devices"] == "auto" else config["devices"]
    entries = []
    for device in chosen:
        if isinstance(device, str):
            if device not in catalog:
                raise UserError(
                    f"devices: there is no device {one_line(device)!r}{did_you_mean(device, catalog)}. Expected auto, names "
                    f"from catalog/devices.yaml ({', '.join(catalog)}), or entries in the same form; add an entry for it."
                )
            device = {"name": device, **catalog[device]}
        device = {**DEVICE_DEFAULTS, **device}
        if config.get("dataset", {}).get("name") == "arrays":
            device["grid"] = {axis: values for axis, values in device["grid"].items() if axis != "img_dim"}
        # PyTorch calls Apple's GPU mps, TensorFlow's plugin metal: one accelerator.
        entries.append(device | {"accelerator": "metal" if device["accelerator"] == "mps" else device["accelerator"]})
    names = [entry["name"] for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"devices: {name!r} is listed {names.count(name)} times. Give every device a name of its own."
            )
    return entries


def runs(config: Experiment, devices: list[Entry]) -> list[Run]:
    """Every run of the experiment as a dict of built-in values: its axes, device, replicate and seed.

    A device's own `grid` takes the place of the experiment's on the axes that it names.

    Ordered so that replicates are interleaved over configurations and devices: what drifts slowly hits all alike.
    """
    combinations = [
        [(combination, replicates_of(config, device["name"], combination)) for combination in _combinations(grid)]
        for device in devices
        for grid in [config["grid"] | device["grid"]]
    ]
    most = max((number for listed in combinations for _, number in listed), default=0)
    return [
        {
            "device": {key: device[key] for key in DEVICE_KEYS},
            **place[0],
            "replicate": replicate,
            "seed": config["seed"] + replicate - 1,
        }
        for replicate in range(1, most + 1)
        for turn in itertools.zip_longest(*combinations)
        for device, place in zip(devices, turn, strict=True)
        # A device that leaves axes out has fewer, and some configurations have more replicates than others.
        if place is not None and replicate <= place[1]
    ]


def replicates_of(config: Experiment, device: str, configuration: Configuration) -> int:
    """How many replicates a configuration has on the device of that name: those of all, or of `more_replicates`."""
    return max(
        config["replicates"],
        *(
            more["replicates"]
            for more in config.get("more_replicates", ())
            if device in more["devices"]
            and all(configuration[axis] == value for axis, value in more["configuration"].items())
        ),
        0,
    )


def with_decided(config: Experiment, decided: dict[str, Any]) -> Experiment:
    """The experiment with what `make decide` added to it (scripts/decide.py): replicates, and minutes of turns.

    decided: {"more_replicates", "turns"} as in an experiment, both optional.
    """
    more = [*config["more_replicates"], *decided.get("more_replicates", ())]
    minutes = (decided.get("turns") or {}).get("minutes", 0)
    turns = config["turns"] and config["turns"] | {"minutes": max(config["turns"]["minutes"], minutes)}
    return config | {"more_replicates": more, "turns": turns}


def _combinations(grid):
    grid = axes.default_grid() | grid
    return [
        dict(zip(axes.names(), values, strict=True))
        for values in itertools.product(*(grid[axis] for axis in axes.names()))
    ]


def turns(config: Experiment, devices: list[Entry]) -> list[tuple[Entry, Entry, Run]]:
    """What takes turns: [(device, baseline, run)], entries of devices and one of `runs` without its device, replicate 1.

    Every device with one of them, on every configuration that both have: with `baseline`, or the second of `compare`, or the
    first. The one that the experiment lists first is the baseline of a pair, as in the tables. Empty with `turns: off`.
    """
    if not config["turns"] or len(devices) < 2:
        return []
    names = [device["name"] for device in devices]
    wished = [config.get("baseline"), *(config.get("compare") or [])[::-1], names[0]]
    shared = next(names.index(name) for name in wished if name in names)
    pairs = [sorted((shared, other)) for other in range(len(devices)) if other != shared]
    grids = [_combinations(config["grid"] | device["grid"]) for device in devices]
    return [
        (devices[second], devices[first], {**combination, "replicate": 1, "seed": config["seed"]})
        for combination in _combinations(config["grid"] | devices[shared]["grid"])
        for first, second in pairs
        if combination in grids[first] and combination in grids[second]
    ]


def training(run: Run, config: Experiment, architectures: dict[str, dict[str, Any]]) -> Run:
    """All that a training is told, in built-in types.

    run: one of `runs`; architectures: {model: what networks.architecture gives}.
    """
    protocol = config["protocol"]
    return {
        **run,
        "architecture": architectures[run["model"]],
        # Settings of later versions only where they are asked for, as in records from before they existed.
        **{
            key: value
            for key, value in settings(config).items()
            if key not in LATER_SETTINGS or value != LATER_SETTINGS[key]
        },
        # Only where it is asked for, as in records of earlier versions.
        **({"deterministic": True} if config["deterministic"] else {}),
        **{key: protocol[key] for key in ("epochs", "images_per_epoch", "warm_up_epochs")},
    }


def settings(config: Experiment) -> dict[str, Any]:
    """`training` of an experiment, and of its `protocol` what came later: what identifies runs only where it is asked for."""
    return {**config["training"], "measure_minutes": config["protocol"].get("measure_minutes")}


def reference(devices: list[Entry], catalog: dict[str, dict[str, Any]]) -> Entry:
    """The device entry that the others are compared with: TensorFlow on a CPU, of the experiment or else of the catalogue."""
    for device in devices:
        if (device["backend"], device["accelerator"]) == ("tensorflow", "cpu"):
            return device
    names = [device["name"] for device in devices]
    name = "cpu" if "cpu" not in names else "reference-cpu"
    return {**DEVICE_DEFAULTS, "name": name, **catalog["cpu"]}


def probes(config: Experiment, devices: list[Entry], reference: Entry, other_machines: bool = False) -> list[Run]:
    """What each device computes of each model before its accuracy is trusted, as dicts of built-in values.

    Every device, model, precision and XLA or not of the experiment, and the reference in float32 without XLA. Empty when
    the reference is the experiment's only device and there are no probes of other machines: there is nothing to hold to it.
    """
    alone = [device["name"] for device in devices] == [reference["name"]]
    if not devices or (alone and not other_machines):
        return []
    combinations = [
        (device, model, precision, xla)
        for device in devices
        for grid in [config["grid"] | device["grid"]]
        for model, precision, xla in itertools.product(grid["model"], grid["precision"], grid["xla"])
    ]
    for model in dict.fromkeys(model for _, model, _, _ in combinations):
        if (reference, model, "float32", False) not in combinations:
            combinations.append((reference, model, "float32", False))
    return [
        {
            "device": {key: device[key] for key in DEVICE_KEYS},
            "model": model,
            "precision": precision,
            "xla": xla,
            "img_dim": min(config["grid"]["img_dim"]),
            "seed": config["seed"],
            **PROBE,
            **_variables(config),
        }
        for device, model, precision, xla in combinations
    ]


def limit_trials(config: Experiment, devices: list[Entry]) -> list[Run]:
    """What to search for the limits of every device and model: dicts of built-in values with device, model, axis and values.

    `values` of the axis are tried at the other axis' fixed value, with all weights trained.
    """
    return [
        {
            "device": {key: device[key] for key in DEVICE_KEYS},
            "model": model,
            "axis": axis,
            "values": list(range(search["least"], search["most"] + 1, search["step"])),
            **LIMIT,
            **_variables(config),
            "seed": config["seed"],
            fixed: search[fixed],
        }
        for device in devices
        for model in (config["grid"] | device["grid"])["model"]
        for axis, fixed in (("img_dim", "batch_size"), ("batch_size", "img_dim"))
        for search in [(config["limits"] or {}).get(axis)]
        if search
    ]


def _variables(config):
    """What else than a run is trained under the variables of the experiment, where it sets some."""
    asked = config["training"].get("variables")
    return {"variables": asked} if asked else {}


def wildcards(run: Run) -> dict[str, str]:
    """The run's values as they stand in its path: {"trainable": "true", "learning_rate": "0.0005", …}."""
    values = {**run, "device": run["device"]["name"]}
    return {key: value if isinstance(value, str) else _word(value) for key, value in values.items() if key != "seed"}


# Few values make up many runs. By type, since 1 equals true.
_word = functools.lru_cache(maxsize=None, typed=True)(json.dumps)
