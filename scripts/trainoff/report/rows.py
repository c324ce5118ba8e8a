"""Rows of the page's tables: values from the result tables, with their words and links."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers, records
from trainoff.analyze import cells, pairs
from trainoff.analyze import published as others
from trainoff.energy import MEASURED
from trainoff.errors import printable
from trainoff.report import reasons, verdict_words, words
from trainoff.report.palette import Device
from trainoff.shapes import Values

FRAMEWORKS = ("tensorflow", "torch", "jax")
# Facts that are shown only where a run has them.
ONLY_WHERE_KNOWN = (*FRAMEWORKS, "logical_processors", "usable_processors", "variables_left_out")
HASHES = ("code_sha256", "dataset_sha256", "images_sha256", "weights_sha256")
# Ratios that are shown beside those of speed where there are any.
FURTHER_RATIOS = {
    "energy_ratio": "Energy per image",
    "cost_ratio": "Cost, rented",
    "owned_cost_ratio": "Cost, bought",
}
# Failed runs that are listed with the last lines of their logs.
MAX_FAILURES = 100
# Shades of the speeds in a table.
SHADES = 5
# A ratio above these has the deepest shade.
DEEP_RATIO, PALE_RATIO = 4.0, 1.5


def in_order(runs: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """The runs in the order they were started, each metrics file named from `folder`."""
    return runs.assign(metrics_file=[str(Path(folder, path)) for path in runs["metrics"]]).sort_values(
        ["sequence", "started_at"], kind="stable", ignore_index=True
    )


def published_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Other people's figures in words."""
    return [
        row
        | {
            "rate": f"{row['images_per_second']:,.6g}" if numbers.known(row["images_per_second"]) else "",
            "work": others.conditions(row),
            "how": "; ".join(str(row[key]) for key in ("software", "conditions") if not pd.isna(row[key])),
            "date": row["published"] if not pd.isna(row["published"]) else "not stated",
        }
        for row in table.to_dict("records")
    ]


def device_rows(runs: pd.DataFrame, devices: list[Device]) -> list[tuple[str, list[str]]]:
    """What each device is, as its runs say: [(fact, [value per device])]; several values are all named."""
    facts = {
        "Chip": ("device_name", str),
        "Kind": ("accelerator", str),
        "Framework": ("backend", str),
        "Cores": ("device_cores", lambda value: f"{int(value)}"),
        "Memory": ("device_memory_bytes", numbers.gibibytes),
        "Driver": ("driver", str),
        "Machine": ("machine", str),
        "Processor of the machine": ("cpu", str),
        "Logical processors": ("logical_processors", lambda value: f"{int(value)}"),
        "of which usable": ("usable_processors", lambda value: f"{int(value)}"),
        "Operating system": ("os", str),
        "Power": ("power_source", str),
        "Variables not passed on": ("variables_left_out", str),
        "Python": ("python", str),
        "TensorFlow": ("tensorflow", str),
        "PyTorch": ("torch", str),
        "JAX": ("jax", str),
        "Keras": ("keras", str),
    }
    return [
        (name, [_values(runs[runs["device"] == device.name], column, form) for device in devices])
        for name, (column, form) in facts.items()
        if column not in ONLY_WHERE_KNOWN or runs[column].notna().any()
    ]


