"""Collects the records of packs in tables: throughput by concurrency, and the time of the whole sweep, one by one and packed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainoff.analyze import packing, tables
from trainoff.workflow.script import logged


def main(
    packs: Iterable[str | Path],
    replicates: int,
    assumptions: dict[str, Any],
    packing_outputs: tuple[str | Path, str | Path],
    makespan_outputs: tuple[str | Path, str | Path],
) -> None:
    """Writes both tables of the records at the paths `packs`, each to (csv path, parquet path).

    replicates: runs of every configuration. assumptions: of trainoff.analyze.cost.assumptions.
    """
    table = packing.table([packing.read(path) for path in packs])
    tables.write(table, *packing_outputs)
    tables.write(packing.makespans(table, replicates, assumptions), *makespan_outputs)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.packs,
            snakemake.params.replicates,
            snakemake.params.assumptions,
            (snakemake.output.packing, snakemake.output.packing_parquet),
            (snakemake.output.makespan, snakemake.output.makespan_parquet),
        )
