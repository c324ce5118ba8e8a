"""The verdict as a picture to share, 1200 × 630 pixels, and the entry of this report in a gallery."""

import json
import textwrap
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from trainoff import configurations as naming
from trainoff.energy import MEASURED
from trainoff.files import whole, write_text
from trainoff.report import page, palette, saving
from trainoff.report.study import Study, read
from trainoff.workflow.script import logged

WIDTH, HEIGHT, DPI = 12.0, 6.3, 100


def main(results: Study, picture: str | Path, entry: str | Path) -> None:
    """Writes the files `picture` (PNG) and `entry` (JSON). results: trainoff.report.study.Study."""
    answer = page.answer(results)
    saving.use_style()
    with whole(picture) as temporary:
        drawn = draw(results.title, answer)
        drawn.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    plt.close(drawn)
    write_text(entry, json.dumps(summary(results, answer), indent=1, ensure_ascii=False) + "\n")


def draw(title: str, answer: dict[str, Any]) -> plt.Figure:
    """The picture: the title, a tile for each of speed, energy and money, and how much was measured."""
    figure = plt.figure(figsize=(WIDTH, HEIGHT))
    _write(figure, 0.05, 0.93, title, 26, 60, weight="bold", lines=2)
    _write(figure, 0.05, 0.74, answer["question"], 20, 75, lines=1)
    for place, tile in enumerate(answer["tiles"]):
        left, width = 0.05 + place * 0.305, 0.29
        color = answer["by_name"][tile["winner"]].color if tile["winner"] else palette.FAINT
        axes = figure.add_axes((left, 0.16, width, 0.5))
        axes.set(xticks=[], yticks=[], facecolor="white")
        for side in axes.spines.values():
            side.set_color(palette.FAINT)
        axes.axhline(1, color=color, linewidth=12, clip_on=True)
        _write(axes, 0.06, 0.9, f"{tile['heading']}, {tile['kind']}", 13, 34, color=palette.QUIET, lines=1)
        size = 44 if len(tile["value"]) <= 7 else 26
        ink = palette.INK if tile["settled"] else palette.QUIET
        _write(axes, 0.06, 0.78, tile["value"], size, 22, weight="bold", color=ink, lines=1)
        _write(axes, 0.06, 0.45, tile["claim"], 16, 23, weight="bold", lines=2)
        _write(axes, 0.06, 0.25, "; ".join(tile["details"][:2]), 12, 36, color=palette.QUIET, lines=4)
    _write(figure, 0.05, 0.09, f"{answer['summary']} · trainoff", 13, 120, color=palette.QUIET, lines=1)
    return figure


def _write(place, x, y, text, size, width, lines, color=palette.INK, weight="normal"):
    """Text from its upper left corner, cut to so many lines."""
    wrapped = textwrap.wrap(palette.clean(text), width) or [""]
    if len(wrapped) > lines:
        wrapped = [*wrapped[: lines - 1], f"{wrapped[lines - 1][: width - 1]}…"]
    look = {"transform": place.transAxes} if hasattr(place, "transAxes") else {}
    place.text(x, y, "\n".join(wrapped), fontsize=size, va="top", ha="left", color=color, fontweight=weight, **look)


def summary(study: Study, answer: dict[str, Any]) -> dict[str, Any]:
    """What a gallery lists of this report: verdicts, and each device's fastest configuration of every model."""
    runs, rates = study.frames["runs"], study.frames["rates"].dropna(subset="images_per_second")
    varying = [axis for axis in naming.READING_ORDER if axis != "model"]
    results = []
    for device in answer["ranked"]:
        device_runs = runs[runs["device"] == device.name]
        chips = sorted({str(name) for name in device_runs["device_name"].dropna()}) or [device.label]
        for model, group in rates[rates["device"] == device.name].groupby("model"):
            best = group.loc[group["images_per_second"].idxmax()].to_dict()
            measured = best["energy_source"] in MEASURED
            results.append(
                {
                    "device": device.label,
                    "chip": ", ".join(chips),
                    "framework": ", ".join(sorted({str(name) for name in device_runs["backend"].dropna()})),
                    "model": model,
                    "images_per_second": float(best["images_per_second"]),
                    "joules_per_image": float(best["joules_per_image"]) if measured else None,
                    "settings": naming.label(naming.configuration_of(best), varying),
                }
            )
    return {
        "title": study.title,
        "summary": answer["summary"],
        "verdicts": [tile["sentence"] for tile in answer["tiles"]],
        "results": results,
    }


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        results = read(
            {name: snakemake.input.get(name) for name in snakemake.params.tables},
            title=snakemake.params.title,
            devices=snakemake.params.devices,
            assumptions=snakemake.params.assumptions,
            pair=snakemake.params.pair,
        )
        main(results, snakemake.output.picture, snakemake.output.entry)
