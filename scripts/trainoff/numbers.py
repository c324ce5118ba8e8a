"""Numbers for readers: few digits, a unit, and plain words for what is unknown."""

import math
from collections.abc import Callable, Iterable
from typing import Any

UNKNOWN = "not measured"


def known(value: Any) -> bool:
    """Whether a value from a table is known: neither None nor NaN."""
    return value is not None and value == value


def known_or_none(value: Any) -> Any:
    """A value from a table, with None for everything by which tables mark the unknown."""
    return value if known(value) else None


def significant(value: float | None, digits: int = 3) -> str:
    """A number with this many significant digits, thousands separated, never in powers of ten: 71.3, 313, 1,240."""
    if not known(value):
        return UNKNOWN
    if value == 0 or math.isinf(value):
        return f"{value:g}"
    rounded = round(value, digits - 1 - math.floor(math.log10(abs(value))))
    # Of the rounded value, as 9.996 becomes 10.0.
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def ratio(value: float | None) -> str:
    """A ratio with the sign ×, two decimals where they matter: 0.31×, 4.23×, 13.8×, 112×."""
    if not known(value):
        return UNKNOWN
    if 0.1 <= value < 9.995:
        return f"{value:.2f}×"
    return f"{significant(value, 2 if value < 0.1 else 3)}×"


def ratio_interval(low: float | None, high: float | None) -> str:
    """The interval of a ratio, both ends with the same decimals: "0.29 to 0.33"."""
    if not (known(low) and known(high)):
        return UNKNOWN
    decimals = 3 if high < 0.1 else 2 if high < 10 else 1 if high < 100 else 0
    return f"{low:,.{decimals}f} to {high:,.{decimals}f}"


def interval(low: float | None, high: float | None) -> str:
    """An interval of a throughput: "70.8 to 71.9"."""
    return f"{significant(low)} to {significant(high)}" if known(low) and known(high) else UNKNOWN


def span(low: float, high: float, form: Callable[[float], str] = significant) -> str:
    """Two values as "a to b", or a single value if both are written the same."""
    return form(low) if form(low) == form(high) else f"{form(low)} to {form(high)}"


def percent(value: float | None) -> str:
    """A fraction in percent: 67%, 3.4%."""
    return f"{significant(100 * value, 2 if value < 0.995 else 3)}%" if known(value) else UNKNOWN


def seconds(value: float | None) -> str:
    """A duration: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if not known(value):
        return UNKNOWN
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def gibibytes(value: float | None) -> str:
    """An amount of memory: 16 GiB."""
    return f"{value / 2**30:.3g} GiB" if known(value) else UNKNOWN


def p_value(value: float | None) -> str:
    """A p-value: 0.03, below 0.001."""
    if not known(value):
        return UNKNOWN
    return "below 0.001" if value < 0.001 else significant(value, 2)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun: "1 run", "8 runs"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def listing(items: Iterable[str]) -> str:
    """Words as a list in a sentence: "a, b and c"."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
