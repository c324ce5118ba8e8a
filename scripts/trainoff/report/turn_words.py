"""What the page says of devices that took turns, and of what more measuring would decide."""

import math

import pandas as pd

from trainoff import numbers
from trainoff.analyze import next_measurements, pairs


def lines(overall: pd.DataFrame, chosen: pairs.Pair | None) -> list[str]:
    """How the speed of a pair that took turns was measured. overall: the table; chosen: a pairs.Pair, None for one device."""
    if chosen is None:
        return []
    rows = pairs.of_pair(overall[overall["subset"] == "all"], chosen).to_dict("records")
    if not rows or not rows[0]["from_turns"]:
        return []
    row = rows[0]
    in_turns, total = int(row["from_turns"]), numbers.count(int(row["configurations_compared"]), "speed ratio")
    return [
        f"{in_turns} of {total} {'was' if in_turns == 1 else 'were'} measured in turns: both trainings run at once and alternate "
        "every few steps or after each, so that what slows the machine down affects both."
    ]


def next_lines(table: pd.DataFrame | None) -> list[str]:
    """What would help most: replicates in one line, turns in another. table: `next`, None where there is none."""
    if table is None:
        return []
    sentences = []
    if best := next_measurements.best(table):
        more, configurations, minutes, decided, undecided = best
        sentences.append(
            f"{numbers.count(more, 'more replicate')} of {numbers.count(configurations, 'configuration')} (about "
            f"{numbers.count(max(1, round(minutes)), 'minute')}) would decide {decided} of "
            f"{numbers.count(undecided, 'undecided pair')}: `make decide MINUTES={math.ceil(minutes)}`."
        )
    if choices := next_measurements.turns_choices(table):
        decided, each, minutes = choices[-1]
        open_pairs = numbers.count(int((table["source"] == "turns").sum()), "undecided ratio")
        sentences.append(
            f"Turns of {each} minutes each would decide {decided} of {open_pairs} measured in turns: "
            f"`make decide MINUTES={math.ceil(minutes)}`."
        )
    return sentences
