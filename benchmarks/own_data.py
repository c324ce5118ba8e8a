"""The cost of own images: how long they take to prepare, and whether training on them is as fast as on CIFAR-10.

    python benchmarks/own_data.py                            # 50,000 of 32 × 32 pixels and 5,000 photos; a quarter of an hour
    python benchmarks/own_data.py --images 500 --photos 50 --minutes 0.1    # a first look

Makes the images, prepares them from a folder by the steps of the project, and takes windows of the same training in turns on the
prepared folder and on a prepared archive in CIFAR-10's layout. Writes results/benchmarks/own_data.json. The exit status is 1 if
the whole interval of a ratio is below its bound, or if more than a fifth of the cores are idle while images are prepared.
"""

import argparse
import json
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import archives  # noqa: E402
import harness  # noqa: E402

import prepare_images  # noqa: E402
import prepare_weights  # noqa: E402
from trainoff import files  # noqa: E402
from trainoff.files import Hashes  # noqa: E402
from trainoff.machine import devices  # noqa: E402
from trainoff.measure import backends  # noqa: E402
from trainoff.prepare import survey  # noqa: E402
from trainoff.prepare.parallel import in_order  # noqa: E402
from trainoff.supervise import conditions  # noqa: E402

FOLDER = Path("results/benchmarks/own_data")
CLASSES = 10
# Minimum ratio of the throughput on a prepared folder to that on CIFAR-10.
RATIO = 0.98
# Maximum share of the usable cores that is idle while images are prepared.
IDLE = 0.2
# {name: (height and width, suffix, size for which it is prepared)}
KINDS = {"images": ((32, 32), "png", 32), "photos": ((400, 500), "jpg", 96)}


