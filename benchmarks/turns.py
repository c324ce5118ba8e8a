"""What turns can tell apart: equal devices, and a true 5 % and 10 %, simulated and drawn from real sessions.

    python benchmarks/turns.py                                        # simulated noise
    python benchmarks/turns.py docs/measurements/*-equal-turns.json   # and real sessions of equal devices (real_turns.py)

An experiment is a number of sessions, checked after each, that ends when it is decided or when the minutes are spent, as turns
do. A false alarm is an experiment between equal devices that ends as faster or slower: at most 5 %. Real sessions are drawn
whole, with the seconds that they took; which of the two equal devices is which is drawn too, and a known difference is added to
their logarithms. Writes results/benchmarks/turns.json.
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from trainoff import duel, files  # noqa: E402
from trainoff.supervise import turning  # noqa: E402

SEED = 1
# Standard deviations of the logarithm of the ratio of neighboring slices: of a quiet virtual machine, and beside other programs.
SIMULATED = {"quiet": 0.09, "busy": 0.15, "very busy": 0.22}
# Seconds of a pair of slices, and of the start of both trainings; the first time one after the other.
PAIR_SECONDS, START_SECONDS = 1.1, 15.0
DIFFERENCES = (1.0, 1.05, 1.10)
EQUIVALENCE = 0.05
# Of fewer real sessions no experiments are drawn: they would be the same again and again.
LEAST_SESSIONS = 10


@dataclasses.dataclass(frozen=True)
class Sessions:
    """draw: makes one session of equal devices: logarithms, and the seconds it took. known: what sessions differ by, beforehand.

    draw takes a random generator and whether the session is an experiment's first. ratios: true ones, added to what is drawn.
    """

    draw: Callable[[np.random.Generator, bool], tuple[np.ndarray, float]]
    known: float
    ratios: Sequence[float] = DIFFERENCES


def simulated(noise: float, apart: float, known: float) -> Sessions:
    """Standard deviations, with tails as real ones have: noise of what neighboring slices differ by, apart of sessions."""

    def heavy(generator, spread, number):
        return spread * generator.standard_t(4, number) / math.sqrt(2)

    def draw(generator, first):
        start = START_SECONDS * (2 if first else 1)
        values = heavy(generator, apart, 1) + heavy(generator, noise, 400)
        # As many pairs as if the noise were known from this session alone.
        number = turning.FIRST_PAIRS
        while number < turning.best_pairs([values[:number]], start, number * PAIR_SECONDS, known):
            number += 1
        return values[:number], start + number * PAIR_SECONDS

    return Sessions(draw, known)


def recorded(told: dict[str, Any]) -> Sessions:
    """Of what real_turns.py wrote."""
    sessions = [(np.array(one["log_ratios"]), one["seconds"]) for one in told["sessions"]]
    # Of the first that was recorded both trainings started one after the other, as of the first of every experiment.
    later = sessions[1:]
    alone = max(0.0, sessions[0][1] - float(np.median([seconds for _, seconds in later])))
    ratio = told.get("known_ratio", 1.0)

    def draw(generator, first):
        values, seconds = later[generator.integers(len(later))]
        side = generator.choice([-1, 1]) if ratio == 1 else 1
        return side * (values - math.log(ratio)), seconds + (alone if first else 0.0)

    known = duel.session_spread(told["framework"], told["framework"])
    return Sessions(draw, known, DIFFERENCES if ratio == 1 else (ratio,))


def experiment(
    sessions: Sessions, minutes: float, ratio: float, generator: np.random.Generator
) -> tuple[duel.Standing, float]:
    """(Standing, minutes taken) of one experiment, ended as trainoff.supervise.turning ends it."""
    done, spent = [], 0.0
    while True:
        values, seconds = sessions.draw(generator, not done)
        done.append(math.log(ratio) + values)
        spent += seconds
        standing = duel.stand(done, EQUIVALENCE, sessions.known)
        late = spent + seconds > 60 * minutes
        if len(done) >= turning.MIN_SESSIONS and (late or standing.settled):
            return standing, spent / 60


def measure(sessions: Sessions, minutes: float, experiments: int) -> dict[float, dict[str, float]]:
    """{ratio: shares of verdicts, and what they took}."""
    generator = np.random.default_rng(SEED)
    found = {}
    for ratio in sessions.ratios:
        ended = [experiment(sessions, minutes, ratio, generator) for _ in range(experiments)]
        verdicts = [standing.verdict for standing, _ in ended]
        held = [standing.low is not None and standing.low <= ratio <= standing.high for standing, _ in ended]
        found[ratio] = {
            **{name: verdicts.count(name) / experiments for name in ("faster", "slower", "equivalent", "undecided")},
            "median_minutes": float(np.median([taken for _, taken in ended])),
            "median_sessions": float(np.median([len(standing.sessions) for standing, _ in ended])),
            "interval_holds_the_truth": float(np.mean(held)),
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "measured", nargs="*", help="files of benchmarks/real_turns.py, whose sessions are drawn as well"
    )
    parser.add_argument("--experiments", type=int, default=400)
    parser.add_argument("--minutes", type=float, default=5.0, help="per configuration and pair, starts included")
    parser.add_argument("--output", default="results/benchmarks/turns.json")
    arguments = parser.parse_args()
    same, torch = duel.session_spread("tensorflow", "tensorflow"), duel.session_spread("tensorflow", "torch")
    kinds = {f"simulated, {name} ({noise:.0%})": simulated(noise, same, same) for name, noise in SIMULATED.items()}
    kinds["simulated, quiet, TensorFlow against PyTorch"] = simulated(SIMULATED["quiet"], torch, torch)
    for path in arguments.measured:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        if len(told["sessions"]) < LEAST_SESSIONS:
            print(f"{Path(path).stem}: {len(told['sessions'])} sessions are too few to draw from")
            continue
        kinds[f"{Path(path).stem}, {len(told['sessions'])} sessions"] = recorded(told)
    results = {"minutes": arguments.minutes, "experiments": arguments.experiments, "found": {}}
    for name, sessions in kinds.items():
        found = measure(sessions, arguments.minutes, arguments.experiments)
        results["found"][name] = found
        alarms = f": false alarms {_alarms(found):.1%}" if 1.0 in found else ""
        print(f"{name}{alarms}", flush=True)
        for ratio, one in found.items():
            verdicts = ", ".join(f"{name} {one[name]:.0%}" for name in ("faster", "slower", "equivalent"))
            print(
                f"  {ratio:.4g}: {verdicts}, after {one['median_minutes']:.1f} minutes, {one['median_sessions']:.0f} sessions; "
                f"the interval holds the truth in {one['interval_holds_the_truth']:.1%}",
                flush=True,
            )
    files.write_text(arguments.output, json.dumps(results, indent=1) + "\n")
    print(f"written to {arguments.output}")
    return 0 if max(map(_alarms, results["found"].values())) <= 0.05 else 1


def _alarms(found):
    """Share of experiments between equal devices, if there were any, in which one was called faster."""
    return found[1.0]["faster"] + found[1.0]["slower"] if 1.0 in found else 0.0


if __name__ == "__main__":
    sys.exit(main())
