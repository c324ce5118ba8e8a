"""The cost of bookkeeping with thousands of runs.

    python benchmarks/scale.py                        # 8, 1,000 and 10,000 runs; about six minutes
    python benchmarks/scale.py --runs 8 1000          # a first look

A generator makes up results with valid metrics. Starting a finished sweep, and planning one more configuration, are timed in
turns with a bare Snakemake workflow with as many trivial targets, and reported as ratios. The steps after the trainings (tables,
figures, report) are run script by script as Snakemake would, each in a process of its own. Writes results/benchmarks/scale.json;
the exit status is 1 if a bound is missed.
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import synthetic  # noqa: E402

from trainoff import files  # noqa: E402
from trainoff.experiment import plan  # noqa: E402
from trainoff.machine import devices  # noqa: E402
from trainoff.supervise import conditions  # noqa: E402

FOLDER = Path("results/benchmarks/scale")
# Maximum ratio of our time to that of bare Snakemake.
RATIO = 1.5
# Limits for this many runs: seconds of the steps after training, memory of the largest of them, and bytes of the page.
MAX_RUNS = 10_000
SECONDS = {"aggregate_runs": 5, "compare_devices": 10, "figures and report": 60}
MEMORY_BYTES = 2**30
REPORT_BYTES = 8_000_000
# Beyond that, costs may grow in proportion to the number of runs, with a tenth for noise.
GROWTH = 1.1

DEVICES = ["cpu"] + [
    {
        "name": f"gpu-{rank}",
        "label": f"GPU {rank}",
        "backend": "tensorflow",
        "accelerator": "cuda",
        "index": rank,
        "env": "tensorflow-cuda",
    }
    for rank in range(3)
]

BARE = """
rule all:
    input:
        expand("results/{run}.txt", run=range(config["runs"])),


rule one:
    output:
        "results/{run}.txt",
    shell:
        "touch {output}"
"""


def many_configurations(runs):
    """An experiment with about this many runs, with one configuration per value of an axis.

    4 devices and 5 replicates; 1 of each for fewer than a hundred runs.
    """
    few = runs < 100
    values = runs if few else runs // 20
    return {
        "devices": ["cpu"] if few else DEVICES,
        "turns": False,
        "grid": _grid(learning_rate=[(rank + 1) / 1e6 for rank in range(values)]),
        "replicates": 1 if few else 5,
        "protocol": {"images_per_epoch": 320},
    }


def many_devices(runs):
    """An experiment with this many runs (8, or a multiple of 1,000) on 1 or 4 devices, with 8 or more configurations."""
    if runs == 8:
        return {"devices": ["cpu"], "grid": _grid(batch_size=[32, 64], img_dim=[96, 128], trainable=[True, False])}
    grid = _grid(
        batch_size=[16, 32, 64, 128, 256],
        img_dim=[96, 128, 160, 192, 224],
        trainable=[True, False],
        learning_rate=[(rank + 1) / 1e4 for rank in range(runs // 1000)],
    )
    return {
        "devices": DEVICES,
        "turns": False,
        "grid": grid,
        "replicates": 5,
        "protocol": {"images_per_epoch": 1280},
        # So that there are costs.
        "money": {"prices": {device["name"]: "v100" for device in DEVICES[1:]}},
    }


def own_jobs(runs):
    """The number of runs that one more configuration adds to many_configurations(runs)."""
    return 1 if runs < 100 else 20


def _grid(**axes):
    defaults = {"batch_size": [32], "img_dim": [96], "trainable": [True], "learning_rate": [0.0005]}
    return defaults | {"model": ["mobilenetv2"], "precision": ["float32"], "xla": [False]} | axes


def make_project(folder, settings):
    """Copies the project to `folder` with an experiment and made-up metrics of all its runs; returns its runs."""
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns(".*", "results", "tests", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=ignored)
    (folder / "scale.yaml").write_text(yaml.safe_dump(settings))
    config = yaml.safe_load((ROOT / "config.yaml").read_text()) | settings
    entries = plan.devices(config, yaml.safe_load((ROOT / "catalog/devices.yaml").read_text()), list)
    runs = plan.runs(config, entries)
    for rank, run in enumerate(runs):
        write_metrics(folder / "results", run, rank)
    for probe in plan.probes(config, entries, entries[0]):
        write_probe(folder / "results", probe)
    return runs


def write_metrics(results, run, rank):
    """Writes a valid record of a run (of plan.runs) to where the workflow looks for it; one in 200 failed."""
    values = {key: value for key, value in run.items() if key != "seed"} | {"device": run["device"]["name"]}
    record = synthetic.record(values, rank, status="crashed" if rank % 200 == 199 else "ok")
    record["run"]["seed"] = run["seed"]
    record["device"]["accelerator"] = run["device"]["accelerator"]
    if run["device"]["accelerator"] == "cuda" and record["status"] == "ok":
        synthetic.add_energy(
            [record], run["device"]["name"], watts=250, source="nvml", scope="gpu", idle_watts=50, seed=rank
        )
    words = plan.wildcards(run)
    axes = [f"{key}~{value}" for key, value in words.items() if key != "device"]
    path = results.joinpath("runs", words["device"], *axes, "metrics.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record, indent=1))


def write_probe(results, run):
    """Writes the record of a probe without a mismatch."""
    record = {
        "schema_version": 1,
        "run": run | {"device": run["device"]["name"]},
        "status": "ok",
        "failure": None,
        "logits": [[0.1 * place for place in range(10)] for _ in range(32)],
        "losses": [2.3, 1.9, 1.5, 1.0, 0.6],
        "device": {"accelerator": run["device"]["accelerator"]},
        "software": {"python": "3.12.4"},
        "inputs": dict.fromkeys(("dataset_sha256", "images_sha256", "weights_sha256"), synthetic.HASH),
    }
    axes = [f"{axis}~{json.dumps(run[axis]).strip(chr(34))}" for axis in ("model", "precision", "xla")]
    folder = results.joinpath("parity", run["device"]["name"], *axes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "probe.json").write_text(json.dumps(record))


def make_bare(folder):
    """A workflow of trivial targets in `folder`, with nothing done yet."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "Snakefile").write_text(BARE)


