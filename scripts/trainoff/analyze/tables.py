"""Records as tables: one row per run, one row per window."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from trainoff import axes, errors, records, windows
from trainoff.analyze import epoch_readings, plausibility, reasons
from trainoff.errors import UserError, bounded
from trainoff.files import whole, write_text
from trainoff.shapes import Record

# Characters with which a spreadsheet lets a formula begin, including the full-width forms of East Asian keyboards.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
LONGEST_CELL = 5000
# {name of a table: where it is written, (csv path, parquet path)}.
Outputs = Mapping[str, tuple[str | Path, str | Path]]
# bool_or_none and int_or_none are object columns with None for unknown values: as floats, whole numbers would end in ".0".
RUN_COLUMNS = {
    "device": "str",
    **{axis.name: axis.column for axis in axes.AXES},
    "replicate": "int64",
    "seed": "int64",
    "status": "str",
    "reason": "str",
    "signal": "str",
    "images_per_second": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "unstable": "bool_or_none",
    "implausible": "str",
    "counted_windows": "int64",
    **dict.fromkeys(records.COLD_START, "float64"),
    "epochs": "int64",
    "converged": "bool_or_none",
    "attempts": "int64",
    "learning_rate_used": "float64",
    "final_loss": "float64",
    "final_accuracy": "float64",
    "final_val_loss": "float64",
    "final_val_accuracy": "float64",
    "final_val_balanced_accuracy": "float64",
    "classes": "Int64",
    "chance_accuracy": "float64",
    "parameters": "int_or_none",
    "trainable_parameters": "int_or_none",
    "flops_per_image": "int_or_none",
    "peak_memory_bytes": "int_or_none",
    "peak_device_memory_bytes": "int_or_none",
    "joules_per_image": "float64",
    "joules_per_image_above_idle": "float64",
    "mean_watts": "float64",
    "idle_watts": "float64",
    "package_watts": "float64",
    "energy_scope": "str",
    "energy_source": "str",
    "energy_reason": "str",
    "device_name": "str",
    "backend": "str",
    "accelerator": "str",
    "device_cores": "int_or_none",
    "device_memory_bytes": "int_or_none",
    "driver": "str",
    "machine": "str",
    "os": "str",
    "cpu": "str",
    "power_source": "str",
    "low_power": "bool_or_none",
    "virtual": "bool_or_none",
    "logical_processors": "int_or_none",
    "usable_processors": "int_or_none",
    "variables_left_out": "str",
    "busy": "bool_or_none",
    "swapped": "bool_or_none",
    "other_cores_before": "float64",
    "other_cores_during": "float64",
    "suspended_seconds": "float64",
    "throttled": "bool_or_none",
    "gpu_percent": "float64",
    "swapped_bytes": "float64",
    "python": "str",
    "tensorflow": "str",
    "torch": "str",
    "jax": "str",
    "keras": "str",
    "protocol_version": "int64",
    "deterministic": "bool",
    "dataset": "str",
    "dataset_sha256": "str",
    "images_sha256": "str",
    "weights": "str",
    "weights_sha256": "str",
    "code_sha256": "str",
    "started_at": "str",
    "finished_at": "str",
    "sequence": "int64",
    "settings": "str",
    "own_script": "str",
    "origin": "str",
    "metrics": "str",
}
WINDOW_COLUMNS = {key: RUN_COLUMNS[key] for key in records.RUN_KEYS} | {
    "epoch": "int64",
    "images": "int64",
    "seconds": "float64",
    "suspended_seconds": "float64",
    "images_per_second": "float64",
    "warm_up": "bool",
    "loss": "float64",
    "accuracy": "float64",
    "val_loss": "float64",
    "val_accuracy": "float64",
    "val_balanced_accuracy": "float64",
    "started_at": "str",
    "energy_joules": "float64",
    "energy_reason": "str",
}

# The columns of RUN_COLUMNS about the energy of a run.
ENERGY_KEYS = [
    "joules_per_image",
    "joules_per_image_above_idle",
    "mean_watts",
    "idle_watts",
    "energy_scope",
    "energy_source",
    "energy_reason",
]


def read_all(
    paths: Iterable[str | Path], ready: Callable[[int, str, Record], None] | None = None
) -> list[tuple[str, Record]]:
    """The records in the files `paths` with their paths, ordered by the runs' keys whatever the order of `paths`.

    ready: called with the position, path and record of each, to refuse or complete it; None to take the records as they are.
    Returns [(path, record)]. Raises UserError for a file that is not a metrics file, and for two files of the same run.
    """
    by_key = {}
    for place, path in enumerate(map(str, paths)):
        record = read(path)
        if ready is not None:
            ready(place, path, record)
        key = tuple(record["run"][name] for name in records.RUN_KEYS)
        if key in by_key:
            run = " ".join(f"{name}={value}" for name, value in zip(records.RUN_KEYS, key, strict=True))
            raise UserError(
                f"{path} and {by_key[key][0]} hold the same run ({run}). Expected one file per run; remove one, "
                "or give one of the devices another name."
            )
        by_key[key] = path, record
    return [by_key[key] for key in sorted(by_key)]


def read(path: str | Path) -> Record:
    """The record in the file `path`.

    A run with an impossible time (zero, negative, infinite) is kept, so that a broken clock does not stop the comparison of all
    other runs: it is returned with status "error", the epoch in its failure message, and no windows.
    """
    try:
        record = records.read(path)
    except UserError:
        record = _without_impossible_windows(path)
        if record is None:
            raise
        records.check(record, path)
        return record
    try:
        for window in record["windows"]:
            windows.rate(window)
    except ValueError:
        return _without_impossible_windows(path)
    return record


def run_table(entries: list[tuple[str, Record]], folder: str | Path | None = None) -> pd.DataFrame:
    """One row per run, with the columns RUN_COLUMNS, of [(path, record)]. Throughputs are computed again from the windows.

    folder: of the results. Paths in the table are relative to it, so that they reveal no other folder; None keeps them.
    """

    def rows(path, record):
        return [_run_row(path if folder is None else os.path.relpath(path, folder), record)]

    return _frame_of(entries, rows, RUN_COLUMNS)


def window_table(entries: list[tuple[str, Record]]) -> pd.DataFrame:
    """One row per window, with the columns WINDOW_COLUMNS, of [(path, record)]."""
    return _frame_of(
        entries,
        lambda _, record: [{**record["run"], **_window_row(window)} for window in record["windows"]],
        WINDOW_COLUMNS,
    )


def _window_row(window):
    """`seconds` are those in which the process ran, since a training does not take longer because it was stopped."""
    energy_reason = reasons.recorded(window.get("energy_reason"))
    stopped = window.get("suspended_seconds", 0.0)
    # In an imported record a stop may claim to be longer than its epoch.
    if stopped < window["seconds"]:
        window = window | {"seconds": window["seconds"] - stopped}
    return {**window, "images_per_second": windows.rate(window), "energy_reason": energy_reason}


def files(output: Mapping[str, str], *names: str) -> dict[str, tuple[str, str]]:
    """{name: (csv path, parquet path)} of the tables `names` among a rule's named outputs."""
    return {name: (output[name], output[f"{name}_parquet"]) for name in names}


