"""Collects the limits of devices in a table."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from trainoff.analyze import tables
from trainoff.files import write_text
from trainoff.workflow.script import logged

COLUMNS = [
    "device",
    "model",
    "axis",
    "fixed",
    "largest",
    "whole_range",
    "smallest_failed",
    "status",
    "reason",
    "trials",
    "peak_memory_bytes",
]


def table(limits: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """One row per device, model and axis: the largest value that trains, and why no larger one does.

    limits: as scripts/find_limit.py writes them. whole_range: whether even the largest value tried trains, so that the limit is
    beyond it. peak_memory_bytes: of the process at the largest value that trains.
    """
    rows = []
    for limit in limits:
        run, edge = limit["run"], limit["at_edge"] or {}
        other = "batch_size" if run["axis"] == "img_dim" else "img_dim"
        at_largest = next((trial for trial in limit["tried"] if trial["value"] == limit["largest"]), {})
        rows.append(
            {
                "device": run["device"],
                "model": run["model"],
                "axis": run["axis"],
                "fixed": f"{other} {run[other]}",
                "largest": limit["largest"],
                "whole_range": limit["smallest_failed"] is None,
                "smallest_failed": limit["smallest_failed"],
                "status": edge.get("status"),
                "reason": edge.get("message"),
                "trials": len(limit["tried"]),
                "peak_memory_bytes": at_largest.get("peak_memory_bytes"),
            }
        )
    counts = ["largest", "smallest_failed", "peak_memory_bytes"]
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(counts, "Int64"))


if __name__ == "__main__":
    with logged(snakemake.log[0]) as terminal:
        frame = table([json.loads(Path(path).read_text(encoding="utf-8")) for path in snakemake.input.limits])
        write_text(snakemake.output.limits, tables.as_csv(frame))
        terminal.write(f"{frame.to_string(index=False)}\n")
