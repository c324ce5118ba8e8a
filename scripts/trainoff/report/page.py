"""The page: what its template is given, from the tables, the figures and the settings of the experiment.

The same tables, figures and settings give the same page: every time in it comes from the runs.
"""

import base64
import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pandas as pd
import yaml

from trainoff import configurations as naming
from trainoff import numbers, records, units
from trainoff.analyze import cells, cost, efficiency, pairs, parity, stats, sustained
from trainoff.report import (
    caveats,
    cures,
    economy,
    embedded_tables,
    estimates,
    explore,
    findings,
    one_device,
    packs,
    palette,
    pictures,
    rows,
    summaries,
    training,
    turn_words,
    verdict_words,
    words,
)
from trainoff.report.figure_table import FIGURES, MAX_UNFOLDED
from trainoff.report.study import Study
from trainoff.shapes import Values

# With more, the page holds some rows spread over the grid; its script makes the rest from what is carried.
MAX_ROWS = 200
SCRIPTS = (
    "base.js",
    "tables.js",
    "explore_scales.js",
    "explore_dots.js",
    "explore_lines.js",
    "explore.js",
    "training.js",
    "page.js",
)
# Letters of code that fit on a line of a phone.
MAX_WHOLE_CODE = 30
# Tables that the page does not carry: they only serve to make others, or have a row per epoch or second.
NOT_CARRIED = ("windows", "energy_windows", "readings")
# Unless one of these changes, a series tells nothing that the record does not. Many virtual machines report a constant clock.
HARDWARE = ("gpu_watts", "soc_watts", "package_watts", "gpu_mhz", "cpu_mhz", "gpu_celsius", "cpu_celsius")
ACCURACY_NOTE = (
    "Accuracy: with random starting weights and few epochs the last layer alone stays near chance, on every device; it shows "
    "whether a device learns, not how good the model can become."
)


def render(study: Study, figures: dict[str, dict[str, Any]], folder: str | Path, parts: str | Path) -> str:
    """The page as text.

    study: trainoff.report.study.Study, with the prices of estimated devices. figures: {name: {"svg", "narrow" or None: text,
    "facts": dict}}. folder: where the page will be. parts: the folder of the template, styles and scripts.
    """
    study = _in_order(study, folder)
    frames = study.frames
    context = answer(study)
    ranked, chosen = context["ranked"], context["chosen"]
    runs = frames["runs"]
    configurations = naming.all_configurations(runs)
    shown_frames, note = excerpt(frames, configurations)
    cards = {name: card(name, figures[name]) for name in FIGURES if name in figures and tells(name, frames)}
    unfolded = [name for name in cards if FIGURES[name].main][:MAX_UNFOLDED]
    trained = training.section(study, ranked)
    labels = {device.name: device.label for device in ranked}
    priced = labels | dict(frames["estimates"][["device", "label"]].itertuples(index=False))
    script = "\n".join(Path(parts, name).read_text(encoding="utf-8") for name in SCRIPTS).replace("</", "<\\/")
    # Before its hash is taken, as a browser runs no other script.
    script = units.worded(script, runs["img_dim"])
    context |= {
        "title": study.title,
        "style": markupsafe.Markup(Path(parts, "page.css").read_text(encoding="utf-8").replace("</", "<\\/")),
        "script": markupsafe.Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "labels": labels,
        "main_figures": [cards[name] for name in unfolded],
        "more_figures": [shown for name, shown in cards.items() if name not in unfolded],
        "training": trained,
        "more_lines": [*training.answer_line(trained, chosen, study.settings), *context["more_lines"]],
        "estimate_method": estimates.METHOD,
        "economy_method": f"{efficiency.METHOD} {cost.METHOD}",
        "assumptions": economy.assumption_lines(study.assumptions, list(priced), priced),
        "constant": naming.constant_text(configurations),
        "trained_with": findings.trained_with(runs),
        "accuracy_note": ACCURACY_NOTE,
        "rate_table": rows.rate_rows(
            shown_frames["runs"], shown_frames["rates"], naming.all_configurations(shown_frames["runs"]), ranked
        ),
        "comparisons": rows.comparison_tables(
            shown_frames["comparison"], chosen, ranked, cells.cells(shown_frames["runs"], shown_frames["rates"])
        )[: 1 if note else None],
        "best": rows.best_rows(shown_frames["best"], chosen.baseline, ranked) if chosen else [],
        "parity": rows.parity_rows(frames.get("parity"), labels),
        "parity_method": parity.METHOD,
        "warm_up": words.warm_up(study.settings),
        **packs.in_words(frames.get("packing"), frames.get("makespan"), labels),
        "runs": rows.run_rows(shown_frames["runs"], ranked),
        "with_energy": bool(runs["joules_per_image"].notna().any()),
        "with_memory": bool(runs["peak_memory_bytes"].notna().any()),
        "failures": rows.failure_rows(runs, ranked),
        "failed": int((runs["status"] != "ok").sum()),
        "excerpt": note,
        "devices": rows.device_rows(runs, ranked),
        "settings": rows.flat(study.settings),
        "method": stats.METHOD,
        "versions": rows.version_rows(runs),
        "hashes": rows.hash_rows(runs),
        "published": rows.published_rows(study.published) if tells("published", frames) else [],
        "reproduce": words.reproduce(runs),
        "experiment_text": yaml.safe_dump(
            {"title": study.title, "devices": [device["name"] for device in study.devices], **study.settings},
            sort_keys=False,
            allow_unicode=True,
            width=110,
        ),
        "data": embedded_tables.embedded(data(study, context, trained)),
        "view": embedded_tables.embedded(explore.view(runs, frames["rates"], ranked, frames["costs"])),
    }
    context["contents"] = contents(context)
    return units.worded(environment(parts).get_template("page.html.j2").render(context), runs["img_dim"])


