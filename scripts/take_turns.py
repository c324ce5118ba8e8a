"""Lets two devices of this machine take turns at one configuration and records what happened, whatever that was."""

import dataclasses
import json
import random
import time
from pathlib import Path

from trainoff import duel, records
from trainoff.files import write_text
from trainoff.supervise import conditions, progress, turning
from trainoff.supervise.launch import device_facts, host_facts, prepared_files
from trainoff.supervise.prepared import check_prepared
from trainoff.workflow import validity
from trainoff.workflow.script import logged

SCHEMA_VERSION = 1


def turns(
    runs, files, image_facts, weight_facts, identity, settings, output, logs, timeout_minutes, quiet_minutes, say
):
    """Measures and writes the record; returns it.

    runs: {"device", "baseline"}: each as scripts/train.py takes it. files: paths by name. image_facts, weight_facts: JSON files
    beside them. identity: {side: what identifies its training}. settings: slice_seconds, minutes, equivalence. output: path to
    write. logs: {side: path}. timeout_minutes: for the start of a training. quiet_minutes: how long to wait, at most, for
    other programs to leave the machine. say: called with one line of text.
    """
    facts = json.loads(Path(image_facts).read_text()) | json.loads(Path(weight_facts).read_text())
    check_prepared(files, facts)
    runs = {side: run | {"classes": len(facts["class_names"])} for side, run in runs.items()}
    names = {side: run["device"]["name"] for side, run in runs.items()}
    say(f"turns of {names['device']} and {names['baseline']}: {progress.describe(runs['device'])}")
    load, waited = conditions.wait_for_quiet(60 * quiet_minutes, say, conditions.read())
    before, started = conditions.read(), time.monotonic()
    # Fixed, so that the same turns can be taken again.
    sessions = turning.take_turns(
        runs, files, logs, settings, timeout_minutes, random.Random(runs["device"]["seed"]), say
    )
    seconds = time.monotonic() - started
    standing = duel.stand(list(map(duel.logs_of, sessions)), settings["equivalence"])
    failed = sessions[-1]["status"] != "ok"
    imported = {side: sessions[-1]["sides"].get(side, {}).pop("software", {}) for side in runs}
    for session in sessions:
        for side in session["sides"].values():
            side.pop("software", None)
    record = {
        "schema_version": SCHEMA_VERSION,
        "protocol_version": records.PROTOCOL_VERSION,
        "run": {key: runs["device"][key] for key in records.RUN_KEYS if key not in ("device", "replicate")},
        **names,
        "status": sessions[-1]["status"],
        "failed": sessions[-1]["failed"] and names[sessions[-1]["failed"]],
        "message": sessions[-1]["message"],
        "turns": settings,
        "seconds": seconds,
        "standing": None if failed else dataclasses.asdict(standing),
        "sessions": sessions,
        "conditions": conditions.describe(load, waited, before, conditions.read()),
        "devices": {side: device_facts(runs[side]["device"], {"device": {}}) for side in runs},
        "host": host_facts(),
        "identity": {side: validity.of_record(identity[side], facts, imported[side]) for side in runs},
    }
    write_text(output, json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    say(f"ended as {record['status']}: {record['message']}" if failed else f"after {seconds:.0f} s: {standing.verdict}")
    return record


if __name__ == "__main__":
    with logged(snakemake.log[0]) as terminal:
        turns(
            runs=snakemake.params.runs,
            files=prepared_files(snakemake.input.image_facts, snakemake.input.weight_facts),
            image_facts=snakemake.input.image_facts,
            weight_facts=snakemake.input.weight_facts,
            identity=snakemake.params.identity,
            settings=snakemake.params.settings,
            output=snakemake.output.turns,
            logs={side: str(Path(snakemake.log[0]).with_name(f"{side}.log")) for side in duel.SIDES},
            timeout_minutes=snakemake.resources.timeout_minutes,
            quiet_minutes=snakemake.resources.wait_for_quiet_minutes,
            say=lambda words: terminal.write(f"{words}\n"),
        )
