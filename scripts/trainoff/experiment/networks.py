"""Which networks an experiment trains: those of catalog/models.yaml, and the user's own. Plain values; nothing is built here."""

import importlib.util
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from trainoff.errors import UserError
from trainoff.experiment import own_code
from trainoff.shapes import Experiment

# What of a catalogue entry decides what is built.
CATALOGUE_KEYS = ("application", "module")
OWN_KEYS = ("function", "file", "sha256")
# Keys of a catalogue entry; imagenet_deviation is only for networks that Keras builds otherwise for ImageNet weights.
REQUIRED_KEYS = {"application", "module", "min_img_dim", "weights"}


def of_experiment(config: Experiment, catalogue: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{name: entry} of the networks that an experiment can name: the catalogue's, and its own as own_code.entries gives them."""
    own = config.get("models") or {}
    for name in own:
        if name in catalogue:
            raise UserError(f"models.{name}: the catalogue has a model of that name. Expected another name for yours.")
    return catalogue | own_code.entries(own)


def check_catalogue(names: Iterable[str], catalogue: dict[str, dict[str, Any]]) -> None:
    """Raises UserError for the first of the catalogue's models `names` whose entry is incomplete or unknown to Keras."""
    known = _classes_of_keras()
    for name in names:
        entry = catalogue[name]
        missing = sorted(REQUIRED_KEYS - entry.keys())
        if missing:
            raise UserError(
                f"catalog/models.yaml: {name}: it lacks {', '.join(missing)}. Expected the keys of the entries beside it."
            )
        for key in CATALOGUE_KEYS:
            if known and entry[key] not in known:
                raise UserError(
                    f"catalog/models.yaml: {name}: {key}: keras.applications has no {entry[key]}. Expected one of its "
                    "classes and modules; a model from elsewhere is one of your own (models: {name: {function: file.py:build}})."
                )


def architecture(entry: dict[str, Any], weights: str) -> dict[str, Any]:
    """What training is told of a network: which it is, and how it is built. weights: as weights_of gives them."""
    if own_code.is_own(entry):
        return {key: entry[key] for key in OWN_KEYS if key in entry}
    keys = CATALOGUE_KEYS if weights == "random" else (*CATALOGUE_KEYS, "imagenet_deviation")
    return {key: entry[key] for key in keys if key in entry}


def weights_of(name: str, config: Experiment) -> str:
    """Where a model's starting weights come from: "random", "imagenet" or the path of a file.

    A model of the user's own has a file of its own, or that of the experiment, or starts as its function or file makes it.
    """
    own = config.get("models") or {}
    if name not in own:
        return config["weights"]
    given = own[name].get("weights", config["weights"])
    return "random" if given == "imagenet" else given


def identity(architecture: dict[str, Any]) -> dict[str, str]:
    """What identifies a network in a record, {key: value}."""
    if own_code.is_own(architecture):
        return {"network": own_code.name_in_records(architecture), "model_sha256": architecture["sha256"]}
    if "imagenet_deviation" in architecture:
        # Records of versions that built it without this layer hold the bare name.
        return {"network": f"{architecture['application']}, pixels rescaled as for ImageNet weights"}
    return {"network": architecture["application"]}


@cache
def _classes_of_keras():
    """Names in keras.applications, read without importing Keras, which takes seconds; empty where it is not installed."""
    found = importlib.util.find_spec("keras")
    if found is None or not found.origin:
        return frozenset()
    try:
        text = Path(found.origin).with_name("applications").joinpath("__init__.py").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    return frozenset(re.findall(r"(\w+) as \w+", text))
