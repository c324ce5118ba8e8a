"""Runs the script of a job as Snakemake does: run_job.py NUMBER, of the job in jobs.json."""

import json
import runpy
import sys


class Named(dict):
    __getattr__ = dict.__getitem__

    def __getitem__(self, key):
        return super().__getitem__(str(key))


with open("jobs.json", encoding="utf-8") as file:
    job = json.load(file)[int(sys.argv[1])]
sys.path.append("scripts")
parts = {part: Named(job[part]) for part in ("input", "output", "params", "wildcards", "resources", "log")}
# The rules of figures name their script in a param.
runpy.run_path(job["script"].format(params=parts["params"]), {"snakemake": type("Snakemake", (), parts)}, "__main__")
