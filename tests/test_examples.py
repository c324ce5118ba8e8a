"""A folder of images of uneven classes runs to a report. The examples do in tests/test_environments.py."""

import json

import project
import pytest
import yaml

from trainoff import records


@pytest.mark.slow
def test_uneven_noise_in_a_folder_does_not_converge(tmp_path):
    folder = project.make(tmp_path / "trainoff")
    project.make_images(folder / "my images", {"Äpfel und Birnen": 90, "猫": 10})
    (folder / "my images" / "猫" / "notes.txt").write_text("no image")
    experiment = {
        "devices": ["cpu"],
        "protocol": {"epochs": 2, "images_per_epoch": 256, "warm_up_epochs": 1},
        "pathvars": {"results": "results/own"},
        "dataset": {"name": "folder", "path": "my images", "on_bad_image": "skip"},
        "images": {"train": None, "validation": None},
        "grid": {"batch_size": [32], "img_dim": [32], "trainable": [False]},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(experiment))
    done = project.snakemake(folder)
    assert done.returncode == 0, done.stdout
    (path,) = (folder / "results/own/runs").rglob("metrics.json")
    page = (folder / "results/own/report.html").read_text(encoding="utf-8")
    training = records.read(path)["training"]
    assert training["chance_accuracy"] == 0.9 and training["converged"] is False
    assert 0 <= training["final_val_balanced_accuracy"] <= 1
    assert "Classes are uneven" in page
    facts = json.loads((folder / "results/own/images/img_dim~32/facts.json").read_text())
    assert facts["class_counts"] == {"train": [72, 8], "validation": [18, 2]} and facts["skipped_images"] == 1
    assert project.planned(folder) == {}
    (folder / "my images" / "猫" / "0.png").unlink()
    assert project.planned(folder)["train"] == 1
