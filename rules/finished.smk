"""The settings and identity of each run, and which of them are finished."""


def is_finished(wildcards):
    """Whether the process that plans considers the run finished. A job that runs nevertheless, because it was forced, reads this
    file again and gets all its params.
    """
    verdict = VERDICTS.get(METRICS[place_of(wildcards)])
    return verdict is not None and verdict.finished


def with_inputs(run):
    """The run with the shape and type of its samples, if they are not images."""
    return run | DATA.inputs


@quick
def run_of(wildcards):
    """All settings of a training, in built-in types; None for a finished run, which saves a third of a start."""
    if is_finished(wildcards):
        return None
    return with_inputs(plan.training(RUNS[place_of(wildcards)], config, ARCHITECTURES))


def first_run_of(wildcards):
    """The settings that scripts/train.py would get for the first replicate of a pack's configuration."""
    values = {key: value for key, value in wildcards.items() if key != "at_once"}
    run = RUNS[place_of({**values, "replicate": "1"})]
    return with_inputs(plan.training(run, config, ARCHITECTURES))


def probe_of(wildcards):
    """Everything that identifies a probe, apart from its input files, in built-in types."""
    run = PROBE_OF[
        wildcards.device, wildcards.model, wildcards.precision, wildcards.xla
    ]
    return with_inputs({**run, "architecture": architecture_of(wildcards)})


def train_priority(wildcards):
    """Runs start in the order of the sweep, which interleaves replicates, configurations and devices."""
    return len(RUNS) - place_of(wildcards)


def limit_of(wildcards):
    """Everything that identifies a search, in built-in types."""
    run = TRIAL_OF[wildcards.device, wildcards.model, wildcards.axis]
    return with_inputs(
        {
            **run,
            "classes": DATA.classes,
            "architecture": architecture_of(wildcards),
        }
    )


@functools.cache
def code_of_training(backend, *more):
    """Digest of the modules that measure a training on the backend. more: further modules that run in its process."""
    return DIGESTS.of_measured(
        imports.measured_modules(os.path.join(PROJECT, "scripts"), backend, more)
    )


def code_on_device(module):
    """Params function: digest of a module that runs in the process of a training, and of the modules that it measures with."""
    return lambda wildcards: code_of_training(device_of(wildcards)["backend"], module)


def versions_for(record):
    """Params function: the versions that would measure now. record: the path of the output, with wildcards, since Snakemake does
    not compare params that use `output`.
    """

    def versions(wildcards):
        path = record.replace("<results>", RESULTS).format(**wildcards)
        return validity.versions_or_recorded(versions_on(wildcards.device), path)

    return versions


