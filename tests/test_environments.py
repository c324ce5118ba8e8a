"""The files in envs/ hold what the locks hold and what their rules' scripts import; no file names a package host."""

import ast
import csv
import itertools
import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import project
import pytest
import yaml
from test_train import learnt

import pin_environments
from trainoff.exchange import bundles
from trainoff.machine import devices
from trainoff.report import figure_table
from trainoff.workflow import keeping
from trainoff.workflow.imports import own_modules

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = sorted(ROOT.glob("envs/*.yaml"))
# {environment: frameworks that its devices compute with}
TRAINING = {}
for _device in yaml.safe_load((ROOT / "catalog/devices.yaml").read_text()).values():
    TRAINING.setdefault(_device["env"], set()).add(_device["backend"])
FRAMEWORKS = {"tensorflow", "torch", "jax"}


def scripts_of_rules():
    """[(rule, script, names of the environments it may run in)] of every rule that has a script."""
    found = []
    for path in sorted(ROOT.glob("rules/*.smk")):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            name = rule[: rule.index(":")]
            script = re.search(r'^    script:\s+"\.\./([^"]+)"', rule, re.MULTILINE)
            conda = re.search(
                r'^    conda:\s+(?:#.*\s+)?(?:"\.\./envs/([\w-]+)\.yaml"|[A-Z]+_ENV\b)', rule, re.MULTILINE
            )
            if script:
                assert conda, f"{path.name}: rule {name} has a script but no environment"
                found.append((name, ROOT / script[1], {conda[1]} if conda[1] else set(TRAINING)))
    # The rules of figures are made in a loop.
    figures = [(f"plot_{name}", ROOT / f"scripts/plot_{name}.py", {"analysis"}) for name in figure_table.FIGURES]
    return found + figures


