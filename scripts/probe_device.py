"""Computes outputs and first losses of one model on one device in a child process and records the outcome."""

from typing import Any

from trainoff.measure import probing
from trainoff.shapes import Run
from trainoff.supervise.job import Job, of_rule
from trainoff.supervise.launch import device_facts, software_facts

SCHEMA_VERSION = 1
# The inputs that determine the numbers, apart from the device.
INPUT_FACTS = ["dataset_sha256", "images_sha256", "weights_sha256"]


def probe(job: Job, run: Run) -> dict[str, Any]:
    """Probes one device and writes the record, whatever happens; returns it.

    job: trainoff.supervise.job.Job. run: in built-in types (see `probe_of` in rules/finished.smk).
    """
    run = job.with_classes(run)
    job.say(f"probing whether {run['device']['name']} computes {run['model']} as the others do ({run['precision']})")
    outcome = job.ended() or job.launch(probing.__name__, run)
    imported = outcome.journal.last("imported")
    record = {
        "schema_version": SCHEMA_VERSION,
        "run": run | {"device": run["device"]["name"]},
        "status": outcome.status,
        "failure": outcome.failure,
        "logits": outcome.journal.last("outputs").get("logits"),
        "losses": outcome.journal.last("losses").get("losses"),
        "device": device_facts(run["device"], imported),
        "software": software_facts(imported),
        "inputs": {key: job.facts[key] for key in INPUT_FACTS},
    }
    job.write(record)
    if outcome.failure:
        job.say_failure(outcome.status, outcome.message)
    return record


if __name__ == "__main__":
    with of_rule(snakemake, snakemake.output.probe) as _job:
        probe(_job, snakemake.params.run)
