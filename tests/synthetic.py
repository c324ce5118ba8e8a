"""Made-up but valid metrics records, for tests of what comes after training.

The numbers are drawn from a fixed seed around a simple model of speed, so the truth behind them is known: a device of
speed 4 trains four times as fast as one of speed 1 in every configuration.
"""

import hashlib
import itertools
import json
import math
import random
from datetime import datetime, timedelta
from pathlib import Path

from trainoff import energy
from trainoff import windows as windows_of

GRID = {
    "model": ["mobilenetv2"],
    "batch_size": [32, 64],
    "img_dim": [96, 128],
    "trainable": [True, False],
    "precision": ["float32"],
    "xla": [False],
    "learning_rate": [0.0005],
    "optimizer": ["adam"],
}
SMALL_GRID = GRID | {"batch_size": [32], "img_dim": [96]}
WIDE_GRID = GRID | {"model": ["mobilenetv2", "resnet50"], "img_dim": [96, 128, 160], "batch_size": [32, 64, 128, 256]}

DEVICES = [
    {"name": "cpu", "label": "CPU"},
    {"name": "cuda", "label": "NVIDIA GPU"},
    {"name": "metal", "label": "Apple GPU"},
    {"name": "laptop", "label": "Laptop CPU"},
    {"name": "h100", "label": "H100"},
    {"name": "v100", "label": "V100"},
    {"name": "m3-max", "label": "M3 Max"},
    {"name": "t4", "label": "T4"},
]
# Parameters, and operations of a forward pass at 224 px.
MODELS = {"mobilenetv2": (2_270_794, 6.0e8), "resnet50": (23_608_202, 7.7e9)}
SPEED = {
    "cpu": 1,
    "cuda": 14,
    "metal": 4.3,
    "laptop": 0.98,
    "h100": 30,
    "v100": 12,
    "m1-mini": 3.2,
    "m3-max": 6,
    "t4": 7,
    "cpu-tensorflow": 1,
    "cpu-torch": 1.35,
    "cpu-jax": 0.72,
}

TABLES = (
    "runs",
    "windows",
    "energy",
    "energy_windows",
    "rates",
    "comparison",
    "best",
    "overall",
    "costs",
    "break_even",
    "overhead",
    "crossings",
)
SOURCE = {"source": "made up", "date": "2026-01"}
# What costs rest on, as trainoff.analyze.cost.assumptions gives it: cuda is rented, metal is owned, cpu has no price.
ASSUMPTIONS = {
    "currency": "USD",
    "electricity": {"per_kwh": 0.2, "currency": "USD", **SOURCE},
    "carbon": None,
    "devices": {
        "cpu": {"purchase": None, "rental": None},
        "cuda": {
            "purchase": None,
            "rental": {"per_hour": 3.0, "minimum_hours": 0, "listed": "3 USD per hour", **SOURCE},
        },
        "metal": {
            "purchase": {"amount": 900.0, "lifetime_years": 4, "utilisation": 0.25, "listed": "900 USD", **SOURCE},
            "rental": {"per_hour": 0.7, "minimum_hours": 24, "listed": "0.7 USD per hour", **SOURCE},
        },
    },
}
NO_METER = "This machine shows no energy counter of its processor."
HASH = hashlib.sha256(b"synthetic").hexdigest()


def records(devices, grid=GRID, replicates=1, epochs=4, failures=None, noise=0.015, seed=0):
    """One valid record per device, configuration and replicate.

    `devices` are dicts with a name; `failures` maps the rank of a record (from 0) to the status it shall have.
    """
    failures = failures or {}
    keys = [*grid, "replicate"]
    combinations = itertools.product(*grid.values(), range(1, replicates + 1))
    runs = [dict(zip(keys, values, strict=True)) for values in combinations]
    return [
        record({"device": device["name"], **run}, rank, failures.get(rank, "ok"), epochs, noise, seed)
        for rank, (device, run) in enumerate(itertools.product(devices, runs))
    ]


