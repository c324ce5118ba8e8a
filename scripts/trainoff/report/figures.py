"""The figures' visual language: a color and a mark per device, bare pictures with their facts beside them, files that repeat.

Lengths are in inches. Vertical positions inside a panel are inches from its top, so that text never overlaps however
many rows there are.
"""

import contextlib
import dataclasses
import math
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import pandas as pd  # noqa: E402

from trainoff.analyze import pairs  # noqa: E402
from trainoff.report.palette import BAND, PAPER, QUIET, Device, clean  # noqa: E402

# Ticks of a decade on logarithmic axes, finest first.
LOG_STEPS = (
    (1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.7, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    (1, 1.5, 2, 3, 4, 5, 6, 8),
    (1, 2, 5),
    (1, 3),
    (1,),
)

# Wide for a screen and paper; narrow for a phone, where its smallest text is 12 pixels high. `make` draws both.
WIDE, NARROW = 8.0, 3.1
WIDTH = WIDE
EDGE = 0.12
FONT = 8.5
# More points than this become one picture inside the SVG; it would be slow to show and large to send otherwise.
MAX_VECTOR_POINTS = 1500
# Marks that panels do not name themselves, and panels of rows, as `frame` and `rows` take them.
Key = Sequence[tuple[Any, str, str]]
Panels = list[tuple[str, list[Any]]]


@contextlib.contextmanager
def narrow() -> Iterator[None]:
    """Everything drawn inside is as wide as a phone."""
    global WIDTH
    WIDTH = NARROW
    try:
        yield
    finally:
        WIDTH = WIDE


def is_narrow() -> bool:
    return WIDTH == NARROW


def asked(devices: list[Device], table: pd.DataFrame, pair: dict[str, Any]) -> tuple[pairs.Pair | None, list[Device]]:
    """(the Pair that is asked for, the devices by speed). table: with device, axes and images_per_second.

    pair: {"compare": two names or None, "baseline": a name or None}.
    """
    by_name = {device.name: device for device in devices}
    kinds, frameworks = ({device.name: getattr(device, of) for device in devices} for of in ("accelerator", "backend"))
    ranked = pairs.by_speed(table, by_name, kinds)
    return pairs.chosen(ranked, kinds, frameworks, **pair), [by_name[name] for name in ranked]


def shorten(text: str, max_letters: int) -> str:
    """`text` in at most `max_letters` characters, cut with an ellipsis."""
    text = clean(text)
    return text if len(text) <= max_letters else text[: max_letters - 1].rstrip() + "…"


def text_width(text: str, size: float = FONT) -> float:
    """About how wide a line of text is, in inches, on the safe side."""
    return len(text) * size * 0.0082


@dataclasses.dataclass
class Frame:
    """A figure with its head and foot written and the space between free."""

    figure: object
    top: float
    bottom: float
    height: float

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> plt.Axes:
        """Axes at a place counted from the upper left corner of the free space."""
        return self.figure.add_axes(
            (left / WIDTH, (self.height - self.top - top - height) / self.height, width / WIDTH, height / self.height),
            **options,
        )


@dataclasses.dataclass(frozen=True)
class Heading:
    """What is said of a figure. The title states the finding, the subtitle what is the same all over.

    notes: what a reader might get wrong. key: (color, mark, text) for marks that the panels do not name themselves.
    """

    title: str
    subtitle: str = ""
    notes: Iterable[str] = ()
    key: Key = ()


def frame(heading: Heading, body: float) -> Frame:
    """A bare picture of the standard width with `body` inches below its key; what else is said of it are its facts."""
    key_lines = _key_lines(heading.key)
    top = 0.04 + 0.21 * len(key_lines)
    height = top + body + 0.04
    figure = plt.figure(figsize=(WIDTH, height))
    figure.facts = {
        "title": clean(heading.title),
        "subtitle": clean(heading.subtitle),
        "notes": [clean(note) for note in heading.notes if note],
    }
    for number, line in enumerate(key_lines):
        _draw_key(figure, line, 0.12 + 0.21 * number, height)
    return Frame(figure, top, 0.04, height)


def _key_lines(key):
    """Breaks the key over lines that fit the width."""
    lines, room = [], 0.0
    for entry in key:
        need = 0.46 + text_width(clean(entry[2]), FONT - 0.5)
        if need > room:
            lines.append([])
            room = WIDTH - 2 * EDGE
        lines[-1].append(entry)
        room -= need
    return lines


def _draw_key(figure, key, at, height):
    x = EDGE + 0.02
    for color, mark, text in key:
        axes = figure.add_axes((x / WIDTH, 1 - (at + 0.06) / height, 0.2 / WIDTH, 0.12 / height))
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        if mark in ("-", "--"):
            axes.plot([0, 1], [0.5, 0.5], linestyle=mark, color=color, linewidth=1.6)
        elif mark == "bar":
            axes.add_patch(plt.Rectangle((0, 0.05), 1, 0.9, color=color, linewidth=0))
        elif mark == "hollow":
            axes.plot([0.5], [0.5], "o", markerfacecolor="white", markeredgecolor=color, markersize=5)
        else:
            axes.plot([0.5], [0.5], mark, color=color, markersize=5, markeredgecolor=color)
        text = clean(text)
        figure.text((x + 0.26) / WIDTH, 1 - at / height, text, va="center", ha="left", fontsize=FONT - 0.5)
        x += 0.26 + text_width(text, FONT - 0.5) + 0.2


@dataclasses.dataclass
class Rows:
    """Panels of rows, one row per configuration and one lane per device in it."""

    frame: Frame
    panels: list  # (axes, configurations of the panel)
    lane: float  # height of a lane
    row: float  # height of a row
    lanes: int
    above: float = 0.0  # height of a row's name where it stands above its lanes

    def write(self, axes: plt.Axes, y: float, text: str) -> None:
        """Writes a value right of the panel."""
        axes.annotate(
            clean(text),
            (1, y),
            (5, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=FONT - 1,
            annotation_clip=False,
        )

    def y(self, place: float, lane: float | None = None) -> float:
        """Vertical position of a lane (or of the row's middle) in the row with number `place`."""
        middle = (place + 0.5) * self.row + self.above / 2
        return middle if lane is None else middle + (lane - (self.lanes - 1) / 2) * self.lane


def rows(
    heading: Heading,
    groups: Panels,
    names: dict[Any, str],
    lanes: int,
    x_label: str,
    columns: int | None = None,
    tight: bool = False,
    own_axes: bool = False,
    values: Collection[str] = (),
) -> Rows:
    """Draws frames, bands and row names for panels of configurations.

    `groups` is [(panel title, configurations)], `names` maps a configuration to its row's name, `lanes` is the number
    of devices. `tight` leaves less room between rows. `values`: texts that Rows.write puts right of the panels, none of which may
    be longer. `own_axes`: panels do not share their x axis, so each is labeled.
    """
    lane = 0.17 if lanes < 5 else 0.15
    above = 0.19 if is_narrow() else 0.0
    row = above + lanes * lane + (0.02 if tight else 0.1)
    columns = 1 if is_narrow() else columns or (1 if len(groups) == 1 else 2)
    longest = max([text_width(names[configuration]) for _, group in groups for configuration in group] or [1])
    left = EDGE + (0 if is_narrow() else min(longest, 0.45 * WIDTH) + 0.12)
    beside = (
        min(max([text_width(text, FONT - 1) for text in values] or [0]) + 0.1, 0.42 * WIDTH / columns) if values else 0
    )
    # Panels side by side share the row names when these are the same.
    rows_of = [[names[configuration] for configuration in group] for _, group in groups]
    shared = all(row_names == rows_of[0] for row_names in rows_of)
    gap = 0.25 if shared else left
    width = (WIDTH - left - EDGE - gap * (columns - 1)) / columns - beside
    head = 0.24 if any(text for text, _ in groups) else 0.04
    foot = 0.42 + 0.15 * (len(textwrap.wrap(x_label, max(20, int(width / text_width("x"))))) - 1)
    lines = [groups[start : start + columns] for start in range(0, len(groups), columns)]
    heights = [max(len(group) for _, group in line) * row for line in lines]
    between = 0.3 if own_axes else 0.12
    body = sum(heights) + head * len(lines) + between * (len(lines) - 1) + foot
    page = frame(heading, body)
    panels, at = [], 0.0
    for number, (line, tall) in enumerate(zip(lines, heights, strict=True)):
        for column, (text, group) in enumerate(line):
            axes = page.axes(left + column * (width + beside + gap), at + head, width, len(group) * row)
            axes.set_ylim(len(group) * row, 0)
            last = number == len(lines) - 1 or column >= len(lines[number + 1])
            _dress(axes, group, names, row, named=column == 0 or not shared, last=last or own_axes)
            if last:
                axes.set_xlabel("\n".join(textwrap.wrap(x_label, max(20, int(width / text_width("x"))))))
            if text:
                axes.set_title(clean(text), loc="left", fontsize=FONT, fontweight="bold", pad=4)
            panels.append((axes, group))
        at += head + tall + between
    return Rows(page, panels, lane, row, lanes, above)


def _dress(axes, group, names, row, named, last):
    for place in range(0, len(group), 2):
        axes.axhspan(place * row, (place + 1) * row, color=BAND, linewidth=0, zorder=0)
    axes.set_yticks([] if is_narrow() else [(place + 0.5) * row for place in range(len(group))])
    if is_narrow():
        for place, configuration in enumerate(group):
            axes.text(
                0.01,
                place * row + 0.1,
                shorten(names[configuration], int((WIDTH - 3 * EDGE) / text_width("x"))),
                transform=axes.get_yaxis_transform(),
                va="center",
                zorder=6,
                # So that no line of the panel strikes it through.
                bbox={"facecolor": PAPER if place % 2 else BAND, "edgecolor": "none", "pad": 0.4},
            )
    else:
        axes.set_yticklabels(
            [shorten(names[configuration], _max_letters()) for configuration in group] if named else []
        )
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=0, labelbottom=last)
    axes.grid(axis="x", zorder=0)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _max_letters():
    """Letters of a row's name that its margin has room for."""
    return int(0.45 * WIDTH / text_width("x"))


def draw_missing(axes: plt.Axes, y: float, device: Device | None, reason: str) -> None:
    """Keeps the place of a cell without a value: the reason at the left edge, after the mark of `device` if given."""
    across = axes.get_yaxis_transform()
    inch = 1 / (axes.get_position().width * WIDTH)
    if device:
        axes.plot([0.06 * inch], [y], device.mark, color=device.color, markersize=4, transform=across, zorder=4)
    axes.text(
        (0.15 if device else 0.04) * inch,
        y,
        f"✕ {shorten(reason, max(12, int((axes.get_position().width * WIDTH - 0.2) / text_width('x', FONT - 1))))}",
        transform=across,
        va="center",
        fontsize=FONT - 1,
        color=QUIET,
        zorder=5,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6},
    )


