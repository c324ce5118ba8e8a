"""The report: one self-contained HTML page, made of the tables and figures alone."""

import json
from collections.abc import Mapping
from pathlib import Path

from trainoff.files import write_text
from trainoff.report import page, study
from trainoff.report.figure_table import FIGURES
from trainoff.workflow.script import logged


def main(
    results: study.Study, figures: Mapping[str, Mapping[str, str | Path | None]], parts: str | Path, output: str | Path
) -> None:
    """Writes the page to `output`.

    results: trainoff.report.study.Study. figures: {name: {"svg", "narrow" or None, "facts"}} of paths. parts: folder of the
    template, style and scripts.
    """
    drawn = {name: _read(paths) for name, paths in figures.items()}
    write_text(output, page.render(results, drawn, Path(output).parent, parts))


def _read(paths):
    texts = {part: Path(path).read_text(encoding="utf-8") for part, path in paths.items() if path}
    return texts | {"facts": json.loads(texts["facts"])}


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        inputs = snakemake.input
        results = study.read(
            # A table that the experiment has no use for is an empty list.
            {name: inputs[f"table_{name}"] for name in snakemake.params.tables},
            inputs.published,
            title=snakemake.params.title,
            devices=snakemake.params.devices,
            assumptions=snakemake.params.assumptions,
            pair=snakemake.params.pair,
            settings=snakemake.params.settings,
            config_file=snakemake.params.config_file,
        )
        figures = {
            name: {part: inputs.get(f"{part}_{name}") for part in ("svg", "narrow", "facts")}
            for name in FIGURES
            if inputs.get(f"svg_{name}")
        }
        main(results, figures, Path(inputs.parts[0]).parent, snakemake.output.page)
