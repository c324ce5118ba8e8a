"""The figures' visual language: a colour and a mark per device, frames with a finding as title, files that repeat.

Lengths are in inches. Vertical positions inside a panel are inches from its top, so that text never overlaps however
many rows there are.
"""

import dataclasses
import math
import re
import textwrap

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import seaborn  # noqa: E402

from trainoff import configurations as naming  # noqa: E402
from trainoff.files import whole  # noqa: E402

# Okabe & Ito's colours for colour-blind readers (jfly.uni-koeln.de/color), without yellow, which is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#8C510A")
# A second sign beside the colour, for grey print.
MARKS = ("o", "s", "D", "^", "v", "P", "X", "p")

INK, QUIET, FAINT, BAND, GRID = "#1b1f24", "#57606a", "#d0d7de", "#f4f6f8", "#e3e7eb"
# Paper is white and turns dark with the page; what is written on a coloured cell stays white, so it has a name of its own.
PAPER, ON_COLOUR, PALE = "#ffffff", "#fefefe", "#e3eef6"
# Status of a run: colour, mark and the word under the figure. Only "ok" is pale, so that failures stand out.
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

# Ticks of a decade on logarithmic axes, finest first.
LOG_STEPS = (
    (1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.7, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    (1, 1.5, 2, 3, 4, 5, 6, 8),
    (1, 2, 5),
    (1, 3),
    (1,),
)

WIDTH = 8.0
EDGE = 0.12
FONT = 8.5
# More points than this become one picture inside the SVG; it would be slow to show and large to send otherwise.
MOST_VECTOR_POINTS = 1500


@dataclasses.dataclass(frozen=True)
class Device:
    """A device as figures show it; `colour` and `mark` follow its place in the experiment's list."""

    name: str
    label: str
    colour: str
    mark: str

    @property
    def place(self):
        """The number of its colour."""
        return COLOURS.index(self.colour)


def devices_in(devices, table):
    """The devices that occur in a table with a `device` column, in the experiment's order.

    A device that the experiment does not list (its runs came from elsewhere) follows at the end under its name.
    """
    present = set(table["device"])
    listed = [(device["name"], clean(device["label"])) for device in devices]
    extra = sorted(present - {name for name, _ in listed})
    return [
        Device(name, text, COLOURS[place % len(COLOURS)], MARKS[(place + place // len(COLOURS)) % len(MARKS)])
        for place, (name, text) in enumerate(listed + [(name, name) for name in extra])
        if name in present
    ]


def use_style():
    """Sets the look of all figures. Text stays text: searchable, sharp, and never read as a formula."""
    seaborn.set_theme(
        style="white",
        context="paper",
        rc={
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": FONT,
            "axes.labelsize": FONT,
            "xtick.labelsize": FONT - 0.5,
            "ytick.labelsize": FONT - 0.5,
            "axes.edgecolor": FAINT,
            "axes.labelcolor": QUIET,
            "text.color": INK,
            "xtick.color": QUIET,
            "ytick.color": INK,
            "axes.grid": False,
            "grid.color": GRID,
            "grid.linewidth": 0.6,
            "figure.facecolor": "white",
            "figure.dpi": 96,
            "svg.fonttype": "none",
            "svg.hashsalt": "trainoff",
            "text.parse_math": False,
            "axes.formatter.use_mathtext": False,
            "axes.unicode_minus": True,
        },
    )


def save(figure, svg, png):
    """Writes the figure as SVG and PNG; the same figure gives the same bytes."""
    with whole(svg) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
        text = temporary.read_text(encoding="utf-8")
        # Verdana has the same widths as DejaVu Sans and is there where that is not.
        text = re.sub(r"'DejaVu Sans'(, sans-serif)?", FONTS, text)
        text = text.replace("<svg ", f'<svg data-words="{_points(figure)}" ', 1)
        temporary.write_text(text, encoding="utf-8")
    with whole(png) as temporary:
        figure.savefig(temporary, format="png", dpi=160, metadata={"Software": None})
    plt.close(figure)


def _points(figure):
    """How much of a figure's top and bottom is taken up by words, in points; trainoff.report.pictures cuts it off."""
    top, bottom = getattr(figure, "words", (0, 0))
    return f"{72 * top:.2f} {72 * bottom:.2f}"


def clean(text):
    """Text that an SVG file may hold: characters that XML forbids become a replacement sign, lines become one."""
    one_line = re.sub("[\t\n\r ]+", " ", str(text)).strip()
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", one_line)


def shorten(text, most):
    """`text` in at most `most` characters, cut with an ellipsis."""
    text = clean(text)
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def text_width(text, size=FONT):
    """About how wide a line of text is, in inches, on the safe side."""
    return len(text) * size * 0.0082


@dataclasses.dataclass
class Frame:
    """A figure with its head and foot written and the space between free."""

    figure: object
    top: float
    bottom: float
    height: float

    def axes(self, left, top, width, height, **options):
        """Axes at a place counted from the upper left corner of the free space."""
        return self.figure.add_axes(
            (left / WIDTH, (self.height - self.top - top - height) / self.height, width / WIDTH, height / self.height),
            **options,
        )


def frame(title, subtitle, notes, body, key=()):
    """A figure of the standard width with `body` inches between head and foot.

    The title states the finding; the subtitle says what is drawn; `notes` (lines of text) say what a reader might get
    wrong. `key` holds (colour, mark, text) for marks that the panels do not name themselves.
    """
    title_lines = _lines(title, 84) or [""]
    subtitle_lines = _lines(subtitle, 124)
    note_lines = [_lines(note, 140) for note in notes if note]
    key_lines = _key_lines(key)
    head = EDGE + 0.21 * len(title_lines) + 0.165 * len(subtitle_lines) + 0.02
    top = head + 0.21 * len(key_lines) + 0.04
    foot = 0.15 * sum(map(len, note_lines))
    bottom = EDGE + foot + (0.08 if foot else 0)
    height = top + body + bottom
    figure = plt.figure(figsize=(WIDTH, height))
    figure.words = head - 0.06, foot + 0.08 if foot else 0

    # The names let trainoff.report.pictures take the words out of the picture and set them in the page's own type.
    def write(part, line, at, **look):
        figure.text(EDGE / WIDTH, 1 - at / height, line, va="top", ha="left", gid=f"words-{part}", **look)

    at = EDGE
    for number, line in enumerate(title_lines):
        write(f"title-0-{number}", line, at, fontsize=FONT + 2.5, fontweight="bold")
        at += 0.21
    at += 0.02
    for number, line in enumerate(subtitle_lines):
        write(f"subtitle-0-{number}", line, at, fontsize=FONT, color=QUIET)
        at += 0.165
    for line in key_lines:
        _draw_key(figure, line, at + 0.12, height)
        at += 0.21
    at = height - EDGE - foot
    for place, lines in enumerate(note_lines):
        for number, line in enumerate(lines):
            write(f"note-{place}-{number}", line, at, fontsize=FONT - 1, color=QUIET)
            at += 0.15
    return Frame(figure, top, bottom, height)


def _lines(text, most):
    """Lines of at most `most` characters; a number and its unit stay together."""
    glued = re.sub(r"(?<=\d) (?=(%|s|min|px|epochs)(\W|$))", "\u00a0", clean(text))
    return textwrap.wrap(glued, most)


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
    for colour, mark, text in key:
        axes = figure.add_axes((x / WIDTH, 1 - (at + 0.06) / height, 0.2 / WIDTH, 0.12 / height))
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        if mark in ("-", "--"):
            axes.plot([0, 1], [0.5, 0.5], linestyle=mark, color=colour, linewidth=1.6)
        elif mark == "bar":
            axes.add_patch(plt.Rectangle((0, 0.05), 1, 0.9, color=colour, linewidth=0))
        elif mark == "hollow":
            axes.plot([0.5], [0.5], "o", markerfacecolor="white", markeredgecolor=colour, markersize=5)
        else:
            axes.plot([0.5], [0.5], mark, color=colour, markersize=5, markeredgecolor=colour)
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

    def y(self, place, lane=None):
        """Vertical position of a lane (or of the row's middle) in the row with number `place`."""
        if lane is None:
            return (place + 0.5) * self.row
        return (place + 0.5) * self.row + (lane - (self.lanes - 1) / 2) * self.lane


def rows(title, subtitle, notes, groups, names, lanes, x_label, key=(), columns=None, tight=False, own_axes=False):
    """Draws frames, bands and row names for panels of configurations.

    `groups` is [(panel title, configurations)], `names` maps a configuration to its row's name, `lanes` is the number
    of devices. `tight` leaves less room between rows. `own_axes`: panels do not share their x axis, so each is labelled.
    """
    lane = 0.17 if lanes < 5 else 0.15
    row = lanes * lane + (0.02 if tight else 0.1)
    columns = columns or (1 if len(groups) == 1 else 2)
    left = EDGE + max([text_width(names[one]) for _, group in groups for one in group] or [1]) + 0.12
    # Panels side by side share the row names when these are the same.
    rows_of = [[names[one] for one in group] for _, group in groups]
    shared = all(one == rows_of[0] for one in rows_of)
    gap = 0.25 if shared else left
    width = (WIDTH - left - EDGE - gap * (columns - 1)) / columns
    head = 0.24 if any(text for text, _ in groups) else 0.04
    foot = 0.42
    lines = [groups[start : start + columns] for start in range(0, len(groups), columns)]
    heights = [max(len(group) for _, group in line) * row for line in lines]
    between = 0.3 if own_axes else 0.12
    body = sum(heights) + head * len(lines) + between * (len(lines) - 1) + foot
    page = frame(title, subtitle, notes, body, key)
    panels, at = [], 0.0
    for number, (line, tall) in enumerate(zip(lines, heights, strict=True)):
        for column, (text, group) in enumerate(line):
            axes = page.axes(left + column * (width + gap), at + head, width, len(group) * row)
            axes.set_ylim(len(group) * row, 0)
            last = number == len(lines) - 1 or column >= len(lines[number + 1])
            _dress(axes, group, names, row, named=column == 0 or not shared, last=last or own_axes)
            if last:
                axes.set_xlabel(x_label)
            if text:
                axes.set_title(clean(text), loc="left", fontsize=FONT, fontweight="bold", pad=4)
            panels.append((axes, group))
        at += head + tall + between
    return Rows(page, panels, lane, row, lanes)


def _dress(axes, group, names, row, named, last):
    for place in range(0, len(group), 2):
        axes.axhspan(place * row, (place + 1) * row, color=BAND, linewidth=0, zorder=0)
    axes.set_yticks([(place + 0.5) * row for place in range(len(group))])
    axes.set_yticklabels([clean(names[one]) for one in group] if named else [])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=0, labelbottom=last)
    axes.grid(axis="x", zorder=0)
    axes.set_axisbelow(True)
    seaborn.despine(ax=axes, left=True, bottom=True)


def draw_missing(axes, y, device, reason):
    """Keeps the place of a cell without a value: the reason at the left edge, after the mark of `device` if given."""
    across = axes.get_yaxis_transform()
    inch = 1 / (axes.get_position().width * WIDTH)
    if device:
        axes.plot([0.06 * inch], [y], device.mark, color=device.colour, markersize=4, transform=across, zorder=4)
    axes.text(
        (0.15 if device else 0.04) * inch,
        y,
        f"✕ {shorten(reason, 60)}",
        transform=across,
        va="center",
        fontsize=FONT - 1,
        color=QUIET,
        zorder=5,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6},
    )


def quiet_panel(title, text):
    """A figure that says in words why there is nothing to draw."""
    page = frame(title, "", [], 1.0)
    axes = page.axes(EDGE, 0, WIDTH - 2 * EDGE, 0.9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(BAND)
    seaborn.despine(ax=axes, left=True, bottom=True)
    lines = "\n".join(textwrap.wrap(clean(text), 90))
    axes.text(0.5, 0.5, lines, ha="center", va="center", color=QUIET, transform=axes.transAxes, linespacing=1.5)
    return page.figure


def row_names(configurations, axes=naming.AXES):
    """Panels and row names for configurations: ([(panel title, configurations)], {configuration: name})."""
    groups, shown = naming.split_over_panels(configurations, axes)
    names = {one: naming.label(one, shown, axes) or "the one configuration" for one in configurations}
    return groups, names


def limits(values, labels, axes, logarithmic):
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


def draw_estimate(axes, y, device, middle, low, high, hollow=False, mark=None, strong=False):
    """Draws a dot with its interval (None or NaN bounds: no line)."""
    if low is not None and high is not None and low == low and high == high:
        axes.plot([low, high], [y, y], color=device.colour, linewidth=2.4 if strong else 1.8, zorder=3)
    axes.plot(
        [middle],
        [y],
        mark or device.mark,
        markerfacecolor="white" if hollow else device.colour,
        markeredgecolor=device.colour if hollow else "white",
        markeredgewidth=1.2 if hollow else 0.4,
        markersize=6.5 if strong else 5.5,
        zorder=4,
    )


def write_beside(axes, x, y, text):
    """Writes a value right of its dot."""
    axes.annotate(clean(text), (x, y), (5, 0), textcoords="offset points", va="center", fontsize=FONT - 1, zorder=5)


def plain_log_axis(axes, which="x"):
    """Writes the ticks of a logarithmic axis, "x" or "y", as plain numbers, as many as it has room for."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    place = axes.get_position()
    room = place.width * WIDTH if which == "x" else place.height * axes.figure.get_figheight()
    for steps in LOG_STEPS:
        ticks = [step * 10**power for power in range(-6, 12) for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        # Half of a label stands on either side of its tick; on this axis high ticks lie closer than low ones.
        sizes = [text_width(f"{tick:,.10g}") + 0.1 if which == "x" else 0.2 for tick in ticks]
        places = [room * math.log(tick / low) / math.log(high / low) for tick in ticks]
        gaps = [after - before for before, after in zip(places, places[1:], strict=False)]
        if all(gap >= (one + other) / 2 for gap, one, other in zip(gaps, sizes, sizes[1:], strict=False)):
            break
    ticker = matplotlib.ticker
    axis.set_major_locator(ticker.FixedLocator(ticks))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(ticker.NullLocator())
