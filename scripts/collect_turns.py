"""Collects the records of devices that took turns in a table: one row per configuration and pair."""

from collections.abc import Iterable
from pathlib import Path

from trainoff.analyze import tables, turns
from trainoff.workflow.script import logged


def main(
    paths: Iterable[str | Path], equivalence: float, devices: list[str], outputs: tuple[str | Path, str | Path]
) -> None:
    """Writes the table of the records at `paths` to `outputs` (csv path, parquet path).

    equivalence: 0.05 for ±5 %. devices: names in the order of the comparison; of a pair, the first is the baseline.
    """
    tables.write(turns.table([turns.in_order(turns.read(path), devices) for path in paths], equivalence), *outputs)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.turns,
            snakemake.params.equivalence,
            snakemake.params.devices,
            (snakemake.output.turns, snakemake.output.turns_parquet),
        )
