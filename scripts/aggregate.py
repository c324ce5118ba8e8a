"""Gathers the metrics of all runs in two tables: one row per run, one row per window."""

from trainoff import tables
from trainoff.script import logged


def main(metrics, runs_csv, runs_parquet, windows_csv, windows_parquet):
    """Reads the metrics files at the paths `metrics` and writes the tables, in the order of the runs' keys."""
    found = tables.read_all(metrics)
    tables.write(tables.run_table(found), runs_csv, runs_parquet)
    tables.write(tables.window_table(found), windows_csv, windows_parquet)


if __name__ == "__main__":
    snakemake = globals()["snakemake"]
    with logged(snakemake.log[0]):
        main(
            snakemake.input.metrics,
            snakemake.output.runs,
            snakemake.output.runs_parquet,
            snakemake.output.windows,
            snakemake.output.windows_parquet,
        )
