# The record of a run decides whether it is finished (scripts/trainoff/workflow/validity.py), not Snakemake: a finished run has no
# inputs here, and a run to be trained again is forced.
rule train:
    input:
        # The facts hold the hashes of the images and weights in the same folder.
        unpack(inputs_of_run),
    output:
        metrics=f"{RUN_PATTERN}/metrics.json",
    log:
        f"{RUN_PATTERN}/train.log",
    priority: train_priority
    conda:
        TRAIN_ENV
    # All cores: a training is measured, so it has the machine to itself.
    threads: ALL_CORES
    resources:
        **FROM_SLURM,
        timeout_minutes=config["protocol"]["timeout_minutes"],
        wait_for_quiet_minutes=config["protocol"]["wait_for_quiet_minutes"],
        idle_seconds=config["energy"]["idle_seconds"],
        start=lambda wildcards, attempt: attempt,
    params:
        run=run_of,
        identity=identity_of,
        progress_file=f"{RESULTS}/runs/.plan.json",
        sequence_file=f"{RESULTS}/runs/.sequence",
    script:
        "../scripts/train.py"


onstart:
    # Planning is over: collects its garbage, keeps the remaining objects, and turns the garbage collector on.
    gc.collect()
    gc.freeze()
    gc.enable()
    to_run = list(workflow.dag.needrun_jobs())
    with disk_faults_told():
        if not locking.hold_results(RESULTS):
            raise WorkflowError(
                f"{RESULTS}: another start is at work on these results, from another clone. Wait until it has ended: two at once "
                "would disturb each other's measurements."
            )
    if workflow.executor_plugin.name == "slurm":
        for name, wanted in REQUESTS.items():
            if name in {getattr(job.wildcards, "device", None) for job in to_run}:
                if sentence := slurm.refusal(name, wanted):
                    raise WorkflowError(sentence)
        slurm.cancel_abandoned(".")
    METADATA.drop(to_run)
    to_train = [job.output.metrics for job in to_run if job.rule.name == TRAIN]
    to_take = [job.output.turns for job in to_run if job.rule.name == TAKE_TURNS]
    with disk_faults_told():
        announcing.note_experiment(RESULTS, config)
        progress.write_plan(f"{RESULTS}/runs/.plan.json", to_train)
        if to_take:
            progress.write_plan(f"{RESULTS}/turns/.plan.json", to_take)
    if any(map(os.path.isfile, to_train + to_take)):
        print(
            f"Replaced records move to {RESULTS}/superseded.",
            file=sys.stderr,
        )
    if to_train:
        print(
            f"{one_line(config['title'])} ({one_line(EXPERIMENT_FILES)}): {len(to_train)} of {len(RUNS)} runs to train, on "
            f"{', '.join(device['name'] for device in DEVICES)}",
            *(
                CHOICE.lines
                or (
                    choosing.foreseen(DEVICES, RESULTS)
                    if workflow.executor_plugin.name == "local"
                    else []
                )
            ),
            sep="\n  ",
            file=sys.stderr,
        )
        if sentence := variables.sentence(variables.left_out(os.environ)):
            print(one_line(sentence, 1000), file=sys.stderr)
    if workflow.executor_plugin.name not in ("local", "touch") and to_train:
        # The output of jobs on other machines does not appear here.
        threading.Thread(
            target=progress.follow, args=(to_train, sys.stderr), daemon=True
        ).start()


onsuccess:
    finish(workflow.dag.jobs)


onerror:
    finish(workflow.dag.finished_jobs)
