"""Figure: speed of each device relative to the baseline, per configuration and over all, with verdicts."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze import pairs
from trainoff.report import figures, findings, palette, reasons, saving, summaries
from trainoff.workflow.script import logged

# Stands among the configurations as the row of their geometric mean.
MEAN = "geometric mean"
# Rows of means: {their subset of the table `overall`: name}.
MEANS = {"all": MEAN}
MEANS_OF_PARTS = dict(zip(pairs.PARTS, (f"{MEAN}, all weights", f"{MEAN}, last layer"), strict=True))


def draw(
    rates: pd.DataFrame,
    comparison: pd.DataFrame,
    overall: pd.DataFrame,
    devices: list[dict[str, Any]],
    pair: dict[str, Any],
) -> Figure:
    """The figure; `devices` are dicts with name, label, backend, accelerator. pair: {"compare", "baseline"} of the experiment."""
    shown = palette.devices_in(devices, rates)
    if len(shown) < 2:
        return figures.quiet_panel(
            "One device gives no ratio",
            "Measure a second device, here or on another machine, and this figure shows how their speeds compare.",
        )
    chosen, ranked = figures.asked(shown, rates, pair)
    others = [device for device in ranked if device.name != chosen.baseline]
    baseline = next(device for device in ranked if device.name == chosen.baseline)
    comparison = pairs.against(comparison, baseline.name)
    title = findings.ratio_title(overall, baseline, others)
    seen = [pairs.speed_of(overall, pairs.Pair(device.name, baseline.name)) for device in others]
    # No mean over both describes either, as the title says.
    means = MEANS_OF_PARTS if any(verdict.parts for verdict in seen) else MEANS
    overall = pairs.against(overall[overall["subset"].isin(means)], baseline.name)
    configurations = naming.all_configurations(comparison)
    x_label = f"speed relative to {baseline.label} (logarithmic)"
    if summaries.too_many(configurations):
        return summaries.draw_spreads(
            title,
            configurations,
            findings.ratio_notes(comparison, overall)[1:],
            comparison,
            "ratio",
            others,
            x_label,
            baseline=1.0,
        )
    configurations = _sorted(comparison)
    varying = naming.varying_axes(configurations)
    names = {
        configuration: naming.label(configuration, varying) or "the one configuration"
        for configuration in configurations
    } | {name: name for name in means.values()}
    results = {(naming.configuration_of(row), row["device"]): row for row in comparison.to_dict("records")}
    results |= {(means[row["subset"]], row["device"]): row for row in overall.to_dict("records")}
    alone = len(others) == 1
    texts = [_text(row, alone) for row in results.values() if numbers.known(row["ratio"])]
    sheet = figures.rows(
        figures.Heading(
            title,
            naming.constant_text(configurations),
            findings.ratio_notes(comparison, overall),
            [(palette.INK, "o", "decided"), (palette.INK, "hollow", "undecided"), (palette.INK, "D", MEAN)],
        ),
        [("" if alone else device.label, [*configurations, *means.values()]) for device in others],
        names,
        1,
        x_label,
        columns=1 if alone else 2,
        tight=len(configurations) > 24,
        values=texts,
    )
    ends = [row[key] for row in results.values() for key in ("ratio", "ci_low", "ci_high") if numbers.known(row[key])]
    labels = {device.name: device.label for device in shown}
    for (axes, group), device in zip(sheet.panels, others, strict=True):
        axes.set_xscale("log")
        axes.set_xlim(figures.limits([0.95, 1.05, *ends], [], axes, logarithmic=True))
        figures.plain_log_axis(axes)
        axes.axvline(1, color=palette.QUIET, linewidth=1, zorder=1)
        axes.axhline(sheet.row * (len(group) - len(means)), color=palette.QUIET, linewidth=0.6)
        for place, configuration in enumerate(group):
            row = results.get((configuration, device.name))
            _draw_ratio(axes, sheet, sheet.y(place, 0), device, row, labels, alone)
    return sheet.frame.figure


def _sorted(comparison):
    """Configurations by their ratio, highest first (median where there are several devices), unknown last."""
    middle = {
        configuration: comparison["ratio"].iloc[places].median()
        for configuration, places in _places(comparison).items()
    }
    return sorted(
        naming.all_configurations(comparison),
        key=lambda configuration: -middle[configuration] if numbers.known(middle[configuration]) else 1,
    )


def _places(table):
    places = {}
    for number, row in enumerate(table[list(naming.AXES)].to_dict("records")):
        places.setdefault(naming.configuration_of(row), []).append(number)
    return places


def _draw_ratio(axes, sheet, y, device, row, labels, alone):
    if row is None or not numbers.known(row["ratio"]):
        reason = reasons.text(row["reason"], labels) if alone and row else ""
        figures.draw_missing(axes, y, None, reason or "not comparable")
        return
    mean = "subset" in row
    hollow = not mean and row["verdict"] not in ("faster", "slower", "equivalent")
    mark = "D" if mean else "o"
    figures.draw_estimate(axes, y, device, row["ratio"], row["ci_low"], row["ci_high"], hollow, mark, strong=mean)
    sheet.write(axes, y, _text(row, alone))


def _text(row, with_interval):
    """The text beside a ratio; the row of a mean says how many configurations are behind it."""
    text = numbers.ratio(row["ratio"])
    if with_interval and numbers.known(row["ci_low"]):
        text += f" ({numbers.ratio_interval(row['ci_low'], row['ci_high'])})"
    if "subset" in row:
        return text
    flags = [name for name in ("unstable", "busy") if row[name] or False]
    flags += ["mismatch"] if row["parity"] == "mismatch" else []
    return " ".join([text, *flags])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))
