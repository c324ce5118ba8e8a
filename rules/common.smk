"""The experiment, checked, and the runs that follow from it."""

import contextlib
import functools
import importlib.util
import inspect
import json
import math
import os
import sys
import threading

import snakemake
import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod, Quietness, RerunTrigger
from snakemake.utils import update_config

from trainoff import axes
from trainoff.machine import choosing, disks, variables
from trainoff.machine import devices as machine
from trainoff.experiment import checks, experiment_file, networks, own_code, plan
from trainoff.analyze import cost, hardware
from trainoff.exchange import merging
from trainoff.report.gallery import FIGURES
from trainoff.workflow import imports, isolation, locking
from trainoff.supervise import progress, slurm, supervise
from trainoff.workflow import announcing, keeping, validity
from trainoff.errors import UserError, one_line
from trainoff.files import Hashes
from trainoff.prepare import survey
from trainoff.privacy import without_folders
from trainoff.workflow.metadata import Metadata, compare_without_pandas, is_news

logger.addFilter(is_news)
isolation.shut_out_user_packages(snakemake.__file__)
isolation.quote_python()
# What is measured takes all cores, so that nothing runs beside it. By the names that an importing workflow gives.
TRAIN = workflow.modifier.modify_rulename("train")
MEASURED_RULES = {
    TRAIN,
    *map(
        workflow.modifier.modify_rulename,
        ["take_turns", "probe_device", "find_limit", "train_together"],
    ),
}
try:
    ALL_CORES = workflow.cores
except WorkflowError:  # without --cores, as for --report: then no job runs
    ALL_CORES = 1
if MEASURED_RULES & {*workflow.resource_settings.overwrite_threads}:
    raise WorkflowError(
        "--set-threads: trainings take all cores, so that none runs beside another and each is measured alone. Leave it out. How "
        "many threads a training uses is `threads` of its device; trainings at once are measured by presets/packing.yaml."
    )
# Whether jobs run in environments that conda makes.
WITH_CONDA = (
    workflow.deployment_settings is not None
    and DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
)
if not WITH_CONDA and importlib.util.find_spec("matplotlib") is None:
    raise WorkflowError(
        "This Python has Snakemake, but not the packages that train and draw. There are two ways: `make report`, which makes an "
        "environment in .venv; or `snakemake --cores 1 --use-conda`, which needs the command conda, 24.7.1 or later."
    )
# The jobs of this start end when it is killed.
supervise.name_controller()
# Whether no other start is at work in this folder.
ALONE = workflow.is_main_process and locking.release_if_abandoned(".snakemake")
# No settings while linting, no list when nothing is to be quiet.
if Quietness.PROGRESS in (getattr(workflow.output_settings, "quiet", None) or ()):
    logger.addFilter(progress.is_news)


def read_yaml(path):
    with open(os.path.join(PROJECT, path), encoding="utf-8") as file:
        # Of libyaml where there is one: a fifth of a second less at every start.
        return yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def project(path):
    """A file of the project as an input: relative to where Snakemake works, which may be another folder."""
    return os.path.relpath(os.path.join(PROJECT, path))


# The files that the experiment is merged from; what a later one says counts.
EXPERIMENT_FILES = " + ".join(map(os.path.relpath, workflow.configfiles))
# The experiment's own file, as `make report CONFIG=` takes it; None for the default experiment and for files elsewhere.
OWN_FILES = [os.path.relpath(path) for path in workflow.overwrite_configfiles]
CONFIG_FILE = (
    OWN_FILES[0] if len(OWN_FILES) == 1 and not OWN_FILES[0].startswith("..") else None
)
if workflow.modifier.path_modifier.modifies_prefixes:
    raise WorkflowError(
        "module trainoff: prefix and replace_prefix are not possible, since finished runs are found by their paths. Instead set "
        "pathvars: {results: results/elsewhere} in the config of the module."
    )
if not IS_MAIN:  # an importing workflow: what it leaves out is as in our config.yaml
    own, config = config, read_yaml("config.yaml")
    update_config(config, own)
    EXPERIMENT_FILES = (
        f"{EXPERIMENT_FILES or 'config'} of the workflow that imports this one"
    )
