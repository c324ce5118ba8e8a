"""Splits the time of training steps into an overhead and a time per image, per device."""

import itertools
from pathlib import Path

import pandas as pd

from trainoff.analyze import comparable, overhead, tables
from trainoff.workflow.script import logged


def main(rates: str | Path, comparison: str | Path, devices: list[str], outputs: tables.Outputs) -> None:
    """Writes the tables "overhead" and "crossings". rates, comparison: the tables (parquet). devices: names in order."""
    measured, apart = pd.read_parquet(rates), comparable.apart(pd.read_parquet(comparison))
    fitted = overhead.table(measured)
    crossings = overhead.crossings(fitted, list(itertools.combinations(devices, 2)), measured, apart)
    tables.write(fitted, *outputs["overhead"])
    tables.write(crossings, *outputs["crossings"])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.rates,
            snakemake.input.comparison,
            snakemake.params.devices,
            tables.files(snakemake.output, "overhead", "crossings"),
        )
