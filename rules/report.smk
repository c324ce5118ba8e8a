# The rules whose tables and figures the report is made of.
BEHIND_THE_REPORT = [
    "aggregate",
    "energy",
    "compare",
    "cost",
    *(["parity"] if PARITY else []),
    *(["packing"] if IN_REPORT else []),
    *sorted(
        known.name
        for known in workflow.rules
        if known.name.startswith("plot_")
        # One model shows no trend.
        and (known.name != "plot_model_size" or len({run["model"] for run in RUNS}) > 1)
    ),
]


rule report:
    input:
        # The page also shows the last lines of failed runs' logs, from the metrics files that this table names.
        runs="<results>/tables/runs.parquet",
        rates="<results>/tables/rates.parquet",
        comparison="<results>/tables/comparison.parquet",
        best="<results>/tables/best.parquet",
        overall="<results>/tables/overall.parquet",
        parity=PARITY,
        packing=PACKING,
        makespan=MAKESPAN,
        energy_table="<results>/tables/energy.parquet",
        costs="<results>/tables/costs.parquet",
        break_even_table="<results>/tables/break_even.parquet",
        each_device="<results>/figures/each_device.svg",
        each_device_caption=project("report/each_device.rst"),
        throughput="<results>/figures/throughput.svg",
        throughput_caption=project("report/throughput.rst"),
        ratio="<results>/figures/ratio.svg",
        ratio_caption=project("report/ratio.rst"),
        last_layer="<results>/figures/last_layer.svg",
        last_layer_caption=project("report/last_layer.rst"),
        # One model shows no trend.
        model_size=(
            "<results>/figures/model_size.svg"
            if len({run["model"] for run in RUNS}) > 1
            else []
        ),
        model_size_caption=project("report/model_size.rst"),
        learning="<results>/figures/learning.svg",
        learning_caption=project("report/learning.rst"),
        cold_start="<results>/figures/cold_start.svg",
        cold_start_caption=project("report/cold_start.rst"),
        energy="<results>/figures/energy.svg",
        energy_caption=project("report/energy.rst"),
        efficiency="<results>/figures/efficiency.svg",
        efficiency_caption=project("report/efficiency.rst"),
        cost="<results>/figures/cost.svg",
        cost_caption=project("report/cost.rst"),
        break_even="<results>/figures/break_even.svg",
        break_even_caption=project("report/break_even.rst"),
        run_matrix="<results>/figures/run_matrix.svg",
        run_matrix_caption=project("report/run_matrix.rst"),
        published="<results>/figures/published.svg",
        published_caption=project("report/published.rst"),
        published_table=project("catalog/published.csv"),
        template=project("report/report.html.j2"),
        style=project("report/report.css"),
        script=project("report/report.js"),
    output:
        page="<results>/report.html",
    log:
        "<results>/logs/report.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/report.py"),
        title=literal(one_line(config["title"])),
        devices=FIGURE_DEVICES,
        assumptions=ASSUMPTIONS,
        settings={
            key: value
            for key, value in config.items()
            if key
            not in ("title", "devices", "pathvars", "trackers", "limits", "retry")
        },
    script:
        "../scripts/report.py"
