"""A copy of the project with an experiment small enough for tests, and Snakemake run in it as a user would."""

import json
import os
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import dry_runs
import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from trainoff.report import figure_table  # noqa: E402

# Real training of the real model, as little of it as shows everything.
TINY = {
    "title": "Tiny experiment",
    "devices": ["cpu"],
    "images": {"train": 100, "validation": 50},
    "grid": {"batch_size": [16], "img_dim": [32], "trainable": [True, False]},
    "turns": False,
    "protocol": {"epochs": 3, "images_per_epoch": 320, "warm_up_epochs": 1},
}
# The same with a network that starts in a fourth of the time, where it matters that something trains and not what.
SMALL = TINY | {
    "models": {"small": {"function": "tests/small_network.py:build"}},
    "grid": TINY["grid"] | {"model": ["small"]},
}


def make(folder, experiment=TINY):
    """Copies the project to `folder`, with `experiment` in tiny.yaml; returns the folder."""
    ignored = shutil.ignore_patterns(".git", ".venv", ".snakemake", "results", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, folder, ignore=ignored)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(experiment))
    return folder


def make_images(folder, classes):
    """Fills `folder` with PNG images of noise. classes: {name of the class: how many}."""
    generator = np.random.default_rng(0)
    for name, number in classes.items():
        (folder / name).mkdir(parents=True)
        for place in range(number):
            pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{place}.png")


# What must not be found in anything that a sweep writes.
PRIVATE = {
    "USER": "u5er-of-this-machine",
    "LOGNAME": "u5er-of-this-machine",
    "TRAINOFF_TEST_TOKEN": "t0ken-in-the-environment",
}


def without_network():
    """A command's first words that cut the network off from it, where the system lets us; else none."""
    for words in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if shutil.which("unshare") and not subprocess.run([*words, "true"], capture_output=True).returncode:
            return words
    return []


def command(*arguments, configfile="tiny.yaml"):
    experiment = ["--configfile", configfile] if configfile else []
    return [sys.executable, "-m", "snakemake", "--cores", "1", *experiment, *arguments]


def environment():
    """The tests' own environment, with the programs of their Python first."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def snakemake(folder, *arguments, **options):
    """Runs Snakemake in `folder` and returns the finished process, its output as text in `stdout`."""
    words = command(*arguments, **options)
    if "--dry-run" in arguments:
        return dry_runs.run(words[words.index("snakemake") + 1 :], folder, environment())
    return subprocess.run(
        words,
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def planned(folder, *arguments, **options):
    """What Snakemake would do in `folder` now: {rule: number of jobs}."""
    done = snakemake(folder, "--dry-run", *arguments, **options)
    assert done.returncode == 0, done.stdout
    return jobs_in(done.stdout)


def jobs_in(said):
    """{rule: number of jobs} of what Snakemake says in a dry run."""
    jobs, rows = {}, iter(said.splitlines())
    for line in rows:
        if line.split() == ["job", "count"]:
            next(rows)
            for row in rows:
                if not row.strip():
                    break
                rule, count = row.split()
                jobs[rule] = int(count)
            break
    jobs.pop("total", None)
    return jobs


def metrics_files(folder):
    return sorted((folder / "results/runs").rglob("metrics.json"))


def plots_of():
    """Names of the rules of figures that every sweep makes."""
    return [f"plot_{name}" for name in figure_table.FIGURES if name != "model_size"]


def mark_incomplete(folder, path):
    """Marks an output as Snakemake does when a job begins. folder: .snakemake/incomplete; path: bytes."""
    name = urlsafe_b64encode(path).decode()
    parts = [name[start : start + 254] for start in range(0, len(name), 254)]
    mark = folder.joinpath(*("@" + part for part in parts[:-1]), parts[-1])
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"external_jobid": None}))
