# Finds the largest images and batches, separately from the sweep: snakemake --cores 1 collect_limits

LIMIT_PATTERN = "<results>/limits/{device}/model~{model}/{axis}"


rule find_limit:
    output:
        limit=f"{LIMIT_PATTERN}.json",
    log:
        f"{LIMIT_PATTERN}.log",
    wildcard_constraints:
        axis="img_dim|batch_size",
    conda:
        MEASURED_ENV
    # All cores: other jobs' memory would be missing here.
    threads: ALL_CORES
    resources:
        **FROM_SLURM,
        timeout_minutes=(config["limits"] or {}).get("timeout_minutes", 0),
    params:
        code=code_on_device("limiting"),
        versions=versions_for(f"{LIMIT_PATTERN}.json"),
        run=limit_of,
    script:
        "../scripts/find_limit.py"


rule collect_limits:
    input:
        limits=[
            f"{LIMIT_PATTERN}.json".replace("<results>", RESULTS).format(
                device=device, model=model, axis=axis
            )
            for device, model, axis in TRIAL_OF
        ],
    output:
        limits="<results>/tables/limits.csv",
    log:
        "<results>/logs/limits.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/collect_limits.py"),
    script:
        "../scripts/collect_limits.py"
