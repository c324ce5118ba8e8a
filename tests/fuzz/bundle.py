"""Bundles: whatever is changed in one, it is rejected, or every figure from it follows from the epochs that it holds."""

import copy
import hashlib
import json
import tempfile
import zipfile
from pathlib import Path

from fuzz import record as records_of
from trainoff import records
from trainoff.analyze import tables
from trainoff.exchange import bundles, merging

NAME = "bundle"
DEVICES = [
    {"name": name, "label": name.upper(), "backend": "tensorflow", "accelerator": kind, "chip": chip}
    for name, kind, chip in (("cuda", "cuda", "CUDA"), ("cpu-there", "cuda", "CPU-THERE"))
]
MANIFEST = {
    "format": bundles.FORMAT,
    "bundle_version": bundles.VERSION,
    "origin": "0123abcd",
    "title": "An experiment",
    "experiment": {
        "training": {"dropout": 0.4},
        "protocol": {"epochs": 4, "images_per_epoch": 640, "warm_up_epochs": 1},
    },
    "devices": DEVICES,
    "reference": None,
    "protocol_version": records.PROTOCOL_VERSION,
    "schema_version": records.SCHEMA_VERSION,
}
NAMES = ["../x", "/etc/x", "a" * 5000, "bundle.json", "runs/cuda/model~x/train.log", "runs/cuda/a\nb/train.log"]
RECORDS = records_of.ORIGINALS
ENTRY = {"name": "cpu", "label": "CPU", "accelerator": "cpu"}


def members(random=None, change=lambda random, record: record):
    """{name: bytes} of a valid bundle's files, with one record changed by `change`."""
    chosen = random.randrange(len(RECORDS)) if random else None
    files = {}
    for place, record in enumerate(RECORDS):
        value = change(random, copy.deepcopy(record)) if place == chosen else record
        folder = bundles.run_folder(record["run"])
        files[f"{folder}/metrics.json"] = value if isinstance(value, bytes) else json.dumps(value).encode()
        files[f"{folder}/train.log"] = b"made up\n"
    return files


def sealed(files, manifest=MANIFEST):
    """The files with a manifest whose hashes match, as someone who tampers with a bundle carefully would write it."""
    listed = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()}
    content = manifest if "files" in manifest else manifest | {"files": listed}
    return {bundles.MANIFEST: json.dumps(content | {"id": bundles.id_of(content)}).encode(), **files}


def write(path, files, extra=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [*files.items(), *extra]:
            archive.writestr(name, data)
    return path


def mutated(random, folder):
    path = folder / "bundle.zip"
    kind = random.choice(["record", "record", "digit", "sealed digit", "manifest", "bytes", "cut", "entry"])
    if kind in ("record", "sealed digit"):
        one_digit = lambda random, record: records_of.with_one_digit(random, json.dumps(record)).encode()  # noqa: E731
        return write(path, sealed(members(random, records_of.changed if kind == "record" else one_digit)))
    if kind == "digit":
        files = sealed(members())
        name = random.choice(list(files))
        return write(path, files | {name: records_of.with_one_digit(random, files[name].decode() + "0").encode()})
    if kind == "manifest":
        manifest = copy.deepcopy(MANIFEST)
        for change in random.sample(
            [records_of.replace_text, records_of.replace_number, records_of.remove, records_of.add], 2
        ):
            change(random, manifest)
        return write(path, sealed(members(), manifest))
    if kind == "entry":
        return write(path, sealed(members()), [(random.choice(NAMES), random.choice([b"", b"x", b"\0" * 10**6]))])
    content = bytearray(write(path, sealed(members())).read_bytes())
    if kind == "bytes":
        for _ in range(random.choice([1, 3, 10])):
            content[random.randrange(len(content))] ^= random.randrange(1, 256)
    else:
        del content[random.randrange(len(content)) :]
    path.write_bytes(content)
    return path


def read(path):
    """Reads a bundle as a start does, and makes tables of its runs alone."""
    with tempfile.TemporaryDirectory() as folder:
        origin_file = Path(folder, "origin")
        survey = merging.survey([str(path)], [ENTRY], ENTRY, origin_file)
        merging.unpack(survey.paths, survey.names, Path(folder, "imported"))
        runs = merging.combine([], Path(folder, "imported"), bundles.origin_of(origin_file), tables.read)
        for place, record in runs:
            records_of.agrees_with_its_epochs(record, place)
            assert Path(place).resolve().is_relative_to(Path(folder).resolve())


def many_entries(folder):
    return write(folder / "bundle.zip", {f"runs/cuda/model~{number}/train.log": b"" for number in range(120_000)})


def long_log(folder):
    files = members()
    name = next(name for name in files if name.endswith("train.log"))
    return write(folder / "bundle.zip", sealed(files | {name: b"x" * (40 * 2**20)}))


def wide_probe(folder):
    probe = {
        "schema_version": 1,
        "run": {"device": "cuda", "model": "mobilenetv2", "precision": "float32", "xla": False},
        "status": "ok",
        "failure": None,
        "logits": [[0.5]] * 500_000,
        "losses": [1.0],
        "device": {"accelerator": "cuda"},
        "inputs": {},
    }
    files = members() | {bundles.probe_name(probe["run"]): json.dumps(probe).encode()}
    return write(folder / "bundle.zip", sealed(files, MANIFEST | {"reference": "cuda"}))


def with_record(make):
    def written(folder):
        files = members()
        name = next(iter(files))
        return write(folder / "bundle.zip", sealed(files | {name: make(folder).read_bytes()}))

    return written


REGRESSIONS = {
    "120,000 entries": many_entries,
    "a log of 40 MB": long_log,
    "a probe of 500,000 rows": wide_probe,
    "a bundle named as a pattern": lambda folder: write(folder / "{device} <results>.zip", sealed(members())),
    **{f"with {what}": with_record(make) for what, make in records_of.REGRESSIONS.items()},
}
