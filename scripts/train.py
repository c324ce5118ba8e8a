"""Trains one configuration on one device in a child process and records the outcome, whatever it is."""

import dataclasses
import fcntl
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trainoff import convergence, energy, records, series
from trainoff.measure import child
from trainoff.shapes import Record, Run
from trainoff.supervise import conditions, idling, progress, supervise
from trainoff.supervise.job import Job, of_rule
from trainoff.supervise.launch import device_facts, host_facts, says_no_speed, software_facts
from trainoff.supervise.prepared import check_prepared
from trainoff.supervise.stops import ATTEMPTS_IF_STOPPED
from trainoff.windows import summarize
from trainoff.workflow import keeping, validity

PROVENANCE_FACTS = ["dataset", "dataset_sha256", "images_sha256", "weights", "weights_sha256"]


def train(
    job: Job,
    run: Run,
    identity: dict[str, Any],
    wait_for_quiet_minutes: float,
    idle_seconds: float,
    sequence_file: str | Path,
) -> Record:
    """Runs one training to its end and writes its metrics record.

    job: trainoff.supervise.job.Job. run: all settings of the training in built-in types (see `run_of` in rules/finished.smk).
    identity: everything that identifies the run, apart from its axes (see trainoff.workflow.validity).
    wait_for_quiet_minutes: the maximum time to wait while other programs keep the machine busy.
    idle_seconds: how long idle power is measured, once per session and only on a device with a meter.
    sequence_file: path of the counter of runs started in the results folder.
    Raises UserError when prepared images or weights have changed since they were written.
    """
    started_at, started = datetime.now(UTC), time.monotonic()
    # The load is sampled while the prepared files are read.
    first_reading = conditions.read()
    facts = job.facts
    check_prepared(job.files, facts)
    sequence = _next_in_sequence(sequence_file)
    run = job.with_classes(run)
    chance = convergence.chance_of(facts["class_counts"])
    load, waited = conditions.wait_for_quiet(60 * wait_for_quiet_minutes, job.say, first_reading)
    idle = idling.of_session(Path(sequence_file).parent / ".idle", run["device"], idle_seconds, job.log, job.say)
    before = conditions.read()

    def attempt(learning_rate):
        return job.launch(child.__name__, run | {"learning_rate": learning_rate})

    earlier = job.ended()
    attempts = [(run["learning_rate"], earlier, None)] if earlier else _attempts(run, attempt, job.say, chance)
    last = attempts[-1][1]
    surroundings = conditions.describe(load, waited, before, conditions.read())
    record = _record(run, attempts, idle)
    record["training"] |= {"classes": run["classes"], "chance_accuracy": chance.accuracy, "chance_loss": chance.loss}
    record["conditions"] = surroundings | {"suspended_seconds": last.suspended_seconds}
    record["provenance"] = {
        "started_at": started_at.isoformat(timespec="milliseconds"),
        # From the monotonic clock, so that no run ends before its start.
        "finished_at": (started_at + timedelta(seconds=time.monotonic() - started)).isoformat(timespec="milliseconds"),
        "sequence": sequence,
        "deterministic": run.get("deterministic", False),
        "code_sha256": identity["code_sha256"],
        "config_sha256": validity.old_config_sha256(run, run["classes"]),
        **{key: facts[key] for key in PROVENANCE_FACTS},
    }
    record["identity"] = validity.of_record(identity, facts, record["software"])
    if last.readings is not None:
        last.readings.write(job.folder / series.OWN, last.journal.epochs)
    else:  # remove those of a replaced record
        (job.folder / series.OWN).unlink(missing_ok=True)
    # Written twice: if Snakemake ends before it registers the record, the next start deletes its output.
    records.write(job.folder / keeping.KEPT, record)
    records.write(job.record, record)
    return record


def train_once(job: Job, run: Run, identity: dict[str, Any], **others: Any) -> Record:
    """The same as `train`, unless a job of an earlier start or an earlier attempt has finished the run meanwhile."""
    supervise.controller()  # raises ControllerGone
    with keeping.one_at_a_time(job.folder):
        record = keeping.finished_meanwhile(job.record, run, identity, job.facts)
        if record is not None:
            records.write(job.record, record)
            return record
        return train(job, run, identity, **others)


