"""Figure: speed of each device relative to the first, per configuration and over all, with verdicts."""

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.report import figures, findings, summaries
from trainoff.workflow.script import logged

# Stands among the configurations as the row of their geometric mean.
MEAN = "geometric mean"


def main(rates, comparison, overall, devices, svg, png):
    """Draws the tables at the paths `rates`, `comparison` and `overall` (parquet) into `svg` and `png`."""
    figures.use_style()
    tables = [pd.read_parquet(path) for path in (rates, comparison, overall)]
    figures.save(draw(*tables, devices), svg, png)


def draw(rates, comparison, overall, devices):
    """The figure; `devices` are dicts with name and label, the first of them is the baseline."""
    shown = figures.devices_in(devices, rates)
    if len(shown) < 2:
        return figures.quiet_panel(
            "One device gives no ratio",
            "Measure a second device, here or on another machine, and this figure shows how their speeds compare.",
        )
    baseline, others = shown[0], shown[1:]
    comparison = findings.against_first(comparison, shown)
    configurations = naming.all_configurations(comparison)
    if summaries.too_many(configurations):
        return summaries.draw_spreads(
            findings.ratio_title(overall, shown),
            configurations,
            findings.ratio_notes(comparison)[1:],
            comparison,
            "ratio",
            others,
            f"speed ÷ speed of {figures.shorten(baseline.label, 24)}",
            baseline=1.0,
        )
    configurations = _sorted(comparison)
    varying = naming.varying_axes(configurations)
    names = {one: naming.label(one, varying) or "the one configuration" for one in configurations} | {MEAN: MEAN}
    found = {(naming.configuration_of(row), row["device"]): row for row in comparison.to_dict("records")}
    means = findings.against_first(overall[overall["subset"] == "all"], shown)
    found |= {(MEAN, row["device"]): row for row in means.to_dict("records")}
    title = findings.ratio_title(overall, shown)
    sheet = figures.rows(
        title,
        naming.constant_text(configurations),
        findings.ratio_notes(comparison),
        [("" if len(others) == 1 else device.label, [*configurations, MEAN]) for device in others],
        names,
        1,
        f"speed ÷ speed of {figures.shorten(baseline.label, 24)} (logarithmic)"
        if len(others) == 1
        else f"× speed of {figures.shorten(baseline.label, 12)} (log)",
        key=[
            (figures.INK, "o", "significant"),
            (figures.INK, "hollow", "no significant difference"),
            (figures.INK, "D", "geometric mean"),
        ],
        columns=1 if len(others) == 1 else 2 if len(others) < 5 else 3,
        tight=len(configurations) > 24,
    )
    alone = len(others) == 1
    ends = [row[key] for row in found.values() for key in ("ratio", "ci_low", "ci_high") if numbers.known(row[key])]
    texts = [(_right(row), _text(row, alone)) for row in found.values() if numbers.known(row["ratio"])]
    labels = {device.name: device.label for device in shown}
    for (axes, group), device in zip(sheet.panels, others, strict=True):
        axes.set_xscale("log")
        axes.set_xlim(figures.limits([0.95, 1.05, *ends], texts, axes, logarithmic=True))
        figures.plain_log_axis(axes)
        axes.axvline(1, color=figures.QUIET, linewidth=1, zorder=1)
        axes.axhline(sheet.row * (len(group) - 1), color=figures.QUIET, linewidth=0.6)
        for place, configuration in enumerate(group):
            row = found.get((configuration, device.name))
            _draw_ratio(axes, sheet.y(place), device, row, labels, alone)
    return sheet.frame.figure


def _sorted(comparison):
    """Configurations by their ratio, highest first (median where there are several devices), unknown last."""
    middle = {
        configuration: comparison["ratio"].iloc[places].median()
        for configuration, places in _places(comparison).items()
    }
    return sorted(
        naming.all_configurations(comparison), key=lambda one: -middle[one] if numbers.known(middle[one]) else 1
    )


def _places(table):
    places = {}
    for number, row in enumerate(table[list(naming.AXES)].to_dict("records")):
        places.setdefault(naming.configuration_of(row), []).append(number)
    return places


def _draw_ratio(axes, y, device, row, labels, alone):
    if row is None or not numbers.known(row["ratio"]):
        reason = findings.plain_reason(row["reason"], labels) if alone and row else ""
        figures.draw_missing(axes, y, None, reason or "not comparable")
        return
    mean = "subset" in row
    hollow = not mean and row["verdict"] not in ("faster", "slower")
    mark = "D" if mean else "o"
    figures.draw_estimate(axes, y, device, row["ratio"], row["ci_low"], row["ci_high"], hollow, mark, strong=mean)
    figures.write_beside(axes, _right(row), y, _text(row, alone))


def _right(row):
    return row["ci_high"] if numbers.known(row["ci_high"]) else row["ratio"]


def _text(row, with_interval):
    """What stands beside a ratio; the row of a mean says how many configurations are behind it."""
    text = numbers.ratio(row["ratio"])
    if with_interval and numbers.known(row["ci_low"]):
        text += f" ({numbers.ratio_interval(row['ci_low'], row['ci_high'])})"
    if "subset" in row:
        return f"{text}, {row['configurations_compared']} of {row['configurations_total']}"
    return f"{text} unstable" if row["unstable"] else text


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.rates,
            snakemake.input.comparison,
            snakemake.input.overall,
            snakemake.params.devices,
            snakemake.output.svg,
            snakemake.output.png,
        )
