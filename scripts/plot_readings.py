"""Figure: speed, power, clock and temperature over the longest run of each device, as the machine reports them."""

from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from trainoff.analyze import readings as series
from trainoff.report import figures, findings, palette, saving
from trainoff.workflow.script import logged

# {heading: columns, of which the first that a device has is shown}
PANELS = {
    "images per second": ("images_per_second",),
    "watts": ("gpu_watts", "soc_watts", "package_watts"),
    "MHz": ("gpu_mhz", "cpu_mhz"),
    "°C": ("gpu_celsius", "cpu_celsius"),
}
HEIGHT = 0.85


def draw(readings: pd.DataFrame | None, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label. readings: table; None where no run has a series."""
    runs = series.longest(readings) if readings is not None else {}
    shown = [device for device in palette.devices_in(devices, readings) if device.name in runs] if runs else []
    if not shown:
        return figures.quiet_panel(
            "No readings of the hardware",
            "No run has a series of readings beside its record; earlier versions took none.",
        )
    panels = {
        heading: known
        for heading, columns in PANELS.items()
        if (known := {device.name: column for device in shown if (column := _first_known(runs[device.name], columns))})
    }
    page = figures.frame(
        figures.Heading(
            findings.readings_title(runs, shown),
            "",
            [
                "Power, clock and temperature are of the GPU where it reports them, else of the processor. Gaps in the speed are "
                "start-up and validation."
            ],
            [(device.color, "-", device.label) for device in shown],
        ),
        (HEIGHT + 0.24) * len(panels) + 0.3,
    )
    for place, (heading, known) in enumerate(panels.items()):
        axes = page.axes(0.62, 0.2 + place * (HEIGHT + 0.24), figures.WIDTH - 0.62 - figures.EDGE, HEIGHT)
        for device in shown:
            if device.name in known:
                series_of_run = runs[device.name]
                # Dots, as an epoch may be as short as a reading.
                axes.plot(
                    series_of_run["seconds"],
                    series_of_run[known[device.name]],
                    ".-",
                    color=device.color,
                    linewidth=1.2,
                    markersize=2.5,
                )
        axes.set_title(heading, loc="left", fontsize=figures.FONT - 1, pad=3)
        axes.set_xlim(0, max(runs[device.name]["seconds"].max() for device in shown) or 1)
        if heading in ("images per second", "watts"):
            axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3))
        axes.grid(axis="y")
        axes.tick_params(length=0, labelbottom=place == len(panels) - 1)
    axes.set_xlabel("seconds of the run")
    return page.figure


def _first_known(rows, columns):
    return next((column for column in columns if rows[column].notna().any()), None)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))
