# Checks that every device trains the same: probes are compared with the reference. An experiment on the reference alone has none.

PROBE_PATTERN = (
    "<results>/parity/{device}/model~{model}/precision~{precision}/xla~{xla}/probe"
)
PROBE_IMAGES = f"<results>/images/img_dim~{min(config['grid']['img_dim'])}"
PROBE_WEIGHTS = (
    f"<results>/weights/model~{{model}}/img_dim~{min(config['grid']['img_dim'])}"
)

PROBES = [
    f"{PROBE_PATTERN}.json".replace("<results>", RESULTS).format(
        device=device, model=model, precision=precision, xla=xla
    )
    for device, model, precision, xla in PROBE_OF
]


rule probe_device:
    input:
        image_facts=f"{PROBE_IMAGES}/facts.json",
        weight_facts=f"{PROBE_WEIGHTS}/facts.json",
    output:
        probe=f"{PROBE_PATTERN}.json",
    log:
        f"{PROBE_PATTERN}.log",
    conda:
        MEASURED_ENV
    # All cores: a probe would slow down a training beside it.
    threads: ALL_CORES
    resources:
        **FROM_SLURM,
        start=lambda wildcards, attempt: attempt,
        timeout_minutes=config["protocol"]["timeout_minutes"],
    params:
        code=code_on_device("probing"),
        versions=versions_for(f"{PROBE_PATTERN}.json"),
        run=probe_of,
    script:
        "../scripts/probe_device.py"


rule check_parity:
    input:
        probes=PROBES,
        imported=IMPORTED,
        runs="<results>/tables/runs.parquet",
    output:
        parity=report(
            "<results>/tables/parity.csv",
            caption="../report/parity.rst",
            category="Tables",
            labels={"table": "parity"},
        ),
        parity_parquet="<results>/tables/parity.parquet",
    log:
        "<results>/logs/parity.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/check_parity.py"),
        reference=REFERENCE["name"],
    script:
        "../scripts/check_parity.py"
