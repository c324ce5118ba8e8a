"""Dry runs of Snakemake in processes forked from one that has imported it, which is two thirds of what a dry run takes.

Imports nothing of the project: the copy of it that is tried brings its own.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OF_THE_TESTS = {ROOT, *(ROOT / name for name in ("tests", "scripts", "benchmarks"))}
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["snakemake.cli"])


def run(arguments, folder, environment):
    """What `python -m snakemake` does with the arguments in the folder: the finished process, its output in `stdout`."""
    with tempfile.NamedTemporaryFile("r+", suffix=".log") as output:
        process = FORKED.Process(target=_main, args=(arguments, str(folder), environment, output.name))
        process.start()
        process.join()
        return subprocess.CompletedProcess(arguments, process.exitcode, output.read())


def _main(arguments, folder, environment, output):
    with open(output, "w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [folder, *(path for path in sys.path if Path(path).resolve() not in OF_THE_TESTS)]
    sys.argv = ["snakemake", *arguments]

    from snakemake.cli import main

    main()
