rule aggregate:
    input:
        metrics=METRICS,
        code=code_of("scripts/aggregate.py"),
        schema="schemas/metrics.schema.json",
    output:
        runs=report(
            "<results>/tables/runs.csv",
            caption="../report/runs.rst",
            category="Tables",
            labels={"table": "runs"},
        ),
        runs_parquet="<results>/tables/runs.parquet",
        windows="<results>/tables/windows.csv",
        windows_parquet="<results>/tables/windows.parquet",
    log:
        "<results>/logs/aggregate.log",
    conda:
        "../envs/analysis.yaml"
    script:
        "../scripts/aggregate.py"


rule compare:
    input:
        runs="<results>/tables/runs.parquet",
        windows="<results>/tables/windows.parquet",
        parity=PARITY,
        code=code_of("scripts/compare.py"),
    output:
        rates=report(
            "<results>/tables/rates.csv",
            caption="../report/rates.rst",
            category="Tables",
            labels={"table": "rates"},
        ),
        rates_parquet="<results>/tables/rates.parquet",
        comparison=report(
            "<results>/tables/comparison.csv",
            caption="../report/comparison.rst",
            category="Tables",
            labels={"table": "comparison"},
        ),
        comparison_parquet="<results>/tables/comparison.parquet",
        best=report(
            "<results>/tables/best.csv",
            caption="../report/best.rst",
            category="Tables",
            labels={"table": "each at its best"},
        ),
        best_parquet="<results>/tables/best.parquet",
        overall=report(
            "<results>/tables/overall.csv",
            caption="../report/overall.rst",
            category="Tables",
            labels={"table": "overall"},
        ),
        overall_parquet="<results>/tables/overall.parquet",
    log:
        "<results>/logs/compare.log",
    conda:
        "../envs/analysis.yaml"
    params:
        devices=[device["name"] for device in DEVICES],
    script:
        "../scripts/compare.py"