# Identity is of values: in whatever order an experiment's file names them.
config = plan.in_order(config)
# Where an importing workflow or --config may have put it.
RESULTS = workflow.pathvars.get("results")
DIGESTS = imports.Digests(".snakemake/trainoff/code.json")
HASHES = Hashes(".snakemake/trainoff/files.json")
DATA_HASHES = Hashes(survey.NOTES)
SCHEMA = axes.into_experiment_schema(read_yaml("schemas/config.schema.yaml"))
MODELS = read_yaml("catalog/models.yaml")
# Holds the name of this folder to others, once it has exchanged bundles with them; one for all experiments.
ORIGIN_FILE = "results/.origin"

try:
    checks.check(
        config,
        schema=SCHEMA,
        models=MODELS,
        where=EXPERIMENT_FILES,
    )
    if os.path.exists(f"{RESULTS}/decide.yaml"):
        decided = experiment_file.read(f"{RESULTS}/decide.yaml")
        config = plan.with_decided(config, decided)
        checks.check(
            config,
            schema=SCHEMA,
            models=MODELS,
            where=f"{EXPERIMENT_FILES} + {RESULTS}/decide.yaml",
        )
    # What there is to train on: classes, and what tells it from other data.
    DATA = survey.survey(config["dataset"], DATA_HASHES, machine.usable_threads())
    checks.check_counts(config["images"], DATA.classes, EXPERIMENT_FILES)
    config = plan.fitted(config)
    config["grid"] = axes.default_grid() | config["grid"]
    networks.check_catalogue(
        [name for name in config["grid"]["model"] if name in MODELS], MODELS
    )
    MODELS = networks.of_experiment(config, MODELS)
    CATALOG = read_yaml("catalog/devices.yaml")
    checks.check_catalog(CATALOG, SCHEMA)
    # What `devices: auto` stands for here, and why.
    CHOICE = (
        choosing.here(RESULTS, decide=workflow.is_main_process)
        if config["devices"] == "auto"
        else choosing.NONE
    )
    DEVICES = plan.devices(
        config, CATALOG, detect=lambda: choosing.entries(CHOICE, CATALOG)
    )
    checks.check_devices(DEVICES, config, SCHEMA, MODELS)
    # What costs rest on; no training depends on it.
    ASSUMPTIONS = cost.assumptions(config, DEVICES, CATALOG)
    # The device that the others are compared with; not always one of the experiment's.
    REFERENCE = plan.reference(DEVICES, CATALOG)
    SURVEY = merging.survey(config["imports"], DEVICES, REFERENCE, ORIGIN_FILE)
    checks.check_compared(config, SURVEY.devices, CATALOG)
except UserError as error:
    raise WorkflowError(str(error)) from None

RUN_PATTERN = f"<results>/runs/{{device}}/{axes.path()}/replicate~{{replicate}}"


wildcard_constraints:
    **axes.constraints(),
    device="[a-z0-9][a-z0-9_-]*",
    replicate=r"\d+",


RUNS = plan.runs(config, DEVICES)
RUN_WILDCARDS = [plan.wildcards(run) for run in RUNS]
# The place of each run in the sweep, by its wildcards.
ORDER = {
    tuple(sorted(wildcards.items())): place
    for place, wildcards in enumerate(RUN_WILDCARDS)
}
METRICS = [
    f"{RUN_PATTERN}/metrics.json".replace("<results>", RESULTS).format(**wildcards)
    for wildcards in RUN_WILDCARDS
]


def before_planning():
    """For input functions, which are the first that Snakemake calls when it plans: what it is to know and to compare by.

    Whoever starts this, with whatever profile: code counts as changed by what it means (see code_of), not by a script's time
    stamp, and an environment by the versions of what trains (see validity), not by its file.
    """
    workflow.dag_settings.rerun_triggers = frozenset(
        {RerunTrigger.INPUT, RerunTrigger.MTIME, RerunTrigger.PARAMS}
    )
    if IS_MAIN and workflow.is_main_process:
        compare_without_pandas(workflow.persistence)
    METADATA.restore()


def metrics_of_all_runs(wildcards):
    """The records of all runs; a function, so that only rules that take part in a sweep read the list."""
    before_planning()
    return METRICS


def code_of(script):
    """A param of each rule: a digest of what its script and all that it imports mean."""
    return DIGESTS.of_script(os.path.join(PROJECT, script))


@functools.cache
def hash_of(path):
    """SHA-256 of a file of the user's; None for none, and for one that is not there (whoever reads it says so)."""
    return HASHES.sha256(path) if path and os.path.isfile(path) else None


