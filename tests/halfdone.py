"""A sweep of two real trainings of which one is done: what drills provoke their faults on, and what is known of it."""

import contextlib
import json
import shutil
import subprocess
import time

import pandas as pd
import project
import psutil

EXPERIMENT = {
    "title": "Drill",
    "devices": ["cpu"],
    "images": {"train": 100, "validation": 50},
    "deterministic": True,
    "models": project.SMALL["models"],
    "grid": {"model": ["small"], "batch_size": [16, 32], "img_dim": [32], "trainable": [False]},
    "protocol": {"epochs": 2, "images_per_epoch": 320, "warm_up_epochs": 1},
}
# Figures and the page would take most of the time, and say nothing that the tables do not.
TABLES = ["results/tables/runs.csv", "results/tables/windows.csv"]
DEADLINE_SECONDS = 900
# What a run that is done again must repeat to the last digit.
LEARNT = ["epoch", "images", "warm_up", "loss", "accuracy", "val_loss", "val_accuracy"]


class NotHere(Exception):
    """The fault cannot be provoked on this machine."""


class Lost(AssertionError):
    """Something was lost, or not as it should be."""


def expect(condition, words):
    if not condition:
        raise Lost(words)


def finished_sweep(folder):
    """A sweep that nothing disturbed, in `folder`."""
    project.make(folder, EXPERIMENT)
    code, words = run_to_end(folder)
    expect(code == 0, words)
    return folder


def half_done(finished, folder):
    """A copy of a finished sweep with the second run, and the tables, taken away."""
    shutil.copytree(finished, folder, symlinks=True)
    second = run_files(folder)[1]
    shutil.rmtree(second.parent)
    shutil.rmtree(folder / "results/tables")
    return folder


def run_files(folder):
    """The two runs' metrics files, there or not, in the order of the sweep."""
    runs = folder / "results/runs/cpu/model~small"
    rest = "img_dim~32/trainable~false/precision~float32/xla~false/learning_rate~0.0005/optimizer~adam/replicate~1/metrics.json"
    return [runs / f"batch_size~{size}" / rest for size in EXPERIMENT["grid"]["batch_size"]]


def start(folder, *arguments, log=None, **variables):
    """Starts the sweep in a process group of its own, its output in sweep.log, or in the file `log`."""
    with open(log or folder / "sweep.log", "a") as log:
        return subprocess.Popen(
            project.command(*arguments, "--", *TABLES),
            cwd=folder,
            env=project.environment() | variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def said(folder):
    return (folder / "sweep.log").read_text(errors="replace")


def run_to_end(folder, *arguments, **variables):
    """Runs the sweep and returns (exit code, what it printed)."""
    before = len(said(folder)) if (folder / "sweep.log").exists() else 0
    code = start(folder, *arguments, **variables).wait(DEADLINE_SECONDS)
    return code, said(folder)[before:]


def training_of(sweep):
    """The training process of a sweep, once it has started."""
    return wait_for(lambda: next(iter(processes_of(sweep.pid, "trainoff.measure.child")), None), "a training")


def processes_of(pid, word):
    found = []
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if word in process.cmdline():
                    found.append(process)
    return found


def wait_for(look, what):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise Lost(f"{what} did not come")


def status_of(path):
    return json.loads(path.read_text())["status"]


def learnt(folder):
    """What the runs of a sweep learnt, from its tables: the same to the last digit for the same work."""
    runs = pd.read_csv(folder / "results/tables/runs.csv").sort_values("batch_size")
    windows = pd.read_csv(folder / "results/tables/windows.csv").sort_values(["batch_size", "epoch"])
    return runs[["batch_size", "seed", "status", "final_loss", "final_val_accuracy"]].to_csv(), windows[LEARNT].to_csv()


def recover(folder):
    """Starts the sweep again, to its end."""
    code, words = run_to_end(folder)
    expect(code == 0, f"the sweep did not recover:\n{words}")
    expect(project.planned(folder, "--", *TABLES) == {}, "something is left to do")
