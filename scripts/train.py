"""Trains one configuration on one device in a child process and records what happened, whatever that was."""

import fcntl
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trainoff import convergence, energy, records, series
from trainoff.measure import child
from trainoff.supervise import conditions, idling, progress, slurm, supervise
from trainoff.supervise.launch import device_facts, host_facts, launch, prepared_files, recovered, says_no_speed
from trainoff.supervise.prepared import check_prepared
from trainoff.windows import summarise
from trainoff.workflow import keeping, validity
from trainoff.workflow.script import logged

# How often a run is trained that is stopped (by a signal, or with the machine) in every epoch that counts.
ATTEMPTS_IF_STOPPED = 3
PROVENANCE_FACTS = ["dataset", "dataset_sha256", "images_sha256", "weights", "weights_sha256"]


def train(
    run,
    files,
    image_facts,
    weight_facts,
    identity,
    metrics,
    log,
    timeout_minutes,
    wait_for_quiet_minutes,
    idle_seconds,
    sequence_file,
    say,
    start=1,
    earlier_log=(),
):
    """Runs one training to its end and writes its metrics record.

    run: dict of built-in values, all that the training depends on (see `run_of` in rules/finished.smk).
    files: paths by name, as trainoff.measure.protocol.train takes them. image_facts, weight_facts: JSON files beside them.
    identity: what identifies the run besides its axes (see trainoff.workflow.validity). metrics: path to write.
    log: path for the child's output.
    wait_for_quiet_minutes: how long to wait, at most, while other programs keep the machine busy.
    idle_seconds: how long the idle device's power is measured, once per session and where it has a meter.
    say: called with one line of text for the person who waits. start: which start of this job it is, from 1;
    earlier_log: last lines of the log of the one before.
    Raises UserError when prepared images or weights are not what they were when they were made.
    """
    started_at, started = datetime.now(UTC), time.monotonic()
    # The look at the machine goes on while the prepared files are read.
    first_look = conditions.read()
    facts = json.loads(Path(image_facts).read_text()) | json.loads(Path(weight_facts).read_text())
    check_prepared(files, facts)
    sequence = _next_in_sequence(sequence_file)
    run = run | {"classes": len(facts["class_names"])}
    chance = convergence.chance_of(facts["class_counts"])
    load, waited = conditions.wait_for_quiet(60 * wait_for_quiet_minutes, say, first_look)
    idle = idling.of_session(Path(sequence_file).parent / ".idle", run["device"], idle_seconds, log, say)
    before = conditions.read()

    def attempt(learning_rate):
        journal = slurm.begin(folder)
        return launch(child.__name__, run | {"learning_rate": learning_rate}, files, log, timeout_minutes, say, journal)

    folder = Path(metrics).parent
    ended = slurm.ended(folder, start)
    if ended:
        attempts = [(run["learning_rate"], recovered(folder / slurm.JOURNAL, *ended, list(earlier_log)), None)]
    else:
        attempts = _attempts(run, attempt, say, chance)
    surroundings = conditions.describe(load, waited, before, conditions.read())
    record = _record(run, attempts, idle)
    record["training"] |= {"classes": run["classes"], "chance_accuracy": chance.accuracy, "chance_loss": chance.loss}
    record["conditions"] = surroundings | {"suspended_seconds": attempts[-1][1].suspended_seconds}
    record["provenance"] = {
        "started_at": started_at.isoformat(timespec="milliseconds"),
        # By a clock that nobody sets, so that no end comes before its start.
        "finished_at": (started_at + timedelta(seconds=time.monotonic() - started)).isoformat(timespec="milliseconds"),
        "sequence": sequence,
        "deterministic": run.get("deterministic", False),
        "code_sha256": identity["code_sha256"],
        "config_sha256": validity.old_config_sha256(run, run["classes"]),
        **{key: facts[key] for key in PROVENANCE_FACTS},
    }
    record["identity"] = validity.of_record(identity, facts, record["software"])
    last = attempts[-1][1]
    if last.readings is not None:
        last.readings.write(folder / series.OWN, last.journal.epochs)
    else:  # those of a record that is replaced
        (folder / series.OWN).unlink(missing_ok=True)
    # Twice: should Snakemake end before it knows of the record, the next start deletes its output.
    records.write(folder / keeping.KEPT, record)
    records.write(metrics, record)
    return record