@functools.cache
def versions_on(name):
    """{package: version} of the packages that would train now on the device of that name."""
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
    # Packages that build a user's own model identify its runs only.
    is_own = own_code.is_own(ARCHITECTURES[model])
    more = ["own"] if is_own else []
    packages = (
        own_code.packages(ARCHITECTURES[model]) if is_own and not WITH_CONDA else {}
    )
    return validity.identity(
        plan.training(run, config, ARCHITECTURES),
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
    """Everything that identifies a run, apart from its axes, as far as it is known before images and weights are prepared."""
    if is_finished(wildcards):
        return None
    return _identity(wildcards.device, wildcards.model)


# {device: {model: identity}} of all runs.
IDENTITIES = {}
for name, model in sorted({(run["device"]["name"], run["model"]) for run in RUNS}):
    IDENTITIES.setdefault(name, {})[model] = _identity(name, model)

# Enough for tables to check of each record whether it is the run that is wanted.
WANTED = {
    "results": RESULTS,
    "made_from": [IMAGES_FROM, WEIGHTS_FROM],
    "config": {
        **{key: config[key] for key in ["grid", "replicates", "seed", "training"]},
        "more_replicates": config["more_replicates"],
        "deterministic": config["deterministic"],
        "protocol": {
            key: config["protocol"][key]
            for key in [
                "epochs",
                "measure_minutes",
                "images_per_epoch",
                "warm_up_epochs",
            ]
            if key in config["protocol"]
        },
    },
    "devices": [
        {key: device[key] for key in [*plan.DEVICE_KEYS, "grid"]} for device in DEVICES
    ],
    "networks": ARCHITECTURES,
    # Without the key that a finished run does not depend on.
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


# Facts about the prepared images and weights of all runs.
IMG_DIMS = sorted({run["img_dim"] for run in RUNS})
FACTS_OF_IMAGES = [image_facts(img_dim) for img_dim in IMG_DIMS]
FACTS_OF_WEIGHTS = [
    weight_facts(model, img_dim)
    for model, img_dim in sorted({(run["model"], run["img_dim"]) for run in RUNS})
]
# All prepared files, so that deleted ones are recreated.
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


# Statuses of records that are measured again.
RETRY = config.get("retry") or []
RETRY = validity.FAILED if RETRY == "failed" else RETRY


def judge_runs():
    """{path of its record: Verdict} of all runs that have one, at the start of a sweep."""
    prepared = validity.Prepared(RESULTS, IMAGES_FROM, WEIGHTS_FROM)
    verdicts = {}
    for path, run in zip(METRICS, RUNS):
        keeping.restore_kept(path, ALONE)
        keeping.move_to_later_path(path)
        wanted = IDENTITIES[run["device"]["name"]][run["model"]]
        verdicts[path] = validity.judge(
            path,
            plan.training(run, config, ARCHITECTURES),
            wanted | prepared.hashes(run["model"], run["img_dim"]),
            RETRY,
        )
    return verdicts


# Computed once, by the process that plans.
VERDICTS = judge_runs() if workflow.is_main_process else {}
METADATA = Metadata(RESULTS, workflow)
shared = announcing.shared_folder(RESULTS, config, VERDICTS.values())
if shared:
    print(one_line(shared, 1000), file=sys.stderr)


@contextlib.contextmanager
def disk_faults_told():
    """Turns an error about the disk or the folder of the results, in Snakemake's own process, into one sentence."""
    try:
        yield
    except FileExistsError as error:
        raise WorkflowError(
            f"{one_line(error.filename)}: is a file, or a link to a folder that is not there; expected a folder. Remove it, or mount "
            "the disk that it leads to."
        ) from None
    except OSError as error:
        if words := disks.words_of(error):
            raise WorkflowError(
                str(disks.DiskFault(words, disks.place_of(error, RESULTS)))
            ) from None
        raise


def finish(jobs):
    """After a start: saves the metadata of finished jobs, and deletes the copies of records that were kept in case of a kill."""
    jobs = list(jobs)
    METADATA.keep(jobs)
    for job in jobs:
        if job.rule.name == TRAIN:
            keeping.restore_kept(job.output.metrics)


def inputs_of_run(wildcards):
    """Input function of trainings: nothing for a finished run, so that no file's time can make it look out of date.

    Called while Snakemake plans, before it decides what to run: it makes Snakemake accept finished runs and force others.
    """
    before_planning()
    path = METRICS[place_of(wildcards)]
    verdict = VERDICTS.get(path)
    dag = workflow.dag
    # Also forces missing records: Snakemake would not notice them if only tables are requested.
    if verdict is not None and not verdict.finished:
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


@functools.cache
def repeat_probes_and_packs():
    """Makes Snakemake repeat what is missing, even where the tables made of it are there, and what failed in a way that `retry` names,
    as runs and turns are.
    """
    # That memory does not suffice for so many trainings is a result.
    results = {"out_of_memory"} if config.get("retry") == "failed" else set()
    packs = PACKS if IN_REPORT or RETRY else []
    for paths, statuses in ((PROBES, {*RETRY}), (packs, {*RETRY} - results)):
        workflow.dag.forcefiles.update(retrying.due(paths, statuses))
