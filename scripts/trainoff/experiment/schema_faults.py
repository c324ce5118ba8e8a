"""What jsonschema finds wrong in an experiment, as a sentence for people."""

import json
import math
from typing import Any

import jsonschema

from trainoff.errors import did_you_mean, one_line
from trainoff.numbers import count


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


# Numbers that can be written in a path and computed with: 32.0 is not an integer here; .nan and 10^400 are not numbers at all.
Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: _is_whole(value),
            "number": lambda _, value: _is_whole(value) or (isinstance(value, float) and math.isfinite(value)),
        }
    ),
)


def first(validator: jsonschema.protocols.Validator, value: Any) -> jsonschema.ValidationError | None:
    """The most relevant schema error of `value`, None where there is none.

    Paths are compared as texts, since keys in YAML may be numbers as well as texts, and jsonschema cannot compare those.
    """

    def relevance(error):
        depth, path, *rest = jsonschema.exceptions.relevance(error)
        return depth, [str(part) for part in path], *rest

    error = jsonschema.exceptions.best_match(validator.iter_errors(value), key=relevance)
    while error is not None and error.validator == "anyOf":
        # Of an entry and a name, for example, only one is of the value's type: its error says more.
        alternatives = {}
        for part in error.context:
            alternatives.setdefault(part.schema_path[0], []).append(part)
        meant = [
            parts for parts in alternatives.values() if not any(part.validator in ("type", "const") for part in parts)
        ]
        if len(meant) != 1:
            break
        error = min(meant[0], key=relevance)
    return error


# What a person calls the types of JSON.
KINDS = {
    "object": "a mapping of keys to values",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def sentence(error: jsonschema.ValidationError) -> str:
    """What is wrong, where, and what was expected: the message of a schema error, without the terms of JSON schema."""
    key = ".".join(one_line(part) for part in error.absolute_path)
    expected = error.schema.get("description")
    expected = f" Expected: {expected}" if expected else ""
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = one_line(next(name for name in error.instance if name not in known))
        place = f"{key}.{unknown}" if key else unknown
        return f"{place}: unknown key{did_you_mean(unknown, known)}. Expected one of: {', '.join(known)}."
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{key}.{missing}: missing.{expected}" if key else f"{missing}: missing."
    if error.validator == "type":
        return f"{key or 'the experiment'}: {_of_wrong_type(error)}{expected}"
    return f"{key or 'the experiment'}: {_not_allowed(error)}.{_as_list(error)}{expected}"


def _of_wrong_type(error):
    """What is said of a value of another type than the schema's, with how to write it."""
    value, kinds = error.instance, error.validator_value
    kinds = kinds if isinstance(kinds, list) else [kinds]
    wanted = " or ".join(KINDS[kind] for kind in kinds)
    if isinstance(value, str) and {"integer", "boolean"} & {*kinds}:
        return (
            f"{_shown(value)} is text, not {wanted}. Write it without quotes. Values nested in --config arrive as text: give "
            "them in a file, with --configfile."
        )
    if isinstance(value, str) and "number" in kinds:
        return f"{_shown(value)} is text, not {wanted} (in YAML, write 5.0e-4 or 0.0005, not 5e-4)."
    if kinds == ["array"]:
        return f"{_shown(value)} is not a list.{_as_list(error)}"
    if "integer" in kinds and isinstance(value, int) and not isinstance(value, bool):
        return f"{_shown(value)} is too large."
    in_quotes = " Put it in quotes." if "string" in kinds and not isinstance(value, dict | list | None) else ""
    return f"{_shown(value)} is not {wanted}.{in_quotes}"


def _not_allowed(error):
    """What is said of a value that has the right type."""
    value, limit = error.instance, error.validator_value
    match error.validator:
        case "enum":
            hint = did_you_mean(value, map(str, limit)) if isinstance(value, str) else ""
            return f"{_shown(value)} is not one of {', '.join(map(_shown, limit))}{hint}"
        case "minItems" | "maxItems":
            if not value:
                return "the list is empty"
            return f"{_shown(value)} has {count(len(value), 'value')}, and the {error.validator[:3]}imum is {limit}"
        case "minLength" | "maxLength":
            return f"it has {len(value):,} characters, and the {error.validator[:3]}imum is {limit}"
        case "uniqueItems":
            return f"{_shown(value)} lists a value twice"
        case "minimum":
            return f"{_shown(value)} is too small, the minimum is {limit}"
        case "exclusiveMinimum":
            return f"{_shown(value)} is too small, it must be above {limit}"
        case "maximum":
            return f"{_shown(value)} is too large, the maximum is {limit}"
        case "exclusiveMaximum":
            return f"{_shown(value)} is too large, it must be below {limit}"
    return f"{_shown(value)} is not allowed here"


def _as_list(error):
    """How to write a single value where a list is expected; "" where none is."""
    alternatives = [error.schema, *error.schema.get("anyOf", ())]
    takes_singles = any(
        part.get("type") == "array" and part.get("items", {}).get("type") != "object" for part in alternatives
    )
    value = error.instance
    is_single = isinstance(value, str | int | float) and not isinstance(value, bool) and str(value)[:1] != "["
    return f" Write [{one_line(value, 60)}]." if is_single and takes_singles else ""


def _shown(value):
    """A value as it would be written in the file, on one line."""
    if isinstance(value, str):
        return one_line(repr(value))
    try:
        return one_line(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError):
        return one_line(value)
