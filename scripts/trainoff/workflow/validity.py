"""Whether a finished run is still the run that is wanted. Its record decides, since it holds everything that identifies its run.

File times and Snakemake's own metadata do not matter, so the answer is the same in a clone, on another disk, with conda and
without. See docs/method.md, What reruns.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainoff import axes, energy, records, shapes, windows
from trainoff.errors import UserError, one_line
from trainoff.experiment import networks, plan
from trainoff.machine.packages import installed_version
from trainoff.privacy import without_folders

# The packages that train, by backend; only their versions count, not their builds.
PACKAGES = {
    "tensorflow": ["tensorflow", "keras"],
    "torch": ["torch", "keras"],
    "jax": ["jax", "jaxlib", "keras"],
}
EXTRA_PACKAGES = {("tensorflow", "metal"): ["tensorflow-metal"], ("jax", "cuda"): ["jax-cuda12-plugin"]}
# Marked whenever a record is read, so that a change retrains nothing.
NOT_COMPARED = {"warm_up_epochs"}
# Identifies a run, but not the slices of turns.
NOT_OF_TURNS = {"epochs", "measure_minutes", "images_per_epoch", "warm_up_epochs", "timeout_minutes", "on_divergence"}
# Keys that matter only for a run that ended in this way.
ONLY_IF_NOT_CONVERGED = "on_divergence"
ONLY_IF_TIMED_OUT = "timeout_minutes"
# Missing from records without an identity.
NOT_HELD = ["the measured code", "the hash of the prepared weights"]
# Statuses of `--config retry=failed`.
FAILED = ["crashed", "out_of_memory", "timed_out", "diverged", "unavailable", "error"]


@dataclass(frozen=True)
class Change:
    """One difference between a record and the run that is wanted. before, after: in words, or ""."""

    key: str
    before: str = ""
    after: str = ""

    def __str__(self):
        if not self.before and not self.after:
            return self.key
        return f"{self.key} {self.before} → {self.after}"


@dataclass(frozen=True)
class Verdict:
    """What a start does with one run. finished: whether its record is the run that is wanted.

    change: why a record is replaced; None without a record, or for a finished run. old: whether the record is from an earlier
    version without an identity, so that less of it could be compared.
    """

    finished: bool
    change: Change | None = None
    old: bool = False


def packages_of(device: shapes.Device | shapes.Entry) -> list[str]:
    """The names of the packages that train on a device (an entry with backend and accelerator)."""
    backend, accelerator = device["backend"], device["accelerator"]
    return PACKAGES[backend] + EXTRA_PACKAGES.get((backend, accelerator), [])


def installed_versions(device: shapes.Device | shapes.Entry) -> dict[str, str | None]:
    """{package: version} of the packages in this Python that train on the device; None for those that are not installed."""
    return {name: installed_version(name) for name in packages_of(device)}


def pinned_versions(device: shapes.Device | shapes.Entry, environment: str) -> dict[str, str | None]:
    """{package: version} of the packages that train on the device, as pinned by a conda environment file, whose text is given."""
    pins = dict(re.findall(r"^\s*- ([A-Za-z0-9_-]+)(?:\[[\w,-]+\])?==([^\s;]+)", environment, re.MULTILINE))
    return {name: pins.get(name) for name in packages_of(device)}


def versions_or_recorded(versions: dict[str, str | None], path: str | Path) -> dict[str, str | None]:
    """The versions; for a package that is not installed, and so cannot compute anything now, that in the record at `path`."""
    try:
        recorded = {} if all(versions.values()) else json.loads(Path(path).read_bytes())["software"]
        return {name: version or recorded.get(name) for name, version in versions.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return versions


def identity(
    run: shapes.Run, config: shapes.Experiment, data: dict[str, Any], code_sha256: str, versions: dict[str, str | None]
) -> dict[str, Any]:
    """Everything that identifies a run besides its axes, replicate and seed: a flat dict of JSON values.

    run: Snakemake's params.run (`run_of` in rules/finished.smk). config: the experiment. data: hashes of the user's own files and
    of prepared files, where known. versions: of the packages that train.
    """
    device = run["device"]
    return {
        **{key: device[key] for key in ("backend", "accelerator", "index", "threads")},
        **networks.identity(run["architecture"]),
        # Paths in variables belong to this machine: file names are kept, folders are not.
        **{key: without_folders(run[key]) for key in plan.settings(config) if key in run},
        "deterministic": run.get("deterministic", False),
        **{key: run[key] for key in ("epochs", "images_per_epoch", "warm_up_epochs")},
        "timeout_minutes": config["protocol"]["timeout_minutes"],
        "dataset": config["dataset"]["name"],
        "train_images": config["images"]["train"],
        "validation_images": config["images"]["validation"],
        "weights": kind_of_weights(networks.weights_of(run["model"], config)),
        **data,
        "code_sha256": code_sha256,
        "software": versions,
    }


def of_record(identity: dict[str, Any], facts: dict[str, Any], software: dict[str, str | None]) -> dict[str, Any]:
    """The identity as in a record. facts: about the prepared files; software: {package: version} reported by the training."""
    versions = {name: software.get(name) or version for name, version in identity["software"].items()}
    return {
        **identity,
        "images_sha256": facts["images_sha256"],
        "prepared_sha256": facts["prepared_sha256"],
        "software": versions,
    }


def kind_of_weights(weights: str) -> str:
    """The key `weights` without the folder of a user's file: "random", "imagenet" or "file"."""
    return weights if weights in ("random", "imagenet") else "file"