def third_party_imports(script):
    """Names of the modules from outside the standard library and the project that a script may import."""
    names = set()
    for path in [script, *own_modules(script)]:
        for node in ast.walk(ast.parse(Path(path).read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module)
    known = sys.stdlib_module_names | {"trainoff"}
    return {name for name in names if name.split(".")[0] not in known}


def own_list(environment):
    """The packages that an environment file lists by hand."""
    text = (ROOT / f"envs/{environment}.yaml").read_text()
    return {pin["name"] for pin in pin_environments.PIN.finditer(text.split(pin_environments.REST)[0])}


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_environment_is_what_the_locks_hold(path):
    text = path.read_text()
    assert text == pin_environments.pinned(text), "run `make lock`, or scripts/pin_environments.py"


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_environment_is_conda_with_exact_pins(path):
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    assert dependencies[0] == "python =3.11"
    for line in dependencies[-1]["pip"]:
        assert re.fullmatch(r'[\w.-]+(\[[\w,-]+\])?==[\w.]+(; sys_platform == "(linux|darwin)")?', line), line


def test_every_device_has_its_environment():
    assert {path.stem for path in ENVIRONMENTS} >= set(TRAINING)


def test_no_file_names_a_package_host():
    files = [ROOT / "Makefile", ROOT / "pyproject.toml", *ENVIRONMENTS, *ROOT.glob("locks/*"), *ROOT.glob(".ci/*")]
    for path in files:
        text = re.sub("--no-emit-(index-url|find-links)", "", path.read_text())
        assert not re.search(r"https?:|pypi|index-url|find-links|trusted-host", text), path


@pytest.mark.parametrize("script, environment", sorted({(s.name, e) for _, s, es in scripts_of_rules() for e in es}))
def test_environment_lists_what_its_scripts_import(script, environment):
    distributions = packages_distributions()
    listed = own_list(environment)
    others = FRAMEWORKS - TRAINING.get(environment, set())
    for module in third_party_imports(ROOT / "scripts" / script) - others:
        # A framework that is not installed here goes by its own name.
        own = module.split(".")[0]
        providers = {name.lower().replace("_", "-") for name in distributions.get(own, [own])}
        assert providers & listed, f"scripts/{script} imports {module}, which envs/{environment}.yaml does not list"


# Writes what Snakemake would hand to every script of the tiny experiment, in an order in which they can run.
LIST_JOBS = """
import json

from snakemake.settings.types import DeploymentMethod

# Rules name the environment of each job where conda is used.
workflow.deployment_settings.deployment_method = {DeploymentMethod.CONDA}

include: "Snakefile"

workflow.deployment_settings.deployment_method = set()


def named(values):
    return {name: list(value) if isinstance(value, list) else value for name, value in values.items()}


onstart:
    jobs = [
        {
            "script": job.rule.script.removeprefix("../").format(params=job.params, wildcards=job.wildcards),
            "environment": job.conda_env_spec.file.get_filename().removesuffix(".yaml"),
            "wildcards": dict(job.wildcards.items()),
            "resources": {k: v for k, v in job.resources.items() if isinstance(v, (int, float))},
            "log": {"0": str(job.log[0])},
            **{part: named(getattr(job, part)) for part in ("input", "output", "params")},
        }
        for level in workflow.dag.toposorted()
        for job in sorted(level, key=str)
        if job.rule.script
    ]
    with open("jobs.json", "w") as file:
        json.dump(jobs, file, default=str)
    raise WorkflowError("listed")
"""

# Runs scripts of jobs, by their numbers, as Snakemake would, with nothing but the environment's own packages to import.
RUN_JOBS = """
import json, os, runpy, sys


class Named(dict):
    __getattr__ = dict.__getitem__

    def __getitem__(self, key):
        return super().__getitem__(str(key))


sys.path.append("scripts")
jobs = json.load(open("jobs.json"))
for number in map(int, sys.argv[1:]):
    job = jobs[number]
    for part in ("log", "output"):
        for path in job[part].values():
            os.makedirs(os.path.dirname(path), exist_ok=True)
    parts = {part: Named(job[part]) for part in ("input", "output", "params", "wildcards", "resources", "log")}
    runpy.run_path(job["script"], {"snakemake": type("Snakemake", (), parts)}, "__main__")
"""


def pins_of(environment):
    return yaml.safe_load((ROOT / f"envs/{environment}.yaml").read_text())["dependencies"][-1]["pip"]


LINUX, MAC = "x86_64-unknown-linux-gnu", "aarch64-apple-darwin"
MEANT_FOR = {"tensorflow-cuda": [LINUX], "jax-cuda": [LINUX], "tensorflow-metal": [MAC]}


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment, platform",
    [(path.stem, platform) for path in ENVIRONMENTS for platform in MEANT_FOR.get(path.stem, [LINUX, MAC])],
)
def test_every_environment_resolves_where_it_is_meant_to_be(environment, platform, tmp_path):
    """There is a build of every pin for that system, and the pins are all that their packages ask for."""
    (tmp_path / "pins.in").write_text("\n".join(pins_of(environment)))
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-annotate", "--no-header"]
    system = ["--python-platform", platform, "--python-version", "3.11", "--only-binary", ":all:"]
    mac_14 = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}  # the oldest that PyTorch 2.13 is built for
    done = subprocess.run([*command, *system, tmp_path / "pins.in"], capture_output=True, text=True, env=mac_14)
    assert done.returncode == 0, done.stderr
    pinned = {re.match(r"[\w.-]+", pin)[0] for pin in pins_of(environment)}
    resolved = {re.match(r"[\w.-]+", line)[0] for line in done.stdout.split("\n") if re.match(r"\w", line)}
    assert resolved <= pinned, f"not pinned: {resolved - pinned}"


def make_environment(environment, folder):
    """Installs the pins of an environment file, and nothing else, into a new virtual environment; returns its Python."""
    python = folder / environment / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", folder / environment], check=True)
    pins = pins_of(environment)
    if environment == "torch" and not devices.nvidia_gpus() and finds_torch_for_cpus():
        # Several GB less, for a machine that has no use for them.
        pins = [pin.replace("torch==2.13.0", "torch==2.13.0+cpu") for pin in pins if "linux" not in pin]
    (folder / "pins.txt").write_text("\n".join(pins))
    install = [python, "-m", "pip", "install", "-qq", "--no-deps", "-r", folder / "pins.txt"]
    subprocess.run(install, check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)
    return python


