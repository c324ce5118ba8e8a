"""CSV files of wall meters."""

import math
import os
from datetime import UTC, datetime, timedelta

import numpy as np

from fuzz.changes import NUMBERS, damaged, text_of
from trainoff import bounds
from trainoff.analyze import wall_meter

NAME = "CSV of a wall meter"
START = datetime(2026, 1, 2, 13, tzinfo=UTC)
WORDS = [
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01", "9999-12-31T23:59:59", "1969-12-31T23:59:59-23:59"),
    *("2026-03-29T02:30:00", "2026-10-25 02:30:00", "2026-01-02T13:00:00+24:00", "2026-01-02T13:00:00.123456789+01:00"),
    *(
        "2026-W01-1",
        "20260102T130000Z",
        "2026-01-02",
        "now",
        "",
        " ",
        "time",
        "watts",
        "1767358800",
        "1767358800000",
        "-60",
    ),
]
ZONES = [
    None,
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "x" * 5000,
    "Europe",
    "../../etc/passwd",
    "Europe/Berlin\0",
    "\x1b[2J",
]


def written(folder, text, zone=None):
    """(path of a file with the text or bytes, time zone in the experiment)."""
    path = folder / "meter.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    (folder / "zone").write_text(zone or "", encoding="utf-8")
    return path


def valid(random):
    """The lines of a valid file, and its time zone."""
    kind = random.randrange(3)
    zone = None
    lines = ["time,watts"] if random.random() < 0.7 else ["volts, Time ,watts"]
    for second in range(random.randint(1, 40)):
        moment = START + timedelta(seconds=second * random.choice([1, 1, 1.5]) if kind else second)
        if kind == 0:
            text = str(moment.timestamp())
        elif kind == 1:
            text = moment.isoformat()
        else:
            text, zone = moment.replace(tzinfo=None).isoformat(" "), "Europe/Berlin"
        watts = f"{random.uniform(0, 300):.1f}"
        lines.append(f"{text},{watts}" if len(lines[0]) < 12 else f"230, {text}, {watts}")
    return lines, zone


def mutated(random, folder):
    lines, zone = valid(random)
    if random.random() < 0.15:
        zone = random.choice(ZONES)
    for _ in range(random.randint(0, 3)):
        line = random.randrange(len(lines))
        fields = lines[line].split(",")
        field = random.randrange(len(fields))
        kind = random.randrange(7)
        if kind == 0:
            fields[field] = text_of(random, WORDS)
        elif kind == 1:
            fields[field] = random.choice(NUMBERS)
        elif kind == 2:
            fields.append(random.choice(["", "1", text_of(random, WORDS)]))
        elif kind == 3:
            del fields[field]
        elif kind == 4:
            fields[field] = '"' + fields[field] + random.choice(['"', '""', "\n", ""])
        lines[line] = ",".join(fields)
        if kind == 5:
            lines.insert(random.randrange(len(lines) + 1), lines[line])
        elif kind == 6:
            del lines[line]
            lines = lines or [""]
    text = random.choice(["\n", "\n", "\r\n", "\r"]).join(lines) + random.choice(["\n", ""])
    data = text.encode("utf-8", "surrogatepass")
    return written(folder, damaged(random, data) if random.random() < 0.2 else data, zone)


def read(path):
    zone = (path.parent / "zone").read_text(encoding="utf-8") or None
    readings = wall_meter.read(path, zone)
    assert len(readings.times) == len(readings.watts) > 0
    assert (np.diff(readings.times) > 0).all() and (readings.times > 9e8).all() and (readings.times < 4.1e9).all()
    assert ((readings.watts >= 0) & (readings.watts <= wall_meter.MOST_WATTS)).all()
    # Every reading is a line of the file.
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    assert len(readings.times) < len(lines) and math.isfinite(readings.times.sum())


def _sparse(folder, size):
    path = written(folder, "time,watts\n")
    os.truncate(path, size)
    return path


def _gzipped(folder):
    import gzip

    path = written(folder, gzip.compress(b"time,watts\n" + b"1767358800,60\n" * 10**6))
    return path.rename(path.with_name("meter.csv.gz"))


REGRESSIONS = {
    "year 1": lambda folder: written(folder, "time,watts\n0001-01-01T00:00:00Z,60\n"),
    "year 9999": lambda folder: written(folder, "time,watts\n9999-12-31T23:59:59,60\n", "America/New_York"),
    "year 1 in a zone": lambda folder: written(folder, "time,watts\n0001-01-01T00:00:00,60\n", "Asia/Tokyo"),
    "comma at the end of a line": lambda folder: written(folder, "time,watts\n1767358800,60,\n1767358801,61,\n"),
    "more fields than the header": lambda folder: written(folder, "time,watts\n1767358800,60\n1767358801,61,7,8,9\n"),
    "zone of 5,000 letters": lambda folder: written(folder, "time,watts\n2026-01-02T13:00:00,60\n", "x" * 5000),
    "zone that is a folder": lambda folder: written(folder, "time,watts\n2026-01-02T13:00:00,60\n", "Europe"),
    "zone out of its folder": lambda folder: written(folder, "time,watts\n2026-01-02T13:00:00,60\n", "../etc/passwd"),
    "line of a megabyte": lambda folder: written(folder, "time,watts\n" + "1" * 10**6 + ",60\n"),
    "header of 100,000 columns": lambda folder: written(folder, "time,watts" + ",a" * 1500 + "\n"),
    "zeros, larger than the limit": lambda folder: _sparse(folder, bounds.WALL_METER_BYTES + 1),
    "zeros, as large as the limit": lambda folder: _sparse(folder, bounds.WALL_METER_BYTES),
    "compressed": _gzipped,
    "control characters": lambda folder: written(folder, "time,watts\n\x1b[2J\u202e,60\n"),
    "column twice": lambda folder: written(folder, "time,watts,watts\n1767358800,60,61\n"),
    "open quote to the end": lambda folder: written(
        folder, 'time,watts\n"1767358800,60\n' + "1767358801,61\n" * 50_000
    ),
}
