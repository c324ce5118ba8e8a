"""A training step costs an overhead and a time per image: both per device, and from which batch size on which device wins.

Step seconds = overhead + batch size × seconds per image. The model fitted 12 pairs of device and framework with batches of 16 to
1,024 images within 4 % (median; mrdbourke/mac-ml-speed-test, 2023).
"""

import math

import numpy as np
import pandas as pd

from trainoff import configurations

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
CROSSING_COLUMNS = [*REST, "device", "baseline", "wins", "from_batch_size"]


def table(rates: pd.DataFrame) -> pd.DataFrame:
    """One row per device and configuration without its batch size, of those with two or more batch sizes. rates: the table."""
    rows = []
    known = rates.dropna(subset=["images_per_second", "ci_low"])
    for key, own in known.groupby([*REST, "device"], sort=False):
        if own["batch_size"].nunique() > 1:
            rows.append(dict(zip([*REST, "device"], key, strict=True)) | fit(own))
    return pd.DataFrame(rows, columns=COLUMNS)


def fit(own: pd.DataFrame) -> dict[str, float]:
    """The fitted columns of one device. own: rows of the table of rates that differ in their batch size.

    Weighted least squares; the weights and the intervals come from the intervals of the rates, so two batch sizes are enough.
    largest_error: of a fitted step, as a share.
    """
    batch = own["batch_size"].to_numpy(float)
    step = batch / own["images_per_second"].to_numpy(float)
    spread = step * np.log(own["ci_high"] / own["ci_low"]).to_numpy(float) / 2 / 1.96
    spread = np.maximum(spread, 1e-9)
    design = np.stack([np.ones_like(batch), batch], axis=1) / spread[:, None]
    covariance = np.linalg.inv(design.T @ design)
    overhead, slope = covariance @ design.T @ (step / spread)
    ends = 1.96 * np.sqrt(np.diag(covariance))
    return {
        "batch_sizes": len(own),
        "overhead_seconds": overhead,
        "overhead_low": overhead - ends[0],
        "overhead_high": overhead + ends[0],
        "seconds_per_image": slope,
        "seconds_per_image_low": slope - ends[1],
        "seconds_per_image_high": slope + ends[1],
        "largest_error": float(np.max(np.abs((overhead + slope * batch) / step - 1))),
    }


def crossings(fitted: pd.DataFrame, pairs: list[tuple[str, str]]) -> pd.DataFrame:
    """Which device of each pair has the shorter step, and from which batch size on the other one has.

    pairs: (baseline, device) by name. wins: which one wins for large batches; from_batch_size: the first at which it does, 1
    where it always does. Only what the intervals settle: no row where the seconds per image of both could be the same.
    """
    rows = []
    for key, own in fitted.groupby(REST, sort=False):
        found = {row["device"]: row for row in own.to_dict("records")}
        for baseline, device in pairs:
            if not {baseline, device} <= found.keys():
                continue
            one, other = found[device], found[baseline]
            if one["seconds_per_image_high"] < other["seconds_per_image_low"]:
                winner, loser = one, other
            elif other["seconds_per_image_high"] < one["seconds_per_image_low"]:
                winner, loser = other, one
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
                }
            )
    return pd.DataFrame(rows, columns=CROSSING_COLUMNS)
