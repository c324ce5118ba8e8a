"""The whole road in a copy of the project: a real sweep, killed on the way; what reruns after which change; bad input."""

import fcntl
import json
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime

import jsonschema
import pandas as pd
import project
import pytest
import yaml

from trainoff import records

RUNS = 2
AFTER_TRAINING = dict.fromkeys(
    [
        *("aggregate_runs", "collect_energy", "compare_devices", "compute_cost", "fit_overhead", "plan_next"),
        *("estimate_devices", "draw_share", "write_report", "all"),
        *project.plots_of(),
    ],
    1,
)


def test_every_run_is_recorded_and_the_report_is_there(finished):
    schema = json.loads((project.ROOT / "schemas/metrics.schema.json").read_text())
    files = project.metrics_files(finished)
    assert len(files) == RUNS
    for path in files:
        record = json.loads(path.read_text())
        jsonschema.validate(record, schema, jsonschema.Draft202012Validator)
        assert record["status"] == "ok"
        assert [window["images"] for window in record["windows"]] == [320, 320, 320]
        assert [window["warm_up"] for window in record["windows"]] == [True, False, False]
        assert all(record["cold_start"].values())
        assert all(value for key, value in record["provenance"].items() if key != "deterministic")
        assert f"batch_size~{record['run']['batch_size']}/img_dim~{record['run']['img_dim']}" in str(path)
    page = (finished / "results/report.html").read_text()
    assert "Tiny experiment" in page
    assert {"http://", "https://"}.isdisjoint(word[:8] for word in page.split('src="')[1:])


@pytest.mark.skipif(not project.without_network(), reason="the system does not let us cut the network off")
def test_the_network_was_cut_off(finished):
    """The whole sweep of these tests ran without it: this shows that nothing could have been reached."""
    look = "import socket; socket.create_connection(('127.0.0.1', 9), 2)"
    done = subprocess.run(
        [*project.without_network(), sys.executable, "-c", look], cwd=finished, capture_output=True, text=True
    )
    assert "Network is unreachable" in done.stderr


