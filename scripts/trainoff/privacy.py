"""What logs and records must not tell: whose machine they were written on. They travel with the results."""

import contextlib
import getpass
import os
import re
import sys
from pathlib import Path

from trainoff.files import whole

# Home folders of anybody, as paths in messages of other programs may name them.
HOMES = re.compile(r"/(?:home|Users)/[^/\s'\":,;)]+")
# Variables whose values are for nobody else; programs print them when a login fails.
SECRETS = re.compile("KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
SHORTEST_SECRET = 8  # what is shorter may be any word
ENDS = r"(?=[/\s'\":,;)\]]|$)"


def scrub(text):
    """`text` without secrets and the user's name.

    The project's folder becomes ".", that of Python "<python>", home folders "~", the user's name in other paths "<user>".
    """
    text = without_secrets(text)
    for place, name in _places():
        text = re.sub(re.escape(place) + ENDS, lambda _, name=name: name, text, flags=re.MULTILINE)
    text = HOMES.sub("~", text)
    if name := user():
        text = re.sub("/" + re.escape(name) + ENDS, "/<user>", text, flags=re.MULTILINE)
    return text


def without_secrets(text):
    """`text` with "<secret>" for the values of the environment's variables that are named as keys, tokens or passwords."""
    secrets = (value for name, value in os.environ.items() if SECRETS.search(name) and len(value) >= SHORTEST_SECRET)
    for secret in sorted(secrets, key=len, reverse=True):  # one may be part of another
        text = text.replace(secret, "<secret>")
    return text


def scrub_file(path):
    """The same for the text file at `path`, in place; nothing where there is none."""
    with contextlib.suppress(OSError):  # a full disk has its own sentence
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        if (clean := scrub(text)) != text:
            with whole(path) as temporary:
                temporary.write_text(clean, encoding="utf-8", errors="surrogateescape")


def user():
    """The name of who runs this, where it is somebody's; empty for root and in containers that know no name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return ""
    return "" if name == "root" else name


def _places():
    """(path, what it is called), longest first, since one may lie in another."""
    places = {os.getcwd(): ".", str(Path(__file__).parents[2]): "."}
    if sys.prefix != sys.base_prefix:  # a virtual environment may lie anywhere; the system's Python tells nothing
        places[sys.prefix] = "<python>"
    # Some containers have / for a home, which says nothing of anybody.
    home = os.path.expanduser("~")
    if len(Path(home).parts) > 1:
        places |= {home: "~", os.path.realpath(home): "~"}
    return sorted(places.items(), key=lambda place: -len(place[0]))
