"""Colors, marks and names: how devices and statuses look wherever they are drawn, and the page's names for the colors."""

import dataclasses
import re
import zlib
from typing import Any

import pandas as pd

# Okabe & Ito's colors for color-blind readers (jfly.uni-koeln.de/color), without yellow, which is lost on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#8C510A")
# A second sign beside the color, for gray print.
MARKS = ("o", "s", "D", "^", "v", "P", "X", "p")

INK, QUIET, FAINT, BAND, GRID = "#1b1f24", "#57606a", "#d0d7de", "#f4f6f8", "#e3e7eb"
# Paper is white and turns dark with the page; what is written on a colored cell stays white, so it has a name of its own.
PAPER, ON_COLOR, PALE = "#ffffff", "#fefefe", "#e3eef6"
# Status of a run: color, mark and the word under the figure. Only "ok" is pale, so that failures stand out.
STATUSES = {
    "ok": ("#9cc3dd", "o", "ok"),
    "diverged": ("#b8860b", "v", "diverged"),
    "timed_out": ("#8C510A", "D", "timed out"),
    "out_of_memory": ("#882255", "s", "out of memory"),
    "crashed": ("#B2182B", "X", "crashed"),
    "error": ("#5e3c99", "P", "error"),
    "unavailable": ("#6e7781", "_", "device unavailable"),
}

FONTS = "'DejaVu Sans', Verdana, sans-serif"

# Colors of the devices of the catalog that are compared most, so that they differ in every report.
COLOR_OF = {
    "cpu": 0,
    "cuda": 1,
    "metal": 2,
    "v100": 1,
    "m1-mini": 2,
    "h100": 3,
    "a100": 4,
    "cpu-torch": 5,
    "cpu-jax": 7,
}


@dataclasses.dataclass(frozen=True)
class Device:
    """A device as figures show it; `color` and `mark` follow its name, so that it keeps them in every report."""

    name: str
    label: str
    color: str
    mark: str
    accelerator: str = ""
    backend: str = ""

    @property
    def place(self) -> int:
        """The number of its color."""
        return COLORS.index(self.color)


def devices_in(devices: list[dict[str, Any]], table: pd.DataFrame) -> list[Device]:
    """The devices that occur in a table with a `device` column, in the experiment's order.

    A device that the experiment does not list (its runs came from elsewhere) follows at the end under its name.
    """
    present = set(table["device"])
    extra = sorted(present - {device["name"] for device in devices})
    everyone = [*devices, *({"name": name, "label": name} for name in extra)]
    places = _places([device["name"] for device in everyone])
    return [
        Device(
            device["name"],
            clean(device["label"]),
            COLORS[place],
            MARKS[(place + turn // len(COLORS)) % len(MARKS)],
            device.get("accelerator", ""),
            device.get("backend", ""),
        )
        for turn, device in enumerate(everyone)
        for place in [places[device["name"]]]
        if device["name"] in present
    ]


def _places(names):
    """{name: number of its color}: its own, or where another device of this report has that one, the next free one."""
    taken, places = [], {}
    # Names with a color of their own first, so that no other takes it.
    for name in sorted(names, key=lambda name: (name not in COLOR_OF, name)):
        if len(taken) == len(COLORS):
            taken = []
        place = COLOR_OF.get(name, zlib.crc32(name.encode()) % len(COLORS))
        while place in taken:
            place = (place + 1) % len(COLORS)
        taken.append(place)
        places[name] = place
    return places


def clean(text: str) -> str:
    """Text that an SVG file may hold: characters that XML forbids become a replacement sign, lines become one."""
    one_line = re.sub("[\t\n\r ]+", " ", str(text)).strip()
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", one_line)
