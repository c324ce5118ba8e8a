"""Bundles: the runs of one project folder in a zip, for machines that share no disk.

A bundle holds bundle.json (schemas/bundle.schema.json), which lists every other file with its hash, and for each run its
record, the end of its log and its hardware readings. Hashes detect damage, not forgery. Nothing is unpacked: a reader accepts
only known names, reads them in place and checks everything before it is used.
"""

import functools
import hashlib
import itertools
import json
import math
import re
import secrets
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema

from trainoff import bounds, records, series
from trainoff.errors import UserError, one_line
from trainoff.exchange import claims
from trainoff.files import whole
from trainoff.shapes import Record

FORMAT = "trainoff bundle"
VERSION = 2
MANIFEST = "bundle.json"
SCHEMA_PATH = Path(__file__).parents[3] / "schemas" / "bundle.schema.json"

# Every name that a bundle may contain, besides MANIFEST: no "..", no absolute path, no other kind of file. No part is longer
# than file systems allow, and a whole name fits into a message.
DEVICE = "[a-z0-9][a-z0-9_-]{0,99}"
STEP = r"/[a-z_]{1,40}~[A-Za-z0-9._+-]{1,100}"
NAME = re.compile(
    rf"(runs/{DEVICE}({STEP})+/(metrics\.json|train\.log|readings\.csv)|parity/{DEVICE}({STEP})+/probe\.json)\Z"
)
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
ENTRY = b"PK\x01\x02"
LARGEST_INTEGER = 2**63 - 1  # that a column of a table can hold
REMEDY = "Expected a bundle as trainoff writes it; make it again."


def origin_of(path: str | Path) -> str:
    """Random ID of this project folder, used in bundles: eight hexadecimal digits in the file `path`, created on first use.

    The file also holds its own inode number. A copy of the folder has another inode, so it gets a new ID: two machines must
    not be taken for one because somebody copied a folder with its results.
    """
    path = Path(path)
    name, _, number = (
        (path.read_text(encoding="ascii", errors="replace") if path.is_file() else "").strip().partition(" ")
    )
    if re.fullmatch("[0-9a-f]{8}", name) and number in ("", str(path.stat().st_ino)):
        if number:
            return name
    else:
        name = secrets.token_hex(4)
    with whole(path) as temporary:
        temporary.write_text(f"{name} {temporary.stat().st_ino}\n", encoding="ascii")
    return name


def run_folder(run: dict[str, Any]) -> str:
    """Folder of a run's files in a bundle, the same as below the results folder. run: the `run` of a record.

    A record from before an axis existed keeps the path that it had then.
    """
    steps = [f"{key}~{_step(run[key])}" for key in records.RUN_KEYS if key in run and key not in ("device", "seed")]
    return "/".join(["runs", run["device"], *steps])


def probe_name(run: dict[str, Any]) -> str:
    """Name of a probe's record in a bundle; run: its `run`."""
    steps = [f"{key}~{_step(run[key])}" for key in ("model", "precision", "xla")]
    return "/".join(["parity", run["device"], *steps, "probe.json"])


def _step(value):
    return value if isinstance(value, str) else json.dumps(value)


# Writing


def write(path: str | Path, manifest: dict[str, Any], files: dict[str, bytes]) -> str:
    """Writes a bundle, whole or not at all; the same content gives the same bytes. Returns its ID.

    manifest: the keys of bundle.json without format, versions, id and files. files: {name: bytes}.
    """
    manifest = {
        "format": FORMAT,
        # The earliest version that can hold these files: hardware readings came with version 2.
        "bundle_version": VERSION if any(name.endswith(f"/{series.BUNDLED}") for name in files) else 1,
        "protocol_version": records.PROTOCOL_VERSION,
        "schema_version": records.SCHEMA_VERSION,
        **manifest,
        "files": {
            name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])}
            for name in sorted(files)
        },
    }
    manifest["id"] = id_of(manifest)
    _check_schema(manifest, path)
    with whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {MANIFEST: _canonical(manifest), **dict(sorted(files.items()))}.items():
            # A fixed time, so that the same content gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return manifest["id"]


def encoded(value: Any) -> bytes:
    """A record as bytes, as a bundle holds it."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _canonical(manifest):
    return json.dumps(manifest, indent=1, allow_nan=False, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def id_of(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical({key: value for key, value in manifest.items() if key != "id"})).hexdigest()


# Reading


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The checked manifest of the bundle at `path`. Raises UserError for a file that is not a valid bundle."""
    with _opened(path) as archive:
        return _manifest_of(archive, path)


def read(path: str | Path) -> Iterator[tuple[str, Any]]:
    """Yields (name, content) of every file in the bundle at `path` except its manifest, each checked.

    Content is the record for metrics.json and probe.json, text for train.log and readings.csv. Raises UserError at the first
    fault.
    """
    with _opened(path) as archive:
        manifest = _manifest_of(archive, path)
        devices = {device["name"]: device for device in manifest["devices"]}
        for name, listed in manifest["files"].items():
            where = f"{path}: {name}"
            if name.endswith("/train.log") and listed["bytes"] > bounds.BUNDLE_LOG_BYTES:
                raise UserError(
                    f"{where} is larger than {bounds.BUNDLE_LOG_BYTES >> 10} KiB. Expected the last lines of a log; make the "
                    "bundle again."
                )
            content = _member(archive, path, name)
            if len(content) != listed["bytes"] or hashlib.sha256(content).hexdigest() != listed["sha256"]:
                raise UserError(
                    f"{where} has changed since it was bundled: its hash does not match. Copy or make the bundle again."
                )
            yield name, _checked(content, name, where, devices, manifest["reference"])


