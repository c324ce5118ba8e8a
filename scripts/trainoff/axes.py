"""The axes of the grid. An entry here puts an axis into paths, schemas, records, tables, labels and filters.

To add one, append an entry with `before`, and use the value in trainoff.measure.protocol (docs/how-to.md).
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ABSENT = object()


@dataclass(frozen=True)
class Axis:
    """One axis.

    name: its key in experiments, records, paths, tables and trackers. title: its heading, as for a filter.
    schema: JSON Schema of one value. column: type of its column (see tables.RUN_COLUMNS).
    text: a value in words. usual: the value that short names leave out; ABSENT for none.
    before: the value of runs that are older than the axis, which is also its default in an experiment; ABSENT for an original
    axis, which every experiment must name.
    pattern: regular expression of a value in a path, where it does not follow from the schema.
    recorded: JSON Schema of a value in a record, where it allows more than an experiment does.
    """

    name: str
    title: str
    schema: dict
    column: str
    text: Callable[[Any], str] = "{}".format
    usual: Any = ABSENT
    before: Any = ABSENT
    pattern: str | None = None
    recorded: dict | None = None

    @property
    def step(self) -> str:
        """Its part of a run's path, with a wildcard for the value."""
        return f"{self.name}~{{{self.name}}}"

    @property
    def constraint(self) -> str:
        """Regular expression of its wildcard."""
        if self.pattern:
            return self.pattern
        if "enum" in self.schema:
            return "|".join(re.escape(value) for value in self.schema["enum"])
        return {"boolean": "true|false", "integer": r"\d+", "number": "[0-9.e-]+"}[self.schema["type"]]


# In the order of a run's path, which never changes: a new axis goes to the end.
AXES = (
    Axis(
        "model",
        "Model",
        {"type": "string", "maxLength": 100, "description": "Name of the network."},
        "str",
        pattern="[a-z0-9_]+",
    ),
    Axis(
        "batch_size",
        "Batch size",
        {"type": "integer", "minimum": 1, "maximum": 65536, "description": "Images per step."},
        "int64",
        text="batch {}".format,
    ),
    Axis(
        "img_dim",
        "Image size",
        {
            "type": "integer",
            "minimum": 0,
            "maximum": 4096,
            "description": "Pixels a side; 0: the samples are no images.",
        },
        "int64",
        text=lambda value: f"{value} px" if value else "",
        usual=0,
    ),
    Axis(
        "trainable",
        "Weights trained",
        {"type": "boolean", "description": "true: every weight is updated; false: the last layer only."},
        "bool",
        text=lambda value: "all weights" if value else "last layer",
    ),
    Axis(
        "precision",
        "Precision",
        {
            "enum": ["float32", "mixed_float16", "mixed_bfloat16"],
            "description": "What the training computes in; mixed: weights in float32, the rest in 16 bits.",
        },
        "str",
        usual="float32",
    ),
    Axis(
        "xla",
        "XLA",
        {"type": "boolean", "description": "Whether XLA compiles the training step."},
        "bool",
        text=lambda value: "XLA" if value else "no XLA",
        usual=False,
    ),
    Axis(
        "learning_rate",
        "Learning rate",
        {"type": "number", "exclusiveMinimum": 0, "maximum": 100, "description": "Learning rate of the first step."},
        "float64",
        recorded={"type": "number", "exclusiveMinimum": 0, "description": "Learning rate of the first step."},
        text="learning rate {:g}".format,
    ),
    Axis(
        "optimizer",
        "Optimizer",
        {"enum": ["adam", "adamw", "sgd"], "description": "Keras' own, with its defaults; sgd with momentum 0.9."},
        "str",
        recorded={
            "type": "string",
            "pattern": r"^[a-z0-9_]{1,100}\Z",
            "description": "Keras' own, with its defaults; sgd with momentum 0.9. In an own script any.",
        },
        text=lambda value: {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}.get(value, value),
        usual="adam",
        before="adam",
    ),
)
# The order for readers: what changes the work most comes first. The other axes follow in the order above.
_FIRST_READ = ("model", "trainable", "img_dim", "batch_size")


