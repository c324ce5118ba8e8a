"""A wall meter's file: times and watts of a whole machine, integrated over the windows of its runs.

The file is CSV with a header that names the columns `time` and `watts`, others are ignored. A time is ISO 8601, with an
offset from UTC or in a time zone that the experiment names, or seconds since 1970. The method in words is METHOD.
"""

import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from trainoff.errors import UserError, one_line
from trainoff.privacy import name_of

# As MLPerf's power rules ask of a training: at least so many readings in what is claimed.
LEAST_SAMPLES = 60
# Readings may be this far apart inside a window unless the experiment says otherwise.
MOST_GAP_SECONDS = 5.0
# More than any wall socket gives: milliwatts, most likely.
MOST_WATTS = 20_000.0
# Seconds since 1970 of the years 2001 and 2096: numbers beyond are something else.
FIRST_SECOND, LAST_SECOND = 1e9, 4e9

METHOD = (
    "Wall meter: the power between two readings is taken to change in a straight line (trapezoids). A window has a figure "
    f"when the file covers it with at least {LEAST_SAMPLES} readings and without a gap beyond the stated limit."
)


@dataclass(frozen=True)
class Trace:
    """Readings of a meter: seconds since 1970, strictly rising, and watts."""

    name: str
    times: np.ndarray
    watts: np.ndarray


