"""The process of one of several trainings at once on one device: an ordinary training that waits for the others.

Run by trainoff.supervise.launch as `python -m trainoff.measure.packed SPEC`, like trainoff.measure.child. `run` has one key
more, `barrier`: the folder in which the trainings meet, and this one's place among them. Every event carries `at`, the
machine's monotonic clock in seconds, which all processes share.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainoff.measure import child
from trainoff.shapes import Files, Run

POLL_SECONDS = 0.01
GO = "go"


def ready_file(folder: str | Path, place: int) -> Path:
    """What the training in that place leaves in the folder when it waits."""
    return Path(folder, f"ready-{place}")


def train(run: Run, files: Files, backend: Any, report: Callable[[dict[str, Any]], None]) -> None:
    """Trains as trainoff.measure.protocol.train does, but waits after the warm-up until all may go on, off the clock."""
    from trainoff.measure import protocol

    barrier = run["barrier"]

    def report_and_wait(event):
        report(event | {"at": time.monotonic()})
        if ends_warm_up(event, run["warm_up_epochs"]):
            wait(**barrier)

    protocol.train(run, files, backend, report_and_wait)


def ends_warm_up(event: dict[str, Any], warm_up_epochs: int) -> bool:
    """Whether what follows this event counts."""
    if event["event"] == "window":
        return event["window"]["epoch"] == warm_up_epochs
    return event["event"] == "first_step" and not warm_up_epochs


def wait(folder: str | Path, place: int) -> None:
    """Says that this training is ready and returns when all may go on. Should nobody ever say so, the supervisor ends it."""
    ready_file(folder, place).touch()
    while not Path(folder, GO).exists():
        time.sleep(POLL_SECONDS)


def _load():
    from trainoff.measure import protocol  # noqa: F401 (imports Keras, which belongs to the import of the framework)

    return train


if __name__ == "__main__":
    child.main(sys.argv[1], _load)
