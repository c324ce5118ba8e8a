"""Which of my machines trains this model faster, and does it train it equally well?"""

import gc
import os

from snakemake.utils import min_version

min_version("9.27.1")

# Where the project lies, also for a workflow that imports this one with `module`.
PROJECT = workflow.current_basedir.get_path_or_uri(secret_free=False)
IS_MAIN = workflow.modifier.is_main_snakefile()
# The jobs of a large sweep are millions of objects that all stay: Python looks for garbage among them only once they are
# planned (rules/train.smk, onstart), which takes a quarter off the start.
if IS_MAIN:
    gc.disable()


include: "rules/guard.smk"


# By its whole path, for a start from another folder.
configfile: os.path.join(PROJECT, "config.yaml")


report: "report/workflow.rst"


# An image that holds the environments of envs/ (docs/how-to.md).
if config.get("container"):

    containerized: config["container"]


include: "rules/common.smk"
include: "rules/finished.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/parity.smk"
include: "rules/limits.smk"
include: "rules/turns.smk"
include: "rules/bundle.smk"
include: "rules/aggregate.smk"
include: "rules/plot.smk"
include: "rules/predict.smk"
include: "rules/packing.smk"
include: "rules/report.smk"
include: "rules/track.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        report="<results>/report.html",
        # All that comes out, so that what was deleted comes back though what is made of it is newer.
        runs=[path for path in METRICS if not os.path.exists(path)],
        prepared=PREPARED,
        tables=lambda wildcards: TABLES_AND_FIGURES,
        trackers=TRACKED,


# What README lists under "What comes out": all outputs of the rules that the report is made by.
TABLES_AND_FIGURES = [
    path for name in BEHIND_THE_REPORT for path in getattr(rules, name).output
]


# On a cluster all else runs where Snakemake runs; what is measured becomes a job.
workflow.localrules(*{rule.name for rule in workflow.modifier.rules} - MEASURED_RULES)
# Once every rule has asked for what it depends on.
for notes in DIGESTS, HASHES, DATA_HASHES:
    notes.save()
