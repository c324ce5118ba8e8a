"""What the page's interactive part works with: runs and cells as short lists of numbers, and the words for them."""

import math
import statistics
from dataclasses import dataclass

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze import cells as cell_words
from trainoff.analyze import efficiency
from trainoff.report import figures

AXIS_WORDS = {
    "model": "Model",
    "trainable": "Weights trained",
    "img_dim": "Image size",
    "batch_size": "Batch size",
    "precision": "Precision",
    "xla": "XLA",
    "learning_rate": "Learning rate",
}


@dataclass(frozen=True)
class Measure:
    """Something that can be compared over runs or cells (a configuration on a device).

    runs, cells: column of the table of runs, of a table with one row per cell; None where there is none.
    low, high: columns of the cell's interval. factor: what values are multiplied with for people.
    """

    key: str
    label: str
    unit: str
    less_is_better: bool = False
    runs: str | None = None
    cells: str | None = None
    low: str | None = None
    high: str | None = None
    factor: float = 1


MEASURES = (
    Measure("speed", "Speed", "images/s", False, "images_per_second", "images_per_second", "ci_low", "ci_high"),
    Measure(
        "energy",
        "Energy",
        "J per image",
        True,
        "joules_per_image",
        "joules_per_image",
        "joules_per_image_low",
        "joules_per_image_high",
    ),
    Measure("energy_above_idle", "Energy above idle", "J per image", True, "joules_per_image_above_idle"),
    *(
        Measure(
            kind,
            f"Cost, {kind}",
            "{currency} per 1,000 images",
            True,
            None,
            f"{kind}_per_1000_images",
            f"{kind}_per_1000_images_low",
            f"{kind}_per_1000_images_high",
        )
        for kind in ("rented", "owned")
    ),
    Measure("time", "Time to accuracy", "s", True, None, "seconds_to_accuracy"),
    Measure("accuracy", "Validation accuracy", "%", False, "final_val_accuracy", factor=100),
    Measure("start", "Cold start", "s", True, "cold_start_seconds"),
)


def view(runs, rates, devices, costs=None):
    """Plain values for the page's script: devices, axes, measures, cells and runs, these by their places in lists.

    runs: in the order of the table on the page. rates: one row per cell. costs: one row per cell, or None.
    """
    runs = runs.assign(cold_start_seconds=_cold_start(runs))
    configurations = naming.all_configurations(runs)
    varying = naming.varying_axes(configurations)
    values = {axis: _values(configurations, axis) for axis in varying}
    place = {device.name: number for number, device in enumerate(devices)}
    tables = _with_costs(rates, costs)
    measures = [measure for measure in MEASURES if _there(measure, runs, tables)]
    words = cell_words.cells(runs, rates)
    run_places = {}
    for number, row in enumerate(runs.to_dict("records")):
        run_places.setdefault((naming.configuration_of(row), row["device"]), []).append(number)
    # A failed run's speed is no part of its cell.
    good = (runs["status"] == "ok").to_numpy()
    columns = {
        measure.runs: pd.to_numeric(runs[measure.runs]).where(good).tolist()
        for measure in measures
        if measure.runs in runs
    }
    order = {configuration: number for number, configuration in enumerate(configurations)}
    rows = {(naming.configuration_of(row), row["device"]): row for row in tables.to_dict("records")}

    def axes_of(configuration):
        return [values[axis].index(configuration[naming.AXES.index(axis)]) for axis in varying]

    return {
        # A device keeps its colour and mark when others are missing, so they are told by its place in the experiment.
        "devices": [
            {"name": device.label, "colour": figures.COLOURS.index(device.colour), "mark": device.mark}
            for device in devices
        ],
        "axes": [
            {"label": AXIS_WORDS.get(axis, axis), "values": [naming.value_text(axis, value) for value in values[axis]]}
            for axis in varying
        ],
        "configurations": [
            {"name": naming.label(one, varying) or "the one configuration", "at": axes_of(one)}
            for one in configurations
        ],
        "measures": [_described(measure, costs) for measure in measures],
        "cells": [
            {
                "d": place[device],
                "c": order[configuration],
                "v": [_cell_value(measure, rows.get(key, {}), columns, run_places[key]) for measure in measures],
                "r": run_places[key],
                "note": _note(words[key]),
                "about": _about_energy(rows.get(key, {})),
            }
            for key in sorted(run_places, key=lambda key: (order[key[0]], place[key[1]]))
            for configuration, device in [key]
        ],
        "runs": [
            {
                "d": place[row["device"]],
                "c": order[naming.configuration_of(row)],
                "n": row["replicate"],
                "v": [_number(row.get(measure.runs), measure) if measure.runs else None for measure in measures],
                "s": cell_words.status_text(row["status"], row["signal"]),
            }
            for row in runs.to_dict("records")
        ],
    }


def _cold_start(runs):
    parts = ["import_seconds", "build_seconds", "first_step_seconds"]
    return runs[parts].apply(pd.to_numeric).sum(axis=1, skipna=False)


def _values(configurations, axis):
    """The values of an axis, ascending; all weights before the last layer."""
    found = {one[naming.AXES.index(axis)] for one in configurations}
    return sorted(found, reverse=axis == "trainable")


def _with_costs(rates, costs):
    if costs is None or costs.empty:
        return rates
    keys = [*naming.AXES, "device"]
    new = [column for column in costs.columns if column not in rates.columns]
    return rates.merge(costs[keys + new], on=keys, how="left")


def _there(measure, runs, cells):
    """Whether any value of a measure is known."""
    columns = [(runs, measure.runs), (cells, measure.cells)]
    return any(name in table and table[name].notna().any() for table, name in columns if name)


def _described(measure, costs):
    currency = "money"
    if costs is not None and "currency" in costs:
        currency = numbers.listing(sorted(map(str, costs["currency"].dropna().unique()))) or currency
    return {
        "key": measure.key,
        "label": measure.label,
        "unit": measure.unit.format(currency=currency),
        "less": measure.less_is_better,
        "energy": measure.key.startswith("energy"),
        "runs": measure.runs is not None,
    }


def _cell_value(measure, row, columns, places):
    """[value, low, high] of a cell; null for what is unknown. Without a figure of the cell, the median of its runs."""
    if measure.cells and numbers.known(row.get(measure.cells)):
        return [_number(row.get(name), measure) for name in (measure.cells, measure.low, measure.high)]
    own = [columns[measure.runs][place] for place in places] if measure.runs in columns else []
    own = [value for value in own if numbers.known(value)]
    return [_number(statistics.median(own), measure) if own else None, None, None]


def _number(value, measure):
    """Six digits of a value, in the measure's unit."""
    if not numbers.known(value) or not math.isfinite(value):
        return None
    return float(f"{value * measure.factor:.6g}")


def _about_energy(row):
    """Which part of the machine a figure of energy is about, and who says so; "" where there is none."""
    scope, source = row.get("energy_scope"), row.get("energy_source")
    if not numbers.known(scope) or not numbers.known(source):
        return ""
    return f"{efficiency.SCOPE_WORDS.get(scope, scope)}, {efficiency.SOURCE_WORDS.get(source, source)}"


def _note(cell):
    """What must be said beside a cell's values."""
    if not numbers.known(cell["images_per_second"]):
        return cell["failure"]
    notes = [cell["failures"], "unstable" if cell["unstable"] else "", "busy" if cell["busy"] else ""]
    notes += ["does not train the same as the reference" if cell["departs"] else ""]
    return "; ".join(filter(None, notes))
