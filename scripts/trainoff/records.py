"""The metrics JSON: one record per run, read and written by its schema (schemas/metrics.schema.json)."""

import functools
import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastjsonschema

from trainoff import axes
from trainoff.errors import UserError, one_line
from trainoff.files import write_json
from trainoff.shapes import Record

SCHEMA_VERSION = 1
# Raised when windows of the old and the new way of timing (trainoff.measure.protocol) must not be compared.
PROTOCOL_VERSION = 1
# What tells one run from another, in the order of the path under results/runs/.
RUN_KEYS = ["device", *axes.names(), "replicate", "seed"]
# How JSON writes one half of a character outside of Unicode's first plane; alone it is no text.
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
# A system moves some pages out for good; a training that does not fit moves gigabytes.
SWAP_LIMIT_BYTES = 256 * 2**20
SCHEMA_PATH = Path(__file__).parents[2] / "schemas" / "metrics.schema.json"


def is_swapping(swapped_bytes: int | None) -> bool | None:
    """Whether so many bytes that moved between memory and disk mean that memory ran short; None where they are unknown."""
    return None if swapped_bytes is None else swapped_bytes > SWAP_LIMIT_BYTES


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema of a record."""
    return axes.into_record_schema(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


@functools.cache
def _quick_check():
    """The schema as compiled code, which raises JsonSchemaValueException: several times as fast as reading it each time.

    It knows the draft before ours, which differs in nothing that the schema uses.
    """
    return fastjsonschema.compile(_whole_schema(), use_default=False, use_formats=False)


@functools.cache
def _whole_schema():
    return _inlined(schema(), schema())


def _inlined(part, whole):
    """A part of the schema `whole` with what it refers to in place of references.

    Each of them would cost a call of a function, and a part is also used without the whole.
    """
    if isinstance(part, list):
        return [_inlined(item, whole) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        steps = part["$ref"].removeprefix("#/").split("/")
        part = {key: value for key, value in part.items() if key != "$ref"} | functools.reduce(dict.get, steps, whole)
    return {key: _inlined(value, whole) for key, value in part.items() if key != "$defs"}


def departure(record: Any) -> tuple[str, str] | None:
    """The first departure of `record` from the schema as (key, what is wrong), None where there is none."""
    try:
        _quick_check()(record)
        return None
    except fastjsonschema.JsonSchemaValueException as error:
        place, part, part_schema = _at(error.path[1:], record)
    # In that part first, with its lists cut short, as reading all epochs takes seconds; in all of the record before it passes.
    for where, value, value_schema in (
        (place, _cut_short(part), part_schema),
        (place, part, part_schema),
        ([], record, _whole_schema()),
    ):
        error = _best_error(value, value_schema)
        if error is not None:
            steps = one_line(".".join(str(step) for step in (*where, *error.absolute_path)), most=200)
            return steps or "the record", one_line(error.message)
    return None


def _best_error(part, part_schema):
    """Who refuses a record says why, and well: this validator tells the departure that matters among several, or None."""
    import jsonschema

    # Of the first hundred: a hostile record may have millions.
    errors = jsonschema.Draft202012Validator(part_schema).iter_errors(part)
    return jsonschema.exceptions.best_match(itertools.islice(errors, 100))


def _cut_short(part):
    if not isinstance(part, dict):
        return part
    return {key: value[:100] if isinstance(value, list) else value for key, value in part.items()}


def _at(path, record):
    """(place, part, schema of the part) of the innermost list on a path of keys and indices, as texts, into a record."""
    found = [], record, _whole_schema()
    place, part, part_schema = found
    for step in path:
        if isinstance(part, list) and "items" in part_schema and step.isdigit():
            place, part, part_schema = [*place, int(step)], part[int(step)], part_schema["items"]
            found = place, part, part_schema
        elif isinstance(part, dict) and step in part_schema.get("properties", {}):
            place, part, part_schema = [*place, step], part[step], part_schema["properties"][step]
        else:
            break
    return found


def check(record: Any, where: str | Path, remedy: str = "delete the file to run this training again") -> None:
    """Raises UserError with the first departure of `record` from the schema; `where` names the file, `remedy` what to do."""
    found = departure(record)
    if found is not None:
        raise UserError(
            f"{where}: {found[0]}: {found[1]}. Expected a record as schemas/metrics.schema.json describes it; {remedy}."
        )


def write(path: str | Path, record: Record) -> None:
    """Writes a valid record to `path`, whole or not at all."""
    check(record, path)
    write_json(path, record)


def read(path: str | Path) -> Record:
    """The record in the file `path`, checked against the schema."""
    record = parse(path)
    check(record, path)
    return record


def parse(path: str | Path) -> Any:
    """The JSON in the file `path`, not checked.

    Its run gets the axes that came after it; half characters, which no table can hold, are replaced.
    """
    try:
        text = Path(path).read_bytes().decode()
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not a metrics file ({one_line(error)}). Expected the JSON that a training writes; delete the file to run "
            "this training again."
        ) from error
    if isinstance(record, dict) and isinstance(record.get("run"), dict):
        record["run"] = axes.complete(record["run"], identity_in(record))
    return _whole_characters(record) if HALF_CHARACTER.search(text) else record


def identity_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies the run in a record; of turns that of the device, whose axes are the baseline's. {} where there is none."""
    identity = record.get("identity")
    identity = identity if isinstance(identity, dict) else {}
    side = identity.get("device")
    return side if isinstance(side, dict) else identity


def _whole_characters(value):
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_whole_characters(part) for part in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