def read(path, time_zone=None):
    """The Trace in the file `path`. time_zone: of times that carry no offset, such as Europe/Berlin."""
    if not Path(path).is_file():
        raise UserError(
            f"energy.wall_meters: there is no file {path}. Expected the readings of the wall meter, a CSV with the columns "
            "time and watts; put it there, or remove the entry."
        )
    try:
        table = pd.read_csv(path, dtype=str, skipinitialspace=True, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:  # pandas' errors of reading are ValueErrors
        raise UserError(f"{path}: not a CSV file ({one_line(error)}). Expected the columns time and watts.") from None
    table.columns = [str(name).strip().lower() for name in table.columns]
    for column in ("time", "watts"):
        if column not in table:
            raise UserError(
                f"{path}: there is no column {column}. Expected a first line that names time and watts; it names "
                f"{', '.join(table.columns) or 'nothing'}."
            )
    if table.empty:
        raise UserError(f"{path}: there are no readings below the first line. Expected one per second or more.")
    times = _times(table["time"], path, time_zone)
    watts = pd.to_numeric(table["watts"], errors="coerce").to_numpy(dtype=float)
    bad = ~((watts >= 0) & (watts <= MOST_WATTS))
    if bad.any():
        line = int(bad.argmax())
        raise UserError(
            f"{path}: line {line + 2}: {table['watts'][line]} cannot be the power of a machine. Expected watts, from 0 to "
            f"{MOST_WATTS:g}."
        )
    back = np.diff(times) <= 0
    if back.any():
        line = int(back.argmax()) + 1
        raise UserError(
            f"{path}: line {line + 2}: the time {table['time'][line]} does not come after the one before it "
            f"({table['time'][line - 1]}). Expected readings in the order of time, each once; a clock that was set back cannot "
            "be mended here."
        )
    return Trace(name_of(path), times, watts)


def moment(text, time_zone=None, where="energy.wall_meters"):
    """Seconds since 1970 of one time as it may stand in the file."""
    return float(_times(pd.Series([str(text)]), where, time_zone)[0])


def joules_between(trace, start, end):
    """Joules drawn from `start` to `end`, both within the trace: trapezoids, with the power at both ends interpolated."""
    first, last = np.searchsorted(trace.times, [start, end], side="right")
    times = np.concatenate([[start], trace.times[first:last], [end]])
    return float(np.trapezoid(np.interp(times, trace.times, trace.watts), times))


def window(trace, start, seconds, most_gap_seconds=MOST_GAP_SECONDS):
    """(joules, None) drawn in the `seconds` from `start`; (None, reason in a sentence) where the file cannot tell."""
    end = start + seconds
    if start < trace.times[0] or end > trace.times[-1]:
        return None, f"The wall meter's file {trace.name} does not cover the whole window."
    first, last = np.searchsorted(trace.times, [start, end])
    gap = float(np.diff(trace.times[max(first - 1, 0) : last + 1]).max())
    if gap > most_gap_seconds:
        return None, (
            f"The wall meter's file {trace.name} has a gap of {gap:.1f} s in the window; the limit is {most_gap_seconds:g} s."
        )
    if last - first < LEAST_SAMPLES:
        return None, (
            f"The wall meter's file {trace.name} has {last - first} readings in a window of {seconds:.0f} s; at least "
            f"{LEAST_SAMPLES} are needed. Raise protocol.images_per_epoch, or read the meter more often."
        )
    joules = joules_between(trace, start, end)
    if joules <= 0:
        return None, f"The wall meter's file {trace.name} says 0 W during training: a fault of the meter, not a result."
    return joules, None


def check_overlap(trace, spans):
    """Raises UserError when the trace overlaps none of `spans`, (start, end) pairs in seconds since 1970 of the runs."""
    if not spans or _overlaps(trace, spans):
        return
    shift = next((hours for hours in _hours_by_size() if _overlaps(trace, spans, 3600 * hours)), None)
    hint = (
        ""
        if shift is None
        else f" Moved by {shift:+g} h it would fit: is its time zone another one (energy.wall_meters time_zone)?"
    )
    raise UserError(
        f"{trace.name}: the readings, from {_text(trace.times[0])} to {_text(trace.times[-1])} UTC, do not overlap with the "
        f"runs, from {_text(min(start for start, _ in spans))} to {_text(max(end for _, end in spans))} UTC. Expected "
        f"readings taken while the machine trained.{hint}"
    )


def _overlaps(trace, spans, shift=0.0):
    return any(trace.times[0] + shift < end and start < trace.times[-1] + shift for start, end in spans)


def _hours_by_size():
    """Half hours by which time zones differ, small before large."""
    return sorted((half / 2 for half in range(-28, 29) if half), key=abs)


def _times(texts, where, time_zone):
    texts = texts.fillna("").str.strip()
    numbers = pd.to_numeric(texts, errors="coerce")
    if numbers.notna().all():
        beyond = ~numbers.between(FIRST_SECOND, LAST_SECOND)
        if beyond.any():
            raise UserError(
                f"{where}: line {int(beyond.argmax()) + 2}: {texts[beyond.argmax()]} is no time in seconds since 1970. Expected "
                "seconds (not milliseconds), or a time such as 2026-01-02T13:00:00+01:00."
            )
        return numbers.to_numpy(dtype=float)
    offset = texts.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$")
    if not offset.all() and time_zone is None:
        line = int((~offset).argmax())
        raise UserError(
            f"{where}: line {line + 2}: the time {texts[line]!r} does not say its time zone. Expected an offset from UTC, as in "
            "2026-01-02T13:00:00+01:00, or `time_zone: Europe/Berlin` in energy.wall_meters."
        )
    if offset.any() and not offset.all():
        raise UserError(f"{where}: some times carry an offset from UTC and some do not. Expected all of them alike.")
    try:
        if offset.all():
            parsed = pd.to_datetime(texts, format="ISO8601", utc=True)
        else:
            parsed = pd.to_datetime(texts, format="ISO8601").dt.tz_localize(
                _zone(time_zone, where), nonexistent="raise"
            )
    except (ValueError, TypeError) as error:
        reason = re.sub(r"\s+", " ", str(error))[:160]
        raise UserError(
            f"{where}: a time cannot be read ({reason}). Expected 2026-01-02T13:00:00+01:00, or seconds since 1970; a local "
            "time in the hour when clocks change needs its offset."
        ) from None
    return (parsed - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()


def _zone(name, where):
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise UserError(
            f"{where}: there is no time zone {name!r}. Expected a name such as Europe/Berlin or UTC."
        ) from None


def _text(seconds):
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
