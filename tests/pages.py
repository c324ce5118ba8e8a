"""Pages of made-up runs: the builders that tests share, and the five pages that docs/pages.md shows.

The figures are plausible and drawn from a fixed seed; nothing of them was measured.
"""

import importlib
import json
import math
import random
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import synthetic
import yaml

import estimate_devices
import write_report
from trainoff import series, windows
from trainoff.analyze import cost, parity
from trainoff.analyze import readings as table_of_readings
from trainoff.analyze.tables import write as write_table
from trainoff.report import saving, study
from trainoff.report.figure_table import FIGURES

ROOT = Path(__file__).parents[1]
CATALOG = {
    "published": ROOT / "catalog/published.csv",
    "hardware": ROOT / "catalog/hardware.yaml",
    "counts": ROOT / "catalog/counts.csv",
    "timings": ROOT / "catalog/timm-training.csv",
}
SETTINGS = {"dataset": {"name": "digits"}, "weights": "random", "replicates": 1, "seed": 0}
ASKED = {"compare": None, "baseline": None}
MAIN = tuple(name for name, entry in FIGURES.items() if entry.main)
HOSTILE = "</script><script>alert(1)</script><!-- \"'&amp; <img src=x onerror=alert(1)>"


def draw(name, paths, devices, folder, assumptions=synthetic.ASSUMPTIONS):
    """Draws one figure as its rule does; returns the paths of its files by what they are. paths: of tables by name."""
    entry = FIGURES[name]
    options = {"assumptions": assumptions, "pair": ASKED}
    outputs = {
        "svg": folder / f"{name}.svg",
        **({"narrow": folder / f"{name}-narrow.svg"} if entry.main else {}),
        "png": folder / f"{name}.png",
        "facts": folder / f"{name}.json",
    }
    saving.figure(
        importlib.import_module(f"plot_{name}").draw,
        {table: CATALOG["published"] if table == "published" else paths.get(table, []) for table in entry.tables},
        {"devices": devices, **{option: options[option] for option in entry.options}},
        outputs,
    )
    return outputs


def page(
    folder,
    devices,
    records,
    title="A title",
    drawn=(),
    change=None,
    pair=ASKED,
    tables=None,
    settings=SETTINGS,
    assumptions=synthetic.ASSUMPTIONS,
):
    """The page made of records, and the tables behind it; with a stand-in for every figure but those in `drawn`.

    drawn: names of figures, True for all. change: called with {name of the table: path}, may add tables. pair: whom the
    experiment compares. tables: paths, in place of those that are made of the records.
    """
    tables = tables or synthetic.results(folder, devices, records, assumptions)
    if change:
        change(tables)
    if "estimates" not in tables:
        tables = tables | estimates(folder, tables, devices, [], assumptions)
    drawings = {}
    for name, entry in FIGURES.items():
        if drawn is True or name in drawn:
            drawings[name] = draw(name, tables, devices, folder, assumptions)
        else:
            files = {"svg": folder / "stand-in.svg", "facts": folder / "stand-in.json"}
            files["svg"].write_text('<svg xmlns="http://www.w3.org/2000/svg"><text id="a">figure</text></svg>')
            files["facts"].write_text(json.dumps({"title": "A finding", "subtitle": "", "notes": []}))
            drawings[name] = files | ({"narrow": files["svg"]} if entry.main else {})
    results = study.read(
        tables,
        CATALOG["published"],
        title=title,
        devices=devices,
        assumptions=assumptions,
        pair=pair,
        settings=settings,
    )
    figures = {name: {part: files.get(part) for part in ("svg", "narrow", "facts")} for name, files in drawings.items()}
    write_report.main(results, figures, ROOT / "report/page", folder / "report.html")
    frames = {name: pd.read_parquet(path) for name, path in tables.items()}
    return (folder / "report.html").read_text(encoding="utf-8"), frames


def estimates(folder, paths, devices, wanted, assumptions, training=None):
    """{"estimates", "training_runs": path} of the devices `wanted`, keys of catalog/hardware.yaml, beside the measured ones.

    assumptions: with the prices of all. training: the experiment's `training_run`.
    """
    outputs = {name: (folder / f"{name}.csv", folder / f"{name}.parquet") for name in ("estimates", "training_runs")}
    labels = {device["name"]: device["label"] for device in devices}
    catalog = {name: str(path) for name, path in CATALOG.items()}
    estimate_devices.main(
        paths["rates"],
        paths["runs"],
        paths["comparison"],
        catalog,
        wanted,
        labels,
        assumptions["devices"],
        assumptions,
        training,
        outputs,
    )
    return {name: parquet for name, (_, parquet) in outputs.items()}


