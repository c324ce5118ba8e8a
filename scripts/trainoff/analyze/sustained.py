"""Sustained speed: throughput of long runs minute by minute, and the last minute compared with the first.

A device that gets warm slows down after minutes, which short runs do not show. Only timed seconds count: validation between
epochs warms the device too, but does not lower the throughput of a minute.
"""

import math
from dataclasses import dataclass

import pandas as pd

from trainoff import configurations as naming

MINUTE = 60.0
# Minimum number of whole minutes that show how a speed develops.
MIN_MINUTES = 3
# Minimum of timed seconds for the throughput of a minute.
MIN_SECONDS = 15.0
COLUMNS = ["device", *naming.AXES, "replicate", "minute", "images_per_second"]


def table(runs: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """One row per run and minute since its first epoch, with COLUMNS, for runs that ended well and took at least MIN_MINUTES.

    runs, windows: the tables of these names. An epoch in two minutes counts in both by its share of time; epochs that do not
    count are left out, but their time passes.
    """
    keys = ["device", *naming.AXES, "replicate"]
    at = pd.to_datetime(windows["started_at"], format="ISO8601", utc=True, errors="coerce")
    windows = windows.assign(start=(at - at.min()).dt.total_seconds())
    windows["end"] = windows["start"] + windows["seconds"] + windows["suspended_seconds"].fillna(0.0)
    groups = windows.groupby(keys, sort=False, dropna=False)
    # Most runs take seconds: they are left out all at once.
    long = groups["end"].transform("max") - groups["start"].transform("min") >= MIN_MINUTES * MINUTE
    dated = groups["start"].transform("count") == groups["seconds"].transform("size")
    long_epochs = windows[long & dated]
    well = runs.loc[runs["status"] == "ok", keys]
    rows = []
    for values, run_epochs in long_epochs.merge(well, on=keys).groupby(keys, sort=False, dropna=False):
        rows += [dict(zip(COLUMNS, (*values, *pair), strict=True)) for pair in _by_minute(run_epochs)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _by_minute(windows):
    """[(minute from 1, images per second)] of a run's epochs, for whole minutes with enough timed seconds."""
    first = windows["start"].min()
    epochs = list(zip(windows["start"] - first, windows["seconds"], windows["images"], windows["warm_up"], strict=True))
    minutes = int((windows["end"].max() - first) // MINUTE)
    speeds = []
    for minute in range(minutes):
        low, high = minute * MINUTE, (minute + 1) * MINUTE
        shares = [
            (max(0.0, min(start + seconds, high) - max(start, low)), images / seconds)
            for start, seconds, images, warm_up in epochs
            if not warm_up
        ]
        taken = sum(share for share, _ in shares)
        if taken >= MIN_SECONDS:
            speeds.append((minute + 1, sum(share * rate for share, rate in shares) / taken))
    return speeds if len(speeds) >= MIN_MINUTES else []


@dataclass(frozen=True)
class Sustained:
    """What remains of a device's speed: that of the last minute over that of the first one, a geometric mean over its runs.

    first, last: the lowest and the highest number of these minutes among the runs. The first minutes of a run have no speed while
    it warms up.
    """

    ratio: float
    first: tuple[int, int]
    last: tuple[int, int]


def ratios(by_minute: pd.DataFrame) -> dict[str, Sustained]:
    """{device: Sustained}. by_minute: of `table`."""
    by_device = {}
    for device, device_minutes in by_minute.groupby("device", sort=False):
        logs, firsts, lasts = [], [], []
        for _, run in device_minutes.groupby([*naming.AXES, "replicate"], sort=False, dropna=False):
            run = run.sort_values("minute")
            logs.append(math.log(run["images_per_second"].iloc[-1] / run["images_per_second"].iloc[0]))
            firsts.append(int(run["minute"].iloc[0]))
            lasts.append(int(run["minute"].iloc[-1]))
        ends = [(min(minutes), max(minutes)) for minutes in (firsts, lasts)]
        by_device[device] = Sustained(math.exp(sum(logs) / len(logs)), *ends)
    return by_device
