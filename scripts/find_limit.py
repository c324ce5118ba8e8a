"""Finds the largest value of one axis at which a device trains a model, by bisection over supervised trials."""

from collections.abc import Callable
from typing import Any

from trainoff import records
from trainoff.measure import limiting
from trainoff.shapes import Run
from trainoff.supervise import conditions
from trainoff.supervise.job import Job, of_rule
from trainoff.supervise.launch import device_facts, launch, software_facts

SCHEMA_VERSION = 1


def limit(job: Job, run: Run) -> dict[str, Any]:
    """Searches and writes the record, whatever happens in the trials; returns it.

    job: trainoff.supervise.job.Job. run: see plan.limit_trials.
    """
    imported = {}

    def attempt(value):
        before = conditions.swapped_bytes()
        # Not job.launch: a trial that SLURM ends together with the job is not the job's result.
        outcome = launch(
            limiting.__name__, run | {run["axis"]: value}, job.files, job.log, job.timeout_minutes, lambda words: None
        )
        imported.update(outcome.journal.last("imported"))
        trained = outcome.journal.last("trained")
        swapped = conditions.swapped_between(before, conditions.swapped_bytes())
        status, message = judged(outcome.status, outcome.message, swapped)
        job.say(f"{run['device']['name']}, {run['model']}: {run['axis']} {value}: {status}")
        return {
            "value": value,
            "status": status,
            "message": message,
            "swapped_bytes": swapped,
            "seconds": trained.get("seconds"),
            "peak_memory_bytes": trained.get("peak_memory_bytes"),
        }

    record = {
        "schema_version": SCHEMA_VERSION,
        "run": {key: value for key, value in run.items() if key != "values"} | {"device": run["device"]["name"]},
        **search(run["values"], attempt),
    }
    record |= {"device": device_facts(run["device"], imported), "software": software_facts(imported)}
    job.write(record)
    return record


def judged(status: str, message: str | None, swapped_bytes: int | None) -> tuple[str, str | None]:
    """(status, message) of a trial: a training that swaps is beyond the limit, since it is many times slower."""
    if status == "ok" and records.is_swapping(swapped_bytes):
        return "swapped", f"It trained, but swapped {swapped_bytes / 1e9:.1f} GB between memory and disk."
    return status, message


def search(values: list[int], attempt: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """{largest, smallest_failed, at_edge, tried}: where among the ascending `values` the trials begin to fail.

    attempt: tries a value, returns {"value", "status", …}; "ok" means that it trains. The ends are tried first, so a missing
    device costs one trial. largest: None if not even the minimum trains; smallest_failed and at_edge (its trial): None if even
    the maximum trains. All values below one that trains are assumed to train.
    """
    tried = []

    def trains(value):
        tried.append(attempt(value))
        return tried[-1]["status"] == "ok"

    if not trains(values[0]):
        largest, smallest_failed = None, values[0]
    elif len(values) == 1 or trains(values[-1]):
        largest, smallest_failed = values[-1], None
    else:
        low, high = 0, len(values) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if trains(values[middle]) else (low, middle)
        largest, smallest_failed = values[low], values[high]
    at_edge = next((trial for trial in tried if trial["value"] == smallest_failed), None)
    return {"largest": largest, "smallest_failed": smallest_failed, "at_edge": at_edge, "tried": tried}


if __name__ == "__main__":
    with of_rule(snakemake, snakemake.output.limit) as _job:
        limit(_job, snakemake.params.run)
