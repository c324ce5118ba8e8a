"""Two trainings that take turns: what the logarithms of the ratios of neighboring slices say, at any time.

A session gives one logarithm per pair of slices. Their location is Huber's: a mean in which no pair counts for more than one that
is moderately far out, since single slices are far off now and then. The interval may be looked at after every pair, because it
rests on a test martingale: with fair signs, exp(λS - λ²V/2) is a supermartingale for every λ, where S sums the bounded deviations
and V their squares (V. de la Peña (1999), A general class of exponential inequalities for martingales and ratios). Mixed over λ
by a normal density it exceeds 1/0.05 at any time with a chance of at most 5 % (J. Ville). Sessions are fresh processes, which
differ for reasons of their own (where memory came to lie): what they show of it, on this configuration and on others, and what
is known before, widens the interval.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainoff import windows

# Of a pair; ratios are of the first over the second.
SIDES = ("device", "baseline")
LEVEL = 0.05
# Pairs by which the scale of the noise is first estimated; fewer give no interval.
MIN_PAIRS = 6
# Deviations beyond this many standard deviations count as much as one there (Huber's constant).
BOUND = 1.3
# Median absolute deviation to standard deviation, for a normal distribution.
_MAD = 1.4826
# Number of pairs at which the interval is as narrow as it can be for that number.
TUNED_FOR = 20
# What fresh processes of the same training differ by, as a standard deviation of the logarithm of their speed, known before any
# is seen. Sessions of TensorFlow against itself on a virtual CPU differed by 2.5 % beyond their noise, which both sides share
# (docs/measurements/2026-11-28-real-turns.json). Slightly less is assumed, since the interval of the pairs is wider than 95 %:
# with this, equal devices are called different in 4 % of simulated experiments. PyTorch there differed by up to 1.5 times, over
# eight configurations by 12 % (docs/measurements/2026-11-28-turns.json).
PROCESS_SPREAD = 0.014
PROCESS_SPREADS = {"torch": 0.12}
# The number of sessions that this is worth.
SESSION_WORTH = 4
MIN_SPREAD = 1e-4
# A wider interval, a factor of some thousands, says nothing: there are too few pairs to rule anything out.
WIDEST = 8.0


@dataclass(frozen=True)
class Standing:
    """What the pairs say so far. Ratios are of the device's speed over the baseline's; None with too few pairs.

    verdict: faster, slower, equivalent or undecided. pairs: that count. sessions: ratio of each session that has pairs.
    of_sessions: how far the interval reaches for the sake of what sessions differ by, in logarithms.
    """

    ratio: float | None
    low: float | None
    high: float | None
    verdict: str
    pairs: int
    sessions: tuple[float, ...]
    of_sessions: float = 0.0


def logs_of(session: dict[str, Any]) -> list[float]:
    """Logarithms of the ratios of the pairs of a session that count, as the record holds it."""
    return [_log_ratio(pair) for pair in session["pairs"] if pair["counted"]]


def _log_ratio(pair):
    rates = [pair[side]["images"] / pair[side]["seconds"] for side in SIDES]
    return math.log(rates[0] / rates[1])


@dataclass(frozen=True)
class Scatter:
    """What sessions differ by beyond their own noise, from some configurations of the same two devices.

    squares: sum of squares around the mean of each configuration, less what noise accounts for. degrees: of freedom.
    """

    squares: float = 0.0
    degrees: int = 0

    def __add__(self, other: "Scatter") -> "Scatter":
        return Scatter(self.squares + other.squares, self.degrees + other.degrees)

    def __sub__(self, other: "Scatter") -> "Scatter":
        return Scatter(self.squares - other.squares, self.degrees - other.degrees)


def scatter(sessions: Iterable[Sequence[float]]) -> Scatter:
    """The Scatter of the sessions of one configuration, each a sequence of log ratios."""
    sessions = [np.asarray(one, dtype=float) for one in sessions if len(one)]
    return _scatter(sessions, noise_of(np.concatenate(sessions))) if len(sessions) > 1 else Scatter()


def session_spread(*frameworks: str | None) -> float:
    """What sessions differ by, known before any is seen: a standard deviation in logarithms. frameworks: of both sides."""
    return math.hypot(*(PROCESS_SPREADS.get(name, PROCESS_SPREAD) for name in frameworks))


def stand(
    sessions: Iterable[Sequence[float]],
    equivalence: float,
    spread: float,
    elsewhere: Scatter = Scatter(),  # noqa: B008
) -> Standing:
    """The Standing of sessions, each a sequence of log ratios.

    equivalence: 0.05 for ±5 %. spread: of `session_spread`. elsewhere: the Scatter of the same devices on other configurations.
    """
    sessions = [np.asarray(one, dtype=float) for one in sessions if len(one)]
    pairs = sum(map(len, sessions))
    middles = tuple(math.exp(statistics.median(one.tolist())) for one in sessions)
    if pairs < MIN_PAIRS:
        return Standing(None, None, None, "undecided", pairs, middles)
    values = np.concatenate(sessions)
    scale = noise_of(values[:MIN_PAIRS]) if pairs < 2 * MIN_PAIRS else noise_of(values)
    middle = location(values, scale)
    below, above = (abs(end - middle) for end in confidence(values, scale, middle))
    if max(below, above) > WIDEST:
        return Standing(math.exp(middle), None, None, "undecided", pairs, middles)
    extra = _half_interval(_scatter(sessions, scale), elsewhere, len(sessions), spread)
    low, high = middle - math.hypot(below, extra), middle + math.hypot(above, extra)
    found = verdict(low, high, equivalence)
    return Standing(math.exp(middle), math.exp(low), math.exp(high), found, pairs, middles, extra)


def stand_of(
    sessions: Iterable[dict[str, Any]],
    frameworks: Iterable[str | None],
    equivalence: float,
    elsewhere: Scatter = Scatter(),  # noqa: B008
) -> Standing:
    """The Standing of sessions as the record holds them. frameworks: of both sides; for the others see `stand`."""
    return stand(list(map(logs_of, sessions)), equivalence, session_spread(*frameworks), elsewhere)


def verdict(low: float, high: float, equivalence: float) -> str:
    """Of the interval of a logarithm of a ratio."""
    margin = math.log1p(equivalence)
    if -margin < low and high < margin:
        return "equivalent"
    return "faster" if low > 0 else "slower" if high < 0 else "undecided"


def noise_of(values: np.ndarray) -> float:
    """Standard deviation of values around their median, robust against a few that are far off."""
    return max(_MAD * float(np.median(np.abs(values - np.median(values)))), MIN_SPREAD)


def location(values: np.ndarray, scale: float) -> float:
    """Where the bounded deviations from it sum to zero."""
    low, high = float(values.min()), float(values.max())
    for _ in range(50):
        middle = (low + high) / 2
        if _bounded(values - middle, scale).sum() > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def confidence(values: np.ndarray, scale: float, middle: float) -> tuple[float, float]:
    """(low, high): the values that the martingale does not rule out, around the location `middle`."""
    return tuple(_end(values, scale, middle, sign) for sign in (-1, 1))


def _end(values, scale, middle, sign):
    near, far = 0.0, 1.0
    while not _ruled_out(values - (middle + sign * far), scale) and far <= WIDEST:
        far *= 2
    for _ in range(40):
        step = (near + far) / 2
        if _ruled_out(values - (middle + sign * step), scale):
            far = step
        else:
            near = step
    return middle + sign * far


def _ruled_out(deviations, scale):
    bounded = _bounded(deviations, scale)
    total, squares = float(bounded.sum()), float((bounded**2).sum())
    # The mixture is best where squares are as large as after TUNED_FOR pairs; 8 is 2 log(1/LEVEL) and what the mixture costs.
    prior = TUNED_FOR * 0.7 / 8
    return total**2 / (2 * (squares + prior)) - math.log((squares + prior) / prior) / 2 > math.log(1 / LEVEL)


def _bounded(deviations, scale):
    return np.clip(deviations / scale, -BOUND, BOUND)


def _scatter(sessions, scale):
    """The Scatter of sessions (arrays) in which pairs scatter by `scale`."""
    number = len(sessions)
    if number < 2:
        return Scatter()
    medians = np.array([np.median(one) for one in sessions])
    # Variance of a median of normal values is about pi / 2 that of their mean.
    own = statistics.fmean(math.pi / 2 * scale**2 / len(one) for one in sessions)
    return Scatter((number - 1) * (float(np.var(medians, ddof=1)) - own), number - 1)


def _half_interval(own, elsewhere, number, spread):
    """Half a 95 % interval that `number` sessions add: what sessions were seen to differ by, moderated by what is known.

    What is known beforehand counts for less where other configurations show how it is with these devices.
    """
    worth = 1 if elsewhere.degrees else SESSION_WORTH
    seen = own + elsewhere
    variance = (worth * spread**2 + max(0.0, seen.squares)) / (worth + seen.degrees)
    return windows.student_t(worth + seen.degrees) * math.sqrt(variance / number)


def more_pairs(standing: Standing, equivalence: float) -> int | None:
    """About how many more pairs would decide what is undecided; None where no number would, since sessions differ too much."""
    if standing.verdict != "undecided" or standing.low is None:
        return None
    middle = abs(math.log(standing.ratio))
    half = (math.log(standing.high) - math.log(standing.low)) / 2
    # Either the interval shrinks until it leaves out 1, or until it lies within the margin: whichever is nearer.
    wanted = max(middle, math.log1p(equivalence) - middle) * 0.95
    if wanted >= half:
        return MIN_PAIRS
    # Of the interval, only what pairs add shrinks with more of them.
    of_pairs, left = half**2 - standing.of_sessions**2, wanted**2 - standing.of_sessions**2
    return max(1, math.ceil(standing.pairs * (of_pairs / left - 1))) if left > 0 else None
