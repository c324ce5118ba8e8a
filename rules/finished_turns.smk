"""The settings and identity of each pair of devices that takes turns, and which turns are finished."""

TURNS_PATTERN = f"<results>/turns/{{baseline}}--{{device}}/{axes.path()}"


def turns_of(device, baseline, run):
    """(folder, {side: its run}) of turns of two device entries at one of `plan.turns`."""
    folder = TURNS_PATTERN.replace("<results>", RESULTS).format(
        **plan.wildcards({**run, "device": device}), baseline=baseline["name"]
    )
    sides = {"device": device, "baseline": baseline}
    return folder, {
        side: {**run, "device": {key: entry[key] for key in plan.DEVICE_KEYS}}
        for side, entry in sides.items()
    }


def wanted_turns():
    """({folder: the runs of the device and the baseline}, the records that the experiment wants).

    Turns that were taken while the experiment listed its devices in another order are as good.
    """
    folders, records = {}, []
    for pair in plan.turns(config, DEVICES):
        device, baseline, run = pair
        # With conda both must use the same environment, since a job runs in only one.
        if WITH_CONDA and device["env"] != baseline["env"]:
            continue
        both = dict([turns_of(*pair), turns_of(baseline, device, run)])
        paths = [f"{folder}/turns.json" for folder in both]
        if workflow.is_main_process:
            for path in paths:
                keeping.move_to_later_path(path)
        folders |= both
        records.append(next(filter(os.path.isfile, paths), paths[0]))
    return folders, records


TURNS_OF, TURNS = wanted_turns()
# The order of devices in tables, of which each is the baseline of later ones.
IN_ORDER = [device["name"] for device in SURVEY.devices]
TURNS_TABLE = "<results>/tables/turns.parquet" if TURNS else []
PLACE_OF_TURNS = {path: place for place, path in enumerate(TURNS)}


def folder_of_turns(wildcards):
    return TURNS_PATTERN.replace("<results>", RESULTS).format(**wildcards)


def turns_priority(wildcards):
    """Turns are taken in the order of the experiment, after its runs, whose priority is at least 1."""
    place = PLACE_OF_TURNS.get(f"{folder_of_turns(wildcards)}/turns.json", len(TURNS))
    return 1 - (1 + place) / (1 + len(TURNS))


@quick
def runs_of_turns(wildcards):
    """All settings of both trainings, in built-in types."""
    return {
        side: with_inputs(plan.training(run, config, ARCHITECTURES))
        for side, run in TURNS_OF[folder_of_turns(wildcards)].items()
    }


def identity_of_side(run):
    """The identity of a training that takes turns: that of its run without the keys that matter only for a run."""
    name, backend = run["device"]["name"], run["device"]["backend"]
    of_run = _identity(name, run["model"]) | {
        "code_sha256": code_of_training(backend, "turning")
    }
    return {
        key: value for key, value in of_run.items() if key not in validity.NOT_OF_TURNS
    }


def identity_of_sides(folder):
    return {side: identity_of_side(run) for side, run in TURNS_OF[folder].items()}


@quick
def identity_of_turns(wildcards):
    return identity_of_sides(folder_of_turns(wildcards))


def judge_turns():
    """{path of its record: Verdict} of all turns, at the start of a sweep."""
    prepared = validity.Prepared(RESULTS, IMAGES_FROM, WEIGHTS_FROM)
    verdicts = {}
    for path in TURNS:
        folder = os.path.dirname(path)
        sides = TURNS_OF[folder]
        run = sides["device"]
        known = prepared.hashes(run["model"], run["img_dim"])
        wanted = {
            side: identity | known
            for side, identity in identity_of_sides(folder).items()
        }
        verdicts[path] = validity.judge_turns(path, sides, wanted, RETRY)
    return verdicts | judge_undecided(
        [path for path, verdict in verdicts.items() if verdict.finished]
    )


def judge_undecided(finished):
    """{path: Verdict} of finished turns that the table leaves undecided and that may now take longer, or have other slices."""
    try:
        longer = {
            path: validity.longer_turns(path, config["turns"]) for path in finished
        }
    except (KeyError, TypeError):  # of a damaged record, which `undecided` names
        longer = dict.fromkeys(finished, True)
    if not any(longer.values()):
        return {}
    # Imported here, since it takes a second. All finished turns, since they are judged together.
    from trainoff.analyze import turns

    try:
        undecided = turns.undecided(finished, config["turns"]["equivalence"], IN_ORDER)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    return {
        path: validity.Verdict(False, longer[path])
        for path in undecided
        if longer[path]
    }


TURNS_VERDICTS = judge_turns() if workflow.is_main_process else {}
for line in announcing.plan_lines(VERDICTS.values(), TURNS_VERDICTS.values()):
    print(one_line(line, 1000), file=sys.stderr)


def inputs_of_turns(wildcards):
    """Input function: nothing for finished turns, as for finished runs (see inputs_of_run)."""
    before_planning()
    path = f"{folder_of_turns(wildcards)}/turns.json"
    verdict = TURNS_VERDICTS.get(path)
    dag = workflow.dag
    if verdict is not None and not verdict.finished:
        dag.forcefiles.add(path)
    if path in dag.forcefiles or TAKE_TURNS in {
        forced.name for forced in dag.forcerules
    }:
        keeping.keep_replaced(path)
    if verdict is not None and verdict.finished:
        METADATA.forget(path)
        return {}
    return {
        "image_facts": image_facts(wildcards.img_dim),
        "weight_facts": weight_facts(wildcards.model, wildcards.img_dim),
    }
