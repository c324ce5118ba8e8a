# One rule per figure of scripts/trainoff/report/figure_table.py: tables in; a wide and a narrow SVG, a PNG and the facts out.

FIGURE_DEVICES = [
    {
        "name": device["name"],
        "label": one_line(device["label"], 80) or device["name"],
        "backend": device["backend"],
        "accelerator": device["accelerator"],
    }
    for device in SURVEY.devices
]
# The devices that the report compares.
PAIR = {"compare": config["compare"], "baseline": config["baseline"]}
# Options that a figure may use besides tables and devices.
FIGURE_OPTIONS = {"assumptions": ASSUMPTIONS, "pair": PAIR}
# Inputs that are not tables of this experiment, or that may be missing.
FIGURE_INPUTS = {"published": project("catalog/published.csv"), "parity": PARITY}


for figure_name, figure in FIGURES.items():

    rule:
        name:
            f"plot_{figure_name}"
        input:
            **{
                table: FIGURE_INPUTS.get(table, f"<results>/tables/{table}.parquet")
                for table in figure.tables
            },
        output:
            **(
                {"narrow": f"<results>/figures/{figure_name}-narrow.svg"}
                if figure.main
                else {}
            ),
            svg=report(
                f"<results>/figures/{figure_name}.svg",
                caption="../report/figure.rst",
                category="Figures",
                subcategory=figure.category,
                labels={"figure": figure.heading},
            ),
            png=f"<results>/figures/{figure_name}.png",
            facts=f"<results>/figures/{figure_name}.json",
        log:
            f"<results>/logs/plot_{figure_name}.log",
        conda:
            "../envs/analysis.yaml"
        params:
            code=code_of(f"scripts/plot_{figure_name}.py"),
            figure=figure_name,
            options={
                "devices": FIGURE_DEVICES,
                **{option: FIGURE_OPTIONS[option] for option in figure.options},
            },
            caption=figure.caption,
        # Not an f-string: it would be evaluated when the job runs, after the loop, and name the last figure for all.
        script:
            "../scripts/plot_{params.figure}.py"