def finds_torch_for_cpus():
    look = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--dry-run",
        "--no-deps",
        "--ignore-installed",
        "torch==2.13.0+cpu",
    ]
    return subprocess.run(look, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def pythons(tmp_path_factory):
    """{environment: the Python of it alone} of all that a sweep on three frameworks needs."""
    folder = tmp_path_factory.mktemp("environments")
    return {name: make_environment(name, folder) for name in ("analysis", "tensorflow-cpu", "torch", "jax")}


def listed_jobs(folder):
    """The jobs of the experiment in tiny.yaml, in an order in which they can run."""
    (folder / "jobs.smk").write_text(LIST_JOBS)
    (folder / "run_jobs.py").write_text(RUN_JOBS)
    listing = project.snakemake(folder, "--snakefile", "jobs.smk", "all")
    assert "listed" in listing.stdout, listing.stdout
    return json.loads((folder / "jobs.json").read_text())


def run_jobs(folder, jobs, pythons, chosen, together=False):
    """Runs the jobs that `chosen` takes, each in a process; `together`: neighbors of one environment in one. Returns records."""
    numbers = [number for number, job in enumerate(jobs) if chosen(job)]
    groups = itertools.groupby(numbers, key=lambda number: (jobs[number]["environment"], not together and number))
    for (environment, _), group in groups:
        own = list(group)
        command = [pythons[environment], "-I", "run_jobs.py", *map(str, own)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        scripts = ", ".join(jobs[number]["script"] for number in own)
        assert done.returncode == 0, f"{scripts}: {done.stdout}{done.stderr}"
    return [json.loads(path.read_text()) for path in project.metrics_files(folder)]


def verdicts_of(table):
    """{(device, check): verdict} of a table of parity."""
    with open(table, newline="") as file:
        return {(row["device"], row["check"]): row["verdict"] for row in csv.DictReader(file)}


# Relative difference of losses that rounding alone explains after a few steps, with room; a setting left out makes more.
FIRST_LOSSES = 5e-6
# Every framework on the CPU. One thread for PyTorch, whose threads wait for each other on a busy machine.
THREE = project.TINY | {
    "dataset": {"name": "folder", "path": "my images"},
    "images": {"train": None, "validation": None},
    "devices": [
        "cpu-tensorflow",
        {
            "name": "cpu-torch",
            "label": "PyTorch (CPU)",
            "backend": "torch",
            "accelerator": "cpu",
            "env": "torch",
            "threads": 1,
        },
        "cpu-jax",
    ],
    "grid": project.TINY["grid"] | {"trainable": [True]},
    "deterministic": True,
}


@pytest.mark.slow
def test_the_tiny_experiment_runs_job_by_job_in_the_environments_of_its_rules(pythons, tmp_path):
    """Without a conda client: every script runs in its environment's pins alone, from a folder of images to the report.

    Trained again, every framework gives the same losses to the bit, as `deterministic: true` says.
    """
    folder = project.make(tmp_path / "trainoff", THREE)
    project.make_images(folder / "my images", {"apple": 60, "pear": 60, "quince": 60})
    jobs = listed_jobs(folder)
    assert set(pythons) == {job["environment"] for job in jobs}
    records = run_jobs(folder, jobs, pythons, lambda job: True)
    assert [record["status"] for record in records] == ["ok"] * 3
    assert {record["device"]["backend"] for record in records} == {"tensorflow", "torch", "jax"}
    verdicts = verdicts_of(folder / "results/tables/parity.csv")
    for device in ("cpu-torch", "cpu-jax"):
        assert verdicts[device, "outputs"] == verdicts[device, "first_losses"] == "match"
    assert "Tiny experiment" in (folder / "results/report.html").read_text()
    # As a start does that trains a finished run again.
    for path in project.metrics_files(folder):
        keeping.keep_replaced(path)
    again = run_jobs(folder, jobs, pythons, lambda job: job["script"] == "scripts/train.py")
    for one, other in zip(records, again, strict=True):
        assert one["provenance"]["started_at"] != other["provenance"]["started_at"]
        backend = one["device"]["backend"]
        assert [learnt(each) for each in one["windows"]] == [learnt(each) for each in other["windows"]], backend


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_framework_takes_turns_with_itself(framework, pythons, tmp_path):
    """TensorFlow does in tests/test_turns.py."""
    device = {"backend": framework, "accelerator": "cpu", "env": framework}
    both = [device | {"name": name, "label": name} for name in ("one", "other")]
    turns = {"minutes": 0.01, "slice_seconds": 0.3, "equivalence": 0.05}
    grid = project.SMALL["grid"] | {"trainable": [True]}
    folder = project.make(tmp_path / "trainoff", project.SMALL | {"devices": both, "turns": turns, "grid": grid})
    needed = ("scripts/prepare_images.py", "scripts/prepare_weights.py", "scripts/take_turns.py")
    run_jobs(folder, listed_jobs(folder), pythons, lambda job: job["script"] in needed)
    (path,) = (folder / "results/turns").rglob("turns.json")
    record = json.loads(path.read_text())
    assert (record["status"], record["message"]) == ("ok", None)
    assert [session["status"] for session in record["sessions"]] == ["ok", "ok"] and record["standing"]["low"]


@pytest.mark.slow
def test_settings_of_the_training_mean_the_same_on_three_frameworks(pythons, tmp_path):
    """The first losses under every optimizer and schedule, with accumulation, decay and mirrored images: equal up to rounding.

    And a plain `fit` of the user's own is timed on each.
    """
    found = {}
    for framework, environment in (("tensorflow", "tensorflow-cpu"), ("torch", "torch"), ("jax", "jax")):
        told = os.environ | {"KERAS_BACKEND": framework, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        command = [pythons[environment], "-I", ROOT / "tests/first_losses.py", framework, tmp_path / framework]
        done = subprocess.run(command, capture_output=True, text=True, env=told)
        assert done.returncode == 0, f"{framework}: {done.stderr}"
        found[framework] = json.loads(done.stdout)
        (bundle,) = (tmp_path / framework / "timings").glob("*.zip")
        (record,) = (one for name, one in bundles.read(bundle) if name.endswith("metrics.json"))
        assert (record["device"]["backend"], record["status"]) == (framework, "ok")
        assert len(record["windows"]) == 3 and record["windows"][-1]["val_accuracy"] is not None
    reference = found["tensorflow"]
    for framework, losses in found.items():
        assert len({tuple(one) for one in losses.values()}) == len(losses), f"{framework}: a setting does nothing"
        for setting, own in losses.items():
            assert own == pytest.approx(reference[setting], rel=FIRST_LOSSES), f"{framework}: {setting}"


EXAMPLES = {
    "vision-transformer": (
        "examples/vision_transformer.yaml",
        {"protocol": {"images_per_epoch": 64}, "images": {"train": 80}},
    ),
    "text": ("examples/text/experiment.yaml", {"protocol": {"images_per_epoch": 256}, "grid": {"batch_size": [128]}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_run_to_a_report_on_three_frameworks(name, pythons, tmp_path):
    """Models of one's own on images and on text, as little of them as shows everything."""
    path, less = EXAMPLES[name]
    folder = project.make(tmp_path / "trainoff")
    if name == "text":
        subprocess.run([sys.executable, folder / "examples/text/make_data.py"], check=True)
    experiment = yaml.safe_load((folder / path).read_text()) | {"devices": THREE["devices"], "turns": False}
    for key, values in less.items():
        experiment[key] = experiment.get(key, {}) | values
    experiment["protocol"] |= {"epochs": 2, "warm_up_epochs": 1}
    experiment["pathvars"] = {"results": "results"}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(experiment))
    records = run_jobs(folder, listed_jobs(folder), pythons, lambda job: True, together=True)
    assert [(record["status"], record["failure"]) for record in records] == [("ok", None)] * 3
    assert {record["device"]["backend"] for record in records} == {"tensorflow", "torch", "jax"}
    verdicts = verdicts_of(folder / "results/tables/parity.csv")
    for device in ("cpu-torch", "cpu-jax"):
        assert verdicts[device, "outputs"] == verdicts[device, "first_losses"] == "match"
    page = (folder / "results/report.html").read_text()
    assert experiment["title"] in page
    if name == "text":
        assert {record["run"]["img_dim"] for record in records} == {0}
        assert "samples per second" in page and "images per second" not in page
