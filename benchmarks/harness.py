"""The overhead of measuring: our windows and our train job compared with the minimum.

    python benchmarks/harness.py                                     # the default experiment's configurations; about 40 minutes
    python benchmarks/harness.py --configurations one --minutes 1    # a first look

Takes windows of the same training in turns and reports ratios of throughputs (see input_paths.py), and what a train job costs
beyond its training (see train_job.py). Writes results/benchmarks/harness.json with every value. A bound is missed if the whole
interval of its ratio is below it; the exit status is then 1.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import scipy.stats
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import train_job  # noqa: E402

import prepare_images  # noqa: E402
import prepare_weights  # noqa: E402
from trainoff import configurations, files  # noqa: E402
from trainoff.experiment import plan  # noqa: E402
from trainoff.machine import devices  # noqa: E402
from trainoff.measure import backends  # noqa: E402
from trainoff.prepare import survey  # noqa: E402
from trainoff.supervise import conditions  # noqa: E402
from trainoff.workflow.script import logged  # noqa: E402

FOLDER = Path("results/benchmarks")
# {name: (lane, lane it is divided by, minimum ratio)}
RATIOS = {"ours / bare fit": ("ours", "bare_fit", 0.98), "ours / descendants": ("ours", "descendants", 1.0)}
# Minimum number of pairs of windows for an interval.
MIN_PAIRS = 6
# Validation is not timed here: just enough images for it to happen.
VALIDATION_IMAGES = 50
# Maximum seconds of a train job beyond its training.
JOB_SECONDS = 2.0


def runs_to_measure(device, which):
    """The runs of the default experiment on `device`, as protocol.train takes them.

    which: "default" for all, "one" for the first that trains the last layer alone, which is quick and the hardest to feed.
    """
    config = _read_yaml("config.yaml") | {"devices": [device], "replicates": 1}
    models = _read_yaml("catalog/models.yaml")
    entries = plan.devices(config, _read_yaml("catalog/devices.yaml"), list)
    runs = [
        {
            **run,
            "architecture": {key: models[run["model"]][key] for key in ("application", "module")},
            "classes": survey.PUBLISHED["digits"],
            **config["training"],
            **config["protocol"],
        }
        for run in plan.runs(config, entries)
    ]
    return runs if which == "default" else [run for run in runs if not run["trainable"]][:1]


def prepare(run, folder):
    """Makes the images and weights of a run by the steps of the project; returns their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"train": _read_yaml("config.yaml")["images"]["train"], "validation": VALIDATION_IMAGES}
    paths = {f"{split}_{what}": folder / f"{split}_{what}.npy" for split in counts for what in ("images", "labels")}
    images = {"dataset": "digits", "images": counts}
    prepare_images.prepare_images(images, {"name": "digits"}, None, run["img_dim"], paths, folder / "images.json")
    weights = folder / "weights.npz"
    prepare_weights.prepare_weights(
        run["architecture"],
        run["img_dim"],
        {"weights": "random", "seed": run["seed"]},
        None,
        paths["train_images"],
        weights,
        folder / "weights.json",
    )
    return {name: str(path) for name, path in paths.items()} | {"weights": str(weights)}


def measure_input_paths(run, paths, seconds, pairs):
    """Throughputs of all lanes. Call it in a process of its own, since it starts the framework on the run's device."""
    device = run["device"]
    backend = backends.load(device["backend"])
    backend.start(device["accelerator"], device["threads"])
    import input_paths

    return input_paths.measure(run, paths, backend, seconds, pairs)


def ratios_of(rates):
    """{name: ratio} of a configuration: all pairs of windows, their median, its 95 % interval, the bound and the verdict.

    verdict: "met" if the median reaches the bound, "missed" if the whole interval is below it, otherwise "unsettled".
    rates: {lane: [images per second]}, in turns, so that windows of the same rank were measured next to each other.
    """
    ratios = {}
    for name, (lane, other, bound) in RATIOS.items():
        pairs = zip(rates[lane], rates[other], strict=True)
        ratios[name] = ratio_of(bound, [[rate / other_rate for rate, other_rate in pairs]])
    return ratios


def ratio_of(bound, configurations):
    """A ratio over configurations, each given as its pairs, compared with `bound`: the geometric mean of their medians.

    The interval is a bootstrap that draws pairs within each configuration.
    """

    def mean_of_medians(*samples, axis=-1):
        return sum(np.median(sample, axis=axis) for sample in samples) / len(samples)

    logarithms = [np.log(pairs) for pairs in configurations]
    interval = scipy.stats.bootstrap(logarithms, mean_of_medians, method="percentile", rng=0).confidence_interval
    median, low, high = (float(np.exp(value)) for value in (mean_of_medians(*logarithms), *interval))
    verdict = "met" if median >= bound else "missed" if high < bound else "unsettled"
    pairs = [ratio for configuration in configurations for ratio in configuration]
    return {"pairs": pairs, "median": median, "low": low, "high": high, "bound": bound, "verdict": verdict}


