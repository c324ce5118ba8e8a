"""Checks experiment files before anything else reads them.

Snakemake loads such files itself. It follows aliases however long that takes, silently lets the last of two equal keys win, and
runs expressions in a file that asks for it (`__use_yte__`). So the text is checked first, by events of the YAML parser, which
build no values.
"""

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import yaml

from trainoff import bounds
from trainoff.errors import UserError, one_line

# That of libyaml where it is installed.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))
EXPECTED = "Expected an experiment such as config.yaml"


def read(path: str | Path) -> dict[Any, Any]:
    """The experiment in the file `path`, a dict; raises UserError with one sentence for a file that is not used."""
    where = one_line(path)
    try:
        size = os.path.getsize(path)
        if size > bounds.EXPERIMENT_BYTES:
            raise UserError(f"{where}: has {size:,} bytes, more than {bounds.EXPERIMENT_BYTES >> 10} KiB. {EXPECTED}.")
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror}). {EXPECTED}.") from None
    except ValueError:
        raise UserError(f"{where}: is not UTF-8 text. {EXPECTED}.") from None
    if "\t" in text and text.lstrip().startswith("{"):
        text = _without_tabs(text)
    try:
        _check_events(text, where)
        loader = LOADER(text)
        value = loader.get_single_data()
        loader.dispose()
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        problem = getattr(error, "problem", None) or str(error) or "it is nested too deeply"
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{where}: {line}is not valid YAML ({one_line(problem, 160)}). {EXPECTED}.") from None
    if not isinstance(value, dict):
        raise UserError(f"{where}: holds no keys at its top level. {EXPECTED}.")
    return value


def _without_tabs(text):
    """JSON with spaces in place of tabs, which YAML forbids; other text unchanged. Duplicate keys stay."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", "  ")


class _Open:
    """An open list or mapping: its line, the number of values in it so far, nested ones included, its depth and its keys."""

    def __init__(self, line, anchor, is_mapping):
        self.line, self.anchor, self.is_mapping = line, anchor, is_mapping
        self.items, self.values, self.depth, self.keys = 0, 1, 1, set()

    @property
    def awaits_key(self) -> bool:
        return self.is_mapping and self.items % 2 == 0


def _check_events(text, where):
    """Raises UserError for aliases, depths, sizes, tags, keys and characters that no experiment needs."""
    stack, sizes, aliases, documents = [], {}, 0, 0

    def refuse(event, reason):
        raise UserError(f"{where}: line {event.start_mark.line + 1}: {reason}. {EXPECTED}.")

    def add(event, values, depth):
        """Counts a value, with everything in it, in the list or mapping that contains it."""
        if not stack:
            return
        top = stack[-1]
        top.items += 1
        top.values += values
        top.depth = max(top.depth, depth + 1)
        if top.items > bounds.EXPERIMENT_ITEMS * (2 if top.is_mapping else 1):
            refuse(event, f"more than {bounds.EXPERIMENT_ITEMS:,} entries in one list or mapping")
        if top.values > bounds.EXPERIMENT_VALUES:
            refuse(event, f"more than {bounds.EXPERIMENT_VALUES:,} keys and values, aliases followed")
        if top.depth + len(stack) > bounds.EXPERIMENT_DEPTH:
            refuse(event, f"lists and mappings more than {bounds.EXPERIMENT_DEPTH} deep")

    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                refuse(event, "a second document begins (---)")
            continue
        if not isinstance(event, (yaml.NodeEvent, yaml.CollectionEndEvent)):
            continue
        if getattr(event, "tag", None) not in (None, "!", *TAGS):
            refuse(event, f"the tag {one_line(event.tag, 60)!r}, which asks for more than plain values")
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > bounds.EXPERIMENT_ALIASES:
                refuse(event, f"more than {bounds.EXPERIMENT_ALIASES} aliases (*name)")
            if stack and stack[-1].awaits_key:
                refuse(event, "an alias in the place of a key")
            if event.anchor not in sizes:
                refuse(
                    event, f"the alias {one_line(event.anchor, 60)!r} of something that does not exist or contains it"
                )
            add(event, *sizes[event.anchor])
        elif isinstance(event, yaml.ScalarEvent):
            if stack and stack[-1].awaits_key:
                _check_key(event, stack, refuse)
            if len(event.value) > bounds.EXPERIMENT_TEXT:
                refuse(event, f"a text of more than {bounds.EXPERIMENT_TEXT:,} characters")
            char = unshowable(event.value)
            if char:
                refuse(event, f"the invisible character {char}{' (a line end)' if char == 'U+000A' else ''}")
            if event.anchor:
                sizes[event.anchor] = (1, 0)
            add(event, 1, 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            if stack and stack[-1].awaits_key:
                refuse(event, "a list or mapping in the place of a key")
            sizes.pop(event.anchor, None)
            if len(stack) >= bounds.EXPERIMENT_DEPTH:
                refuse(event, f"lists and mappings more than {bounds.EXPERIMENT_DEPTH} deep")
            stack.append(_Open(event.start_mark.line, event.anchor, isinstance(event, yaml.MappingStartEvent)))
        else:
            done = stack.pop()
            if done.anchor:
                sizes[done.anchor] = (done.values, done.depth)
            add(event, done.values, done.depth)


def _check_key(event, stack, refuse):
    key, keys = event.value, stack[-1].keys
    if len(key) > bounds.EXPERIMENT_KEY:
        refuse(event, f"a key of more than {bounds.EXPERIMENT_KEY} characters")
    if key in keys:
        refuse(event, f"the key {one_line(key, 60)!r} is given twice; remove one of them")
    if key == "__use_yte__":
        refuse(event, "__use_yte__, which would run expressions in this file")
    keys.add(key)


def unshowable(value: Any) -> str:
    """The first character in the texts of a JSON value that is not safe to print, such as "U+202E"; "" when there is none.

    Control characters, escapes, direction marks, zero-width characters and lone surrogates; not spaces or line ends at the end.
    """
    if isinstance(value, dict):
        value = [part for pair in value.items() for part in pair]
    if isinstance(value, list):
        return next(filter(None, map(unshowable, value)), "")
    for char in value.rstrip("\n") if isinstance(value, str) else "":
        if not char.isprintable() and unicodedata.category(char) != "Zs":
            return f"U+{ord(char):04X}"
    return ""
