"""Probes and packs at the next start, which Snakemake judges by its metadata: what is measured again."""

import json
import shutil

import project
import pytest
import yaml

OTHER_CPU = {"name": "cpu-b", "label": "CPU b", "backend": "tensorflow", "accelerator": "cpu", "env": "tensorflow-cpu"}
EXPERIMENT = project.SMALL | {
    "dataset": {"name": "cifar10"},
    "devices": ["cpu", OTHER_CPU],
    "grid": project.SMALL["grid"] | {"trainable": [True]},
    "packing": {"at_once": [1]},
}
SETTING = "precision~float32/xla~false"
CONFIGURATION = f"model~small/batch_size~16/img_dim~32/trainable~true/{SETTING}/learning_rate~0.0005/optimizer~adam"
RECORDS = [
    *(f"parity/{device}/model~small/{SETTING}/probe.json" for device in ("cpu", "cpu-b")),
    *(f"packing/{device}/{CONFIGURATION}/at_once~1/pack.json" for device in ("cpu", "cpu-b")),
]
PREPARED = {
    "downloads": ["cifar-10-binary.tar.gz"],
    "images/img_dim~32": [
        *(f"{split}_{part}.npy" for split in ("train", "validation") for part in ("images", "labels")),
        "facts.json",
    ],
    "weights/model~small/img_dim~32": ["weights.npz", "facts.json"],
}


@pytest.fixture
def measured(tmp_path):
    """A folder in which made-up probes and packs of two devices count as made: those of the second one failed."""
    folder = project.make(tmp_path / "trainoff", EXPERIMENT)
    results = folder / "results"
    for path in [*RECORDS, *(f"{place}/{name}" for place, names in PREPARED.items() for name in names)]:
        (results / path).parent.mkdir(parents=True, exist_ok=True)
        (results / path).write_text(json.dumps({"status": "crashed" if "cpu-b" in path else "ok"}))
    done = project.snakemake(folder, "--touch", "--", *(f"results/{path}" for path in RECORDS))
    assert done.returncode == 0, done.stdout
    return folder


def planned(folder, *options, results="results"):
    return project.planned(folder, *options, "--", *(f"{results}/{path}" for path in RECORDS))


def test_failed_probes_and_packs_are_repeated_when_asked(measured):
    assert planned(measured) == {}
    retried = {"probe_device": 1, "train_together": 1}
    assert planned(measured, "--config", "retry=failed") == retried
    assert planned(measured, "--config", "retry=[crashed]") == retried
    assert planned(measured, "--config", "retry=[timed_out]") == {}
    (measured / "results" / RECORDS[-1]).write_text('{"status": "out_of_memory"}')
    assert planned(measured, "--config", "retry=failed") == {"probe_device": 1}, "too little memory is a pack's result"
    assert planned(measured, "--config", "retry=[out_of_memory]") == {"train_together": 1}


def test_a_deleted_probe_is_made_again_even_if_the_tables_are_there(measured):
    """As its messages say."""
    folder = measured / "results"
    for path in ("tables/parity.csv", "tables/parity.parquet", "tables/runs.parquet"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).touch()
    rules = ("check_parity", "probe_device", "prepare_images", "prepare_weights")
    target = ("--allowed-rules", *rules, "--", "results/tables/parity.csv")
    done = project.snakemake(measured, "--touch", *target)
    assert done.returncode == 0 and project.planned(measured, *target) == {}, done.stdout
    (folder / RECORDS[0]).unlink()
    assert project.planned(measured, *target) == {"probe_device": 1, "check_parity": 1}


def test_without_snakemakes_folder_nothing_is_measured_again(measured):
    """Not even what the last job made."""
    shutil.rmtree(measured / ".snakemake")
    assert planned(measured) == {}


def test_results_that_were_moved_are_measured_no_second_time(measured, tmp_path):
    """To another disk, with the name of the folder in the experiment, in place or into another clone."""
    elsewhere = tmp_path / "elsewhere" / "größer"
    shutil.copytree(measured / "results", elsewhere)
    clone = project.make(tmp_path / "clone", EXPERIMENT | {"pathvars": {"results": str(elsewhere)}})
    shutil.move(elsewhere / "downloads", clone / "results/downloads")
    assert planned(clone, results=elsewhere) == {}
    (clone / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT | {"seed": 1, "pathvars": {"results": str(elsewhere)}}))
    assert {"probe_device", "train_together"} <= planned(clone, results=elsewhere).keys(), "the record decided nothing"
