"""Data of one's own runs to a report: the text example, and a folder of images of uneven classes."""

import json
import subprocess
import sys

import project
import pytest
import yaml

from trainoff import records

LESS = {"devices": ["cpu"], "protocol": {"epochs": 2, "images_per_epoch": 256, "warm_up_epochs": 1}}


def run_to_report(folder, experiment, *arguments):
    """The records of a sweep of `experiment` that ended, and the words of its page."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(experiment))
    done = project.snakemake(folder, "--configfile", *arguments, "tiny.yaml")
    assert done.returncode == 0, done.stdout
    results = folder / experiment["pathvars"]["results"]
    found = [records.read(path) for path in sorted((results / "runs").rglob("metrics.json"))]
    return done.stdout, found, (results / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_text_is_classified_and_told_in_samples(tmp_path):
    folder = project.make(tmp_path / "trainoff")
    subprocess.run([sys.executable, folder / "examples/text/make_data.py"], check=True)
    less = LESS | {"pathvars": {"results": "results/text"}, "grid": {"batch_size": [128]}}
    told, found, page = run_to_report(folder, less, "examples/text/experiment.yaml")
    (record,) = found
    assert record["status"] == "ok" and record["run"]["img_dim"] == 0 and record["training"]["classes"] == 3
    assert "samples/s" in told and "images/s" not in told
    assert "samples per second" in page and "images per second" not in page


@pytest.mark.slow
def test_uneven_noise_in_a_folder_does_not_converge(tmp_path):
    folder = project.make(tmp_path / "trainoff")
    project.make_images(folder / "my images", {"Äpfel und Birnen": 90, "猫": 10})
    (folder / "my images" / "猫" / "notes.txt").write_text("no image")
    experiment = LESS | {
        "pathvars": {"results": "results/own"},
        "dataset": {"name": "folder", "path": "my images", "on_bad_image": "skip"},
        "images": {"train": None, "validation": None},
        "grid": {"batch_size": [32], "img_dim": [32], "trainable": [False]},
    }
    _, found, page = run_to_report(folder, experiment)
    training = found[0]["training"]
    assert training["chance_accuracy"] == 0.9 and training["converged"] is False
    assert 0 <= training["final_val_balanced_accuracy"] <= 1
    assert "Classes are uneven" in page
    facts = json.loads((folder / "results/own/images/img_dim~32/facts.json").read_text())
    assert facts["class_counts"] == {"train": [72, 8], "validation": [18, 2]} and facts["skipped_images"] == 1
    assert project.planned(folder) == {}
    (folder / "my images" / "猫" / "0.png").unlink()
    assert project.planned(folder)["train"] == 1
