"""Figures of more configurations than can be drawn one by one: how they spread on each value of each axis."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.report import figures, palette
from trainoff.shapes import Values

# As many rows as a reader goes through, and a page holds.
MAX_CONFIGURATIONS = 60
# An axis with more values is drawn in so many ranges.
MAX_VALUES = 4
# Ends of the lines: four fifths of the configurations lie between.
LOW, HIGH = 0.1, 0.9


@dataclasses.dataclass(frozen=True)
class Group:
    """Configurations that share a value of an axis, or neighboring values of one with many; without axis, all."""

    axis: str | None
    values: tuple
    name: str

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table that belong to the group."""
        return table if self.axis is None else table[table[self.axis].isin(self.values)]


def too_many(configurations: list[Values]) -> bool:
    return len(configurations) > MAX_CONFIGURATIONS


def groups(configurations: list[Values], axes: Sequence[str] = naming.AXES) -> list[Group]:
    """All configurations, then a Group for every value (or range of values) of every axis that varies."""
    result = [Group(None, (), f"all {len(configurations):,} configurations")]
    for axis in naming.varying_axes(configurations, axes):
        # Configurations come in reading order, so the values of an axis do too.
        values = list(dict.fromkeys(configuration[axes.index(axis)] for configuration in configurations))
        number = min(len(values), MAX_VALUES)
        ends = [len(values) * place // number for place in range(number + 1)]
        parts = [tuple(values[start:end]) for start, end in zip(ends, ends[1:], strict=False)]
        result += [Group(axis, part, _name(axis, part)) for part in parts]
    return result


def _name(axis, values):
    first, last = values[0], values[-1]
    text = naming.value_text(axis, first)
    if len(values) == 1:
        return text
    return f"{text} to {last:g}" if isinstance(last, (int, float)) else f"{text} to {last}"


def spread(values: pd.Series, mean: bool = False) -> tuple[float, float, float, int] | None:
    """(median, low, high, how many) of known values, None where there is none; the geometric mean in place of the median."""
    known = np.asarray(values.dropna(), dtype=float)
    if not len(known):
        return None
    middle, low, high = map(float, np.quantile(known, [0.5, LOW, HIGH]))
    return float(np.exp(np.log(known).mean())) if mean else middle, low, high, len(known)


def note(configurations: list[Values], mean: bool = False) -> str:
    """What a reader of such a figure must know."""
    middle = "geometric mean" if mean else "median"
    return (
        f"{len(configurations):,} configurations are too many to draw one by one; the tables hold each. Dot: {middle} over "
        "the configurations of a row. Line: the middle four fifths of them."
    )


def sheet(
    title: str,
    configurations: list[Values],
    notes: Iterable[str],
    lanes: int,
    x_label: str,
    key: figures.Key,
    axes: Sequence[str] = naming.AXES,
    panels: Sequence[str] = ("",),
) -> tuple[figures.Rows, list[Group]]:
    """Rows for the groups of configurations, as figures.rows draws them; returns the sheet and the groups.

    panels: titles of panels, each with all rows and an axis of its own.
    """
    rows = groups(configurations, axes)
    names = {group: group.name for group in rows}
    constant = naming.constant_text(configurations, axes)
    heading, panel_groups = figures.Heading(title, constant, notes, key), [(text, rows) for text in panels]
    return figures.rows(heading, panel_groups, names, lanes, x_label, own_axes=len(panels) > 1), rows


def draw_spreads(
    title: str,
    configurations: list[Values],
    notes: Iterable[str],
    table: pd.DataFrame,
    column: str,
    devices: list[palette.Device],
    x_label: str,
    axes: Sequence[str] = naming.AXES,
    baseline: float | None = None,
    panels: dict[str, pd.DataFrame] | None = None,
    hollow: Collection[str] = (),
) -> Figure:
    """The figure of one positive quantity: column `column` of `table`, one lane per device, on a logarithmic axis.

    baseline: where to draw a line across, such as 1 for ratios. panels: {title: rows of `table`} that no axis may hold together,
    each with the devices that it has; None for a single panel. hollow: titles of those drawn with hollow marks.
    """
    parts = (
        [(text, part, _devices_of(part, devices)) for text, part in panels.items()]
        if panels
        else [("", table, devices)]
    )
    if not _devices_of(table.dropna(subset=column), devices):
        return figures.quiet_panel(title, "The matrix of runs shows why.")
    page, rows = sheet(
        title,
        configurations,
        [note(configurations, mean=bool(baseline)), *notes],
        max(len(shown) for *_, shown in parts),
        x_label if x_label.endswith("(logarithmic)") else f"{x_label} (logarithmic)",
        [(device.color, device.mark, device.label) for device in devices],
        axes,
        [text for text, *_ in parts],
    )
    for (panel, _), (text, part, shown) in zip(page.panels, parts, strict=True):
        _draw_panel(page, panel, rows, part, column, shown, baseline, text in hollow)
    return page.frame.figure


def _devices_of(table, devices):
    return [device for device in devices if (table["device"] == device.name).any()]


def _draw_panel(page, panel, rows, table, column, devices, baseline, hollow):
    spreads = {
        (group, device): spread(part.loc[part["device"] == device.name, column], mean=bool(baseline))
        for group in rows
        for part in [group.of(table)]
        for device in devices
    }
    measured = [values for values in spreads.values() if values]
    group_sizes = {group: max((spreads[group, device] or [0])[-1] for device in devices) for group in rows}
    panel.set_xscale("log")
    ends = [end for middle, low, high, _ in measured for end in (middle, low, high)] + ([baseline] if baseline else [])
    texts = {place: _text(values, group_sizes[place[0]], bool(baseline)) for place, values in spreads.items() if values}
    labels = [(spreads[place][2], text) for place, text in texts.items()]
    panel.set_xlim(figures.limits(ends, labels, panel, logarithmic=True))
    figures.plain_log_axis(panel)
    if baseline:
        panel.axvline(baseline, color=palette.QUIET, linewidth=1, zorder=1)
    for place, group in enumerate(rows):
        for lane, device in enumerate(devices):
            values = spreads[group, device]
            if values is None:
                figures.draw_missing(panel, page.y(place, lane), device, "nothing measured")
                continue
            figures.draw_estimate(panel, page.y(place, lane), device, *values[:3], hollow=hollow)
            figures.write_beside(panel, values[2], page.y(place, lane), texts[group, device])


def _text(values, total, is_ratio=False):
    """The middle in words; with the number of configurations behind it where another device has more, as it misleads then."""
    middle, _, _, number = values
    return (numbers.ratio if is_ratio else numbers.significant)(middle) + (
        f" ({number:,} of {total:,})" if number < total else ""
    )
