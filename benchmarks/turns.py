"""What turns can distinguish: equal devices, and true differences of 5 % and 10 %, simulated and drawn from real sessions.

    python benchmarks/turns.py                                        # simulated noise
    python benchmarks/turns.py docs/measurements/*-equal-turns.json   # and real sessions of equal devices (real_turns.py)

An experiment is a number of sessions that ends, like turns, when it is decided or when the minutes are spent; it is checked after
each session. A false alarm is an experiment between equal devices that ends as faster or slower: at most 5 %. Real sessions are
drawn whole, with the seconds that they took; which of the two equal devices is which is drawn too, and a known difference is
added to their logarithms. A page has several configurations, whose verdicts are corrected together, as in the table of turns.
Writes results/benchmarks/turns.json.
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
import scipy.stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from trainoff import files, turn_statistics  # noqa: E402
from trainoff.analyze import stats  # noqa: E402
from trainoff.analyze import turns as table_of_turns  # noqa: E402
from trainoff.supervise import turning  # noqa: E402

SEED = 1
# Standard deviations of the logarithm of the ratio of neighboring slices, on a quiet virtual machine and beside other programs.
SIMULATED = {"quiet": 0.09, "busy": 0.15, "very busy": 0.22}
# Seconds of a pair of slices, and of the start of both trainings, which start one after the other in the first session.
PAIR_SECONDS, START_SECONDS = 1.1, 15.0
DIFFERENCES = (1.0, 1.05, 1.10)
EQUIVALENCE = 0.05
# True ratios of the configurations of a page: eight equal ones, a single different one, and eight different ones.
PAGES = {"all equal": [1.0] * 8, "one differs by 5 %": [1.05] + [1.0] * 7, "all differ by 5 %": [1.05] * 8}
# Minimum number of real sessions to draw experiments from: with fewer, the experiments would repeat.
MIN_SESSIONS = 10


@dataclasses.dataclass(frozen=True)
class Sessions:
    """draw: makes a session of equal devices (logarithms, and the seconds it took) from a random generator and whether it is the
    first of an experiment. known: assumed spread between sessions. ratios: true ratios, which are added to what is drawn.
    """

    draw: Callable[[np.random.Generator, bool], tuple[np.ndarray, float]]
    known: float
    ratios: Sequence[float] = DIFFERENCES


def simulated(noise: float, apart: float, known: float) -> Sessions:
    """Simulated Sessions, heavy-tailed as real ones. noise, apart: standard deviations between neighboring slices and between
    sessions. known: the assumed value of the latter.
    """

    def heavy(generator, spread, number):
        return spread * generator.standard_t(4, number) / math.sqrt(2)

    def draw(generator, first):
        start = START_SECONDS * (2 if first else 1)
        values = heavy(generator, apart, 1) + heavy(generator, noise, 400)
        # The number of pairs that turns would take with the noise of this session alone.
        number = turning.FIRST_PAIRS
        while number < turning.best_pairs([values[:number]], start, number * PAIR_SECONDS, known):
            number += 1
        return values[:number], start + number * PAIR_SECONDS

    return Sessions(draw, known)


def recorded(recording: dict[str, Any]) -> Sessions:
    """The Sessions that real_turns.py wrote."""
    sessions = [(np.array(session["log_ratios"]), session["seconds"]) for session in recording["sessions"]]
    # In the first recorded session the trainings started one after the other, as in the first of every experiment.
    later = sessions[1:]
    alone = max(0.0, sessions[0][1] - float(np.median([seconds for _, seconds in later])))
    ratio = recording.get("known_ratio", 1.0)

    def draw(generator, first):
        values, seconds = later[generator.integers(len(later))]
        side = generator.choice([-1, 1]) if ratio == 1 else 1
        return side * (values - math.log(ratio)), seconds + (alone if first else 0.0)

    known = turn_statistics.session_spread(recording["framework"], recording["framework"])
    return Sessions(draw, known, DIFFERENCES if ratio == 1 else (ratio,))


def experiment(
    sessions: Sessions, minutes: float, ratio: float, generator: np.random.Generator
) -> tuple[list[np.ndarray], turn_statistics.Standing, float]:
    """(its sessions, Standing, minutes taken) of one experiment, ended as trainoff.supervise.turning ends it."""
    done, spent = [], 0.0
    while True:
        values, seconds = sessions.draw(generator, not done)
        done.append(math.log(ratio) + values)
        spent += seconds
        standing = turn_statistics.stand(done, EQUIVALENCE, sessions.known)
        late = spent + seconds > 60 * minutes
        if len(done) >= turning.MIN_SESSIONS and (late or standing.settled):
            return done, standing, spent / 60


def measure(sessions: Sessions, minutes: float, experiments: int) -> dict[float, dict[str, float]]:
    """{ratio: shares of the verdicts, and the minutes and sessions they took}."""
    generator = np.random.default_rng(SEED)
    results = {}
    for ratio in sessions.ratios:
        outcomes = [experiment(sessions, minutes, ratio, generator) for _ in range(experiments)]
        standings = [standing for _, standing, _ in outcomes]
        verdicts = [standing.verdict for standing in standings]
        held = [standing.low is not None and standing.low <= ratio <= standing.high for standing in standings]
        results[ratio] = {
            **{name: verdicts.count(name) / experiments for name in ("faster", "slower", "equivalent", "undecided")},
            "median_minutes": float(np.median([taken for *_, taken in outcomes])),
            "median_sessions": float(np.median([len(standing.sessions) for standing in standings])),
            "interval_holds_the_truth": float(np.mean(held)),
        }
    return results


def page(sessions: Sessions, minutes: float, ratios: Sequence[float], generator: np.random.Generator) -> list[str]:
    """The verdicts of a page with configurations of these true ratios, judged as by trainoff.analyze.turns."""
    taken = [experiment(sessions, minutes, ratio, generator)[0] for ratio in ratios]
    scatters = list(map(turn_statistics.scatter, taken))
    together = sum(scatters, turn_statistics.Scatter())
    standings = [
        turn_statistics.stand(done, EQUIVALENCE, sessions.known, together - scatter)
        for done, scatter in zip(taken, scatters, strict=True)
    ]
    rows = [{"ratio": s.ratio, "ci_low": s.low, "ci_high": s.high, "degrees": s.degrees} for s in standings]
    return [verdict for *_, verdict in stats.judge(list(map(table_of_turns.as_ratio, rows)), EQUIVALENCE)]


def measure_pages(sessions: Sessions, minutes: float, ratios: Sequence[float], pages: int) -> dict[str, Any]:
    """How many of the pages call an equal configuration different, and which share of the different ones they find."""
    generator = np.random.default_rng(SEED)
    truth = ["faster" if ratio > 1 else "slower" if ratio < 1 else "equal" for ratio in ratios]
    false, found = 0, 0
    for _ in range(pages):
        verdicts = list(zip(truth, page(sessions, minutes, ratios, generator), strict=True))
        false += any(verdict in ("faster", "slower") and verdict != true for true, verdict in verdicts)
        found += sum(verdict == true for true, verdict in verdicts)
    different = pages * sum(true != "equal" for true in truth)
    low, high = scipy.stats.binomtest(false, pages).proportion_ci()
    return {
        "pages": pages,
        "with_a_false_verdict": false,
        "share": false / pages,
        "low": low,
        "high": high,
        "differences_found": found / different if different else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "measured", nargs="*", help="files of benchmarks/real_turns.py, whose sessions are drawn as well"
    )
    parser.add_argument("--experiments", type=int, default=400)
    parser.add_argument("--pages", type=int, default=200, help="pages of eight configurations (default 200)")
    parser.add_argument("--minutes", type=float, default=5.0, help="per configuration and pair, starts included")
    parser.add_argument("--output", default="results/benchmarks/turns.json")
    arguments = parser.parse_args()
    same, torch = (
        turn_statistics.session_spread("tensorflow", "tensorflow"),
        turn_statistics.session_spread("tensorflow", "torch"),
    )
    kinds = {f"simulated, {name} ({noise:.0%})": simulated(noise, same, same) for name, noise in SIMULATED.items()}
    kinds["simulated, quiet, TensorFlow against PyTorch"] = simulated(SIMULATED["quiet"], torch, torch)
    for path in arguments.measured:
        recording = json.loads(Path(path).read_text(encoding="utf-8"))
        if len(recording["sessions"]) < MIN_SESSIONS:
            print(f"{Path(path).stem}: left out, as it has only {len(recording['sessions'])} sessions")
            continue
        kinds[f"{Path(path).stem}, {len(recording['sessions'])} sessions"] = recorded(recording)
    results = {"minutes": arguments.minutes, "experiments": arguments.experiments, "found": {}}
    for name, sessions in kinds.items():
        shares = measure(sessions, arguments.minutes, arguments.experiments)
        results["found"][name] = shares
        alarms = f": false alarms {_alarms(shares):.1%}" if 1.0 in shares else ""
        print(f"{name}{alarms}", flush=True)
        for ratio, outcome in shares.items():
            verdicts = ", ".join(f"{name} {outcome[name]:.0%}" for name in ("faster", "slower", "equivalent"))
            print(
                f"  {ratio:.4g}: {verdicts}, after {outcome['median_minutes']:.1f} minutes, "
                f"{outcome['median_sessions']:.0f} sessions; the interval covers the true ratio in "
                f"{outcome['interval_holds_the_truth']:.1%}",
                flush=True,
            )
    quiet = next(iter(kinds.values()))
    results["on_pages"] = {}
    for name, ratios in PAGES.items():
        outcome = measure_pages(quiet, arguments.minutes, ratios, arguments.pages)
        results["on_pages"][name] = outcome
        found = (
            "" if outcome["differences_found"] is None else f"; {outcome['differences_found']:.0%} of differences found"
        )
        print(
            f"pages of {len(ratios)} configurations, {name}: false verdicts on {outcome['share']:.1%} "
            f"({outcome['low']:.1%} to {outcome['high']:.1%}){found}",
            flush=True,
        )
    files.write_text(arguments.output, json.dumps(results, indent=1) + "\n")
    print(f"written to {arguments.output}")
    too_many = results["on_pages"]["all equal"]["low"] > 0.05
    return 0 if max(map(_alarms, results["found"].values())) <= 0.05 and not too_many else 1


def _alarms(shares):
    """Share of experiments between equal devices, if there were any, in which one was found faster."""
    return shares[1.0]["faster"] + shares[1.0]["slower"] if 1.0 in shares else 0.0


if __name__ == "__main__":
    sys.exit(main())
