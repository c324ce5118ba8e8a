# Devices of this machine take turns at each configuration, which shows within minutes which one is faster. As with runs, their
# record decides whether turns are finished (scripts/trainoff/workflow/validity.py).


rule take_turns:
    input:
        unpack(inputs_of_turns),
    output:
        turns=f"{TURNS_PATTERN}/turns.json",
    log:
        f"{TURNS_PATTERN}/turns.log",
    wildcard_constraints:
        baseline="[a-z0-9][a-z0-9_-]*",
    priority: turns_priority
    conda:
        MEASURED_ENV
    # All cores: it is measured, like a training.
    threads: ALL_CORES
    resources:
        **FROM_SLURM,
        timeout_minutes=config["protocol"]["timeout_minutes"],
        wait_for_quiet_minutes=config["protocol"]["wait_for_quiet_minutes"],
    params:
        runs=runs_of_turns,
        identity=identity_of_turns,
        settings=config["turns"] or {},
        progress_file=f"{RESULTS}/turns/.plan.json",
    script:
        "../scripts/take_turns.py"


rule collect_turns:
    input:
        turns=TURNS,
        schema=project("schemas/turns.schema.json"),
    output:
        turns=report(
            "<results>/tables/turns.csv",
            caption="../report/turns.rst",
            category="Tables",
            labels={"table": "turns"},
        ),
        turns_parquet="<results>/tables/turns.parquet",
    log:
        "<results>/logs/collect_turns.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/collect_turns.py"),
        equivalence=(config["turns"] or {}).get("equivalence"),
        devices=IN_ORDER,
    script:
        "../scripts/collect_turns.py"
