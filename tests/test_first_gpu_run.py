"""`make first-gpu-run` on an emulated machine: the Makefile, pip, Snakemake, its jobs and the records are real.

Made up are nvidia-smi, the locks, whose packages hold next to nothing, and the work of a training, which computes nothing.
"""

import json
import os
import shutil
import subprocess
import sys

import project
import pytest
import storm
import yaml
from test_notebook import packages_of_the_tests
from test_places import wheel

PRESET = "presets/first-gpu-run.yaml"
DEVICES = ["cuda", "cuda-torch", "cuda-jax"]
SMALL = {
    "images": {"train": 100, "validation": 50},
    "grid": {"batch_size": [16], "img_dim": [32], "trainable": [True, False]},
    "protocol": {"epochs": 2, "images_per_epoch": 320, "warm_up_epochs": 1},
}
PROBING = """
import sys

from trainoff.measure import child


def probe(run, files, backend, report):
    report({"event": "outputs", "logits": [[float(image % 10 == place) for place in range(10)] for image in range(32)]})
    report({"event": "losses", "losses": [2.3, 2.2, 2.1, 2.0, 1.9]})


if __name__ == "__main__":
    child.main(sys.argv[1], lambda: probe)
"""
PROGRAMS = "[console_scripts]\nsnakemake = snakemake.cli:main\n"
NVIDIA_SMI = '#!/bin/sh\n[ "$1" = -L ] || echo "GPU-h100, NVIDIA H100 80GB HBM3, 81559, 580.65.06, 9.0, Disabled"\n'
# What the parts of the locks that bring libraries for GPUs hold: {part: {package: (version, what it asks for)}}.
PARTS = {
    "cuda": {"nvidia-cudnn-cu12": ("9.3", [])},
    "torch": {"nvidia-cudnn-cu13": ("9.20", []), "torch": ("2.13.0", ["nvidia-cudnn-cu13"])},
    "jax-cuda": {
        "nvidia-cudnn-cu12": ("9.12", []),
        **{name: ("0.10.2", []) for name in ("jax", "jaxlib", "jax-cuda12-plugin")},
    },
}


def make(folder, environment):
    return subprocess.run(
        ["make", "first-gpu-run"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def planned(folder, environment):
    """{rule: number of jobs} that the last start would do now."""
    done = subprocess.run(
        [folder / ".venv/bin/snakemake", "--cores", "1", "--configfile", PRESET, "--dry-run", "--", "all", "bundle"],
        cwd=folder,
        env=environment | {"PATH": f"{folder}/.venv/bin{os.pathsep}{environment['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return project.jobs_in(done.stdout)


def records(folder):
    """{device: [(status, when it was written)]} of the runs."""
    runs = folder / "results/first-gpu-run/runs"
    return {
        device: [
            (json.loads(path.read_text())["status"], path.stat().st_mtime_ns)
            for path in sorted((runs / device).rglob("metrics.json"))
        ]
        for device in DEVICES
    }


@pytest.fixture
def machine(tmp_path):
    """(folder of the project, environment) of a machine with an H100."""
    folder = project.make(tmp_path / "trainoff")
    preset = yaml.safe_load((folder / PRESET).read_text())
    assert preset["devices"] == DEVICES
    (folder / PRESET).write_text(yaml.safe_dump(preset | SMALL))
    (folder / "scripts/prepare_weights.py").write_text(storm.WEIGHTS)
    for name, text in {"protocol": storm.PROTOCOL, "probing": PROBING}.items():
        (folder / f"scripts/trainoff/measure/{name}.py").write_text(text)
    for name in ("tensorflow", "torch", "jax"):
        (folder / f"scripts/trainoff/measure/backends/{name}.py").write_text(storm.BACKEND)

    wheels = tmp_path / "wheels"
    lent = packages_of_the_tests(wheels)
    own = wheel(wheels, "started", "1", {"started-1.dist-info/entry_points.txt": PROGRAMS})
    base = "".join(f"{name} --hash=sha256:{digest}\n" for name, digest in lent.items())
    (folder / "locks/build.txt").write_text(base)
    (folder / "locks/base.txt").write_text(base + own)
    for part, packages in PARTS.items():
        lock = [
            wheel(wheels, name, version, {f"nvidia/{name}.txt" if "cudnn" in name else f"{name}.txt": part}, requires)
            for name, (version, requires) in packages.items()
        ]
        (folder / f"locks/{part}.txt").write_text("".join(lock))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nvidia-smi").write_text(NVIDIA_SMI)
    (programs / "nvidia-smi").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
    }
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    return folder, environment


@pytest.mark.slow
def test_three_frameworks_train_one_after_another_and_the_last_start_trains_nothing(machine):
    folder, environment = machine
    done = make(folder, environment)
    assert done.returncode == 0, done.stdout[-5000:]
    first = records(folder)
    assert {device: [status for status, _ in found] for device, found in first.items()} == {
        device: ["ok", "ok"] for device in DEVICES
    }
    assert "Removing the GPU libraries of the part cuda" in done.stdout
    assert "Removing the GPU libraries of the part torch" in done.stdout
    results = folder / "results/first-gpu-run"
    assert (results / "bundle.zip").exists() and f"Report: {results / 'report.html'}" in done.stdout
    probes = {path.parent.parts[-4]: json.loads(path.read_text())["status"] for path in results.rglob("probe.json")}
    assert probes == dict.fromkeys(["cpu", *DEVICES], "ok")

    again = make(folder, environment)
    assert again.returncode == 0 and records(folder) == first, again.stdout[-5000:]
    assert "Adding" not in again.stdout and "Removing" not in again.stdout, "libraries are exchanged for nothing"
    assert "Everything was finished already: 6 runs" in again.stdout

    # The last start needs none of what trains on a GPU: without it nothing is trained or probed again either.
    installed = {name for packages in PARTS.values() for name in packages}
    python = folder / ".venv/bin/python"
    subprocess.run([python, "-m", "pip", "uninstall", "-qq", "--yes", *sorted(installed)], check=True)
    assert not {"train", "probe_device"} & planned(folder, environment).keys()

    # Another version that is there trains and probes again.
    (packages,) = (folder / ".venv/lib").glob("python*/site-packages")
    (packages / "torch-2.99.dist-info").mkdir()
    (packages / "torch-2.99.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.99\n")
    jobs = planned(folder, environment)
    assert (jobs["train"], jobs["probe_device"]) == (2, 1)


def test_a_machine_without_such_a_gpu_is_told_so_in_a_sentence_before_anything_is_installed(tmp_path):
    folder = tmp_path / "trainoff"
    shutil.copytree(project.ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("locks", "catalog"):
        shutil.copytree(project.ROOT / name, folder / name)
    shutil.copy(project.ROOT / "Makefile", folder)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("make", "sh", "dirname", "grep", "cut"):
        (programs / name).symlink_to(shutil.which(name))
    done = make(folder, {"PATH": str(programs), "PYTHON": sys.executable})
    said = [line for line in done.stdout.splitlines() if not line.startswith("make: ")]
    assert done.returncode and len(said) == 1, done.stdout
    assert said[0].startswith("This needs a usable NVIDIA GPU: ") and said[0].endswith(
        "trains on the devices that this machine has."
    )
    assert not (folder / ".venv").exists()
