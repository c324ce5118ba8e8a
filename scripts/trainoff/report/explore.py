"""What the page's interactive part works with: runs and cells as short lists of numbers, and the words for them."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from trainoff import axes, numbers, records
from trainoff import configurations as naming
from trainoff.analyze import cells as cell_words
from trainoff.analyze import efficiency
from trainoff.report import palette, rows

AXIS_WORDS = axes.titles()


@dataclass(frozen=True)
class Measure:
    """Something that can be compared over runs or results (a configuration on a device).

    runs: columns of the table of runs whose sum it is, None where there is none. table, results, low, high: a table with one
    row per result, its column and those of its interval. factor: what values are multiplied with for people. interval: what the
    latter is called.
    """

    key: str
    label: str
    unit: str
    less_is_better: bool = False
    runs: tuple[str, ...] | None = None
    results: str | None = None
    low: str | None = None
    high: str | None = None
    table: str = "rates"
    factor: float = 1
    interval: str = "95% interval"


MEASURES = (
    Measure("speed", "Speed", "images/s", False, ("images_per_second",), "images_per_second", "ci_low", "ci_high"),
    Measure(
        "energy",
        "Energy",
        "J per image",
        True,
        ("joules_per_image",),
        "joules_per_image",
        "joules_per_image_low",
        "joules_per_image_high",
    ),
    Measure("energy_above_idle", "Energy above idle", "J per image", True, ("joules_per_image_above_idle",)),
    *(
        Measure(
            f"cost_{kind}",
            f"Cost, {word}",
            "{currency} per 1,000 images",
            True,
            None,
            f"{kind}_per_1000_images",
            f"{kind}_per_1000_images_low",
            f"{kind}_per_1000_images_high",
            "costs",
            interval=interval,
        )
        # Both ends of speed and energy make a wider range.
        for kind, word, interval in (("rented", "rented", "95% interval"), ("owned", "bought", "range"))
    ),
    Measure("time", "Time to accuracy", "s", True, None, "seconds_to_accuracy", table="costs"),
    Measure("accuracy", "Validation accuracy", "%", False, ("final_val_accuracy",), factor=100),
    Measure("memory", "Peak memory", "GiB", True, ("peak_memory_bytes",), factor=2**-30),
    Measure("device_memory", "Peak memory on the device", "GiB", True, ("peak_device_memory_bytes",), factor=2**-30),
    Measure("start", "Cold start", "s", True, records.COLD_START),
)


def view(
    runs: pd.DataFrame, rates: pd.DataFrame, devices: list[palette.Device], costs: pd.DataFrame | None = None
) -> dict[str, Any]:
    """What the page's script needs beside the carried tables: devices, axes, measures, and places in lists of words.

    runs, rates: as they are carried. costs: one row per row of `rates`, or None. Values themselves are not repeated: a measure
    names its columns.
    """
    configurations = naming.all_configurations(runs)
    varying = naming.varying_axes(configurations)
    values = {axis: _values(configurations, axis) for axis in varying}
    device_places = {device.name: number for number, device in enumerate(devices)}
    order = {configuration: number for number, configuration in enumerate(configurations)}
    words = cell_words.cells(runs, rates)
    keys = [(naming.configuration_of(row), row["device"]) for row in rates.to_dict("records")]
    measured = [place for place, key in enumerate(keys) if key in words]
    measured.sort(key=lambda place: (order[keys[place][0]], device_places[keys[place][1]]))
    abouts = [_about_energy(row) for row in rates.to_dict("records")]
    notes = [_note(words[keys[place]]) for place in measured]
    statuses = [cell_words.status_text(*pair) for pair in zip(runs["status"], runs["signal"], strict=True)]
    run_keys = [naming.configuration_of(row) for row in runs[list(naming.AXES)].to_dict("records")]
    note_list, note_places = _indexed(notes)
    about_list, about_places = _indexed([abouts[place] for place in measured])
    status_list, status_places = _indexed(statuses)
    run_rows = runs.to_dict("records")
    flag_list, flag_places = _indexed([tuple(rows.run_flags(run)) for run in run_rows])

    def axes_of(configuration):
        return [values[axis].index(configuration[naming.AXES.index(axis)]) for axis in varying]

    return {
        "devices": [
            {"name": device.label, "color": palette.COLORS.index(device.color), "mark": device.mark}
            for device in devices
        ],
        "axes": [
            {"label": AXIS_WORDS.get(axis, axis), "values": [naming.value_text(axis, value) for value in values[axis]]}
            for axis in varying
        ],
        "configurations": [
            {"name": naming.label(configuration, varying) or "the one configuration", "at": axes_of(configuration)}
            for configuration in configurations
        ],
        "measures": [_described(measure, costs) for measure in MEASURES if _there(measure, runs, rates, costs)],
        "results": {
            "d": [device_places[keys[place][1]] for place in measured],
            "c": [order[keys[place][0]] for place in measured],
            "row": measured,
            "note": note_places,
            "about": about_places,
        },
        "runs": {
            "d": [device_places[name] for name in runs["device"]],
            "c": [order[key] for key in run_keys],
            "s": status_places,
            "f": flag_places,
            # Only where they are more than the number of the run.
            "name": [rows.run_name(run) for run in run_rows] if rows.origin_rows(runs) else None,
        },
        "notes": note_list,
        "abouts": about_list,
        "statuses": status_list,
        "flags": flag_list,
    }


def _indexed(values):
    """(distinct values, the place of each value in them)."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return list(places), [places[value] for value in values]


def beside(rates: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """The rows of `costs` in the order of `rates`, with null where there is none."""
    keys = [*naming.AXES, "device"]
    return rates[keys].merge(costs, on=keys, how="left")


def _values(configurations, axis):
    """The values of an axis, ascending; all weights before the last layer."""
    values = {configuration[naming.AXES.index(axis)] for configuration in configurations}
    return sorted(values, reverse=axis == "trainable")


def _there(measure, runs, rates, costs):
    """Whether any value of a measure is known."""
    if measure.runs and all(runs[name].notna().any() for name in measure.runs):
        return True
    return any(
        table is not None and measure.results in table and table[measure.results].notna().any()
        for table in (rates, costs)
    )


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
        "runs": measure.runs,
        "results": measure.results and {"table": measure.table, "names": [measure.results, measure.low, measure.high]},
        "factor": measure.factor,
        "interval": measure.interval,
    }


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
    return "; ".join([*cell["flags"], *filter(None, [cell["failures"]])])
