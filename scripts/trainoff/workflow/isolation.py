"""Shields jobs from packages in the user's home and from a notebook's matplotlib, and makes them work in folders with special
characters.
"""

import os
import shlex
import site

from snakemake.executors import local
from snakemake.script import PythonScript
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


def shut_out_user_packages(snakemake_file: str) -> None:
    """Hides packages installed with `pip install --user` from all processes that this one starts, including pip and conda.

    snakemake_file: where Snakemake itself was imported from; if it was installed in this way, nothing is hidden, since no job
    could start otherwise.
    """
    if not os.path.realpath(snakemake_file).startswith(os.path.realpath(site.getusersitepackages()) + os.sep):
        os.environ["PYTHONNOUSERSITE"] = "1"


def shut_out_notebook() -> None:
    """Lets processes that this one starts import matplotlib, as Keras does, though a notebook names a backend that they lack."""
    os.environ["MPLBACKEND"] = "Agg"


def quote_python() -> None:
    """Lets jobs start if the path of the folder, and so of its Python, has spaces.

    Snakemake 9 writes that path into shell commands without quotes. A path without special characters stays the same.
    """
    _change(PythonScript, "_execute_cmd", _with_quoted_python)
    for executor in (local.Executor, RemoteExecutor):
        _change(executor, "get_python_executable", lambda method: lambda self: shlex.quote(method(self)))


def _with_quoted_python(method):
    def execute(self, command, **options):
        python = {key: shlex.quote(value) for key, value in options.items() if key == "py_exec"}
        return method(self, command, **options | python)

    return execute


def _change(owner, name, change):
    """Applies the change once per process, however many workflows are read in it."""
    method = getattr(owner, name)
    if not hasattr(method, "quotes_python"):
        changed = change(method)
        changed.quotes_python = True
        setattr(owner, name, changed)
