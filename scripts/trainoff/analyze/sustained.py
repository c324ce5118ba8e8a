"""Speed that lasts: throughput minute by minute of long runs, and what the last minute has left of the first.

A device that gets warm slows down after minutes; short runs see it cold. Only time on the clock counts: validation between epochs
warms the device as well, and takes none of a minute's speed.
"""

import math

import pandas as pd

from trainoff import configurations as naming

MINUTE = 60.0
# Fewer whole minutes say nothing of how a speed develops.
MIN_MINUTES = 3
# A minute with less of it on the clock has too little to tell a speed.
MIN_SECONDS = 15.0
COLUMNS = ["device", *naming.AXES, "replicate", "minute", "images_per_second"]


def table(runs: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """One row per run and minute from its first epoch: COLUMNS. Of runs that ended well and took MIN_MINUTES or longer.

    runs, windows: the tables of those names. An epoch that lies in two minutes counts in both by its time; epochs that do
    not count are left out, but their time goes on.
    """
    keys = ["device", *naming.AXES, "replicate"]
    at = pd.to_datetime(windows["started_at"], format="ISO8601", utc=True, errors="coerce")
    windows = windows.assign(start=(at - at.min()).dt.total_seconds())
    windows["end"] = windows["start"] + windows["seconds"]
    groups = windows.groupby(keys, sort=False, dropna=False)
    # Most runs take seconds: these are sorted out at once.
    long = groups["end"].transform("max") - groups["start"].transform("min") >= MIN_MINUTES * MINUTE
    dated = groups["start"].transform("count") == groups["seconds"].transform("size")
    kept = windows[long & dated]
    well = runs.loc[runs["status"] == "ok", keys]
    rows = []
    for values, own in kept.merge(well, on=keys).groupby(keys, sort=False, dropna=False):
        rows += [dict(zip(COLUMNS, (*values, *pair), strict=True)) for pair in _by_minute(own)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _by_minute(windows):
    """[(minute from 1, images per second)] of one run's epochs, of the whole minutes that tell a speed."""
    first = windows["start"].min()
    epochs = list(zip(windows["start"] - first, windows["seconds"], windows["images"], windows["warm_up"], strict=True))
    minutes = int((windows["end"].max() - first) // MINUTE)
    found = []
    for minute in range(minutes):
        low, high = minute * MINUTE, (minute + 1) * MINUTE
        shares = [
            (max(0.0, min(start + seconds, high) - max(start, low)), images / seconds)
            for start, seconds, images, warm_up in epochs
            if not warm_up
        ]
        taken = sum(share for share, _ in shares)
        if taken >= MIN_SECONDS:
            found.append((minute + 1, sum(share * rate for share, rate in shares) / taken))
    return found if len(found) >= MIN_MINUTES else []


def ratios(by_minute: pd.DataFrame) -> dict[str, tuple[float, int]]:
    """{device: (last minute / first minute, number of minutes)}, the ratio a geometric mean over runs. by_minute: of `table`."""
    found = {}
    for device, own in by_minute.groupby("device", sort=False):
        logs, minutes = [], []
        for _, run in own.groupby([*naming.AXES, "replicate"], sort=False, dropna=False):
            run = run.sort_values("minute")
            logs.append(math.log(run["images_per_second"].iloc[-1] / run["images_per_second"].iloc[0]))
            minutes.append(int(run["minute"].iloc[-1]))
        found[device] = (math.exp(sum(logs) / len(logs)), max(minutes))
    return found
