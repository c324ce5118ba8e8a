"""Checks the experiment and lists its runs."""

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
from trainoff.report.figure_table import ANSWER_TABLES, FIGURES
from trainoff.workflow import imports, isolation, locking
from trainoff.supervise import progress, slurm, supervise
from trainoff.workflow import announcing, command_line, keeping, retrying, validity
from trainoff.errors import UserError, one_line
from trainoff.files import Hashes
from trainoff.prepare import survey
from trainoff.privacy import without_folders
from trainoff.workflow.metadata import Metadata, compare_without_pandas, is_news

logger.addFilter(is_news)
isolation.shut_out_user_packages(snakemake.__file__)
isolation.shut_out_notebook()
isolation.quote_python()
# Measured rules take all cores, so that nothing runs beside them. An importing workflow may rename them.
TRAIN = workflow.modifier.modify_rulename("train")
TAKE_TURNS = workflow.modifier.modify_rulename("take_turns")
MEASURED_RULES = {
    TRAIN,
    TAKE_TURNS,
    *map(
        workflow.modifier.modify_rulename,
        ["probe_device", "find_limit", "train_together"],
    ),
}
try:
    ALL_CORES = workflow.cores
except WorkflowError:  # without --cores, as for --report: then no job runs
    ALL_CORES = 1
if MEASURED_RULES & {*workflow.resource_settings.overwrite_threads}:
    raise WorkflowError(
        "--set-threads: remove it. Each training takes all cores, so that it is measured alone. `threads` of a device sets the "
        "number of threads of its trainings; presets/packing.yaml measures several trainings at once."
    )
# Whether jobs run in environments that conda makes.
WITH_CONDA = (
    workflow.deployment_settings is not None
    and DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
)
if not WITH_CONDA and importlib.util.find_spec("matplotlib") is None:
    raise WorkflowError(
        "This Python has Snakemake, but not the packages that train and draw. Run `make report`, which creates an environment in "
        ".venv, or `snakemake --cores 1 --use-conda`, which needs the command conda, 24.7.1 or later."
    )
# The jobs of this start end when it is killed.
supervise.name_controller()
if workflow.is_main_process:
    slurm.name_sweep()
# Whether this is the only start at work in this folder.
ALONE = workflow.is_main_process and locking.release_if_abandoned(".snakemake")
# There are no settings while linting, and no list without --quiet.
if Quietness.PROGRESS in (getattr(workflow.output_settings, "quiet", None) or ()):
    logger.addFilter(progress.is_news)


def read_yaml(path):
    with open(os.path.join(PROJECT, path), encoding="utf-8") as file:
        # libyaml, if installed, saves a fifth of a second at every start.
        return yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def project(path):
    """A file of the project as an input: relative to Snakemake's working directory, which may be another folder."""
    return os.path.relpath(os.path.join(PROJECT, path))


# The files that the experiment is merged from; later ones override earlier ones.
EXPERIMENT_FILES = " + ".join(map(os.path.relpath, workflow.configfiles))
# The experiment's own file, as `make report CONFIG=` takes it; None for the default experiment and for files elsewhere.
OWN_FILES = [os.path.relpath(path) for path in workflow.overwrite_configfiles]
CONFIG_FILE = (
    OWN_FILES[0] if len(OWN_FILES) == 1 and not OWN_FILES[0].startswith("..") else None
)
if workflow.modifier.path_modifier.modifies_prefixes:
    raise WorkflowError(
        "module trainoff: prefix and replace_prefix are not supported, since finished runs are found by their paths. Instead set "
        "pathvars: {results: results/elsewhere} in the config of the module."
    )
if not IS_MAIN:  # an importing workflow: our config.yaml provides the defaults
    given, config = config, read_yaml("config.yaml")
    update_config(config, given)
    EXPERIMENT_FILES = (
        f"{EXPERIMENT_FILES or 'config'} of the workflow that imports this one"
    )