def _in_order(study, folder):
    """The Study with its runs in the order of their start and a row of costs beside each of rates."""
    frames = study.frames
    runs, costs = rows.in_order(frames["runs"], folder), explore.beside(frames["rates"], frames["costs"])
    return dataclasses.replace(study, frames=frames | {"runs": runs, "costs": costs})


def answer(study: Study) -> dict[str, Any]:
    """What the first screen says: {"question", "tiles", "more_lines", "warnings", "matrix", "ranked", "by_name", "chosen", …}."""
    frames = study.frames
    runs, rates, overall, costs = (frames[name] for name in ("runs", "rates", "overall", "costs"))
    shown = palette.devices_in(study.devices, runs)
    kinds, frameworks = (
        {device.name: getattr(device, column) for device in shown}
        | runs.dropna(subset=column).groupby("device")[column].first().to_dict()
        for column in ("accelerator", "backend")
    )
    by_name = {device.name: device for device in shown}
    ranked = [by_name[name] for name in pairs.by_speed(rates, by_name, kinds)]
    chosen = pairs.chosen([device.name for device in ranked], kinds, frameworks, **study.pair)
    labels = {device.name: device.label for device in shown}
    currency = study.assumptions["currency"]
    standing = parity.Standing(frames.get("parity"))
    if chosen:
        verdicts = pairs.verdicts(frames, chosen)
        rents = {name: facts["rental"] for name, facts in study.assumptions["devices"].items() if facts.get("rental")}
        minimum_times = {name: economy.minimum_time(rent) for name, rent in rents.items()}
        advice = cures.of_open_verdicts(runs, overall, chosen)
        tiles = [
            verdict_words.verdict(verdict, labels, currency, minimum_times, advice) for verdict in verdicts.values()
        ]
        question = f"{labels[chosen.device]} or {labels[chosen.baseline]}?"
    else:
        verdicts, question = {}, f"{shown[0].label}: speed, energy, cost"
        tiles = one_device.tiles(shown[0], rates, costs, currency)
    return {
        "question": question,
        "summary": words.summary(runs, shown),
        "tiles": tiles,
        "verdicts": verdicts,
        "more_lines": [
            *turn_words.lines(overall, chosen),
            *turn_words.next_lines(frames.get("next")),
            *words.sweep_lines(runs, frames["windows"], frames["energy_windows"], chosen, labels, training.sweep),
            *economy.target_lines(costs, shown),
            *economy.carbon_lines(costs, shown),
            *words.sustained_lines(sustained.ratios(sustained.table(runs, frames["windows"])), labels),
            *words.equally_well(standing, rates, chosen, labels),
            *words.memory_lines(runs, shown),
        ],
        "warnings": caveats.warnings(runs, rates, overall, shown, standing, study.settings, frames["comparison"]),
        "matrix": rows.matrix_rows(overall, ranked),
        "ranked": ranked,
        "by_name": by_name,
        "chosen": chosen,
    }


def contents(context: dict[str, Any]) -> list[tuple[str, str]]:
    """[(id, name)] of the sections that this page has."""
    listed = [
        ("answer", "Answer", True),
        ("training", "Time and cost", context["training"]),
        ("figures", "Figures", True),
        ("numbers", "Numbers", True),
        ("runs", "Every run", True),
        ("sweep", "Concurrency", context["makespans"]),
        ("method", "Method and files", True),
    ]
    return [(place, name) for place, name, there in listed if there]


def card(name: str, files: dict[str, Any]) -> dict[str, Any]:
    """A figure for the template: heading, pictures, and what is said of it."""
    entry, facts = FIGURES[name], files["facts"]
    label = f"{entry.heading}. {facts['title']}."
    return {
        "name": name,
        "heading": entry.heading,
        "title": facts["title"] or entry.heading,
        "subtitle": facts["subtitle"],
        "notes": facts["notes"],
        "caption": entry.caption,
        "tables": entry.tables,
        "svg": pictures.inline(files["svg"], name, label),
        "narrow": pictures.inline(files["narrow"], f"{name}-narrow", label) if files.get("narrow") else None,
    }