def literal(value):
    """A params function that gives `value` as it is: in texts given directly, Snakemake fills in {x} and <x>.

    For the same reason no file of the user's is an input, whatever function names it: its path is a param, and its hash.
    """
    return lambda wildcards: value


# What images and weights are made of, as the facts beside them say.
IMAGES_FROM = {
    "dataset": config["dataset"]["name"],
    "archive_sha256": hash_of(config["dataset"].get("archive")),
    "images": config["images"],
    **DATA.identity,
}


def weights_from(model):
    """What the starting weights of a model are made of, as the facts beside them say."""
    weights = networks.weights_of(model, config)
    kind = validity.kind_of_weights(weights)
    return {
        "weights": kind,
        "weights_file_sha256": hash_of(weights) if kind == "file" else None,
        "seed": config["seed"],
        # Of the user's own models: what the file means that makes them.
        **(
            {"model_sha256": MODELS[model]["sha256"]}
            if own_code.is_own(MODELS[model])
            else {}
        ),
    }


# Of all models that the experiment trains.
ARCHITECTURES = {
    model: networks.architecture(MODELS[model], networks.weights_of(model, config))
    for model in sorted({run["model"] for run in RUNS})
}
WEIGHTS_FROM = {model: weights_from(model) for model in ARCHITECTURES}

# Priority of what all runs need: everything is prepared before the first run is timed, so that runs keep their order.
BEFORE_RUNS = len(RUNS) + 1

PROBE_OF = {
    (run["device"]["name"], run["model"], run["precision"], json.dumps(run["xla"])): run
    for run in plan.probes(config, DEVICES, REFERENCE, other_machines=SURVEY.probed)
}
# What rules that use the table take as input: nothing where there is nothing to compare.
PARITY = "<results>/tables/parity.parquet" if PROBE_OF or SURVEY.probed else []
# The records of other machines, where there are any.
IMPORTED = "<results>/imported" if SURVEY.paths else []


TRIAL_OF = {
    (run["device"]["name"], run["model"], run["axis"]): run
    for run in plan.limit_trials(config, DEVICES)
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


# What is measured runs in the environment of its device. Snakemake asks for it per job even where conda is not used: then
# trainings, of which there are thousands, name none, unless something is told of the environments. --containerize collects the
# environments of the runs, and takes no function for what they do not need.
ONE_ENV = f"../envs/{(DEVICES or [REFERENCE])[0]['env']}.yaml"
CONTAINERIZES = any(word.startswith("--containerize") for word in sys.argv)
TELLS_ENVIRONMENTS = {"--lint", "--report"} & {word.split("=")[0] for word in sys.argv}
TRAIN_ENV = (
    env_of if WITH_CONDA or CONTAINERIZES else ONE_ENV if TELLS_ENVIRONMENTS else None
)
MEASURED_ENV = env_of if WITH_CONDA and not CONTAINERIZES else ONE_ENV


# The archives that are downloaded, by dataset.
ARCHIVES = {"cifar10": "cifar-10-binary", "cifar100": "cifar-100-binary"}


def source_of_dataset(wildcards):
    """The archive that is downloaded; none for a dataset that comes with a library, and for files of the user's own."""
    before_planning()
    if config["dataset"]["name"] not in ARCHIVES or "archive" in config["dataset"]:
        return []
    return f"results/downloads/{ARCHIVES[config['dataset']['name']]}.tar.gz"


def source_of_weights(wildcards):
    """The weights that are downloaded; none for random ones, and for the user's own file."""
    if networks.weights_of(wildcards.model, config) != "imagenet":
        return []
    size = weight_size(wildcards.model, int(wildcards.img_dim))
    return f"results/downloads/weights/{wildcards.model}_{size}_no_top.h5"


def weight_size(model, img_dim):
    """The image size of the published weights file that an img_dim takes."""
    published = MODELS[model]["weights"]
    return img_dim if img_dim in published["sizes"] else published["default_size"]


def url_of_weights(wildcards):
    return MODELS[wildcards.model]["weights"]["url"].format(size=wildcards.size)


def made_from_of(wildcards):
    return WEIGHTS_FROM[wildcards.model]


def own_weights_of(wildcards):
    """The user's own file of weights for a model; None for none."""
    weights = networks.weights_of(wildcards.model, config)
    return weights if validity.kind_of_weights(weights) == "file" else None


def architecture_of(wildcards):
    return ARCHITECTURES[wildcards.model]
