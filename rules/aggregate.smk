rule aggregate_runs:
    input:
        metrics=metrics_of_all_runs,
        image_facts=FACTS_OF_IMAGES,
        weight_facts=FACTS_OF_WEIGHTS,
        imported=IMPORTED,
        schema=project("schemas/metrics.schema.json"),
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
        readings_parquet="<results>/tables/readings.parquet",
    log:
        "<results>/logs/aggregate.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/aggregate_runs.py"),
        wanted=WANTED,
        origin_file=ORIGIN_FILE,
    script:
        "../scripts/aggregate_runs.py"


rule collect_energy:
    input:
        runs="<results>/tables/runs.parquet",
        windows="<results>/tables/windows.parquet",
    output:
        energy=report(
            "<results>/tables/energy.csv",
            caption="../report/energy_table.rst",
            category="Tables",
            labels={"table": "energy"},
        ),
        energy_parquet="<results>/tables/energy.parquet",
        energy_windows="<results>/tables/energy_windows.csv",
        energy_windows_parquet="<results>/tables/energy_windows.parquet",
    log:
        "<results>/logs/energy.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/collect_energy.py"),
        wall_meters=config["energy"]["wall_meters"],
        # A wall meter writes its file while the sweep runs, so it need not be there yet.
        wall_meter_sha256=[
            hash_of(meter["file"]) for meter in config["energy"]["wall_meters"]
        ],
        declared=config["energy"]["declared"],
    script:
        "../scripts/collect_energy.py"


rule compare_devices:
    input:
        runs="<results>/tables/runs.parquet",
        windows="<results>/tables/windows.parquet",
        energy="<results>/tables/energy.parquet",
        energy_windows="<results>/tables/energy_windows.parquet",
        parity=PARITY,
        noise=project("catalog/noise.yaml"),
        turns=TURNS_TABLE,
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
        code=code_of("scripts/compare_devices.py"),
        devices=[device["name"] for device in SURVEY.devices],
        assumptions=ASSUMPTIONS,
    script:
        "../scripts/compare_devices.py"


rule compute_cost:
    input:
        runs="<results>/tables/runs.parquet",
        windows="<results>/tables/windows.parquet",
        rates="<results>/tables/rates.parquet",
        energy_windows="<results>/tables/energy_windows.parquet",
        comparison="<results>/tables/comparison.parquet",
    output:
        costs=report(
            "<results>/tables/costs.csv",
            caption="../report/costs.rst",
            category="Tables",
            labels={"table": "costs"},
        ),
        costs_parquet="<results>/tables/costs.parquet",
        break_even=report(
            "<results>/tables/break_even.csv",
            caption="../report/break_even_table.rst",
            category="Tables",
            labels={"table": "break-even"},
        ),
        break_even_parquet="<results>/tables/break_even.parquet",
    log:
        "<results>/logs/cost.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/compute_cost.py"),
        assumptions=ASSUMPTIONS,
        target=config["target_accuracy"],
    script:
        "../scripts/compute_cost.py"


rule plan_next:
    input:
        runs="<results>/tables/runs.parquet",
        windows="<results>/tables/windows.parquet",
        rates="<results>/tables/rates.parquet",
        comparison="<results>/tables/comparison.parquet",
    output:
        next=report(
            "<results>/tables/next.csv",
            caption="../report/next.rst",
            category="Tables",
            labels={"table": "next"},
        ),
        next_parquet="<results>/tables/next.parquet",
        epochs=report(
            "<results>/tables/epochs.csv",
            caption="../report/epochs.rst",
            category="Tables",
            labels={"table": "epochs"},
        ),
        epochs_parquet="<results>/tables/epochs.parquet",
    log:
        "<results>/logs/plan_next.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plan_next.py"),
    script:
        "../scripts/plan_next.py"


rule fit_overhead:
    input:
        rates="<results>/tables/rates.parquet",
        comparison="<results>/tables/comparison.parquet",
    output:
        overhead=report(
            "<results>/tables/overhead.csv",
            caption="../report/overhead.rst",
            category="Tables",
            labels={"table": "overhead"},
        ),
        overhead_parquet="<results>/tables/overhead.parquet",
        crossings=report(
            "<results>/tables/crossings.csv",
            caption="../report/crossings.rst",
            category="Tables",
            labels={"table": "crossings"},
        ),
        crossings_parquet="<results>/tables/crossings.parquet",
    log:
        "<results>/logs/overhead.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/fit_overhead.py"),
        devices=[device["name"] for device in SURVEY.devices],
    script:
        "../scripts/fit_overhead.py"
