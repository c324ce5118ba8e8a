"""The metrics JSON: one record per run, read and written by its schema (schemas/metrics.schema.json)."""

import functools
import json
from pathlib import Path

import jsonschema

from trainoff.errors import UserError
from trainoff.files import write_text

SCHEMA_VERSION = 1
# Raised when windows of the old and the new way of timing (trainoff.protocol) must not be compared.
PROTOCOL_VERSION = 1
# What tells one run from another, in the order of the path under results/runs/.
RUN_KEYS = [
    "device",
    "model",
    "batch_size",
    "img_dim",
    "trainable",
    "precision",
    "xla",
    "learning_rate",
    "replicate",
    "seed",
]
SCHEMA_PATH = Path(__file__).parents[2] / "schemas" / "metrics.schema.json"


@functools.cache
def _validator():
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def check(record, where):
    """Raises UserError with the first departure of `record` from the schema; `where` names the file."""
    error = jsonschema.exceptions.best_match(_validator().iter_errors(record))
    if error is not None:
        key = ".".join(str(part) for part in error.absolute_path) or "the record"
        raise UserError(
            f"{where}: {key}: {error.message}. Expected a record as schemas/metrics.schema.json describes it; "
            "delete the file to run this training again."
        )


def write(path, record):
    """Writes a valid record to `path`, whole or not at all."""
    check(record, path)
    write_text(path, json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read(path):
    """The record in the file `path`, checked against the schema."""
    try:
        record = json.loads(Path(path).read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(
            f"{path}: not a metrics file ({error}). Expected the JSON that a training writes; delete the file to run "
            "this training again."
        ) from error
    check(record, path)
    return record
