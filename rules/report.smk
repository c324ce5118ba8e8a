# The figures of this experiment; a single model shows no trend.
FIGURES_SHOWN = [
    name
    for name in FIGURES
    if (name != "model_size" or len({run["model"] for run in RUNS}) > 1)
    and (name != "estimates" or config["predict"])
]
# The rules whose tables and figures the report is made of.
BEHIND_THE_REPORT = [
    "aggregate_runs",
    "collect_energy",
    "compare_devices",
    "plan_next",
    "fit_overhead",
    "compute_cost",
    "estimate_devices",
    *(["check_parity"] if PARITY else []),
    *(["compare_concurrency"] if IN_REPORT else []),
    *sorted(f"plot_{name}" for name in FIGURES_SHOWN),
    "draw_share",
    *(["collect_turns"] if TURNS else []),
]
PAGE_PARTS = sorted(os.listdir(os.path.join(PROJECT, "report/page")))
# Tables of the report; those that the experiment does not use are empty lists.
REPORT_TABLES = {
    "parity": PARITY,
    "packing": PACKING,
    "makespan": MAKESPAN,
    **{
        name: f"<results>/tables/{name}.parquet"
        for name in [
            "runs",
            "windows",
            "readings",
            "energy",
            "energy_windows",
            "rates",
            "comparison",
            "best",
            "overall",
            "next",
            "costs",
            "break_even",
            "estimates",
            "training_runs",
        ]
    },
}


rule write_report:
    input:
        # The page also shows the last lines of failed runs' logs, from the metrics files that the table of runs names.
        **{f"table_{name}": path for name, path in REPORT_TABLES.items()},
        **{
            f"{part}_{name}": f"<results>/figures/{name}{ending}"
            for name in FIGURES_SHOWN
            for part, ending in [
                ("svg", ".svg"),
                ("narrow", "-narrow.svg"),
                ("facts", ".json"),
            ]
            if part != "narrow" or FIGURES[name].main
        },
        parts=[project(f"report/page/{name}") for name in PAGE_PARTS],
        published=project("catalog/published.csv"),
    output:
        page="<results>/report.html",
    log:
        "<results>/logs/report.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/write_report.py"),
        tables=list(REPORT_TABLES),
        title=literal(one_line(config["title"])),
        devices=FIGURE_DEVICES,
        pair=PAIR,
        assumptions=ASSUMPTIONS | {"devices": PRICES},
        config_file=CONFIG_FILE,
        settings=without_folders(
            {
                key: value
                for key, value in config.items()
                if key
                not in (
                    "title",
                    "devices",
                    "pathvars",
                    "trackers",
                    "container",
                    "limits",
                    "retry",
                )
            }
        ),
    script:
        "../scripts/write_report.py"


rule draw_share:
    input:
        **{name: f"<results>/tables/{name}.parquet" for name in ANSWER_TABLES},
        parity=PARITY,
    output:
        picture="<results>/share.png",
        entry="<results>/share.json",
    log:
        "<results>/logs/draw_share.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/draw_share.py"),
        tables=[*ANSWER_TABLES, "parity"],
        title=literal(one_line(config["title"])),
        devices=FIGURE_DEVICES,
        assumptions=ASSUMPTIONS,
        pair=PAIR,
    script:
        "../scripts/draw_share.py"
