"""Errors that a person can act on."""


class UserError(Exception):
    """Something outside the code is wrong: a file, a key, a machine.

    The message is the whole story in a sentence or two: what happened, where, what was expected, what to do. It is
    shown without a traceback.
    """