# The identity of a run must not depend on the order of keys in an experiment's file.
config = plan.in_order(config)
# An importing workflow or --config may have changed it.
RESULTS = workflow.pathvars.get("results")
DIGESTS = imports.Digests(".snakemake/trainoff/code.json")
HASHES = Hashes(".snakemake/trainoff/files.json")
DATA_HASHES = Hashes(survey.NOTES)
SCHEMA = axes.into_experiment_schema(read_yaml("schemas/config.schema.yaml"))
config = command_line.with_booleans(config, workflow.config_settings.config, SCHEMA)
MODELS = read_yaml("catalog/models.yaml")
# Random ID of this checkout, used in bundles (one for all experiments).
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
        checks.check_decided(decided, SCHEMA, f"{RESULTS}/decide.yaml")
        config = plan.with_decided(config, decided)
        checks.check(
            config,
            schema=SCHEMA,
            models=MODELS,
            where=f"{EXPERIMENT_FILES} + {RESULTS}/decide.yaml",
        )
    # The dataset's classes and identity.
    DATA = survey.survey(config["dataset"], DATA_HASHES, machine.usable_threads())
    checks.check_counts(config["images"], DATA.classes, EXPERIMENT_FILES)
    config = plan.fitted(config)
    config["grid"] = axes.default_grid() | config["grid"]
    networks.check_catalog(
        [name for name in config["grid"]["model"] if name in MODELS], MODELS
    )
    MODELS = networks.of_experiment(config, MODELS)
    CATALOG = read_yaml("catalog/devices.yaml")
    checks.check_catalog(CATALOG, SCHEMA)
    # What `devices: auto` stands for on this machine, and why.
    CHOICE = (
        choosing.here(RESULTS, decide=workflow.is_main_process)
        if config["devices"] == "auto"
        else choosing.NONE
    )
    DEVICES = plan.devices(
        config, CATALOG, detect=lambda: choosing.entries(CHOICE, CATALOG)
    )
    checks.check_devices(DEVICES, config, SCHEMA, MODELS)
    # The basis of costs; no training depends on it.
    ASSUMPTIONS = cost.assumptions(config, DEVICES, CATALOG)
    # The device that parity probes are compared with; not always one of the experiment's.
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
    """Prepares Snakemake's planning; called by input functions, which Snakemake calls first.

    With any profile, code has changed if its meaning has (see code_of), not if a script's time stamp has, and an environment has
    changed if the versions of the training packages have (see validity), not if its file has.
    """
    workflow.dag_settings.rerun_triggers = frozenset(
        {RerunTrigger.INPUT, RerunTrigger.MTIME, RerunTrigger.PARAMS}
    )
    if IS_MAIN and workflow.is_main_process:
        compare_without_pandas(workflow.persistence)
    METADATA.restore()
    repeat_probes_and_packs()
    number_gpus()


@functools.cache
def number_gpus():
    """Keeps the GPUs of this start's jobs apart by their identity, not by their place in nvidia-smi's list."""
    if workflow.is_main_process:
        # There is no executor where no job runs, as for --report.
        executor = getattr(workflow.executor_plugin, "name", None)
        choosing.number_gpus(DEVICES, CHOICE, jobs_run_here=executor == "local")


def metrics_of_all_runs(wildcards):
    """The records of all runs; a function, so that only rules of a sweep evaluate the list."""
    before_planning()
    return METRICS


def code_of(script):
    """A param of each rule: a digest of the meaning of its script and of all modules that it imports."""
    return DIGESTS.of_script(os.path.join(PROJECT, script))


@functools.cache
def hash_of(path):
    """SHA-256 of a user's file; None for no file and for a missing one, which its reader reports."""
    return HASHES.sha256(path) if path and os.path.isfile(path) else None


def literal(value):
    """A params function that returns `value` unchanged: in literal texts, Snakemake replaces {x} and <x>.

    For the same reason a user's file is never an input: its path and its hash are params.
    """
    return lambda wildcards: value


# The sources of prepared images and weights, as in the facts beside them.
IMAGES_FROM = {
    "dataset": config["dataset"]["name"],
    "archive_sha256": hash_of(config["dataset"].get("archive")),
    "images": config["images"],
    **DATA.identity,
}


def weights_from(model):
    """The sources of a model's starting weights, as in the facts beside them."""
    weights = networks.weights_of(model, config)
    kind = validity.kind_of_weights(weights)
    return {
        "weights": kind,
        "weights_file_sha256": hash_of(weights) if kind == "file" else None,
        "seed": config["seed"],
        # For the user's own models: the meaning of the file that builds them.
        **(
            {"model_sha256": MODELS[model]["sha256"]}
            if own_code.is_own(MODELS[model])
            else {}
        ),
    }


# {model: architecture} of all models that the experiment trains.
ARCHITECTURES = {
    model: networks.architecture(MODELS[model], networks.weights_of(model, config))
    for model in sorted({run["model"] for run in RUNS})
}
WEIGHTS_FROM = {model: weights_from(model) for model in ARCHITECTURES}

