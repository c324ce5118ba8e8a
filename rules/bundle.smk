# Machines that share no disk exchange bundles: `snakemake bundle` there, the zip into imports/ here.


rule bundle:
    input:
        metrics=metrics_of_all_runs,
        probes=PROBES,
        schema=project("schemas/bundle.schema.json"),
    output:
        bundle="<results>/bundle.zip",
    log:
        "<results>/logs/bundle.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/bundle.py"),
        experiment=dict(config),
        wanted=WANTED,
        devices=DEVICES,
        reference=REFERENCE["name"] if PROBES else None,
        origin_file=ORIGIN_FILE,
    script:
        "../scripts/bundle.py"


rule import_bundles:
    input:
        schemas=[
            project("schemas/bundle.schema.json"),
            project("schemas/metrics.schema.json"),
        ],
    output:
        folder=directory("<results>/imported"),
    log:
        "<results>/logs/import_bundles.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/import_bundles.py"),
        # Pairs of path and hash.
        bundles=literal([[path, hash_of(path)] for path in SURVEY.paths]),
        names=[[*device, name] for device, name in SURVEY.names.items()],
    script:
        "../scripts/import_bundles.py"
