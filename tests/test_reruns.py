"""What runs again after which change: the table docs/what-reruns.yaml, in the folder of a sweep and in a clone of it."""

import os
import random
import shutil
import subprocess
import sys

import project
import pytest
import yaml

import write_reference
from trainoff import records
from trainoff.workflow import locking

RUNS = 2
# Jobs that are there once for every image size, model or run that is new.
TIMES = {"probe_device": 2, "train_together": 4}
TABLE = {key: rest for key, *rest in write_reference.what_reruns()}


@pytest.fixture(scope="module")
def same(finished, tmp_path_factory):
    """A copy of the finished experiment with its file times, for changes that are planned and not run."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("same") / "trainoff", symlinks=True)


@pytest.fixture(scope="module")
def clone(finished, tmp_path_factory):
    """Another clone on another path, into which nothing but the results was copied, with file times that mean nothing."""
    folder = project.make(tmp_path_factory.mktemp("clone") / "another-name")
    shutil.copytree(finished / "results", folder / "results")
    draw = random.Random(0)
    for path in sorted((folder / "results").rglob("*")):
        seconds = draw.choice([draw.randrange(10**9, 2 * 10**9), 10**9, 4 * 10**9])
        os.utime(path, (seconds, seconds))
    return folder


def change(folder, key, value):
    """Writes the tiny experiment with one key changed, such as "grid.batch_size"."""
    experiment = yaml.safe_load(yaml.safe_dump(project.TINY))
    *parents, last = key.split(".")
    part = experiment
    for parent in parents:
        part = part.setdefault(parent, {})
    part[last] = value
    (folder / "tiny.yaml").write_text(yaml.safe_dump(experiment))


def expected(rules, trained):
    jobs = {"train": trained} if trained else {}
    for name in rules:
        names = project.plots_of() if name == "plot_*" else [name]
        jobs |= {name: TIMES.get(name, 1) for name in names}
    return jobs


@pytest.mark.parametrize("key", TABLE)
def test_a_changed_key_runs_again_what_depends_on_it_and_nothing_else(key, clone):
    runs_what_is_said(clone, key)


def runs_what_is_said(folder, key):
    value, rules, trained, _ = TABLE[key]
    change(folder, key, value)
    planned = project.planned(folder)
    planned.pop("all", None)
    assert planned == expected(rules, trained)


@pytest.mark.parametrize(
    "key", ["title", "training.dropout", "seed", "protocol.warm_up_epochs", "protocol.timeout_minutes"]
)
def test_so_it_is_in_the_folder_itself(key, same):
    runs_what_is_said(same, key)


def test_every_key_of_the_default_experiment_is_in_the_table():
    config = yaml.safe_load((project.ROOT / "config.yaml").read_text())
    # One currency alone would need new prices as well; a wall meter's file and a tracker are tried by their own keys.
    leaves = set()
    for key, value in config.items():
        nested = key in ("pathvars", "images", "grid", "packing", "training", "protocol", "energy", "money", "trackers")
        leaves |= {f"{key}.{inner}" for inner in value} if nested else {key}
    assert leaves - {"money.currency"} == set(TABLE)


def test_nothing_changed_nothing_to_do(same, clone):
    for folder in (same, clone):
        change(folder, "title", project.TINY["title"])
        assert project.planned(folder) == {}


COPIES = {
    "cp -r": "cp -r {source}/results {target}/results",
    "rsync -a": "rsync -a {source}/results {target}/",
    "tar": "tar -C {source} -cf - results | tar -C {target} -xf -",
    # Unpacked without times: everything is as old as its place in the archive.
    "zip": "cd {source} && {python} -m zipfile -c {target}/z results && {python} -m zipfile -e {target}/z {target}",
}


@pytest.mark.parametrize("way", COPIES)
def test_results_are_finished_however_they_were_copied(way, finished, tmp_path):
    if shutil.which(way.split()[0]) is None and way != "zip":
        pytest.skip(f"{way.split()[0]} is not installed")
    folder = project.make(tmp_path / "there")
    command = COPIES[way].format(source=finished, target=folder, python=sys.executable)
    subprocess.run(command, shell=True, check=True)
    assert project.planned(folder) == {}


def test_the_order_of_an_experiment_is_no_change(clone):
    backwards = {key: project.TINY[key] for key in reversed(project.TINY)}
    backwards["protocol"] = {key: backwards["protocol"][key] for key in reversed(backwards["protocol"])}
    (clone / "tiny.yaml").write_text(yaml.safe_dump(backwards, sort_keys=False))
    assert project.planned(clone) == {}
    change(clone, "grid.trainable", [False, True])
    assert "train" not in project.planned(clone)


@pytest.mark.parametrize(
    "path, addition, trained",
    [
        ("scripts/plot_throughput.py", "ADDED = 1", 0),
        ("scripts/trainoff/analyze/stats.py", "ADDED = 1", 0),
        ("scripts/trainoff/supervise/supervise.py", "ADDED = 1", 0),
        ("scripts/trainoff/supervise/progress.py", "ADDED = 1", 0),
        ("scripts/train.py", "ADDED = 1", 0),
        ("report/page/answer.html.j2", "{# added #}", 0),
        ("report/page/tables.js", "// added", 0),
        ("scripts/prepare_images.py", "ADDED = 1", 0),
        ("scripts/trainoff/measure/protocol.py", "ADDED = 1", RUNS),
        ("scripts/trainoff/measure/backends/tensorflow.py", "ADDED = 1", RUNS),
        ("scripts/trainoff/measure/backends/torch.py", "ADDED = 1", 0),
    ],
)
def test_changed_code_trains_again_what_is_measured_with_it(copy, path, addition, trained):
    before = project.planned(copy)
    with open(copy / path, "a") as file:
        file.write(f"\n{addition}\n")
    jobs = project.planned(copy)
    assert before == {} and jobs.get("train", 0) == trained
    unused = ("supervise", "progress", "train.py", "torch")
    assert jobs or any(word in path for word in unused), "the change went unnoticed"


def test_comments_and_times_of_code_and_environments_run_nothing_again(copy):
    for path in [*copy.glob("scripts/**/*.py"), *copy.glob("envs/*.yaml")]:
        with open(path, "a") as file:
            file.write("\n# added\n")
    for path in copy.glob("report/*"):
        path.touch()
    assert project.planned(copy) == {}
    # With Snakemake's own defaults, as under a profile of the user's.
    assert project.planned(copy, "--workflow-profile", "none") == {}


def test_what_was_deleted_comes_back(copy):
    for name in ("figures/cost.png", "tables/runs.csv", "images/img_dim~32/train_labels.npy"):
        (copy / "results" / name).unlink()
    jobs = project.planned(copy)
    assert {"plot_cost", "aggregate_runs", "prepare_images"} <= jobs.keys() and "train" not in jobs


def test_what_was_decided_to_measure_stays_part_of_the_experiment(copy):
    """`make decide` writes a file beside the results; a start takes it in, and one with a mistake is named."""
    more = {"devices": ["cpu"], "configuration": {"trainable": True}, "replicates": 3}
    (copy / "results/decide.yaml").write_text(yaml.safe_dump({"more_replicates": [more]}))
    assert project.planned(copy)["train"] == 2
    (copy / "results/decide.yaml").write_text(
        yaml.safe_dump({"more_replicates": [more | {"configuration": {"size": 3}}]})
    )
    done = project.snakemake(copy, "--dry-run")
    assert "there is no axis 'size'" in done.stdout and done.returncode


def test_a_deleted_record_is_trained_again(copy):
    """Also where only what is made of it is asked for, which is there and newer."""
    project.metrics_files(copy)[0].unlink()
    for targets in ((), ("--", "results/tables/runs.csv")):
        planned = project.planned(copy, *targets)
        assert planned["train"] == planned["aggregate_runs"] == 1


def test_a_damaged_or_foreign_record_is_moved_away_and_trained_again(copy):
    """It is named before anything starts, and nothing is deleted."""
    (damaged, foreign) = project.metrics_files(copy)
    cut = damaged.read_bytes()[:100]
    damaged.write_bytes(cut)
    foreign.write_text(foreign.read_text().replace('"dropout": 0.4', '"dropout": 0.3'))
    done = project.snakemake(copy)
    assert done.returncode == 0, done.stdout
    assert "1 finished run will be trained again: a record that cannot be read" in done.stdout
    assert "1 finished run will be trained again: dropout 0.3 → 0.4" in done.stdout
    kept = [path.read_bytes() for path in (copy / "results/superseded").rglob("metrics.json")]
    assert len(kept) == RUNS and cut in kept
    assert {records.read(path)["identity"]["dropout"] for path in project.metrics_files(copy)} == {0.4}
    assert project.planned(copy) == {}


def test_no_table_is_made_of_a_record_that_is_not_the_run(copy):
    """It changed after the start that judged it, as when somebody copies files meanwhile."""
    path = project.metrics_files(copy)[0]
    (copy / "meddle.smk").write_text(
        'include: "Snakefile"\n\n\nonstart:\n'
        f"    text = open({str(path)!r}).read()\n"
        f"    open({str(path)!r}, 'w').write(text.replace('\"dropout\": 0.4', '\"dropout\": 0.3'))\n"
    )
    done = project.snakemake(copy, "--snakefile", "meddle.smk", "--forcerun", "aggregate_runs")
    assert done.returncode != 0
    assert f"{path.relative_to(copy)}: is not the run that is wanted: dropout 0.3 → 0.4" in done.stdout


def test_a_record_that_snakemake_deletes_or_distrusts_is_not_lost(copy):
    """As after a kill: the output of an unfinished job is deleted, or marked as incomplete."""
    first, second = project.metrics_files(copy)
    text = first.read_text()
    first.rename(first.with_name(".finished.json"))
    name = str(second.relative_to(copy)).encode()
    marks = copy / ".snakemake/incomplete"
    project.mark_incomplete(marks, name)
    assert "train" not in project.planned(copy)
    assert first.read_text() == text


def test_a_forced_training_deletes_no_record(copy):
    """Nothing runs here: a job that was planned fails, and the record it would have replaced is still there."""
    (copy / "scripts/train.py").write_text("raise SystemExit(1)\n")
    before = sorted(path.read_bytes() for path in project.metrics_files(copy))
    done = project.snakemake(copy, "--forcerun", "train")
    assert done.returncode != 0
    assert sorted(path.read_bytes() for path in (copy / "results/runs").rglob(".replaced.json")) == before


def test_failed_runs_are_retried_on_request_alone(copy):
    path = project.metrics_files(copy)[0]
    record = records.read(path)
    failure = {"signal": "SIGSEGV", "exit_code": None, "message": "It crashed.", "log_tail": []}
    records.write(path, record | {"status": "crashed", "failure": failure})
    assert "train" not in project.planned(copy)
    assert project.planned(copy, "--config", "retry=failed")["train"] == 1
    assert project.planned(copy, "--config", "retry=[crashed]")["train"] == 1
    assert "train" not in project.planned(copy, "--config", "retry=[timed_out]")


def test_two_experiments_in_one_folder_are_named(copy):
    change(copy, "training.dropout", 0.2)
    (copy / "tiny.yaml").write_text((copy / "tiny.yaml").read_text().replace("Tiny experiment", "Another one"))
    done = project.snakemake(copy, "--dry-run")
    assert "results/ holds runs of another experiment (Tiny experiment, digits)" in done.stdout


@pytest.mark.parametrize("way", [["--directory", "{elsewhere}"], ["--snakefile", "{folder}/Snakefile"]])
def test_a_start_from_another_folder_plans_the_same_and_finds_its_results_there(copy, tmp_path, way):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(copy / "results", elsewhere)
    shutil.copy(copy / "tiny.yaml", elsewhere)
    (copy / "tiny.yaml").rename(tmp_path / "tiny.yaml")
    options = [word.format(folder=copy, elsewhere=elsewhere) for word in way]
    start = copy if way[0] == "--directory" else elsewhere
    planned = project.planned(start, *options, configfile=str(tmp_path / "tiny.yaml"))
    assert "train" not in planned and "prepare_images" not in planned


def test_results_at_which_another_clone_is_at_work_are_left_alone(tmp_path):
    """Snakemake's own lock is in the clone."""
    results = tmp_path / "on another disk"
    folder = project.make(tmp_path / "clone", project.SMALL | {"pathvars": {"results": str(results)}})
    target = results / "images/img_dim~32/facts.json"
    assert locking.hold_results(results)
    refused = project.snakemake(folder, "--", target)
    assert refused.returncode and "another start is at work on these results" in refused.stdout
    assert list(results.iterdir()) == [results / ".in-use.lock"]
    locking._held.pop().close()
    assert project.snakemake(folder, "--", target).returncode == 0 and target.exists()


def test_results_on_a_disk_that_is_not_mounted_are_refused_in_a_sentence(tmp_path):
    folder = project.make(tmp_path / "clone", project.SMALL)
    (folder / "results").symlink_to(tmp_path / "not mounted")
    refused = project.snakemake(folder, "--", "results/images/img_dim~32/facts.json")
    assert refused.returncode and "results: is a file, or a link to a folder that is not there" in refused.stdout
    assert "FileExistsError" not in refused.stdout
