"""Figure: validation accuracy against the seconds, joules and money that it took so far, on every device."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers, records
from trainoff.analyze import comparable, cost
from trainoff.analyze.parity import Standing
from trainoff.report import economy, figures, findings, palette, saving
from trainoff.shapes import Values
from trainoff.workflow.script import logged

HEIGHT = 2.2
# {(configuration, device): {what: its values by epoch}}.
Curves = dict[tuple[Values, str], dict[str, list[float] | None]]


def draw(
    runs: pd.DataFrame,
    windows: pd.DataFrame,
    energy_windows: pd.DataFrame,
    rates: pd.DataFrame,
    comparison: pd.DataFrame,
    assumptions: dict[str, Any],
    devices: list[dict[str, Any]],
    parity: pd.DataFrame | None = None,
) -> Figure:
    """The figure, of the configuration with most work among those that most devices trained to the end.

    parity: the table of that name, None where none was needed.
    """
    mismatched = Standing(parity).mismatched()
    shown = palette.devices_in(devices, runs)
    by_place = curves(runs, windows, energy_windows, assumptions)
    configuration = most_work(runs, by_place)
    if configuration is None:
        return figures.quiet_panel("No run reached an accuracy", "The matrix of runs shows why.")
    by_device = {
        device.name: by_place[configuration, device.name]
        for device in shown
        if (configuration, device.name) in by_place
    }
    alike = [name for name in by_device if name not in mismatched]
    compared = comparable.largest_group(alike, comparable.apart(comparison), configuration)
    other_work = [name for name in alike if name not in compared]
    of_configuration = [naming.configuration_of(row) == configuration for row in rates.to_dict("records")]
    metered = [device for device in shown if by_device.get(device.name, {}).get("joules") is not None]
    rates = rates[of_configuration]
    scopes = {scope for *_, scope, _ in economy.energy_by_device(rates, metered)}
    joules = "joules, not comparable" if len(scopes) > 1 else "joules"
    panels = [("seconds", "seconds"), ("joules", joules), ("money", assumptions["currency"])]
    panels = [(what, unit) for what, unit in panels if any(curve[what] is not None for curve in by_device.values())]
    columns = 1 if figures.is_narrow() else max(2, len(panels))
    body = (HEIGHT + 0.5) * (len(panels) if columns == 1 else 1)
    page = figures.frame(
        figures.Heading(
            findings.to_accuracy_title(by_device, shown, [*mismatched, *other_work]),
            naming.label(configuration, naming.READING_ORDER),
            [
                *findings.to_accuracy_notes(runs, by_device, shown, mismatched, other_work),
                *economy.energy_parts(rates, metered),
            ],
            [(device.color, device.mark, device.label) for device in shown if device.name in by_device],
        ),
        body,
    )
    left = 0.55
    width = (figures.WIDTH - left - figures.EDGE - 0.25 * (columns - 1)) / columns
    for number, (what, unit) in enumerate(panels):
        row, column = divmod(number, columns)
        axes = page.axes(left + column * (width + 0.25), row * (HEIGHT + 0.5) + 0.05, width, HEIGHT)
        values = [value for curve in by_device.values() if curve[what] is not None for value in curve[what]]
        for device in shown:
            curve = by_device.get(device.name)
            if curve is not None and curve[what] is not None:
                axes.plot(
                    curve[what],
                    [100 * value for value in curve["accuracy"]],
                    color=device.color,
                    marker=device.mark,
                    markersize=4.5,
                    markeredgewidth=0,
                    linewidth=1.5,
                )
        logarithmic = max(values) / min(values) > 12
        if logarithmic:
            axes.set_xscale("log")
            axes.set_xlim(min(values) / 1.15, max(values) * 1.15)
            figures.plain_log_axis(axes)
        else:
            axes.set_xlim(0, max(values) * 1.05)
            axes.xaxis.set_major_locator(figures.matplotlib.ticker.MaxNLocator(4))
        axes.set_ylim(0, 100)
        axes.set_xlabel(f"{unit} (logarithmic)" if logarithmic else unit)
        if column == 0:
            axes.set_ylabel("validation accuracy in %")
        else:
            axes.set_yticklabels([])
        axes.tick_params(length=0)
        axes.grid(axis="both", zorder=0)
        axes.set_axisbelow(True)
    return page.figure


def curves(
    runs: pd.DataFrame, windows: pd.DataFrame, energy_windows: pd.DataFrame, assumptions: dict[str, Any]
) -> Curves:
    """{(configuration, device): {"accuracy", "seconds", "joules", "money": values by epoch, None where unknown}}.

    Medians over the runs that ended well. Seconds begin with the cold start; money is rent where there is a rental price and
    no purchase price, else the wear of what was bought and its electricity.
    """
    joules = {}
    for row in energy_windows.to_dict("records"):
        joules.setdefault(tuple(row[key] for key in records.RUN_KEYS), {})[row["epoch"]] = row["energy_joules"]
    epochs = {}
    for row in windows.to_dict("records"):
        epochs.setdefault(tuple(row[key] for key in records.RUN_KEYS), []).append(row)
    collected = {}
    for run in runs[runs["status"] == "ok"].to_dict("records"):
        key = tuple(run[name] for name in records.RUN_KEYS)
        rows = sorted(epochs.get(key, []), key=lambda row: row["epoch"])
        accuracy = [row["val_accuracy"] for row in rows]
        start = sum(run[part] for part in records.COLD_START)
        if not rows or not all(map(numbers.known, [*accuracy, start])):
            continue
        drawn = [joules.get(key, {}).get(row["epoch"]) for row in rows]
        curve = {
            "accuracy": accuracy,
            "seconds": [start + value for value in itertools.accumulate(row["seconds"] for row in rows)],
            "joules": list(itertools.accumulate(drawn)) if all(map(numbers.known, drawn)) else None,
        }
        collected.setdefault((naming.configuration_of(run), run["device"]), []).append(curve)
    return {place: _middle(run_curves, place[1], assumptions) for place, run_curves in collected.items()}


def _middle(run_curves, device, assumptions):
    length = min(len(curve["accuracy"]) for curve in run_curves)
    result = {}
    for name in ("accuracy", "seconds", "joules"):
        known = [curve[name][:length] for curve in run_curves if curve[name] is not None]
        result[name] = np.median(known, axis=0).tolist() if known else None
    prices = assumptions["devices"].get(device) or {"purchase": None, "rental": None}
    per_kwh = (assumptions["electricity"] or {}).get("per_kwh")
    if prices["purchase"] is None:
        money = [cost.rented(seconds, prices["rental"]) for seconds in result["seconds"]]
    else:
        drawn = result["joules"] or [None] * length
        money = [cost.owned(*pair, prices["purchase"], per_kwh) for pair in zip(result["seconds"], drawn, strict=True)]
    result["money"] = None if None in money else money
    return result


def most_work(runs: pd.DataFrame, by_place: Curves) -> Values | None:
    """The configuration of `curves` on most devices and, among these, with most work; None where there is none."""
    sizes = runs.groupby(list(naming.AXES))["flops_per_image"].max() if "flops_per_image" in runs else {}
    numbers_of = {}
    for configuration, _ in by_place:
        numbers_of[configuration] = numbers_of.get(configuration, 0) + 1

    def rank(configuration):
        axes = dict(zip(naming.AXES, configuration, strict=True))
        size = sizes.get(configuration, 0) if len(sizes) else 0
        return numbers_of[configuration], axes["trainable"], size if numbers.known(size) else 0, axes["img_dim"]

    return max(numbers_of, key=rank) if numbers_of else None


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))
