"""The types of dicts say what the schemas say."""

import types
import typing

import pytest

from trainoff import records, shapes
from trainoff.experiment import plan

JSON = {int: "integer", float: "number", str: "string", bool: "boolean", dict: "object", list: "array"}


def of_type(hint):
    """Names of JSON's types that a type stands for."""
    if typing.get_origin(hint) is typing.NotRequired:
        return of_type(typing.get_args(hint)[0])
    if isinstance(hint, types.UnionType):
        return {name for one in typing.get_args(hint) for name in of_type(one)}
    if hint is type(None):
        return {"null"}
    return {JSON[typing.get_origin(hint) or hint]}


def of_schema(part):
    """The same of a part of a schema; None where it lists values or combines others."""
    if "$ref" in part:
        return of_schema(records.schema()["$defs"][part["$ref"].rsplit("/", 1)[1]])
    kinds = part.get("type")
    return {kinds} if isinstance(kinds, str) else set(kinds) if kinds else None


@pytest.mark.parametrize(
    "shape, part",
    [
        (shapes.Record, lambda schema: schema),
        (shapes.Window, lambda schema: schema["properties"]["windows"]["items"]),
        (shapes.Reading, lambda schema: schema["$defs"]["reading"]),
    ],
)
def test_a_shape_has_the_keys_and_types_of_the_schema(shape, part):
    schema = part(records.schema())
    assert set(shape.__annotations__) == set(schema["properties"])
    assert shape.__required_keys__ == set(schema["required"])
    for key, hint in shape.__annotations__.items():
        known = of_schema(schema["properties"][key])
        assert known is None or of_type(hint) == known, key


def test_a_device_has_the_keys_that_a_run_is_told():
    assert list(shapes.Device.__annotations__) == plan.DEVICE_KEYS
