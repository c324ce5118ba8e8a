"""The documentation: what is generated is up to date, links lead somewhere, and names of keys and files are real."""

import re
from functools import cache
from pathlib import Path

import pytest
import take_pictures

import write_reference

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def files():
    """The paths of the project's files and folders."""
    folders = [path for path in ROOT.iterdir() if path.name[0] != "." and path.name != "results"]
    return [path.as_posix() for folder in folders for path in (folder, *folder.rglob("*"))]


def test_the_reference_is_up_to_date():
    assert write_reference.TARGET.read_text(encoding="utf-8") == write_reference.reference(), "run `make docs`"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match("https?:", target):
            continue
        name, _, heading = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-") for words in headings}
            assert heading in slugs, target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_modules_and_presets_exist_and_no_word_stands_twice(path):
    text = path.read_text(encoding="utf-8")
    names = re.findall(
        r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|smk))`|`((?:presets|envs|catalog|examples|profiles)/[\w./-]+)`", text
    )
    assert [name for name in map("".join, names) if not any(file.endswith(f"/{name}") for file in files())] == []
    assert re.findall(r"\b([a-z]{2,})\n\1\b", text) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_name_targets_of_the_makefile(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= targets


def test_every_key_is_described():
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]*) \|", write_reference.reference(), re.MULTILINE)
    assert [key for key, what in rows if not what.strip()] == []


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):(?! [a-z]+ [:?]?=)", makefile, re.MULTILINE)) - {"help", "development"}
    assert targets == set(re.findall(r"@echo '  make ([a-z-]+)", makefile))


def test_the_pictures_of_pages_are_those_that_make_docs_takes():
    text = (ROOT / "docs/pages.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[(.+)\]\(pages/([a-z-]+)\.png\)", text)
    files = {path.stem: path.stat().st_size for path in take_pictures.FOLDER.iterdir()}
    assert sorted(name for _, name in shown) == sorted(files) == sorted(take_pictures.PICTURES)
    assert all(caption.startswith("Made-up figures: ") for caption, _ in shown)
    assert max(files.values()) < take_pictures.MAX_BYTES
