"""The series of hardware readings beside the records of runs, as one table: see trainoff.series."""

import pandas as pd

from trainoff import records, series
from trainoff.analyze import tables
from trainoff.errors import UserError
from trainoff.shapes import Record

COLUMNS = {key: tables.RUN_COLUMNS[key] for key in records.RUN_KEYS} | {
    "seconds": "float64",
    "epoch": "float64",
    "images_per_second": "float64",
    **dict.fromkeys(series.NAMES, "float64"),
}


def table(found: list[tuple[str, Record]]) -> pd.DataFrame:
    """One row per look, with COLUMNS, of [(path, record)]; runs without a readable series have none.

    images_per_second: of the epoch that was on the clock then.
    """
    rows = []
    for path, record in found:
        text = series.text_of(path)
        if text is None:
            continue
        try:
            looks = series.parsed(text, path)
        except UserError:  # a series is no result: the run counts without it
            continue
        speeds = {window["epoch"]: window["images"] / window["seconds"] for window in record["windows"]}
        rows += [{**record["run"], **look, "images_per_second": speeds.get(look.get("epoch"))} for look in looks]
    return tables.frame(rows, COLUMNS)


def longest(readings: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{device: the rows of its run with the longest series}, in the order of the table. readings: as `table` gives it."""
    found = {}
    for device, own in readings.groupby("device", sort=False):
        runs = own.groupby([key for key in records.RUN_KEYS if key != "device"], sort=False, dropna=False)
        found[device] = max((rows for _, rows in runs), key=lambda rows: rows["seconds"].max())
    return found
