"""Speed ratios by the size of the model, and what the figure of them says."""

import numpy as np
import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.report.palette import Device


def ratios_by_size(runs: pd.DataFrame, comparison: pd.DataFrame) -> pd.DataFrame:
    """Rows of the comparison with a ratio, and with the operations of their model at their img_dim (`flops_per_image`).

    Empty with fewer than two models on any device: a single size shows no trend.
    """
    sizes = runs.dropna(subset="flops_per_image").groupby(["model", "img_dim"])["flops_per_image"].first()
    rows = comparison.dropna(subset="ratio").join(sizes, on=["model", "img_dim"]).dropna(subset="flops_per_image")
    rows = rows.astype({"flops_per_image": float})
    return rows[rows.groupby("device")["model"].transform("nunique") > 1]


def means_by_model(points: pd.DataFrame) -> pd.DataFrame:
    """One row per model of one device: geometric means of ratio and operations, over the configurations that all models share."""
    setting = [axis for axis in naming.AXES if axis != "model"]
    shared = points.groupby(setting)["model"].transform("nunique") == points["model"].nunique()
    logs = points[shared].assign(**{key: np.log(points.loc[shared, key]) for key in ("ratio", "flops_per_image")})
    means = logs.groupby("model")[["ratio", "flops_per_image"]].mean().apply(np.exp)
    return means.sort_values("flops_per_image").reset_index()


def title(points: pd.DataFrame, baseline: Device, devices: list[Device]) -> str:
    """The finding of the figure of ratios by model size."""
    parts = []
    for device in devices:
        means = means_by_model(points[points["device"] == device.name]) if len(points) else points
        if len(means) > 1:
            small, large = means.iloc[0], means.iloc[-1]
            parts.append(
                f"{device.label} at {numbers.ratio(small['ratio'])} on {small['model']} and "
                f"{numbers.ratio(large['ratio'])} on {large['model']}"
            )
    if not parts:
        return "How the ratio changes with the model was not measured"
    return f"Speed relative to {baseline.label}: {numbers.listing(parts)}"
