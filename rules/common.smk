"""The experiment, checked, and the runs that follow from it."""

import inspect
import json
import math
import os
import sys

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod, Quietness

sys.path.insert(0, os.path.join(workflow.basedir, "scripts"))

from trainoff import devices as machine
from trainoff import cost, experiment, locking, merging, progress, slurm
from trainoff.errors import UserError
from trainoff.files import sha256_of_all
from trainoff.imports import code_of

if workflow.is_main_process:
    locking.release_if_abandoned(".snakemake")
# No settings while linting, no list when nothing is to be quiet.
if Quietness.PROGRESS in (getattr(workflow.output_settings, "quiet", None) or ()):
    logger.addFilter(progress.is_news)


def read_yaml(path):
    with open(os.path.join(workflow.basedir, path), encoding="utf-8") as file:
        return yaml.safe_load(file)


SCHEMA = read_yaml("schemas/config.schema.yaml")
MODELS = read_yaml("catalog/models.yaml")
# Holds the name of this folder to others, once it has exchanged bundles with them; one for all experiments.
ORIGIN_FILE = "results/.origin"

try:
    experiment.check(
        config,
        schema=SCHEMA,
        models=MODELS,
        where=" + ".join(os.path.relpath(path) for path in workflow.configfiles),
    )
    CATALOG = read_yaml("catalog/devices.yaml")
    experiment.check_catalog(CATALOG, SCHEMA)
    DEVICES = experiment.devices(config, CATALOG, detect=machine.detect)
    experiment.check_devices(DEVICES, config, SCHEMA, MODELS)
    # What costs rest on; no training depends on it.
    ASSUMPTIONS = cost.assumptions(config, DEVICES, CATALOG)
    # The device that the others are held to; not always one of the experiment's.
    REFERENCE = experiment.reference(DEVICES, CATALOG)
    SURVEY = merging.survey(config["imports"], DEVICES, REFERENCE, ORIGIN_FILE)
except UserError as error:
    raise WorkflowError(str(error)) from None

RESULTS = config["pathvars"]["results"]
RUN_PATTERN = "<results>/runs/{device}/model~{model}/batch_size~{batch_size}/img_dim~{img_dim}/trainable~{trainable}/precision~{precision}/xla~{xla}/learning_rate~{learning_rate}/replicate~{replicate}"


# A wall meter writes its file while the sweep runs, so it need not be there yet.
WALL_METER_FILES = [
    meter["file"]
    for meter in config["energy"]["wall_meters"]
    if os.path.isfile(meter["file"])
]


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
RUN_WILDCARDS = [experiment.wildcards(run) for run in RUNS]
# The place of each run in the sweep, by its wildcards.
ORDER = {
    tuple(sorted(wildcards.items())): place
    for place, wildcards in enumerate(RUN_WILDCARDS)
}
METRICS = [
    f"{RUN_PATTERN}/metrics.json".replace("<results>", RESULTS).format(**wildcards)
    for wildcards in RUN_WILDCARDS
]


def metrics_of_all_runs(wildcards):
    """The records of all runs; a function, so that only rules that take part in a sweep read the list."""
    return METRICS


# Files of the user's that images and weights are made of.
OWN_FILES = [
    path
    for path in [config["dataset"].get("archive"), config["weights"]]
    if path not in (None, "random", "imagenet")
]
# The keys that say what images and weights are made of.
PREPARED = {key: config[key] for key in ["dataset", "images", "weights", "seed"]}

# Priority of what all runs need: everything is prepared before the first run is timed, so that runs keep their order.
BEFORE_RUNS = len(RUNS) + 1

PROBE_OF = {
    (run["device"]["name"], run["model"], run["precision"], json.dumps(run["xla"])): run
    for run in experiment.probes(
        config, DEVICES, REFERENCE, other_machines=SURVEY.probed
    )
}
# What rules that use the table take as input: nothing where there is nothing to compare.
PARITY = "<results>/tables/parity.parquet" if PROBE_OF or SURVEY.probed else []
# The records of other machines, where there are any.
IMPORTED = "<results>/imported" if SURVEY.paths else []


TRIAL_OF = {
    (run["device"]["name"], run["model"], run["axis"]): run
    for run in experiment.limit_trials(config, DEVICES)
}


def place_of(wildcards):
    """Place of a run in the sweep, from 0."""
    return ORDER[tuple(sorted(wildcards.items()))]


def device_of(wildcards):
    return next(
        device for device in [*DEVICES, REFERENCE] if device["name"] == wildcards.device
    )


def quick(function):
    """Notes a function's parameters once; Snakemake asks for them several times per job, which adds up over thousands."""
    function.__signature__ = inspect.signature(function)
    return function


def env_of(wildcards):
    """The conda file of the device that a run names."""
    return f"../envs/{device_of(wildcards)['env']}.yaml"


