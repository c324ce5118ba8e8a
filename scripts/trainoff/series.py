"""The hardware readings that are taken once a second during a run: the series beside each record, and how it is read."""

import csv
import gzip
import math
from pathlib import Path

from trainoff import bounds
from trainoff.errors import UserError, one_line

# File beside a run's record: as the run wrote it, and in a bundle.
OWN, BUNDLED = "readings.csv.gz", "readings.csv"
# Readings as schemas/metrics.schema.json describes them; units in the names.
NAMES = (
    "cpu_mhz",
    "cpu_celsius",
    "load_cores",
    "memory_used_bytes",
    "swap_used_bytes",
    "on_battery",
    "package_watts",
    "soc_watts",
    "thermal_pressure",
    "gpu_percent",
    "gpu_mhz",
    "gpu_memory_mhz",
    "gpu_celsius",
    "gpu_watts",
    "gpu_watts_limit",
    "gpu_memory_used_bytes",
    "gpu_throttled",
)

# Levels of the reading thermal_pressure, from 0, as macOS names them; from HEAVY up the system slows the chip down.
THERMAL_LEVELS = ("nominal", "moderate", "heavy", "trapping", "sleeping")
HEAVY = THERMAL_LEVELS.index("heavy")


def text_of(metrics: str | Path) -> str | None:
    """The series beside the record at `metrics` as CSV; None where there is none or it cannot be read."""
    folder = Path(metrics).parent
    try:
        if (folder / OWN).is_file():
            with gzip.open(folder / OWN, "rb") as file:
                content = file.read(bounds.SERIES_BYTES + 1)
        else:
            content = (folder / BUNDLED).read_bytes()
    except (OSError, EOFError):
        return None
    return content.decode("utf-8", "replace") if len(content) <= bounds.SERIES_BYTES else None


def parsed(text: str, where: str | Path) -> list[dict[str, float | None]]:
    """[{"seconds": …, "epoch": … or None, reading: value}] of a series. Raises UserError for a text that is not a series.

    Columns that this version does not know are left out. where: names the series in messages.
    """
    rows = csv.reader(text.splitlines())
    try:
        names = next(rows, [])
        if names[:1] != ["seconds"] or len(set(names)) < len(names):
            raise ValueError("its first line does not name columns of readings")
        columns = [(place, name) for place, name in enumerate(names) if name in ("seconds", "epoch", *NAMES)]
        readings = []
        for row in rows:
            if len(row) != len(names):
                raise ValueError(f"line {rows.line_num} has {len(row)} values")
            readings.append({name: _number(row[place]) for place, name in columns})
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{where}: {one_line(error)}. Expected the readings that a training writes beside its record."
        ) from None
    return readings


def _number(text):
    if text == "":
        return None
    value = float(text)
    if not math.isfinite(value) or abs(value) > 1e18:
        raise ValueError(f"{text[:40]} is not a reading")
    return value
