"""Real sessions of a device that takes turns with itself, for benchmarks/turns.py to draw from; wants a quiet machine.

    python benchmarks/real_turns.py                                # forty sessions of one configuration; twenty minutes
    python benchmarks/real_turns.py --device cpu-torch --sessions 20
    python benchmarks/real_turns.py --more-steps 1                 # one side trains 21 steps where the other trains 20

A session is what rule take_turns does: two fresh processes that train slices in turns. What they differ by is chance, unless one
does more: then its slices count as those of the other do, so that it is slower by a known ratio. Writes the logarithms of all
pairs of slices to results/benchmarks/real_turns.json after each.
"""

import argparse
import itertools
import json
import math
import os
import random
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "benchmarks")]

import harness  # noqa: E402

from trainoff import duel, files, records  # noqa: E402
from trainoff.machine import devices  # noqa: E402
from trainoff.supervise import conditions, turning  # noqa: E402

FOLDER = Path("results/benchmarks/real_turns")
SETTINGS = {"slice_seconds": 0.3, "minutes": 5}
TIMEOUT_MINUTES = 10
# Steps of a slice where one side does more: the fewest of which one is 5 %.
STEPS = 20


def main():
    arguments = _arguments()
    runs = harness.runs_to_measure(arguments.device, "default")
    run = next(run for run in runs if run["trainable"] == arguments.all_weights)
    os.environ |= devices.environment(run["device"])
    FOLDER.mkdir(parents=True, exist_ok=True)
    paths = harness.in_new_process(str(FOLDER / "prepare.log"), harness.prepare, run, FOLDER / str(run["img_dim"]))
    logs = {side: str(FOLDER / f"{side}.log") for side in duel.SIDES}
    both = dict.fromkeys(duel.SIDES, run)
    pairing = turning.Pairing(both, paths, logs, SETTINGS, TIMEOUT_MINUTES, random.Random())
    known = math.log(STEPS / (STEPS + arguments.more_steps))
    found, before, began = [], conditions.read(), time.monotonic()
    for session in itertools.islice(turning.sessions(pairing), arguments.sessions):
        if arguments.more_steps and not found:
            _let_the_device_do_more(session, arguments.more_steps)
        # The first session is always of equal sides: turns.py takes only the seconds of its start.
        credit = known if found else 0.0
        found.append(
            {
                "seconds": round(time.monotonic() - began, 1),
                "other_cores": conditions.other_cores(before, conditions.read()),
                "status": session["status"],
                "message": session["message"],
                "log_ratios": [round(value + credit, 5) for value in duel.logs_of(session)],
                "waiting_cores": [side["waiting_cores"] for side in session["sides"].values()],
            }
        )
        before, began = conditions.read(), time.monotonic()
        scatter = duel.scatter(one["log_ratios"] for one in found[bool(arguments.more_steps) :])
        results = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": devices.describe_host(),
            "framework": run["device"]["backend"],
            "run": {key: run["device"]["name"] if key == "device" else run[key] for key in records.RUN_KEYS},
            "slice_seconds": SETTINGS["slice_seconds"],
            "known_ratio": math.exp(known),
            "sessions_differ_by": math.sqrt(max(0.0, scatter.squares) / max(1, scatter.degrees)),
            "sessions": found,
        }
        files.write_text(FOLDER.with_suffix(".json"), json.dumps(results, indent=1) + "\n")
        ratio = math.exp(statistics.median(found[-1]["log_ratios"])) if found[-1]["log_ratios"] else math.nan
        print(
            f"{len(found)} of {arguments.sessions}: {session['status']}, {len(session['pairs'])} pairs, {ratio:.3f}; so far "
            f"sessions differ by {results['sessions_differ_by']:.1%}",
            flush=True,
        )


def _let_the_device_do_more(first, steps):
    """All later sessions have slices of as many steps as `first` says that its own had."""
    first["sides"]["baseline"]["steps_per_slice"] = STEPS
    first["sides"]["device"]["steps_per_slice"] = STEPS + steps


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument(
        "--more-steps", type=int, default=0, help=f"that one side does, beyond {STEPS} a slice (default 0)"
    )
    parser.add_argument("--all-weights", action="store_true", help="train all weights instead of the last layer")
    parser.add_argument("--device", default="cpu", help="a name in catalog/devices.yaml (default cpu)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
