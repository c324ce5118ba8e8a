"""The energy of every run and window: from its counter, from a wall meter's file, or declared; never guessed."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from trainoff import energy, numbers, records
from trainoff.analyze import reasons, tables, wall_meter
from trainoff.errors import UserError
from trainoff.report.reasons import without_device
from trainoff.workflow.script import logged

RUN_COLUMNS = {key: tables.RUN_COLUMNS[key] for key in [*records.RUN_KEYS, *tables.ENERGY_KEYS]}
WINDOW_COLUMNS = {
    key: tables.WINDOW_COLUMNS[key]
    for key in [*records.RUN_KEYS, "epoch", "images", "seconds", "warm_up", "energy_joules", "energy_reason"]
}


def main(
    runs: str | Path,
    windows: str | Path,
    wall_meters: Sequence[dict[str, Any]],
    declared: dict[str, dict[str, Any]],
    outputs: tables.Outputs,
) -> None:
    """Writes the energy of the runs and windows (paths of parquet files) to `outputs`.

    wall_meters, declared: as energy.wall_meters and energy.declared of an experiment. outputs: {"energy" |
    "energy_windows": (csv path, parquet path)}.
    """
    frames = apply(pd.read_parquet(runs), pd.read_parquet(windows), wall_meters, declared)
    for name, frame in frames.items():
        tables.write(frame, *outputs[name])


def apply(
    runs: pd.DataFrame,
    windows: pd.DataFrame,
    wall_meters: Sequence[dict[str, Any]],
    declared: dict[str, dict[str, Any]],
) -> dict[str, pd.DataFrame]:
    """{"energy": a row per run, "energy_windows": a row per window}.

    A wall meter's file takes precedence, since it covers the whole machine and was given on purpose; then the reading of the
    run's counter; then what is declared, which is not a measurement.
    """
    _check_devices(runs, wall_meters, declared)
    meters = {device: meter for meter in map(WallMeter, wall_meters) for device in meter.devices}
    by_run = windows_by_run(windows)
    for device, meter in meters.items():
        rows = [row for key, rows in by_run.items() if key[0] == device for row in rows]
        meter.check(rows)
    run_rows, window_rows = [], []
    for run in runs.to_dict("records"):
        key = tuple(run[name] for name in records.RUN_KEYS)
        readings, source, scope, idle = _readings(run, by_run.get(key, []), meters.get(run["device"]), declared)
        summary, reason = energy.summarize(readings, source, scope, idle)
        if summary is None and run["status"] != "ok" and not readings:
            reason = reasons.reason("no_window")
        elif reason not in {reading["energy_reason"] for reading in readings}:
            # A reason for the run as a whole is a sentence, as in its record.
            reason = reasons.recorded(reason)
        summary = summary or {}
        run_rows.append(
            {
                **dict(zip(records.RUN_KEYS, key, strict=True)),
                **summary,
                "energy_scope": summary.get("scope"),
                "energy_source": summary.get("source"),
                "energy_reason": reason,
            }
        )
        window_rows += [dict(zip(records.RUN_KEYS, key, strict=True)) | reading for reading in readings]
    return {
        "energy": tables.frame(run_rows, RUN_COLUMNS),
        "energy_windows": tables.frame(window_rows, WINDOW_COLUMNS),
    }


class WallMeter:
    """One entry of energy.wall_meters with its readings."""

    def __init__(self, entry):
        self.devices = entry["devices"]
        self.max_gap_seconds = entry.get("max_gap_seconds", wall_meter.MAX_GAP_SECONDS)
        zone = entry.get("time_zone")
        self.trace = wall_meter.read(entry["file"], zone)
        self.idle_watts = None
        if entry.get("idle"):
            start, end = (wall_meter.moment(entry["idle"][name], zone) for name in ("from", "to"))
            joules, reason = wall_meter.window(self.trace, start, end - start, self.max_gap_seconds)
            if reason:
                raise UserError(f"energy.wall_meters: idle from {entry['idle']['from']}: {without_device(reason)}")
            self.idle_watts = joules / (end - start)

    def check(self, windows: list[dict[str, Any]]) -> None:
        """Raises UserError if the file overlaps none of the windows."""
        known = [(moment(row["started_at"]), _on_the_clock(row)) for row in windows if numbers.known(row["started_at"])]
        wall_meter.check_overlap(self.trace, [(start, start + seconds) for start, seconds in known])

    def read(self, row: dict[str, Any]) -> tuple[float | None, str | None]:
        """(joules, reason) of a window."""
        if not numbers.known(row["started_at"]):
            return None, reasons.reason("no_window_times")
        return wall_meter.window(self.trace, moment(row["started_at"]), _on_the_clock(row), self.max_gap_seconds)


def _on_the_clock(row):
    """Seconds from the start of a window to its end, with those in which the process did not run."""
    return row["seconds"] + (numbers.known_or_none(row["suspended_seconds"]) or 0.0)


def moment(text: str) -> float:
    """Seconds since 1970 of a time in a record."""
    return datetime.fromisoformat(text).timestamp()


def windows_by_run(windows: pd.DataFrame) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """{run's key: its windows as dicts}."""
    by_run = {}
    for row in windows.to_dict("records"):
        by_run.setdefault(tuple(row[name] for name in records.RUN_KEYS), []).append(row)
    return by_run


def _check_devices(runs, wall_meters, declared):
    """Raises UserError for a device without runs, and for one in the files of two wall meters."""
    metered = [device for meter in wall_meters for device in meter["devices"]]
    known = sorted(set(runs["device"]))
    for key, names in (("wall_meters", metered), ("declared", declared)):
        for name in names:
            if name not in known:
                raise UserError(
                    f"energy.{key}: there is no run of a device {name!r}. Expected one of {', '.join(known)}; correct the name "
                    "or remove the entry."
                )
    for name in metered:
        if metered.count(name) > 1:
            raise UserError(
                f"energy.wall_meters: {name} is in {metered.count(name)} files. Expected one file per machine."
            )


def _readings(run, windows, meter, declared):
    """(windows with energy_joules and energy_reason, source, scope, idle watts) of a run."""
    if meter is not None:
        return [_reading(row, *meter.read(row)) for row in windows], "wall_meter", "machine", meter.idle_watts
    measured = numbers.known(run["energy_source"])
    if not measured and run["device"] in declared:
        facts = declared[run["device"]]
        return (
            [_reading(row, facts["watts"] * row["seconds"], None) for row in windows],
            "declared",
            facts["scope"],
            None,
        )
    readings = [
        _reading(
            row,
            numbers.known_or_none(row["energy_joules"]),
            numbers.known_or_none(row["energy_reason"]) or numbers.known_or_none(run["energy_reason"]),
        )
        for row in windows
    ]
    if not measured:
        return readings, None, None, None
    return readings, run["energy_source"], run["energy_scope"], numbers.known_or_none(run["idle_watts"])


def _reading(row, joules, reason):
    return {key: row[key] for key in ("epoch", "images", "seconds", "warm_up")} | {
        "energy_joules": joules,
        "energy_reason": None if joules is not None else reason,
    }


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.runs,
            snakemake.input.windows,
            snakemake.params.wall_meters,
            snakemake.params.declared,
            tables.files(snakemake.output, "energy", "energy_windows"),
        )
