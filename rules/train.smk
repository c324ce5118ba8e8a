# What is prepared stands for itself by its facts, which hold its hashes, and is ancient: making it anew, for example after a
# disk damaged it, leaves finished runs valid. What it is made of is no such thing. Few inputs, since each costs ten thousand
# times in a large sweep.
rule train:
    input:
        image_facts=ancient("<results>/images/img_dim~{img_dim}/facts.json"),
        weight_facts=ancient(
            "<results>/weights/model~{model}/img_dim~{img_dim}/facts.json"
        ),
        sources="<results>/sources.json",
    output:
        metrics=f"{RUN_PATTERN}/metrics.json",
    log:
        f"{RUN_PATTERN}/train.log",
    priority: train_priority
    conda:
        TRAIN_ENV
    # All cores: a training is measured, so it has the machine to itself.
    threads: workflow.cores or 1
    resources:
        **FROM_SLURM,
        # Resources, not params: a finished run did not depend on them.
        timeout_minutes=config["protocol"]["timeout_minutes"],
        wait_for_quiet_minutes=config["protocol"]["wait_for_quiet_minutes"],
        idle_seconds=config["energy"]["idle_seconds"],
        start=lambda wildcards, attempt: attempt,
    params:
        run=run_of,
        code=TRAINING_CODE,
        progress_file=f"{RESULTS}/runs/.plan.json",
        sequence_file=f"{RESULTS}/runs/.sequence",
    script:
        "../scripts/train.py"


onstart:
    # Planned: what the planning left behind goes, what there is now stays, and what comes may be garbage again.
    gc.collect()
    gc.freeze()
    gc.enable()
    if workflow.executor_plugin.name == "slurm":
        slurm.cancel_abandoned(".")
    progress.write_plan(
        f"{RESULTS}/runs/.plan.json",
        [
            job.output.metrics
            for job in workflow.dag.needrun_jobs()
            if job.rule.name == "train"
        ],
    )
