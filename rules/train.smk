rule train:
    input:
        train_images="<results>/images/img_dim~{img_dim}/train_images.npy",
        train_labels="<results>/images/img_dim~{img_dim}/train_labels.npy",
        validation_images="<results>/images/img_dim~{img_dim}/validation_images.npy",
        validation_labels="<results>/images/img_dim~{img_dim}/validation_labels.npy",
        image_facts="<results>/images/img_dim~{img_dim}/facts.json",
        weights="<results>/weights/model~{model}/img_dim~{img_dim}/weights.npz",
        weight_facts="<results>/weights/model~{model}/img_dim~{img_dim}/facts.json",
        code=code_on_device("scripts/train.py"),
    output:
        metrics=f"{RUN_PATTERN}/metrics.json",
    log:
        f"{RUN_PATTERN}/train.log",
    priority: train_priority
    conda:
        env_of
    # All cores: a training is measured, so it has the machine to itself.
    threads: workflow.cores or 1
    resources:
        # Resources, not params: a finished run did not depend on them.
        timeout_minutes=config["protocol"]["timeout_minutes"],
        wait_for_quiet_minutes=config["protocol"]["wait_for_quiet_minutes"],
    params:
        run=run_of,
        progress_file=f"{RESULTS}/runs/.plan.json",
        sequence_file=f"{RESULTS}/runs/.sequence",
    script:
        "../scripts/train.py"


onstart:
    progress.write_plan(
        f"{RESULTS}/runs/.plan.json",
        [
            job.output.metrics
            for job in workflow.dag.needrun_jobs()
            if job.rule.name == "train"
        ],
    )
