"""Thousands of mutated inputs: each is accepted rightly or refused in a sentence, and nothing else ever happens.

The number of inputs is the profile's, see conftest.py. Damaged archives have their test in test_datasets.py.
"""

import contextlib
import copy
import hashlib
import json
import math
import os
import re
import sys
import zipfile
from pathlib import Path, PurePosixPath

import fastjsonschema
import jsonschema
import pandas as pd
import pytest
import synthetic
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from machine import EXPERIMENT, Machine, entry
from project import ROOT
from test_experiment import CATALOG, DEFAULT, MODELS, SCHEMA, merged

import aggregate_runs
import check_parity
import compare_devices
from trainoff import axes, records
from trainoff.analyze import tables
from trainoff.errors import UserError
from trainoff.exchange import bundles
from trainoff.experiment import checks, plan

RUN_KEYS = [key for key in records.RUN_KEYS if key != "seed"]
METRICS_SCHEMA = jsonschema.Draft202012Validator(records.schema())
RECORDS = synthetic.records(
    synthetic.DEVICES[:2], synthetic.SMALL_GRID, replicates=2, failures={1: "crashed", 2: "diverged"}
)
# The patterns that Snakemake finds runs by.
CONSTRAINTS = axes.constraints() | dict(
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
@example(changed={**DEFAULT, "energy": {**DEFAULT["energy"], "declared": {"cpu": None, 0: None}}})
@example(changed={**DEFAULT, "weights": "x" * 5000})
@example(changed={**DEFAULT, "seed": "x" * 5000})
@example(changed={**DEFAULT, "grid": {**DEFAULT["grid"], "model": ["x" * 5000]}})
@example(changed={**DEFAULT, "devices": ["x" * 5000]})
@example(changed={**DEFAULT, "title": "\ud800"})
def test_a_config_is_refused_in_a_sentence_or_gives_runs_that_snakemake_finds(changed):
    if not isinstance(changed, dict):
        return  # Snakemake refuses it before we see it
    config = merged(changed)  # keys that a file lacks come from config.yaml
    try:
        checks.check(config, SCHEMA, MODELS, "config.yaml")
        entries = plan.devices(config, CATALOG, detect=lambda: ["cpu"])
    except UserError as error:
        assert is_sentence(error), str(error)
        return
    yaml.safe_dump(config, allow_unicode=True).encode()
    if config["replicates"] * math.prod(map(len, config["grid"].values())) > 200:
        return
    seen = set()
    for run in plan.runs(config, entries):
        words = plan.wildcards(run)
        assert all(re.fullmatch(CONSTRAINTS[key], word) for key, word in words.items()), words
        path = PurePosixPath(config["pathvars"]["results"], "runs", *words.values())
        assert path.parts[0] == "results" and ".." not in path.parts
        seen.add(path)
    assert len(seen) == len(plan.runs(config, entries))


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
        aggregate_runs.main([path], *outputs)
    except UserError as error:
        assert len(str(error)) < 2000 and str(path) in str(error) and "elete the file" in str(error)
        return
    assert METRICS_SCHEMA.is_valid(tables.read(path))
    runs, windows = pd.read_parquet(outputs[1]), pd.read_parquet(outputs[3])
    assert len(runs) == 1
    compare_devices.compare(runs, windows, [])


@given(changed=mutated(RECORDS, json_values))
def test_the_quick_check_of_a_record_agrees_with_the_slow_one(changed):
    """Two readers of one schema: what the quick one accepts, the other accepts too, and the refusal is the slow one's."""
    assert (records.departure(changed) is None) == METRICS_SCHEMA.is_valid(changed)


def test_what_the_quick_check_alone_objects_to_lets_nothing_else_pass(monkeypatch):
    def objects(record):
        raise fastjsonschema.JsonSchemaValueException("", name="data.windows[0].epoch")

    monkeypatch.setattr(records, "_quick_check", lambda: objects)
    assert records.departure(RECORDS[0]) is None
    assert records.departure(RECORDS[0] | {"status": "fine"})[0] == "status"


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


# Bundles that somebody else made: each is refused in a sentence, or its runs stand beside this machine's.


def probe(device, accelerator):
    """A made-up probe's record."""
    return {
        "schema_version": 1,
        "run": {"device": device, "model": "mobilenetv2", "precision": "float32", "xla": False},
        "status": "ok",
        "failure": None,
        "logits": [[0.5, -1.0], [2.0, 0.0]],
        "losses": [3.2, 2.2, 1.4],
        "device": {"accelerator": accelerator},
        "inputs": {"images_sha256": synthetic.HASH},
    }


# In place of the list of files: the one that fits.
FITTING = "as the files are"
MANIFEST = {
    "format": bundles.FORMAT,
    "bundle_version": bundles.VERSION,
    "origin": "0123abcd",
    "title": "An experiment",
    "experiment": EXPERIMENT,
    "devices": [entry("cuda"), entry("cpu-there")],
    "reference": "cpu-there",
    "protocol_version": records.PROTOCOL_VERSION,
    "schema_version": records.SCHEMA_VERSION,
    "files": FITTING,
}
THERE = synthetic.records(MANIFEST["devices"], synthetic.SMALL_GRID, failures={1: "crashed"})
PROBES = [probe("cuda", "cuda"), probe("cpu-there", "cpu")]
# {name: content} of a sound bundle: logs are text, all else is JSON.
MEMBERS = {
    bundles.MANIFEST: MANIFEST,
    **{f"{bundles.run_folder(one['run'])}/metrics.json": one for one in THERE},
    **{f"{bundles.run_folder(one['run'])}/train.log": "made up\n" for one in THERE},
    **{bundles.probe_name(one["run"]): one for one in PROBES},
}
RECORD = f"{bundles.run_folder(THERE[0]['run'])}/metrics.json"
PROBE = bundles.probe_name(PROBES[0]["run"])


def pack(path, members):
    """Writes members as a bundle, records under the names that follow from them, hashes and id made to fit if they can."""
    files = {
        fitting_name(name, content): (content if isinstance(content, str) else json.dumps(content)).encode(
            errors="surrogatepass"
        )
        for name, content in members.items()
        if name != bundles.MANIFEST
    }
    manifest = members[bundles.MANIFEST]
    if isinstance(manifest, dict):
        if manifest.get("files") == FITTING:
            manifest = manifest | {"files": {name: listed(data) for name, data in files.items()}}
        with contextlib.suppress(ValueError):
            manifest = manifest | {"id": bundles.id_of(manifest)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {bundles.MANIFEST: json.dumps(manifest), **files}.items():
            archive.writestr(name, data)


def fitting_name(name, content):
    """The name that a record asks for, `name` for one that asks for none and for all else."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if name.endswith("/metrics.json"):
            return portable(f"{bundles.run_folder(content['run'])}/metrics.json")
        if name.endswith("/probe.json"):
            return portable(bundles.probe_name(content["run"]))
    return name


def portable(name):
    """`name`; raises ValueError when a half character makes it none that a zip can hold."""
    name.encode()
    return name


def listed(data):
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


# Sets of paths that files are opened at to be written; the last is the one that is watched.
WRITTEN = []


def note_write(event, arguments):
    if event == "open" and WRITTEN and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        WRITTEN[-1].add(Path(arguments[0]).absolute())


sys.addaudithook(note_write)


class Here:
    """A machine with runs and a probe of its own, which imports one bundle after another."""

    def __init__(self, folder):
        self.machine = Machine(folder, ["cpu"], replicates=1)
        self.machine.bundle()  # draws this folder's name to others
        self.path = folder / "imports.zip"
        self.probe = folder / "probe.json"
        self.probe.write_text(json.dumps(probe("cpu", "cpu")))
        pack(self.path, MEMBERS)
        self.sound = self.path.read_bytes()
        self.expected = self.outcome()

    def outcome(self):
        """{name: bytes of the csv} of the tables with the bundle imported, or the sentence that refuses it."""
        folder, written = self.machine.folder, set()
        WRITTEN.append(written)
        try:
            found, _ = self.machine.tables(self.path)
            outputs = folder / "parity.csv", folder / "parity.parquet"
            check_parity.main([self.probe], folder / "runs.parquet", "cpu", *outputs, folder / "imported")
            found["parity"] = outputs[0].read_bytes()
        except UserError as error:
            found = str(error)
            assert str(self.path) in found and len(found) < 1000 and found.isprintable(), found
        finally:
            WRITTEN.pop()
        # Tables lie beside the folder of the imports, under names that no bundle chooses.
        assert all(".." not in path.parts for path in written), written
        assert all(path.parent == folder or folder / "imported" in path.parents for path in written), written
        return found


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    here = Here(tmp_path_factory.mktemp("here"))
    assert b"cuda" in here.expected["comparison"] and b"match" in here.expected["parity"]
    return here


words = st.text(max_size=20) | st.sampled_from(
    ["x" * 300, "é" * 2000, "a\nb", "../" * 100, "\u202e", "C:\\x", "runs", ".."]
)
# A zip ends a name at its first NUL, and takes no empty one.
names = (words | words.map(lambda step: f"runs/cuda/model~{step}/train.log")).filter(lambda name: name.split("\0")[0])


@st.composite
def changed_members(draw):
    """{name: content} of one or two members of a bundle with parts replaced, removed or added, or under other names."""
    changed = {}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.just(bundles.MANIFEST) | st.sampled_from(list(MEMBERS)))
        content = draw(mutated([MEMBERS[name]], json_values | words))
        changed[draw(st.sampled_from([name] * 9 + [None])) or draw(names)] = content
    return changed


@given(changed=changed_members())
@example(changed={f"runs/cuda/model~{'x' * 300}/train.log": "longer than a file's name may be"})
@example(changed={f"runs/cuda/{'model~x/' * 50}train.log": "longer than a sentence"})
@example(changed={bundles.MANIFEST: MANIFEST | {"files": {"x" * 2000: listed(b"")}}})
@example(changed={bundles.MANIFEST: MANIFEST | {"experiment": {"training": {"x" * 3000: 1}}}})
@example(changed={bundles.MANIFEST: MANIFEST | {"files": {"x" * 2000: {}}}})
@example(changed={PROBE: PROBES[0] | {"logits": [[0.5], [2.0, 0.0]]}})
@example(changed={PROBE: PROBES[0] | {"logits": []}})
@example(changed={PROBE: PROBES[0] | {"losses": []}})
@example(changed={RECORD: THERE[0] | {"device": THERE[0]["device"] | {"\x1b[2J clears a terminal": []}}})
def test_a_mutated_bundle_is_refused_in_a_sentence_or_its_tables_are_made(here, changed):
    pack(here.path, MEMBERS | changed)
    here.outcome()


@given(
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=3),
    cut=st.floats(0, 1),
    ends=st.booleans(),
)
def test_a_damaged_bundle_is_refused_in_a_sentence_or_still_right(here, damage, cut, ends):
    data = bytearray(here.sound)
    # The list of files at the end of a zip is what a reader reads first and believes most.
    start = data.index(b"PK\1\2") if ends else 0
    for position, change in damage:
        data[start + int(position * (len(data) - 1 - start))] ^= change
    here.path.write_bytes(data[: int(cut * len(data))] if cut < 0.3 else data)
    found = here.outcome()
    assert isinstance(found, str) or found == here.expected
