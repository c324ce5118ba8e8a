"""Training steps taken apart: overhead, time per image, and where devices cross."""

import pandas as pd
import pytest

from trainoff.analyze import overhead
from trainoff.report import findings, palette

FIXED = {
    "model": "mobilenetv2",
    "img_dim": 96,
    "trainable": True,
    "precision": "float32",
    "xla": False,
    "learning_rate": 5e-4,
    "optimizer": "adam",
}


def rates(device, overhead_seconds, seconds_per_image, batches=(32, 64, 128), spread=1.01):
    rows = []
    for batch in batches:
        rate = batch / (overhead_seconds + batch * seconds_per_image)
        found = {"images_per_second": rate, "ci_low": rate / spread, "ci_high": rate * spread}
        rows.append({**dict.fromkeys(overhead.REST), **FIXED, "device": device, "batch_size": batch, **found})
    frame = pd.DataFrame(rows)
    return frame.fillna({axis: "-" for axis in overhead.REST if axis not in FIXED})


def test_overhead_and_slope_come_back():
    (row,) = overhead.table(rates("cpu", 0.03, 0.002)).to_dict("records")
    assert row["overhead_seconds"] == pytest.approx(0.03) and row["seconds_per_image"] == pytest.approx(0.002)
    assert row["overhead_low"] < 0.03 < row["overhead_high"] and row["largest_error"] < 1e-9
    assert overhead.table(rates("cpu", 0.03, 0.002, batches=(32,))).empty


def test_the_device_with_more_overhead_wins_from_where_the_lines_cross():
    merged = pd.concat([rates("cpu", 0.01, 0.004), rates("gpu", 0.1, 0.001)])
    (row,) = overhead.crossings(overhead.table(merged), [("cpu", "gpu")]).to_dict("records")
    assert (row["wins"], row["from_batch_size"]) == ("gpu", 31)
    alike = pd.concat([rates("cpu", 0.01, 0.004), rates("gpu", 0.01, 0.004)])
    assert overhead.crossings(overhead.table(alike), [("cpu", "gpu")]).empty


def test_the_heading_tells_no_overhead_that_could_be_none():
    devices = [palette.Device(name, label, "#000", "o", "cpu") for name, label in (("cpu", "CPU"), ("gpu", "GPU"))]
    clear, unclear = rates("cpu", 0.03, 0.002), rates("gpu", 0.001, 0.002, spread=1.5)
    fitted = overhead.table(pd.concat([clear, unclear]))
    none = pd.DataFrame(columns=overhead.CROSSING_COLUMNS)
    title = findings.step_time_title(fitted, none, devices)
    assert title == "Overhead of a step: CPU 30 ms; too small to tell on GPU"
    assert "noise" in findings.step_time_title(fitted[fitted["device"] == "gpu"], none, devices[1:])
    merged = overhead.table(pd.concat([rates("cpu", 0.01, 0.004), rates("gpu", 0.1, 0.001)]))
    title = findings.step_time_title(merged, overhead.crossings(merged, [("cpu", "gpu")]), devices)
    assert title == "GPU is faster than CPU from batch size 31 on"
