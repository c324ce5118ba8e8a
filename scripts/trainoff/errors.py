"""Errors that a person can act on, and functions that make foreign text safe to show."""

import difflib
from collections.abc import Iterable

# A message is a sentence or two; what it quotes has limits of its own.
LONGEST_MESSAGE = 2000
# Moves to the start of the terminal's line and clears it.
CLEAR = "\r\033[K"


class UserError(Exception):
    """Something outside the code is wrong: a file, a key, a machine.

    The message says everything in a sentence or two: what happened, where, what was expected, what to do. It is shown without
    a traceback, on one line of printable characters.
    """

    def __init__(self, message):
        super().__init__(bounded(printable(message), LONGEST_MESSAGE))


def printable(text: object) -> str:
    """`text` with a space for every character that is not printable: control and escape characters, line ends, marks that change
    the direction of writing, characters without width, lone surrogates.

    So foreign text can neither control a terminal nor disguise itself as another text.
    """
    text = str(text)
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def one_line(value: object, most: int = 300) -> str:
    """A foreign value, for a message or a table: one line of at most `most` characters, all printable."""
    return bounded(" ".join(printable(value).split()), most)


def bounded(text: str, max_length: int) -> str:
    """`text`, or its beginning and "…" where it has more than `max_length` characters."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean …?)" with the closest of the known names; "" where none is close."""
    by_lower_case = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return f" (did you mean {by_lower_case[close[0]]}?)" if close else ""
