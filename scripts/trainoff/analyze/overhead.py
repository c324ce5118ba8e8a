"""The time of a training step as an overhead and a time per image, per device, and the batch size from which a device wins.

Step seconds = overhead + batch size × seconds per image. The model fitted 12 pairs of device and framework with batches of 16 to
1,024 images within 4 % (median; mrdbourke/mac-ml-speed-test, 2023).
"""

import math

import numpy as np
import pandas as pd

from trainoff import configurations
from trainoff.analyze.comparable import Apart

REST = [axis for axis in configurations.AXES if axis != "batch_size"]
COLUMNS = [
    *REST,
    "device",
    "batch_sizes",
    "overhead_seconds",
    "overhead_low",
    "overhead_high",
    "seconds_per_image",
    "seconds_per_image_low",
    "seconds_per_image_high",
    "largest_error",
]
CROSSING_COLUMNS = [
    *REST,
    "device",
    "baseline",
    "wins",
    "from_batch_size",
    "overheads_differ",
    "smallest_batch_size",
    "largest_batch_size",
    "faster_at_all",
]


def table(rates: pd.DataFrame) -> pd.DataFrame:
    """A row per device and configuration without its batch size, if it has two or more batch sizes. rates: the table."""
    rows = []
    known = rates.dropna(subset=["images_per_second", "ci_low"])
    for key, group in known.groupby([*REST, "device"], sort=False):
        if group["batch_size"].nunique() > 1:
            rows.append(dict(zip([*REST, "device"], key, strict=True)) | fit(group))
    return pd.DataFrame(rows, columns=COLUMNS)


def fit(rates: pd.DataFrame) -> dict[str, float]:
    """The fitted columns of a device. rates: rows of the table of rates that differ in batch size only.

    Weighted least squares; weights and intervals come from the intervals of the rates, so two batch sizes are enough.
    largest_error: the largest relative error of a fitted step.
    """
    batch = rates["batch_size"].to_numpy(float)
    step = batch / rates["images_per_second"].to_numpy(float)
    spread = step * np.log(rates["ci_high"] / rates["ci_low"]).to_numpy(float) / 2 / 1.96
    spread = np.maximum(spread, 1e-9)
    design = np.stack([np.ones_like(batch), batch], axis=1) / spread[:, None]
    covariance = np.linalg.inv(design.T @ design)
    overhead, slope = covariance @ design.T @ (step / spread)
    ends = 1.96 * np.sqrt(np.diag(covariance))
    return {
        "batch_sizes": len(rates),
        "overhead_seconds": overhead,
        "overhead_low": overhead - ends[0],
        "overhead_high": overhead + ends[0],
        "seconds_per_image": slope,
        "seconds_per_image_low": slope - ends[1],
        "seconds_per_image_high": slope + ends[1],
        "largest_error": float(np.max(np.abs((overhead + slope * batch) / step - 1))),
    }


def crossings(fitted: pd.DataFrame, pairs: list[tuple[str, str]], rates: pd.DataFrame, apart: Apart) -> pd.DataFrame:
    """Which device of each pair wins at large batch sizes, and from which batch size on.

    fitted: the table of overheads. pairs: (baseline, device) by name. rates: the table. apart: the pairs that did other work,
    which have no row. wins: the winner at large batch sizes; from_batch_size: the smallest at which it wins, 1 if it always does,
    by the fitted lines, also outside the batch sizes that were measured. overheads_differ: whether the intervals of the overheads
    are disjoint. smallest_batch_size, largest_batch_size: of those measured on both. faster_at_all: the device that was faster at
    each of these, by intervals that are disjoint. There is no row where the intervals of the seconds per image overlap.
    """
    rows = []
    other_work = {(_rest(configuration), names) for configuration, names in apart}
    known = rates.dropna(subset=["images_per_second", "ci_low"])
    measured = {key: group.set_index("batch_size") for key, group in known.groupby([*REST, "device"], sort=False)}
    for key, group in fitted.groupby(REST, sort=False):
        by_device = {row["device"]: row for row in group.to_dict("records")}
        for baseline, device in pairs:
            if not {baseline, device} <= by_device.keys() or (key, frozenset((baseline, device))) in other_work:
                continue
            device_fit, baseline_fit = by_device[device], by_device[baseline]
            if device_fit["seconds_per_image_high"] < baseline_fit["seconds_per_image_low"]:
                winner, loser = device_fit, baseline_fit
            elif baseline_fit["seconds_per_image_high"] < device_fit["seconds_per_image_low"]:
                winner, loser = baseline_fit, device_fit
            else:
                continue
            gap = winner["overhead_seconds"] - loser["overhead_seconds"]
            crossing = gap / (loser["seconds_per_image"] - winner["seconds_per_image"])
            rows.append(
                dict(zip(REST, key, strict=True))
                | {
                    "device": device,
                    "baseline": baseline,
                    "wins": winner["device"],
                    "from_batch_size": max(1, math.floor(crossing) + 1),
                    "overheads_differ": bool(
                        winner["overhead_high"] < loser["overhead_low"]
                        or loser["overhead_high"] < winner["overhead_low"]
                    ),
                    **_measured(*((name, measured[*key, name]) for name in (device, baseline))),
                }
            )
    return pd.DataFrame(rows, columns=CROSSING_COLUMNS)


def _rest(configuration):
    """The values of REST of a configuration."""
    return tuple(value for axis, value in zip(configurations.AXES, configuration, strict=True) if axis in REST)


def _measured(device, baseline):
    """The columns on what was measured. device, baseline: (name, rates by batch size)."""
    (name, rates), (baseline_name, baseline_rates) = device, baseline
    sizes = rates.index.intersection(baseline_rates.index)
    rates, baseline_rates = rates.loc[sizes], baseline_rates.loc[sizes]
    faster = None
    if len(sizes) and (rates["ci_low"] > baseline_rates["ci_high"]).all():
        faster = name
    if len(sizes) and (baseline_rates["ci_low"] > rates["ci_high"]).all():
        faster = baseline_name
    return {"smallest_batch_size": sizes.min(), "largest_batch_size": sizes.max(), "faster_at_all": faster}
