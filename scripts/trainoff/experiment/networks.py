"""The networks of an experiment: those of catalog/models.yaml, and the user's own. Nothing is built here."""

import importlib.util
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from trainoff.errors import UserError
from trainoff.experiment import own_code
from trainoff.shapes import Experiment

# Keys of a catalog entry that decide what is built.
CATALOG_KEYS = ("application", "module")
OWN_KEYS = ("function", "file", "sha256")
# Keys of a catalog entry; imagenet_deviation is only for networks that Keras builds differently for ImageNet weights.
REQUIRED_KEYS = {"application", "module", "min_img_dim", "weights"}


def of_experiment(config: Experiment, catalog: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{name: entry} of the networks that an experiment can name: the catalog's, and the user's from own_code.entries."""
    models = config.get("models") or {}
    for name in models:
        if name in catalog:
            raise UserError(f"models.{name}: the catalog has a model with that name. Expected another name for yours.")
    return catalog | own_code.entries(models)


def check_catalog(names: Iterable[str], catalog: dict[str, dict[str, Any]]) -> None:
    """Raises UserError for the first of the models `names` whose catalog entry is incomplete or unknown to Keras."""
    known = _classes_of_keras()
    for name in names:
        entry = catalog[name]
        missing = sorted(REQUIRED_KEYS - entry.keys())
        if missing:
            raise UserError(
                f"catalog/models.yaml: {name}: it lacks {', '.join(missing)}. Expected the same keys as in the other entries."
            )
        for key in CATALOG_KEYS:
            if known and entry[key] not in known:
                raise UserError(
                    f"catalog/models.yaml: {name}: {key}: keras.applications has no {entry[key]}. Expected one of its "
                    "classes and modules; add a model from elsewhere as your own (models: {name: {function: file.py:build}})."
                )


def architecture(entry: dict[str, Any], weights: str) -> dict[str, Any]:
    """What a training needs to know of a network: which it is, and how it is built. weights: from weights_of."""
    if own_code.is_own(entry):
        return {key: entry[key] for key in OWN_KEYS if key in entry}
    keys = CATALOG_KEYS if weights == "random" else (*CATALOG_KEYS, "imagenet_deviation")
    return {key: entry[key] for key in keys if key in entry}


def weights_of(name: str, config: Experiment) -> str:
    """Where a model's starting weights come from: "random", "imagenet" or the path of a file.

    The user's own model has its own file or that of the experiment, or keeps the weights that its function or file gives it.
    """
    models = config.get("models") or {}
    if name not in models:
        return config["weights"]
    given = models[name].get("weights", config["weights"])
    return "random" if given == "imagenet" else given


def identity(architecture: dict[str, Any]) -> dict[str, str]:
    """What identifies a network in a record, {key: value}."""
    if own_code.is_own(architecture):
        return {"network": own_code.name_in_records(architecture), "model_sha256": architecture["sha256"]}
    if "imagenet_deviation" in architecture:
        # Records of versions that built it without this layer hold only the name.
        return {"network": f"{architecture['application']}, pixels rescaled as for ImageNet weights"}
    return {"network": architecture["application"]}


@cache
def _classes_of_keras():
    """Names in keras.applications, read without importing Keras, which takes seconds; empty where it is not installed."""
    keras = importlib.util.find_spec("keras")
    if keras is None or not keras.origin:
        return frozenset()
    try:
        text = Path(keras.origin).with_name("applications").joinpath("__init__.py").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    return frozenset(re.findall(r"(\w+) as \w+", text))
