"""The table of turns: one row per configuration and pair of devices that took turns."""

import functools
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd

from trainoff import records, turn_statistics
from trainoff.analyze import reasons, stats
from trainoff.configurations import AXES
from trainoff.errors import UserError, one_line

SCHEMA_PATH = Path(__file__).parents[3] / "schemas" / "turns.schema.json"
COLUMNS = [
    *AXES,
    "device",
    "baseline",
    "status",
    "failed",
    "reason",
    "ratio",
    "ci_low",
    "ci_high",
    "degrees",
    "p_value",
    "p_value_adjusted",
    "p_different",
    "p_different_adjusted",
    "equivalence",
    "verdict",
    "pairs",
    "suspended_pairs",
    "sessions",
    "lowest_session",
    "highest_session",
    "minutes",
    "decisive_minutes",
    "slice_seconds",
    "waiting_cores",
    "spinning",
    "busy",
]


@functools.cache
def _validator():
    return jsonschema.Draft202012Validator(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


def read(path: str | Path) -> dict[str, Any]:
    """The record of turns in the file `path`, checked against its schema."""
    record = records.parse(path)
    error = jsonschema.exceptions.best_match(_validator().iter_errors(record))
    if error is not None:
        place = one_line(".".join(str(part) for part in error.absolute_path), most=200) or "the record"
        raise UserError(
            f"{path}: {place}: {one_line(error.message)}. Expected a record as schemas/turns.schema.json describes it; delete "
            "the file to take these turns again."
        )
    return record


def in_order(record: dict[str, Any], devices: list[str]) -> dict[str, Any]:
    """A record of turns with the device as its baseline that comes first in `devices` (names), whichever it was then."""
    if devices.index(record["baseline"]) < devices.index(record["device"]):
        return record
    exchanged = dict(zip(turn_statistics.SIDES, reversed(turn_statistics.SIDES), strict=True))

    def turned(sides):
        return sides | {side: sides[other] for side, other in exchanged.items()}

    sessions = [session | {"pairs": list(map(turned, session["pairs"]))} for session in record["sessions"]]
    return turned(record) | {"identity": turned(record["identity"]), "sessions": sessions}


def table(turns: Iterable[dict[str, Any]], equivalence: float) -> pd.DataFrame:
    """The table, with the columns COLUMNS. turns: records of turns. equivalence: 0.05 for ±5 %.

    The spread between fresh processes is estimated from all configurations of two devices together, since the few sessions of a
    single configuration hardly show it. Sessions on a busy machine count for their own configuration only. The verdicts are
    corrected for the number of rows, as those of runs are.
    """
    scatters = [(record, _shared_scatter(record)) for record in turns]
    of_pair = {}
    for record, scatter in scatters:
        pair = record["device"], record["baseline"]
        of_pair[pair] = of_pair.get(pair, turn_statistics.Scatter()) + scatter
    rows = [
        _row(record, equivalence, of_pair[record["device"], record["baseline"]] - scatter)
        for record, scatter in scatters
    ]
    judged = [row for row in rows if "ratio" in row]
    ratios = list(map(as_ratio, judged))
    for row, ratio, (adjusted, different, verdict) in zip(
        judged, ratios, stats.judge(ratios, equivalence), strict=True
    ):
        row |= {
            "p_value": ratio.p_value,
            "p_value_adjusted": adjusted,
            "p_different": ratio.p_different(equivalence),
            "p_different_adjusted": different,
            "verdict": verdict,
        }
        if verdict != "undecided":
            row["decisive_minutes"] = math.nan
    return pd.DataFrame(rows, columns=COLUMNS)


def as_ratio(row: dict[str, Any]) -> stats.Ratio:
    """The stats.Ratio of a row with a ratio, so that turns and runs can be treated alike."""
    half = math.log(row["ci_high"] / row["ci_low"]) / 2
    return stats.Ratio(row["ratio"], (half / stats.student_t(row["degrees"])) ** 2, row["degrees"])


def undecided(paths: Iterable[str | Path], equivalence: float, devices: list[str]) -> list[str | Path]:
    """Those `paths` of records of turns that ended well and have no verdict in the table of all of them.

    devices: as `in_order` takes them. Turns with too few pairs, because the machine slept, are undecided too.
    """
    paths = list(paths)
    rows = table([in_order(read(path), devices) for path in paths], equivalence)
    open_rows = (rows["status"] == "ok") & rows["verdict"].isin(["undecided", "not_comparable"])
    return [path for path, is_open in zip(paths, open_rows, strict=True) if is_open]


def _shared_scatter(record):
    if record["conditions"].get("busy"):
        return turn_statistics.Scatter()
    # The last slices before a training fails show the failure.
    return turn_statistics.scatter(
        turn_statistics.logs_of(session) for session in record["sessions"] if session["status"] == "ok"
    )


def _row(record, equivalence, elsewhere):
    sessions = record["sessions"]
    pairs = [pair for session in sessions for pair in session["pairs"]]
    sides = [side for session in sessions for side in session["sides"].values()]
    waiting = [side["waiting_cores"] for side in sides if side.get("waiting_cores") is not None]
    row = {
        **{key: record["run"][key] for key in AXES},
        **{key: record[key] for key in ("device", "baseline", "status", "failed")},
        "reason": reasons.recorded(record["message"]),
        "verdict": "not_comparable",
        "pairs": sum(pair["counted"] for pair in pairs),
        "suspended_pairs": sum(not pair["counted"] for pair in pairs),
        "sessions": len(sessions),
        "minutes": record["seconds"] / 60,
        "slice_seconds": record["turns"]["slice_seconds"],
        "waiting_cores": max(waiting, default=math.nan),
        "spinning": any(side.get("spinning") for side in sides),
        "busy": record["conditions"].get("busy"),
    }
    if record["status"] != "ok":
        return row
    frameworks = [record["identity"][side].get("backend") for side in turn_statistics.SIDES]
    standing = turn_statistics.stand_of(sessions, frameworks, equivalence, elsewhere)
    if standing.low is None:
        return row | {"reason": reasons.reason("few_pairs")}
    more_minutes = turn_statistics.more_sessions(standing, equivalence) * record["seconds"] / len(sessions) / 60
    return row | {
        "ratio": standing.ratio,
        "ci_low": standing.low,
        "ci_high": standing.high,
        "degrees": standing.degrees,
        "equivalence": equivalence,
        "lowest_session": min(standing.sessions),
        "highest_session": max(standing.sessions),
        # Turns with more minutes start anew.
        "decisive_minutes": math.ceil(record["turns"]["minutes"] + more_minutes),
    }
