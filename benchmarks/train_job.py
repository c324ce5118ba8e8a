"""The overhead of a train job: seconds beyond import, build, first step, windows and validation."""

import itertools
import os
import shutil
import statistics
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import yaml

from trainoff import records

ROOT = Path(__file__).resolve().parents[1]
# Just enough for every part of a run to happen; the overhead of a job does not depend on how long it trains.
EXPERIMENT = {
    "devices": ["cpu"],
    "images": {"train": 320, "validation": 50},
    "grid": {"batch_size": [32], "img_dim": [96], "trainable": [False]},
    "protocol": {"epochs": 2, "images_per_epoch": 320, "warm_up_epochs": 1, "wait_for_quiet_minutes": 0},
}


def measure(folder, jobs):
    """Runs a sweep of several train jobs, one after another, in a copy of the project in `folder`.

    Returns seconds beyond the trainings. script: of each job inside scripts/train.py. between: from the end of each job to the
    start of the next, which is what Snakemake adds per job. job: the sum of both medians. sweep: the rest of the sweep.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "results", "tests", "__pycache__"))
    _snakemake(folder, jobs, "prepare_weights")
    started = time.perf_counter()
    _snakemake(folder, jobs, "train")
    seconds = time.perf_counter() - started
    return costs(_records(folder), seconds)


def costs(metrics, sweep_seconds):
    """The result of `measure`, from the records of a sweep in the order of their making, and the seconds that it took."""
    scripts = [(_moment(record, "finished_at") - _moment(record, "started_at")).total_seconds() for record in metrics]
    script = [whole - training_seconds(record) for whole, record in zip(scripts, metrics, strict=True)]
    between = [
        (_moment(after, "started_at") - _moment(before, "finished_at")).total_seconds()
        for before, after in itertools.pairwise(metrics)
    ]
    return {
        "script": script,
        "between": between,
        "job": statistics.median(script) + statistics.median(between),
        "sweep": sweep_seconds - sum(scripts) - sum(between),
    }


def training_seconds(record):
    """Seconds of a run that are import, build, first step, windows and validation."""
    cold_start = sum(record["cold_start"].values())
    return cold_start + sum(window["seconds"] + window["validation_seconds"] for window in record["windows"])


def _moment(record, name):
    return datetime.fromisoformat(record["provenance"][name])


def _records(folder):
    """The records of a sweep in the order of their making."""
    metrics = [records.read(path) for path in (folder / "results/runs").rglob("metrics.json")]
    for record in metrics:
        if record["status"] != "ok":
            sys.exit(f"a training of the benchmark ended as {record['status']}: {record['failure']['message']}")
    return sorted(metrics, key=lambda record: record["provenance"]["sequence"])


def _snakemake(folder, replicates, rule):
    (folder / "benchmark.yaml").write_text(yaml.safe_dump(EXPERIMENT | {"replicates": replicates}))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "benchmark.yaml", "--until", rule],
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"snakemake ended with exit code {done.returncode}:\n{done.stdout}")
