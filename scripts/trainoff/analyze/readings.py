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


def table(entries: list[tuple[str, Record]]) -> pd.DataFrame:
    """One row per reading, with COLUMNS, of [(path, record)]; runs without a readable series have none.

    images_per_second: of the epoch that was being timed.
    """
    rows = []
    for path, record in entries:
        text = series.text_of(path)
        if text is None:
            continue
        try:
            looks = series.parsed(text, path)
        except UserError:  # the run counts without its series
            continue
        speeds = {window["epoch"]: window["images"] / window["seconds"] for window in record["windows"]}
        rows += [{**record["run"], **look, "images_per_second": speeds.get(look.get("epoch"))} for look in looks]
    return tables.frame(rows, COLUMNS)


def longest(readings: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{device: the rows of its run with the longest series}, in the order of the table. readings: of `table`."""
    by_device = {}
    for device, device_readings in readings.groupby("device", sort=False):
        runs = device_readings.groupby([key for key in records.RUN_KEYS if key != "device"], sort=False, dropna=False)
        by_device[device] = max((rows for _, rows in runs), key=lambda rows: rows["seconds"].max())
    return by_device
