"""Logs finished runs with Weights & Biases, grouped by device; offline unless the experiment says online."""

from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from trainoff.exchange import tracking
from trainoff.shapes import Record
from trainoff.workflow.script import logged


def main(
    metrics: Iterable[str | Path], project: str, entity: str | None, mode: str, output: str | Path, terminal: TextIO
) -> None:
    """Writes the outcome to `output`, and the runs into the folder `wandb` beside it; uploads them in mode "online"."""
    folder = Path(output).parent
    folder.mkdir(parents=True, exist_ok=True)
    tracking.report(
        "Weights & Biases", metrics, output, lambda record: log(record, folder, project, entity, mode), terminal
    )


def log(record: Record, folder: str | Path, project: str, entity: str | None, mode: str) -> str:
    """Logs one run; returns its name. A run that was logged before is not logged again."""
    import wandb

    identity = tracking.identity(record)
    if any(Path(folder, "wandb").glob(f"*run-*-{identity}")):
        return identity
    run = wandb.init(
        project=project,
        entity=entity,
        id=identity,
        name=tracking.name(record),
        group=record["run"]["device"],
        tags=[record["status"]],
        config=tracking.settings(record),
        dir=folder,
        mode=mode,
        reinit="finish_previous",
        # No readings of this machine now: they would not belong to the run.
        settings=wandb.Settings(
            console="off",
            silent=True,
            host="trainoff",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
        ),
    )
    try:
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        for epoch, values in tracking.epochs(record):
            run.log({"epoch": epoch, **values})
        run.summary.update(tracking.summary(record) | {"status": record["status"]})
    finally:
        run.finish(exit_code=0 if record["status"] == "ok" else 1)
    return identity


if __name__ == "__main__":
    with logged(snakemake.log[0]) as terminal:
        main(
            snakemake.input.metrics,
            snakemake.params.project,
            snakemake.params.entity,
            snakemake.params.mode,
            snakemake.output.written,
            terminal,
        )
