"""Figures published by others (catalog/published.csv): shown for context, and never put in a ratio with measured ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainoff.errors import UserError, one_line

COLUMNS = {
    "device": "str",
    "model": "str",
    "images_per_second": "float64",
    "watts": "float64",
    "quoted": "str",
    "images": "str",
    "img_dim": "Int64",
    "batch_size": "Int64",
    "trainable": "boolean",
    "precision": "str",
    "software": "str",
    "conditions": "str",
    # Why estimates do not use the figure, if something other than its device determined it; empty if they use it.
    "not_an_anchor": "str",
    "source": "str",
    "url": "str",
    "published": "str",
    "read": "str",
}


def read(path: str | Path) -> pd.DataFrame:
    """The catalog as a table with the columns COLUMNS; what a source does not state is null."""
    try:
        table = pd.read_csv(path, dtype=COLUMNS)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: {one_line(error)}. Expected a CSV file with the columns {', '.join(COLUMNS)}."
        ) from error
    if list(table.columns) != list(COLUMNS):
        raise UserError(f"{path}: the columns are {', '.join(table.columns)}. Expected {', '.join(COLUMNS)}.")
    for number, row in enumerate(table.to_dict("records"), start=2):
        for needed in ("device", "model", "quoted", "source", "url"):
            if pd.isna(row[needed]):
                raise UserError(
                    f"{path}, line {number}: no {needed}. Every figure needs a source and the text it quotes."
                )
    return table


def nearest(table: pd.DataFrame, rates: pd.DataFrame, maximum: int = 24) -> pd.DataFrame:
    """The published figures closest to what was measured: one per device, model and precision, at most `maximum` in all.

    Only the measured models, if any figure is about them. Of several figures, the one whose image and batch size are closest to
    the median of what was measured. rates: the table of that name.
    """
    known = table.dropna(subset="images_per_second")
    same_models = known[known["model"].isin(set(rates["model"]))]
    known = same_models if len(same_models) else known
    if len(known) <= maximum or rates.empty:
        return known
    far = abs(np.log(known["img_dim"].astype(float) / rates["img_dim"].median())).fillna(9)
    far += abs(np.log(known["batch_size"].astype(float) / rates["batch_size"].median())).fillna(2) / 4
    ranked = known.assign(far=far).sort_values("far", kind="stable")
    return ranked.drop_duplicates(["device", "model", "precision"]).head(maximum).drop(columns="far")


def conditions(row: dict[str, Any]) -> str:
    """The conditions of a published figure in words, as far as its source states them."""
    parts = [
        row["model"],
        f"{row['images']} images" if _known(row["images"]) and row["images"] != "not stated" else None,
        f"{row['img_dim']} px" if _known(row["img_dim"]) else None,
        f"batch {row['batch_size']}" if _known(row["batch_size"]) else None,
        row["precision"] if _known(row["precision"]) else None,
    ]
    return " · ".join(part for part in parts if part)


def _known(value):
    return not pd.isna(value)
