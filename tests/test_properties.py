"""Thousands of mutated inputs: each is accepted rightly or refused in a sentence, and nothing else ever happens.

The number of inputs is the profile's, see conftest.py. Damaged archives have their test in test_datasets.py.
"""

import copy
import json
import math
import re
from pathlib import PurePosixPath

import jsonschema
import pandas as pd
import pytest
import synthetic
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from project import ROOT
from test_experiment import CATALOG, DEFAULT, MODELS, SCHEMA, merged

import aggregate
import compare
from trainoff import experiment, records, tables
from trainoff.errors import UserError

RUN_KEYS = [key for key in records.RUN_KEYS if key != "seed"]
METRICS_SCHEMA = jsonschema.Draft202012Validator(json.loads(records.SCHEMA_PATH.read_text()))
RECORDS = synthetic.records(
    synthetic.DEVICES[:2], synthetic.SMALL_GRID, replicates=2, failures={1: "crashed", 2: "diverged"}
)
# The patterns that Snakemake finds runs by.
CONSTRAINTS = dict(
    re.findall(
        r'(\w+)=r?"([^"]+)"', (ROOT / "rules/common.smk").read_text().partition("wildcard_constraints:")[2][:600]
    )
)

# What stands in files: numbers at the edges, words that mean something elsewhere, whole structures.
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from([0, 1, 2**31, 2**53 + 1, 2**63, 10**400, -(10**400)]),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1e-320, 1e308, 32.0, 5e-4, math.nan, math.inf]),
    st.text(max_size=20),
    st.sampled_from(
        ["auto", "cpu", "results", "../x", "/etc/passwd", "5e-4", "\ud800", "a\nb", "x" * 5000, "mobilenetv2"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4),
    max_leaves=8,
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places(value, path=()):
    """Paths of all parts of a structure of dicts and lists, the whole included."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


@st.composite
def mutated(draw, originals, replacements):
    """One of `originals` with one to three parts replaced, removed or added."""
    value = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(value))))
        if not path:
            value = draw(st.one_of(st.just(value), st.just(value), replacements))
            continue
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        what = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if what == "remove":
            del parent[path[-1]]
        elif what == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8) | st.sampled_from(["run", "devices", "title"]))] = draw(replacements)
        else:
            parent[path[-1]] = draw(replacements)
    return value


def is_sentence(error):
    message = str(error)
    return len(message) < 2000 and "\n" not in message and message.isprintable()


@given(changed=mutated([{"devices": ["cpu"], **DEFAULT}, {**DEFAULT, "devices": ["cpu", "cuda"]}], values))
@example(changed={**DEFAULT, "grid": {**DEFAULT["grid"], "batch_size": [32.0]}})
@example(changed={**DEFAULT, "grid": {**DEFAULT["grid"], "learning_rate": [math.nan]}})
@example(changed={**DEFAULT, "protocol": {**DEFAULT["protocol"], "images_per_epoch": 10**400 + 1}})
@example(changed={**DEFAULT, 3: None})
@example(changed={**DEFAULT, "weights": "x" * 5000})
@example(changed={**DEFAULT, "title": "\ud800"})
def test_a_config_is_refused_in_a_sentence_or_gives_runs_that_snakemake_finds(changed):
    if not isinstance(changed, dict):
        return  # Snakemake refuses it before we see it
    config = merged(changed)  # keys that a file lacks come from config.yaml
    try:
        experiment.check(config, SCHEMA, MODELS, "config.yaml")
        entries = experiment.devices(config, CATALOG, detect=lambda: ["cpu"])
    except UserError as error:
        assert is_sentence(error), str(error)
        return
    yaml.safe_dump(config, allow_unicode=True).encode()
    if config["replicates"] * math.prod(map(len, config["grid"].values())) > 200:
        return
    seen = set()
    for run in experiment.runs(config, entries):
        words = experiment.wildcards(run)
        assert all(re.fullmatch(CONSTRAINTS[key], word) for key, word in words.items()), words
        path = PurePosixPath(config["pathvars"]["results"], "runs", *words.values())
        assert path.parts[0] == "results" and ".." not in path.parts
        seen.add(path)
    assert len(seen) == len(experiment.runs(config, entries))


@given(changed=mutated(RECORDS, json_values))
@example(changed=RECORDS[0] | {"windows": [RECORDS[0]["windows"][0] | {"seconds": 1e-320}]})
@example(changed=RECORDS[1] | {"failure": RECORDS[1]["failure"] | {"message": "half \ud800"}})
@example(changed=RECORDS[0] | {"run": RECORDS[0]["run"] | {"seed": 2**63}})
def test_a_metrics_file_is_refused_in_a_sentence_or_becomes_rows(tmp_path_factory, changed):
    folder = tmp_path_factory.getbasetemp() / "mutated"
    folder.mkdir(exist_ok=True)
    path = folder / "metrics.json"
    path.write_text(json.dumps(changed), encoding="utf-8")
    outputs = [folder / name for name in ("runs.csv", "runs.parquet", "windows.csv", "windows.parquet")]
    try:
        aggregate.main([path], *outputs)
    except UserError as error:
        assert len(str(error)) < 2000 and str(path) in str(error) and "elete the file" in str(error)
        return
    assert METRICS_SCHEMA.is_valid(tables.read(path))
    runs, windows = pd.read_parquet(outputs[1]), pd.read_parquet(outputs[3])
    assert len(runs) == 1
    compare.compare(runs, windows, [])


@given(changed=mutated(RECORDS, json_values))
def test_the_quick_check_of_a_record_agrees_with_the_slow_one(changed):
    """Two readers of one schema: what the quick one accepts, the other accepts too, and the refusal is the slow one's."""
    assert (records.departure(changed) is None) == METRICS_SCHEMA.is_valid(changed)


@given(position=st.floats(0, 1), value=st.integers(0, 255), cut=st.floats(0, 1))
def test_a_damaged_metrics_file_is_refused_in_a_sentence_or_still_right(tmp_path_factory, position, value, cut):
    data = bytearray(json.dumps(RECORDS[0], indent=1).encode())
    data[int(position * (len(data) - 1))] = value
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(data[: int(cut * len(data))] if cut < 0.5 else data)
    try:
        record = tables.read(path)
    except UserError as error:
        assert str(path) in str(error) and "delete the file" in str(error)
        return
    assert METRICS_SCHEMA.is_valid(record)


@pytest.mark.parametrize("depth", [500, 900, 100_000])
def test_a_bottomless_metrics_file_is_refused(tmp_path, depth):
    path = tmp_path / "metrics.json"
    path.write_text('{"windows": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(UserError, match="delete the file"):
        tables.read(path)
