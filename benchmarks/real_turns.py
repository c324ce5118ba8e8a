"""What real turns tell apart on this machine: a device against itself, and against itself with 5 % and 10 % more to do.

    python benchmarks/real_turns.py                               # ten experiments of each on one configuration; over an hour
    python benchmarks/real_turns.py --more 0 --experiments 1      # a first look

An experiment is what rule take_turns does: two sessions of two fresh processes each, stopped when decided or when the minutes
are spent. For a known difference the baseline's slices hold more steps than are counted. A false alarm is an experiment between
equal sides that ends as faster or slower. Writes every record to results/benchmarks/real_turns/ as soon as it is there, and
what they say together to results/benchmarks/real_turns.json.
"""

import argparse
import dataclasses
import json
import os
import random
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "benchmarks")]

import harness  # noqa: E402

from trainoff import devices, duel, files, records  # noqa: E402
from trainoff.supervise import conditions, turning  # noqa: E402

FOLDER = Path("results/benchmarks/real_turns")
SETTINGS = {"slice_seconds": 1.75, "equivalence": 0.05}
TIMEOUT_MINUTES = 10


class Loaded(turning.Side):
    """A side whose baseline does `more` of the steps that it counts, 0.05 for 5 %."""

    more = 0.0

    def __init__(self, name, run, files, log, timeout_minutes, folder, slice_seconds):
        self.uncounted = 1 + self.more if name == "baseline" else 1.0
        super().__init__(name, run, files, log, timeout_minutes, folder, slice_seconds * self.uncounted)

    def wait_until_ready(self):
        super().wait_until_ready()
        self.steps /= self.uncounted

    def slices(self):
        return [one | {"images": one["images"] / self.uncounted} for one in super().slices()]


def experiment(run, paths, more, minutes, seed, folder):
    """One record: what was found, and the logarithms of the ratios of its pairs by session."""
    folder.mkdir(parents=True, exist_ok=True)
    turning.Side = type("Side", (Loaded,), {"more": more})
    before, started = conditions.read(), time.monotonic()
    sessions = turning.take_turns(
        dict.fromkeys(duel.SIDES, run),
        paths,
        {side: str(folder / f"{side}.log") for side in duel.SIDES},
        SETTINGS | {"minutes": minutes},
        TIMEOUT_MINUTES,
        random.Random(seed),
        lambda words: print(f"  {words}", flush=True),
    )
    logs = [duel.logs_of(one) for one in sessions]
    return {
        "more": more,
        "seconds": round(time.monotonic() - started, 1),
        "other_cores": conditions.other_cores(before, conditions.read()),
        "status": sessions[-1]["status"],
        "message": sessions[-1]["message"],
        **dataclasses.asdict(duel.stand_of(sessions, 2 * [run["device"]["backend"]], SETTINGS["equivalence"])),
        "log_ratios": [[round(value, 5) for value in one] for one in logs],
        "waiting_cores": [session["sides"][side]["waiting_cores"] for session in sessions for side in session["sides"]],
    }


def summary(found):
    """{more: counts of verdicts, minutes and pairs needed, whether intervals held the truth} of experiments."""
    told = {}
    for more in sorted({one["more"] for one in found}):
        own = [one for one in found if one["more"] == more and one["status"] == "ok"]
        verdicts = [one["verdict"] for one in own]
        held = [one["low"] is not None and one["low"] <= 1 + more <= one["high"] for one in own]
        told[f"{more:g}"] = {
            "experiments": len(own),
            "sessions": sum(len(one["sessions"]) for one in own),
            "failed": sum(one["more"] == more and one["status"] != "ok" for one in found),
            **{verdict: verdicts.count(verdict) for verdict in ("faster", "slower", "equivalent", "undecided")},
            "interval_holds_the_truth": sum(held),
            "median_minutes": statistics.median(one["seconds"] for one in own) / 60 if own else None,
            "median_pairs": statistics.median(one["pairs"] for one in own) if own else None,
            "noise_of_pairs": statistics.median(
                statistics.median(map(duel.noise_of, map(np.array, one["log_ratios"]))) for one in own
            )
            if own
            else None,
        }
    return told


def main():
    arguments = _arguments()
    runs = harness.runs_to_measure(arguments.device, "default")
    run = next(run for run in runs if run["trainable"] == arguments.all_weights)
    os.environ |= devices.environment(run["device"])
    paths = harness.in_new_process(_log("prepare"), harness.prepare, run, FOLDER / f"data/{run['img_dim']}")
    found = []
    for number in range(1, arguments.experiments + 1):
        # In turns, so that what the machine does meanwhile hits all alike.
        for more in arguments.more:
            print(f"{number} of {arguments.experiments}, {more:.0%} more to do", flush=True)
            one = experiment(run, paths, more, arguments.minutes, number, FOLDER / f"{more:g}/{number}")
            files.write_text(FOLDER / f"{more:g}/{number}/experiment.json", json.dumps(one, indent=1) + "\n")
            found.append(one)
            results = {
                "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "host": devices.describe_host(),
                "run": {key: run["device"]["name"] if key == "device" else run[key] for key in records.RUN_KEYS},
                "settings": SETTINGS | {"minutes": arguments.minutes},
                "summary": summary(found),
                "experiments": found,
            }
            files.write_text(FOLDER.with_suffix(".json"), json.dumps(results, indent=1) + "\n")
    for more, told in results["summary"].items():
        print(f"{float(more):.0%} more: {told}")
    alarms = results["summary"].get("0", {"faster": 0, "slower": 0, "experiments": 0})
    return 0 if alarms["faster"] + alarms["slower"] <= 0.05 * alarms["experiments"] else 1


def _log(name):
    FOLDER.mkdir(parents=True, exist_ok=True)
    return str(FOLDER / f"{name}.log")


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--experiments", type=int, default=10, help="of each difference (default 10)")
    parser.add_argument("--more", type=float, nargs="+", default=[0.0, 0.05, 0.10], help="share of steps (0 0.05 0.1)")
    parser.add_argument("--minutes", type=float, default=5, help="per experiment, starts included (default 5)")
    parser.add_argument("--all-weights", action="store_true", help="train all weights instead of the last layer")
    parser.add_argument("--device", default="cpu", help="a name in catalog/devices.yaml (default cpu)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