# The training's own limit comes first, so that it is recorded in the ordinary way.
CLUSTER_MINUTES = 10 + math.ceil(
    config["protocol"]["timeout_minutes"] + config["protocol"]["wait_for_quiet_minutes"]
)
REQUESTS = {
    device["name"]: slurm.request(device, CLUSTER_MINUTES)
    for device in [REFERENCE, *DEVICES]
}


def from_slurm(resource):
    """The value of a resource, or where devices differ the function of wildcards that gives it."""
    values = {request[resource] for request in REQUESTS.values()}
    if len(values) == 1:
        return values.pop()
    return quick(lambda wildcards: REQUESTS[wildcards.device][resource])


# Resources of what is measured: what a job on its device asks SLURM for. Other executors take no notice.
FROM_SLURM = {
    resource: from_slurm(resource) for resource in slurm.request({}, CLUSTER_MINUTES)
}


def code_on_device(script):
    """Input function: a script and all that it imports, less the backends that the device does not use."""
    own = [path for path in code_of(script) if "/backends/" not in path]
    return lambda wildcards: [
        *own,
        "scripts/trainoff/backends/__init__.py",
        f"scripts/trainoff/backends/{device_of(wildcards)['backend']}.py",
    ]


def digests_on_devices(*scripts):
    """{backend: {"training": SHA-256 of scripts and all they import without backends, "backend": of the backend}}.

    A value per job in place of dozens of input files, which matters for thousands of jobs; and a touched file is no change.
    """
    files = sorted({path for script in scripts for path in code_of(script)})
    training = sha256_of_all(path for path in files if "/backends/" not in path)
    return {
        backend: {
            "training": training,
            "backend": sha256_of_all(
                f"scripts/trainoff/backends/{name}.py" for name in ["__init__", backend]
            ),
        }
        for backend in {device["backend"] for device in [*DEVICES, REFERENCE]}
    }


# What trainings run in. Snakemake asks for it per job even where conda is not used: then one answer does for all.
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    TRAIN_ENV = env_of
else:
    TRAIN_ENV = f"../envs/{(DEVICES or [REFERENCE])[0]['env']}.yaml"


def archive_of_dataset(wildcards):
    """The archive that the images are read from; none for a dataset that comes with a library."""
    if config["dataset"]["name"] == "digits":
        return []
    return config["dataset"].get("archive", "results/downloads/cifar-10-binary.tar.gz")


def source_of_weights(wildcards):
    """The file that the starting weights are read from; none for random ones."""
    if config["weights"] == "random":
        return []
    if config["weights"] != "imagenet":
        return config["weights"]
    size = weight_size(wildcards.model, int(wildcards.img_dim))
    return f"results/downloads/weights/{wildcards.model}_{size}_no_top.h5"


def weight_size(model, img_dim):
    """The image size of the published weights file that an img_dim takes."""
    published = MODELS[model]["weights"]
    return img_dim if img_dim in published["sizes"] else published["default_size"]


def url_of_weights(wildcards):
    return MODELS[wildcards.model]["weights"]["url"].format(size=wildcards.size)


def architecture_of(wildcards):
    return {key: MODELS[wildcards.model][key] for key in ["application", "module"]}


@quick
def run_of(wildcards):
    """All that a training depends on besides its input files, in built-in types."""
    run = RUNS[place_of(wildcards)]
    protocol = config["protocol"]
    return {
        **run,
        "architecture": {
            key: MODELS[run["model"]][key] for key in ["application", "module"]
        },
        **config["training"],
        # Only where it is asked for: a finished run without it stays valid.
        **({"deterministic": True} if config["deterministic"] else {}),
        "epochs": protocol["epochs"],
        "images_per_epoch": protocol["images_per_epoch"],
        "warm_up_epochs": protocol["warm_up_epochs"],
    }


def first_run_of(wildcards):
    """What scripts/train.py would get for the first replicate of a pack's configuration."""
    values = {key: value for key, value in wildcards.items() if key != "at_once"}
    return run_of({**values, "replicate": "1"})


def probe_of(wildcards):
    """All that a probe depends on besides its input files, in built-in types."""
    run = PROBE_OF[
        wildcards.device, wildcards.model, wildcards.precision, wildcards.xla
    ]
    return {**run, "architecture": architecture_of(wildcards)}


def train_priority(wildcards):
    """Runs start in the order of the sweep, which interleaves replicates, configurations and devices."""
    return len(RUNS) - place_of(wildcards)


def limit_of(wildcards):
    """All that a search depends on, in built-in types."""
    run = TRIAL_OF[wildcards.device, wildcards.model, wildcards.axis]
    return {
        **run,
        "classes": experiment.CLASSES,
        "architecture": architecture_of(wildcards),
    }


CODE_OF_TRAINING = digests_on_devices("scripts/train.py")
# What a run depends on of our code: a value where one does for all devices, which saves a call for each of thousands of jobs.
if len(CODE_OF_TRAINING) == 1:
    (TRAINING_CODE,) = CODE_OF_TRAINING.values()
else:
    TRAINING_CODE = quick(
        lambda wildcards: CODE_OF_TRAINING[device_of(wildcards)["backend"]]
    )
