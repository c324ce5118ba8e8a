"""Figure: what a training costs on every device, owned and rented."""

import dataclasses
import itertools
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.report import economy, figures, palette, saving, summaries
from trainoff.workflow.script import logged

WAYS = ("owned", "rented")
MARKS = {"owned": "o", "rented": "D"}


def draw(costs: pd.DataFrame, assumptions: dict[str, Any], devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    shown = palette.devices_in(devices, costs)
    title = economy.cost_title(costs, shown)
    notes = economy.cost_notes(costs, shown, assumptions)
    columns = [f"{way}_per_training" for way in WAYS]
    values = costs[columns].stack().dropna()
    if values.empty:
        return figures.quiet_panel(title, " ".join(notes))
    configurations = naming.all_configurations(costs)
    label = f"{assumptions['currency']} per run"
    if summaries.too_many(configurations):
        table, lanes = by_way(costs, shown)
        return summaries.draw_spreads(title, configurations, notes, table, "cost", lanes, label)
    groups, names = naming.row_names(configurations)
    results = {(naming.configuration_of(row), row["device"]): row for row in costs.to_dict("records")}
    sheet = figures.rows(
        figures.Heading(
            title,
            naming.constant_text(configurations),
            notes,
            [
                *((device.color, "bar", device.label) for device in shown),
                (palette.INK, "o", "bought"),
                (palette.INK, "hollow", "rented"),
            ],
        ),
        groups,
        names,
        len(shown),
        label,
    )
    logarithmic = values.max() / values.min() > 12
    texts = [(value, numbers.significant(value)) for value in values]
    for axes, group in sheet.panels:
        if logarithmic:
            axes.set_xscale("log")
        axes.set_xlim(figures.limits(list(values), texts, axes, logarithmic))
        if logarithmic:
            figures.plain_log_axis(axes)
            if axes.get_xlabel():
                axes.set_xlabel(f"{label} (logarithmic)")
        for lane, device in enumerate(shown):
            for place, configuration in enumerate(group):
                _draw_cell(axes, sheet.y(place, lane), device, results.get((configuration, device.name)))
    return sheet.frame.figure


def by_way(costs: pd.DataFrame, devices: list[palette.Device]) -> tuple[pd.DataFrame, list[palette.Device]]:
    """(costs with one row per configuration, device and way, the devices owned and rented as lanes of their own)."""
    parts, lanes = [], []
    for device, way in itertools.product(devices, WAYS):
        rows = costs[costs["device"] == device.name]
        if rows[f"{way}_per_training"].notna().any():
            lane = dataclasses.replace(
                device, name=f"{device.name} {way}", label=f"{device.label} {way}", mark=MARKS[way]
            )
            lanes.append(lane)
            parts.append(rows.assign(device=lane.name, cost=rows[f"{way}_per_training"]))
    return pd.concat(parts), lanes


def _draw_cell(axes, y, device, row):
    values = {way: row[f"{way}_per_training"] for way in WAYS} if row else {}
    known = {way: value for way, value in values.items() if numbers.known(value)}
    if not known:
        figures.draw_missing(axes, y, device, "unknown" if row else "not run")
        return
    for way, value in known.items():
        figures.draw_estimate(axes, y, device, value, None, None, hollow=way == "rented", mark="o")
        figures.write_beside(axes, value, y, numbers.significant(value))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))
