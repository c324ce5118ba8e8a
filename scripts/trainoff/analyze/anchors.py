"""What estimates rest on: published or measured training speeds, each with its device's data sheet and its network's work.

An observation is a row with the columns OBSERVATION. Its kind is `quoted` (from catalog/published.csv) or `measured` (from runs
of this machine or of imported bundles).
"""

from typing import Any

import pandas as pd

from trainoff import numbers
from trainoff.analyze import hardware as hardware_facts
from trainoff.analyze.layer_counts import Counts, Work
from trainoff.analyze.noise import WAITING_GPU_PERCENT
from trainoff.configurations import AXES

# Assumed where a source does not state the batch size: what such benchmark scripts use.
USUAL_BATCH = 128
# For a device without a data sheet, such as a CPU: TFLOPS and GB/s from which the fit of its own scale starts.
UNKNOWN_SHEET = {"tflops": {"float32": 0.5}, "memory_gb_per_second": 30}
WORK = ("multiply_adds", "activations", "outputs", "layers", "parameters")
OBSERVATION = (
    "id",
    "kind",
    "device",
    "label",
    "device_class",
    "chip",
    "model",
    "img_dim",
    "batch_size",
    "trainable",
    "precision",
    "software",
    "source",
    "date",
    "images_per_second",
    "mode",
    "tflops",
    "gb_per_second",
    *WORK,
)


def software_of(text: str) -> str:
    """The framework that a published figure names: tensorflow, tensorflow-xla, torch, torch-channels-last, mxnet or jax."""
    text = text.lower()
    if "tensorflow" in text:
        return "tensorflow-xla" if "xla" in text else "tensorflow"
    if "nhwc" in text:
        return "torch-channels-last"
    return next((name for name in ("mxnet", "jax") if name in text), "torch")


def software_of_run(backend: str, xla: bool) -> str:
    """As software_of, for a configuration that is trained here."""
    return "tensorflow-xla" if backend == "tensorflow" and xla else backend


def observation(values: dict[str, Any], sheet: dict[str, Any], device_class: str, work: Work) -> dict[str, Any] | None:
    """A row with the columns OBSERVATION; None if the device has no units for the precision. values: of the other columns."""
    limits = hardware_facts.speed_limits(sheet, device_class, values["precision"])
    if limits is None:
        return None
    mode, tflops, bandwidth = limits
    row = {"device_class": device_class, "mode": mode, "tflops": tflops, "gb_per_second": bandwidth, **values}
    return row | {name: getattr(work, name) for name in WORK}


def published(
    table: pd.DataFrame, hardware: dict[str, dict[str, Any]], counts: Counts
) -> tuple[pd.DataFrame, dict[int, str]]:
    """(observations, {row number: why not}) of the published figures; rows are numbered from 0 as in the table."""
    by_label = {sheet["label"]: (key, sheet) for key, sheet in hardware.items()}
    rows, left_out = [], {}
    for number, row in enumerate(table.to_dict("records")):
        key, sheet = by_label.get(row["device"], (None, None))
        size = None if pd.isna(row["img_dim"]) else int(row["img_dim"])
        work = None if size is None else counts.work(row["model"], size)
        reason = _why_not(row, sheet, size, work)
        if reason is None:
            values = {
                "id": f"published:{number}",
                "kind": "quoted",
                "device": key,
                "label": sheet["label"],
                "chip": sheet["chip"],
                "model": row["model"],
                "img_dim": size,
                "batch_size": int(row["batch_size"]) if not pd.isna(row["batch_size"]) else USUAL_BATCH,
                "trainable": bool(row["trainable"]),
                "precision": row["precision"],
                "software": software_of(row["software"]),
                "source": row["source"].split(" ")[0].rstrip(","),
                "date": row["published"],
                "images_per_second": row["images_per_second"],
            }
            anchor = observation(values, sheet, sheet["class"], work)
            rows += [anchor] if anchor else []
            reason = None if anchor else "the device has no units for this precision"
        if reason is not None:
            left_out[number] = reason
    return pd.DataFrame(rows, columns=OBSERVATION), left_out


def _why_not(row, sheet, size, work):
    """Why a published figure cannot be an anchor; None if it can."""
    if not pd.isna(row["not_an_anchor"]):
        return row["not_an_anchor"]
    if pd.isna(row["images_per_second"]):
        return "no throughput is stated"
    if sheet is None:
        return "catalog/hardware.yaml does not describe its device"
    if size is None:
        return "the size of its images is not stated"
    if work is None:
        return "its model is not in catalog/counts.csv"
    return None


def measured(
    rates: pd.DataFrame, runs: pd.DataFrame, hardware: dict[str, dict[str, Any]], counts: Counts, framework: str
) -> pd.DataFrame:
    """Observations of what was measured, here or in imported bundles. rates, runs: the tables of these names.

    A device is recognized by its chip's name and GPU cores; without a data sheet it counts as a device of its own.
    framework: whose speeds are to be estimated. Where a GPU waited for the processor, its speed depends on the framework rather
    than on the device, so such speeds of other frameworks are left out. So are speeds that may be of other work: of users' own
    scripts, of implausible records, and of devices that do not match the reference.
    """
    facts = runs.dropna(subset="device_name").drop_duplicates("device").set_index("device")
    busy = runs[runs["status"] == "ok"].groupby(["device", *AXES], dropna=False)["gpu_percent"].median()
    waiting = set(busy.index[busy < WAITING_GPU_PERCENT])
    doubtful = runs[runs["own_script"].notna() | runs["implausible"].notna()]
    left_out = set(doubtful[["device", *AXES]].itertuples(index=False, name=None))
    rows = []
    for rate in rates.to_dict("records"):
        work = counts.work(rate["model"], rate["img_dim"])
        if not numbers.known(rate["images_per_second"]) or work is None or rate["device"] not in facts.index:
            continue
        device = facts.loc[rate["device"]]
        key = rate["device"], *(rate[axis] for axis in AXES)
        if key in left_out or rate["parity"] == "mismatch" or (device["backend"] != framework and key in waiting):
            continue
        key = hardware_facts.recognized(device["device_name"], device["accelerator"], device["device_cores"], hardware)
        sheet = hardware.get(key, UNKNOWN_SHEET)
        name = key or f"measured:{rate['device']}"
        values = {
            "id": f"measured:{rate['device']}",
            "kind": "measured",
            "device": name,
            "label": sheet.get("label", rate["device"]),
            "chip": sheet.get("chip", name),
            **{axis: rate[axis] for axis in ("model", "img_dim", "batch_size", "trainable", "precision")},
            "software": software_of_run(device["backend"], rate["xla"]),
            "source": "measured",
            "date": str(device["started_at"])[:10],
            "images_per_second": rate["images_per_second"],
        }
        anchor = observation(values, sheet, sheet.get("class", "cpu"), work)
        rows += [anchor] if anchor else []
    return pd.DataFrame(rows, columns=OBSERVATION)
