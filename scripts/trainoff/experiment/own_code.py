"""The user's own models, as an experiment names them: checks and digests of their files, without running them."""

import ast
import hashlib
import importlib.metadata
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from trainoff.errors import UserError, did_you_mean, one_line
from trainoff.experiment.syntax import meaning
from trainoff.files import sha256


def entries(models: dict[str, dict[str, Any]] | None) -> dict[str, dict[str, str]]:
    """{name: entry} of the experiment's key `models`, each as training reads it: {"function" or "file": …, "sha256": …}.

    sha256: of the meaning of the file and of the modules beside it that it imports; of a saved model, of its bytes. Raises
    UserError for a file that is missing, cannot be parsed or has no such function.
    """
    return {name: _entry(f"models.{name}", model) for name, model in (models or {}).items()}


def is_own(architecture: dict[str, Any]) -> bool:
    """Whether an architecture is the user's own model, not one of keras.applications."""
    return "function" in architecture or "file" in architecture


def require_unchanged(architecture: dict[str, Any]) -> None:
    """Raises UserError when the file of the user's own model has changed in meaning since the sweep started."""
    if not is_own(architecture):
        return
    source = {key: architecture[key] for key in ("function", "file") if key in architecture}
    if _entry("models", source)["sha256"] != architecture["sha256"]:
        raise UserError(
            f"{next(iter(source.values()))} has changed since the sweep started, so its runs would mix two versions of the "
            "model. Start again; runs of the old version are trained again."
        )


def name_in_records(architecture: dict[str, Any]) -> str:
    """The model's name in a record: the user's file without its folder."""
    return Path(architecture.get("function") or architecture["file"]).name


def packages(architecture: dict[str, Any]) -> dict[str, str]:
    """{package: version} of the installed packages that the user's file imports, besides Keras and the standard library."""
    if "function" not in architecture:
        return {}
    path = Path(architecture["function"].rpartition(":")[0])
    names = {name.partition(".")[0] for file in _files(path) for name in _imported_names(_tree(file))}
    names -= {*sys.stdlib_module_names, "keras", "numpy", "tensorflow", "torch", "jax", "trainoff"}
    names = {name for name in names if name and not _local(path.parent, name)}
    if not names:
        return {}
    distributions = _distributions()
    return {
        package: importlib.metadata.version(package)
        for name in sorted(names)
        for package in distributions.get(name, [])[:1]
    }


def _entry(key, model):
    if "file" in model:
        path = Path(model["file"])
        if not path.is_file():
            raise UserError(
                f"{key}.file: there is no file {one_line(path)}. Expected a model that model.save('name.keras') wrote."
            )
        return {"file": model["file"], "sha256": sha256(path)}
    path, _, name = model["function"].rpartition(":")
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{key}.function: there is no file {one_line(path)}. Expected file.py:function, with the file relative to the folder "
            "where you start."
        )
    _check_function(f"{key}.function", _tree(path), path, name)
    return {"function": model["function"], "sha256": _meaning_of(path)}


def _check_function(key, tree, path, name):
    """Raises UserError where the file has no such function, or the function takes other parameters."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if name not in functions:
        # It may be defined elsewhere; then only calling it shows more.
        bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        bound |= {node.asname or node.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.alias)}
        bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        if name in bound or "*" in bound:
            return
        raise UserError(
            f"{key}: {path} has no function {name}{did_you_mean(name, functions)}. Expected def {name}(input_shape, classes): in "
            "it."
        )
    arguments = functions[name].args
    positional = [argument.arg for argument in arguments.args]
    by_name = {*positional, *(argument.arg for argument in arguments.kwonlyargs)}
    needed = {*positional[: len(positional) - len(arguments.defaults)]}
    needed |= {
        argument.arg
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    }
    wanted = {"input_shape", "classes"}
    if arguments.posonlyargs or not (wanted <= by_name or arguments.kwarg) or not needed <= wanted:
        actual = ", ".join(positional) or "nothing"
        raise UserError(
            f"{key}: {path}, line {functions[name].lineno}: {name} takes {actual}. Expected def {name}(input_shape, "
            "classes):, and a default for every other parameter."
        )


def _meaning_of(path):
    """SHA-256 of the meaning of a Python file and of the modules beside it that it imports."""
    folder = path.parent
    named = {file.relative_to(folder).as_posix(): meaning(file.read_bytes()) for file in _files(path)}
    # The model's own file gets the key "", so that renaming it changes nothing.
    named[""] = named.pop(path.name)
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _files(path):
    """The Python file at `path` and all modules in its folder that it imports, directly or through others."""
    files, todo = [path], [path]
    while todo:
        file = todo.pop()
        for name in _imported_names(_tree(file), file.relative_to(path.parent).parent.parts):
            for local in _local(path.parent, name):
                if local not in files:
                    files.append(local)
                    todo.append(local)
    return files


def _imported_names(tree, package=()):
    """Dotted names of everything that a syntax tree imports. package: names of the packages that contain it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            base += node.module.split(".") if node.module else []
            yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)


def _local(folder, name):
    """Files in `folder` that importing the dotted `name` runs: its own and those of its packages."""
    parts, files = name.split("."), []
    for length in range(1, len(parts) + 1):
        stem = folder.joinpath(*parts[:length])
        files += [path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]
    return files


def _tree(path):
    try:
        return ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {type(error).__name__}: {one_line(error.msg)}.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as Python ({one_line(error)}).") from None


@cache
def _distributions():
    return importlib.metadata.packages_distributions()
