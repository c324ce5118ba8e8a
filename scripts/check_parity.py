"""Compares every device with the reference: outputs, first losses and final accuracy, each with a tolerance and a verdict."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from trainoff.analyze import parity, tables
from trainoff.exchange import merging
from trainoff.workflow.script import logged


def main(
    probes: Iterable[str | Path],
    runs: str | Path,
    reference: str,
    csv: str | Path,
    parquet: str | Path,
    imported: str | Path | None = None,
) -> None:
    """Writes the parity table. probes: paths of probe.json files; runs: path of the table of runs (parquet).

    imported: folder of records of other machines, None without any. Their devices are compared with the reference of their own
    machine, and that with `reference`.
    """
    machines = {reference: [parity.read(path) for path in probes]}
    for entry in merging.index_of(imported)["probes"] if imported else []:
        record = parity.read(entry["path"])
        record["run"]["device"] = entry["device"]
        machines.setdefault(entry["reference"], []).append(record)
    tables.write(parity.table_of_machines(machines, pd.read_parquet(runs), reference), csv, parquet)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.probes,
            snakemake.input.runs,
            snakemake.params.reference,
            snakemake.output.parity,
            snakemake.output.parity_parquet,
            imported=snakemake.input.imported or None,
        )
