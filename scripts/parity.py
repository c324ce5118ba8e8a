"""Holds every device to the reference: outputs, first losses, final accuracy, each with its tolerance and verdict."""

import pandas as pd

from trainoff import parity, tables
from trainoff.script import logged


def main(probes, runs, reference, csv, parquet):
    """Writes the parity table. probes: paths of probe.json files; runs: path of the table of runs (parquet)."""
    found = [parity.read(path) for path in probes]
    tables.write(parity.table(found, pd.read_parquet(runs), reference), csv, parquet)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.probes,
            snakemake.input.runs,
            snakemake.params.reference,
            snakemake.output.parity,
            snakemake.output.parity_parquet,
        )