def overall(results):
    """The result over all configurations together, in the form of a single result."""
    ratios = {
        name: ratio_of(RATIOS[name][2], [result["ratios"][name]["pairs"] for result in results]) for name in RATIOS
    }
    return {"configuration": f"all {len(results)} together", "ratios": ratios}


def in_new_process(log, function, *arguments):
    """Calls a function in a new Python process, with its output going to the file `log`, and returns its result.

    Exits if that process fails.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(sender, log, function, arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        sys.exit(f"{function.__name__} ended without a result. See {log}")
    finally:
        process.join()


def _call(sender, log, function, arguments):
    with logged(log):
        sender.send(function(*arguments))
    sender.close()
    os._exit(0)  # without waiting for the trainings that are still going on


def table(results):
    """The ratios as a table in text: of each configuration and of all together."""
    results = [*results, overall(results)]
    head = ["configuration", "ratio", "median", "95 % interval", "pairs", "bound", ""]
    rows = [
        [
            result["configuration"],
            name,
            f"{ratio['median']:.3f}",
            f"{ratio['low']:.3f}-{ratio['high']:.3f}",
            str(len(ratio["pairs"])),
            f"{ratio['bound']:.2f}",
            ratio["verdict"].replace("missed", "MISSED"),
        ]
        for result in results
        for name, ratio in result["ratios"].items()
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]
    )


def job_lines(job):
    """The cost of a train job in words."""
    return (
        f"a train job beyond import, build, first step, windows and validation: {job['job']:.1f} s "
        f"(at most {JOB_SECONDS:.0f} s: {'met' if job['met'] else 'MISSED'}), "
        f"{statistics.median(job['script']):.1f} s of it in scripts/train.py, the rest in Snakemake; "
        f"a sweep beyond its jobs: {job['sweep']:.1f} s"
    )


def measure_configurations(runs, minutes):
    """One result per run: its configuration in words, images per second of every lane, their ratios, and other_cores: how many
    processors other programs kept busy meanwhile.
    """
    paths, results = {}, []
    for place, run in enumerate(runs, start=1):
        size = run["img_dim"]
        label = configurations.label(configurations.configuration_of(run), ("trainable", "img_dim", "batch_size"))
        if size not in paths:
            folder = FOLDER / f"data/img_dim~{size}"
            paths[size] = in_new_process(folder / "prepare.log", prepare, run, folder)
        before = conditions.read()
        rates = in_new_process(
            FOLDER / f"logs/{place}.log", measure_input_paths, run, paths[size], 60 * minutes, MIN_PAIRS
        )
        result = {"configuration": label, "images_per_second": rates, "ratios": ratios_of(rates)}
        results.append(result | {"other_cores": conditions.other_cores(before, conditions.read())})
        print(f"{place} of {len(runs)}, {label}: ours {statistics.median(rates['ours']):.0f} images/s", flush=True)
    return results


def disturbance(results):
    """A line about other programs, "" if they did not disturb."""
    other_cores = max(result["other_cores"] for result in results)
    if not conditions.is_busy(other_cores):
        return ""
    return f"Other programs kept up to {other_cores:.1f} processors busy: these ratios say little. Measure on a quiet machine.\n"


def main():
    arguments = _arguments()
    runs = runs_to_measure(arguments.device, arguments.configurations)
    device = runs[0]["device"]
    os.environ |= devices.environment(device)  # as scripts/train.py starts a training
    results = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": devices.describe_host(),
        "device": devices.describe(device["accelerator"], device["index"]),
        "images_per_window": runs[0]["images_per_epoch"],
        "input_paths": measure_configurations(runs, arguments.minutes),
    }
    job = train_job.measure(FOLDER / "train_job", arguments.jobs)
    results["train_job"] = job | {"bound_seconds": JOB_SECONDS, "met": job["job"] <= JOB_SECONDS}
    output = FOLDER / "harness.json"
    files.write_text(output, json.dumps(results, indent=1) + "\n")
    print(f"\n{table(results['input_paths'])}\n{disturbance(results['input_paths'])}")
    print(f"{job_lines(results['train_job'])}\nwritten to {output}")
    verdicts = [ratio["verdict"] for result in results["input_paths"] for ratio in result["ratios"].values()]
    return 0 if results["train_job"]["met"] and "missed" not in verdicts else 1


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--configurations", choices=["default", "one"], default="default")
    parser.add_argument("--minutes", type=float, default=4, help="how long to measure a configuration (default 4)")
    parser.add_argument("--jobs", type=int, default=4, help="train jobs to time (default 4)")
    parser.add_argument("--device", default="cpu", help="a name in catalog/devices.yaml (default cpu)")
    arguments = parser.parse_args()
    if arguments.jobs < 2:
        parser.error("--jobs must be at least 2")
    return arguments


def _read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