def finish(folder, *options):
    """Makes every file of a workflow look finished to Snakemake; lists its jobs in jobs.json."""
    shutil.copyfile(ROOT / "benchmarks/finished.smk", folder / "finished.smk")
    done = snakemake(folder, "all", "--snakefile", "finished.smk", *options)
    if "finished" not in done.splitlines()[-1]:
        sys.exit(f"the made-up results could not be marked as finished:\n{done[-3000:]}")


def snakemake(folder, *arguments):
    """Runs Snakemake in `folder` and returns what it prints."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def measure_starts(runs, rounds):
    """Seconds of starting Snakemake with this many finished runs, ours and bare in turns.

    Returns {"no-op" | "one more": {"ours": [seconds], "bare": [seconds]}}, the same in processor seconds, which other programs
    disturb less, and the jobs planned for one more configuration: {rule: number}. Bare Snakemake has the same number of targets.
    """
    ours, bare = FOLDER / f"start-{runs}", FOLDER / f"bare-{runs}"
    make_project(ours, many_configurations(runs))
    finish(ours, "--configfile", "scale.yaml")
    make_bare(bare)
    finish(bare, "--config", f"runs={runs}")
    (ours / "more.yaml").write_text(yaml.safe_dump(many_configurations(runs + own_jobs(runs))))
    lanes = {
        "no-op": {
            "ours": (ours, "--configfile", "scale.yaml"),
            "bare": (bare, "--config", f"runs={runs}"),
        },
        "one more": {
            "ours": (ours, "--configfile", "more.yaml", "--dry-run", "--quiet", "rules"),
            "bare": (bare, "--config", f"runs={runs + own_jobs(runs)}", "--dry-run", "--quiet", "rules"),
        },
    }
    seconds, processor = ({what: {lane: [] for lane in commands} for what, commands in lanes.items()} for _ in range(2))
    for _ in range(rounds):
        for what, commands in lanes.items():
            for lane, command in commands.items():
                used, started = _used_by_children(), time.perf_counter()
                output = snakemake(*command)
                seconds[what][lane].append(time.perf_counter() - started)
                processor[what][lane].append(_used_by_children() - used)
                if what == "no-op" and "Nothing to be done" not in output:
                    sys.exit(f"a finished sweep had something to do:\n{output[-3000:]}")
    return seconds, processor, planned(snakemake(*lanes["one more"]["ours"]))


def _used_by_children():
    """Processor seconds of all ended processes that this one started."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def planned(output):
    """{rule: number of jobs} of what Snakemake prints in a dry run."""
    rows = re.findall(r"^([a-z_]+) +(\d+)$", output, re.MULTILINE)
    return {rule: int(number) for rule, number in rows if rule != "total"}


def measure_steps(runs):
    """{rule: result of run_step} of every script after the trainings, and the bytes of the report."""
    folder = FOLDER / f"steps-{runs}"
    make_project(folder, many_devices(runs))
    finish(folder, "--configfile", "scale.yaml")
    shutil.copyfile(ROOT / "benchmarks/run_job.py", folder / "run_job.py")
    by_rule = {}
    for number, job in enumerate(json.loads((folder / "jobs.json").read_text())):
        if not job["script"].startswith(("scripts/fetch_", "scripts/prepare_", "scripts/describe_")):
            by_rule[job["rule"]] = run_step(folder, number, job["rule"])
    return by_rule, (folder / "results/report.html").stat().st_size