def settings_of(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings of a record's training, {name: value}; None for a record of an earlier version without them."""
    held = record.get("identity")
    if held is None:
        return None
    names = ("dropout", "learning_rate_decay", "batch_norm_momentum", "on_divergence", "deterministic", "epochs")
    later = [name for name in plan.LATER_SETTINGS if name in held]
    return {name: held.get(name) for name in (*names, "images_per_epoch", "warm_up_epochs", *later)}


def judge(path: str | Path, run: shapes.Run, wanted: dict[str, Any], retry: Collection[str] = ()) -> Verdict:
    """The Verdict on the record at `path`. run: as for `identity`; wanted: the result of it. retry: statuses to run again."""
    return _judge(path, lambda record: first_change(record, run, wanted), retry)


def judge_turns(
    path: str | Path, sides: dict[str, shapes.Run], wanted: dict[str, dict[str, Any]], retry: Collection[str] = ()
) -> Verdict:
    """The Verdict on the record of turns at `path`, however undecided they are (see `longer_turns`).

    sides: {"device", "baseline"}: the trainings that take turns, each a device entry and its axes. wanted: {side: identity}.
    """
    return _judge(path, lambda record: _first_change_of_turns(record, sides, wanted), retry)


def _judge(path, change_of, retry):
    try:
        record = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        return Verdict(False)
    except (OSError, ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return Verdict(False, Change("a record that cannot be read"))
    try:
        change = change_of(record)
    except (KeyError, TypeError, AttributeError, IndexError):
        change = Change("a record that is not one of trainoff's")
    if change is None and record.get("status") in retry:
        change = Change(f"{record['status'].replace('_', ' ')}, to be retried")
    return Verdict(change is None, change, old=not isinstance(record.get("identity"), dict))


def longer_turns(path: str | Path, settings: dict[str, Any]) -> Change | None:
    """What would be measured otherwise if the turns at `path`, which ended well, were taken again: more minutes or other slices.

    settings: the key turns of the experiment. None where nothing would, or where a training failed.
    """
    record = json.loads(Path(path).read_bytes())
    earlier = record["turns"]
    changed = "slice_seconds" if not _same(earlier["slice_seconds"], settings["slice_seconds"]) else "minutes"
    if record["status"] != "ok" or (changed == "minutes" and settings["minutes"] <= earlier["minutes"]):
        return None
    return Change(f"turns.{changed}", _words(earlier[changed]), _words(settings[changed]))


def _first_change_of_turns(record, sides, wanted):
    for key, held in axes.complete(record["run"], records.identity_in(record)).items():
        if not _same(held, sides["device"][key]):
            return Change(key, _words(held), _words(sides["device"][key]))
    for side, identity in wanted.items():
        if record[side] != sides[side]["device"]["name"]:
            return Change(side, _words(record[side]), _words(sides[side]["device"]["name"]))
        held = {"identity": record["identity"][side], "status": record["status"], "training": {"converged": True}}
        change = _first_change_of_identity(held, identity)
        if change:
            return change
    return None


def first_change(record: Mapping[str, Any], run: shapes.Run, wanted: dict[str, Any]) -> Change | None:
    """The first Change between a record and the run that is wanted, None if they are the same."""
    try:
        trained = axes.complete(record["run"], records.identity_in(record))
        named = {key: run["device"]["name"] if key == "device" else run[key] for key in trained}
        for key, value in named.items():
            if not _same(trained[key], value):
                return Change(key, _words(trained[key]), _words(value))
        if "identity" not in record:
            return _first_change_of_old(record, run, wanted)
        return _first_change_of_identity(record, wanted)
    except (KeyError, TypeError, AttributeError, IndexError):
        return Change("a record that is not one of trainoff's")


def _first_change_of_identity(record, wanted):
    held = record["identity"]
    for key, default in plan.LATER_SETTINGS.items():
        if key in held and key not in wanted:
            return Change(_title(key), _words(held[key]), _words(default))
    for key, value in wanted.items():
        if key in NOT_COMPARED:
            continue
        if key == ONLY_IF_NOT_CONVERGED and record["training"]["converged"] is not False:
            continue
        if key == ONLY_IF_TIMED_OUT and not (record["status"] == "timed_out" and value > held[key]):
            continue
        if key == "software":
            change = _changed_version(held.get(key) or {}, value)
            if change:
                return change
            continue
        if key not in held:
            return Change(_title(key), "not recorded", _words(value))
        if not _same(held[key], value):
            return Change(_title(key), _words(held[key]), _words(value))
    return None


def _changed_version(held, wanted):
    for name, version in wanted.items():
        # A package that is not installed here cannot retrain anything.
        if version is not None and _public(held.get(name)) != _public(version):
            return Change(name, held.get(name) or "not installed", version)
    return None


def _first_change_of_old(record, run, wanted):
    """The same as first_change for a record without an identity, by the hash of its settings and its other keys."""
    windows, provenance = record["windows"], record["provenance"]
    if record["status"] == "ok" and len(windows) != run["epochs"]:
        return Change("epochs", _words(len(windows)), _words(run["epochs"]))
    if windows and windows[0]["images"] != run["images_per_epoch"]:
        return Change("images_per_epoch", _words(windows[0]["images"]), _words(run["images_per_epoch"]))
    warm_up = sum(window["warm_up"] for window in windows) or run["warm_up_epochs"]
    candidates = [run | {"warm_up_epochs": warm_up, "on_divergence": value} for value in (run["on_divergence"], None)]
    if provenance["config_sha256"] not in {old_config_sha256(candidate, 10) for candidate in candidates}:
        return Change("settings of which the record holds only a hash")
    for key in ("dataset", "images_sha256", "weights"):
        if key in wanted and key in provenance and not _same(provenance[key], wanted[key]):
            return Change(_title(key), _words(provenance[key]), _words(wanted[key]))
    if record["status"] == "ok":
        return _changed_version(record["software"], wanted["software"])
    return None


def old_config_sha256(run: shapes.Run, classes: int) -> str:
    """The value of provenance.config_sha256 in records: a hash of all settings of the training."""
    settings = axes.without_later(run) | {"classes": classes}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


class Prepared:
    """Hashes of prepared images and weights that exist and that fit the experiment.

    results: folder. images_from, weights_from: the sources that they must be made from, as in the facts beside them; the latter
    by model.
    """

    def __init__(self, results, images_from, weights_from):
        self._results = Path(results)
        self._images_from = images_from
        self._weights_from = weights_from
        self._known = {}

    def hashes(self, model: str, img_dim: int) -> dict[str, str]:
        """{"images_sha256": …, "prepared_sha256": …} of one configuration, without unknown hashes."""
        if (model, img_dim) not in self._known:
            images, weights = f"images/img_dim~{img_dim}", f"weights/model~{model}/img_dim~{img_dim}"
            self._known[model, img_dim] = {
                **self._of(images, "images_sha256", self._images_from),
                **self._of(weights, "prepared_sha256", self._weights_from[model]),
            }
        return self._known[model, img_dim]

    def _of(self, folder, key, made_from):
        try:
            facts = json.loads((self._results / folder / "facts.json").read_text(encoding="utf-8"))
            return {key: facts[key]} if facts.get("made_from", made_from) == made_from else {}
        except (OSError, ValueError, KeyError, AttributeError):
            return {}


def requirement(wanted: dict[str, Any]) -> Callable[[int, str, shapes.Record], None]:
    """A function of a run's place in the sweep, path and record, which prepares the record for tables.

    It raises UserError with file and key for a record that is not the run that is wanted, marks warm-up epochs according to the
    current experiment, and adds the run's settings in words. wanted: WANTED of rules/finished.smk.
    """
    config, networks, identities = wanted["config"], wanted["networks"], wanted["identities"]
    runs = plan.runs(config, wanted["devices"])
    prepared = Prepared(wanted["results"], *wanted["made_from"])

    def ready(place, path, record):
        run = runs[place]
        known = identities[run["device"]["name"]][run["model"]] | prepared.hashes(run["model"], run["img_dim"])
        change = first_change(record, plan.training(run, config, networks), known)
        if change:
            raise UserError(
                f"{path}: is not the run that is wanted: {change}. No tables were made. Start again to retrain it."
            )
        mark_warm_up(record, config["protocol"]["warm_up_epochs"])
        # A record of an earlier version holds only a hash of its settings, which is equal to that of the experiment's.
        here = settings_of({"identity": known})
        settings = settings_of(record) or here
        # It has no effect on a run that converged.
        record["settings"] = words_of_settings(settings | {ONLY_IF_NOT_CONVERGED: here[ONLY_IF_NOT_CONVERGED]})

    return ready


def mark_warm_up(record: shapes.Record, epochs: int) -> None:
    """Marks the first `epochs` windows of a record as warm-up, and computes speed and energy again from the others.

    Windows in which the training was stopped stay marked: they do not count either.
    """
    attempts = [attempt["windows"] for attempt in record["training"]["attempts"] if "windows" in attempt]
    for listed in [record["windows"], *attempts]:
        for window in listed:
            window["warm_up"] = window["epoch"] <= epochs or "suspended_seconds" in window
    if "identity" in record:
        record["identity"] = record["identity"] | {"warm_up_epochs": epochs}
    record["throughput"] = windows.summarize(record["windows"])
    if record["energy"]:
        before = record["energy"]
        record["energy"], record["energy_reason"] = energy.summarize(
            record["windows"], before["source"], before["scope"], before["idle_watts"]
        )


def words_of_settings(settings: dict[str, Any]) -> str:
    """Settings as "dropout=0.4 epochs=4 …": runs whose settings differ did different work.

    Settings of later versions are included only if they are not at their default: earlier records and bundles lack them.
    """
    later, is_axis = plan.LATER_SETTINGS, axes.names()
    settings = {
        key: value
        for key, value in settings.items()
        # A former setting that is an axis now is part of the run.
        if key not in is_axis and (key not in later or value != later[key])
    }
    words = (json.dumps(value, sort_keys=True, separators=(",", ":")) for value in settings.values())
    return " ".join(sorted(f"{key}={word}" for key, word in zip(settings, words, strict=True)))


def _public(version):
    return version and version.partition("+")[0]


def _same(held, wanted):
    """Whether two JSON values are equal; 1 is 1.0, but true is not 1."""
    if isinstance(held, bool) or isinstance(wanted, bool):
        return held is wanted
    return held == wanted


def _title(key):
    return {
        "code_sha256": "the measured code",
        "images_sha256": "the prepared images",
        "prepared_sha256": "the prepared weights",
        "archive_sha256": "the archive of images",
        "files_sha256": "the files of the dataset",
        "weights_file_sha256": "the file of weights",
        "model_sha256": "the model's own code",
        "train_images": "images.train",
        "validation_images": "images.validation",
    }.get(key, key)


def _words(value):
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return one_line(text, most=12 if re.fullmatch("[0-9a-f]{64}", text) else 60)
