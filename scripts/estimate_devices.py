"""Estimates training speeds of devices that were not measured, and what a training takes on each device."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from trainoff.analyze import comparable, estimates, layer_counts, prediction, published, tables
from trainoff.workflow.script import logged


def main(
    rates: str | Path,
    runs: str | Path,
    comparison: str | Path,
    catalog: dict[str, str],
    wanted: list[str],
    labels: dict[str, str],
    prices: dict[str, dict[str, Any] | None],
    assumptions: dict[str, Any],
    training: dict[str, int] | None,
    outputs: tables.Outputs,
) -> None:
    """Writes both tables to `outputs`, {"estimates" | "training_runs": (csv path, parquet path)}.

    rates, runs, comparison: paths of parquet files. catalog: paths of published, hardware, counts and timings. For the other
    parameters see trainoff.analyze.estimates.
    """
    rates, runs = pd.read_parquet(rates), pd.read_parquet(runs)
    with open(catalog["hardware"], encoding="utf-8") as file:
        hardware = yaml.safe_load(file)
    table = estimates.estimate(
        rates,
        runs,
        wanted,
        hardware,
        layer_counts.read(catalog["counts"]),
        published.read(catalog["published"]),
        prediction.as_observations(pd.read_csv(catalog["timings"])),
    )
    tables.write(table, *outputs["estimates"])
    apart = comparable.apart(pd.read_parquet(comparison))
    training_runs = estimates.training_runs(
        table, rates, labels, prices, assumptions, training or estimates.USUAL_TRAINING, apart
    )
    tables.write(training_runs, *outputs["training_runs"])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.rates,
            snakemake.input.runs,
            snakemake.input.comparison,
            {name: snakemake.input[name] for name in ("published", "hardware", "counts", "timings")},
            snakemake.params.wanted,
            snakemake.params.labels,
            snakemake.params.prices,
            snakemake.params.assumptions,
            snakemake.params.training,
            tables.files(snakemake.output, "estimates", "training_runs"),
        )