def tells(name: str, frames: dict[str, pd.DataFrame]) -> bool:
    """Whether a figure tells anything of these results; see gallery.Figure.needs."""
    runs, rates, costs = (frames[table] for table in ("runs", "rates", "costs"))
    devices = runs["device"].nunique()
    there = {
        "": True,
        "several devices": devices > 1
        and not (name == "each_device" and summaries.too_many(naming.all_configurations(runs))),
        "several batch sizes": runs["batch_size"].nunique() > 1,
        "several models": min(devices, runs["model"].nunique()) > 1,
        "energy": rates["joules_per_image"].notna().any(),
        "power": rates["mean_watts"].notna().any(),
        "cost": costs[["owned_per_training", "rented_per_training"]].notna().any(axis=None),
        "rent": frames["break_even"]["rented_per_training"].notna().any(),
        "images": (runs["img_dim"] != 0).any(),
        "failures": (runs["status"] != "ok").any(),
        "readings": "readings" in frames and frames["readings"][list(HARDWARE)].nunique().gt(1).any(),
        "sustained": name == "sustained" and len(sustained.table(runs, frames["windows"])) > 0,
        "estimates": "estimates" in frames and (frames["estimates"]["status"] == "estimated").any(),
    }
    return bool(there[FIGURES[name].needs])


def excerpt(frames: dict[str, pd.DataFrame], configurations: list[Values]) -> tuple[dict[str, pd.DataFrame], str]:
    """(the tables as far as the page writes them row by row, what a reader must know of that).

    A configuration keeps all its runs and ratios, so that every row means what it does on a small page.
    """
    longest = max(len(frames["runs"]), len(frames["rates"]))
    if longest <= MAX_ROWS:
        return frames, ""
    selected = set(configurations[:: -(-longest // MAX_ROWS)])

    def cut(table):
        axes = [axis for axis in naming.AXES if axis in table]
        if not {"img_dim", "batch_size"} <= set(axes):
            return table
        wanted = {tuple(values[naming.AXES.index(axis)] for axis in axes) for values in selected}
        chosen = [naming.configuration_of(row, axes) in wanted for row in table[axes].to_dict("records")]
        return table[chosen].reset_index(drop=True)

    cut_frames = {name: cut(table) for name, table in frames.items()}
    return cut_frames, words.excerpt_note(
        len(naming.all_configurations(cut_frames["runs"])), len(configurations), len(frames["runs"])
    )


def data(study: Study, context: dict[str, Any], trained: dict[str, Any] | None) -> dict[str, Any]:
    """What the page carries for programs and for its own script. context: of `answer`; trained: of training.section."""
    runs = study.frames["runs"]
    return {
        "title": study.title,
        "devices": [{"name": device.name, "label": device.label} for device in context["ranked"]],
        "verdicts": [dataclasses.asdict(verdict) for verdict in context["verdicts"].values()],
        "training": trained and trained["facts"],
        "runs_by_status": {status: int(count) for status, count in runs["status"].value_counts().sort_index().items()},
        "schema_version": records.SCHEMA_VERSION,
        "versions": {
            column: sorted({str(value) for value in runs[column].dropna()})
            for column in ("python", *rows.FRAMEWORKS, "keras", "protocol_version")
        },
        "hashes": {column: sorted(runs[column].dropna().unique().tolist()) for column in rows.HASHES},
        "method": stats.METHOD,
        "tables": embedded_tables.tables(
            {name: table for name, table in study.frames.items() if name not in NOT_CARRIED}
        ),
    }


def environment(parts: str | Path) -> jinja2.Environment:
    """Jinja's, strict, with the filters of the page; the templates are in the folder `parts`."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(parts),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        name: getattr(numbers, name) for name in ("significant", "ratio", "percent", "seconds", "p_value")
    }
    templates.filters |= {"glue": glue, "code": code}
    templates.tests["known"] = numbers.known
    return templates


def glue(text: str) -> str:
    """`text` with a number and its unit kept on one line."""
    return re.sub(r"(?<=\d) (?=(%|px|s|J|USD)(\W|$))", "\u00a0", text)


def code(text: str) -> markupsafe.Markup:
    """Text in which what stands between backticks is code; what is short stays on one line."""
    parts = str(text).split("`")
    whole, broken = markupsafe.Markup('<code class="whole">{}</code>'), markupsafe.Markup("<code>{}</code>")
    return markupsafe.Markup("").join(
        (whole if len(part) < MAX_WHOLE_CODE else broken).format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )
