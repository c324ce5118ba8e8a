"""Records real sessions of a device that takes turns with itself, for benchmarks/turns.py to draw from. Needs a quiet machine.

    python benchmarks/real_turns.py                                # forty sessions of one configuration; twenty minutes
    python benchmarks/real_turns.py --device cpu-torch --sessions 20
    python benchmarks/real_turns.py --more-work 5                  # one side trains 21 steps where the other trains 20

A session is the same as in rule take_turns: two fresh processes that train slices in turns. They differ by chance only, unless
one side trains more steps per slice: its slices count like those of the other side, so it is slower by a known ratio. Writes
the logarithms of all pairs of slices to results/benchmarks/real_turns.json after each session.
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

from trainoff import files, records, turn_statistics  # noqa: E402
from trainoff.machine import devices  # noqa: E402
from trainoff.supervise import conditions, turning  # noqa: E402

FOLDER = Path("results/benchmarks/real_turns")
SETTINGS = {"slice_seconds": 0.3, "minutes": 5}
TIMEOUT_MINUTES = 10


def main():
    arguments = _arguments()
    runs = harness.runs_to_measure(arguments.device, "default")
    run = next(run for run in runs if run["trainable"] == arguments.all_weights)
    os.environ |= devices.environment(run["device"])
    FOLDER.mkdir(parents=True, exist_ok=True)
    paths = harness.in_new_process(str(FOLDER / "prepare.log"), harness.prepare, run, FOLDER / str(run["img_dim"]))
    logs = {side: str(FOLDER / f"{side}.log") for side in turn_statistics.SIDES}
    sides = dict.fromkeys(turn_statistics.SIDES, run)
    pairing = turning.Pairing(sides, paths, logs, SETTINGS, TIMEOUT_MINUTES, random.Random())
    # The smallest number of steps of which a single one is the share asked for.
    steps = round(100 / arguments.more_work) if arguments.more_work else 0
    known = math.log(steps / (steps + 1)) if steps else 0.0
    sessions, before, began = [], conditions.read(), time.monotonic()
    for session in itertools.islice(turning.sessions(pairing), arguments.sessions):
        if steps and not sessions:
            _let_the_device_do_more(session, steps)
        # In the first session both sides train the same: turns.py uses only the seconds of its start.
        credit = known if sessions else 0.0
        sessions.append(
            {
                "seconds": round(time.monotonic() - began, 1),
                "other_cores": conditions.other_cores(before, conditions.read()),
                "status": session["status"],
                "message": session["message"],
                "log_ratios": [round(value + credit, 5) for value in turn_statistics.logs_of(session)],
                "waiting_cores": [side["waiting_cores"] for side in session["sides"].values()],
            }
        )
        before, began = conditions.read(), time.monotonic()
        scatter = turn_statistics.scatter(entry["log_ratios"] for entry in sessions[bool(steps) :])
        results = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": devices.describe_host(),
            "framework": run["device"]["backend"],
            "run": {key: run["device"]["name"] if key == "device" else run[key] for key in records.RUN_KEYS},
            "slice_seconds": SETTINGS["slice_seconds"],
            "known_ratio": math.exp(known),
            "sessions_differ_by": math.sqrt(max(0.0, scatter.squares) / max(1, scatter.degrees)),
            "sessions": sessions,
        }
        files.write_text(FOLDER.with_suffix(".json"), json.dumps(results, indent=1) + "\n")
        ratio = math.exp(statistics.median(sessions[-1]["log_ratios"])) if sessions[-1]["log_ratios"] else math.nan
        print(
            f"{len(sessions)} of {arguments.sessions}: {session['status']}, {len(session['pairs'])} pairs, {ratio:.3f}; so far "
            f"sessions differ by {results['sessions_differ_by']:.1%}",
            flush=True,
        )


def _let_the_device_do_more(first, steps):
    """Sets the steps per slice in the session `first`, which later sessions take over: `steps`, and one more on the device."""
    first["sides"]["baseline"]["steps_per_slice"] = steps
    first["sides"]["device"]["steps_per_slice"] = steps + 1


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument(
        "--more-work", type=int, default=0, help="percent of steps that one side trains more per slice (default 0)"
    )
    parser.add_argument("--all-weights", action="store_true", help="train all weights instead of the last layer")
    parser.add_argument("--device", default="cpu", help="a name in catalog/devices.yaml (default cpu)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
