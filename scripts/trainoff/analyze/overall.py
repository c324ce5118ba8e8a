"""Two devices over all configurations: geometric means of their ratios, and the number of configurations per verdict."""

import itertools
import math
from typing import Any

import pandas as pd

from trainoff.analyze import efficiency, stats
from trainoff.analyze.obstacles import overall_reason

VERDICTS = ["faster", "slower", "equivalent", "undecided", "not_comparable"]
COLUMNS = [
    "device",
    "baseline",
    "subset",
    "ratio",
    "ci_low",
    "ci_high",
    "configurations_compared",
    "configurations_total",
    *VERDICTS,
    "one_replicate",
    "from_turns",
    "equivalence",
    "mismatched",
    "reason",
    *efficiency.OVERALL_COLUMNS,
]


def table(rows: list[dict[str, Any]], pairs: list[tuple[str, str]], best: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per pair of devices and subset of the configurations: all, all weights, last layer, each at its best.

    rows, best: the comparisons under the same configuration and of each device at its best, which no mean mixes.
    """
    means = []
    subsets = {
        "all": _by_pair(rows),
        "trainable=true": _by_pair(row for row in rows if row["trainable"]),
        "trainable=false": _by_pair(row for row in rows if not row["trainable"]),
        **({"each at its best": _by_pair(best)} if best else {}),
    }
    for (baseline, device), (subset, chosen) in itertools.product(pairs, subsets.items()):
        pair_rows = chosen.get((device, baseline), [])
        compared = [row for row in pair_rows if row["found"]]
        mean, low, high = stats.geometric_mean([row["found"] for row in compared])
        alone = [row for row in compared if row["source"] == "runs"]
        single = sum(1 in (row["replicates"], row["baseline_replicates"]) for row in alone)
        mismatched = sum(row["parity"] == "mismatch" for row in compared)
        means.append(
            {
                "device": device,
                "baseline": baseline,
                "subset": subset,
                "ratio": mean,
                "ci_low": low,
                "ci_high": high,
                "configurations_compared": len(compared),
                "configurations_total": len(pair_rows),
                **{verdict: sum(row["verdict"] == verdict for row in pair_rows) for verdict in VERDICTS},
                "one_replicate": single,
                "from_turns": sum(row["source"] == "turns" for row in compared),
                "equivalence": max((row["equivalence"] for row in compared), default=math.nan),
                "mismatched": mismatched,
                "reason": overall_reason(len(compared), len(pair_rows), single, mismatched),
                **efficiency.overall_columns(pair_rows),
            }
        )
    return pd.DataFrame(means, columns=COLUMNS)


def _by_pair(rows):
    """{(device, baseline): its rows}."""
    by_pair = {}
    for row in rows:
        by_pair.setdefault((row["device"], row["baseline"]), []).append(row)
    return by_pair
