"""Collects the metrics of all runs in tables: one row per run, per window, and per reading of the hardware."""

from collections.abc import Callable, Iterable
from pathlib import Path

from trainoff.analyze import readings, tables
from trainoff.exchange import bundles, merging
from trainoff.files import whole
from trainoff.shapes import Record
from trainoff.workflow import validity
from trainoff.workflow.script import logged


def main(
    metrics: Iterable[str | Path],
    runs_csv: str | Path,
    runs_parquet: str | Path,
    windows_csv: str | Path,
    windows_parquet: str | Path,
    imported: str | Path | None = None,
    origin_file: str | Path | None = None,
    require: Callable[[int, str, Record], None] | None = None,
    readings_parquet: str | Path | None = None,
) -> None:
    """Reads the metrics files at the paths `metrics` and writes the tables, in the order of the runs' keys.

    require: called with the position, path and record of each, raises UserError for a run that is not wanted. imported: folder
    of records of other machines, as trainoff.exchange.merging.unpack writes it, None without any. origin_file: holds the random
    ID of this checkout, which bundles use.
    """
    entries = tables.read_all(metrics, require)
    if imported:
        entries = merging.combine(entries, imported, bundles.origin_of(origin_file), tables.read)
    tables.write(tables.run_table(entries, Path(runs_csv).parents[1]), runs_csv, runs_parquet)
    tables.write(tables.window_table(entries), windows_csv, windows_parquet)
    if readings_parquet:
        with whole(readings_parquet) as temporary:
            readings.table(entries).to_parquet(temporary, index=False)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.metrics,
            snakemake.output.runs,
            snakemake.output.runs_parquet,
            snakemake.output.windows,
            snakemake.output.windows_parquet,
            imported=snakemake.input.imported or None,
            origin_file=snakemake.params.origin_file,
            require=validity.requirement(snakemake.params.wanted),
            readings_parquet=snakemake.output.readings_parquet,
        )