def _checked(content, name, where, devices, reference):
    """The content of a file in a bundle, as `read` yields it. devices: {name: entry in the manifest}."""
    kind = name.rpartition("/")[2]
    if kind == "train.log":
        return content.decode("utf-8", "replace")
    if kind == series.BUNDLED:
        return _checked_series(content, where)
    if kind == "metrics.json":
        record = checked_record(content, where)
        device = record["run"]["device"]
        if name != f"{run_folder(record['run'])}/{kind}" or device not in devices:
            raise UserError(f"{where} holds a different run than its name says. {REMEDY}")
        require_device(record, devices[device], where)
        return record
    probe = parsed(content, where)
    _check_probe_size(probe, where)
    _check_schema(probe, where, "probe")
    # A schema cannot express this.
    if len({len(row) for row in probe["logits"] or ()}) > 1:
        raise UserError(f"{where}: logits: rows of different lengths. {REMEDY}")
    if name != probe_name(probe["run"]) or probe["run"]["device"] not in {*devices, reference}:
        raise UserError(f"{where} holds a different probe than its name says. {REMEDY}")
    return probe


def checked_record(content: bytes, where: str) -> Record:
    """The record of another machine's run in `content`. Raises UserError if it is not a record or contradicts itself."""
    # Checked before parsing, which takes seconds for so many.
    if content.count(b'"epoch"') > bounds.RECORD_EPOCHS:
        raise UserError(
            f"{where}: holds more than {bounds.RECORD_EPOCHS:,} epochs. Expected a record as a run writes it; make the bundle "
            "again on its machine."
        )
    record = parsed(content, where)
    if isinstance(record, dict | list):
        claims.require_few_keys(record, where)
    records.check(record, where, remedy="make the bundle again on its machine")
    claims.check(record, where)
    return record


def _checked_series(content, where):
    """The text of a run's readings. Raises UserError if it is too large or holds anything else."""
    if len(content) > bounds.SERIES_BYTES:
        raise UserError(
            f"{where}: is larger than {bounds.SERIES_BYTES >> 20} MiB. Expected readings of one run; make the bundle again."
        )
    text = content.decode("utf-8", "replace")
    series.parsed(text, where)
    return text


def require_device(record: Record, listed: dict[str, Any], where: str) -> None:
    """Raises UserError unless a record ran on the device that its bundle lists, including its chip: one device is one chip."""
    for key, field in (("backend", "backend"), ("accelerator", "accelerator"), ("chip", "name")):
        value = record["device"][field]
        if value is not None and listed.get(key) is not None and value != listed[key]:
            raise UserError(
                f"{where}: device.{field}: it ran on {one_line(value, 60)}, its bundle lists {one_line(listed[key], 60)} for "
                "this device. Expected one chip per device; give each chip its own device name, and make the bundle again."
            )


def _check_probe_size(record, where):
    """Raises UserError for a probe with more outputs than any real one, before they are checked one by one."""
    rows = record.get("logits") if isinstance(record, dict) else None
    losses = record.get("losses") if isinstance(record, dict) else None
    sizes = [len(part) for part in [losses, *(rows if isinstance(rows, list) else [])] if isinstance(part, list)]
    if len(sizes) > bounds.PROBE_ROWS or sum(sizes) > bounds.PROBE_VALUES:
        raise UserError(
            f"{where}: holds more than {bounds.PROBE_ROWS:,} rows of outputs or {bounds.PROBE_VALUES:,} values. {REMEDY}"
        )


def _opened(path):
    path = Path(path)
    if not path.is_file():
        raise UserError(f"imports: there is no file {path}. Expected a bundle that `snakemake bundle` wrote.")
    if not path.stat().st_size:
        raise UserError(f"{path}: is empty. Copy the bundle again; `snakemake bundle` writes it whole or not at all.")
    entries = _entries_of(path)
    if path.stat().st_size > bounds.BUNDLE_FILE_BYTES or entries > bounds.BUNDLE_FILES:
        raise UserError(
            f"{path}: is larger than {bounds.BUNDLE_FILE_BYTES >> 20} MiB or holds more than {bounds.BUNDLE_FILES:,} files. "
            "Expected the records of a sweep; bundle fewer runs at once."
        )
    try:
        return zipfile.ZipFile(path)
    # zipfile raises NotImplementedError for kinds of archives that it cannot read, here and below.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise UserError(
            f"{path}: cannot be read as a zip archive ({one_line(error)}). Expected a bundle that `snakemake bundle` wrote; "
            "copy it again, or remove it from imports."
        ) from error


