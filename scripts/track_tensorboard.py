"""Writes finished runs as TensorBoard event files: curves by epoch, and settings and results for its HParams view."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from trainoff.exchange import tracking
from trainoff.files import whole
from trainoff.shapes import Record
from trainoff.workflow.script import logged

# TensorBoard reads files with this word in their name.
FILE = "events.out.tfevents.trainoff"
# HParams needs these under the same name in every run.
RESULTS = ("images_per_second", "final_val_accuracy")


def main(metrics: Iterable[str | Path], output: str | Path, terminal: TextIO) -> None:
    """Writes the outcome to `output`, and one event file per run into the folder with that name beside it."""
    folder = Path(output).with_suffix("")
    tracking.report("TensorBoard", metrics, output, lambda record: write(record, folder), terminal)


def write(record: Record, folder: str | Path) -> str:
    """Writes the event file of a run; returns its path. The same record gives the same bytes."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    path = Path(folder, record["run"]["device"], f"{tracking.name(record).replace(' · ', '_')}", FILE)
    with whole(path) as temporary, open(temporary, "wb") as file:
        writer = RecordWriter(file)
        for event in events(record):
            writer.write(event.SerializeToString(deterministic=True))
    return str(path)


def events(record: Record) -> Iterator[Any]:
    """The run as TensorBoard events; epochs get the time at which the run ended, since they have none of their own."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    start, end = (_seconds(record["provenance"][key]) for key in ("started_at", "finished_at"))
    yield Event(wall_time=start, file_version="brain.Event:2")
    settings = {key: value for key, value in tracking.settings(record).items() if key in record["run"]}
    yield Event(
        wall_time=start, summary=summary_v2.hparams_pb(settings, tracking.identity(record), start_time_secs=start)
    )
    for epoch, values in tracking.epochs(record):
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        yield Event(wall_time=end, step=epoch, summary=Summary(value=scalars))
    results = tracking.summary(record)
    scalars = [
        Summary.Value(tag=tag if tag not in RESULTS else f"result/{tag}", simple_value=value)
        for tag, value in results.items()
    ]
    yield Event(wall_time=end, summary=Summary(value=scalars))
    status = "STATUS_SUCCESS" if record["status"] == "ok" else "STATUS_FAILURE"
    session_end = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=end))
    yield Event(wall_time=end, summary=summary_v2._summary_pb(SESSION_END_INFO_TAG, session_end))


def _seconds(time):
    return datetime.fromisoformat(time).timestamp()


if __name__ == "__main__":
    with logged(snakemake.log[0]) as terminal:
        main(snakemake.input.metrics, snakemake.output.written, terminal)