def rate_rows(
    runs: pd.DataFrame, rates: pd.DataFrame, configurations: list[Values], devices: list[Device]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Training speed as a table: [(configuration in words, [cell per device])]; `heat` is the shade of a speed."""
    by_result = cells.cells(runs, rates)
    varying = naming.varying_axes(configurations)
    known = rates["images_per_second"].dropna()
    ends = (math.log(known.min()), math.log(known.max())) if len(known) else (0.0, 0.0)
    return [
        (
            naming.label(configuration, varying) or "the one configuration",
            [_rate_cell(by_result.get((configuration, device.name)), ends) for device in devices],
        )
        for configuration in configurations
    ]


def _rate_cell(cell, ends):
    if cell is None:
        return {"rate": None, "text": "not run", "notes": []}
    if not numbers.known(cell["images_per_second"]):
        return {"rate": None, "text": cell["failure"], "notes": []}
    rate, (low, high) = cell["images_per_second"], ends
    return {
        "rate": rate,
        "text": numbers.interval(cell["ci_low"], cell["ci_high"]) if numbers.known(cell["ci_low"]) else "no interval",
        "notes": [*cell["flags"], *filter(None, [cell["failures"]])],
        "heat": min(SHADES - 1, int(SHADES * (math.log(rate) - low) / (high - low))) if high > low else 0,
    }


def comparison_tables(
    comparison: pd.DataFrame,
    chosen: pairs.Pair | None,
    devices: list[Device],
    by_result: dict[tuple[Values, str], dict[str, Any]],
) -> list[dict[str, Any]]:
    """One table of ratios per pair of devices, the chosen pair first, each seen from the device that is faster in `devices`.

    chosen: the pairs.Pair that the page is about. devices: figures' devices by speed. by_result: of cells.cells.
    """
    configurations = naming.all_configurations(comparison) if len(comparison) else []
    varying = naming.varying_axes(configurations)
    order = {configuration: number for number, configuration in enumerate(configurations)}
    labels = {device.name: device.label for device in devices}
    by_name = {device.name: device for device in devices}
    everyone = [
        pairs.Pair(device.name, other.name) for place, device in enumerate(devices) for other in devices[place + 1 :]
    ]
    first = [chosen] if chosen else []
    rest = [
        pair for pair in everyone if chosen is None or {pair.device, pair.baseline} != {chosen.device, chosen.baseline}
    ]
    tables = []
    for pair in [*first, *rest]:
        rows = sorted(
            pairs.of_pair(comparison, pair).to_dict("records"), key=lambda row: order[naming.configuration_of(row)]
        )
        further = [(text, column) for column, text in FURTHER_RATIOS.items() if _any_known(rows, column)]
        for row in rows:
            row["name"] = naming.label(naming.configuration_of(row), varying) or "the one configuration"
            row["interval"] = numbers.ratio_interval(row["ci_low"], row["ci_high"])
            row["verdict_text"] = verdict_words.VERDICT_WORDS.get(row["verdict"], row["verdict"])
            row["flags"] = _ratio_flags(row, by_result)
            in_turns = "measured in turns (the speeds are of the runs)" if row["source"] == "turns" else ""
            row["reason_text"] = "; ".join(filter(None, [in_turns, reasons.text(row["reason"], labels)]))
        tables.append(
            {
                "device": by_name[pair.device],
                "baseline": by_name[pair.baseline],
                "rows": rows,
                "further": further,
                "note": _shared_reason(rows),
            }
        )
    return tables


def _ratio_flags(row, by_result):
    flags = [name for name in ("unstable", "busy") if row[name] or False]
    flags += ["mismatch"] if row["parity"] == "mismatch" else []
    # A ratio that was measured in turns rests on no run.
    sides = (row["device"], row["baseline"]) if row["source"] == "runs" else ()
    results = [by_result.get((naming.configuration_of(row), name)) for name in sides]
    return list(dict.fromkeys([*flags, *(flag for result in results if result for flag in result["flags"])]))


def matrix_rows(overall: pd.DataFrame, devices: list[Device]) -> list[dict[str, Any]]:
    """Every device against every other: [{"device", "cells"}], cells with ratio, text, hint and look; [] for fewer than three."""
    if len(devices) < 3:
        return []
    return [
        {"device": device, "cells": [_matrix_cell(overall, device, other) for other in devices]} for device in devices
    ]


def _matrix_cell(overall, device, other):
    if device is other:
        return {"ratio": None, "text": "–", "hint": "", "look": "same"}
    verdict = pairs.speed_of(overall, pairs.Pair(device.name, other.name))
    if verdict.ratio is None:
        return {"ratio": None, "text": "none", "hint": "no configuration can be compared", "look": "open"}
    depth = 3 if verdict.ratio >= DEEP_RATIO else 2 if verdict.ratio >= PALE_RATIO else 1
    settled = pairs.agree(verdict) if verdict.parts else verdict.outcome == "wins"
    won = f"{'up' if verdict.winner == device.name else 'down'}{depth}"
    even = verdict.outcome == "equivalent" and not verdict.parts
    seen = [pairs.seen_from(device.name, part) for part in verdict.parts or (verdict,)]
    where = [f" with {name}" for name in verdict_words.PARTS] if verdict.parts else [""]
    intervals = [
        f"95% interval {numbers.ratio_interval(low, high)}{name}"
        for name, (_, low, high) in zip(where, seen, strict=True)
    ]
    return {
        "ratio": pairs.seen_from(device.name, verdict)[0],
        "text": " / ".join(numbers.ratio(ratio) for ratio, *_ in seen),
        "hint": f"{numbers.listing(intervals)}, {verdict.compared} of {verdict.total} configurations",
        "look": won if settled else "even" if even else "open",
    }


def _any_known(rows, column):
    return any(numbers.known(row.get(column)) for row in rows)


def _shared_reason(rows):
    """The reason that every verdict has, taken out of the rows to be said once; "" when they differ."""
    judged = [row for row in rows if numbers.known(row["ratio"])]
    reasons = {row["reason_text"] for row in judged}
    if len(judged) < 2 or len(reasons) > 1:
        return ""
    for row in judged:
        row["reason_text"] = ""
    return reasons.pop()


def best_rows(table: pd.DataFrame | None, baseline: str, devices: list[Device]) -> list[dict[str, Any]]:
    """Each device at its best against the baseline (a name), in the order of `devices`: [dict], empty where nothing differs."""
    if table is None or table.empty:
        return []
    axes = [axis for axis in naming.AXES if axis not in ("precision", "xla")]
    works = naming.all_configurations(table, axes)
    varying = naming.varying_axes(works, axes)
    labels = {device.name: device.label for device in devices}
    order = [device.name for device in devices]
    rows = [row for row in pairs.against(table, baseline).to_dict("records") if row["device"] in labels]
    rows.sort(key=lambda row: (order.index(row["device"]), works.index(naming.configuration_of(row, axes))))
    return [
        row
        | {
            "pair": f"{labels[row['device']]} against {labels[row['baseline']]}",
            "name": naming.label(naming.configuration_of(row, axes), varying, axes) or "the one configuration",
            "settings": [_setting(row, prefix) for prefix in ("", "baseline_")],
            "interval": numbers.ratio_interval(row["ci_low"], row["ci_high"]),
            "verdict_text": verdict_words.VERDICT_WORDS.get(row["verdict"], row["verdict"]),
            "reason_text": reasons.text(row["reason"], labels),
        }
        for row in rows
    ]


def _setting(row, prefix):
    """How a side of a pair computes at its best."""
    values = [(axis, row[f"{prefix}{axis}"]) for axis in ("precision", "xla")]
    return ", ".join(naming.value_text(axis, value) for axis, value in values if numbers.known(value)) or "none"


def parity_rows(table: pd.DataFrame | None, labels: dict[str, str]) -> list[dict[str, Any]]:
    """The parity table in words: [dict], empty where none was needed."""
    rows = [] if table is None else table.to_dict("records")
    for row in rows:
        row["label"] = labels.get(row["device"], row["device"])
        row["precision"] += ", XLA" if row.get("xla") else ""
        row["check"] = row["check"].replace("_", " ").capitalize()
        row["reason_text"] = reasons.without_device(row["reason"])
    return rows


def run_rows(runs: pd.DataFrame, devices: list[Device]) -> list[dict[str, Any]]:
    """Every run for the table: its values and links to its metrics and log."""
    by_name = {device.name: device for device in devices}
    configurations = naming.all_configurations(runs)
    varying = naming.varying_axes(configurations)
    return [
        run
        | {
            "shown": by_name[run["device"]],
            "label": by_name[run["device"]].label,
            "run_name": run_name(run),
            "name": naming.label(naming.configuration_of(run), varying) or "the one configuration",
            "status_text": cells.status_text(run["status"], run["signal"]),
            "interval": numbers.interval(run["ci_low"], run["ci_high"]) if numbers.known(run["ci_low"]) else "",
            "memory": words.peak_memory(run["peak_memory_bytes"], run["peak_device_memory_bytes"]),
            "flags": run_flags(run),
        }
        for run in runs.to_dict("records")
    ]


def run_flags(run: dict[str, Any]) -> list[str]:
    """What must be said beside a run's status, in a word or few."""
    flags = ["own script"] if numbers.known(run["own_script"]) else []
    flags += [name for name in ("unstable", "busy") if run[name] or False]
    if numbers.known(run["implausible"]):
        flags.append(f"implausible: {reasons.without_device(run['implausible'])}")
    flags += cells.disturbances(run)
    if numbers.known(run["suspended_seconds"]) and run["suspended_seconds"] > 0:
        flags.append(f"stopped for {run['suspended_seconds']:.0f} s, not counted")
    if numbers.known(run["energy_source"]) and run["energy_source"] not in MEASURED:
        flags.append("energy declared, not measured")
    if run["attempts"] > 1:
        flags.append(f"attempt {run['attempts']}, learning rate {run['learning_rate_used']:g}")
    # A last layer on random features rarely learns anywhere, which is nothing unusual.
    if run["status"] == "ok" and run["trainable"] and numbers.known(run["converged"]) and not run["converged"]:
        flags.append("did not converge")
    return flags


def run_name(run: dict[str, Any]) -> str:
    """A run's number, with where it came from when that was another machine."""
    origin = run.get("origin")
    elsewhere = numbers.known(origin) and origin not in ("", "local")
    return f"{run['sequence']}@{str(origin)[:8]}" if elsewhere else str(run["sequence"])


def failure_rows(runs: pd.DataFrame, devices: list[Device]) -> list[dict[str, Any]]:
    """The runs that did not end well, with the last lines of their logs."""
    rows = [row for row in run_rows(runs, devices) if row["status"] != "ok"][:MAX_FAILURES]
    return [row | {"log_tail": log_tail(row["metrics_file"])} for row in rows]


def log_tail(metrics: str | Path) -> list[str]:
    """Last lines that a failed run wrote, from its metrics file; none where the file cannot be read any more."""
    path = Path(metrics)
    if not path.is_file():
        return []
    failure = json.loads(path.read_text(encoding="utf-8")).get("failure") or {}
    return [printable(line) for line in failure.get("log_tail", [])]


def version_rows(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Software and protocol: [(what, values in words)]."""
    names = {"Python": "python", "TensorFlow": "tensorflow", "PyTorch": "torch", "JAX": "jax", "Keras": "keras"}
    names["Protocol version"] = "protocol_version"
    rows = [(name, _values(runs, column)) for name, column in names.items() if runs[column].notna().any()]
    return [*rows, ("Metrics schema version", str(records.SCHEMA_VERSION)), *origin_rows(runs)]


def origin_rows(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Where runs come from, if not all from this machine: [("Runs from", "this machine 8, bundle 1a2b… 16")]."""
    counts = runs["origin"].value_counts()
    if set(counts.index) <= {"local"}:
        return []
    bundled = [f"bundle {origin} {counts[origin]}" for origin in sorted(set(counts.index) - {"local"})]
    here = [f"this machine {counts['local']}"] if "local" in counts.index else []
    return [("Runs from", numbers.listing([*here, *bundled]))]


def hash_rows(runs: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """SHA-256 of what went into the runs: [(what, [hashes])]."""
    names = {
        "code_sha256": "Training code",
        "dataset_sha256": "Dataset",
        "images_sha256": "Prepared images",
        "weights_sha256": "Starting weights",
    }
    return [(names[column], sorted(runs[column].dropna().unique().tolist())) for column in HASHES]


def flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Settings as [(dotted key, value in words)]."""
    rows = []
    for key, value in settings.items():
        if isinstance(value, dict):
            rows += flat(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, _words(value)))
    return rows


def _words(value):
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else str(value)


def _values(table, column, form=str):
    """All distinct known values of a column in words."""
    values = table[column].dropna().unique().tolist()
    return numbers.listing(dict.fromkeys(form(value) for value in values)) or "unknown"
