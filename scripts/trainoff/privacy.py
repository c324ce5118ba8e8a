"""Scrubs secrets and private names from whatever is shared: logs, records, tables, the page, bundles."""

import contextlib
import functools
import getpass
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainoff.files import whole

SECRET = "<secret>"
SHORTEST_SECRET = 8  # shorter values may be ordinary words
ENDS = r"(?=[/\s'\":,;)\]]|$)"

# Names of variables whose values are secret; programs print them when a login fails.
SECRET_VARIABLES = re.compile(
    "KEY|TOKEN|SECRET|PASSW|PASSPHRASE|(^|_)PASS($|_)|(^|_)P(WD|AT)$|CREDENTIAL|AUTH|COOKIE|SESSION|SIGNATURE|(^|_)(DSN|JWT)($|_)",
    re.IGNORECASE,
)
# Folders, not secrets.
HARMLESS_VARIABLES = {"PWD", "OLDPWD"}

# Names of secret values in assignments, headers, URLs and JSON.
CALLED = (
    r"(?:[a-z0-9]+[_-])*(?:[a-z0-9]+[_-]?key|secret|(?:[a-z]+)?token|password|passwd|[a-z0-9]+[_-](?:pass|pat|pwd)|"
    r"session[_-]?id|credentials?|(?:x-amz-)?signature|jwt|sig)"
)
# After these names, the rest of the line is secret.
CALLED_FOR_A_LINE = r"(?:proxy-)?authorization|x-auth-\w{1,40}|(?:set-)?cookie|(?:\w+[_-])?passphrase"
IS = r"([\"']?+\s{0,5}+[:=]\s{0,5}+)(?![\"']?<secret>)"
VALUE = r"(?:\"[^\"\n]{1,2000}\"|'[^'\n]{1,2000}'|[^\s\"'&,;#)}\]]{1,2000})"
START = r"(?<![A-Za-z0-9_-])"
STEP = r"[^\\/\s'\":,;)<]+"
# Tokens of known services, recognized by their prefix.
TOKENS = (
    r"gh[opsur]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}|glpat-[\w-]{16,255}|hf_[A-Za-z0-9]{20,255}|"
    r"xox[abeoprs]-[\w-]{10,255}|AIza[\w-]{30,255}|ya29\.[\w-]{10,2000}|(?:AKIA|ASIA)[0-9A-Z]{16}|"
    r"npm_[A-Za-z0-9]{30,255}|pypi-[\w-]{30,2000}|sk-[\w-]{16,255}|eyJ[\w-]{5,4000}\.[\w-]{4,4000}(?:\.[\w-]{0,4000})?"
)
SHARED = "scratch|lustre|gpfs|nfs|beegfs|afs|net|mnt|media|data|storage|work|workspaces?|projects?|Volumes"
OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
# [(pattern, flags, substitute)], in order. Every repetition is bounded, so that none takes long.
SHAPES = [
    (re.compile(pattern, flags), substitute)
    for pattern, flags, substitute in [
        (r"-----BEGIN [A-Z ]{0,40}KEY-----(?:[^-]|-(?!----)){0,20000}(?:-----END [A-Z ]{0,40}KEY-----)?", 0, SECRET),
        (r"\b([a-z][a-z0-9+.-]{0,20}://)(?!<secret>)[^\s/@'\"]{1,500}@", re.I, rf"\1{SECRET}@"),
        (r"(?<![\w.+<-])[\w.+-]{1,100}:[^\s:@/'\"<]{1,200}@(?=[\w\[])", 0, f"{SECRET}@"),
        (rf"{START}({CALLED_FOR_A_LINE}){IS}[\"']?[^\n\"']{{1,4000}}[\"']?", re.I, rf"\1\2{SECRET}"),
        (r"\b(bearer|basic)\s{1,5}[A-Za-z0-9._~+/=-]{12,4000}", re.I, rf"\1 {SECRET}"),
        (rf"{START}({CALLED}){IS}{VALUE}", re.I, rf"\1\2{SECRET}"),
        (rf"{START}(PASS|PAT|KEY){IS}{VALUE}", 0, rf"\1\2{SECRET}"),
        (rf"\b(?:{TOKENS})", 0, SECRET),
        # Anybody's home folder, as messages of other programs may name it.
        (rf"(?:/[\w.-]{{1,40}}){{0,3}}/(?:home|homes|Users)/{STEP}", 0, "~"),
        (r"(?<![\w.~/])/root(?=[/\s'\":,;)]|$)", re.M, "~"),
        (rf"\b[a-z]:(?:\\{{1,2}}|/)(?:Users|Documents and Settings)(?:\\{{1,2}}|/){STEP}", re.I, "~"),
        (rf"(?<![\w.~-])(/(?:{SHARED})(?:/(?:scratch|users?|work|home|data))?+/){STEP}", 0, r"\1<user>"),
        (rf"(?<![\w\\])\\\\[\w.-]{{1,100}}\\{STEP}", 0, r"\\\\<host>"),
        # user@host. The name of another machine's device, such as "cpu@1a2b3c4d", is harmless.
        (
            r"(?<![\w.+<>@/-])[\w.+-]{1,64}@(?![0-9a-f]{8}(?![\w.-]))[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}(?![\w-])",
            0,
            "<user>@<host>",
        ),
        (rf"(?<![\w.])(?!127\.0\.0\.1\b|0\.0\.0\.0\b)(?:{OCTET}\.){{3}}{OCTET}(?!\w|\.\w)", 0, "<address>"),
        (
            r"(?<![\w:])(?=[0-9a-f:]{0,45}\d)"
            r"(?:(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6})(?![\w:])",
            re.I,
            "<address>",
        ),
        (r"(?<![\w:-])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![\w:-])", re.I, "<address>"),
    ]
]
HOMES = [shape for shape in SHAPES if shape[1] == "~"]
# The version of a package may look like an IP address.
VERSION = re.compile(r"[\w.+!-]{1,100}\Z")


