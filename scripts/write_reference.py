"""Writes docs/reference.md from the schemas, the experiment's defaults and the captions of the tables; `make docs` runs it."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from trainoff import axes, bounds, records
from trainoff.analyze import reasons, tables
from trainoff.report.reasons import SENTENCES

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs/reference.md"


def reference() -> str:
    """The text of the reference."""
    config_schema = axes.into_experiment_schema(
        yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text(encoding="utf-8"))
    )
    metrics_schema = records.schema()
    defaults = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    parts = [
        "# Reference",
        "Written by `make docs` from the schemas, `config.yaml` and the captions in `report/`; change those, not this file.",
        "## Keys of an experiment",
        "`config.yaml` has every key. A file given with `CONFIG=` or `--configfile` has those that differ. "
        "[schemas/config.schema.yaml](../schemas/config.schema.yaml) describes them. Unknown keys are refused.",
        _table(["key", "what it is", "allowed", "default"], _config_rows(config_schema, config_schema, defaults)),
        "## What a changed key runs again",
        "`tests/test_reruns.py` tries every key on a finished sweep of two runs, in a clone without `.snakemake` and with "
        "random file times. [method.md](method.md#what-reruns) says why. New values of an axis and more replicates train "
        "only the new runs.",
        _table(["key", "changed to", "trains", "runs again"], _rerun_rows()),
        "## A device entry",
        "In `catalog/devices.yaml` by its name, or written out under `devices:` with its `name`.",
        _table(["key", "what it is", "allowed"], _device_rows(config_schema)),
        "## Keys of metrics.json",
        "One file per run, described by [schemas/metrics.schema.json](../schemas/metrics.schema.json). Units are in the "
        "names. Unknown is null, never zero.",
        _table(["key", "what it is", "type"], list(_metrics_rows(metrics_schema, metrics_schema))),
        "## Tables and figures",
        "Each table is in `tables/` as CSV and Parquet, each figure in `figures/` as SVG and PNG. In CSV files, a text that a "
        "spreadsheet would read as a formula (it begins with `=`, `+`, `-` or `@`) has an apostrophe before it.",
        _table(["name", "what it is"], _captions()),
        "### Columns of runs.csv",
        ", ".join(f"`{name}`" for name in tables.RUN_COLUMNS) + ".",
        "### Columns of windows.csv",
        ", ".join(f"`{name}`" for name in tables.WINDOW_COLUMNS) + ".",
        "### Reasons",
        "Why a value is missing, or what to keep in mind, is in the columns `reason`, `energy_reason`, `cost_reason`, "
        "`owned_reason`, `rented_reason` and `implausible`: a JSON object with a `code` and the fields of that code, several "
        "separated by `; `. The page shows them in these words. If a process failed (`runs`, `packing`, `limits`), `reason` "
        "is the message in its record; `estimates` and `training_runs` have bare codes.",
        _table(["code", "in words", "fields"], _reason_rows()),
        "## Limits of what is read",
        "Files from others are read up to these limits (`scripts/trainoff/bounds.py`); beyond them they are "
        "refused with a message. [SECURITY.md](../SECURITY.md) says what is promised.",
        _table(["reader", "what", "maximum"], bounds.table()),
    ]
    return "\n\n".join(parts) + "\n"


def _config_rows(schema, root, defaults, prefix=""):
    rows = []
    for key, part in schema["properties"].items():
        part = _resolved(part, root)
        name, default = f"{prefix}{key}", (defaults or {}).get(key, "")
        if part.get("type") == "object" and "properties" in part:
            if "description" in part:
                rows.append([f"`{name}`", part["description"], "", ""])
            rows += _config_rows(part, root, default or {}, f"{name}.")
        else:
            rows.append([f"`{name}`", part.get("description", ""), _legal(part, root), _value(default)])
    return rows


def what_reruns() -> list[tuple[str, Any, list[str], int, str]]:
    """[(key, value it is changed to, names of the rules that run again without train, runs trained, note)] of every key."""
    table = yaml.safe_load((ROOT / "docs/what-reruns.yaml").read_text(encoding="utf-8"))
    groups = table["groups"]
    return [
        (
            key,
            row["change"],
            [name for word in row["runs"] for name in groups.get(word, [word])],
            row.get("trained", 0),
            row.get("note", ""),
        )
        for key, row in table["keys"].items()
    ]


def _rerun_rows():
    for key, change, rules, trained, note in what_reruns():
        trains = (
            ""
            if not trained
            else "new runs"
            if key.startswith(("grid", "replicates", "more_replicates", "devices"))
            else "all runs"
        )
        yield [f"`{key}`", _value(change), note or trains, ", ".join(f"`{name}`" for name in rules)]


def _device_rows(schema):
    part = schema["$defs"]["device"]
    needed = part.get("required", [])
    return [
        [f"`{key}`", _resolved(one, schema).get("description", ""), _legal(one, schema) + _needed(key in needed)]
        for key, one in part["properties"].items()
    ]


def _needed(needed):
    return "; required" if needed else ""


def _metrics_rows(schema, root, prefix=""):
    for key, part in schema.get("properties", {}).items():
        part = _resolved(part, root)
        name = f"{prefix}{key}"
        inner = _resolved(part.get("items", part), root)
        if "properties" in inner:
            if "description" in part:
                yield [f"`{name}`", part["description"], _legal(part, root)]
            yield from _metrics_rows(inner, root, f"{name}[]." if "items" in part else f"{name}.")
        else:
            yield [f"`{name}`", part.get("description", ""), _legal(part, root)]


def _resolved(part, root):
    """A part of a schema with its reference resolved."""
    if "$ref" not in part:
        return part
    found = root
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return {**found, **{key: value for key, value in part.items() if key != "$ref"}}


def _legal(part, root):
    """What values a part of a schema allows, in words."""
    part = _resolved(part, root)
    if "const" in part:
        return _value(part["const"])
    if "enum" in part:
        return ", ".join(map(_value, part["enum"]))
    for word in ("anyOf", "oneOf"):
        if word in part:
            return " or ".join(_legal(one, root) for one in part[word])
    kinds = part.get("type", "any value")
    kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if "items" in part:
        inner = _legal(part["items"], root)
        return f"list of {inner}" if inner != "object" else "list"
    words = [kind]
    for key, text in {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "to {}",
        "exclusiveMaximum": "below {}",
        "maxLength": "at most {} characters",
        "pattern": "like `{}`",
    }.items():
        if key in part:
            words.append(text.format(part[key]))
    return ", ".join(words)


def _value(value):
    if value == "":
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`" if not isinstance(value, str) else f"`{value}`"


def _captions():
    """[name, first paragraph of its caption] of every table with a caption."""
    rows = []
    for path in sorted((ROOT / "report").glob("*.rst")):
        if path.stem not in ("workflow", "figure"):
            text = path.read_text(encoding="utf-8").replace("``", "`")
            name = path.stem.removesuffix("_table")
            rows.append([f"`{name}`", " ".join(re.split(r"\n\s*\n", text)[0].split())])
    return rows


def _reason_rows():
    for code, fields in reasons.FIELDS.items():
        yield [f"`{code}`", f"`{SENTENCES[code]}`", ", ".join(f"`{name}`" for name in fields)]


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