def write(frame: pd.DataFrame, csv: str | Path, parquet: str | Path) -> None:
    """Writes a table to both files, each whole or not at all."""
    frame = printable(frame)
    write_text(csv, as_csv(frame))
    with whole(parquet) as temporary:
        frame.to_parquet(temporary, index=False)


def as_csv(frame: pd.DataFrame) -> str:
    """A table as the text of a CSV file; all CSV files of the project are written by this function.

    Every text is a single printable line, so that no cell can look like several rows. A text that a spreadsheet would take for a
    formula gets an apostrophe in front, as spreadsheets themselves mark text; numbers, signed or not, stay as they are.
    """
    frame = _with_texts(printable(frame), lambda text: f"'{text}" if text.startswith(FORMULA) else text)
    return frame.to_csv(index=False, lineterminator="\n")


def printable(frame: pd.DataFrame) -> pd.DataFrame:
    """A table in which every text is a single printable line of bounded length."""
    return _with_texts(frame, lambda text: bounded(errors.printable(text), LONGEST_CELL))


def _with_texts(frame, change):
    """A table with `change` applied to every text, called once per distinct text."""
    changed = {}
    for name in frame.columns:
        if not (pd.api.types.is_object_dtype(frame[name]) or pd.api.types.is_string_dtype(frame[name])):
            continue
        texts = {value for value in frame[name].unique() if isinstance(value, str)}
        other = {text: change(text) for text in texts}
        if any(text != new for text, new in other.items()):
            changed[name] = frame[name].map(
                lambda value, other=other: other[value] if isinstance(value, str) else value
            )
    return frame.assign(**changed) if changed else frame


