"""What more measuring would decide, and how many epochs a process should train."""

from pathlib import Path

import pandas as pd

from trainoff.analyze import next_measurements, tables
from trainoff.workflow.script import logged


def main(
    comparison: str | Path, rates: str | Path, runs: str | Path, windows: str | Path, outputs: tables.Outputs
) -> None:
    """Writes both tables to outputs, {"next" | "epochs": (csv path, parquet path)}, of tables at the paths given (parquet)."""
    comparison, rates, runs, windows = map(pd.read_parquet, (comparison, rates, runs, windows))
    tables.write(next_measurements.table(comparison, rates, runs), *outputs["next"])
    tables.write(next_measurements.epochs(rates, runs, windows), *outputs["epochs"])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.comparison,
            snakemake.input.rates,
            snakemake.input.runs,
            snakemake.input.windows,
            tables.files(snakemake.output, "next", "epochs"),
        )
