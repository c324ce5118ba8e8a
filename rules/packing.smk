# Several trainings at once on one device; measured on request: `snakemake compare_concurrency`, and in the report where the
# experiment names numbers under packing.at_once.

# The path of a run, with the number at once in place of the replicate.
PACK_PATTERN = RUN_PATTERN.replace("runs", "packing").replace(
    "replicate~{replicate}", "at_once~{at_once}"
)
PACK_SIZES = sorted({1, *(config["packing"]["at_once"] or [2, 4])})
PACKS = [
    f"{PACK_PATTERN}/pack.json".replace("<results>", RESULTS).format(
        **{**plan.wildcards(run), "at_once": size}
    )
    for run in RUNS
    if run["replicate"] == 1
    for size in PACK_SIZES
]
IN_REPORT = bool(config["packing"]["at_once"] and RUNS)
PACKING = "<results>/tables/packing.parquet" if IN_REPORT else []
MAKESPAN = "<results>/tables/makespan.parquet" if IN_REPORT else []


rule train_together:
    input:
        image_facts="<results>/images/img_dim~{img_dim}/facts.json",
        weight_facts="<results>/weights/model~{model}/img_dim~{img_dim}/facts.json",
    output:
        pack=f"{PACK_PATTERN}/pack.json",
    log:
        f"{PACK_PATTERN}/pack.log",
    wildcard_constraints:
        at_once=r"\d+",
    conda:
        MEASURED_ENV
    # All cores: it is measured, like a training.
    threads: ALL_CORES
    resources:
        **FROM_SLURM,
        start=lambda wildcards, attempt: attempt,
        timeout_minutes=config["protocol"]["timeout_minutes"],
    params:
        code=code_on_device("packed"),
        versions=versions_for(f"{PACK_PATTERN}/pack.json"),
        run=first_run_of,
        at_once=lambda wildcards: int(wildcards.at_once),
    script:
        "../scripts/train_together.py"


rule compare_concurrency:
    input:
        packs=PACKS,
    output:
        packing=report(
            "<results>/tables/packing.csv",
            caption="../report/packing.rst",
            category="Tables",
            labels={"table": "packing"},
        ),
        packing_parquet="<results>/tables/packing.parquet",
        makespan=report(
            "<results>/tables/makespan.csv",
            caption="../report/makespan.rst",
            category="Tables",
            labels={"table": "makespan"},
        ),
        makespan_parquet="<results>/tables/makespan.parquet",
    log:
        "<results>/logs/packing.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/compare_concurrency.py"),
        replicates=config["replicates"],
        assumptions=ASSUMPTIONS,
    script:
        "../scripts/compare_concurrency.py"
