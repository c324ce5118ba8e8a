"""Sweeps whose trainings compute nothing, killed and starved of disk at random moments: is anything lost or done twice?

Everything is real but the work itself: Snakemake, the rules, the scripts, the supervisor and its child, the records.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import time

import halfdone
import pandas as pd
import project
import psutil

EXPERIMENT = {
    "title": "Storm",
    "devices": ["cpu"],
    "images": {"train": 100, "validation": 50},
    "grid": {"batch_size": [16, 32], "img_dim": [32], "trainable": [True, False]},
    "protocol": {"epochs": 3, "images_per_epoch": 320, "warm_up_epochs": 1},
}
AXES = ["batch_size", "trainable", "replicate", "seed"]
PLACES = ["results", "TMPDIR", "HOME"]
PARTS = ["child", "supervisor", "snakemake", "all"]
KEPT = "results/runs/**/.finished.json"
# In place of what trains and what makes weights; as a run's own record says, what it learns follows from its seed alone.
PROTOCOL = """
import random
import time


def train(run, files, backend, report):
    report({"event": "built", "seconds": 0.1, "model": None, "validation_images": 50})
    report({"event": "meter", "source": None, "scope": None})
    time.sleep(0.05)
    report({"event": "first_step", "seconds": 0.05, "loss": 2.3})
    learns = random.Random(run["seed"])
    for epoch in range(run["epochs"]):
        time.sleep(0.3)
        loss = learns.random() / (1 + epoch)
        known = {"loss": loss, "accuracy": 0.9, "val_loss": loss, "val_accuracy": 0.9, "validation_seconds": 0.0}
        energy = {"energy_joules": None, "energy_reason": "none"}
        window = {"epoch": epoch + 1, "images": run["images_per_epoch"], "seconds": 0.3, "warm_up": epoch < run["warm_up_epochs"]}
        report({"event": "window", "window": window | known | energy})
"""
BACKEND = """
def start(accelerator, threads):
    pass


def describe(accelerator):
    return {}
"""
WEIGHTS = """
import json

from trainoff.files import sha256_of_all, whole, write_text
from trainoff.workflow.script import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        with whole(snakemake.output.weights) as path:
            path.write_bytes(b"weights")
        known = {"weights": "random", "weights_sha256": 64 * "0", "prepared_sha256": sha256_of_all([snakemake.output.weights])}
        write_text(snakemake.output.facts, json.dumps({"made_from": snakemake.params.made_from, **known}))
