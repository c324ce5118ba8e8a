"""Packs a training of the user's own script as a record in a bundle, which an experiment can import."""

import itertools
import platform
import re
from pathlib import Path
from typing import Any

from trainoff import axes, records, windows
from trainoff.errors import UserError, one_line
from trainoff.exchange import bundles
from trainoff.machine import devices, disks
from trainoff.machine.packages import installed_version
from trainoff.privacy import private
from trainoff.shapes import Configuration, Window

NO_ENERGY = "The timer of a user's own script does not measure energy."
PACKAGES = ("tensorflow", "torch", "jax", "keras", "numpy")
LONGEST_WORK = 100
LONGEST_LABEL = 60
ORIGIN = ".origin"
CANNOT_PACK = "the training cannot be packed"


def check_words(
    work: str,
    batch_size: int,
    samples_per_epoch: int | None,
    device: str | None,
    label: str | None,
    model: str | None,
    warm_up_epochs: int,
) -> None:
    """Raises UserError for arguments that a Timer does not accept."""
    for name, value in {"work": work, "device": device, "label": label, "model": model}.items():
        if value is None and name != "work":
            continue
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"Timer: {name}: {one_line(repr(value), 60)}. Expected a few words.")
    if device is not None and not re.fullmatch(bundles.DEVICE, device):
        raise UserError(
            f"Timer: device: {one_line(device, 60)!r}. Expected lowercase letters, digits, - and _, such as lab-gpu."
        )
    counts = {
        "batch_size": (batch_size, 1),
        "samples_per_epoch": (samples_per_epoch, 1),
        "warm_up_epochs": (warm_up_epochs, 0),
    }
    for name, (value, minimum) in counts.items():
        if value is None and name == "samples_per_epoch":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise UserError(f"Timer: {name}: {one_line(repr(value), 60)}. Expected a whole number from {minimum}.")


def check_packable(folder: str | Path, work: str, run: Configuration, facts: dict[str, Any], samples: int) -> None:
    """Raises UserError if `write` could not pack such a training, so that hours are not lost at its end.

    samples: per epoch. For the rest see `write`.
    """
    at = "2026-01-01T00:00:00.000+00:00"
    unknown = dict.fromkeys(("accuracy", "val_loss", "val_accuracy", "energy_joules"))
    window = {"epoch": 1, "images": samples, "seconds": 1.0, "warm_up": False, "loss": 0.0, "started_at": at, **unknown}
    window["energy_reason"] = NO_ENERGY
    # A schedule may begin at 0.
    run = run | {"learning_rate": run["learning_rate"] or 1.0}
    records.check(private(_record(work, run, facts, [window], (at, at), 1)), "Timer", remedy=CANNOT_PACK)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        fault = disks.fault_of(folder)
    except OSError as error:
        fault = error.strerror
    if fault:
        raise UserError(
            f"Timer: folder: {one_line(folder)} cannot be written to ({fault}). Expected a folder for bundles."
        )


def plain_name(text: str, between: str) -> str:
    """`text` as a name for paths, of lowercase letters, digits and `between`: "ResNet 50 v2" → "resnet_50_v2"."""
    return re.sub("[^a-z0-9]+", between, text.lower()).strip(between)[:100] or "model"


def write(
    folder: str | Path,
    work: str,
    run: Configuration,
    facts: dict[str, Any],
    listed: list[Window],
    times: tuple[str, str],
) -> Path:
    """Writes the bundle of one training into `folder` and returns its path.

    work: what is trained, in the user's words. run: the axes. facts: {"name", "label", "device", "memory"} of the device.
    listed: the windows. times: start and end of the training, as texts.
    """
    folder = Path(folder)
    replicate, path = next(
        (number, path)
        for number in itertools.count(1)
        if not (path := folder / f"{facts['name']}-{run['model']}-{run['batch_size']}-{number}.zip").exists()
    )
    record = private(_record(work, run, facts, listed, times, replicate))
    records.check(record, path, remedy=CANNOT_PACK)
    name = bundles.run_folder(record["run"])
    origin_file = folder / ORIGIN
    device = facts["device"]
    bundles.write(
        path,
        {
            "origin": bundles.origin_of(origin_file),
            "title": one_line(f"Own script: {work}", 200),
            "experiment": {"own_script": record["own_script"]},
            "devices": [
                {
                    "name": facts["name"],
                    "label": private(facts["label"]),
                    "backend": device["backend"],
                    "accelerator": device["accelerator"],
                    "chip": private(device["name"]),
                }
            ],
            "reference": None,
        },
        {
            f"{name}/metrics.json": bundles.encoded(record),
            f"{name}/train.log": b"timed in the user's own script\n",
        },
    )
    return path


def _record(work, run, facts, listed, times, replicate):
    known = axes.by_name("precision").schema["enum"]
    if run["precision"] not in known:
        raise UserError(f"Timer: the model computes in {run['precision']}. Expected one of {', '.join(known)}.")
    diverged = listed[-1]["loss"] is None
    status = "diverged" if diverged else "ok"
    message = f"The loss of epoch {len(listed)} is not finite."
    return {
        "schema_version": records.SCHEMA_VERSION,
        "protocol_version": records.PROTOCOL_VERSION,
        "run": {"device": facts["name"], **run, "replicate": replicate, "seed": replicate - 1},
        "own_script": {"work": work},
        "status": status,
        "failure": {"signal": None, "exit_code": None, "message": message, "log_tail": []} if diverged else None,
        "cold_start": dict.fromkeys(records.COLD_START),
        "windows": listed,
        "throughput": windows.summarize(listed),
        "training": {
            # The pipeline's rule needs the first loss and the labels, which only the script knows.
            "converged": False if diverged else None,
            "epochs": len(listed),
            "final_val_accuracy": listed[-1]["val_accuracy"],
            "attempts": [{"learning_rate": run["learning_rate"], "outcome": status}],
        },
        "memory": facts["memory"],
        "energy": None,
        "energy_reason": NO_ENERGY,
        "device": facts["device"],
        "host": devices.describe_host(),
        "conditions": {"busy": None, "other_cores_before": None, "other_cores_during": None, "waited_seconds": 0},
        "software": {"python": platform.python_version(), **{name: installed_version(name) for name in PACKAGES}},
        "provenance": {
            "started_at": times[0],
            "finished_at": times[1],
            "sequence": replicate,
            **dict.fromkeys(("code_sha256", "dataset_sha256", "weights_sha256", "config_sha256")),
        },
    }
