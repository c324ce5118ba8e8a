"""The experiment, checked, and the runs that follow from it."""

import os
import sys

import yaml
from snakemake.exceptions import WorkflowError

sys.path.insert(0, os.path.join(workflow.basedir, "scripts"))

from trainoff import devices as machine
from trainoff import experiment, locking, progress
from trainoff.errors import UserError
from trainoff.imports import code_of

if workflow.is_main_process:
    locking.release_if_abandoned(".snakemake")


def read_yaml(path):
    with open(os.path.join(workflow.basedir, path), encoding="utf-8") as file:
        return yaml.safe_load(file)


MODELS = read_yaml("catalog/models.yaml")

try:
    experiment.check(
        config,
        schema=read_yaml("schemas/config.schema.yaml"),
        models=MODELS,
        where=" + ".join(os.path.relpath(path) for path in workflow.configfiles),
    )
    DEVICES = experiment.devices(
        config, read_yaml("catalog/devices.yaml"), detect=machine.detect
    )
except UserError as error:
    raise WorkflowError(str(error)) from None

RESULTS = config["pathvars"]["results"]
RUN_PATTERN = "<results>/runs/{device}/model~{model}/batch_size~{batch_size}/img_dim~{img_dim}/trainable~{trainable}/precision~{precision}/xla~{xla}/learning_rate~{learning_rate}/replicate~{replicate}"


wildcard_constraints:
    device="[a-z0-9][a-z0-9_-]*",
    model="[a-z0-9_]+",
    batch_size=r"\d+",
    img_dim=r"\d+",
    trainable="true|false",
    precision="float32|mixed_float16|mixed_bfloat16",
    xla="true|false",
    learning_rate=r"[0-9.e-]+",
    replicate=r"\d+",


RUNS = experiment.runs(config, DEVICES)
# The place of each run in the sweep, by its wildcards.
ORDER = {
    tuple(sorted(experiment.wildcards(run).items())): place
    for place, run in enumerate(RUNS)
}
METRICS = [
    f"{RUN_PATTERN}/metrics.json".replace("<results>", RESULTS).format(
        **experiment.wildcards(run)
    )
    for run in RUNS
]


def place_of(wildcards):
    """Place of a run in the sweep, from 0."""
    return ORDER[tuple(sorted(wildcards.items()))]


def env_of(wildcards):
    """The conda file of the device that a run names; for steps without a device, that of the first."""
    name = wildcards.get("device", DEVICES[0]["name"])
    env = next(device["env"] for device in DEVICES if device["name"] == name)
    return f"../envs/{env}.yaml"
