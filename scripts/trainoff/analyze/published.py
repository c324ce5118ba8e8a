"""Other people's figures (catalog/published.csv): shown for context, apart from ours, and never put in a ratio with them."""

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
    # Why estimates do not rest on the figure, where something but its device decided it; empty where they do.
    "not_an_anchor": "str",
    "source": "str",
    "url": "str",
    "published": "str",
    "read": "str",
}


def read(path: str | Path) -> pd.DataFrame:
    """The catalogue as a table with the columns COLUMNS; what a source does not state is null."""
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
                raise UserError(f"{path}, line {number}: no {needed}. Every figure needs its source and its wording.")
    return table


def nearest(table: pd.DataFrame, rates: pd.DataFrame, most: int = 24) -> pd.DataFrame:
    """The figures that say most beside what was measured: its models first, one of each device and precision, at most so many.

    Of several, the one whose images and batch are nearest to the middle of what was measured. rates: the table of that name.
    """
    known = table.dropna(subset="images_per_second")
    own = known[known["model"].isin(set(rates["model"]))]
    known = own if len(own) else known
    if len(known) <= most or rates.empty:
        return known
    far = abs(np.log(known["img_dim"].astype(float) / rates["img_dim"].median())).fillna(9)
    far += abs(np.log(known["batch_size"].astype(float) / rates["batch_size"].median())).fillna(2) / 4
    ranked = known.assign(far=far).sort_values("far", kind="stable")
    return ranked.drop_duplicates(["device", "model", "precision"]).head(most).drop(columns="far")


def conditions(row: dict[str, Any]) -> str:
    """Under which conditions a published figure was taken, in words, as far as its source tells."""
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
