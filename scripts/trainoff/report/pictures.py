"""Pictures for inside a page: the drawing of an SVG file in the colors and type of the page."""

import re
import xml.etree.ElementTree as ElementTree

import markupsafe

from trainoff.report import palette

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
# Colors of the files, which are for paper, and the page's names for them, which know light and dark.
COLORS = {
    palette.INK: "--ink",
    palette.QUIET: "--quiet",
    palette.FAINT: "--line",
    palette.BAND: "--band",
    palette.GRID: "--grid",
    palette.PAPER: "--paper",
    palette.PALE: "--pale",
} | {color.lower(): f"--device-{number}" for number, color in enumerate(palette.COLORS)}


def inline(text: str, name: str, label: str) -> markupsafe.Markup:
    """Markup of the SVG file `text`: no ids or styles shared with other pictures.

    name: unique on the page. label: what screen readers say.
    """
    ElementTree.register_namespace("", SVG.strip("{}"))
    ElementTree.register_namespace("xlink", XLINK.strip("{}"))
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", text))
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
    root.set("role", "img")
    root.set("aria-label", label)
    _remove_unused_ids(root, name)
    # Thousands of equal styles become one rule each, which halves the page.
    style = ElementTree.Element(f"{SVG}style")
    style.text = "".join(f".{short}{{{look}}}" for look, short in classes.items())
    root.insert(0, style)
    return markupsafe.Markup(ElementTree.tostring(root, encoding="unicode"))


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
    """A style attribute with the page's colors and type for those of the file."""
    look = re.sub(r"#[0-9a-fA-F]{6}\b", lambda match: _variable(match.group().lower()), look)
    return look.replace(palette.FONTS, "var(--sans)")


def _variable(color):
    return f"var({COLORS[color]})" if color in COLORS else color


def _remove_unused_ids(root, name):
    """Names that nothing refers to only make the page longer."""
    used = set(re.findall(rf"#({name}-[\w-]+)", ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)


def _rounded(numbers_text):
    """A path or position with two decimals, a hundredth of a point."""
    return re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match.group()):.2f}", numbers_text)
