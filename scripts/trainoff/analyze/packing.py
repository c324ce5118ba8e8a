"""Several trainings at once on one device: their total throughput, and how long a whole sweep takes this way.

A pack is k runs of one configuration that start together, wait after the warm-up until all are ready, and then train at the
same time.
"""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from trainoff.analyze import cost
from trainoff.analyze.reasons import reason
from trainoff.configurations import AXES
from trainoff.errors import UserError, one_line

COLUMNS = {
    **dict.fromkeys(AXES, "object"),
    "device": "str",
    "at_once": "int64",
    "status": "str",
    "reason": "str",
    "images_per_second": "float64",
    "run_images_per_second": "float64",
    "gain": "float64",
    "slowdown": "float64",
    "seconds": "float64",
    "seconds_per_run": "float64",
    "memory_bytes": "float64",
    "device_memory_bytes": "float64",
    "mps": "object",
    "joules": "float64",
    "joules_per_run": "float64",
}
MAKESPAN_COLUMNS = {
    "device": "str",
    "configurations": "int64",
    "runs": "int64",
    "one_at_a_time_seconds": "float64",
    "packed_seconds": "float64",
    "ratio": "float64",
    "at_once": "str",
    "one_at_a_time_joules": "float64",
    "packed_joules": "float64",
    "currency": "str",
    "one_at_a_time_rented": "float64",
    "packed_rented": "float64",
    "one_at_a_time_owned": "float64",
    "packed_owned": "float64",
    "reason": "str",
}


def read(path: str | Path) -> dict[str, Any]:
    """The record that scripts/train_together.py wrote to `path`."""
    try:
        record = json.loads(Path(path).read_bytes())
        record["run"]["device"], record["at_once"], record["status"], record["images_per_second"], record["seconds"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a pack's record ({type(error).__name__}: {one_line(error)}). Expected JSON as a pack writes it; delete "
            "the file to measure it again."
        ) from error
    return record


def table(packs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per configuration, device and concurrency, with the columns COLUMNS. packs: records as `read` returns them."""
    alone = {_cell(pack): pack["images_per_second"] for pack in packs if pack["at_once"] == 1}
    rows = []
    for pack in sorted(packs, key=lambda pack: (*map(str, _cell(pack)), pack["at_once"])):
        number, total, single = pack["at_once"], pack["images_per_second"], alone.get(_cell(pack))
        known = total is not None and single is not None
        ended_well = pack["status"] == "ok"
        rows.append(
            {key: pack["run"][key] for key in (*AXES, "device")}
            | {
                "at_once": number,
                "status": pack["status"],
                "reason": pack["reason"],
                "images_per_second": total,
                "run_images_per_second": None if total is None else total / number,
                "gain": total / single if known else None,
                "slowdown": single / (total / number) if known else None,
                "seconds": pack["seconds"] if ended_well else None,
                "seconds_per_run": pack["seconds"] / number if ended_well else None,
                "memory_bytes": pack["memory_bytes"],
                "device_memory_bytes": pack["device_memory_bytes"],
                "mps": pack["mps"],
                "joules": pack["joules"],
                "joules_per_run": None if pack["joules"] is None or not ended_well else pack["joules"] / number,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def makespans(packs: pd.DataFrame, replicates: int, assumptions: dict[str, Any]) -> pd.DataFrame:
    """How long the whole sweep takes on each device, one run at a time and packed; columns MAKESPAN_COLUMNS.

    packs: of `table`. replicates: runs of every configuration. assumptions: of trainoff.analyze.cost.assumptions. Packed, each
    configuration runs at the concurrency with the least time per run, as if its last pack were full too.
    """
    rows = []
    for device, device_packs in packs.groupby("device", sort=True):
        cells = [cell for _, cell in device_packs.groupby(list(AXES), sort=True)]
        measured = [(_best(cell[cell["at_once"] == 1]), _best(cell)) for cell in cells]
        measured = [pair for pair in measured if pair[0] is not None]
        missing = len(cells) - len(measured)
        alone, packed = (
            _whole_sweep([pair[side] for pair in measured], replicates, device, assumptions) for side in (0, 1)
        )
        rows.append(
            {
                "device": device,
                "configurations": len(measured),
                "runs": len(measured) * replicates,
                "ratio": alone["seconds"] / packed["seconds"] if measured else None,
                "at_once": ", ".join(map(str, sorted({int(best["at_once"]) for _, best in measured}))),
                "currency": assumptions["currency"],
                "reason": reason("untrained_alone", missing=missing, total=len(cells)) if missing else "",
            }
            | {f"one_at_a_time_{key}": value for key, value in alone.items()}
            | {f"packed_{key}": value for key, value in packed.items()}
        )
    return pd.DataFrame(rows, columns=list(MAKESPAN_COLUMNS)).astype(MAKESPAN_COLUMNS)


def _whole_sweep(packs, replicates, device, assumptions):
    """{"seconds", "joules", "rented", "owned"} of all runs; None where unknown. packs: one row per configuration."""
    if not packs:
        return dict.fromkeys(("seconds", "joules", "rented", "owned"))
    seconds, joules = (
        math.fsum(pack[f"{what}_per_run"] for pack in packs) * replicates for what in ("seconds", "joules")
    )
    joules = None if math.isnan(joules) else joules
    prices = assumptions["devices"].get(device) or {"purchase": None, "rental": None}
    per_kwh = (assumptions["electricity"] or {}).get("per_kwh")
    return {
        "seconds": seconds,
        "joules": joules,
        "rented": cost.rented(seconds, prices["rental"], whole=True),
        "owned": cost.owned(seconds, joules, prices["purchase"], per_kwh),
    }


def _best(cell):
    """The row with the minimum time per run; None if no pack ended well."""
    measured = cell.dropna(subset="seconds_per_run")
    return None if measured.empty else measured.sort_values(["seconds_per_run", "at_once"]).iloc[0]


def _cell(pack):
    return tuple(pack["run"][key] for key in ("device", *AXES))
