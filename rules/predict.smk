# Speeds of devices that were not measured here, estimated from published figures, data sheets and measured runs.

HARDWARE = read_yaml("catalog/hardware.yaml")

try:
    hardware.check(config["predict"], HARDWARE)
    PRICES = {
        **{
            key: cost.of_hardware(HARDWARE, config, CATALOG)[key]
            for key in config["predict"]
        },
        **ASSUMPTIONS["devices"],
    }
except UserError as error:
    raise WorkflowError(str(error)) from None

if workflow.is_main_process:
    NAMES = {device["name"] for device in [*DEVICES, *SURVEY.devices]}
    for line in announcing.unused_lines(config, RUNS, {*NAMES, *CATALOG, *HARDWARE}):
        print(one_line(line, 1000), file=sys.stderr)


rule estimate_devices:
    input:
        rates="<results>/tables/rates.parquet",
        runs="<results>/tables/runs.parquet",
        comparison="<results>/tables/comparison.parquet",
        published=project("catalog/published.csv"),
        hardware=project("catalog/hardware.yaml"),
        counts=project("catalog/counts.csv"),
        timings=project("catalog/timm-training.csv"),
    output:
        estimates=report(
            "<results>/tables/estimates.csv",
            caption="../report/estimates_table.rst",
            category="Tables",
            labels={"table": "estimates"},
        ),
        estimates_parquet="<results>/tables/estimates.parquet",
        training_runs=report(
            "<results>/tables/training_runs.csv",
            caption="../report/training_runs.rst",
            category="Tables",
            labels={"table": "training runs"},
        ),
        training_runs_parquet="<results>/tables/training_runs.parquet",
    log:
        "<results>/logs/predict.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/estimate_devices.py"),
        wanted=config["predict"],
        labels={device["name"]: device["label"] for device in SURVEY.devices},
        prices=PRICES,
        assumptions=ASSUMPTIONS,
        training=config["training_run"],
    script:
        "../scripts/estimate_devices.py"
