"""The cells that the docs give for hosted notebooks, run as they stand, in a place like one.

Its Python has no ensurepip and other packages on PYTHONPATH, and the user is whoever runs the tests, in CI root. Two things are
made up: the experiments are small, and the locks hold pip and a package that lends what the tests have installed, so that nothing
is downloaded. tests/test_places.py and `make test-environments` install for real.
"""

import ensurepip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import project
import pytest
import yaml

from trainoff.workflow import isolation

ROOT = Path(__file__).parents[1]
# The variable MPLBACKEND of a notebook's kernel; the package is only in the notebook's own Python.
BACKEND = "module://matplotlib_inline.backend_inline"
ADDRESSES = ("https://github.com/OWNER/trainoff", "REPOSITORY")
SMALL = project.TINY | {"grid": {"batch_size": [16], "img_dim": [32], "trainable": [False]}, "devices": "auto"}


def cells(page, heading):
    """Lines of the first block of code below a heading of a page that downloads from a notebook."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(.*?)```", text[text.index(heading) :], re.DOTALL)
    return next(block for block in blocks if "google.colab" in block).splitlines()


def packages_of_the_tests(folder):
    """Puts wheels into `folder`: of pip, and of a package that lends the tests' packages. Returns {"name==version": SHA-256}."""
    folder.mkdir()
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(pip, folder)
    files = {
        "lent.pth": f"{sysconfig.get_path('purelib')}\n",
        "lent-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: lent\nVersion: 1\n",
        "lent-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / "lent-1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(
            "lent-1.dist-info/RECORD", "".join(f"{name},,\n" for name in [*files, "lent-1.dist-info/RECORD"])
        )
    names = {f"pip=={pip.name.split('-')[1]}": pip.name, "lent==1": "lent-1-py3-none-any.whl"}
    return {name: hashlib.sha256((folder / file).read_bytes()).hexdigest() for name, file in names.items()}


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """(address of the project's repository, the place of a notebook, its environment)."""
    folder = tmp_path_factory.mktemp("notebook")
    source = project.make(folder / "repository/trainoff")
    config = yaml.safe_load((source / "config.yaml").read_text())
    for name, own in {
        "config.yaml": {},
        "presets/wandb-study.yaml": {"pathvars": {"results": "results/wandb-study"}},
    }.items():
        merged = {
            key: value | SMALL[key] if isinstance(SMALL.get(key), dict) else SMALL.get(key, value)
            for key, value in config.items()
        }
        (source / name).write_text(yaml.safe_dump(merged | own, sort_keys=False))
    wheels = folder / "wheels"
    lock = "".join(f"{name} --hash=sha256:{digest}\n" for name, digest in packages_of_the_tests(wheels).items())
    for name in ("build", "base"):
        (source / f"locks/{name}.txt").write_text(lock)
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "All"]):
        subprocess.run(["git", *words], cwd=source, check=True)

    python = folder / "python/bin"
    subprocess.run([sys.executable, "-m", "venv", python.parent], check=True)
    (packages,) = (python.parent / "lib").glob("python*/site-packages")
    (packages / "without.pth").write_text("import sys; sys.modules['ensurepip'] = None\n")
    for name in ("python3.11", "python3.12"):
        if not (python / name).exists():
            (python / name).symlink_to("python3")
    # What a notebook brings along; each would end a run that imports it.
    for name in ("numpy", "keras", "snakemake"):
        (folder / "dist-packages" / name).mkdir(parents=True)
        (folder / "dist-packages" / name / "__init__.py").write_text("raise ImportError('of the notebook')\n")
    (folder / "colab/google/colab").mkdir(parents=True)
    (folder / "colab/google/colab/__init__.py").touch()
    (folder / "colab/google/colab/files.py").write_text(
        "import os\ndef download(path):\n    assert os.path.getsize(path) > 1000, path\n"
    )
    place = folder / "content"
    place.mkdir()
    environment = os.environ | {
        "PATH": os.pathsep.join([str(python), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(folder / "dist-packages"),
        "MPLBACKEND": BACKEND,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "HOME": str(folder),
    }
    environment.pop("PYTHONNOUSERSITE", None)
    return str(source), place, environment, str(folder / "colab")


def test_jobs_can_import_matplotlib_where_a_notebook_names_its_own_backend(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", BACKEND)
    isolation.shut_out_notebook()
    subprocess.run([sys.executable, "-c", "import matplotlib.pyplot"], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "heading"), [("devices.md", "## In a hosted notebook"), ("machines.md", "In a notebook")]
)
def test_the_cells_of_the_docs_run_as_they_stand(page, heading, notebook):
    source, place, environment, colab = notebook
    shutil.rmtree(place / "trainoff", ignore_errors=True)
    lines = cells(page, heading)
    assert sum(line.startswith("!") for line in lines) >= 2
    for line in lines:
        if not line.startswith("!"):
            subprocess.run([sys.executable, "-c", line], cwd=place, env=os.environ | {"PYTHONPATH": colab}, check=True)
            continue
        for address in ADDRESSES:
            line = line.replace(address, source)
        done = subprocess.run(["bash", "-c", line[1:]], cwd=place, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    pip = subprocess.run(
        [place / "trainoff/.venv/bin/python", "-m", "pip", "--version"], capture_output=True, text=True, check=True
    )
    assert str(place / "trainoff/.venv") in pip.stdout, "the notebook's own Python is left alone"