def record(run, rank=0, status="ok", epochs=4, noise=0.015, seed=0):
    """One valid record; `rank` orders the runs in time."""
    # The optimizer came later; what tests expect was drawn without it.
    draw = random.Random(f"{seed} {sorted((key, value) for key, value in run.items() if key != 'optimizer')}")
    run = {**run, "seed": seed + run["replicate"] - 1}
    finished = {"ok": epochs, "diverged": 1, "timed_out": 2}.get(status, 0)
    rate = _rate(run) * math.exp(draw.gauss(0, noise / 2))
    windows = [_window(run, epoch, rate, noise, draw) for epoch in range(1, finished + 1)]
    clock = datetime.fromisoformat(f"2026-01-02T{rank // 60 % 24:02}:{rank % 60:02}:10+00:00")
    for window in windows:
        window["started_at"] = clock.isoformat()
        clock += timedelta(seconds=window["seconds"] + 1)
    if status == "diverged":
        windows[-1] |= {"loss": None, "val_loss": None}
    accuracies = [window["val_accuracy"] for window in windows]
    cpu = run["device"] in ("cpu", "laptop")
    started = status != "unavailable"
    outcome = "not_converged" if status == "ok" and not run["trainable"] else status
    return {
        "schema_version": 1,
        "protocol_version": 1,
        "run": run,
        "status": status,
        "failure": None if status == "ok" else _failure(status),
        "cold_start": {
            "import_seconds": draw.uniform(7, 9) if started else None,
            "build_seconds": draw.uniform(1, 2) if started else None,
            "first_step_seconds": draw.uniform(12, 32 if run["trainable"] else 15) if finished else None,
        },
        "windows": windows,
        "throughput": windows_of.summarize(windows),
        "training": {
            "converged": {"ok": bool(run["trainable"]), "diverged": False}.get(status),
            "epochs": finished,
            "final_val_accuracy": accuracies[-1] if accuracies else None,
            "attempts": [{"learning_rate": run["learning_rate"], "outcome": outcome}],
        },
        "energy": None,
        "energy_reason": NO_METER,
        "model": _model(run) if finished else None,
        "device": {
            "name": "Example chip" if cpu else run["device"].upper(),
            "backend": "tensorflow",
            "accelerator": "cpu" if cpu else "metal" if run["device"][0] == "m" else "cuda",
            "memory_bytes": None if cpu else 16 * 2**30,
            "cores": 2 if cpu else None,
            "driver": None if cpu else "555.42",
        },
        "host": {
            "machine": f"host-{run['device']}",
            "os": "Linux 6.1",
            "cpu": "Example CPU",
            "memory_bytes": 8 * 2**30,
            "power_source": None if cpu else "mains",
        },
        "conditions": {
            "busy": False,
            "other_cores_before": 0.02,
            "other_cores_during": 0.05,
            "waited_seconds": 0.0,
        },
        "software": {"python": "3.12.4", "tensorflow": "2.19.1", "keras": "3.15.1", "numpy": "2.1.3"},
        "provenance": {
            "started_at": f"2026-01-02T{rank // 60 % 24:02}:{rank % 60:02}:00Z",
            "finished_at": (clock + timedelta(seconds=40)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "sequence": rank + 1,
            "images_sha256": HASH,
            "code_sha256": HASH,
            "dataset_sha256": HASH,
            "weights_sha256": None,
            "config_sha256": HASH,
            "dataset": "digits",
            "weights": "random",
        },
    }


def add_energy(all_records, device, watts, source, scope, idle_watts=None, noise=0.01, seed=0):
    """Gives all runs of a device an energy of about `watts` in every window, as a meter of that source and scope would."""
    draw = random.Random(f"{seed} {device}")
    for one in all_records:
        if one["run"]["device"] != device:
            continue
        for window in one["windows"]:
            window["energy_joules"] = watts * window["seconds"] * math.exp(draw.gauss(0, noise))
            window["energy_reason"] = None
        one["energy"], one["energy_reason"] = energy.summarize(one["windows"], source, scope, idle_watts)


def write(folder, all_records):
    """Writes each record to a metrics.json under `folder` as the workflow lays them out; returns the paths."""
    paths = []
    for one in all_records:
        axes = [f"{key}~{value}" for key, value in one["run"].items() if key not in ("device", "seed")]
        path = Path(folder, "runs", one["run"]["device"], *axes, "metrics.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(one), encoding="utf-8")
        (path.parent / "train.log").write_text("made up\n", encoding="utf-8")
        paths.append(path)
    return paths


def results(
    folder,
    devices,
    all_records,
    assumptions=ASSUMPTIONS,
    target=None,
    wall_meters=(),
    declared=None,
    parity=None,
    imported=(),
):
    """Writes the records and the tables that the workflow makes of them; returns {name of the table: parquet path}.

    parity: makes the parity table of the runs' table (paths of parquet files), where one is wanted. imported: the folder of
    unpacked bundles and the file of this folder's origin, where there are any.
    """
    import aggregate_runs
    import collect_energy
    import compare_devices
    import compute_cost
    import fit_overhead

    tables = Path(folder, "tables")
    paths = {name: (tables / f"{name}.csv", tables / f"{name}.parquet") for name in TABLES}
    aggregate_runs.main(write(folder, all_records), *paths["runs"], *paths["windows"], *imported)
    outputs = {name: paths[name] for name in ("rates", "comparison", "best", "overall")}
    names = [device["name"] for device in devices]
    runs, windows, drawn, drawn_windows, rates, comparison = (
        paths[name][1] for name in ("runs", "windows", "energy", "energy_windows", "rates", "comparison")
    )
    collect_energy.main(
        runs, windows, wall_meters, declared or {}, {name: paths[name] for name in ("energy", "energy_windows")}
    )
    judged = parity(runs) if parity else None
    compare_devices.main(runs, windows, names, outputs, judged, [drawn, drawn_windows], assumptions)
    fit_overhead.main(rates, comparison, names, {name: paths[name] for name in ("overhead", "crossings")})
    money = {name: paths[name] for name in ("costs", "break_even")}
    compute_cost.main(runs, windows, rates, drawn_windows, comparison, assumptions, target, money)
    found = {name: parquet for name, (_, parquet) in paths.items()}
    return found | {"parity": judged} if judged else found


def _model(run):
    parameters, operations = MODELS[run["model"]]
    return {
        "parameters": parameters,
        "trainable_parameters": parameters if run["trainable"] else 12_810,
        "flops_per_image": int(operations * (run["img_dim"] / 224) ** 2),
    }


def _rate(run):
    """True images per second of a configuration on a device."""
    pixels = (96 / run["img_dim"]) ** 2
    work = 1 if run["trainable"] else 4.4
    model = 0.4 if run["model"] == "resnet50" else 1
    return 70 * SPEED.get(run["device"], 2) * pixels * work * model * (run["batch_size"] / 32) ** 0.1


def _window(run, epoch, rate, noise, draw):
    images = 640
    warm_up = epoch == 1
    seconds = images / rate * math.exp(draw.gauss(0, noise)) * (1.15 if warm_up else 1)
    loss = 2.3 * math.exp(-epoch * (0.7 if run["trainable"] else 0.35)) + 0.02
    # All-weights validation starts badly: the moving averages of batch normalization lag.
    val_loss = loss * 1.1 + (3.5 * math.exp(-epoch / 2) if run["trainable"] else 0)
    return {
        "epoch": epoch,
        "images": images,
        "seconds": seconds,
        "warm_up": warm_up,
        "loss": loss * draw.uniform(0.95, 1.05),
        "accuracy": min(1, math.exp(-loss)),
        "val_loss": val_loss * draw.uniform(0.95, 1.05),
        "val_accuracy": math.exp(-val_loss) * 0.95,
        "started_at": None,
        "energy_joules": None,
        "energy_reason": NO_METER,
    }


def _failure(status):
    signal = {"crashed": "SIGSEGV", "out_of_memory": "SIGKILL", "timed_out": "SIGKILL"}.get(status)
    message = {
        "crashed": "The training process was ended by SIGSEGV (segmentation fault) after 12 s.",
        "out_of_memory": "The device ran out of memory: OOM when allocating tensor with shape[64,1280,4,4].",
        "timed_out": "No end after 60 minutes; ended.",
        "diverged": "The loss was not finite in epoch 1.",
        "unavailable": "No Apple GPU was found on this machine.",
        "error": "ValueError: something unexpected.",
    }[status]
    return {
        "signal": signal,
        "exit_code": None if signal else 1,
        "message": message,
        "log_tail": ["Epoch 1 starts", f"<script>alert('{status}')</script> & more"],
    }