def _entries_of(path):
    """At most how many entries an archive has, whatever it claims: each begins with the four bytes that are counted here."""
    count, last = 0, b""
    with open(path, "rb") as file:
        while part := file.read(2**20):
            count += (last + part).count(ENTRY)
            last = part[-3:]
    return count


def _manifest_of(archive, path):
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if MANIFEST not in names:
        raise UserError(f"{path}: holds no {MANIFEST}. Expected a bundle that `snakemake bundle` wrote.")
    _check_entries(entries, path)
    manifest = parsed(_member(archive, path, MANIFEST), f"{path}: {MANIFEST}")
    version = manifest.get("bundle_version") if isinstance(manifest, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise UserError(
            f"{path}: is a bundle of version {version}, made by a newer trainoff; this one reads version {VERSION}. "
            "Update trainoff here, or make the bundle with the same version as here."
        )
    _check_schema(manifest, f"{path}: {MANIFEST}")
    if manifest["id"] != id_of(manifest):
        raise UserError(
            f"{path}: {MANIFEST} has changed since it was bundled: its hash does not match. Copy or make the bundle again."
        )
    if {*names} != {MANIFEST, *manifest["files"]}:
        odd = min({*names} ^ {MANIFEST, *manifest["files"]})
        raise UserError(f"{path}: {odd[:200]!r} is listed but missing, or present but not listed. {REMEDY}")
    if manifest["reference"] is None and any(name.startswith("parity/") for name in names):
        raise UserError(f"{path}: holds probes but names no reference. {REMEDY}")
    if not any(name.endswith("/metrics.json") for name in names):
        raise UserError(f"{path}: holds no run. Train something there first, then bundle again.")
    names_of_devices = [device["name"] for device in manifest["devices"]]
    if len(set(names_of_devices)) < len(names_of_devices):
        raise UserError(f"{path}: lists a device twice. {REMEDY}")
    return manifest


def _check_entries(entries, path):
    """Raises UserError unless every entry of the archive is a plain file of a known name and a possible size."""
    seen = set()
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if entry.filename != MANIFEST and not (
            len(entry.filename) <= bounds.BUNDLE_NAME and NAME.match(entry.filename)
        ):
            reason = "has a name that no file in a bundle can have"
        elif entry.filename in seen:
            reason = "is in it twice"
        elif kind not in (0, stat.S_IFREG):
            reason = "is a link or a device, not a file"
        elif entry.flag_bits & 0x1:
            reason = "is encrypted"
        elif entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            reason = "is compressed in a way that bundles are not"
        elif entry.file_size > bounds.BUNDLE_MEMBER_BYTES:
            reason = f"is larger than {bounds.BUNDLE_MEMBER_BYTES >> 20} MiB"
        else:
            seen.add(entry.filename)
            continue
        raise UserError(
            f"{path}: {entry.filename[:200]!r} {reason}. Nothing in this archive was used; make the bundle again."
        )
    if len(entries) > bounds.BUNDLE_FILES or sum(entry.file_size for entry in entries) > bounds.BUNDLE_UNPACKED_BYTES:
        raise UserError(
            f"{path}: holds more than {bounds.BUNDLE_FILES:,} files or {bounds.BUNDLE_UNPACKED_BYTES >> 30} GiB. Expected the "
            "records of a sweep; bundle fewer runs at once."
        )


def _member(archive, path, name):
    """The bytes of one file, at most as many as its entry declares."""
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path}: {name} is damaged ({one_line(error)}). Copy or make the bundle again.") from error


def parsed(content: bytes, where: str) -> Any:
    """JSON as this project writes it: no NaN, no number too large for a table, no lone surrogates, no deep nesting."""
    containers = content.count(b"{") + content.count(b"[")
    if containers > bounds.JSON_CONTAINERS or content.count(b",") > bounds.JSON_VALUES:
        raise UserError(
            f"{where}: holds more than {bounds.JSON_CONTAINERS:,} objects and lists or {bounds.JSON_VALUES:,} values. "
            "Expected the JSON that trainoff writes."
        )
    try:
        value = json.loads(content.decode(), parse_float=_finite, parse_int=_integer, parse_constant=_finite)
        if SURROGATE.search(content):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # UnicodeError and JSONDecodeError are ValueErrors
        raise UserError(
            f"{where}: {one_line(error) or 'is nested too deeply'}. Expected the JSON that trainoff writes."
        ) from error
    return value


def _finite(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _integer(text):
    value = int(text) if len(text) < 25 else None
    if value is None or abs(value) > LARGEST_INTEGER:
        raise ValueError(f"{text[:40]} is too large a number")
    return value


@functools.cache
def _validator(part):
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    if part:
        schema = {"$defs": schema["$defs"], "$ref": f"#/$defs/{part}"}
    return jsonschema.Draft202012Validator(schema)


def _check_schema(value, where, part=None):
    error = jsonschema.exceptions.best_match(itertools.islice(_validator(part).iter_errors(value), 20))
    if error is not None:
        key = one_line(".".join(str(step) for step in error.absolute_path), 200) or "it"
        raise UserError(f"{where}: {key}: {one_line(error.message)}. {REMEDY}")
