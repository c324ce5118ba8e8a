"""Which of our modules a script imports: what Snakemake must watch to know when a result is out of date."""

import ast
import functools
import re
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


# An import of the package, wherever it stands in a file; the names may be in brackets over several lines.
_IMPORT = re.compile(rf"^[ \t]*((?:import|from)[ ]+{PACKAGE}\b[^\n(#]*(?:\([^)]*\))?)", re.MULTILINE)


@functools.cache
def _imported(root, path):
    """Paths of the package's modules that the file at `path` itself imports. Cached, as most scripts share most modules.

    Only the imports are parsed: whole files would take a quarter of a second at every start.
    """
    found = []
    for node in ast.walk(ast.parse("\n".join(_IMPORT.findall(path.read_text(encoding="utf-8"))))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            stem = root.joinpath(*name.split("."))
            found += [path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]
    return found
