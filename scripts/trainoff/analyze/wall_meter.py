"""A wall meter's file: times and watts of a whole machine, integrated over the windows of its runs.

The file is a CSV whose first line names the columns `time` and `watts`; other columns are ignored. A time is ISO 8601, with an
offset from UTC or in a time zone that the experiment names, or seconds since 1970.

Between two readings the power is taken to change linearly (trapezoids). A window has a figure if the file covers it with at least
MIN_SAMPLES readings and without a gap beyond the limit.
"""

import csv
import math
import zoneinfo
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from trainoff import bounds
from trainoff.analyze.reasons import reason
from trainoff.errors import UserError, one_line
from trainoff.privacy import name_of

# Minimum number of readings in a window, as MLPerf's power rules require for a training.
MIN_SAMPLES = 60
# Maximum gap between readings inside a window, unless the experiment gives another.
MAX_GAP_SECONDS = 5.0
# No wall socket supplies more: higher values are probably milliwatts.
MOST_WATTS = 20_000.0
# Numbers outside these seconds since 1970, of the years 2001 and 2096, are not times.
FIRST_SECOND, LAST_SECOND = 1e9, 4e9
FIRST_YEAR, LAST_YEAR = 2001, 2096
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Trace:
    """Readings of a meter: seconds since 1970, strictly rising, and watts."""

    name: str
    times: np.ndarray
    watts: np.ndarray


def read(path: str | Path, time_zone: str | None = None) -> Trace:
    """The Trace in the file `path`. time_zone: of times without an offset, such as Europe/Berlin.

    The file is read line by line, up to the limits in `bounds`, and never unpacked, whatever its name.
    """
    name = one_line(path)
    if not Path(path).is_file():
        raise UserError(
            f"energy.wall_meters: there is no file {name}. Expected the readings of the wall meter, a CSV file with the columns "
            "time and watts. Put it there, or remove the entry."
        )
    if Path(path).stat().st_size > bounds.WALL_METER_BYTES:
        raise UserError(f"{name}: is larger than {bounds.WALL_METER_BYTES >> 20} MiB. Keep only the days of the runs.")
    times, watts = array("d"), array("d")
    clock, before = _Clock(name, time_zone), None
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(_lines(file, name), skipinitialspace=True, strict=True)
            columns = [column.strip().lower() for column in next(rows, [])]
            time_column, watts_column = _place("time", columns, name), _place("watts", columns, name)
            for row in rows:
                if not row:
                    continue
                line = rows.line_num
                if len(row) != len(columns):
                    raise UserError(
                        f"{name}: line {line}: has {len(row)} fields, but the first line names {len(columns)} columns. Expected "
                        "the same number, and no comma at the end."
                    )
                text = row[time_column].strip()
                seconds = clock.seconds(text, line)
                if times and seconds <= times[-1]:
                    raise UserError(
                        f"{name}: line {line}: the time {one_line(text, 60)} is not after the one before "
                        f"({one_line(before, 60)}). Expected readings in order of time, without duplicates; a clock that was "
                        "set back cannot be corrected here."
                    )
                times.append(seconds)
                watts.append(_watts(row[watts_column], name, line))
                before = text
                if len(times) > bounds.WALL_METER_READINGS:
                    raise UserError(
                        f"{name}: has more than {bounds.WALL_METER_READINGS:,} readings. Keep only the days of the runs."
                    )
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"{name}: not a CSV file ({one_line(error)}). Expected the columns time and watts.") from None
    if not times:
        raise UserError(f"{name}: there are no readings below the first line. Expected at least one per second.")
    return Trace(name_of(path), np.frombuffer(times), np.frombuffer(watts))


def _lines(file, name):
    """The lines of a file, none of them longer than the limit."""
    number = 0
    while line := file.readline(bounds.WALL_METER_LINE + 1):
        number += 1
        if len(line) > bounds.WALL_METER_LINE:
            raise UserError(
                f"{name}: line {number}: has more than {bounds.WALL_METER_LINE:,} characters. Expected a CSV with the columns "
                "time and watts."
            )
        yield line


def _place(column, columns, name):
    """The index of a column. Raises UserError unless there is exactly one of this name."""
    if columns.count(column) == 1 and len(columns) <= bounds.WALL_METER_COLUMNS:
        return columns.index(column)
    named = one_line(", ".join(columns), 200)
    problem = f"there is no column {column}" if column not in columns else f"the column {column} is there twice"
    if len(columns) > bounds.WALL_METER_COLUMNS:
        problem = f"there are {len(columns):,} columns"
    raise UserError(
        f"{name}: {problem}. Expected a first line that names time and watts once each; it names {named or 'nothing'}."
    )


def _watts(text, name, line):
    try:
        watts = float(text) if "_" not in text else math.nan
    except ValueError:
        watts = math.nan
    if not 0 <= watts <= MOST_WATTS:
        raise UserError(
            f"{name}: line {line}: {one_line(text, 60)} cannot be the power of a machine. Expected watts, from 0 to "
            f"{MOST_WATTS:g}."
        )
    return watts


def moment(text: str | float, time_zone: str | None = None, where: str = "energy.wall_meters") -> float:
    """Seconds since 1970 of a time in one of the formats of the file."""
    return _Clock(where, time_zone).seconds(str(text).strip())


def joules_between(trace: Trace, start: float, end: float) -> float:
    """Joules drawn from `start` to `end`, both within the trace: trapezoids, with the power at both ends interpolated."""
    first, last = np.searchsorted(trace.times, [start, end], side="right")
    times = np.concatenate([[start], trace.times[first:last], [end]])
    return float(np.trapezoid(np.interp(times, trace.times, trace.watts), times))


