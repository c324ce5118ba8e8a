"""Trains several runs of one configuration at once on one device and records their total speed."""

import dataclasses
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from trainoff import records, units
from trainoff.machine import devices, nvidia
from trainoff.measure import packed
from trainoff.shapes import Files, Run
from trainoff.supervise import metering, slurm
from trainoff.supervise.job import Job, of_rule
from trainoff.supervise.launch import Journal, Outcome, device_facts, launch, software_facts
from trainoff.supervise.stops import ATTEMPTS_IF_STOPPED

SCHEMA_VERSION = 1
POLL_SECONDS = 0.05
# Interval between readings of memory, each of which takes some milliseconds.
MEMORY_SECONDS = 1.0


def pack(job: Job, run: Run, at_once: int) -> dict[str, Any]:
    """Trains `at_once` runs at the same time and writes the record, whatever happens; returns it.

    job: trainoff.supervise.job.Job; each training has its own log beside the job's. run: as for scripts/train.py; each training
    gets its own seed, as replicates do.
    """
    run = job.with_classes(run)
    size = f", {run['img_dim']} px" if run["img_dim"] else ""
    job.say(f"{at_once} at once of {run['model']}, batch {run['batch_size']}{size} on {run['device']['name']}")
    started = time.monotonic()
    earlier = job.ended()
    if earlier:
        energy = dict.fromkeys(("joules", "reason", "source", "scope"))
        memory = dict.fromkeys(("memory_bytes", "device_memory_bytes"))
        outcomes = [earlier] * at_once
    else:
        slurm.begin(job.folder)
        logs = [job.folder / f"train-{place + 1}.log" for place in range(at_once)]
        for _ in range(ATTEMPTS_IF_STOPPED):
            started = time.monotonic()
            with metering.metered(run["device"]) as energy:
                outcomes, memory = together(run, at_once, job.files, logs, job.timeout_minutes)
            if not any(outcome.suspended_seconds for outcome in outcomes):
                break
            job.say("the trainings or the machine were suspended")
    outcomes = [without_speed(outcome) if outcome.suspended_seconds else outcome for outcome in outcomes]
    seconds = time.monotonic() - started
    failures = [outcome for outcome in outcomes if outcome.status != "ok"]
    rates = None if failures else rates_of([counted_windows(outcome.journal) for outcome in outcomes])
    imported = outcomes[0].journal.last("imported")
    record = {
        "schema_version": SCHEMA_VERSION,
        "protocol_version": records.PROTOCOL_VERSION,
        "run": {key: run["device"]["name"] if key == "device" else run[key] for key in records.RUN_KEYS},
        "at_once": at_once,
        # The first failure, which may have caused the others.
        "status": failures[0].status if failures else "ok",
        "reason": f"{len(failures)} of {at_once}: {failures[0].message}" if failures else "",
        "images_per_second": sum(rates) if rates else None,
        "run_images_per_second": rates,
        "seconds": seconds,
        **memory,
        "mps": multi_process_service(run["device"]["accelerator"]),
        "joules": energy["joules"],
        "energy": {key: energy[key] for key in ("reason", "source", "scope")},
        "trainings": [
            {"status": outcome.status, "failure": outcome.failure, "windows": counted_windows(outcome.journal)}
            for outcome in outcomes
        ],
        "device": device_facts(run["device"], imported),
        "software": software_facts(imported),
    }
    job.write(record)
    if rates:
        job.say(f"{sum(rates):.0f} {units.samples(run['img_dim'])}/s together")
    else:
        job.say_failure(record["status"], record["reason"])
    return record


def without_speed(outcome: Outcome) -> Outcome:
    """The Outcome of a suspended training as an error: it and the others had the device for unequal times."""
    if outcome.status != "ok":
        return outcome
    return dataclasses.replace(outcome, status="error", message="The training or the machine was suspended.")


def rates_of(trainings: list[list[dict[str, Any]]]) -> list[float]:
    """Images per second of each training of a pack while all of them trained.

    trainings: one list of counted windows per training, each a dict with images, seconds and ended (on one clock).
    Windows that end after the first training has finished do not count, since that one no longer uses the device; a training
    without other windows counts with its first.
    """
    first_end = min(windows[-1]["ended"] for windows in trainings)
    rates = []
    for windows in trainings:
        used = [window for window in windows if window["ended"] <= first_end] or windows[:1]
        rates.append(sum(window["images"] for window in used) / sum(window["seconds"] for window in used))
    return rates


def together(
    run: Run, at_once: int, files: Files, logs: list[str | Path], timeout_minutes: float
) -> tuple[list[Outcome], dict[str, int | None]]:
    """Starts the trainings, lets them continue when all are ready or have ended, and waits for their ends.

    Returns their Outcomes in order, and {"memory_bytes", "device_memory_bytes"}, the maximum of their total; the second is None
    where the device shares the machine's memory or it is unknown.
    """
    outcomes, errors = [None] * at_once, []
    with tempfile.TemporaryDirectory(prefix="trainoff-pack-") as folder:

        def train(place):
            spec = run | {"seed": run["seed"] + place, "barrier": {"folder": folder, "place": place}}
            try:
                outcomes[place] = launch(packed.__name__, spec, files, logs[place], timeout_minutes, lambda words: None)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=train, args=(place,)) for place in range(at_once)]
        for thread in threads:
            thread.start()
        memory, looked = {"memory_bytes": None, "device_memory_bytes": None}, 0.0
        go, gpu = Path(folder, packed.GO), devices.gpu_uuid(run["device"])
        while any(thread.is_alive() for thread in threads):
            waited_for = [
                place
                for place, thread in enumerate(threads)
                if thread.is_alive() and not packed.ready_file(folder, place).exists()
            ]
            if not waited_for and not go.exists():
                go.touch()
            if time.monotonic() - looked > MEMORY_SECONDS:
                looked = time.monotonic()
                now = {"memory_bytes": memory_of_children(), "device_memory_bytes": nvidia.memory_used(gpu)}
                memory = {key: max(filter(None, (memory[key], now[key])), default=None) for key in memory}
                # A tool that does not answer is not asked again: the trainings wait for this loop. An idle GPU uses 0 bytes.
                gpu = "" if now["device_memory_bytes"] is None else gpu
            time.sleep(POLL_SECONDS)
    if errors:
        raise errors[0]
    return outcomes, memory


def counted_windows(journal: Journal) -> list[dict[str, Any]]:
    """The windows after the warm-up, each with the time it ended on the machine's clock."""
    return [
        event["window"] | {"ended": event["at"] - event["window"]["validation_seconds"]}
        for event in journal.events
        if event["event"] == "window" and not event["window"]["warm_up"]
    ]


def memory_of_children() -> int | None:
    """Resident memory of all child processes in bytes; shared pages count for each process."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total or None


def multi_process_service(accelerator: str) -> bool | None:
    """Whether NVIDIA's MPS runs, without which a GPU computes for only one process at a time; None for other devices."""
    if accelerator != "cuda":
        return None
    names = [process.info["name"] or "" for process in psutil.process_iter(["name"])]
    return any(name.startswith("nvidia-cuda-mps") for name in names)


if __name__ == "__main__":
    with of_rule(snakemake, snakemake.output.pack) as _job:
        pack(_job, snakemake.params.run, snakemake.params.at_once)
