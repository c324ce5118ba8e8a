"""The files of a figure: bare pictures, wide and narrow, and the facts that the page says in its own type."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.text
import pandas as pd
from matplotlib.figure import Figure

from trainoff import units
from trainoff.files import whole, write_text
from trainoff.report import figures
from trainoff.report.palette import FAINT, FONTS, GRID, INK, QUIET

FONT = figures.FONT


def figure(
    draw: Callable[..., Figure],
    inputs: Mapping[str, str | Path | list[str]],
    options: dict[str, Any],
    outputs: Mapping[str, str | Path],
) -> None:
    """Draws a figure: `draw` with the tables at `inputs` and the `options` by name, into `outputs`.

    inputs: {name: path, or [] for a table that the experiment has no use for}. outputs: paths of the
    svg, the narrow svg, the png and the facts. draw: returns a figure whose `facts` are {"title", "subtitle", "notes"}.
    """
    use_style()
    tables = {name: _read(path) for name, path in inputs.items()}
    drawn = _reworded(draw(**tables, **options), tables)
    write_text(outputs["facts"], json.dumps(drawn.facts, indent=1, ensure_ascii=False) + "\n")
    with whole(outputs["png"]) as temporary:
        drawn.savefig(temporary, format="png", dpi=160, metadata={"Software": None})
    _save_svg(drawn, outputs["svg"])
    if "narrow" in outputs:
        with figures.narrow():
            _save_svg(_reworded(draw(**tables, **options), tables), outputs["narrow"])


def _reworded(drawn, tables):
    """The figure with its words about images or samples, whichever the tables are of."""
    sizes = {
        size for table in tables.values() if "img_dim" in getattr(table, "columns", ()) for size in table["img_dim"]
    }
    for text in drawn.findobj(matplotlib.text.Text):
        text.set_text(units.worded(text.get_text(), sizes))
    drawn.facts = _each(drawn.facts, lambda text: units.worded(text, sizes))
    return drawn


def _each(value, function):
    """`value` with every text in its lists and mappings replaced by function(text)."""
    if isinstance(value, dict):
        return {key: _each(part, function) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_each(part, function) for part in value]
    return function(value) if isinstance(value, str) else value


def _read(path):
    """A table; the path itself of a file that is none."""
    return pd.read_parquet(path) if str(path).endswith(".parquet") else path or None


def use_style() -> None:
    """Sets the look of all figures. Text stays text: searchable, sharp, and never read as a formula."""
    matplotlib.rcdefaults()  # without the user's matplotlibrc
    matplotlib.rcParams.update(
        {
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": FONT,
            "axes.labelsize": FONT,
            "xtick.labelsize": FONT - 0.5,
            "ytick.labelsize": FONT - 0.5,
            "axes.edgecolor": FAINT,
            "axes.labelcolor": QUIET,
            "text.color": INK,
            "xtick.color": QUIET,
            "ytick.color": INK,
            "axes.grid": False,
            "grid.color": GRID,
            "grid.linewidth": 0.6,
            "axes.axisbelow": True,
            "axes.linewidth": 1.0,
            "axes.spines.left": False,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "xtick.bottom": False,
            "xtick.major.size": 4.8,
            "ytick.left": False,
            "ytick.major.size": 4.8,
            "lines.linewidth": 1.2,
            "lines.markersize": 4.8,
            "lines.solid_capstyle": "round",
            "patch.edgecolor": "white",
            "patch.force_edgecolor": True,
            "patch.linewidth": 0.8,
            "figure.facecolor": "white",
            "figure.dpi": 96,
            "svg.fonttype": "none",
            "svg.hashsalt": "trainoff",
            "text.parse_math": False,
            "axes.formatter.use_mathtext": False,
            "axes.unicode_minus": True,
        }
    )


def _save_svg(figure, path):
    """Writes the figure as SVG; the same figure gives the same bytes."""
    with whole(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
        text = temporary.read_text(encoding="utf-8")
        # Verdana has the same widths as DejaVu Sans and is there where that is not.
        text = re.sub(r"'DejaVu Sans'(, sans-serif)?", FONTS, text)
        temporary.write_text(text, encoding="utf-8")
    figures.plt.close(figure)