def _run_row(path, record):
    failure, energy, model = record["failure"] or {}, record["energy"] or {}, record.get("model") or {}
    memory = record.get("memory") or {}
    last = record["windows"][-1] if record["windows"] else {}
    device, host, software, provenance = (record[part] for part in ("device", "host", "software", "provenance"))
    speed = windows.summarize(record["windows"])
    return {
        **record["run"],
        "status": record["status"],
        "reason": failure.get("message"),
        "signal": failure.get("signal"),
        **speed,
        "implausible": plausibility.doubt(record, speed["images_per_second"]),
        "counted_windows": sum(not window["warm_up"] for window in record["windows"]),
        **record["cold_start"],
        "epochs": record["training"]["epochs"],
        "converged": record["training"]["converged"],
        # At any learning rate, but without suspended ones, which were trained again.
        "attempts": sum(attempt["outcome"] != "suspended" for attempt in record["training"]["attempts"][:-1]) + 1,
        "learning_rate_used": record["training"]["attempts"][-1]["learning_rate"],
        "final_loss": last.get("loss"),
        "final_accuracy": last.get("accuracy"),
        "final_val_loss": last.get("val_loss"),
        "final_val_accuracy": record["training"]["final_val_accuracy"],
        "final_val_balanced_accuracy": record["training"].get("final_val_balanced_accuracy"),
        "classes": record["training"].get("classes"),
        "chance_accuracy": record["training"].get("chance_accuracy"),
        **{key: model.get(key) for key in ("parameters", "trainable_parameters", "flops_per_image")},
        "peak_memory_bytes": memory.get("peak_bytes"),
        "peak_device_memory_bytes": memory.get("peak_device_bytes"),
        **{
            key: energy.get(key)
            for key in ("joules_per_image", "joules_per_image_above_idle", "mean_watts", "idle_watts")
        },
        "package_watts": epoch_readings.package_watts(record["windows"]),
        "energy_scope": energy.get("scope"),
        "energy_source": energy.get("source"),
        "energy_reason": reasons.recorded(record.get("energy_reason")),
        "device_name": device["name"],
        "backend": device["backend"],
        "accelerator": device["accelerator"],
        "device_cores": device["cores"],
        "device_memory_bytes": device["memory_bytes"],
        "driver": device["driver"],
        **{key: host[key] for key in ("machine", "os", "cpu")},
        # The host's is that at the end of the run.
        "power_source": "battery" if epoch_readings.was_on_battery(record["windows"]) else host["power_source"],
        "low_power": records.is_low_power(record["conditions"].get("power_mode")),
        "virtual": host.get("virtual"),
        "logical_processors": host.get("logical_processors"),
        "usable_processors": host.get("usable_processors"),
        "variables_left_out": ", ".join(host.get("variables_left_out") or []) or None,
        "swapped": records.is_swapping(record["conditions"].get("swapped_bytes_during")),
        **{key: record["conditions"][key] for key in ("busy", "other_cores_before", "other_cores_during")},
        "suspended_seconds": record["conditions"].get("suspended_seconds"),
        "throttled": epoch_readings.throttled(record["windows"]),
        "gpu_percent": epoch_readings.gpu_percent(record["windows"]),
        "swapped_bytes": record["conditions"].get("swapped_bytes_during"),
        **{key: software.get(key) for key in ("python", "tensorflow", "torch", "jax", "keras")},
        "protocol_version": record["protocol_version"],
        "deterministic": provenance.get("deterministic", False),
        **{
            key: provenance.get(key)
            for key in (
                "dataset",
                "dataset_sha256",
                "images_sha256",
                "weights",
                "weights_sha256",
                "code_sha256",
                "started_at",
                "finished_at",
                "sequence",
            )
        },
        "settings": record.get("settings"),
        "own_script": (record.get("own_script") or {}).get("work"),
        "origin": record.get("origin", "local"),
        "metrics": path,
    }


def _without_impossible_windows(path):
    """The record at `path` without windows and with the reason in its failure; None if its times are possible."""
    try:
        record = records.parse(path)
        bad = [window for window in record["windows"] if not _possible(window)]
    except (UserError, TypeError, KeyError, ArithmeticError):
        return None
    if not bad:
        return None
    message = (
        f"Epoch {bad[0].get('epoch')} took {bad[0]['seconds']} s, which is impossible: the times of this run are not used. "
        f"Delete {path} to run it again."
    )
    failure = record.get("failure") or {"signal": None, "exit_code": None, "message": "", "log_tail": []}
    return {
        **record,
        "status": "error" if record.get("status") == "ok" else record.get("status"),
        "failure": {**failure, "message": f"{failure.get('message', '')} {message}".strip()},
        "windows": [],
    }


def _frame_of(entries, rows_of, columns):
    """The table of the rows that `rows_of(path, record)` returns for each of [(path, record)]."""
    try:
        return frame([row for entry in entries for row in rows_of(*entry)], columns)
    except OverflowError:
        for path, record in entries:
            try:
                frame(rows_of(path, record), columns)
            except OverflowError:
                raise UserError(
                    f"{path}: contains a number that is too large for a table. Delete the file to run this training again."
                ) from None
        raise


def _possible(window):
    try:
        return windows.rate(window) > 0
    except ValueError:
        return False


def frame(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    """A table of dicts with the columns `columns`, {name: kind}; keys that a row lacks are unknown."""
    table = pd.DataFrame(rows, columns=list(columns))
    for name, kind in columns.items():
        if kind in _OR_NONE:
            values = [None if pd.isna(value) else _OR_NONE[kind](value) for value in table[name]]
            table[name] = pd.Series(values, dtype="object", index=table.index)
        else:
            table[name] = table[name].astype(kind)
    return table


_OR_NONE = {"bool_or_none": bool, "int_or_none": int}
