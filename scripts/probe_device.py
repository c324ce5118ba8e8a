"""Lets one device compute outputs and first losses of one model in a child process and records what came of it."""

import json
from pathlib import Path

from trainoff.files import write_text
from trainoff.measure import probing
from trainoff.supervise import slurm, supervise
from trainoff.supervise.launch import device_facts, launch, prepared_files, recovered
from trainoff.workflow.script import logged

SCHEMA_VERSION = 1
# What the numbers follow from besides the device.
INPUT_FACTS = ["dataset_sha256", "images_sha256", "weights_sha256"]


def probe(run, files, image_facts, weight_facts, output, log, timeout_minutes, say, start=1, earlier_log=()):
    """Probes one device and writes the record, whatever happened; returns it.

    run: dict of built-in values (see `probe_of` in rules/parity.smk). files: paths by name, as trainoff.measure.probing.probe
    takes them. image_facts, weight_facts: JSON files beside them. output: path to write. log: path for the child's
    output. say: called with one line of text for the person who waits. start, earlier_log: as scripts/train.py takes them.
    """
    facts = json.loads(Path(image_facts).read_text()) | json.loads(Path(weight_facts).read_text())
    run = run | {"classes": len(facts["class_names"])}
    say(f"probing whether {run['device']['name']} computes {run['model']} as the others do ({run['precision']})")
    folder = Path(output).parent
    ended = slurm.ended(folder, start)
    if ended:
        outcome = recovered(folder / slurm.JOURNAL, *ended, list(earlier_log))
    else:
        outcome = launch(probing.__name__, run, files, log, timeout_minutes, say, slurm.begin(folder))
    imported = outcome.journal.last("imported")
    record = {
        "schema_version": SCHEMA_VERSION,
        "run": run | {"device": run["device"]["name"]},
        "status": outcome.status,
        "failure": outcome.failure,
        "logits": outcome.journal.last("outputs").get("logits"),
        "losses": outcome.journal.last("losses").get("losses"),
        "device": device_facts(run["device"], imported),
        "software": imported.get("software", {"python": None}),
        "inputs": {key: facts[key] for key in INPUT_FACTS},
    }
    write_text(output, json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    if record["failure"]:
        say(f"the probe ended as {record['status']}: {record['failure']['message']}")
    return record


if __name__ == "__main__":
    _earlier_log = supervise.tail(snakemake.log[0])
    with logged(snakemake.log[0]) as terminal:
        probe(
            run=snakemake.params.run,
            files=prepared_files(snakemake.input.image_facts, snakemake.input.weight_facts),
            image_facts=snakemake.input.image_facts,
            weight_facts=snakemake.input.weight_facts,
            output=snakemake.output.probe,
            log=snakemake.log[0],
            timeout_minutes=snakemake.resources.timeout_minutes,
            say=lambda words: terminal.write(f"{words}\n"),
            start=snakemake.resources.start,
            earlier_log=_earlier_log,
        )
