"""Other people's figures (catalog/published.csv): shown for context, apart from ours, and never put in a ratio with them."""

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
    "precision": "str",
    "software": "str",
    "conditions": "str",
    "source": "str",
    "url": "str",
    "published": "str",
    "read": "str",
}


def read(path):
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


def conditions(row):
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
