"""What trackers log of a finished run. They read metrics files after the training, so they never affect its timing."""

import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TextIO

from trainoff import axes, records
from trainoff.errors import one_line
from trainoff.files import write_text
from trainoff.shapes import Record

# Names under which a run's readings are logged; those of the hardware form a group of their own.
CONDITIONS = {
    "temperature_celsius_after": "hardware/temperature_celsius",
    "clock_mhz_after": "hardware/clock_mhz",
    "other_cores_during": "hardware/other_cores",
    "memory_available_bytes_after": "hardware/memory_available_bytes",
}


def name(record: Record) -> str:
    """One run in a few words, the same for every tracker: "mobilenetv2 · batch 32 · 96 px · last layer · … · 1"."""
    run = record["run"]
    return " · ".join([*axes.words(run), str(run["replicate"])])


def identity(record: Record) -> str:
    """ID of 16 hexadecimal digits: the same for the same run, a new one when it was trained again."""
    facts = {**record["run"], "started_at": record["provenance"]["started_at"]}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def settings(record: Record) -> dict[str, Any]:
    """The run's settings, hardware and software, flat: {"device": …, "batch_size": …, "hardware": …}."""
    device, host, software = record["device"], record["host"], record["software"]
    facts = {
        **record["run"],
        "hardware": device["name"],
        "accelerator": device["accelerator"],
        "backend": device["backend"],
        "os": host["os"],
        "cpu": host["cpu"],
        **{f"version/{key}": value for key, value in software.items()},
        **{key: value for key, value in record["provenance"].items() if key.endswith("sha256")},
    }
    return {key: value for key, value in facts.items() if value is not None}


def epochs(record: Record) -> list[tuple[int, dict[str, float]]]:
    """[(epoch, {"loss": …, "images_per_second": …, "hardware/watts": …})], without what is unknown."""
    rows = []
    for window in record["windows"]:
        values = {key: window[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")}
        values["images_per_second"] = window["images"] / window["seconds"]
        values |= {f"hardware/{name}": reading["mean"] for name, reading in window.get("readings", {}).items()}
        if window.get("energy_joules") is not None:
            values["hardware/watts"] = window["energy_joules"] / window["seconds"]
            values["joules_per_image"] = window["energy_joules"] / window["images"]
        rows.append((window["epoch"], _known(values)))
    return rows


def summary(record: Record) -> dict[str, float]:
    """Results of the run: {"images_per_second": …, "cold_start/first_step_seconds": …}, without what is unknown."""
    energy = {key: value for key, value in (record["energy"] or {}).items() if isinstance(value, (int, float))}
    return _known(
        {
            "images_per_second": record["throughput"]["images_per_second"],
            "final_val_accuracy": record["training"]["final_val_accuracy"],
            **{f"cold_start/{key}": value for key, value in record["cold_start"].items()},
            **{f"energy/{key}": value for key, value in energy.items()},
            **{words: record["conditions"].get(key) for key, words in CONDITIONS.items()},
        }
    )


def report(
    tracker: str,
    metrics: Collection[str | Path],
    output: str | Path,
    log_run: Callable[[Record], str],
    terminal: TextIO,
) -> None:
    """Logs all runs with a tracker and writes the outcome to `output` (JSON).

    metrics: paths of the metrics files. log_run: logs one record and returns where the run was written; may raise whatever its
    library raises. A tracker that is not installed or cannot be reached causes one warning: the results are complete without it.
    """
    logged, reason = {}, None
    try:
        for path in metrics:
            logged[str(path)] = log_run(records.read(path))
    except ImportError as error:
        reason = f"{error.name} is not installed"
    except Exception as error:
        # A tracker's library may fail in any way, and must not stop a sweep.
        reason = f"{type(error).__name__}: {one_line(error) or 'no reason given'}"
    if reason:
        terminal.write(
            f"\n{tracker}: {len(logged)} of {len(metrics)} runs were written; {reason}. The results are complete without "
            f"it. Fix the cause and delete {output} to try again.\n\n"
        )
    write_text(output, json.dumps({"tracker": tracker, "reason": reason, "runs": logged}, indent=1) + "\n")


def _known(values):
    return {key: value for key, value in values.items() if value is not None}
