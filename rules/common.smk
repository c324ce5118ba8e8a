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
from trainoff import devices as machine
from trainoff import disks
from trainoff import experiment, networks, own_code
from trainoff.analyze import cost, hardware
from trainoff.exchange import merging
from trainoff.report.gallery import FIGURES
from trainoff.workflow import imports, isolation, locking
from trainoff.supervise import progress, slurm, supervise
from trainoff.workflow import keeping, validity
from trainoff.errors import UserError, one_line
from trainoff.files import Hashes
from trainoff.prepare import survey
from trainoff.privacy import without_folders
from trainoff.workflow.metadata import Metadata, compare_without_pandas, is_news

logger.addFilter(is_news)
isolation.shut_out_user_packages(snakemake.__file__)
# What is measured takes all cores, so that nothing runs beside it. By the names that an importing workflow gives.
TRAIN = workflow.modifier.modify_rulename("train")
MEASURED_RULES = {
    TRAIN,
    *map(workflow.modifier.modify_rulename, ["turns", "probe", "limit", "pack"]),
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
if not WITH_CONDA and importlib.util.find_spec("seaborn") is None:
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
config = experiment.in_order(config)
DIGESTS = imports.Digests(".snakemake/trainoff/code.json")
HASHES = Hashes(".snakemake/trainoff/files.json")
DATA_HASHES = Hashes(survey.NOTES)
SCHEMA = axes.into_experiment_schema(read_yaml("schemas/config.schema.yaml"))
MODELS = read_yaml("catalog/models.yaml")
# Holds the name of this folder to others, once it has exchanged bundles with them; one for all experiments.
ORIGIN_FILE = "results/.origin"

try:
    experiment.check(
        config,
        schema=SCHEMA,
        models=MODELS,
        where=EXPERIMENT_FILES,
    )
    # What there is to train on: classes, and what tells it from other data.
    DATA = survey.survey(config["dataset"], DATA_HASHES, machine.usable_threads())
    experiment.check_counts(config["images"], DATA.classes, EXPERIMENT_FILES)
    config = experiment.fitted(config)
    config["grid"] = axes.default_grid() | config["grid"]
    networks.check_catalogue(
        [name for name in config["grid"]["model"] if name in MODELS], MODELS
    )
    MODELS = networks.of_experiment(config, MODELS)
    CATALOG = read_yaml("catalog/devices.yaml")
    experiment.check_catalog(CATALOG, SCHEMA)
    DEVICES = experiment.devices(config, CATALOG, detect=machine.detect)
    experiment.check_devices(DEVICES, config, SCHEMA, MODELS)
    # What costs rest on; no training depends on it.
    ASSUMPTIONS = cost.assumptions(config, DEVICES, CATALOG)
    # The device that the others are held to; not always one of the experiment's.
    REFERENCE = experiment.reference(DEVICES, CATALOG)
    SURVEY = merging.survey(config["imports"], DEVICES, REFERENCE, ORIGIN_FILE)
    experiment.check_compared(config, SURVEY.devices, CATALOG)
except UserError as error:
    raise WorkflowError(str(error)) from None

# Where an importing workflow or --config may have put it.
RESULTS = workflow.pathvars.get("results")
RUN_PATTERN = f"<results>/runs/{{device}}/{axes.path()}/replicate~{{replicate}}"


wildcard_constraints:
    **axes.constraints(),
    device="[a-z0-9][a-z0-9_-]*",
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


# What is measured runs in the environment of its device. Snakemake asks for it per job even where conda is not used: then one
# answer does for all. --containerize collects the environments of the runs, and takes no function for what they do not need.
ONE_ENV = f"../envs/{(DEVICES or [REFERENCE])[0]['env']}.yaml"
CONTAINERIZES = any(word.startswith("--containerize") for word in sys.argv)
TRAIN_ENV = env_of if WITH_CONDA or CONTAINERIZES else ONE_ENV
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


def is_finished(wildcards):
    """Whether the start that plans has found the run finished. A job that runs all the same, since it was forced, reads this
    file again and gets all its params.
    """
    verdict = VERDICTS.get(METRICS[place_of(wildcards)])
    return verdict is not None and verdict.finished


def told(run):
    """What a training process is told of its run: of samples that are no images their shape and type as well."""
    return run | DATA.inputs


@quick
def run_of(wildcards):
    """All that the training is told, in built-in types; nothing for a finished run, which saves a third of a start."""
    if is_finished(wildcards):
        return None
    return told(experiment.training(RUNS[place_of(wildcards)], config, ARCHITECTURES))


def first_run_of(wildcards):
    """What scripts/train.py would get for the first replicate of a pack's configuration."""
    values = {key: value for key, value in wildcards.items() if key != "at_once"}
    run = RUNS[place_of({**values, "replicate": "1"})]
    return told(experiment.training(run, config, ARCHITECTURES))


def probe_of(wildcards):
    """All that a probe depends on besides its input files, in built-in types."""
    run = PROBE_OF[
        wildcards.device, wildcards.model, wildcards.precision, wildcards.xla
    ]
    return told({**run, "architecture": architecture_of(wildcards)})


def train_priority(wildcards):
    """Runs start in the order of the sweep, which interleaves replicates, configurations and devices."""
    return len(RUNS) - place_of(wildcards)


def limit_of(wildcards):
    """All that a search depends on, in built-in types."""
    run = TRIAL_OF[wildcards.device, wildcards.model, wildcards.axis]
    return told(
        {
            **run,
            "classes": DATA.classes,
            "architecture": architecture_of(wildcards),
        }
    )


@functools.cache
def code_of_training(backend, *more):
    """Digest of what a training on the backend is measured with. more: further modules that run in its process."""
    return DIGESTS.of_measured(
        imports.measured_modules(os.path.join(PROJECT, "scripts"), backend, more)
    )


def code_on_device(module):
    """Params function: digest of a module that runs in the process of a training, and of what it measures with."""
    return lambda wildcards: code_of_training(device_of(wildcards)["backend"], module)


def versions_of(wildcards):
    return versions_on(wildcards.device)


@functools.cache
def versions_on(name):
    """{package: version} of what would train now on the device of that name."""
    device = next(device for device in [*DEVICES, REFERENCE] if device["name"] == name)
    if not WITH_CONDA:
        return validity.installed_versions(device)
    with open(os.path.join(PROJECT, f"envs/{device['env']}.yaml")) as file:
        return validity.pinned_versions(device, file.read())


@functools.cache
def _identity(name, model):
    run = next(
        run for run in RUNS if (run["device"]["name"], run["model"]) == (name, model)
    )
    # Only what a model of the user's own is made with identifies its runs.
    own = own_code.is_own(ARCHITECTURES[model])
    more = ["own"] if own else []
    packages = own_code.packages(ARCHITECTURES[model]) if own and not WITH_CONDA else {}
    return validity.identity(
        experiment.training(run, config, ARCHITECTURES),
        config,
        {
            "archive_sha256": IMAGES_FROM["archive_sha256"],
            **DATA.identity,
            "weights_file_sha256": WEIGHTS_FROM[model]["weights_file_sha256"],
        },
        code_of_training(run["device"]["backend"], *more),
        {**packages, **versions_on(name)},
    )


@quick
def identity_of(wildcards):
    """Everything that identifies a run besides its axes, as far as it is known before images and weights are prepared."""
    if is_finished(wildcards):
        return None
    return _identity(wildcards.device, wildcards.model)


# {device: {model: identity}} of all runs.
IDENTITIES = {
    device: {model: _identity(device, model) for model in models}
    for device, models in {
        run["device"]["name"]: sorted(
            {other["model"] for other in RUNS if other["device"] == run["device"]}
        )
        for run in RUNS
    }.items()
}

# What tables must be made of: enough to tell of each record whether it is the run that is wanted.
WANTED = {
    "results": RESULTS,
    "made_from": [IMAGES_FROM, WEIGHTS_FROM],
    "config": {
        **{key: config[key] for key in ["grid", "replicates", "seed", "training"]},
        "deterministic": config["deterministic"],
        "protocol": {
            key: config["protocol"][key]
            for key in ["epochs", "images_per_epoch", "warm_up_epochs"]
        },
    },
    "devices": [
        {key: device[key] for key in [*experiment.DEVICE_KEYS, "grid"]}
        for device in DEVICES
    ],
    "networks": ARCHITECTURES,
    # Without what a finished run does not depend on.
    "identities": {
        device: {
            model: {
                key: value
                for key, value in identity.items()
                if key != "timeout_minutes"
            }
            for model, identity in models.items()
        }
        for device, models in IDENTITIES.items()
    },
}


def image_facts(img_dim):
    return f"<results>/images/img_dim~{img_dim}/facts.json"


def weight_facts(model, img_dim):
    return f"<results>/weights/model~{model}/img_dim~{img_dim}/facts.json"


# Facts about what all runs are trained on: {img_dim: path}, {model: {img_dim: path}}.
IMG_DIMS = sorted({run["img_dim"] for run in RUNS})
FACTS_OF_IMAGES = [image_facts(img_dim) for img_dim in IMG_DIMS]
FACTS_OF_WEIGHTS = [
    weight_facts(model, img_dim)
    for model, img_dim in sorted({(run["model"], run["img_dim"]) for run in RUNS})
]
# All that is prepared, so that what was deleted comes back.
PREPARED = [
    path.replace("facts.json", name)
    for path in FACTS_OF_IMAGES
    for name in [
        "train_images.npy",
        "train_labels.npy",
        "validation_images.npy",
        "validation_labels.npy",
    ]
] + [path.replace("facts.json", "weights.npz") for path in FACTS_OF_WEIGHTS]


def judge_runs():
    """{path of its record: Verdict} of all runs that have one, at the start of a sweep."""
    prepared = validity.Prepared(RESULTS, IMAGES_FROM, WEIGHTS_FROM)
    retry = config.get("retry") or []
    retry = validity.FAILED if retry == "failed" else retry
    verdicts = {}
    for path, run in zip(METRICS, RUNS):
        keeping.restore_kept(path, ALONE)
        keeping.move_to_later_path(path)
        wanted = IDENTITIES[run["device"]["name"]][run["model"]]
        verdicts[path] = validity.judge(
            path,
            experiment.training(run, config, ARCHITECTURES),
            wanted | prepared.hashes(run["model"], run["img_dim"]),
            retry,
        )
    return verdicts


# Judged once, by the process that plans.
VERDICTS = judge_runs() if workflow.is_main_process else {}
METADATA = Metadata(f"{RESULTS}/.metadata.json", workflow)
DIGESTS.save()
HASHES.save()
DATA_HASHES.save()
for line in validity.plan_lines(VERDICTS.values()):
    print(one_line(line, 1000), file=sys.stderr)
shared = validity.shared_folder(RESULTS, config, VERDICTS.values())
if shared:
    print(one_line(shared, 1000), file=sys.stderr)


@contextlib.contextmanager
def disk_faults_told():
    """Makes one sentence of an error of Snakemake's own process that a disk is the cause of."""
    try:
        yield
    except OSError as error:
        if words := disks.words_of(error):
            raise WorkflowError(
                str(disks.DiskFault(words, disks.place_of(error, RESULTS)))
            ) from None
        raise


def finish(jobs):
    """After a start: keeps what is known of finished jobs, and lets go of records that were kept in case of a kill."""
    jobs = list(jobs)
    METADATA.keep(jobs)
    for job in jobs:
        if job.rule.name == TRAIN:
            keeping.restore_kept(job.output.metrics)


def inputs_of_run(wildcards):
    """Input function of trainings: nothing for a finished run, so that no file's time can make it look out of date.

    Called while Snakemake plans, before it asks what to run: what is finished it is told to believe, and what is not it
    is told to do.
    """
    before_planning()
    path = METRICS[place_of(wildcards)]
    verdict = VERDICTS.get(path)
    dag = workflow.dag
    if verdict is not None and verdict.change:
        dag.forcefiles.add(path)
    if path in dag.forcefiles or TRAIN in {forced.name for forced in dag.forcerules}:
        keeping.keep_replaced(path)
    if is_finished(wildcards):
        METADATA.forget(path)
        return {}
    return {
        "image_facts": image_facts(wildcards.img_dim),
        "weight_facts": weight_facts(wildcards.model, wildcards.img_dim),
    }


# Turns: {folder: what the device and the baseline train}.
TURNS_PATTERN = f"<results>/turns/{{baseline}}--{{device}}/{axes.path()}"
TURNS_OF = {
    TURNS_PATTERN.replace("<results>", RESULTS).format(
        **experiment.wildcards({**run, "device": device}), baseline=baseline["name"]
    ): {
        "device": {
            **run,
            "device": {key: device[key] for key in experiment.DEVICE_KEYS},
        },
        "baseline": {
            **run,
            "device": {key: baseline[key] for key in experiment.DEVICE_KEYS},
        },
    }
    # With conda both would have to be of one environment, since a job runs in one.
    for device, baseline, run in experiment.turns(config, DEVICES)
    if not WITH_CONDA or device["env"] == baseline["env"]
}
TURNS = [f"{folder}/turns.json" for folder in TURNS_OF]
TURNS_TABLE = "<results>/tables/turns.parquet" if TURNS else []


def folder_of_turns(wildcards):
    return TURNS_PATTERN.replace("<results>", RESULTS).format(**wildcards)


@quick
def runs_of_turns(wildcards):
    """What both trainings are told, in built-in types."""
    return {
        side: told(experiment.training(run, config, ARCHITECTURES))
        for side, run in TURNS_OF[folder_of_turns(wildcards)].items()
    }


def identity_of_side(run):
    """What identifies a training that takes turns: that of its run without what only a run has."""
    name, backend = run["device"]["name"], run["device"]["backend"]
    of_run = _identity(name, run["model"]) | {
        "code_sha256": code_of_training(backend, "turning")
    }
    return {
        key: value for key, value in of_run.items() if key not in validity.NOT_OF_TURNS
    }


def identity_of_both(folder):
    return {side: identity_of_side(run) for side, run in TURNS_OF[folder].items()}


@quick
def identity_of_turns(wildcards):
    return identity_of_both(folder_of_turns(wildcards))


def judge_turns():
    """{path of its record: Verdict} of all turns, at the start of a sweep."""
    prepared = validity.Prepared(RESULTS, IMAGES_FROM, WEIGHTS_FROM)
    verdicts = {}
    for folder, sides in TURNS_OF.items():
        run = sides["device"]
        known = prepared.hashes(run["model"], run["img_dim"])
        wanted = {
            side: identity | known
            for side, identity in identity_of_both(folder).items()
        }
        path = f"{folder}/turns.json"
        verdicts[path] = validity.judge_turns(path, sides, wanted, config["turns"])
    return verdicts


TURNS_VERDICTS = judge_turns() if workflow.is_main_process else {}


def inputs_of_turns(wildcards):
    """Input function: nothing for finished turns, as for finished runs (see inputs_of_run)."""
    before_planning()
    path = f"{folder_of_turns(wildcards)}/turns.json"
    verdict = TURNS_VERDICTS.get(path)
    if verdict is not None and verdict.finished:
        METADATA.forget(path)
        return {}
    if verdict is not None and verdict.change:
        workflow.dag.forcefiles.add(path)
    return {
        "image_facts": image_facts(wildcards.img_dim),
        "weight_facts": weight_facts(wildcards.model, wildcards.img_dim),
    }