def quiet_panel(title: str, text: str) -> plt.Figure:
    """A figure that says in words why there is nothing to draw."""
    lines = textwrap.wrap(clean(text), int((WIDTH - 4 * EDGE) / text_width("x")))
    height = 0.3 + 0.19 * max(1, len(lines))
    page = frame(Heading(title), height + 0.05)
    axes = page.axes(EDGE, 0, WIDTH - 2 * EDGE, height)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(BAND)
    axes.spines[:].set_visible(False)
    axes.text(
        0.5, 0.5, "\n".join(lines), ha="center", va="center", color=QUIET, transform=axes.transAxes, linespacing=1.5
    )
    return page.figure


def limits(
    values: Iterable[float], labels: Iterable[tuple[float, str]], axes: plt.Axes, logarithmic: bool
) -> tuple[float, float]:
    """Limits of an x axis that hold `values` and the text right of each: `labels` are (value, text) pairs.

    A linear axis starts at 0.
    """
    width = axes.get_position().width * WIDTH
    scale, back = (math.log, math.exp) if logarithmic else (float, float)
    ends = [scale(value) for value in values]
    low = min(ends) if logarithmic else 0.0
    if logarithmic:
        low -= 0.04 * (max(ends) - low) + 0.03
    high = max(ends) + 0.03 * (max(ends) - low)
    for value, text in labels:
        share = min(0.7, (text_width(text, FONT - 1) + 0.1) / width)
        high = max(high, low + (scale(value) - low) / (1 - share))
    return back(low), back(high)


