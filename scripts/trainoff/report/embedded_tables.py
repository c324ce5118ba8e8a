"""The tables as the page carries them: once, as JSON by columns, from which the page makes its rows and its CSV files."""

import json
import math
from typing import Any

import markupsafe
import numpy as np
import pandas as pd

from trainoff.analyze.tables import printable

# Columns that only mean something beside the results folder.
LOCAL = ("metrics", "metrics_file")
# A column with at most this share of distinct values is a list of these and of places in it.
FEW = 0.5


def tables(frames: dict[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """{name: {"rows", "columns"}} of tables by name; see `column`."""
    return {
        name: {
            "rows": len(table),
            "columns": {label: column(table[label]) for label in table if label not in LOCAL},
        }
        for name, table in ((name, printable(table)) for name, table in frames.items())
    }


def column(values: pd.Series) -> list[Any] | dict[str, Any]:
    """A column as a list; as {"all": value} where all are equal; as {"of": values, "at": places} where few differ."""
    plain_values = [plain(value) for value in values.astype(object).where(values.notna(), None)]
    if not plain_values:
        return []
    keys = [(type(value), value) for value in plain_values]
    distinct = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    if len(distinct) == 1:
        return {"all": plain_values[0]}
    # Numbers are as short as their places, so only words and truths gain.
    if len(distinct) <= FEW * len(keys) and not all(isinstance(value, (int, float)) for value in plain_values):
        return {"of": [value for _, value in distinct], "at": [distinct[key] for key in keys]}
    if len(distinct) <= min(64, FEW * len(keys)) and any(isinstance(value, float) for value in plain_values):
        return {"of": [value for _, value in distinct], "at": [distinct[key] for key in keys]}
    return plain_values


def values(encoded: list[Any] | dict[str, Any], rows: int) -> list[Any]:
    """The list that `column` was made of."""
    if isinstance(encoded, list):
        return encoded
    return [encoded["all"]] * rows if "all" in encoded else [encoded["of"][place] for place in encoded["at"]]


def plain(value: Any) -> str | float | None:
    """A value for JSON; floats keep six digits, which is more than any of them can be known to."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        value = float(f"{value:.6g}") if math.isfinite(value) else None
        return int(value) if value is not None and value.is_integer() and abs(value) < 1e15 else value
    if value is not None and not isinstance(value, (int, str, bool)):
        return str(value)
    # Half characters of a label or log cannot be written.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def embedded(value: Any) -> markupsafe.Markup:
    """JSON that nothing can break out of a script element with."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return markupsafe.Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def frame(encoded: dict[str, Any]) -> pd.DataFrame:
    """The table that was carried, as a pandas frame."""
    return pd.DataFrame({name: values(column, encoded["rows"]) for name, column in encoded["columns"].items()})