def make_folder(folder, shape, suffix, count):
    """Writes `count` images of `shape` (height, width), spread evenly over CLASSES folders.

    They are smooth, so that their files are as large as those of photos.
    """

    def write_image(number):
        coarse = np.random.default_rng(number).integers(0, 256, (shape[0] // 8, shape[1] // 8, 3), dtype=np.uint8)
        path = folder / f"class {number % CLASSES}" / f"{number}.{suffix}"
        Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC).save(path)

    for number in range(CLASSES):
        (folder / f"class {number}").mkdir(parents=True, exist_ok=True)
    for _ in in_order(write_image, range(count), devices.usable_threads()):
        pass


def prepare(dataset, identity, source, img_dim, folder):
    """Prepares a dataset by the steps of the project; returns paths by name. identity: of its survey."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {
        f"{split}_{what}": folder / f"{split}_{what}.npy"
        for split in ("train", "validation")
        for what in ("images", "labels")
    }
    made_from = {"dataset": dataset["name"], "images": {"train": None, "validation": None}, **identity}
    prepare_images.prepare_images(made_from, dataset, source, img_dim, paths, folder / "facts.json", sys.stderr)
    return {name: str(path) for name, path in paths.items()}


def timed_prepare(name, count):
    """(paths, {"images", "seconds", "images_per_second", "idle_cores", "usable_cores", "met"}) of a kind of images.

    Includes what a start does first: reading and hashing every file.
    """
    shape, suffix, img_dim = KINDS[name]
    source = FOLDER / name / "folder"
    make_folder(source, shape, suffix, count)
    dataset = {"name": "folder", "path": str(source)}
    started, idle = time.perf_counter(), _idle_seconds()
    hashes = Hashes(survey.NOTES)
    surveyed = survey.survey(dataset, hashes, devices.usable_threads())
    hashes.save()
    paths = prepare(dataset, surveyed.identity, None, img_dim, FOLDER / name / "prepared")
    seconds = time.perf_counter() - started
    idle, usable = (_idle_seconds() - idle) / seconds, devices.usable_threads()
    return paths, {
        "images": count,
        "seconds": seconds,
        "images_per_second": count / seconds,
        "idle_cores": idle,
        "usable_cores": usable,
        "met": idle <= IDLE * usable,
    }


def _idle_seconds():
    """Idle seconds of all cores of the machine since it started. Time taken by other programs is not idle."""
    times = psutil.cpu_times()
    return times.idle + getattr(times, "iowait", 0.0)


def prepared_archive(count):
    """Paths of about `count` images in the layout of CIFAR-10, prepared at the size of the kind `images`."""
    path = FOLDER / "cifar/archive.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    archives.write_archive(path, archives.cifar10_files(max(1, count // 60)))
    return prepare(
        {"name": "cifar10", "archive": str(path)}, {}, str(path), KINDS["images"][2], FOLDER / "cifar/prepared"
    )


def measure_feeds(run, paths, others, seconds):
    """Throughputs of both. Call it in a process of its own, since it starts the framework on the run's device."""
    backend = backends.load(run["device"]["backend"])
    backend.start(run["device"]["accelerator"], run["device"]["threads"])
    import input_paths

    return input_paths.measure_files(run, paths, others, backend, seconds, harness.MIN_PAIRS)


def compare_training(device, paths, others, minutes):
    """{"rates", "ratio"} of training on the files `paths` against `others`: the last layer alone, which is hardest to feed."""
    (run,) = harness.runs_to_measure(device, "one")
    run |= {"img_dim": KINDS["images"][2], "classes": CLASSES}
    os.environ |= devices.environment(run["device"])
    weights = FOLDER / "weights.npz"
    arguments = (
        run["architecture"],
        run["img_dim"],
        {"weights": "random", "seed": run["seed"]},
        None,
        paths["train_images"],
    )
    harness.in_new_process(
        FOLDER / "weights.log", prepare_weights.prepare_weights, *arguments, weights, FOLDER / "weights.json"
    )
    weights_file = {"weights": str(weights)}
    rates = harness.in_new_process(FOLDER / "train.log", measure_feeds, run, paths | weights_file, others, 60 * minutes)
    pairs = [ours / other for ours, other in zip(rates["ours"], rates["other"], strict=True)]
    return {"rates": rates, "ratio": harness.ratio_of(RATIO, [pairs])}


def main():
    arguments = _arguments()
    shutil.rmtree(FOLDER, ignore_errors=True)
    before = conditions.read()
    counts = {"images": arguments.images, "photos": arguments.photos}
    prepared = {name: timed_prepare(name, count) for name, count in counts.items()}
    trained = compare_training(
        arguments.device, prepared["images"][0], prepared_archive(arguments.images), arguments.minutes
    )
    results = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": devices.describe_host(),
        "prepared": {name: facts for name, (_, facts) in prepared.items()},
        "training": trained,
        "other_cores": conditions.other_cores(before, conditions.read()),
    }
    output = FOLDER.with_suffix(".json")
    files.write_text(output, json.dumps(results, indent=1) + "\n")
    for name, facts in results["prepared"].items():
        print(
            f"{facts['images']:,} {name} prepared in {facts['seconds']:.1f} s, {facts['images_per_second']:,.0f} images/s, "
            f"{facts['idle_cores']:.1f} of {facts['usable_cores']} cores idle: {'met' if facts['met'] else 'MISSED'}"
        )
    ratio = trained["ratio"]
    print(
        f"training on the folder against CIFAR-10: {ratio['median']:.3f} ({ratio['low']:.3f}-{ratio['high']:.3f}, "
        f"{len(ratio['pairs'])} pairs), at least {RATIO}: {ratio['verdict'].replace('missed', 'MISSED')}\n"
        f"other programs kept {results['other_cores']:.1f} processors busy\nwritten to {output}"
    )
    return 0 if ratio["verdict"] != "missed" and all(facts["met"] for facts in results["prepared"].values()) else 1


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=50_000, help="how many of 32 × 32 pixels (default 50,000)")
    parser.add_argument("--photos", type=int, default=5_000, help="how many of 500 × 400 pixels (default 5,000)")
    parser.add_argument("--minutes", type=float, default=4, help="how long to train in turns (default 4)")
    parser.add_argument("--device", default="cpu", help="a name in catalog/devices.yaml (default cpu)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
