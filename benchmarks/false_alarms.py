"""How often two equal devices are found different, and how small a difference is still detected.

    python benchmarks/false_alarms.py                                        # with the noise given as arguments
    python benchmarks/false_alarms.py results/tables/windows.parquet         # and with the noise of recorded windows

Simulates whole experiments of the size of the default experiment and of the study, judges them as trainoff judges real ones, and
writes results/benchmarks/false_alarms.json. A false alarm is an experiment in which one of two equal devices is found faster or
slower. The exit status is 1 if there are more false alarms than the statistics allow.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from trainoff import files, records  # noqa: E402
from trainoff.analyze import simulation, stats  # noqa: E402

EXPERIMENTS = {"default": "config.yaml", "study": "presets/wandb-study.yaml"}
SEED = 1
# Factors on the given noise that the configurations take in turn.
UNEQUAL = {"threefold unequal": (0.5, 1.5), "fivefold unequal": (0.5, 2.5)}


def size_of(config):
    """(configurations, replicates, counted windows per run) of an experiment file."""
    experiment = yaml.safe_load((ROOT / config).read_text(encoding="utf-8"))
    protocol = experiment["protocol"]
    configurations = math.prod(len(values) for values in experiment["grid"].values())
    return configurations, experiment["replicates"], protocol["epochs"] - protocol["warm_up_epochs"]


def measure(noise, configurations, replicates, windows, experiments):
    """How good the verdicts are at this noise: rate of false alarms with its 95 % upper bound, smallest difference."""
    size = experiments, configurations, replicates, windows
    many = simulation.simulate(np.random.default_rng(SEED), noise, *size)
    alarms = simulation.false_alarm_rate(many)
    single, mean = simulation.held(many)
    return {
        "replicates": replicates,
        "counted_windows": windows,
        "experiments": experiments,
        "configurations": configurations,
        "run_noise": noise.run,
        "run_noise_is_recorded": len(noise.run_deviations) > 0,
        "window_noise": noise.window,
        "false_alarm_rate": alarms,
        "false_alarm_rate_at_most": upper_bound(alarms, experiments),
        "intervals_that_hold_the_truth": single,
        "intervals_of_means_that_hold_the_truth": mean,
        "smallest_difference_found_9_times_in_10": simulation.smallest_found(
            np.random.default_rng(SEED), noise, max(experiments // 8, 20), *size[1:]
        ),
    }


def upper_bound(share, number):
    """Upper end of the exact one-sided 95 % interval of a share observed in `number` trials (Clopper and Pearson)."""
    hits = round(share * number)
    return float(stats.special.betaincinv(hits + 1, number - hits, 0.95)) if hits < number else 1.0


def noises(arguments):
    """{name: Noise} to try."""
    by_name = {"simulated": simulation.Noise(arguments.run_noise, arguments.window_noise)}
    for name, factors in UNEQUAL.items():
        runs = tuple(arguments.run_noise * factor for factor in factors)
        by_name[f"simulated {name}"] = simulation.Noise(runs, arguments.window_noise)
    if arguments.windows:
        table = pd.read_parquet(arguments.windows)
        recorded = simulation.recorded_noise(table, records.RUN_KEYS, assumed_run=arguments.run_noise)
        if math.isnan(recorded.window):
            sys.exit(f"{arguments.windows}: no run with two counted windows, so there is no noise to take from it.")
        by_name["recorded"] = recorded
    return by_name


def line(name, size, result):
    """One result in words."""
    smallest = result["smallest_difference_found_9_times_in_10"]
    runs = " and ".join(f"{spread:.1%}" for spread in np.atleast_1d(result["run_noise"]))
    assumed = ", assumed" if name == "recorded" and not result["run_noise_is_recorded"] else ""
    return (
        f"{name} noise (runs {runs}{assumed}, windows {result['window_noise']:.1%}), {size} size "
        f"({result['replicates']} × {result['counted_windows']}): false alarms {result['false_alarm_rate']:.1%} "
        f"(at most {result['false_alarm_rate_at_most']:.1%}), intervals that cover the true ratio "
        f"{result['intervals_that_hold_the_truth']:.1%} (of means {result['intervals_of_means_that_hold_the_truth']:.1%}), "
        "detected 9 times in 10 from " + ("over 100 %" if smallest is None else f"{smallest:.1%}")
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("windows", nargs="?", help="a windows.parquet to take the noise from as well")
    parser.add_argument("--run-noise", type=float, default=0.02, help="spread between runs, 0.02 = 2 %% (default)")
    parser.add_argument("--window-noise", type=float, default=0.02, help="spread between windows of one run, the same")
    parser.add_argument("--experiments", type=int, default=400, help="simulated experiments (default 400)")
    parser.add_argument("--output", default="results/benchmarks/false_alarms.json")
    arguments = parser.parse_args()
    results = {}
    for name, noise in noises(arguments).items():
        for size, config in EXPERIMENTS.items():
            result = measure(noise, *size_of(config), arguments.experiments)
            results[f"{name} noise, {size} size"] = result
            print(line(name, size, result), flush=True)
    files.write_text(arguments.output, json.dumps(results, indent=1) + "\n")
    print(f"written to {arguments.output}")
    return 0 if all(result["false_alarm_rate"] <= stats.LEVEL for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