# --- Made-up runs that look like real ones --------------------------------------------------------------------------


def named(devices, **names):
    """Entries of catalog/devices.yaml as pages take them. devices: names. names: labels other than the catalog's."""
    catalog = read("catalog/devices.yaml")
    return [{**catalog[name], "name": name, "label": names.get(name, catalog[name]["label"])} for name in devices]


def read(path):
    """A YAML file of the project."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def priced(devices, wanted=()):
    """What costs rest on in the default experiment: the catalog's prices of `devices` (entries) and of the estimated ones."""
    config, catalog = read("config.yaml"), read("catalog/devices.yaml")
    here = cost.assumptions(config, devices, catalog)
    elsewhere = cost.of_hardware(read("catalog/hardware.yaml"), config, catalog)
    return here | {"devices": {name: elsewhere[name] for name in wanted} | here["devices"]}


def run_in_turn(records, factor=1):
    """Makes every epoch `factor` times as long, and the runs of a device follow each other."""
    clocks = {}
    for record in records:
        clock = clocks.get(record["run"]["device"], datetime.fromisoformat("2026-01-02T08:00:00+00:00"))
        record["provenance"]["started_at"] = clock.strftime("%Y-%m-%dT%H:%M:%SZ")
        clock += timedelta(seconds=sum(value or 0 for value in record["cold_start"].values()))
        for window in record["windows"]:
            window |= {"images": window["images"] * factor, "seconds": window["seconds"] * factor}
            window["started_at"] = clock.isoformat()
            clock += timedelta(seconds=window["seconds"] + 1)
        record["throughput"] = windows.summarize(record["windows"])
        record["provenance"]["finished_at"] = clock.strftime("%Y-%m-%dT%H:%M:%SZ")
        clocks[record["run"]["device"]] = clock + timedelta(seconds=5)


def describe(records, facts):
    """Gives the records of each device what it says of itself. facts: {device: {part of the record: {key: value}}}."""
    for record in records:
        for part, values in facts.get(record["run"]["device"], {}).items():
            record[part] = record[part] | values


def add_readings(folder, records, steady):
    """Writes a series beside every record of a device; steady: {device: {reading: its value once the device is warm}}.

    Returns {"readings": path}; the records lie where synthetic.write puts them.
    """
    looks = []
    for path, record in zip(synthetic.write(folder, records), records, strict=True):
        if readings := steady.get(record["run"]["device"]):
            path.with_name(series.BUNDLED).write_text(_series(record, readings), encoding="utf-8")
            looks.append((path, record))
    path = folder / "readings.parquet"
    table_of_readings.table(looks).to_parquet(path, index=False)
    return {"readings": path}


def _series(record, steady):
    """A reading a second from the start of the process, as CSV; between epochs the device waits."""
    generator = random.Random(str(record["run"]))
    started = datetime.fromisoformat(record["provenance"]["started_at"])
    spans = []
    for window in record["windows"]:
        start = (datetime.fromisoformat(window["started_at"]) - started).total_seconds()
        spans.append((window["epoch"], start, start + window["seconds"]))
    lines = [",".join(["seconds", "epoch", *steady])]
    for second in range(math.ceil(spans[-1][2]) + 1 if spans else 0):
        epoch = next((number for number, start, end in spans if start <= second <= end), None)
        values = [_reading(name, value, second, epoch, generator) for name, value in steady.items()]
        lines.append(",".join([str(second), "" if epoch is None else str(epoch), *map("{:.1f}".format, values)]))
    return "\n".join(lines) + "\n"


def _reading(name, value, second, epoch, generator):
    if name.endswith("celsius"):
        return 34 + (value - 34) * (1 - math.exp(-second / 45)) + generator.gauss(0, 0.4)
    idle = {"watts": 0.2, "mhz": 0.7}.get(name.rsplit("_", 1)[-1], 1.0)
    return value * (1 if epoch else idle) * generator.gauss(1, 0.01)