def names() -> tuple[str, ...]:
    """Names of all axes in the order of the path."""
    return tuple(axis.name for axis in AXES)


def reading_order() -> tuple[str, ...]:
    """Names of all axes in the order in which people read them."""
    return (*_FIRST_READ, *(name for name in names() if name not in _FIRST_READ))


def by_name(name: str) -> Axis:
    """The axis of that name. Raises KeyError for another name."""
    return {axis.name: axis for axis in AXES}[name]


def path() -> str:
    """The axes' part of a run's path, with wildcards: "model~{model}/batch_size~{batch_size}/…"."""
    return "/".join(axis.step for axis in AXES)


def constraints() -> dict[str, str]:
    """{name: regular expression of its wildcard} of all axes."""
    return {axis.name: axis.constraint for axis in AXES}


def titles() -> dict[str, str]:
    """{name: heading} of all axes in the order in which people read them."""
    return {name: by_name(name).title for name in reading_order()}


def words(run: dict) -> list[str]:
    """The values of a run in words, without the usual ones: ["mobilenetv2", "batch 32", "96 px", "last layer", …]."""
    return [axis.text(run[axis.name]) for axis in AXES if run[axis.name] != axis.usual]


def complete(run: dict, identity: dict | None = None) -> dict:
    """The run of a record, completed with its values on axes that are newer than the record.

    identity: of the record. An axis may have been a setting before, whose value is there.
    """
    later = {axis.name: axis.before for axis in AXES if axis.before is not ABSENT and axis.name not in run}
    if not later:
        return run
    return run | later | {key: value for key, value in (identity or {}).items() if key in later}


def without_later(run: dict) -> dict:
    """A run without the later axes on which it has the value that runs had before them."""
    return {key: value for key, value in run.items() if not _is_as_before(key, value)}


def earlier_paths(path: str) -> list[str]:
    """The paths that a run at `path` may have had before the latest axes existed, the most recent first (see `names_run`)."""
    paths = []
    for axis in reversed(AXES):
        earlier = re.sub(f"/{axis.name}~[^/]*/", "/", path, count=1)
        if axis.before is ABSENT or earlier == path:
            break
        path = earlier
        paths.append(path)
    return paths


def names_run(path: str, run: dict) -> bool:
    """Whether `path` names the values of a complete run on the later axes."""
    later = [axis.name for axis in AXES if axis.before is not ABSENT]
    return all(f"/{name}~{_word(run[name])}/" in path for name in later)


def default_grid() -> dict[str, list]:
    """The values of axes that an experiment need not name."""
    return {axis.name: [axis.before] for axis in AXES if axis.before is not ABSENT}


def into_experiment_schema(schema: dict) -> dict:
    """The schema of an experiment, with the axes in its grid and in the grid of a device entry. Changes `schema`."""
    for grid in (schema["properties"]["grid"], schema["$defs"]["device"]["properties"]["grid"]):
        grid["properties"] = {
            axis.name: {
                "$ref": "#/$defs/axis",
                "items": axis.schema,
                "description": axis.schema.get("description", axis.title),
            }
            for axis in AXES
        }
    schema["properties"]["grid"]["required"] = [axis.name for axis in AXES if axis.before is ABSENT]
    return schema


def into_record_schema(schema: dict) -> dict:
    """The schema of a record, with the axes among the keys of its `run`. Changes `schema`.

    schemas/metrics.schema.json lists them too, for readers; a test compares the two.
    """
    schema["properties"]["run"]["properties"] |= {axis.name: axis.recorded or axis.schema for axis in AXES}
    return schema


def _is_as_before(name, value):
    return any(axis.name == name and axis.before is not ABSENT and axis.before == value for axis in AXES)


def _word(value):
    return value if isinstance(value, str) else json.dumps(value)
