"""Configurations: how points of the grid are named, ordered and split over panels."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from trainoff import axes as axis_table
from trainoff.shapes import Values

AXES = axis_table.names()
READING_ORDER = axis_table.reading_order()


def configuration_of(row: Mapping[str, Any], axes: Sequence[str] = AXES) -> Values:
    """The values of `axes` in a table's row (or any mapping), as a tuple of plain Python values."""
    return tuple(_plain(row[axis]) for axis in axes)


def all_configurations(table: Any, axes: Sequence[str] = AXES) -> list[Values]:
    """Distinct configurations of a table, in reading order: all weights before the last layer, small before large."""
    distinct = {configuration_of(row, axes) for row in table[list(axes)].to_dict("records")}
    order = [axis for axis in READING_ORDER if axis in axes]
    return sorted(distinct, key=lambda values: tuple(_rank(axis, values[axes.index(axis)]) for axis in order))


def varying_axes(configurations: Collection[Values], axes: Sequence[str] = AXES) -> list[str]:
    """The axes that take more than one value, in reading order."""
    return [
        axis
        for axis in READING_ORDER
        if axis in axes and len({values[axes.index(axis)] for values in configurations}) > 1
    ]


def label(configuration: Values, shown: Iterable[str], axes: Sequence[str] = AXES) -> str:
    """Names a configuration by its values on the axes `shown`: "all weights · 96 px · batch 32"."""
    return " · ".join(filter(None, (value_text(axis, configuration[axes.index(axis)]) for axis in shown)))


def constant_text(configurations: Sequence[Values], axes: Sequence[str] = AXES) -> str:
    """What all configurations have in common, in words; "" if there is nothing."""
    if not configurations:
        return ""
    varying = varying_axes(configurations, axes)
    constant = [axis for axis in READING_ORDER if axis in axes and axis not in varying]
    return label(configurations[0], constant, axes)


def value_text(axis: str, value: Any) -> str:
    """The value of an axis in words; "" for the size of samples that are not images."""
    return axis_table.by_name(axis).text(value)


def split_over_panels(
    configurations: Sequence[Values], axes: Sequence[str] = AXES, maximum: int = 12
) -> tuple[list[tuple[str, list[Values]]], list[str]]:
    """Groups configurations into panels of at most about `maximum`; returns [(panel title, configurations)], row axes.

    One panel with an empty title if they fit. Otherwise the configurations of a panel share their values on as few axes as
    suffice, taken in reading order; the row axes are those that still vary inside the panels.
    """
    varying = varying_axes(configurations, axes)
    facets = []
    while True:
        groups = {}
        for configuration in configurations:
            groups.setdefault(tuple(configuration[axes.index(axis)] for axis in facets), []).append(configuration)
        if max(map(len, groups.values()), default=0) <= maximum or len(facets) >= len(varying) - 1:
            break
        facets.append(varying[len(facets)])
    rows = [axis for axis in varying if axis not in facets]
    titles = [label(group[0], facets, axes) for group in groups.values()]
    return list(zip(titles, groups.values(), strict=True)), rows


def row_names(
    configurations: Sequence[Values], axes: Sequence[str] = AXES
) -> tuple[list[tuple[str, list[Values]]], dict[Values, str]]:
    """Panels and row names for configurations: ([(panel title, configurations)], {configuration: name})."""
    groups, shown = split_over_panels(configurations, axes)
    return groups, {
        configuration: label(configuration, shown, axes) or "the one configuration" for configuration in configurations
    }


def _plain(value):
    return value.item() if hasattr(value, "item") else value


def _rank(axis, value):
    # All weights first: that is what most people mean by training.
    return not value if axis == "trainable" else value
