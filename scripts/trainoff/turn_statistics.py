"""Two trainings that take turns: the ratio of their speeds with its interval and verdict, from pairs of neighboring slices.

A session, two fresh processes, gives one logarithm of a ratio per pair of slices. Their location is Huber's: a mean in which
pairs that are far off count no more than those moderately far off, since single slices are now and then disturbed. Fresh
processes also differ from each other, for example in where their memory lies, so each session counts as one observation: the
mean of the sessions, weighted by their precision, has a Student's t interval from the spread between sessions, on this
configuration and on others, and from what is known of the framework (a random-effects mean, as R. DerSimonian and N. Laird
(1986), Meta-analysis in clinical trials, weight studies).

The verdict is checked after each session. Repeated checks raise the number of false alarms, so turns end early only if a 99.9 %
interval decides; when the time is up, the 95 % interval decides (J. Haybittle (1971); R. Peto et al. (1976), Design and analysis
of randomized clinical trials).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainoff import windows

# The sides of a pair; ratios are of the first over the second.
SIDES = ("device", "baseline")
# Levels of the interval that is reported, and of the one that ends turns before their time is up.
LEVELS = (0.95, 0.999)
# Minimum number of pairs, over all sessions, for an interval.
MIN_PAIRS = 6
# Deviations beyond this many standard deviations count as much as one there (Huber's constant).
BOUND = 1.3
# Median absolute deviation to standard deviation, for a normal distribution.
_MAD = 1.4826
# The share of normal values whose standard deviation is as certain as the median absolute deviation of all of them.
_MAD_EFFICIENCY = 0.37
# Assumed spread between fresh processes of the same training, before any is measured: a standard deviation of the logarithm of
# their speed. On a virtual CPU, sessions of a framework against itself differed beyond their noise by 4 % with TensorFlow, 5 %
# with JAX and 14 to 18 % with PyTorch, to which both sides contribute (docs/measurements/2026-11-28-equal-turns*.json).
PROCESS_SPREAD = 0.028
PROCESS_SPREADS = {"torch": 0.15}
# How many sessions this assumption weighs as much as.
SESSION_WORTH = 4
MIN_SPREAD = 1e-4
# Variance of Huber's location over that of the mean, for normal values.
_HUBER_VARIANCE = 1.05


@dataclass(frozen=True)
class Standing:
    """The result of the pairs so far. Ratios are the device's speed over the baseline's; None with too few pairs.

    verdict: faster, slower, equivalent or undecided. settled: whether no more sessions are needed. pairs: the number that
    count. sessions: the ratio of each session that has pairs. degrees: degrees of freedom of the interval.
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
    """Logarithms of the ratios of the pairs that count. session: as in the record."""
    return [_log_ratio(pair) for pair in session["pairs"] if pair["counted"]]


def _log_ratio(pair):
    rates = [pair[side]["images"] / pair[side]["seconds"] for side in SIDES]
    return math.log(rates[0] / rates[1])


@dataclass(frozen=True)
class Scatter:
    """The spread between sessions beyond their own noise, over some configurations of the same two devices.

    squares: sum of squares around the mean of each configuration, less the part due to noise. degrees: degrees of freedom.
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
    """Assumed spread between sessions before any is measured: a standard deviation in logarithms. frameworks: of both sides."""
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
    middles, variances = _locations(sessions)
    ratios = tuple(map(math.exp, middles))
    if pairs < MIN_PAIRS:
        return Standing(None, None, None, "undecided", pairs, ratios)
    # The assumption counts for less if other configurations of these devices were measured.
    worth = 1 if elsewhere.degrees else SESSION_WORTH
    seen = _scatter(middles, variances) + elsewhere
    between = (worth * spread**2 + max(0.0, seen.squares)) / (worth + seen.degrees)
    weights = 1 / (variances + between)
    middle = float(np.average(middles, weights=weights))
    error = math.sqrt(1 / weights.sum())
    # Few pairs, as of trainings with slow steps, hardly show how noisy pairs are.
    share = float((weights**2 * variances).sum() / weights.sum())
    of_noise = _MAD_EFFICIENCY * (pairs - len(sessions)) / share**2
    degrees = max(1, min(worth + seen.degrees, round(of_noise)))
    (low, high), beyond_doubt = (
        (middle - half, middle + half) for half in (windows.student_t(degrees, level) * error for level in LEVELS)
    )
    outcome = verdict(low, high, equivalence)
    settled = verdict(*beyond_doubt, equivalence) != "undecided"
    return Standing(math.exp(middle), math.exp(low), math.exp(high), outcome, pairs, ratios, degrees, settled)


def stand_of(
    sessions: Iterable[dict[str, Any]],
    frameworks: Iterable[str | None],
    equivalence: float,
    elsewhere: Scatter = Scatter(),  # noqa: B008
) -> Standing:
    """The Standing of sessions as in the record. frameworks: of both sides. For the other parameters see `stand`."""
    return stand(list(map(logs_of, sessions)), equivalence, session_spread(*frameworks), elsewhere)


def verdict(low: float, high: float, equivalence: float) -> str:
    """The verdict of an interval of the logarithm of a ratio: equivalent, faster, slower or undecided."""
    margin = math.log1p(equivalence)
    if -margin < low and high < margin:
        return "equivalent"
    return "faster" if low > 0 else "slower" if high < 0 else "undecided"


def noise_of_sessions(sessions: Iterable[Sequence[float]]) -> float:
    """Standard deviation of the pairs of all sessions around the median of their session, robust against a few outliers.

    The pair nearest to a median is left out, since the median is there because of it: of three pairs that is a third.
    """
    deviations = [np.sort(np.abs(session - np.median(session)))[1:] for session in _arrays(sessions)]
    known = np.concatenate(deviations)
    return max(_MAD * float(np.median(known)), MIN_SPREAD) if len(known) else MIN_SPREAD


def location(values: np.ndarray, scale: float) -> float:
    """Huber's location: the value around which deviations, clipped at BOUND times `scale`, sum to zero."""
    middle = float(np.median(values))
    for _ in range(20):
        deviations = (values - middle) / scale
        inside = int((np.abs(deviations) < BOUND).sum())
        step = scale * float(np.clip(deviations, -BOUND, BOUND).sum()) / max(1, inside)
        middle += step
        if abs(step) < 1e-6 * scale:
            break
    return middle


def more_sessions(standing: Standing, equivalence: float) -> int:
    """About how many more sessions would decide an undecided Standing that has an interval; at least 1."""
    middle = abs(math.log(standing.ratio))
    half = (math.log(standing.high) - math.log(standing.low)) / 2
    # The interval must shrink until it excludes 1 or until it lies within the margin, whichever takes less.
    wanted = max(middle, math.log1p(equivalence) - middle)
    return max(1, math.ceil(len(standing.sessions) * ((half / wanted) ** 2 - 1)))


def _arrays(sessions):
    return [np.asarray(session, dtype=float) for session in sessions if len(session)]


def _locations(sessions):
    """(locations, their variances) of sessions (arrays); the variances come from the scatter of pairs around their sessions."""
    if not sessions:
        return np.array([]), np.array([])
    scale = noise_of_sessions(sessions)
    middles = np.array([location(session, scale) for session in sessions])
    return middles, _HUBER_VARIANCE * scale**2 / np.array(list(map(len, sessions)))


def _scatter(middles, variances):
    degrees = max(0, len(middles) - 1)
    return Scatter(degrees * float(np.var(middles, ddof=1) - variances.mean()), degrees) if degrees else Scatter()
