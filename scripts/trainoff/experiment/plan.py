"""Plans the runs of an experiment. trainoff.experiment.checks reports what is wrong with one."""

import functools
import itertools
import json
from collections.abc import Callable
from typing import Any

from trainoff import axes
from trainoff.errors import UserError, did_you_mean, one_line
from trainoff.shapes import Configuration, Entry, Experiment, Run

# Keys of a device entry that a run depends on; label and env do not change what is computed.
DEVICE_KEYS = ["name", "backend", "accelerator", "index", "threads"]
# Keys of `training` and `protocol` that were added later, with the values that earlier runs were trained with.
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
# The value of img_dim for samples that are not images.
NO_SIZE = 0
# Settings of every probe, whatever the grid says. No dropout, since backends draw it differently.
PROBE = {
    "batch_size": 32,
    "trainable": True,
    "learning_rate": 5e-5,  # small, since with larger steps rounding errors grow until they hide a fault
    "learning_rate_decay": None,
    "dropout": 0.0,
    "batch_norm_momentum": None,
    "random_layers": False,  # no dropout in the user's own models either
    "steps": 5,
}
# Settings of every trial of a limit.
LIMIT = PROBE | {"precision": "float32", "xla": False, "steps": 3}


def in_order(value: Any) -> Any:
    """A JSON value with all keys sorted, so that nothing depends on their order in the file."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value, key=str)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


def fitted(config: Experiment) -> Experiment:
    """The experiment as it runs: where samples are not images, img_dim has only the value NO_SIZE, whatever the file says."""
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

    catalog: catalog/devices.yaml; detect: returns the names that `devices: auto` stands for on this machine.
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
            raise UserError(f"devices: {name!r} is listed {names.count(name)} times. Give every device a unique name.")
    return entries


def runs(config: Experiment, devices: list[Entry]) -> list[Run]:
    """Every run of the experiment as a dict of built-in values: its axes, device, replicate and seed.

    A device's own `grid` replaces the experiment's on the axes that it lists. Replicates are interleaved over configurations and
    devices, so that slow drifts affect all alike.
    """
    combinations = [
        [(combination, replicates_of(config, device["name"], combination)) for combination in _combinations(grid)]
        for device in devices
        for grid in [config["grid"] | device["grid"]]
    ]
    max_replicates = max((number for listed in combinations for _, number in listed), default=0)
    return [
        {
            "device": {key: device[key] for key in DEVICE_KEYS},
            **place[0],
            "replicate": replicate,
            "seed": config["seed"] + replicate - 1,
        }
        for replicate in range(1, max_replicates + 1)
        for turn in itertools.zip_longest(*combinations)
        for device, place in zip(devices, turn, strict=True)
        # A device that leaves axes out has fewer, and some configurations have more replicates than others.
        if place is not None and replicate <= place[1]
    ]


def replicates_of(config: Experiment, device: str, configuration: Configuration) -> int:
    """How many replicates a configuration has on the device with that name: `replicates`, or more by `more_replicates`."""
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
    """The experiment with the replicates and minutes of turns that `make decide` (scripts/decide.py) added.

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
    """Pairs that take turns: [(device, baseline, run)], two device entries and one of `runs` without its device, replicate 1.

    One device is paired with every other, on every configuration that both have: `baseline`, else the second of `compare`, else
    the first. In a pair, the device that the experiment lists first is the baseline, as in the tables. Empty with `turns: off`.
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
    """Everything that a training needs to know, in built-in types.

    run: one of `runs`; architectures: {model: result of networks.architecture}.
    """
    protocol = config["protocol"]
    return {
        **run,
        "architecture": architectures[run["model"]],
        # Later settings only where they are used, so that earlier records stay equal.
        **{
            key: value
            for key, value in settings(config).items()
            if key not in LATER_SETTINGS or value != LATER_SETTINGS[key]
        },
        # Only where it is used, so that earlier records stay equal.
        **({"deterministic": True} if config["deterministic"] else {}),
        **{key: protocol[key] for key in ("epochs", "images_per_epoch", "warm_up_epochs")},
    }


def settings(config: Experiment) -> dict[str, Any]:
    """`training` of an experiment and the later key of its `protocol`, which identifies runs only where it is used."""
    return {**config["training"], "measure_minutes": config["protocol"].get("measure_minutes")}


def reference(devices: list[Entry], catalog: dict[str, dict[str, Any]]) -> Entry:
    """The device entry that the others are compared with: TensorFlow on a CPU, from the experiment or else the catalog."""
    for device in devices:
        if (device["backend"], device["accelerator"]) == ("tensorflow", "cpu"):
            return device
    names = [device["name"] for device in devices]
    name = "cpu" if "cpu" not in names else "reference-cpu"
    return {**DEVICE_DEFAULTS, "name": name, **catalog["cpu"]}


def probes(config: Experiment, devices: list[Entry], reference: Entry, other_machines: bool = False) -> list[Run]:
    """The probes that check each device and model before its accuracy is trusted, as dicts of built-in values.

    Every combination of device, model, precision and XLA in the experiment, and the reference in float32 without XLA. Empty when
    the reference is the experiment's only device and other machines have no probes: there is nothing to compare with it.
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


def limit_trials(
    config: Experiment, devices: list[Entry], models: dict[str, dict[str, Any]] | None = None
) -> list[Run]:
    """The searches for the limits of every device and model, as dicts of built-in values with device, model, axis and values.

    `values` of the axis are tried at a fixed value of the other axis, with all weights trained. models: entries by name, such as
    those of the catalog; none is tried below its min_img_dim, which would say nothing about a device.
    """
    trials = []
    for device in devices:
        for model in (config["grid"] | device["grid"])["model"]:
            smallest = (models or {}).get(model, {}).get("min_img_dim", NO_SIZE)
            for axis, fixed in (("img_dim", "batch_size"), ("batch_size", "img_dim")):
                search = (config["limits"] or {}).get(axis)
                values = list(range(search["least"], search["most"] + 1, search["step"])) if search else []
                if axis == "img_dim":
                    values = [value for value in values if value >= smallest]
                if values:
                    trials.append(
                        {
                            "device": {key: device[key] for key in DEVICE_KEYS},
                            "model": model,
                            "axis": axis,
                            "values": values,
                            **LIMIT,
                            **_variables(config),
                            "seed": config["seed"],
                            fixed: max(search[fixed], smallest) if fixed == "img_dim" else search[fixed],
                        }
                    )
    return trials


def _variables(config):
    """The key `variables` of probes and trials, where the experiment sets some."""
    variables = config["training"].get("variables")
    return {"variables": variables} if variables else {}


def wildcards(run: Run) -> dict[str, str]:
    """The run's values as in its path: {"trainable": "true", "learning_rate": "0.0005", …}."""
    values = {**run, "device": run["device"]["name"]}
    return {key: value if isinstance(value, str) else _word(value) for key, value in values.items() if key != "seed"}


# Cached, since many runs share few values. By type, since 1 equals true.
_word = functools.lru_cache(maxsize=None, typed=True)(json.dumps)