def test_results_tell_nothing_of_whose_machine_it_was(finished):
    private = [*project.PRIVATE.values(), "h0me-of-somebody"]
    files = [path for path in (finished / "results").rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        data = path.read_bytes()
        assert not [word for word in private if word.encode() in data], path


def test_a_second_sweep_in_the_same_folder_is_refused(copy):
    with open(copy / ".snakemake/alive.lock", "a") as alive:
        fcntl.flock(alive, fcntl.LOCK_SH)
        (copy / ".snakemake/locks").mkdir(exist_ok=True)
        metrics = project.metrics_files(copy)[0]
        (copy / ".snakemake/locks/0.output.lock").write_text(f"{metrics.relative_to(copy)}\n")
        metrics.unlink()
        done = project.snakemake(copy)
    assert done.returncode != 0 and "lock" in done.stdout.lower()
    assert not metrics.exists()


def test_runs_are_numbered_in_the_order_of_the_sweep(finished):
    found = [records.read(path) for path in project.metrics_files(finished)]
    ranks = {record["run"]["trainable"]: record["provenance"]["sequence"] for record in found}
    assert ranks == {True: 1, False: 3}, "the killed run took number 2"


def test_training_moves_the_weights_it_should(finished):
    """All weights learn more from the same images than the last layer over random features does."""
    losses = {}
    for path in project.metrics_files(finished):
        record = records.read(path)
        losses[record["run"]["trainable"]] = [window["loss"] for window in record["windows"]]
    assert losses[True][-1] < losses[True][0]
    assert losses[True] != losses[False]


def test_a_wall_meter_is_read_after_the_runs(copy):
    """A steady 50 W, logged beside the sweep; before the file is there, a sentence."""
    meter = {"wall_meters": [{"file": "meter.csv", "devices": ["cpu"]}], "idle_seconds": 0}
    (copy / "tiny.yaml").write_text(yaml.safe_dump(project.TINY | {"energy": meter}))
    done = project.snakemake(copy, "--until", "collect_energy")
    assert done.returncode != 0 and "there is no file meter.csv" in done.stdout and "Traceback" not in done.stdout

    windows = [window for path in project.metrics_files(copy) for window in records.read(path)["windows"]]
    starts = [datetime.fromisoformat(window["started_at"]).timestamp() for window in windows]
    first, last = min(starts) - 1, max(starts) + max(window["seconds"] for window in windows) + 1
    step = min(window["seconds"] for window in windows) / 100
    lines = [f"{first + number * step:.4f},50" for number in range(int((last - first) / step))]
    (copy / "meter.csv").write_text("\n".join(["time,watts", *lines]))
    done = project.snakemake(copy, "--until", "collect_energy")
    assert done.returncode == 0, done.stdout
    table = pd.read_csv(copy / "results/tables/energy.csv")
    assert set(table["energy_source"]) == {"wall_meter"} and set(table["energy_scope"]) == {"machine"}
    assert table["mean_watts"].tolist() == pytest.approx([50] * RUNS)


def test_a_bundle_stands_beside_the_own_runs_and_trains_nothing(copy):
    """Its own bundle that comes back: every run is known already, and no table changes."""
    done = project.snakemake(copy, "--", "bundle")
    assert done.returncode == 0, done.stdout
    (copy / "imports").mkdir()
    # Under a name that Snakemake would read as a pattern, and with such a title and meter.
    shutil.move(copy / "results/bundle.zip", copy / "imports/{device} <results> *.zip")
    title = "{x} <results> {device} *"
    (copy / "tiny.yaml").write_text(yaml.safe_dump(project.TINY | {"title": title}))
    assert project.planned(copy) == {"import_bundles": 1} | AFTER_TRAINING
    before = (copy / "results/tables/comparison.csv").read_bytes(), (copy / "results/tables/rates.csv").read_bytes()
    done = project.snakemake(copy, "--", "results/tables/comparison.csv")
    assert done.returncode == 0, done.stdout
    assert before == (
        (copy / "results/tables/comparison.csv").read_bytes(),
        (copy / "results/tables/rates.csv").read_bytes(),
    )
    index = json.loads((copy / "results/imported/index.json").read_text())
    assert [bundle["runs"] for bundle in index["bundles"]] == [RUNS]


def test_a_file_that_is_no_bundle_gives_a_sentence(copy):
    (copy / "imports").mkdir()
    (copy / "imports/holiday.zip").write_bytes(b"no zip")
    done = project.snakemake(copy, "--dry-run")
    assert done.returncode != 0
    assert "imports/holiday.zip: cannot be read as a zip archive" in done.stdout and "Traceback" not in done.stdout


def test_snakemake_report_holds_figures_and_tables(finished):
    done = project.snakemake(finished, "--report", "results/snakemake-report.zip")
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(finished / "results/snakemake-report.zip") as report:
        names = " ".join(report.namelist())
    assert "throughput.svg" in names
    assert "comparison.csv" in names


PARAMS_CHECK = """
include: "Snakefile"


def foreign(value):
    if isinstance(value, dict):
        return foreign([*value.keys(), *value.values()])
    if isinstance(value, (list, tuple)):
        return any(foreign(item) for item in value)
    return type(value) not in (str, int, float, bool, type(None))


onstart:
    jobs = list(workflow.dag.jobs)
    bad = [(job.name, key) for job in jobs for key, value in job.params.items() if foreign(value)]
    raise WorkflowError(f"checked {len(jobs)} jobs, foreign: {bad}")
"""


def test_params_are_built_in_values(copy):
    """They are pickled into the job's own environment, where no library of ours may be."""
    (copy / "check.smk").write_text(PARAMS_CHECK)
    done = project.snakemake(copy, "--snakefile", "check.smk", "--forceall", "all")
    assert f"checked {sum(AFTER_TRAINING.values()) + RUNS + 2} jobs, foreign: []" in done.stdout, done.stdout


@pytest.mark.parametrize(
    "change, words",
    [
        ({"grid": {"batchsize": [32]}}, "grid.batchsize: unknown key (did you mean batch_size?)"),
        ({"devices": ["gpu"]}, "there is no device 'gpu'"),
        (
            {"grid": {"batch_size": ["16"]}},
            "grid.batch_size.0: '16' is text, not a whole number. Write it without quotes. Values nested in --config",
        ),
        ({"weights": "config.yaml"}, "cannot be read as an HDF5 file"),
        ({"dataset": {"name": "cifar10", "archive": "README.md"}}, "cannot be read to its end as .tar.gz"),
        ({"images": {"train": 100000}}, "images.train: 100000 images need 10000 of every class"),
    ],
)
def test_a_mistake_gives_a_sentence_and_no_traceback(tmp_path, change, words):
    folder = project.make(tmp_path / "trainoff", project.TINY | change)
    done = project.snakemake(folder)
    assert done.returncode != 0
    assert words in done.stdout
    assert "Traceback" not in done.stdout
    assert not project.metrics_files(folder)


IMPORTING = """
module trainoff:
    snakefile: "{project}/Snakefile"
    config: {config}

use rule * from trainoff as bench_*

rule mine:
    default_target: True
    input:
        rules.bench_all.input.report,
    output:
        "mine.txt",
    shell:
        "wc -c {{input}} > {{output}}"
"""


def test_a_workflow_that_imports_this_one_finds_finished_runs_finished(finished, tmp_path):
    (tmp_path / "Snakefile").write_text(IMPORTING.format(project=finished, config=project.TINY))
    assert project.planned(tmp_path, configfile=None)["bench_train"] == RUNS
    shutil.copytree(finished / "results", tmp_path / "results")
    # Tables are made again, since they name the project's files from another folder.
    assert "bench_train" not in project.planned(tmp_path, configfile=None)
    (tmp_path / "Snakefile").write_text(
        IMPORTING.format(project=finished, config=project.TINY | {"training": {"dropout": 0.1}})
    )
    assert project.planned(tmp_path, configfile=None)["bench_train"] == RUNS


def test_results_may_lie_on_another_disk(finished, tmp_path):
    """A folder by its whole path, which no table tells."""
    elsewhere = tmp_path / "another disk/results"
    shutil.copytree(finished / "results", elsewhere)
    place = f"pathvars={{results: '{elsewhere}'}}"
    assert "train" not in project.planned(finished, "--config", place)
    done = project.snakemake(finished, "--config", place, "--forcerun", "aggregate_runs", "--until", "aggregate_runs")
    assert done.returncode == 0, done.stdout
    assert str(tmp_path) not in (elsewhere / "tables/runs.csv").read_text()