"""


def make(folder, replicates=1):
    """A copy of the project in `folder` with 4 * `replicates` trainings that take a second and compute nothing."""
    project.make(folder, EXPERIMENT | {"replicates": replicates})
    (folder / "scripts/trainoff/measure/protocol.py").write_text(PROTOCOL)
    (folder / "scripts/trainoff/measure/backends/tensorflow.py").write_text(BACKEND)
    (folder / "scripts/prepare_weights.py").write_text(WEIGHTS)
    return folder


class Sweep:
    """A start of the sweep in `folder`, in a process group of its own, its output beside it."""

    def __init__(self, folder, *arguments, **variables):
        self.log = folder.with_suffix(".log")
        self.before = len(self.log.read_bytes()) if self.log.exists() else 0
        self.process = halfdone.start(folder, *arguments, log=self.log, **variables)

    def said(self):
        return self.log.read_bytes()[self.before :].decode(errors="replace")

    def parts(self):
        """{"snakemake": [process], "supervisor": […], "child": […]}, those that live now."""
        found = {"snakemake": [], "supervisor": [], "child": []}
        with contextlib.suppress(psutil.Error):
            main = psutil.Process(self.process.pid)
            found["snakemake"].append(main)
            for process in main.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    line = " ".join(process.cmdline())
                    if "trainoff.measure.child" in line:
                        found["child"].append(process)
                    elif ".snakemake/scripts/" in line and "-c" not in process.cmdline()[:2]:
                        found["supervisor"].append(process)
        return found

    def kill(self, what):
        """Kills one part of the sweep, or "all"; returns whether there was one."""
        if what == "all":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            return True
        victims = self.parts()[what]
        for victim in victims:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        return bool(victims)


def records(folder):
    """{path: bytes} of the records that say how a run ended well, the copies that are kept beside them included."""
    found = {}
    for path in [*folder.glob("results/runs/**/metrics.json"), *folder.glob(KEPT)]:
        with contextlib.suppress(OSError, ValueError):
            content = path.read_bytes()
            if json.loads(content)["status"] == "ok":
                found[path.with_name("metrics.json")] = content
    return found


def storm(folder, seed, kills, longest_seconds):
    """Kills parts of a sweep at `kills` random moments, starts it again whenever it ended, and at last lets it end.

    Every other kill comes right after a record has appeared, when it matters most. longest_seconds: from one kill to the next.
    Returns {what was killed: how often}. Raises AssertionError when a finished run is lost or trained again, or the sweep does
    not end well.
    """
    chance, done, seen, sweep = random.Random(seed), dict.fromkeys(PARTS, 0), {}, None
    for number in range(kills):
        if sweep is None or sweep.process.poll() is not None:
            forget_crashes(folder)
            sweep = Sweep(folder)
        what = chance.choice(PARTS)
        moment = time.monotonic() + chance.uniform(0, longest_seconds)
        before = len(list(folder.glob(KEPT)))
        while sweep.process.poll() is None and time.monotonic() < moment:
            time.sleep(0.005)
            if number % 2 and len(list(folder.glob(KEPT))) != before:
                time.sleep(chance.uniform(0, 0.05))
                break
        # What is not there yet is waited for.
        while sweep.process.poll() is None and not sweep.kill(what):
            time.sleep(0.005)
        done[what] += 1
        if what != "child":
            sweep.process.wait(600)  # and the next start comes at once, whatever still ends by itself
        note(folder, seen)
    sweep.process.wait(1200)
    forget_crashes(folder)
    finish(folder, seen)
    return done


def starve(folder, seed, place):
    """Fills the disk of one of PLACES at a random moment of a sweep, makes room again, and lets the sweep end.

    Returns in words what came of it, and what the runs learned. Raises AssertionError as `storm` does, where a run is recorded
    as failed, and where the sweep stops without saying why. Needs the right to mount a tmpfs: CalledProcessError.
    """
    chance, seen = random.Random(seed), {}
    disk = folder / "disk"
    disk.mkdir()
    if place == "results":
        (folder / "results").symlink_to(disk)
    variables = {} if place == "results" else {place: str(disk)}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)], check=True, capture_output=True)
    try:
        sweep = Sweep(folder, **variables)
        # From when Snakemake has read the project on: what it does before is its own.
        while sweep.process.poll() is None and "Job stats" not in sweep.said():
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 12))
        filler = disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        code, words = sweep.process.wait(600), sweep.said()
        filler.unlink()
        found = {json.loads(path.read_bytes())["status"] for path in folder.glob("results/runs/**/metrics.json")}
        assert found <= {"ok"}, f"recorded as {found}"
        assert code == 0 or "No space left on device" in words or "can be written to" in words, words
        assert "Traceback" not in words, words
        note(folder, seen)
        finish(folder, seen, **variables)
        return "went on without it" if code == 0 else "stopped with a sentence", learned(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def finish(folder, seen, **variables):
    """Lets the sweep end and checks that nothing of `seen` is lost and nothing is left to do."""
    last = Sweep(folder, **variables)
    assert last.process.wait(1200) == 0, last.said()
    note(folder, seen)
    now = {path: path.read_bytes() for path in folder.glob("results/runs/**/metrics.json")}
    assert now == seen, "a run was lost or trained again"
    assert not list(folder.glob(KEPT)), "copies of records were left behind"
    assert project.planned(folder, "--", *halfdone.TABLES) == {}, "something is left to do"


def learned(folder):
    """What the runs of a sweep learned, from its tables: everything but times."""
    windows = pd.read_csv(folder / "results/tables/windows.csv")
    columns = [*AXES, "epoch", "images", "warm_up", "loss", "accuracy", "val_loss", "val_accuracy"]
    return windows[columns].sort_values([*AXES, "epoch"]).to_csv(index=False)


def note(folder, seen):
    """Adds the finished runs to `seen`; what was seen before must be the same to the byte."""
    for path, content in records(folder).items():
        assert seen.setdefault(path, content) == content, f"{path} was trained again"


def forget_crashes(folder):
    """Deletes the records of trainings that were killed, as `retry=crashed` would move them."""
    for path in folder.glob("results/runs/**/metrics.json"):
        with contextlib.suppress(OSError, ValueError):
            if json.loads(path.read_bytes())["status"] == "crashed":
                path.with_name(".finished.json").unlink(missing_ok=True)
                path.unlink()
