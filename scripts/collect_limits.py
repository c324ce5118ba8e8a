"""Puts what was found about devices' limits into one table."""

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


def table(found: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """One row per device, model and axis of what scripts/find_limit.py wrote: the largest value that trains, and why no more.

    whole_range: even the greatest value tried trains, so the limit lies beyond. peak_memory_bytes: of the process at the
    largest value.
    """
    rows = []
    for one in found:
        run, edge = one["run"], one["at_edge"] or {}
        other = "batch_size" if run["axis"] == "img_dim" else "img_dim"
        at_largest = next((trial for trial in one["tried"] if trial["value"] == one["largest"]), {})
        rows.append(
            {
                "device": run["device"],
                "model": run["model"],
                "axis": run["axis"],
                "fixed": f"{other} {run[other]}",
                "largest": one["largest"],
                "whole_range": one["smallest_failed"] is None,
                "smallest_failed": one["smallest_failed"],
                "status": edge.get("status"),
                "reason": edge.get("message"),
                "trials": len(one["tried"]),
                "peak_memory_bytes": at_largest.get("peak_memory_bytes"),
            }
        )
    counts = ["largest", "smallest_failed", "peak_memory_bytes"]
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(counts, "Int64"))


if __name__ == "__main__":
    with logged(snakemake.log[0]) as terminal:
        found = table([json.loads(Path(path).read_text(encoding="utf-8")) for path in snakemake.input.limits])
        write_text(snakemake.output.limits, tables.as_csv(found))
        terminal.write(f"{found.to_string(index=False)}\n")
