"""The report: one self-contained HTML page, made of the tables and figures alone."""

import json
from pathlib import Path

import pandas as pd

from trainoff.analyze import efficiency
from trainoff.analyze import published as others
from trainoff.files import write_text
from trainoff.report import page
from trainoff.report.gallery import FIGURES
from trainoff.workflow.script import logged


def main(tables, figures, title, devices, settings, parts, published, output, assumptions, pair, config_file=None):
    """Writes the page to `output`.

    tables: paths by name (Parquet). figures: {name: {"svg", "narrow" or None, "facts"}} of paths. devices: dicts with name,
    label and accelerator in the order of the experiment. settings: the experiment's keys. parts: folder of the template, style
    and scripts. published: path of the catalogue. assumptions: of trainoff.analyze.cost. pair: {"compare", "baseline"}.
    config_file: see trainoff.report.estimates.next_steps.
    """
    frames = {name: pd.read_parquet(path) for name, path in tables.items()}
    # What wall meters and declared powers say of a run stands in a table of its own.
    frames["runs"] = efficiency.with_energy(frames["runs"], frames["energy"])
    drawn = {name: _read(paths) for name, paths in figures.items()}
    text = page.render(
        frames,
        drawn,
        title,
        devices,
        settings,
        Path(output).parent,
        parts,
        assumptions,
        pair,
        others.read(published),
        config_file,
    )
    write_text(output, text)


def _read(paths):
    texts = {part: Path(path).read_text(encoding="utf-8") for part, path in paths.items() if path}
    return texts | {"facts": json.loads(texts["facts"])}


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        inputs = snakemake.input
        main(
            # A table that the experiment has no use for is an empty list.
            tables={name: inputs[f"table_{name}"] for name in snakemake.params.tables if inputs[f"table_{name}"]},
            figures={
                name: {part: inputs.get(f"{part}_{name}") for part in ("svg", "narrow", "facts")}
                for name in FIGURES
                if inputs.get(f"svg_{name}")
            },
            title=snakemake.params.title,
            devices=snakemake.params.devices,
            settings=snakemake.params.settings,
            parts=Path(inputs.parts[0]).parent,
            published=inputs.published,
            output=snakemake.output.page,
            assumptions=snakemake.params.assumptions,
            pair=snakemake.params.pair,
            config_file=snakemake.params.config_file,
        )