def train_the_same(folder, devices, reference):
    """Makes the parity table in which all devices match the reference (a name), as synthetic.results takes it."""

    def judge(_):
        rows = [
            {
                "device": device["name"],
                "reference": reference,
                "model": "mobilenetv2",
                "precision": "float32",
                "xla": False,
                "check": check,
                "measured": measured,
                "tolerance": tolerance,
                "verdict": "match",
                "reason": "",
            }
            for device in devices
            if device["name"] != reference
            for check, measured, tolerance in (("outputs", 0.0004, 0.02), ("first_losses", 0.006, 0.05))
        ]
        path = folder / "tables/parity.parquet"
        write_table(pd.DataFrame(rows, columns=parity.COLUMNS), folder / "tables/parity.csv", path)
        return path

    return judge


# --- The five pages of docs/pages.md ---------------------------------------------------------------------------------


def single(folder):
    """One device, as the default experiment shows it on a machine without a GPU."""
    devices = named(["cpu"])
    config = read("config.yaml")
    wanted = config["predict"]
    records = synthetic.records(devices)
    run_in_turn(records)
    describe(records, {"cpu": {"device": {"name": "Example CPU, 2 cores", "cores": 2}}})
    assumptions = priced(devices, wanted)
    paths = synthetic.results(folder, devices, records, assumptions)
    paths |= estimates(folder, paths, devices, wanted, assumptions)
    paths |= add_readings(folder, records, {"cpu": {"cpu_mhz": 2600, "cpu_celsius": 71, "load_cores": 2}})
    settings = {key: config[key] for key in ("dataset", "weights", "replicates", "seed", "turns", "training_run")}
    return page(
        folder, devices, records, config["title"], True, tables=paths, settings=settings, assumptions=assumptions
    )


def mac(folder):
    """A Mac that is bought against a GPU that is rented: metered, priced, with a training of the user's own to pay for."""
    devices = named(["m1-mini", "v100"], v100="NVIDIA V100")
    wanted, training = ["rtx4090", "a100", "h100", "m3-max"], {"images": 50000, "epochs": 30}
    records = synthetic.records(devices, replicates=3)
    run_in_turn(records, factor=20)
    describe(
        records,
        {
            "m1-mini": {"device": {"name": "Apple M1", "cores": 8, "memory_bytes": 16 * 2**30, "driver": None}},
            "v100": {"device": {"name": "Tesla V100-SXM2-16GB"}},
        },
    )
    synthetic.add_energy(records, "m1-mini", 14, "ioreport", "soc", idle_watts=2)
    synthetic.add_energy(records, "v100", 215, "nvml", "gpu", idle_watts=38)
    assumptions = priced(devices, wanted)
    same = train_the_same(folder, devices, "reference-cpu")
    paths = synthetic.results(folder, devices, records, assumptions, parity=same)
    paths |= estimates(folder, paths, devices, wanted, assumptions, training)
    warm = {"m1-mini": {"package_watts": 14}, "v100": {"gpu_watts": 215, "gpu_mhz": 1450, "gpu_celsius": 63}}
    paths |= add_readings(folder, records, warm)
    return page(
        folder,
        devices,
        records,
        "Mac mini or a rented V100?",
        True,
        tables=paths,
        settings=SETTINGS | {"replicates": 3, "training_run": training},
        assumptions=assumptions,
    )


def frameworks(folder):
    """Three frameworks on one processor, as presets/frameworks.yaml compares them."""
    preset = read("presets/frameworks.yaml")
    devices = named(preset["devices"])
    records = synthetic.records(devices, synthetic.SMALL_GRID, replicates=preset["replicates"])
    run_in_turn(records)
    for record in records:
        name = record["run"]["device"].removeprefix("cpu-")
        version = {"tensorflow": "2.19.1", "torch": "2.9.1", "jax": "0.8.1"}[name]
        record["device"] |= {"name": "Example CPU, 2 cores", "backend": name, "accelerator": "cpu", "cores": 2}
        record["host"]["machine"] = "host-cpu"
        record["software"] = {"python": "3.12.4", name: version, "keras": "3.15.1", "numpy": "2.1.3"}
        for key in ("memory_bytes", "driver"):
            record["device"][key] = None
    for device, watts in (("cpu-tensorflow", 41), ("cpu-torch", 44), ("cpu-jax", 38)):
        synthetic.add_energy(records, device, watts, "rapl", "package", idle_watts=9)
    same = train_the_same(folder, devices, "cpu-tensorflow")
    paths = synthetic.results(folder, devices, records, parity=same)
    warm = {"cpu_mhz": 2600, "cpu_celsius": 74, "package_watts": 42}
    paths |= add_readings(folder, records, {device["name"]: warm for device in devices})
    return page(folder, devices, records, preset["title"], True, tables=paths, settings=SETTINGS | {"replicates": 3})