def draw_estimate(
    axes: plt.Axes,
    y: float,
    device: Device,
    middle: float,
    low: float | None,
    high: float | None,
    hollow: bool = False,
    mark: str | None = None,
    strong: bool = False,
) -> None:
    """Draws a dot with its interval (None or NaN bounds: no line)."""
    if low is not None and high is not None and low == low and high == high:
        axes.plot([low, high], [y, y], color=device.color, linewidth=2.4 if strong else 1.8, zorder=3)
    axes.plot(
        [middle],
        [y],
        mark or device.mark,
        markerfacecolor="white" if hollow else device.color,
        markeredgecolor=device.color if hollow else "white",
        markeredgewidth=1.2 if hollow else 0.4,
        markersize=6.5 if strong else 5.5,
        zorder=4,
    )


def write_beside(axes: plt.Axes, x: float, y: float, text: str) -> None:
    """Writes a value right of its dot, on a ground that no line of the panel strikes through."""
    axes.annotate(
        clean(text),
        (x, y),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontsize=FONT - 1,
        zorder=5,
        bbox={"facecolor": PAPER, "alpha": 0.7, "edgecolor": "none", "pad": 0.2},
    )


def plain_log_axes(axes: plt.Axes) -> None:
    """Finishes a panel with two logarithmic axes: plain numbers at their ticks, a grid behind all that is drawn."""
    plain_log_axis(axes)
    plain_log_axis(axes, "y")
    axes.grid(axis="both", zorder=0)
    axes.set_axisbelow(True)


def plain_log_axis(axes: plt.Axes, which: str = "x") -> None:
    """Writes the ticks of a logarithmic axis, "x" or "y", as plain numbers, as many as it has room for."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    place = axes.get_position()
    room = place.width * WIDTH if which == "x" else place.height * axes.figure.get_figheight()
    for steps in LOG_STEPS:
        ticks = [step * 10**power for power in range(-6, 12) for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        # Half of a label is on either side of its tick; on this axis high ticks lie closer than low ones.
        sizes = [text_width(f"{tick:,.10g}") + 0.1 if which == "x" else 0.2 for tick in ticks]
        places = [room * math.log(tick / low) / math.log(high / low) for tick in ticks]
        gaps = [after - before for before, after in zip(places, places[1:], strict=False)]
        if all(gap >= (size + other) / 2 for gap, size, other in zip(gaps, sizes, sizes[1:], strict=False)):
            break
    if which == "x":  # No label may reach beyond the picture.
        edge = room + (1 - place.x1) * WIDTH
        ticks = [tick for tick, at, size in zip(ticks, places, sizes, strict=True) if at + size / 2 <= edge]
    axis.set_major_locator(matplotlib.ticker.FixedLocator(ticks))
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(matplotlib.ticker.NullLocator())
