"""Two trainings that take turns: what the logarithms of the ratios of neighboring slices say.

A session, two fresh processes, gives one logarithm per pair of slices. Their location is Huber's: a mean in which no pair counts
for more than one that is moderately far out, since single slices are far off now and then. Fresh processes differ for reasons of
their own, such as where memory came to lie, so sessions are what counts: their mean, each weighted by its precision, has a
Student's t interval from what sessions differed by, on this configuration and on others, and from what is known of the framework
(a random-effects mean, as R. DerSimonian and N. Laird (1986), Meta-analysis in clinical trials, weight studies).

The verdict is checked after each session. Checking often would raise false alarms, so turns end early only when a 99.9 % interval
decides; when time is up, the 95 % interval does (J. Haybittle (1971); R. Peto et al. (1976), Design and analysis of randomized
clinical trials).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainoff import windows

# Of a pair; ratios are of the first over the second.
SIDES = ("device", "baseline")
# Of the interval that is told, and of the one that ends turns before their time is up.
LEVELS = (0.95, 0.999)
# Fewer pairs in all give no interval.
MIN_PAIRS = 6
# Deviations beyond this many standard deviations count as much as one there (Huber's constant).
BOUND = 1.3
# Median absolute deviation to standard deviation, for a normal distribution.
_MAD = 1.4826
# What fresh processes of the same training differ by, as a standard deviation of the logarithm of their speed, known before any
# is seen. Sessions of a framework against itself on a virtual CPU, of which both sides have a share, differed beyond their noise
# by 4 % with TensorFlow, 5 % with JAX and 19 % with PyTorch (docs/measurements/2026-11-28-equal-turns*.json).
PROCESS_SPREAD = 0.028
PROCESS_SPREADS = {"torch": 0.15}
# The number of sessions that this is worth.
SESSION_WORTH = 4
MIN_SPREAD = 1e-4
# Variance of Huber's location over that of the mean, for normal values.
_HUBER_VARIANCE = 1.05


@dataclass(frozen=True)
class Standing:
    """What the pairs say so far. Ratios are of the device's speed over the baseline's; None with too few pairs.

    verdict: faster, slower, equivalent or undecided. settled: whether more sessions are not needed. pairs: that count.
    sessions: ratio of each session that has pairs. degrees: of freedom of the interval.
    """

    ratio: float | None
    low: float | None
    high: float | None
    verdict: str
    pairs: int
    sessions: tuple[float, ...]
    degrees: int = 0
    settled: bool = False


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
    return _scatter(*_locations(_arrays(sessions)))


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
    sessions = _arrays(sessions)
    pairs = sum(map(len, sessions))
    middles, own = _locations(sessions)
    ratios = tuple(map(math.exp, middles))
    if pairs < MIN_PAIRS:
        return Standing(None, None, None, "undecided", pairs, ratios)
    # What is known beforehand counts for less where other configurations show how it is with these devices.
    worth = 1 if elsewhere.degrees else SESSION_WORTH
    seen = _scatter(middles, own) + elsewhere
    between = (worth * spread**2 + max(0.0, seen.squares)) / (worth + seen.degrees)
    weights = 1 / (own + between)
    middle = float(np.average(middles, weights=weights))
    error, degrees = math.sqrt(1 / weights.sum()), worth + seen.degrees
    (low, high), beyond_doubt = (
        (middle - half, middle + half) for half in (windows.student_t(degrees, level) * error for level in LEVELS)
    )
    found = verdict(low, high, equivalence)
    settled = verdict(*beyond_doubt, equivalence) != "undecided"
    return Standing(math.exp(middle), math.exp(low), math.exp(high), found, pairs, ratios, degrees, settled)


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


def noise_of(values: Sequence[float]) -> float:
    """Standard deviation of values around their median, robust against a few that are far off."""
    return max(_MAD * float(np.median(np.abs(values - np.median(values)))), MIN_SPREAD)


def noise_of_sessions(sessions: Iterable[Sequence[float]]) -> float:
    """As noise_of, of the pairs of all sessions, each around the median of its own."""
    return noise_of(np.concatenate([one - np.median(one) for one in _arrays(sessions)]))


def location(values: np.ndarray, scale: float) -> float:
    """Where the deviations from it, bounded at BOUND times `scale`, sum to zero."""
    middle = float(np.median(values))
    for _ in range(20):
        deviations = (values - middle) / scale
        inside = int((np.abs(deviations) < BOUND).sum())
        step = scale * float(np.clip(deviations, -BOUND, BOUND).sum()) / max(1, inside)
        middle += step
        if abs(step) < 1e-6 * scale:
            break
    return middle


def more_sessions(standing: Standing, equivalence: float) -> int | None:
    """About how many more sessions would decide what is undecided; None for what is decided or has no interval."""
    if standing.verdict != "undecided" or standing.low is None:
        return None
    middle = abs(math.log(standing.ratio))
    half = (math.log(standing.high) - math.log(standing.low)) / 2
    # Either the interval shrinks until it leaves out 1, or until it lies within the margin: whichever is nearer.
    wanted = max(middle, math.log1p(equivalence) - middle)
    return max(1, math.ceil(len(standing.sessions) * ((half / wanted) ** 2 - 1)))


def _arrays(sessions):
    return [np.asarray(one, dtype=float) for one in sessions if len(one)]


def _locations(sessions):
    """(locations, variances of these) of sessions (arrays), the latter by the scatter of all pairs around their session."""
    if not sessions:
        return np.array([]), np.array([])
    middles = np.array([location(one, noise_of(one)) for one in sessions])
    scale = noise_of_sessions(sessions)
    lengths = np.array(list(map(len, sessions)))
    # A few pairs lie around their own median closer than around the truth.
    loss = 1 - min(0.5, len(sessions) / lengths.sum())
    return middles, _HUBER_VARIANCE * scale**2 / loss / lengths


def _scatter(middles, variances):
    degrees = max(0, len(middles) - 1)
    return Scatter(degrees * float(np.var(middles, ddof=1) - variances.mean()), degrees) if degrees else Scatter()