def train_once(run, image_facts, weight_facts, identity, metrics, **others):
    """As `train`, unless a job of an earlier start, or an earlier try of this one, has finished the run by now."""
    supervise.controller()  # raises ControllerGone
    facts = json.loads(Path(image_facts).read_text()) | json.loads(Path(weight_facts).read_text())
    with keeping.one_at_a_time(Path(metrics).parent):
        record = keeping.finished_meanwhile(metrics, run, identity, facts)
        if record is not None:
            records.write(metrics, record)
            return record
        return train(
            run=run, image_facts=image_facts, weight_facts=weight_facts, identity=identity, metrics=metrics, **others
        )


def _attempts(run, attempt, say, chance):
    """[(learning rate, outcome, converged)]: trains once, and again at lower rates as long as the run's on_divergence says.

    attempt: trains at a learning rate, returns a launch.Outcome. A training that diverged or did not converge is tried at a
    lower learning rate, which helps no crash; one that was stopped in all its counted epochs, at the same.
    """
    again = run["on_divergence"] or {"attempts": 0, "reduce_learning_rate": None}
    rate, attempts, lowered, stopped = run["learning_rate"], [], 0, 0
    while True:
        outcome = attempt(rate)
        converged = _converged(outcome, chance)
        attempts.append((rate, outcome, converged))
        if says_no_speed(outcome):
            if stopped == ATTEMPTS_IF_STOPPED - 1:
                say("stopped again in every epoch that counts: recorded without a speed")
                return attempts
            stopped += 1
            say(f"stopped for {outcome.suspended_seconds:.0f} s, in every epoch that counts; training again")
            continue
        if converged is not False or lowered >= again["attempts"]:
            return attempts
        lowered += 1
        rate *= again["reduce_learning_rate"]
        say(f"did not converge; training again at learning rate {rate:g}")


def _converged(outcome, chance):
    """By convergence.RULE; False for a training that diverged, None for one that ended in another way."""
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
    *given_up, (_, last, converged) = attempts
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
                for rate, outcome, converged in given_up
            ),
            {"learning_rate": attempts[-1][0], "outcome": _word(last, converged)},
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
    drawn, energy_reason = energy.summarise(windows, source, scope, idling.watts_of(idle, source, scope))
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
        "training": _training(attempts),
        "model": journal.last("built").get("model"),
        "memory": {key: journal.last("memory").get(key) for key in ("peak_bytes", "peak_device_bytes")},
        "energy": drawn,
        "energy_reason": energy_reason,
        "device": device_facts(run["device"], imported),
        "host": host_facts(),
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


if __name__ == "__main__":
    _earlier_log = supervise.tail(snakemake.log[0])
    _results = Path(snakemake.params.progress_file).parents[1]
    with logged(snakemake.log[0], before=lambda: keeping.supersede(snakemake.output.metrics, _results)) as terminal:
        _progress = progress.Progress(snakemake.params.progress_file, snakemake.output.metrics, terminal)
        _progress.begin(snakemake.params.run)
        _progress.end(
            train_once(
                run=snakemake.params.run,
                files=prepared_files(snakemake.input.image_facts, snakemake.input.weight_facts),
                image_facts=snakemake.input.image_facts,
                weight_facts=snakemake.input.weight_facts,
                identity=snakemake.params.identity,
                metrics=snakemake.output.metrics,
                log=snakemake.log[0],
                timeout_minutes=snakemake.resources.timeout_minutes,
                wait_for_quiet_minutes=snakemake.resources.wait_for_quiet_minutes,
                idle_seconds=snakemake.resources.idle_seconds,
                sequence_file=snakemake.params.sequence_file,
                say=_progress.say,
                start=snakemake.resources.start,
                earlier_log=_earlier_log,
            )
        )
