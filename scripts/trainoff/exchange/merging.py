"""Imports runs of other machines: finds bundles, names their devices, checks them and merges their runs with the local ones."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainoff import axes, records
from trainoff.errors import UserError, one_line
from trainoff.exchange import bundles
from trainoff.privacy import private
from trainoff.shapes import Entry, Record
from trainoff.workflow import validity

# Always searched for bundles, so it may be missing.
FOLDER = "imports"
INDEX = "index.json"
LONGEST_SETTINGS = 2000
# In the label of a device whose runs were timed in the user's own script, so that it shows wherever the device does.
OWN_SCRIPT = " (own script)"
# What a reader adds to a record, or computes from its epochs without warm-up.
NOT_THE_RUN = ("origin", "settings", "energy", "energy_reason", "throughput")
# Where the experiments of this folder keep their runs, as deep as schemas/config.schema.yaml allows; {} is the path below the
# results folder.
LOCAL_RUNS = tuple(f"results/{'*/' * depth}{{}}" for depth in range(6))
# Folder of unpacked bundles in the results.
UNPACKED = "imported"


@dataclass(frozen=True)
class Survey:
    """What the manifests of all bundles say.

    manifests: {path: manifest}; a bundle given twice is listed once. names: {(origin, device): its name here}.
    devices: entries of all devices, the experiment's own and those of bundles, in the order of tables and figures.
    """

    manifests: dict
    names: dict
    devices: list

    @property
    def paths(self) -> list[str]:
        return list(self.manifests)

    @property
    def probed(self) -> bool:
        """Whether any bundle contains probes, with which this machine's own can be compared."""
        return any(manifest["reference"] for manifest in self.manifests.values())


def survey(places: Iterable[str | Path], devices: list[Entry], reference: Entry, origin_file: str | Path) -> Survey:
    """The Survey of an experiment.

    places: its key `imports`. devices: its own entries. reference: the entry that they are compared with. origin_file: holds
    the ID of this folder.
    """
    manifests = {}
    for path in find(places):
        manifest = bundles.read_manifest(path)
        if manifest["id"] not in {known["id"] for known in manifests.values()}:
            manifests[path] = manifest
    if not devices and not manifests:
        raise UserError(
            "devices: the list is empty, and there is no bundle to import. Name a device, or put bundles into imports/."
        )
    if not manifests:
        return Survey({}, {}, devices)
    require_one_chip(manifests)
    taken = {device["name"] for device in [*devices, reference]} if devices else set()
    names = name_devices(taken, manifests.values(), bundles.origin_of(origin_file))
    return Survey(manifests, names, all_devices(devices, manifests.values(), names))


def require_one_chip(manifests: dict[str, dict[str, Any]]) -> None:
    """Raises UserError when bundles of one origin name two chips for one device. manifests: {path: manifest}."""
    known = {}
    for path, manifest in manifests.items():
        for device in manifest["devices"]:
            chip = device.get("chip")
            if chip is None:
                continue
            first, other = known.setdefault((manifest["origin"], device["name"]), (chip, path))
            if first != chip:
                raise UserError(
                    f"{other} and {path} come from one project folder ({manifest['origin']}), and its device {device['name']} is "
                    f"{one_line(first, 60)} in one and {one_line(chip, 60)} in the other. Expected one chip. If the folder was "
                    "copied to another machine, delete results/.origin there and make its bundle again."
                )


def find(places: Iterable[str | Path]) -> list[str]:
    """Paths of the bundles that the key `imports` names, in order: zip files, and those in folders."""
    paths = []
    for place in map(Path, places):
        if place.is_dir():
            paths += sorted(map(str, place.glob("*.zip")))
        elif place.is_file():
            paths.append(str(place))
        elif str(place) != FOLDER:
            raise UserError(
                f"imports: there is no file or folder {place}. Expected a bundle that `snakemake bundle` wrote, or a folder "
                "of bundles; copy it there, or remove the line."
            )
    return list(dict.fromkeys(paths))


def name_devices(
    taken: Collection[str], manifests: Iterable[dict[str, Any]], origin: str
) -> dict[tuple[str, str], str]:
    """{(origin, device): name here} of all devices in bundles; a name that is taken gets its origin appended: "cpu@1a2b3c4d".

    taken: names of this machine's devices; origin: of this folder, whose own bundles keep their names.
    """
    listed = {
        (manifest["origin"], name)
        for manifest in manifests
        for name in [device["name"] for device in manifest["devices"]] + [manifest["reference"]]
        if name is not None
    }
    uses = Counter(name for source, name in listed if source != origin)
    return {
        (source, name): name if source == origin or (uses[name] == 1 and name not in taken) else f"{name}@{source}"
        for source, name in sorted(listed)
    }


