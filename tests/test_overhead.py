"""Training steps taken apart: overhead, time per image, and where devices cross."""

import math

import pandas as pd
import pytest

from trainoff.analyze import overhead
from trainoff.report import palette, step_times

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
    (row,) = crossings(rates("cpu", 0.01, 0.004), rates("gpu", 0.1, 0.001)).to_dict("records")
    assert (row["wins"], row["from_batch_size"]) == ("gpu", 31)
    assert crossings(rates("cpu", 0.01, 0.004), rates("gpu", 0.01, 0.004)).empty


def test_a_crossing_says_what_was_measured():
    (row,) = crossings(rates("cpu", 0.01, 0.004, (16, 32, 64)), rates("gpu", 0.107, 0.001)).to_dict("records")
    assert (row["smallest_batch_size"], row["largest_batch_size"]) == (32, 64) and row["overheads_differ"]
    assert row["faster_at_all"] is None, "at a batch size of 32 the intervals overlap"
    (row,) = crossings(rates("cpu", 0.01, 0.004, (16, 32)), rates("gpu", 0.1, 0.001, (64, 128))).to_dict("records")
    assert math.isnan(row["smallest_batch_size"]) and row["faster_at_all"] is None, "no batch size in common"


DEVICES = [palette.Device(name, label, "#000", "o", "cpu") for name, label in (("cpu", "CPU"), ("gpu", "GPU"))]


def crossings(*of_devices):
    both = pd.concat(of_devices)
    return overhead.crossings(overhead.table(both), [("cpu", "gpu")], both, {})


def title(*of_devices):
    return step_times.title(overhead.table(pd.concat(of_devices)), crossings(*of_devices), DEVICES)


def test_the_heading_names_no_batch_size_outside_those_measured():
    cpu = rates("cpu", 0.01, 0.004)
    assert title(cpu, rates("gpu", 0.15, 0.001)) == "GPU is faster than CPU from batch size 47 on"
    # The lines cross at 4 and at 4,000.
    assert title(cpu, rates("gpu", 0.02, 0.001)) == "GPU is faster than CPU at all measured batch sizes"
    slow = rates("gpu", 0.5, 0.0019, spread=1.001)
    assert title(rates("cpu", 0.1, 0.002, spread=1.001), slow) == "CPU is faster than GPU at all measured batch sizes"
    # The lines cross at 9, give or take what the noise makes of the overheads.
    noisy = {"batches": (8, 16, 32, 64), "spread": 1.3}
    vague = rates("cpu", 0.01, 0.004, **noisy), rates("gpu", 0.035, 0.001, **noisy)
    (row,) = crossings(*vague).to_dict("records")
    assert row["from_batch_size"] == 9 and not row["overheads_differ"]
    assert title(*vague) == "Overhead of a step: GPU 35 ms; too small to distinguish from noise on CPU"


def test_the_heading_names_the_configuration_where_there_are_several():
    large = [rates("cpu", 0.01, 0.004), rates("gpu", 0.005, 0.001)]
    small = [rates("cpu", 0.01, 0.004).assign(img_dim=32), rates("gpu", 0.25, 0.001).assign(img_dim=32)]
    assert title(*large, *small) == "GPU is faster than CPU from batch size 81 on (32 px)"
    alike = [rates("cpu", 0.01, 0.004).assign(img_dim=32), rates("gpu", 0.01, 0.004).assign(img_dim=32)]
    assert title(*large, *alike) == "GPU is faster than CPU at all measured batch sizes (96 px)"
    larger = [one.assign(img_dim=128) for one in large]
    assert title(*large, *alike, *larger).endswith("at all measured batch sizes in 2 of 3 configurations")
    assert title(*large, *larger) == "GPU is faster than CPU at all measured batch sizes"


def test_the_heading_tells_no_overhead_that_could_be_none():
    clear, unclear = rates("cpu", 0.03, 0.002), rates("gpu", 0.001, 0.002, spread=1.5)
    fitted = overhead.table(pd.concat([clear, unclear]))
    none = pd.DataFrame(columns=overhead.CROSSING_COLUMNS)
    assert (
        step_times.title(fitted, none, DEVICES)
        == "Overhead of a step: CPU 30 ms; too small to distinguish from noise on GPU"
    )
    assert "noise" in step_times.title(fitted[fitted["device"] == "gpu"], none, DEVICES[1:])


def test_the_heading_says_where_the_faster_device_is_slower():
    faster = [rates("cpu", 0.01, 0.004), rates("gpu", 0.01, 0.001)]
    slower = [rates("cpu", 0.01, 0.001).assign(img_dim=32), rates("gpu", 0.01, 0.004).assign(img_dim=32)]
    larger = [one.assign(img_dim=128) for one in faster]
    wanted = "GPU is faster than CPU at all measured batch sizes in 2 of 3 configurations, and slower in 1 other"
    assert title(*faster, *slower, *larger) == wanted