def window(
    trace: Trace, start: float, seconds: float, max_gap_seconds: float = MAX_GAP_SECONDS
) -> tuple[float | None, str | None]:
    """(joules, None) drawn in the `seconds` from `start`; (None, reason) if the file does not cover them well enough."""
    end = start + seconds
    if start < trace.times[0] or end > trace.times[-1]:
        return None, reason("meter_elsewhere", file=trace.name)
    first, last = np.searchsorted(trace.times, [start, end])
    gap = float(np.diff(trace.times[max(first - 1, 0) : last + 1]).max())
    if gap > max_gap_seconds:
        return None, reason("meter_gap", file=trace.name, seconds=round(gap, 1), limit_seconds=max_gap_seconds)
    count = int(last - first)
    if count < MIN_SAMPLES:
        return None, reason("meter_sparse", file=trace.name, count=count, seconds=round(seconds), needed=MIN_SAMPLES)
    joules = joules_between(trace, start, end)
    if joules <= 0:
        return None, reason("meter_zero", file=trace.name)
    return joules, None


def check_overlap(trace: Trace, spans: list[tuple[float, float]]) -> None:
    """Raises UserError if the trace overlaps none of `spans`, [(start, end)] of the runs in seconds since 1970."""
    if not spans or _overlaps(trace, spans):
        return
    shift = next((hours for hours in _hours_by_size() if _overlaps(trace, spans, 3600 * hours)), None)
    hint = (
        ""
        if shift is None
        else f" Moved by {shift:+g} h it would fit: is its time zone a different one (energy.wall_meters time_zone)?"
    )
    raise UserError(
        f"{trace.name}: the readings, from {_text(trace.times[0])} to {_text(trace.times[-1])} UTC, do not overlap with the "
        f"runs, from {_text(min(start for start, _ in spans))} to {_text(max(end for _, end in spans))} UTC. Expected "
        f"readings taken while the machine trained.{hint}"
    )


def _overlaps(trace, spans, shift=0.0):
    return any(trace.times[0] + shift < end and start < trace.times[-1] + shift for start, end in spans)


def _hours_by_size():
    """Hours by which time zones can differ, in steps of half an hour, small before large."""
    return sorted((half / 2 for half in range(-28, 29) if half), key=abs)


class _Clock:
    """Reads times of the same format: all as seconds since 1970, with an offset from UTC, or in a time zone."""

    def __init__(self, where, time_zone):
        self._where, self._name, self._kind = where, time_zone, None
        self._zone = time_zone and _zone(time_zone, where)
        self._offsets = {}  # {minute: offset}, since asking the zone for every reading takes longer than everything else

    def seconds(self, text: str, line: int | None = None) -> float:
        """Seconds since 1970 of a time. line: where it stands, for messages."""
        place = f"{self._where}: line {line}" if line else self._where
        kind, seconds = self._read(text, place)
        self._kind = self._kind or kind
        if kind != self._kind:
            raise UserError(
                f"{place}: {one_line(text, 60)} has a different format from the times before it: some times have an offset from "
                "UTC, or are seconds since 1970, and some are not. Expected one format throughout."
            )
        return seconds

    def _read(self, text, place):
        number = _number(text)
        if number is not None:
            if not FIRST_SECOND <= number <= LAST_SECOND:
                raise UserError(
                    f"{place}: {one_line(text, 60)} is not a time in seconds since 1970. Expected seconds (not milliseconds), or "
                    "a time such as 2026-01-02T13:00:00+01:00."
                )
            return "seconds", number
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise UserError(
                f"{place}: a time cannot be read ({one_line(error, 100)}). Expected 2026-01-02T13:00:00+01:00, or seconds since "
                "1970."
            ) from None
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise UserError(
                f"{place}: {one_line(text, 60)} is in the year {moment.year}. Expected a time from {FIRST_YEAR} to {LAST_YEAR}."
            )
        if moment.tzinfo is not None:
            return "offset", (moment - EPOCH).total_seconds()
        if self._zone is None:
            raise UserError(
                f"{place}: the time {one_line(text, 60)!r} has no time zone. Expected an offset from UTC, as in "
                "2026-01-02T13:00:00+01:00, or `time_zone: Europe/Berlin` in energy.wall_meters."
            )
        return "local", (moment - self._offset(moment, place) - EPOCH.replace(tzinfo=None)).total_seconds()

    def _offset(self, moment, place):
        """The zone's offset from UTC at a local time. Raises UserError if clocks show this time never or twice."""
        minute = moment.replace(second=0, microsecond=0, tzinfo=self._zone)
        key = minute.replace(tzinfo=None)
        if key not in self._offsets:
            self._offsets[key] = (
                minute.utcoffset() if minute.utcoffset() == minute.replace(fold=1).utcoffset() else None
            )
        if self._offsets[key] is None:
            raise UserError(
                f"{place}: clocks in {self._name} show the time {moment.isoformat(' ')} twice or never. Expected an offset for a "
                "local time in the hour when clocks change, as in 2026-01-02T13:00:00+01:00."
            )
        return self._offsets[key]


def _number(text):
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _zone(name, where):
    try:
        return zoneinfo.ZoneInfo(name)
    # A time zone is a file of the system, whose name may be too long or that of a folder.
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(
            f"{where}: there is no time zone {one_line(name, 60)!r}. Expected a name such as Europe/Berlin or UTC."
        ) from None


def _text(seconds):
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