def all_devices(
    local: list[Entry], manifests: Iterable[dict[str, Any]], names: dict[tuple[str, str], str]
) -> list[Entry]:
    """Entries of all devices: CPUs first, then by name, so that machines that merge the same runs get the same tables."""
    entries = {device["name"]: device for device in local}
    labels = {device["label"] for device in local}
    for manifest in sorted(manifests, key=lambda manifest: manifest["id"]):
        for device in manifest["devices"]:
            name = names[manifest["origin"], device["name"]]
            if name in entries:
                continue
            label = given = (
                f"{one_line(device['label'], 80) or device['name']}{OWN_SCRIPT if own_script(manifest) else ''}"
            )
            if label in labels and device.get("chip") and one_line(device["chip"], 40) not in label:
                label = f"{label} ({one_line(device['chip'], 40)})"
            if label in labels:
                label = f"{given} ({manifest['origin']})"
            labels.add(label)
            entries[name] = {"name": name, "label": label, **{key: device[key] for key in ("backend", "accelerator")}}
    return sorted(entries.values(), key=lambda device: (device["accelerator"] != "cpu", device["name"]))


def own_script(manifest: dict[str, Any]) -> bool:
    """Whether a bundle says that its runs were timed in the user's own script; its records have to say the same."""
    return "own_script" in manifest["experiment"]


def settings_text(experiment: dict[str, Any], where: str = "the experiment") -> str:
    """The settings of a run besides its axes, as "dropout=0.4 epochs=4 …": runs whose settings differ are not compared.

    where: for messages, names what the settings belong to.
    """
    training, protocol = experiment.get("training"), experiment.get("protocol")
    training = training if isinstance(training, dict) else {}
    protocol = protocol if isinstance(protocol, dict) else {}
    values = (
        training
        | {"deterministic": experiment.get("deterministic", False)}
        | {key: protocol.get(key) for key in ("epochs", "images_per_epoch", "warm_up_epochs", "measure_minutes")}
    )
    if "own_script" in experiment:
        values = {"own_script": experiment["own_script"]}
    text = validity.words_of_settings(values)
    if len(text) > LONGEST_SETTINGS:
        raise UserError(
            f"{where}: the training settings are {len(text):,} characters long. Expected a few; make the bundle again."
        )
    return text


def unpack(paths: Iterable[str], names: dict[tuple[str, str], str], folder: str | Path) -> None:
    """Checks the bundles at `paths` file by file and writes their content below `folder`, with an index.

    names: from name_devices. The same run in two bundles is imported once; raises UserError when the two differ.
    """
    folder = Path(folder)
    index = {"bundles": [], "runs": [], "probes": []}
    known = {}
    for path in paths:
        manifest = bundles.read_manifest(path)
        origin, short = manifest["origin"], manifest["id"][:12]
        settings = settings_text(manifest["experiment"], path)
        new_runs = 0
        for name, content in bundles.read(path):
            kind = name.rpartition("/")[2]
            where = f"{path} ({name})"
            if kind == "metrics.json":
                digest = digest_of(content)
                first, expected = known.setdefault((origin, name), (where, digest))
                if first != where:
                    require_same(digest, where, expected, first)
                    continue
                require_settings(content, manifest["experiment"], where)
                new_runs += 1
                index["runs"].append(
                    {
                        "path": f"{short}/{name}",
                        "device": names[origin, content["run"]["device"]],
                        "origin": origin,
                        "bundle": short,
                        "settings": settings,
                    }
                )
            elif kind == "probe.json":
                if known.setdefault((origin, name), where) != where:
                    continue
                index["probes"].append(
                    {
                        "path": f"{short}/{name}",
                        "device": names[origin, content["run"]["device"]],
                        "reference": names[origin, manifest["reference"]],
                    }
                )
            target = folder / short / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else bundles.encoded(content))
        index["bundles"].append(
            {
                "bundle": short,
                "file": Path(path).name,
                "title": manifest["title"],
                "devices": [names[origin, device["name"]] for device in manifest["devices"]],
                "runs": sum(name.endswith("/metrics.json") for name in manifest["files"]),
                "new_runs": new_runs,
                "protocol_version": manifest["protocol_version"],
            }
        )
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def require_settings(record: Record, experiment: dict[str, Any], where: str) -> None:
    """Raises UserError when a record was trained with other settings than the experiment in its bundle."""
    if record.get("own_script") != experiment.get("own_script"):
        raise UserError(
            f"{where}: own_script: the record holds {one_line(record.get('own_script'), 120)}, its bundle says "
            f"{one_line(experiment.get('own_script'), 120)}. Expected the same; make the bundle again on its machine."
        )
    of_record = validity.settings_of(record)
    if of_record is None:  # of an earlier version
        return
    of_bundle = experiment.get("training", {}) | experiment.get("protocol", {})
    for key, value in of_record.items():
        if key in of_bundle and key != validity.ONLY_IF_NOT_CONVERGED and of_bundle[key] != value:
            raise UserError(
                f"{where}: {key}: the record holds {one_line(value, 40)}, its bundle says {one_line(of_bundle[key], 40)}. "
                "Expected the same; make the bundle again on its machine."
            )