def failures(folder, drawn=True):
    """Three devices on which many runs failed, in every way that there is. drawn: see `page`."""
    devices = synthetic.DEVICES[:3]
    by_device = {
        0: {5: "timed_out", 6: "timed_out", 7: "timed_out", 20: "crashed", 22: "error"},
        1: dict.fromkeys((3, 4, 5, 9, 10, 11), "out_of_memory") | {13: "crashed", 14: "crashed", 21: "diverged"},
        2: dict.fromkeys(range(8, 24), "unavailable") | {1: "out_of_memory", 2: "out_of_memory", 4: "diverged"},
    }
    failed = {
        24 * place + rank: status for place, failed_ranks in by_device.items() for rank, status in failed_ranks.items()
    }
    records = synthetic.records(devices, replicates=3, failures=failed)
    synthetic.add_energy(records, "cuda", 250, "nvml", "gpu", idle_watts=50)
    return page(folder, devices, records, "Many runs failed", drawn)


LARGE_GRID = synthetic.GRID | {
    "model": ["mobilenetv2", "resnet50"],
    "batch_size": [16, 32, 64, 128, 256],
    "img_dim": [64, 96, 128, 160, 224],
    "precision": ["float32", "mixed_float16"],
}


def large(folder):
    """200 configurations on eight devices, more than the page writes row by row: its script makes the rest."""
    devices = synthetic.DEVICES
    failed = {200 * 2 + rank: "out_of_memory" for rank in range(160, 200)} | {31: "timed_out", 990: "crashed"}
    records = synthetic.records(devices, LARGE_GRID, epochs=3, failures=failed)
    return page(folder, devices, records, "200 configurations on eight devices", True)


# --- Further pages that only tests look at ---------------------------------------------------------------------------


def three(folder):
    """Eight configurations on three devices, priced, two of them metered, with failures and readings."""
    devices = synthetic.DEVICES[:3]
    failed = {5: "crashed", 30: "out_of_memory", 31: "out_of_memory", 32: "out_of_memory", 50: "diverged"}
    records = synthetic.records(devices, replicates=3, failures=failed)
    synthetic.add_energy(records, "cpu", 30, "rapl", "package", idle_watts=10)
    synthetic.add_energy(records, "cuda", 250, "nvml", "gpu", idle_watts=50)
    paths = synthetic.results(folder, devices, records)
    warm = {
        "cpu": {"cpu_mhz": 2600, "package_watts": 30},
        "cuda": {"gpu_watts": 250, "gpu_mhz": 1410, "gpu_celsius": 71},
    }
    paths |= add_readings(folder, records, warm)
    return page(folder, devices, records, drawn=True, tables=paths)


def hostile(folder):
    """Two devices whose names, messages and logs try to break out of the page."""
    devices = [{"name": "cpu", "label": HOSTILE}, {"name": "cuda", "label": "{{ 7 * 7 }} </style><b>"}]
    records = synthetic.records(devices, failures={2: "crashed", 9: "error"})
    records[2]["failure"] |= {"message": HOSTILE, "log_tail": [HOSTILE, "half a character \ud800"]}
    records[3]["device"]["name"] = HOSTILE
    return page(folder, devices, records, title=HOSTILE, drawn=MAIN)


def nothing(folder):
    """Two devices on which every run failed."""
    devices = synthetic.DEVICES[:2]
    return page(folder, devices, synthetic.records(devices, failures=dict.fromkeys(range(16), "error")))


def samples(folder):
    """Two devices that train on arrays that are no images."""
    devices = synthetic.DEVICES[:2]
    records = synthetic.records(devices, synthetic.SMALL_GRID)
    for record in records:
        record["run"]["img_dim"] = 0
    return page(folder, devices, records)


SHOWN = {"one": single, "mac": mac, "frameworks": frameworks, "failures": failures, "large": large}
PAGES = SHOWN | {"three": three, "hostile": hostile}
# Of which a browser only has to run the script.
ODD = {"nothing": nothing, "samples": samples}
