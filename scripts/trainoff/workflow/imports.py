"""Which of our modules a script imports, and a digest of their meaning.

The digest covers syntax trees without comments, docstrings and types, so that only a change of meaning invalidates a result.
"""

import ast
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from trainoff.experiment.syntax import meaning
from trainoff.files import Notes

PACKAGE = "trainoff"
# The code that runs while the clock runs or that decides what is trained. A change of meaning in one of these modules retrains
# every run, a change anywhere else retrains none.
MEASURED = ("protocol", "batches", "models", "meters")
# Versions of measured modules that measure the same: {module: {digest: "new" or the digest of the equal version}}.
SAME_CODE = Path(__file__).parents[1] / "measure" / "same_code.yaml"


def own_modules(
    script: str | Path, root: str | Path | None = None, names_in: Callable[[str], list[str]] | None = None
) -> list[str]:
    """Paths of all modules of the package that `script` imports, directly or through others, sorted.

    Reads the code without running it. Imports inside functions count too. root: the package's parent folder, if it is not the
    script's. names_in: returns the names that the file at a path imports; parses the file if not given.
    """
    root = Path(script).parent if root is None else root
    names_in = names_in or (lambda path: imported_names(Path(path).read_bytes()))
    paths, todo = set(), [str(script)]
    while todo:
        for name in names_in(todo.pop()):
            for path in _files_of(root, name):
                if path not in paths:
                    paths.add(path)
                    todo.append(path)
    return sorted(paths)


def measured_modules(scripts: str | Path, backend: str, more: Iterable[str] = ()) -> list[Path]:
    """Paths of the modules that measure a training on `backend`.

    scripts: the folder of the scripts. more: names of further modules that run in the same process.
    """
    folder = Path(scripts) / PACKAGE / "measure"
    return [folder / f"{name}.py" for name in (*MEASURED, *more, "backends/__init__", f"backends/{backend}")]


class Digests(Notes):
    """Digests and imports of code, cached by content, since parsing all modules takes most of a second."""

    def of_script(self, script: str | Path) -> str:
        """SHA-256 of the meaning of a script and of all modules of the package that it imports."""
        return self.of_files([script, *own_modules(script, names_in=lambda path: self._of(path)["imports"])])

    def of_files(self, paths: Iterable[str | Path]) -> str:
        """SHA-256 of the meaning of Python files, independent of their order and location."""
        return _digest({"/".join(os.fspath(path).split(os.sep)[-2:]): self.of_file(path) for path in paths})

    def of_measured(self, paths: Iterable[str | Path]) -> str:
        """SHA-256 of measured modules, each represented by the first version that measures the same (SAME_CODE)."""
        same = _same_code()
        named = {}
        for path in map(Path, paths):
            folder = path.parent.name if path.parent.name == "backends" else PACKAGE
            digest = self.of_file(path)
            equal = same.get(f"{folder}/{path.stem}", {}).get(digest, "new")
            named[f"{folder}/{path.name}"] = digest if equal == "new" else equal
        return _digest(named)

    def of_file(self, path: str | Path) -> str:
        """SHA-256 of the meaning of one Python file."""
        return self._of(str(path))["meaning"]

    @functools.cache  # noqa: B019 - one object per start
    def _of(self, path):
        """{"meaning": its digest, "imports": names that it imports} of one Python file."""
        with open(path, "rb") as file:
            source = file.read()
        return self.of(
            hashlib.sha256(source).hexdigest(),
            lambda: {"meaning": meaning(source, types=False), "imports": imported_names(source)},
            lambda noted: isinstance(noted, dict) and noted.keys() == {"meaning", "imports"},
        )


def _digest(named):
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


@functools.cache
def _same_code():
    return yaml.safe_load(SAME_CODE.read_text(encoding="utf-8"))


# An import of the package anywhere in a file; the names may be in parentheses over several lines.
_IMPORT = re.compile(rf"^[ \t]*((?:import|from)[ ]+{PACKAGE}\b[^\n(#]*(?:\([^)]*\))?)", re.MULTILINE)


def imported_names(source: bytes) -> list[str]:
    """Dotted names of the package that a Python file (bytes) imports; only its imports are parsed."""
    names = []
    for node in ast.walk(ast.parse("\n".join(_IMPORT.findall(source.decode("utf-8"))))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


@functools.cache
def _files_of(root, name):
    """Paths of the files that a dotted name refers to: a module, a package, or none for a name inside a module."""
    stem = os.path.join(root, *name.split("."))
    return [path for path in (f"{stem}.py", os.path.join(stem, "__init__.py")) if os.path.isfile(path)]