def index_of(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """The index that `unpack` wrote to `folder`: {"bundles": […], "runs": […], "probes": […]}, with full paths."""
    index = json.loads(Path(folder, INDEX).read_text(encoding="utf-8"))
    for kind in ("runs", "probes"):
        for entry in index[kind]:
            entry["path"] = str(Path(folder, entry["path"]))
    return index


def combine(
    local_runs: Iterable[tuple[str, Record]], imported: str | Path, origin: str, read: Callable[[str], Record]
) -> list[tuple[str, Record]]:
    """The runs of this machine and of bundles together, ordered by the runs' keys whatever the order of the files.

    local_runs: [(path, record)] of this machine. imported: folder that `unpack` wrote. origin: the ID of this folder, whose
    runs may come back to it in a bundle. read: gives the record in a file. Imported records get the device's name here,
    `origin` (the bundle's ID) and `settings`. Raises UserError for a run that came back changed, and for one that claims to
    come from this folder but is not here.
    """
    local = {_key(record["run"]): (path, record) for path, record in local_runs}
    combined = dict(local)
    for entry in index_of(imported)["runs"]:
        record = read(entry["path"])
        if entry["origin"] == origin:
            key = _key(record["run"])
            path, original = local.get(key) or _local_record(record["run"], entry["path"], read, Path(imported).parent)
            require_same(digest_of(original), path, digest_of(record), entry["path"])
            if key in local:
                continue
        run = record["run"] | {"device": entry["device"]}
        record |= {"run": run, "origin": entry["bundle"], "settings": entry["settings"]}
        combined[_key(run)] = entry["path"], record
    return [combined[key] for key in sorted(combined)]


def _local_record(run, where, read, results):
    """(path, record) of a run of another experiment in this folder. Raises UserError where there is none."""
    name = f"{bundles.run_folder(run)}/metrics.json"
    names = [name, *axes.earlier_paths(name)]
    found = [path for pattern in LOCAL_RUNS for name in names for path in Path().glob(pattern.format(name))]
    # What was imported is no original.
    elsewhere = sorted(path for path in found if UNPACKED not in path.parts)
    for path in [*(results / name for name in names), *elsewhere]:
        if path.is_file():
            return str(path), read(str(path))
    raise UserError(
        f"{where}: claims to come from this project folder (results/.origin), but this folder has no such run. If the folder or "
        "results/.origin was copied, delete results/.origin on one machine and bundle again there; otherwise remove the bundle "
        "from imports."
    )


def digest_of(record: Mapping[str, Any]) -> str:
    """Digest of a record that is equal for the same run: of everything except which epochs count and what follows from that.

    The experiment that reads a record decides which epochs count. Private names are scrubbed first, as in a bundle.
    """
    plain = private({key: value for key, value in record.items() if key not in NOT_THE_RUN})
    for windows in [plain["windows"], *(attempt.get("windows", []) for attempt in plain["training"]["attempts"])]:
        for window in windows:
            window.pop("warm_up", None)
    plain["identity"] = plain.get("identity", {}) | {"warm_up_epochs": None}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def require_same(digest: str, where: str, other_digest: str, other: str) -> None:
    """Raises UserError when two copies of the same run differ."""
    if digest != other_digest:
        raise UserError(
            f"{other} and {where} hold the same run of the same machine with different results. Expected one result per "
            "run; remove one of the two."
        )


def _key(run):
    return tuple(run[name] for name in records.RUN_KEYS)
