# Copies finished runs to trackers, if the experiment requests it. These rules read metrics files and nothing depends on them, so
# no training waits for them.

TRACKERS = config.get("trackers") or {}
TRACKED = [
    f"<results>/trackers/{name}.json" for name, wanted in TRACKERS.items() if wanted
]


rule track_tensorboard:
    input:
        metrics=metrics_of_all_runs,
    output:
        written="<results>/trackers/tensorboard.json",
    log:
        "<results>/logs/track_tensorboard.log",
    conda:
        "../envs/trackers.yaml"
    params:
        code=code_of("scripts/track_tensorboard.py"),
    script:
        "../scripts/track_tensorboard.py"


rule track_wandb:
    input:
        metrics=metrics_of_all_runs,
    output:
        written="<results>/trackers/wandb.json",
    log:
        "<results>/logs/track_wandb.log",
    conda:
        "../envs/trackers.yaml"
    params:
        code=code_of("scripts/track_wandb.py"),
        project=literal((TRACKERS.get("wandb") or {}).get("project")),
        entity=literal((TRACKERS.get("wandb") or {}).get("entity")),
        mode=(TRACKERS.get("wandb") or {}).get("mode", "offline"),
    script:
        "../scripts/track_wandb.py"
