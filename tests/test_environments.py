"""The files in envs/ hold what the locks hold and what their rules' scripts import; no file names a package host."""

import ast
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

import pin_environments
from trainoff.imports import own_modules

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = sorted(ROOT.glob("envs/*.yaml"))
TRAINING = {device["env"] for device in yaml.safe_load((ROOT / "catalog/devices.yaml").read_text()).values()}


def scripts_of_rules():
    """[(rule, script, names of the environments it may run in)] of every rule that has a script."""
    found = []
    for path in sorted(ROOT.glob("rules/*.smk")):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            name = rule[: rule.index(":")]
            script = re.search(r'^    script:\s+"\.\./([^"]+)"', rule, re.MULTILINE)
            conda = re.search(r'^    conda:\s+(?:"\.\./envs/([\w-]+)\.yaml"|env_of\b)', rule, re.MULTILINE)
            if script:
                assert conda, f"{path.name}: rule {name} has a script but no environment"
                found.append((name, ROOT / script[1], {conda[1]} if conda[1] else TRAINING))
    return found


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
        assert re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+", line), line


def test_every_device_has_its_environment():
    assert {path.stem for path in ENVIRONMENTS} >= TRAINING


def test_no_file_names_a_package_host():
    files = [ROOT / "Makefile", ROOT / "pyproject.toml", *ENVIRONMENTS, *ROOT.glob("locks/*"), *ROOT.glob(".ci/*")]
    for path in files:
        text = re.sub("--no-emit-(index-url|find-links)", "", path.read_text())
        assert not re.search(r"https?:|pypi|index-url|find-links|trusted-host", text), path


@pytest.mark.parametrize("script, environment", sorted({(s.name, e) for _, s, es in scripts_of_rules() for e in es}))
def test_environment_lists_what_its_scripts_import(script, environment):
    distributions = packages_distributions()
    listed = own_list(environment)
    for module in third_party_imports(ROOT / "scripts" / script):
        providers = {name.lower().replace("_", "-") for name in distributions.get(module.split(".")[0], [])}
        assert providers & listed, f"scripts/{script} imports {module}, which envs/{environment}.yaml does not list"


def fits_here(environment):
    """Whether an environment's packages exist for this machine."""
    if environment.endswith("-metal"):
        return sys.platform == "darwin" and platform.machine() == "arm64"
    if environment.endswith("-cuda"):
        return sys.platform == "linux" and shutil.which("nvidia-smi") is not None
    return True


@pytest.mark.slow
@pytest.mark.parametrize("environment", [path.stem for path in ENVIRONMENTS])
def test_scripts_load_in_their_environment_alone(environment, tmp_path):
    """Without a conda client: the pins alone, in an environment of their own, are complete and carry the scripts."""
    if not fits_here(environment):
        pytest.skip("its packages are for another machine")
    python = tmp_path / "bin/python"
    pins = yaml.safe_load((ROOT / f"envs/{environment}.yaml").read_text())["dependencies"][-1]["pip"]
    (tmp_path / "pins.txt").write_text("\n".join(pins))
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    install = [python, "-m", "pip", "install", "-qq", "--no-deps", "-r", tmp_path / "pins.txt"]
    subprocess.run(install, check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)

    scripts = {script for _, script, environments in scripts_of_rules() if environment in environments}
    modules = sorted({module for script in scripts for module in third_party_imports(script)})
    load = "import importlib, sys; sys.path.insert(0, sys.argv[1]); [importlib.import_module(m) for m in sys.argv[2:]]"
    for script in sorted(scripts):
        subprocess.run([python, "-I", "-c", load, ROOT / "scripts", *modules, script.stem], check=True)
