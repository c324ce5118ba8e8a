"""Estimated speeds in words, what they rest on, and the next steps of a page about one device; no ratio mixes both kinds."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze.estimates import USUAL_TRAINING
from trainoff.report import cures
from trainoff.shapes import Values

REASONS = {
    "no_anchor": "the catalog holds no published training speed of this device. One run on such a machine, imported from its "
    "`make bundle`, makes an estimate possible",
    "not_counted": "catalog/counts.csv does not hold the operations of this model",
    "precision": "the device does not compute in this precision",
    "memory": "does not fit into its memory",
}
METHOD = (
    "An estimate starts from the device's data sheet and from the operations per image. Anchors correct it: training speeds "
    "that were published or measured for that device and for similar ones. The range comes from the errors on figures "
    "that the method had not seen: 9 of 10 lay inside. Slow input, other software or a slow host can take more time than "
    "the range allows. docs/prediction.md lists the errors by class of device and says when not to trust an estimate."
)


def every(table: pd.DataFrame, configurations: list[Values]) -> dict[str, Any] | None:
    """Estimates of every configuration: {"labels", "rows": [{"name", "cells"}]}; None without any. table: `estimates`."""
    if table.empty:
        return None
    shown = naming.varying_axes(configurations)
    cells = {configuration: [] for configuration in configurations}
    for row in table.to_dict("records"):
        cells[naming.configuration_of(row)].append(_cell(row))
    return {
        "labels": list(dict.fromkeys(table["label"])),
        "rows": [
            {"name": naming.label(configuration, shown) or "the one configuration", "cells": texts}
            for configuration, texts in cells.items()
        ],
    }


def training_text(training: dict[str, int] | None) -> str:
    """The training that times and costs are of: "10 epochs of CIFAR-10 (50,000 images)". training: {images, epochs} or None."""
    if training is None:
        return f"{USUAL_TRAINING['epochs']} epochs of CIFAR-10 ({USUAL_TRAINING['images']:,} images)"
    return f"{numbers.count(training['epochs'], 'epoch')} of {numbers.count(training['images'], 'image')}"


def rough(value: float | None) -> str:
    """An estimate in two digits: more would say more than is known."""
    return numbers.significant(value, 2)


def duration(value: float | None, digits: int = 2) -> str:
    """A duration with few digits: 40 s, 25 min, 3.4 h, 12 days."""
    if not numbers.known(value):
        return numbers.UNKNOWN
    for limit, unit, word in ((90, 1, "s"), (90 * 60, 60, "min"), (72 * 3600, 3600, "h")):
        if value < limit:
            return f"{numbers.significant(value / unit, digits)} {word}"
    return f"{numbers.significant(value / 86400, digits)} days"


def sources(row: dict[str, Any], published: pd.DataFrame) -> dict[str, Any]:
    """What a row of the table `estimates` rests on: {"notes": sentences, "anchors": those that weigh most, "count" of all}."""
    return {
        "notes": _notes(row),
        "anchors": [_anchor(name, published) for name in str(row["nearest"]).split(";") if name],
        "count": int(row["anchors"]),
    }


def _notes(row):
    notes = []
    if numbers.known(row["contradiction"]) and row["contradiction"] > 1.25:
        notes.append(
            f"Published figures of the same conditions differ by a factor of {rough(row['contradiction'])}; the range covers "
            "them all."
        )
    if numbers.known(row["memory_gb"]) and row["memory_gb"] > row["device_memory_gb"]:
        notes.append(
            f"It may not fit: about {rough(row['memory_gb_least'])} to {rough(row['memory_gb'])} GB are needed, and the device "
            f"has {row['device_memory_gb']:g} GB."
        )
    return notes


def _anchor(name, published):
    """One anchor in words with its source."""
    kind, _, place = name.partition(":")
    if kind == "measured":
        return {"text": f"measured on {place}, on this page", "url": "", "source": "", "date": ""}
    row = published.iloc[int(place)]
    parts = [row["device"], row["model"], f"{row['img_dim']} px"]
    parts += [f"batch {row['batch_size']}"] if not pd.isna(row["batch_size"]) else []
    parts += [row["precision"], row["software"], f"{row['images_per_second']:,.6g} images/s"]
    return {"text": " · ".join(map(str, parts)), "url": row["url"], "source": row["source"], "date": row["published"]}


def refusals(rows: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """[{"label", "text"}] of the rows of the table `estimates` that hold no estimate."""
    refused = []
    for row in rows:
        if row["status"] == "too_large":
            need = f"at least {rough(row['memory_gb_least'])} GB are needed"
            text = f"does not fit: {need}, and the device has {row['device_memory_gb']:g} GB"
        elif row["status"] == "refused":
            text = f"no estimate: {REASONS[row['reason']]}"
        else:
            continue
        refused.append({"label": row["label"], "text": f"{text[0].upper()}{text[1:]}."})
    return refused


def _cell(row):
    if row["status"] == "estimated":
        return f"about {rough(row['images_per_second'])} ({rough(row['low'])} to {rough(row['high'])})"
    return {"measured": "measured", "too_large": "does not fit"}.get(row["status"], "no estimate")


def next_steps(runs: pd.DataFrame, settings: dict[str, Any], config_file: str | None = None) -> list[dict[str, str]]:
    """What to do next with one device measured: [{text, command, minutes}]. Minutes come from how long the sweep took here.

    runs: the table. config_file: the experiment's file as `make report CONFIG=` takes it, None for the default experiment.
    """
    took = _minutes(runs)
    kind = next(iter(runs["accelerator"].dropna()), "cpu")
    second = {"cuda": "cuda cuda-torch", "metal": "metal mps-torch"}.get(kind, "cpu-tensorflow cpu-torch")
    more = f"about {max(1, round(took))} min" if took else "as long as the first time"
    two_frameworks = (
        f"about {max(1, round(3 + 2 * took))} min, 3 of them to install it"
        if took
        else "twice as long as the first time, and some minutes to install it"
    )
    if settings.get("turns"):
        configurations = len(runs[list(naming.AXES)].drop_duplicates())
        two_frameworks += f", and up to {math.ceil(settings['turns']['minutes'] * configurations)} min of turns"
    replicates = cures.planned_replicates(runs)
    times = cures.MORE_REPLICATES / replicates
    longer = f"about {max(1, round(times * took))} min" if took else f"{times:.2g} times as long as so far"
    chosen = f" CONFIG={config_file}" if config_file else ""
    elsewhere = (
        "Measure a GPU: run this on a machine or notebook with one, then copy its results/bundle.zip into imports/ here"
    )
    return [
        {
            "text": "Compare a second framework on this machine",
            "command": f'make report{chosen} DEVICES="{second}"',
            "minutes": two_frameworks,
        },
        {
            "text": elsewhere,
            "command": f"make bundle{chosen}",
            "minutes": f"{more} or less on a GPU, and some minutes to install",
        },
        {
            "text": f"Measure how much runs differ, with {replicates + cures.MORE_REPLICATES} replicates",
            "command": f'make report{chosen} ARGS="--config replicates={replicates + cures.MORE_REPLICATES}"',
            "minutes": longer,
        },
    ]


def _minutes(runs):
    """Minutes that the runs of the table took, start-up included; None where unknown."""
    started, finished = (
        pd.to_datetime(runs[name], utc=True, errors="coerce") for name in ("started_at", "finished_at")
    )
    seconds = (finished - started).dt.total_seconds().dropna()
    return float(seconds.sum()) / 60 if len(seconds) else None
