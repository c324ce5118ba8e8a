"""Errors that a person can act on, and the one quoter of what somebody else wrote."""

import difflib
from collections.abc import Iterable

# A message is a sentence or two; what it quotes is bounded besides.
LONGEST_MESSAGE = 2000
# Moves to the start of the terminal's line and clears it.
CLEAR = "\r\033[K"


class UserError(Exception):
    """Something outside the code is wrong: a file, a key, a machine.

    The message is the whole story in a sentence or two: what happened, where, what was expected, what to do. It is
    shown without a traceback, on one line that a terminal can show.
    """

    def __init__(self, message):
        super().__init__(bounded(printable(message), LONGEST_MESSAGE))


def printable(text: object) -> str:
    """`text` with a space for every character that is not seen but does something: controls, escapes, line ends, marks that turn
    the direction of writing, characters without width, half characters.

    So that foreign text can neither drive a terminal nor look like another text.
    """
    text = str(text)
    return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)


def one_line(value: object, most: int = 300) -> str:
    """A value that somebody else wrote, for a message or a table: one line of at most `most` characters, all printable."""
    return bounded(" ".join(printable(value).split()), most)


def bounded(text: str, most: int) -> str:
    """`text`, or its beginning and "…" where it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean …?)" with the closest of the known names; "" where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
