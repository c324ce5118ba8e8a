"""Lets two devices of this machine take turns at one configuration and records the outcome, whatever it is."""

import dataclasses
import random
import time
from pathlib import Path
from typing import Any

from trainoff import axes, records, turn_statistics
from trainoff.shapes import Run
from trainoff.supervise import conditions, progress, turning
from trainoff.supervise.job import Job, of_rule
from trainoff.supervise.launch import device_facts, host_facts
from trainoff.supervise.prepared import check_prepared
from trainoff.workflow import keeping, validity

SCHEMA_VERSION = 1


def turns(
    job: Job, runs: dict[str, Run], identity: dict[str, dict[str, Any]], settings: dict[str, Any], quiet_minutes: float
) -> str:
    """Measures and writes the record; returns the outcome in words.

    job: trainoff.supervise.job.Job; each side has its own log beside the job's. runs: {"device", "baseline"}: each as for
    scripts/train.py. identity: {side: identity of its training}. settings: slice_seconds, minutes, equivalence.
    quiet_minutes: the maximum time to wait while other programs keep the machine busy.
    """
    check_prepared(job.files, job.facts)
    runs = {side: job.with_classes(run) for side, run in runs.items()}
    load, waited = conditions.wait_for_quiet(60 * quiet_minutes, job.say, conditions.read())
    before, started = conditions.read(), time.monotonic()
    logs = {side: str(job.folder / f"{side}.log") for side in turn_statistics.SIDES}
    # A fixed seed, so that the order of the turns can be reproduced.
    generator = random.Random(runs["device"]["seed"])
    pairing = turning.Pairing(runs, job.files, logs, settings, job.timeout_minutes, generator)
    sessions = turning.take_turns(pairing, job.say)
    seconds = time.monotonic() - started
    standing = turn_statistics.stand_of(sessions, pairing.frameworks, settings["equivalence"])
    failed = sessions[-1]["status"] != "ok"
    imported = {side: sessions[-1]["sides"].get(side, {}).pop("software", {}) for side in runs}
    for session in sessions:
        for side in session["sides"].values():
            side.pop("software", None)
    record = {
        "schema_version": SCHEMA_VERSION,
        "protocol_version": records.PROTOCOL_VERSION,
        "run": {key: runs["device"][key] for key in records.RUN_KEYS if key not in ("device", "replicate")},
        **pairing.names,
        "status": sessions[-1]["status"],
        "failed": sessions[-1]["failed"] and pairing.names[sessions[-1]["failed"]],
        "message": sessions[-1]["message"],
        "turns": settings,
        "seconds": seconds,
        "standing": None if failed else dataclasses.asdict(standing),
        "sessions": sessions,
        "conditions": conditions.describe(load, waited, before, conditions.read()),
        "devices": {side: device_facts(runs[side]["device"], {"device": {}}) for side in runs},
        "host": host_facts(),
        "identity": {side: validity.of_record(identity[side], job.facts, imported[side]) for side in runs},
    }
    job.write(record)
    if failed:
        return f"{record['failed']}: {progress.failure_words(record['status'], record['message'])}"
    return turning.words(standing, pairing.names, settings["equivalence"])


if __name__ == "__main__":
    _turns, _params = snakemake.output.turns, snakemake.params
    _results = Path(_params.progress_file).parents[1]
    with of_rule(snakemake, _turns, before=lambda: keeping.supersede(_turns, _results)) as _job:
        _progress = progress.Progress(
            _params.progress_file, _turns, _job.terminal, kind="turns", max_minutes=_params.settings["minutes"]
        )
        _run, _baseline = (_params.runs[side] for side in turn_statistics.SIDES)
        _names = f"turns of {_baseline['device']['name']} and {_run['device']['name']}"
        _progress.begin_with(" · ".join([_names, *axes.words(_run)]))
        _outcome = turns(
            dataclasses.replace(_job, say=_progress.say),
            _params.runs,
            _params.identity,
            _params.settings,
            snakemake.resources.wait_for_quiet_minutes,
        )
        _progress.end(_outcome)
