"""Trains one configuration on one device in a child process and records what happened, whatever that was."""

import fcntl
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from trainoff import child, conditions, devices, progress, records
from trainoff.files import sha256_of_all
from trainoff.launch import device_facts, launch
from trainoff.script import logged
from trainoff.windows import summarise

PROVENANCE_FACTS = ["dataset", "dataset_sha256", "images_sha256", "weights", "weights_sha256"]


def train(
    run,
    files,
    image_facts,
    weight_facts,
    code,
    metrics,
    log,
    timeout_minutes,
    wait_for_quiet_minutes,
    sequence_file,
    say,
):
    """Runs one training to its end and writes its metrics record.

    run: dict of built-in values, all that the training depends on (see `run_of` in rules/common.smk).
    files: paths by name, as trainoff.protocol.train takes them. image_facts, weight_facts: JSON files beside them.
    code: paths of the modules that decide what is measured. metrics: path to write. log: path for the child's output.
    wait_for_quiet_minutes: how long to wait, at most, while other programs keep the machine busy.
    say: called with one line of text for the person who waits.
    """
    started_at = _now()
    sequence = _next_in_sequence(sequence_file)
    facts = json.loads(Path(image_facts).read_text()) | json.loads(Path(weight_facts).read_text())
    run = run | {"classes": len(facts["class_names"])}
    load, waited = conditions.wait_for_quiet(60 * wait_for_quiet_minutes, say)
    before = conditions.read()
    outcome = launch(child.__name__, run, files, log, timeout_minutes, say)
    surroundings = conditions.describe(load, waited, before, conditions.read())
    record = _record(run, outcome)
    record["conditions"] = surroundings
    record["provenance"] = {
        "started_at": started_at,
        "finished_at": _now(),
        "sequence": sequence,
        "code_sha256": sha256_of_all(code),
        "config_sha256": hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest(),
        **{key: facts[key] for key in PROVENANCE_FACTS},
    }
    records.write(metrics, record)
    return record


def _record(run, outcome):
    journal = outcome.journal
    windows = journal.windows
    imported = journal.last("imported")
    return {
        "schema_version": records.SCHEMA_VERSION,
        "protocol_version": records.PROTOCOL_VERSION,
        "run": {key: run["device"]["name"] if key == "device" else run[key] for key in records.RUN_KEYS},
        "status": outcome.status,
        "failure": outcome.failure,
        "cold_start": {
            "import_seconds": imported.get("seconds"),
            "build_seconds": journal.last("built").get("seconds"),
            "first_step_seconds": journal.last("first_step").get("seconds"),
        },
        "windows": windows,
        "throughput": summarise(windows),
        "training": {
            "converged": None,
            "epochs": len(windows),
            "final_val_accuracy": windows[-1]["val_accuracy"] if windows else None,
            "attempts": [{"learning_rate": run["learning_rate"], "outcome": outcome.status}],
        },
        "energy": None,
        "device": device_facts(run["device"], imported),
        "host": devices.describe_host(),
        "software": imported.get("software", {"python": None}),
    }


def _next_in_sequence(path):
    """Counts the runs that a results folder has started; the rank of this one, from 1."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read().strip()
        rank = int(text) + 1 if text.isdigit() else 1
        file.seek(0)
        file.truncate()
        file.write(f"{rank}\n")
    return rank


def _now():
    return datetime.now(UTC).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    with logged(snakemake.log[0]) as terminal:
        _progress = progress.Progress(snakemake.params.progress_file, snakemake.output.metrics, terminal)
        _progress.begin(snakemake.params.run)
        _progress.end(
            train(
                run=snakemake.params.run,
                files={
                    name: str(Path(snakemake.input[name]).resolve())
                    for name in ["train_images", "train_labels", "validation_images", "validation_labels", "weights"]
                },
                image_facts=snakemake.input.image_facts,
                weight_facts=snakemake.input.weight_facts,
                code=snakemake.input.code,
                metrics=snakemake.output.metrics,
                log=snakemake.log[0],
                timeout_minutes=snakemake.resources.timeout_minutes,
                wait_for_quiet_minutes=snakemake.resources.wait_for_quiet_minutes,
                sequence_file=snakemake.params.sequence_file,
                say=_progress.say,
            )
        )
