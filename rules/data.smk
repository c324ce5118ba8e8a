rule fetch_dataset:
    output:
        archive="results/downloads/{archive}.tar.gz",
    log:
        "results/downloads/{archive}.log",
    wildcard_constraints:
        archive="|".join(ARCHIVES.values()),
    priority: BEFORE_RUNS
    conda:
        "../envs/analysis.yaml"
    script:
        "../scripts/fetch_dataset.py"


rule prepare_images:
    input:
        source=source_of_dataset,
    output:
        train_images="<results>/images/img_dim~{img_dim}/train_images.npy",
        train_labels="<results>/images/img_dim~{img_dim}/train_labels.npy",
        validation_images="<results>/images/img_dim~{img_dim}/validation_images.npy",
        validation_labels="<results>/images/img_dim~{img_dim}/validation_labels.npy",
        facts="<results>/images/img_dim~{img_dim}/facts.json",
    log:
        "<results>/images/img_dim~{img_dim}/prepare_images.log",
    priority: BEFORE_RUNS
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_of("scripts/prepare_images.py"),
        made_from=IMAGES_FROM,
        dataset=literal(config["dataset"]),
    script:
        "../scripts/prepare_images.py"


rule fetch_weights:
    output:
        weights="results/downloads/weights/{model}_{size}_no_top.h5",
    log:
        "results/downloads/weights/{model}_{size}_no_top.log",
    wildcard_constraints:
        size=r"\d+",
    priority: BEFORE_RUNS
    conda:
        "../envs/analysis.yaml"
    params:
        url=url_of_weights,
        # Outlives the download, so that a later one is compared with the first.
        hashes="results/downloads/weights/sha256.json",
    script:
        "../scripts/fetch_weights.py"


rule prepare_weights:
    input:
        source=source_of_weights,
        # Stands for the images beside it: small enough that Snakemake compares its content, not its time.
        image_facts="<results>/images/img_dim~{img_dim}/facts.json",
    output:
        weights="<results>/weights/model~{model}/img_dim~{img_dim}/weights.npz",
        facts="<results>/weights/model~{model}/img_dim~{img_dim}/facts.json",
    log:
        "<results>/weights/model~{model}/img_dim~{img_dim}/prepare_weights.log",
    priority: BEFORE_RUNS
    conda:
        # One framework for all devices: another would round otherwise, and the start would not be the same.
        "../envs/tensorflow-cpu.yaml"
    resources:
        # A function that takes longer could train no run either.
        timeout_minutes=config["protocol"]["timeout_minutes"],
    params:
        code=code_of("scripts/prepare_weights.py"),
        architecture=architecture_of,
        made_from=made_from_of,
        own_file=own_weights_of,
    script:
        "../scripts/prepare_weights.py"
