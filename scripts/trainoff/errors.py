"""Errors that a person can act on."""


class UserError(Exception):
    """Something outside the code is wrong: a file, a key, a machine.

    The message is the whole story in a sentence or two: what happened, where, what was expected, what to do. It is
    shown without a traceback.
    """


def one_line(value, most=300):
    """A value that somebody else wrote, for a message: one line of at most `most` characters that a terminal can show."""
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in str(value)).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