# Priority of preparations: everything is prepared before the first run is timed, so that runs keep their order.
BEFORE_RUNS = len(RUNS) + 1

PROBE_OF = {
    (run["device"]["name"], run["model"], run["precision"], json.dumps(run["xla"])): run
    for run in plan.probes(config, DEVICES, REFERENCE, other_machines=SURVEY.probed)
}
# Input of rules that use the table of parity; empty if there is nothing to compare.
PARITY = "<results>/tables/parity.parquet" if PROBE_OF or SURVEY.probed else []
# The records of other machines, if any.
IMPORTED = "<results>/imported" if SURVEY.paths else []


TRIAL_OF = {
    (run["device"]["name"], run["model"], run["axis"]): run
    for run in plan.limit_trials(config, DEVICES, MODELS)
}


def place_of(wildcards):
    """The place of a run in the sweep, from 0."""
    return ORDER[tuple(sorted(wildcards.items()))]


def device_of(wildcards):
    return next(
        device for device in [*DEVICES, REFERENCE] if device["name"] == wildcards.device
    )


def quick(function):
    """Caches the signature that Snakemake inspects for every job."""
    function.__signature__ = inspect.signature(function)
    return function


def env_of(wildcards):
    """The conda file of the device that a run names."""
    return f"../envs/{device_of(wildcards)['env']}.yaml"


# Longer than the training's own limit, so that a training that exceeds it is recorded in the usual way.
CLUSTER_MINUTES = 10 + math.ceil(
    config["protocol"]["timeout_minutes"] + config["protocol"]["wait_for_quiet_minutes"]
)
REQUESTS = {
    device["name"]: slurm.request(device, CLUSTER_MINUTES)
    for device in [REFERENCE, *DEVICES]
}


def from_slurm(resource):
    """The value of a resource, or a function of wildcards if it differs between devices."""
    values = {request[resource] for request in REQUESTS.values()}
    if len(values) == 1:
        return values.pop()
    return quick(lambda wildcards: REQUESTS[wildcards.device][resource])


# Resources of measured rules: what a job on its device requests from SLURM. Other executors ignore them.
FROM_SLURM = {
    resource: from_slurm(resource) for resource in slurm.request({}, CLUSTER_MINUTES)
}


# Measured rules run in the environment of their device. Snakemake evaluates it for each job even without conda: then trainings,
# of which there are thousands, name none, unless Snakemake reports on environments. --containerize collects the environments of
# the runs, and accepts no function for other rules.
ONE_ENV = f"../envs/{(DEVICES or [REFERENCE])[0]['env']}.yaml"
CONTAINERIZES = any(word.startswith("--containerize") for word in sys.argv)
TELLS_ENVIRONMENTS = {"--lint", "--report"} & {word.split("=")[0] for word in sys.argv}
TRAIN_ENV = (
    env_of if WITH_CONDA or CONTAINERIZES else ONE_ENV if TELLS_ENVIRONMENTS else None
)
MEASURED_ENV = env_of if WITH_CONDA and not CONTAINERIZES else ONE_ENV


# {dataset: the archive to download}.
ARCHIVES = {"cifar10": "cifar-10-binary", "cifar100": "cifar-100-binary"}


def source_of_dataset(wildcards):
    """The archive to download; none for a dataset that comes with a library or from the user's own files."""
    before_planning()
    if config["dataset"]["name"] not in ARCHIVES or "archive" in config["dataset"]:
        return []
    return f"results/downloads/{ARCHIVES[config['dataset']['name']]}.tar.gz"


def source_of_weights(wildcards):
    """The weights to download; none for random weights or the user's own file."""
    if networks.weights_of(wildcards.model, config) != "imagenet":
        return []
    size = weight_size(wildcards.model, int(wildcards.img_dim))
    return f"results/downloads/weights/{wildcards.model}_{size}_no_top.h5"


def weight_size(model, img_dim):
    """The image size of the published weights file that is used for an img_dim."""
    published = MODELS[model]["weights"]
    return img_dim if img_dim in published["sizes"] else published["default_size"]


def url_of_weights(wildcards):
    return MODELS[wildcards.model]["weights"]["url"].format(size=wildcards.size)


def made_from_of(wildcards):
    return WEIGHTS_FROM[wildcards.model]


def own_weights_of(wildcards):
    """The user's own weights file for a model, or None."""
    weights = networks.weights_of(wildcards.model, config)
    return weights if validity.kind_of_weights(weights) == "file" else None


def architecture_of(wildcards):
    return ARCHITECTURES[wildcards.model]
