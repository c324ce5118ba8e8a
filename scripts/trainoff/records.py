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
# Raised when the timing (trainoff.measure.protocol) changes so that old and new windows must not be compared.
PROTOCOL_VERSION = 1
# What distinguishes one run from another, in the order of the path under results/runs/.
RUN_KEYS = ["device", *axes.names(), "replicate", "seed"]
# Parts of a run's cold start, in `cold_start` of the record and as columns of the table of runs. Where one is null, the cold
# start as a whole is unknown.
COLD_START = ("import_seconds", "build_seconds", "first_step_seconds")
# A surrogate escape in JSON: one half of a character outside Unicode's first plane, which is not valid text on its own.
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
# A system always moves some unused pages to disk; a training that does not fit in memory moves gigabytes.
SWAP_LIMIT_BYTES = 256 * 2**20
# A platform profile of Linux, and the two names under which Macs report the mode.
LOW_POWER_MODES = ("low-power", "lowpowermode 1", "powermode 1")
SCHEMA_PATH = Path(__file__).parents[2] / "schemas" / "metrics.schema.json"


def is_swapping(swapped_bytes: int | None) -> bool | None:
    """Whether this number of bytes moved between memory and disk means that memory ran short; None where it is unknown."""
    return None if swapped_bytes is None else swapped_bytes > SWAP_LIMIT_BYTES


def is_low_power(power_mode: str | None) -> bool | None:
    """Whether a power mode (conditions.power_mode of a record) saves power at the cost of speed; None where it is unknown.

    Linux' frequency governor "powersave" is not one: with most drivers of today it is the default and reaches full speed.
    """
    return None if power_mode is None else power_mode in LOW_POWER_MODES


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema of a record."""
    return axes.into_record_schema(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


@functools.cache
def _quick_check():
    """The schema as compiled code, which raises JsonSchemaValueException: several times as fast as reading it each time.

    fastjsonschema implements an older draft of JSON Schema; the differences affect nothing that the schema uses.
    """
    return fastjsonschema.compile(_whole_schema(), use_default=False, use_formats=False)


@functools.cache
def _whole_schema():
    return _inlined(schema(), schema())


def _inlined(part, whole):
    """A part of the schema `whole` with its references replaced by what they refer to.

    Each reference would cost a function call, and parts are also used without the whole.
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
    # First in that part with its lists cut short, since reading all epochs takes seconds; then in the part and the whole record.
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
    """The most telling of the errors of a part, None without any. jsonschema picks it better than the compiled code does."""
    import jsonschema

    # Among the first hundred, since a hostile record may have millions.
    errors = jsonschema.Draft202012Validator(part_schema).iter_errors(part)
    return jsonschema.exceptions.best_match(itertools.islice(errors, 100))


def _cut_short(part):
    if not isinstance(part, dict):
        return part
    return {key: value[:100] if isinstance(value, list) else value for key, value in part.items()}


def _at(path, record):
    """(place, part, schema of the part) as deep as a path into a record can be followed. path: keys and indices, as texts."""
    innermost = [], record, _whole_schema()
    place, part, part_schema = innermost
    for step in path:
        if isinstance(part, list) and "items" in part_schema and step.isdigit():
            place, part, part_schema = [*place, int(step)], part[int(step)], part_schema["items"]
            innermost = place, part, part_schema
        elif isinstance(part, dict) and step in part_schema.get("properties", {}):
            place, part, part_schema = [*place, step], part[step], part_schema["properties"][step]
        else:
            break
    return innermost


def check(record: Any, where: str | Path, remedy: str = "delete the file to run this training again") -> None:
    """Raises UserError for the first departure of `record` from the schema. where: the file; remedy: what to do about it."""
    problem = departure(record)
    if problem is not None:
        raise UserError(
            f"{where}: {problem[0]}: {problem[1]}. Expected a record as schemas/metrics.schema.json describes it; {remedy}."
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

    Its run gets a value on axes that are newer than the record; lone surrogates, which no table can hold, are replaced.
    """
    try:
        text = Path(path).read_bytes().decode()
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not a metrics file ({one_line(error)}). Expected JSON as a training writes it; delete the file to run "
            "this training again."
        ) from error
    if isinstance(record, dict) and isinstance(record.get("run"), dict):
        record["run"] = axes.complete(record["run"], identity_in(record))
    return _whole_characters(record) if HALF_CHARACTER.search(text) else record


def identity_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies the run in a record, {} if nothing does. For turns: of the device's run, whose axes the baseline shares."""
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
