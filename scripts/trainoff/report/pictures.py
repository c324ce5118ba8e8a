"""Pictures for inside a page: an SVG file without its words, which the page sets in its own type, in the page's colours."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import markupsafe

from trainoff.report import figures

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
# Colours of the files, which are for paper, and the page's names for them, which know light and dark.
COLOURS = {
    figures.INK: "--ink",
    figures.QUIET: "--quiet",
    figures.FAINT: "--line",
    figures.BAND: "--band",
    figures.GRID: "--grid",
    figures.PAPER: "--paper",
    figures.PALE: "--pale",
} | {colour.lower(): f"--device-{number}" for number, colour in enumerate(figures.COLOURS)}


@dataclass(frozen=True)
class Picture:
    """svg: markup of the drawing alone. The words of the file: its title, its subtitle and its notes."""

    svg: markupsafe.Markup
    title: str
    subtitle: str
    notes: list[str]


def inline(text, name, label):
    """The Picture of the SVG file `text`: no ids or styles shared with other pictures.

    name: unique on the page. label: what screen readers say before the title.
    """
    ElementTree.register_namespace("", SVG.strip("{}"))
    ElementTree.register_namespace("xlink", XLINK.strip("{}"))
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", text))
    words = _take_words(root)
    _crop(root)
    for parent in list(root.iter()):
        for child in list(parent):
            # Style elements would reach the whole page; the page's own style says the same.
            if child.tag in (f"{SVG}style", f"{SVG}metadata"):
                parent.remove(child)
    classes = {}
    for element in root.iter():
        if not element.tag.endswith("text"):
            element.text = None
        element.tail = None
        _localise(element, name)
        look = element.attrib.pop("style", None)
        if look:
            element.set("class", classes.setdefault(_themed(look), f"{name}-{len(classes)}"))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    title = " ".join(words.get("title", [""]))
    root.set("role", "img")
    root.set("aria-label", f"{label}. {title}." if title else f"{label}.")
    _remove_unused_ids(root, name)
    # Thousands of equal styles become one rule each, which halves the page.
    style = ElementTree.Element(f"{SVG}style")
    style.text = "".join(f".{short}{{{look}}}" for look, short in classes.items())
    root.insert(0, style)
    svg = markupsafe.Markup(ElementTree.tostring(root, encoding="unicode"))
    return Picture(svg, title, " ".join(words.get("subtitle", [])), words.get("note", []))


def _take_words(root):
    """Removes what trainoff.report.figures.frame wrote around the drawing; {"title" | "subtitle" | "note": [text]}."""
    lines = {}
    for parent in list(root.iter()):
        for child in list(parent):
            found = re.fullmatch(r"words-(\w+)-(\d+)-(\d+)", child.get("id", ""))
            if found:
                part, place, _ = found.groups()
                line = "".join(child.itertext()).strip()
                lines.setdefault(part, {}).setdefault(int(place), []).append(line)
                parent.remove(child)
    return {part: [" ".join(places[place]) for place in sorted(places)] for part, places in lines.items()}


def _crop(root):
    top, bottom = map(float, root.attrib.pop("data-words", "0 0").split())
    if top or bottom:
        left, start, width, height = map(float, root.get("viewBox").split())
        root.set("viewBox", f"{left:g} {start + top:g} {width:g} {height - top - bottom:g}")


def _localise(element, name):
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key.endswith("href") and value.startswith("#"):
            element.set(key, f"#{name}-{value[1:]}")
        elif key in ("d", "x", "y", "transform", "points"):
            element.set(key, _rounded(value))
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{name}-"))


def _themed(look):
    """A style attribute with the page's colours and type for those of the file."""
    look = re.sub(r"#[0-9a-fA-F]{6}\b", lambda found: _variable(found.group().lower()), look)
    return look.replace(figures.FONTS, "var(--sans)")


def _variable(colour):
    return f"var({COLOURS[colour]})" if colour in COLOURS else colour


def _remove_unused_ids(root, name):
    """Names that nothing refers to only make the page longer."""
    used = set(re.findall(rf"#({name}-[\w-]+)", ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)


def _rounded(numbers_text):
    """A path or position with two decimals, a hundredth of a point."""
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found.group()):.2f}", numbers_text)
