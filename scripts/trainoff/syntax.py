"""What Python source means: a digest of its syntax tree without comments and docstrings."""

import ast
import hashlib

# Imports of this package say only where a module lies.
PACKAGE = "trainoff"
# Fields of syntax trees that differ between versions of Python and say nothing of what the code does.
_NO_MEANING = {"type_params", "type_comment", "kind", "ctx"}


def meaning(source):
    """SHA-256 of Python source by its syntax tree: comments, docstrings, layout and which room a module of ours lies in
    count for nothing.
    """
    digest = hashlib.sha256()
    _feed(ast.parse(source), digest.update)
    return digest.hexdigest()


def _feed(node, update):
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
        return
    if isinstance(node, ast.AST):
        update(type(node).__name__.encode() + b"(")
        for name in node._fields:
            value = getattr(node, name, None)
            if name in _NO_MEANING or value is None or value == []:
                continue
            if name == "body" and isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                value = value[1:] if ast.get_docstring(node, clean=False) is not None else value
            update(name.encode() + b"=")
            _feed(value, update)
        update(b")")
    elif isinstance(node, list):
        update(b"[")
        for item in node:
            _feed(item, update)
        update(b"]")
    else:
        update(repr(node).encode() + b",")