def scrub(text: str, half_characters: bool = False) -> str:
    """`text` without secrets and without what identifies somebody: folders, names, machines, addresses.

    The project's folder becomes ".", that of Python "<python>", home folders "~", the user's name in other paths "<user>".
    Lone surrogates, which no table can hold, are replaced unless half_characters is set.
    """
    for pattern, substitute in _replacements():
        text = pattern.sub(substitute, text)
    return text if half_characters else text.encode("utf-8", "replace").decode()


def scrubber(names: bool = False) -> Callable[[str], str]:
    """`scrub` as a function with a cache, for many texts. names: replace the names of user and host anywhere."""
    replacements = _replacements(names)

    @functools.lru_cache(maxsize=20_000)
    def clean(text):
        for pattern, substitute in replacements:
            text = pattern.sub(substitute, text)
        return text.encode("utf-8", "replace").decode()

    return clean


def _replacements(names=False):
    return [*_own_secrets(), *_own_places(), *(_own_names() if names else ()), *SHAPES]


def private(value: Any, free_text: bool = False) -> Any:
    """A JSON value with every text in it scrubbed, except keys and versions of software.

    free_text: whether programs wrote it (logs, messages), so that names of the user and the host may be anywhere in it; the
    `failure` of a record always is such text.
    """
    plain, free = scrubber(), scrubber(names=True)

    def clean(value, is_free, is_version):
        if isinstance(value, dict):
            return {
                key: clean(item, is_free or key == "failure", is_version or key == "software")
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [clean(item, is_free, False) for item in value]
        if not isinstance(value, str) or (is_version and VERSION.match(value)):
            return value
        return free(value) if is_free else plain(value)

    return clean(value, free_text, False)


def scrub_file(path: str | Path) -> None:
    """Scrubs the text file at `path` in place; does nothing where there is none."""
    with contextlib.suppress(OSError):  # a full disk is reported elsewhere
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        if (clean := scrub(text, half_characters=True)) != text:
            with whole(path) as temporary:
                temporary.write_text(clean, encoding="utf-8", errors="surrogateescape")


def name_of(path: str | Path) -> str:
    """The last part of a path, with the separators of any system."""
    return re.split(r"[/\\]", str(path).rstrip("/\\"))[-1]


def without_folders(settings: Any) -> Any:
    """Settings of an experiment with every path in it reduced to the name of the file or folder."""
    if isinstance(settings, dict):
        return {key: _file_names(value) if key in PATHS else without_folders(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [without_folders(item) for item in settings]
    return name_of(settings) if isinstance(settings, str) and PATH.match(settings) else settings


# Keys of an experiment that hold paths, and the pattern of paths anywhere else.
PATHS = ("weights", "archive", "path", "file", "imports")
PATH = re.compile(r"(?:/|~|\.{1,2}[/\\]|[A-Za-z]:[/\\]|\\\\)[^\n]*\Z")


def _file_names(value):
    if isinstance(value, list):
        return [_file_names(item) for item in value]
    return name_of(value) if isinstance(value, str) else without_folders(value)


def user() -> str:
    """The name of the user; empty for root, and in containers where the user has no name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return ""
    return "" if name == "root" else name


def _own_secrets():
    """[(pattern, substitute)] of the values of environment variables with names of secrets."""
    values = {
        value
        for name, value in os.environ.items()
        if SECRET_VARIABLES.search(name) and name not in HARMLESS_VARIABLES and len(value) >= SHORTEST_SECRET
    }
    # Longest first, since a value may be part of another.
    return [(re.compile(re.escape(value)), SECRET) for value in sorted(values, key=len, reverse=True)]


def _own_places():
    """[(pattern, substitute)] of this project's folders, longest first since they may be nested, and of the user's name."""
    places = {os.getcwd(): ".", str(Path(__file__).parents[2]): "."}
    if sys.prefix != sys.base_prefix:  # a virtual environment may be anywhere; the system's Python reveals nothing
        places[sys.prefix] = "<python>"
    # In some containers the home folder is /, which reveals nothing.
    home = os.path.expanduser("~")
    if len(Path(home).parts) > 1:
        places |= {home: "~", os.path.realpath(home): "~"}
    patterns = [
        (re.compile(re.escape(place) + ENDS, re.MULTILINE), name)
        for place, name in sorted(places.items(), key=lambda place: -len(place[0]))
    ]
    if name := user():
        # Home folders first, together with the folder above them.
        patterns += [
            *HOMES,
            (re.compile(rf"([/\\\\]){re.escape(name)}(?=[/\\\\\s'\":,;)\]]|$)", re.MULTILINE), r"\1<user>"),
        ]
    return patterns


def _own_names():
    """[(pattern, substitute)] of the names of this machine and its user, anywhere in a text."""
    host = socket.gethostname()
    return [
        (re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])"), substitute)
        for name, substitute in ((user(), "user"), (host, "host"), (host.partition(".")[0], "host"))
        if len(name) > 2 and name != "localhost"
    ]
