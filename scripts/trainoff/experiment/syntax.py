"""Digest of the meaning of Python source: of its syntax tree without comments and docstrings."""

import ast
import hashlib

# Imports from this package only say where a module is.
PACKAGE = "trainoff"
# Modules that annotations are imported from.
TYPES = ("typing", "collections.abc")
# Fields of syntax trees that differ between versions of Python and do not affect what the code does.
_NO_MEANING = {"type_params", "type_comment", "kind", "ctx"}


def meaning(source: str | bytes, types: bool = True) -> str:
    """SHA-256 of Python source by its syntax tree, which ignores comments, docstrings, layout and the folders of our modules.

    types: whether the types of parameters and return values count, since code may read them; ours does not.
    """
    digest = hashlib.sha256()
    tree = ast.parse(source)
    _feed(tree if types else _Untyped().visit(tree), digest.update)
    return digest.hexdigest()


class _Untyped(ast.NodeTransformer):
    """Removes type annotations of functions, and imports that only serve them."""

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return None if node.module in TYPES else node


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
