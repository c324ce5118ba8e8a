"""Figure: speed against power, one point per configuration and device, with lines of equal images per joule."""

import math
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff.energy import MEASURED
from trainoff.report import economy, figures, palette, saving
from trainoff.workflow.script import logged

HEIGHT = 3.6


def draw(rates: pd.DataFrame, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    shown = palette.devices_in(devices, rates)
    title = economy.efficiency_title(rates, shown)
    notes = economy.energy_notes(rates, shown)
    known = rates[rates["mean_watts"].notna() & rates["images_per_second"].notna()]
    if known.empty:
        return figures.quiet_panel(title, " ".join(dict.fromkeys(notes)))
    page = figures.frame(
        figures.Heading(
            title,
            naming.constant_text(naming.all_configurations(rates)),
            [
                "One point per configuration. Dashed: equal images per joule; further up and to the left is better.",
                *notes,
            ],
            [(device.color, device.mark, device.label) for device in shown],
        ),
        HEIGHT + 0.5,
    )
    axes = page.axes(0.7, 0.05, figures.WIDTH - 0.85, HEIGHT)
    axes.set_xscale("log")
    axes.set_yscale("log")
    watts, speeds = _span(known["mean_watts"]), _span(known["images_per_second"])
    axes.set_xlim(watts)
    axes.set_ylim(speeds)
    for per_joule, place in equal_lines(watts, speeds):
        axes.plot(watts, [per_joule * end for end in watts], "--", color=palette.FAINT, linewidth=0.9, zorder=1)
        bottom = place[0] > watts[0]
        axes.annotate(
            f"{per_joule:g} images/J",
            place,
            (12, 3) if bottom else (3, -4),
            textcoords="offset points",
            fontsize=figures.FONT - 1.5,
            color=palette.QUIET,
            va="bottom" if bottom else "top",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    for device in shown:
        of_device = known[known["device"] == device.name]
        for measured, part in of_device.groupby(of_device["energy_source"].isin(MEASURED)):
            axes.plot(
                part["mean_watts"],
                part["images_per_second"],
                device.mark,
                markerfacecolor=device.color if measured else "white",
                markeredgecolor="white" if measured else device.color,
                markeredgewidth=0.4 if measured else 1.2,
                markersize=6.5,
                linestyle="none",
                rasterized=len(known) > figures.MAX_VECTOR_POINTS,
                zorder=3,
            )
    axes.set_xlabel("mean power in watts (logarithmic) of the part that each device's reading covers")
    axes.set_ylabel("training images per second (log)")
    figures.plain_log_axes(axes)
    return page.figure


def equal_lines(watts: tuple[float, float], speeds: tuple[float, float]) -> list[tuple[float, tuple[float, float]]]:
    """[(images per joule, a place on its line)] of the lines through the panel, a third of a decade to a decade apart."""
    low, high = (math.log10(speeds[place] / watts[1 - place]) for place in (0, 1))
    step = 1 if high - low > 3 else 0.5 if high - low > 1.2 else 0.25
    lines = []
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        per_joule = float(f"{10 ** (number * step):.1g}")
        x = max(watts[0], speeds[0] / per_joule)
        if x < watts[1] and per_joule * x < speeds[1]:
            lines.append((per_joule, (x, per_joule * x)))
    return lines


def _span(values):
    return values.min() / 1.5, values.max() * 1.5


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))