def run_step(folder, number, name):
    """Runs one job of jobs.json in a process of its own."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "run_job.py", str(number)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = process.stdout.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if status:
        sys.exit(f"{name} failed:\n{output}")
    return {
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        # Linux counts in kibibytes, macOS in bytes.
        "memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def start_rows(starts):
    """[(what, runs, ours, bare, ratio of processor seconds, ratio, bound, verdict)] from {runs: result of measure_starts}."""
    rows = []
    for runs, (seconds, processor, _) in starts.items():
        for what, lanes in seconds.items():
            ours, bare = (statistics.median(lanes[lane]) for lane in ("ours", "bare"))
            # Measured in turns, so that drift affects both alike.
            ratio = ratio_of(lanes)
            rows.append((what, runs, ours, bare, ratio_of(processor[what]), ratio, RATIO, ratio <= RATIO))
    return rows


def ratio_of(lanes):
    """The median ratio of ours to bare over consecutive starts."""
    return statistics.median(a / b for a, b in zip(lanes["ours"], lanes["bare"], strict=True))


def plan_problems(starts):
    """Sentences about plans for one more configuration that contain other trainings than its own."""
    return [
        f"with {runs} finished runs, one more configuration plans {jobs.get('train', 0)} trainings instead of "
        f"{own_jobs(runs)}: {jobs}"
        for runs, (*_, jobs) in starts.items()
        if jobs.get("train") != own_jobs(runs) or any(rule.startswith(("prepare", "fetch")) for rule in jobs)
    ]


def step_rows(steps):
    """[(what, runs, value, unit, bound, verdict)] from {runs: result of measure_steps}."""
    rows = []
    for runs, (by_rule, report_bytes) in steps.items():
        drawn = [rule for rule in by_rule if rule.startswith("plot_") or rule == "write_report"]
        seconds = {rule: by_rule[rule]["seconds"] for rule in ("aggregate_runs", "compare_devices")}
        seconds["figures and report"] = sum(by_rule[rule]["seconds"] for rule in drawn)
        for what, value in seconds.items():
            rows.append((what, runs, value, "s", SECONDS[what] * max(1, runs / MAX_RUNS)))
        memory = max(step["memory_bytes"] for step in by_rule.values())
        rows.append(("maximum memory of a step", runs, memory / 2**20, "MiB", MEMORY_BYTES / 2**20))
        rows.append(("report.html", runs, report_bytes / 1e6, "MB", REPORT_BYTES / 1e6))
    return [(*row, row[2] <= row[4]) for row in rows]


def growth_rows(steps):
    """[(what, from, to, times as long, times as many runs, verdict)]: whether cost grows no faster than the number of runs."""
    rows = []
    sizes = [runs for runs in sorted(steps) if runs >= 1000]
    for small, large in zip(sizes, sizes[1:], strict=False):
        for rule in steps[large][0]:
            times = steps[large][0][rule]["seconds"] / steps[small][0][rule]["seconds"]
            rows.append((rule, small, large, times, large / small, times <= GROWTH * large / small))
    return rows


def table(head, rows):
    """Rows as a table in text."""
    cells = [head, *([_text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def _text(value):
    if isinstance(value, bool):
        return "met" if value else "MISSED"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def main():
    arguments = _arguments()
    before = conditions.read()
    starts, steps = {}, {}
    for runs in arguments.runs:
        print(f"{runs:,} runs", flush=True)
        starts[runs] = measure_starts(runs, arguments.rounds)
        steps[runs] = measure_steps(runs)
    others = conditions.other_cores(before, conditions.read())
    rows = start_rows(starts), step_rows(steps), growth_rows(steps)
    problems = plan_problems(starts)
    print(table(["start", "runs", "ours, s", "bare, s", "processor", "ratio", "at most", ""], rows[0]), end="\n\n")
    print(table(["step", "runs", "", "unit", "at most", ""], rows[1]), end="\n\n")
    if rows[2]:
        print(table(["growth", "from runs", "to runs", "times as long", "times as many", ""], rows[2]), end="\n\n")
    print(*problems, f"processors kept busy by other programs: {others:.1f}", sep="\n")
    output = FOLDER.with_suffix(".json")
    results = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": devices.describe_host(),
        "other_cores": others,
        "starts": {
            runs: {"seconds": seconds, "processor_seconds": processor, "planned": jobs}
            for runs, (seconds, processor, jobs) in starts.items()
        },
        "steps": {runs: {"rules": by_rule, "report_bytes": size} for runs, (by_rule, size) in steps.items()},
    }
    files.write_text(output, json.dumps(results, indent=1) + "\n")
    print(f"written to {output}")
    return 1 if problems or not all(row[-1] for part in rows for row in part) else 0


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[8, 1000, 10_000], help="numbers of finished runs")
    parser.add_argument("--rounds", type=int, default=3, help="how often each start is timed (default 3)")
    arguments = parser.parse_args()
    if any(runs != 8 and runs % 1000 for runs in arguments.runs):
        parser.error("--runs: 8 and multiples of 1,000")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