def _attempts(run, attempt, notify, chance):
    """[(learning rate, outcome, converged)]: trains once, and again at lower rates as the run's on_divergence allows.

    attempt: trains at a learning rate, returns a launch.Outcome. A training that diverged or did not converge is repeated at a
    lower learning rate, unlike a crash; a training that was stopped in all its counted epochs is repeated at the same rate.
    """
    again = run["on_divergence"] or {"attempts": 0, "reduce_learning_rate": None}
    rate, attempts, lowered, stopped = run["learning_rate"], [], 0, 0
    while True:
        outcome = attempt(rate)
        converged = _converged(outcome, chance)
        attempts.append((rate, outcome, converged))
        if says_no_speed(outcome):
            if stopped == ATTEMPTS_IF_STOPPED - 1:
                notify("stopped again in every epoch that counts: recorded without a speed")
                return attempts
            stopped += 1
            notify(f"stopped for {outcome.suspended_seconds:.0f} s, in every epoch that counts; training again")
            continue
        if converged is not False or lowered >= again["attempts"]:
            return attempts
        lowered += 1
        rate *= again["reduce_learning_rate"]
        notify(f"did not converge; training again at learning rate {rate:g}")


def _converged(outcome, chance):
    """By convergence.RULE; False for a training that diverged, None for one that failed in another way."""
    if outcome.status == "diverged":
        return False
    if outcome.status != "ok":
        return None
    journal = outcome.journal
    return convergence.converged(
        journal.windows,
        journal.last("first_step").get("loss"),
        journal.last("built").get("validation_images"),
        chance,
    )


def _training(attempts):
    """The `training` part of a record."""
    *earlier, (rate, last, converged) = attempts
    windows = last.journal.windows
    return {
        "converged": converged,
        "epochs": len(windows),
        "first_loss": last.journal.last("first_step").get("loss"),
        "validation_images": last.journal.last("built").get("validation_images"),
        "final_val_accuracy": windows[-1]["val_accuracy"] if windows else None,
        "final_val_balanced_accuracy": windows[-1].get("val_balanced_accuracy") if windows else None,
        "attempts": [
            *(
                {"learning_rate": rate, "outcome": _word(outcome, converged), "windows": outcome.journal.windows}
                for rate, outcome, converged in earlier
            ),
            {"learning_rate": rate, "outcome": _word(last, converged)},
        ],
    }


def _word(outcome, converged):
    if says_no_speed(outcome):
        return "suspended"
    return "not_converged" if outcome.status == "ok" and converged is False else outcome.status


def _record(run, attempts, idle):
    outcome = attempts[-1][1]
    journal = outcome.journal
    windows = journal.windows
    imported = journal.last("imported")
    meter = journal.last("meter")
    source, scope = meter.get("source"), meter.get("scope")
    drawn, energy_reason = energy.summarize(windows, source, scope, idling.watts_of(idle, source, scope))
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
        "throughput": summarize(windows),
        "training": _training(attempts),
        "model": journal.last("built").get("model"),
        "memory": {key: journal.last("memory").get(key) for key in ("peak_bytes", "peak_device_bytes")},
        "energy": drawn,
        "energy_reason": energy_reason,
        "device": device_facts(run["device"], imported),
        "host": host_facts(),
        "software": software_facts(imported),
    }


def _next_in_sequence(path):
    """Increments the counter of runs started in a results folder; the number of this run, from 1."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read().strip()
        rank = int(text) + 1 if text.isdigit() else 1
        file.seek(0)
        # Not truncated before: if the disk is full, the number stays.
        file.write(f"{rank}\n")
        file.truncate()
    return rank


if __name__ == "__main__":
    _metrics = snakemake.output.metrics
    _results = Path(snakemake.params.progress_file).parents[1]
    with of_rule(snakemake, _metrics, before=lambda: keeping.supersede(_metrics, _results)) as _job:
        _progress = progress.Progress(snakemake.params.progress_file, _metrics, _job.terminal)
        _progress.begin(snakemake.params.run)
        _record = train_once(
            dataclasses.replace(_job, say=_progress.say),
            snakemake.params.run,
            snakemake.params.identity,
            wait_for_quiet_minutes=snakemake.resources.wait_for_quiet_minutes,
            idle_seconds=snakemake.resources.idle_seconds,
            sequence_file=snakemake.params.sequence_file,
        )
        _progress.end(progress.outcome_words(_record))
