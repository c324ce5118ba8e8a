"""Which of my machines trains this model faster, and does it train it equally well?"""

import gc
import os

from snakemake.utils import min_version

min_version("9.27.1")

# Where the project lies, also for a workflow that imports this one with `module`.
PROJECT = workflow.current_basedir.get_path_or_uri(secret_free=False)
IS_MAIN = workflow.modifier.is_main_snakefile()
# The jobs of a large sweep are millions of objects that all stay: garbage collection starts only after planning
# (rules/train.smk, onstart), which makes the start a quarter faster.
if IS_MAIN:
    gc.disable()


include: "rules/guard.smk"


# An absolute path, for a start from another folder.
configfile: os.path.join(PROJECT, "config.yaml")


report: "report/workflow.rst"


# An image with the environments of envs/ (docs/how-to.md).
if config.get("container"):

    containerized: config["container"]


include: "rules/common.smk"
include: "rules/finished.smk"
include: "rules/finished_turns.smk"
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
        # All outputs, so that deleted ones are recreated even if files made from them are newer.
        runs=[path for path in METRICS if not os.path.exists(path)],
        prepared=PREPARED,
        tables=lambda wildcards: TABLES_AND_FIGURES,
        trackers=TRACKED,


# All outputs of the rules that make the report.
TABLES_AND_FIGURES = [
    path for name in BEHIND_THE_REPORT for path in getattr(rules, name).output
]


# On a cluster, only measured rules become jobs; everything else runs where Snakemake runs.
workflow.localrules(*{rule.name for rule in workflow.modifier.rules} - MEASURED_RULES)
# After every rule has requested its digests and hashes.
for notes in DIGESTS, HASHES, DATA_HASHES:
    notes.save()
