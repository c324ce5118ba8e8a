"""What turns can tell apart: equal devices, and a true 5 % and 10 %, by simulation and by drawing from real slices.

    python benchmarks/turns.py                            # simulated noise
    python benchmarks/turns.py results/turns              # and the noise of the turns recorded below these folders

Every experiment is two sessions that are looked at after each pair of slices and stopped when decided or when the minutes are
spent, as real turns are. A false alarm is an experiment between equal devices that ends as faster or slower: at most 5 %. Of
recorded turns the logarithms of their pairs are drawn, centered; the known difference is added to them. Writes
results/benchmarks/turns.json.
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from trainoff import duel, files  # noqa: E402
from trainoff.supervise.turning import MIN_PAIRS, SESSIONS  # noqa: E402

SEED = 1
# Standard deviations of the logarithm of the ratio of neighboring slices: of a quiet virtual machine, and beside other programs.
SIMULATED = {"quiet": 0.07, "some load": 0.10, "busy": 0.15, "very busy": 0.22}
DIFFERENCES = (1.0, 1.05, 1.10)
EQUIVALENCE = 0.05


def heavy(generator, spread, number):
    """Values of Student's t with four degrees of freedom: tails as real slices have."""
    return spread * generator.standard_t(4, number) / math.sqrt(2)


@dataclasses.dataclass(frozen=True)
class Noise:
    """draw: gives so many deviations of slices. apart: what sessions differ by; spread: what is known of it beforehand."""

    draw: Callable[[int], np.ndarray]
    apart: float = 0.025
    spread: float = duel.session_spread("tensorflow", "tensorflow")


def one(noise, generator, ratio, pairs):
    """The Standing of one experiment of a Noise. pairs: that the minutes allow in all sessions."""
    done, left = [], pairs
    for number in range(1, SESSIONS + 1):
        most = max(MIN_PAIRS, left // (SESSIONS - number + 1))
        values = math.log(ratio) + generator.normal(0, noise.apart) + noise.draw(most)
        for count in range(MIN_PAIRS, most + 1):
            standing = duel.stand([*done, values[:count]], EQUIVALENCE, noise.spread)
            if standing.verdict != "undecided":
                break
        done.append(values[:count])
        left -= count
    return standing


def measure(noise, experiments, pairs):
    """{ratio: shares of verdicts and pairs needed}."""
    generator = np.random.default_rng(SEED)
    found = {}
    for ratio in DIFFERENCES:
        standings = [one(noise, generator, ratio, pairs) for _ in range(experiments)]
        verdicts = [standing.verdict for standing in standings]
        held = [standing.low is not None and standing.low <= ratio <= standing.high for standing in standings]
        found[ratio] = {
            **{name: verdicts.count(name) / experiments for name in ("faster", "slower", "equivalent", "undecided")},
            "median_pairs": float(np.median([standing.pairs for standing in standings])),
            "interval_holds_the_truth": float(np.mean(held)),
        }
    return found


def recorded(folders):
    """Centered logarithms of the pairs of all turns below the folders."""
    values = []
    for path in sorted(path for folder in folders for path in Path(folder).rglob("turns.json")):
        for session in json.loads(path.read_text(encoding="utf-8"))["sessions"]:
            logs = duel.logs_of(session)
            values += [value - float(np.median(logs)) for value in logs]
    return np.array(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", nargs="*", help="folders of recorded turns, to draw from their slices as well")
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=5.0, help="per configuration and pair, starts included")
    parser.add_argument("--start-seconds", type=float, default=90.0, help="that starts of both sessions take together")
    parser.add_argument("--slice-seconds", type=float, default=1.75)
    parser.add_argument("--output", default="results/benchmarks/turns.json")
    arguments = parser.parse_args()
    pairs = int((60 * arguments.minutes - arguments.start_seconds) / (2 * arguments.slice_seconds + 0.1))
    generator = np.random.default_rng(SEED + 1)
    noises = {
        f"simulated, {name} ({sd:.0%})": Noise(lambda n, sd=sd: heavy(generator, sd, n))
        for name, sd in SIMULATED.items()
    }
    apart = duel.session_spread("tensorflow", "torch")
    noises["simulated, quiet, against PyTorch, whose processes differ"] = Noise(
        lambda n: heavy(generator, SIMULATED["quiet"], n), apart, apart
    )
    pool = recorded(arguments.folders)
    if len(pool):
        noises[f"recorded ({duel.noise_of(pool):.0%}, {len(pool)} pairs)"] = Noise(lambda n: generator.choice(pool, n))
    results = {"pairs_at_most": pairs, "experiments": arguments.experiments, "noise": {}}
    for name, noise in noises.items():
        found = measure(noise, arguments.experiments, pairs)
        results["noise"][name] = found
        print(
            f"{name}, {pairs} pairs at most: false alarms {found[1.0]['faster'] + found[1.0]['slower']:.1%}, equal called "
            f"equivalent {found[1.0]['equivalent']:.0%}; 5 % found {found[1.05]['faster']:.0%} after "
            f"{found[1.05]['median_pairs']:.0f} pairs; 10 % found {found[1.10]['faster']:.0%} after "
            f"{found[1.10]['median_pairs']:.0f}",
            flush=True,
        )
    files.write_text(arguments.output, json.dumps(results, indent=1) + "\n")
    print(f"written to {arguments.output}")
    alarms = [found[1.0]["faster"] + found[1.0]["slower"] for found in results["noise"].values()]
    return 0 if max(alarms) <= 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
