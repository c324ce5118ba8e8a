"""Trains one configuration on one device in a child process and records what happened, whatever that was."""

import contextlib
import fcntl
import hashlib
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from trainoff import child, conditions, devices, progress, records, supervise
from trainoff.files import sha256_of_all
from trainoff.script import logged
from trainoff.windows import summarise

SCRIPTS = Path(child.__file__).parents[1]
THREAD_VARIABLES = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"]
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
    with tempfile.TemporaryDirectory(prefix="trainoff-") as folder:
        journal = Journal(Path(folder) / "journal.jsonl", say)
        load, waited = conditions.wait_for_quiet(60 * wait_for_quiet_minutes, say)
        before = conditions.read()
        try:
            devices.require(run["device"]["accelerator"], run["device"]["index"])
        except devices.DeviceUnavailable as error:
            ending, status, message = None, "unavailable", str(error)
        else:
            ending = _supervise(run, files, journal, log, timeout_minutes, folder)
            status, message = journal.outcome or supervise.status_of(ending, supervise.tail(log))
        surroundings = conditions.describe(load, waited, before, conditions.read())
    record = _record(run, journal, ending, status, message, log)
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


class Journal:
    """What the child has reported so far; passes each event on to `say` in words."""

    def __init__(self, path, say):
        self.path = path
        self.say = say
        self.events = []
        self.offset = 0

    def follow(self):
        """Takes in the lines that the child has finished since the last call."""
        with contextlib.suppress(FileNotFoundError), open(self.path, "rb") as file:
            file.seek(self.offset)
            while (line := file.readline()).endswith(b"\n"):
                self.offset += len(line)
                event = json.loads(line)
                self.events.append(event)
                words = progress.event_words(event)
                if words:
                    self.say(words)

    def last(self, name):
        """The latest event of that name, or {}."""
        return next((event for event in reversed(self.events) if event["event"] == name), {})

    @property
    def windows(self):
        return [event["window"] for event in self.events if event["event"] == "window"]

    @property
    def outcome(self):
        """(status, message) as the child itself states it, or None if it ended without a word."""
        if self.last("done"):
            return "ok", None
        failed = self.last("failed")
        return (failed["status"], failed["message"]) if failed else None


def _supervise(run, files, journal, log, timeout_minutes, folder):
    spec = Path(folder) / "spec.json"
    spec.write_text(json.dumps({"run": run, "files": files, "journal": str(journal.path)}))
    threads = str(run["device"]["threads"] or devices.usable_threads())
    environment = os.environ | {
        "PYTHONPATH": str(SCRIPTS),
        "KERAS_BACKEND": run["device"]["backend"],
        "TF_CPP_MIN_LOG_LEVEL": "1",
        # Snakemake sets these to the job's cores; how many threads a device computes with is the device's matter.
        **dict.fromkeys(THREAD_VARIABLES, threads),
    }
    with open(log, "ab") as output:
        return supervise.run_child(
            [sys.executable, "-m", "trainoff.child", str(spec)],
            log=output,
            timeout_seconds=60 * timeout_minutes,
            environment=environment,
            watch=journal.follow,
        )


def _record(run, journal, ending, status, message, log):
    windows = journal.windows
    imported = journal.last("imported")
    built = journal.last("built")
    return {
        "schema_version": records.SCHEMA_VERSION,
        "protocol_version": records.PROTOCOL_VERSION,
        "run": {key: run["device"]["name"] if key == "device" else run[key] for key in records.RUN_KEYS},
        "status": status,
        "failure": None
        if status == "ok"
        else {
            "signal": ending and ending.signal,
            "exit_code": ending and ending.exit_code,
            "message": message,
            "log_tail": supervise.tail(log) if ending else [],
        },
        "cold_start": {
            "import_seconds": imported.get("seconds"),
            "build_seconds": built.get("seconds"),
            "first_step_seconds": journal.last("first_step").get("seconds"),
        },
        "windows": windows,
        "throughput": summarise(windows),
        "training": {
            "converged": None,
            "epochs": len(windows),
            "final_val_accuracy": windows[-1]["val_accuracy"] if windows else None,
            "attempts": [{"learning_rate": run["learning_rate"], "outcome": status}],
        },
        "energy": None,
        "device": _device_facts(run["device"], imported),
        "host": devices.describe_host(),
        "software": imported.get("software", {"python": None}),
    }


def _device_facts(device, imported):
    try:
        facts = devices.describe(device["accelerator"], device["index"])
    except LookupError:  # the device is not there: nothing is known of it
        facts = {"name": None, "memory_bytes": None, "cores": None, "driver": None}
    threads = device["threads"] or devices.usable_threads() if device["accelerator"] == "cpu" else None
    return facts | {
        "backend": device["backend"],
        "accelerator": device["accelerator"],
        "index": device["index"],
        "threads": threads,
        **imported.get("device", {}),
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
    return datetime.now(UTC).isoformat(timespec="seconds")


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
