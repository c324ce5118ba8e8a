"""Which of our modules a script imports: what Snakemake must watch to know when a result is out of date."""

import ast
from pathlib import Path

PACKAGE = "trainoff"


def code_of(script):
    """Paths of a script and of all modules of the package that it needs: the inputs that a rule's code is."""
    return [str(script), *own_modules(script)]


def own_modules(script):
    """Paths of all modules of the package that `script` imports, directly or through others, sorted.

    Reads the code without running it. Imports inside functions count too. Paths are relative like `script`, so that a
    project folder can be moved without anything being out of date.
    """
    root = Path(script).parent
    found, todo = set(), [Path(script)]
    while todo:
        for path in _imported(root, todo.pop()):
            if path not in found:
                found.add(path)
                todo.append(path)
    return sorted(str(path) for path in found)


def _imported(root, path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == PACKAGE:
                stem = root.joinpath(*name.split("."))
                for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
                    if candidate.is_file():
                        yield candidate
