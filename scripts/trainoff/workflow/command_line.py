"""Values that `--config` sets on the command line, which Snakemake leaves as text unless they are numbers, True or False."""

from collections.abc import Iterable
from typing import Any

# YAML's words for booleans.
WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


def with_booleans(config: dict[str, Any], keys: Iterable[str], schema: dict[str, Any]) -> dict[str, Any]:
    """The experiment with booleans in place of texts such as "off", as in an experiment's file.

    keys: those that --config sets. schema: of the experiment; a key that allows no boolean keeps its text.
    """
    booleans = {
        key: WORDS[config[key].lower()]
        for key in keys
        if isinstance(config.get(key), str)
        and config[key].lower() in WORDS
        and _allows_boolean(schema["properties"].get(key, {}))
    }
    return config | booleans


def _allows_boolean(schema):
    return (
        "boolean" in schema.get("type", ())
        or isinstance(schema.get("const"), bool)
        or any(map(_allows_boolean, schema.get("anyOf", ())))
    )
