# One rule per figure: tables in, SVG and PNG out. The order of the devices decides colours and the baseline.

FIGURE_DEVICES = [
    {
        "name": device["name"],
        "label": one_line(device["label"], 80) or device["name"],
    }
    for device in SURVEY.devices
]


rule plot_throughput:
    input:
        runs="<results>/tables/runs.parquet",
        windows="<results>/tables/windows.parquet",
        rates="<results>/tables/rates.parquet",
    output:
        svg=report(
            "<results>/figures/throughput.svg",
            caption="../report/throughput.rst",
            category="Figures",
            subcategory="Speed",
            labels={"figure": "training speed"},
        ),
        png="<results>/figures/throughput.png",
    log:
        "<results>/logs/plot_throughput.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_throughput.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_throughput.py"


rule plot_each_device:
    input:
        runs="<results>/tables/runs.parquet",
        rates="<results>/tables/rates.parquet",
    output:
        svg=report(
            "<results>/figures/each_device.svg",
            caption="../report/each_device.rst",
            category="Figures",
            subcategory="Speed",
            labels={"figure": "each device alone"},
        ),
        png="<results>/figures/each_device.png",
    log:
        "<results>/logs/plot_each_device.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_each_device.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_each_device.py"


rule plot_ratio:
    input:
        rates="<results>/tables/rates.parquet",
        comparison="<results>/tables/comparison.parquet",
        overall="<results>/tables/overall.parquet",
    output:
        svg=report(
            "<results>/figures/ratio.svg",
            caption="../report/ratio.rst",
            category="Figures",
            subcategory="Speed",
            labels={"figure": "devices against each other"},
        ),
        png="<results>/figures/ratio.png",
    log:
        "<results>/logs/plot_ratio.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_ratio.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_ratio.py"


rule plot_last_layer:
    input:
        rates="<results>/tables/rates.parquet",
    output:
        svg=report(
            "<results>/figures/last_layer.svg",
            caption="../report/last_layer.rst",
            category="Figures",
            subcategory="Speed",
            labels={"figure": "last layer against all weights"},
        ),
        png="<results>/figures/last_layer.png",
    log:
        "<results>/logs/plot_last_layer.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_last_layer.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_last_layer.py"


rule plot_learning:
    input:
        runs="<results>/tables/runs.parquet",
        windows="<results>/tables/windows.parquet",
        parity=PARITY,
    output:
        svg=report(
            "<results>/figures/learning.svg",
            caption="../report/learning.rst",
            category="Figures",
            subcategory="Learning",
            labels={"figure": "learning curves"},
        ),
        png="<results>/figures/learning.png",
    log:
        "<results>/logs/plot_learning.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_learning.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_learning.py"


rule plot_cold_start:
    input:
        runs="<results>/tables/runs.parquet",
    output:
        svg=report(
            "<results>/figures/cold_start.svg",
            caption="../report/cold_start.rst",
            category="Figures",
            subcategory="Runs",
            labels={"figure": "cold start"},
        ),
        png="<results>/figures/cold_start.png",
    log:
        "<results>/logs/plot_cold_start.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_cold_start.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_cold_start.py"


rule plot_run_matrix:
    input:
        runs="<results>/tables/runs.parquet",
    output:
        svg=report(
            "<results>/figures/run_matrix.svg",
            caption="../report/run_matrix.rst",
            category="Figures",
            subcategory="Runs",
            labels={"figure": "how every run ended"},
        ),
        png="<results>/figures/run_matrix.png",
    log:
        "<results>/logs/plot_run_matrix.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_run_matrix.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_run_matrix.py"


rule plot_model_size:
    input:
        runs="<results>/tables/runs.parquet",
        comparison="<results>/tables/comparison.parquet",
    output:
        svg=report(
            "<results>/figures/model_size.svg",
            caption="../report/model_size.rst",
            category="Figures",
            subcategory="Speed",
            labels={"figure": "speed against model size"},
        ),
        png="<results>/figures/model_size.png",
    log:
        "<results>/logs/plot_model_size.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_model_size.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_model_size.py"


rule plot_published:
    input:
        rates="<results>/tables/rates.parquet",
        published=project("catalog/published.csv"),
    output:
        svg=report(
            "<results>/figures/published.svg",
            caption="../report/published.rst",
            category="Figures",
            subcategory="Context",
            labels={"figure": "published by others"},
        ),
        png="<results>/figures/published.png",
    log:
        "<results>/logs/plot_published.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_published.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_published.py"


rule plot_energy:
    input:
        rates="<results>/tables/rates.parquet",
    output:
        svg=report(
            "<results>/figures/energy.svg",
            caption="../report/energy.rst",
            category="Figures",
            subcategory="Energy and cost",
            labels={"figure": "energy"},
        ),
        png="<results>/figures/energy.png",
    log:
        "<results>/logs/plot_energy.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_energy.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_energy.py"


rule plot_efficiency:
    input:
        rates="<results>/tables/rates.parquet",
    output:
        svg=report(
            "<results>/figures/efficiency.svg",
            caption="../report/efficiency.rst",
            category="Figures",
            subcategory="Energy and cost",
            labels={"figure": "speed against power"},
        ),
        png="<results>/figures/efficiency.png",
    log:
        "<results>/logs/plot_efficiency.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_efficiency.py"),
        devices=FIGURE_DEVICES,
    script:
        "../scripts/plot_efficiency.py"


rule plot_cost:
    input:
        costs="<results>/tables/costs.parquet",
    output:
        svg=report(
            "<results>/figures/cost.svg",
            caption="../report/cost.rst",
            category="Figures",
            subcategory="Energy and cost",
            labels={"figure": "cost of a training"},
        ),
        png="<results>/figures/cost.png",
    log:
        "<results>/logs/plot_cost.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_cost.py"),
        devices=FIGURE_DEVICES,
        assumptions=ASSUMPTIONS,
    script:
        "../scripts/plot_cost.py"


rule plot_break_even:
    input:
        break_even="<results>/tables/break_even.parquet",
    output:
        svg=report(
            "<results>/figures/break_even.svg",
            caption="../report/break_even.rst",
            category="Figures",
            subcategory="Energy and cost",
            labels={"figure": "break-even"},
        ),
        png="<results>/figures/break_even.png",
    log:
        "<results>/logs/plot_break_even.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/plot_break_even.py"),
        devices=FIGURE_DEVICES,
        assumptions=ASSUMPTIONS,
    script:
        "../scripts/plot_break_even.py"
