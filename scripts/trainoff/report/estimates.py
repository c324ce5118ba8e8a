"""Estimated speeds in words, and the answer of a page that measured one device only; no ratio mixes both kinds."""

import collections
import math

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze.estimates import USUAL_TRAINING

REASONS = {
    "no_anchor": "the catalog holds no published training speed of this device. One run on such a machine, brought here with "
    "`make bundle`, makes an estimate possible",
    "not_counted": "this model's layers are not counted. Expected a model of catalog/counts.csv",
    "precision": "the device has no units for this precision",
    "memory": "does not fit into its memory",
}
METHOD = (
    "An estimate starts from the device's data sheet and from what the model computes per image. Anchors correct it: training "
    "speeds that were published or measured for that device and for similar ones. The interval is as wide as the errors were for "
    "figures that the method had not seen: 9 of 10 lay inside. Slow input, other software and a slow host can cost more than "
    "that. docs/prediction.md lists the errors by class of device, and says when not to trust an estimate."
)


def view(study, devices):
    """What the part of the page says, as plain values; None where there is nothing to say.

    study: trainoff.report.study.Study with the catalog's figures, for the anchors' sources. devices: palette.Device of the
    measured ones.
    """
    frames, training = study.frames, study.settings.get("training_run")
    estimates, trainings = frames.get("estimates"), frames.get("training_runs")
    if estimates is None or (estimates.empty and not training):
        return None
    configurations = naming.all_configurations(frames["runs"])
    if not configurations:
        return None
    lead = _lead(configurations, frames["rates"])
    shown = naming.varying_axes(configurations)
    rows, trained = _by_configuration(estimates), _by_configuration(trainings)
    return {
        "single": len(devices) == 1,
        "configuration": naming.label(lead, shown) or naming.constant_text(configurations),
        "training": training_text(training),
        "here": [
            _training_row(row) for row in trained[lead] if row["kind"] == "measured" and numbers.known(row["seconds"])
        ],
        "estimated": [
            _estimate_row(row, trained[lead], study.published) for row in rows[lead] if row["status"] == "estimated"
        ],
        "refused": _refusals(rows[lead]),
        "all": [
            {"name": naming.label(configuration, shown) or "the only one", "cells": _cells(rows[configuration])}
            for configuration in configurations
        ],
        "labels": list(dict.fromkeys(estimates["label"])),
        "steps": next_steps(frames["runs"], study.settings, study.config_file) if len(devices) == 1 else [],
        "method": METHOD,
    }


def _lead(configurations, rates):
    """The configuration that the first screen tells of: the first in reading order that was measured."""
    measured = {naming.configuration_of(row) for row in rates.dropna(subset="images_per_second").to_dict("records")}
    return next((one for one in configurations if one in measured), configurations[0])


def _by_configuration(table):
    """{configuration: rows of the table}, [] for one without rows."""
    found = collections.defaultdict(list)
    for row in table.to_dict("records"):
        found[naming.configuration_of(row)].append(row)
    return found


def training_text(training):
    """The training that times and costs are of: "10 epochs of CIFAR-10 (50,000 images)"."""
    if training is None:
        return f"{USUAL_TRAINING['epochs']} epochs of CIFAR-10 ({USUAL_TRAINING['images']:,} images each)"
    return f"your training of {training['epochs']:,} epochs of {training['images']:,} images"


def rough(value):
    """An estimate in two digits: more would say more than is known."""
    return numbers.significant(value, 2)


def duration(value):
    """A duration that was estimated: 40 s, 25 min, 3.4 h, 12 days."""
    if not numbers.known(value):
        return numbers.UNKNOWN
    for limit, unit, word in ((90, 1, "s"), (90 * 60, 60, "min"), (72 * 3600, 3600, "h")):
        if value < limit:
            return f"{rough(value / unit)} {word}"
    return f"{rough(value / 86400)} days"


def _span(row, name, form):
    return f"{form(row[f'{name}_low'])} to {form(row[f'{name}_high'])}"


def money(value, currency):
    """An amount with its currency, as coarse as an estimate allows: 0.034 USD, 12 USD."""
    return f"{rough(value)} {currency}"


def _cost(row):
    """What a training costs on a row's device, in words; "" where no price is known. Rent counts before purchase."""
    if numbers.known(row["rented"]):
        return f"{money(row['rented'], row['currency'])} rented"
    if numbers.known(row["owned"]):
        power = "" if row["with_electricity"] else ", without electricity"
        return f"{money(row['owned'], row['currency'])} of its price{power}"
    return ""


def _training_row(row):
    return {
        "label": row["label"],
        "speed": numbers.significant(row["images_per_second"]),
        "time": duration(row["seconds"]),
        "cost": _cost(row),
        "break_even": _break_even(row),
    }


def _break_even(row):
    """From how many trainings a month owning pays, against renting the cheapest; "" where prices are missing."""
    if numbers.known(row["break_even_per_month"]):
        trainings = f"{int(row['break_even_per_month']):,} such trainings a month"
        return f"Owning pays off from {trainings}, compared with renting the {row['cheapest_rented']}."
    if row["break_even_reason"] == "no_room":
        return f"Renting the {row['cheapest_rented']} is cheaper: a month is too short for the trainings that would pay it off."
    if row["break_even_reason"] == "rent_below_electricity":
        return f"Renting the {row['cheapest_rented']} costs less than the electricity alone."
    return ""


def _estimate_row(row, trainings, published):
    training = next(one for one in trainings if one["kind"] == "estimated" and one["device"] == row["device"])
    return {
        "label": row["label"],
        "speed": rough(row["images_per_second"]),
        "interval": f"{rough(row['low'])} to {rough(row['high'])}",
        "time": duration(training["seconds"]),
        "time_interval": _span(training, "seconds", duration),
        "cost": _cost(training),
        "break_even": _break_even(training),
        "notes": _notes(row),
        "anchors": [_anchor(name, published) for name in str(row["nearest"]).split(";") if name],
        "count": int(row["anchors"]),
        "newest": row["newest"],
    }


def _notes(row):
    notes = []
    if numbers.known(row["contradiction"]) and row["contradiction"] > 1.25:
        notes.append(
            f"Published figures of these conditions differ by a factor of {rough(row['contradiction'])}; the interval holds all."
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
        return {"text": f"measured by this project on {place}", "url": "", "source": "", "date": ""}
    row = published.iloc[int(place)]
    parts = [row["device"], row["model"], f"{row['img_dim']} px"]
    parts += [f"batch {row['batch_size']}"] if not pd.isna(row["batch_size"]) else []
    parts += [row["precision"], row["software"], f"{row['images_per_second']:,.6g} images/s"]
    return {"text": " · ".join(map(str, parts)), "url": row["url"], "source": row["source"], "date": row["published"]}


def _refusals(rows):
    """[(device, sentence)] of those that are not estimated."""
    found = []
    for row in rows:
        if row["status"] == "too_large":
            need = f"at least {rough(row['memory_gb_least'])} GB are needed"
            text = f"does not fit: {need}, and the device has {row['device_memory_gb']:g} GB"
        elif row["status"] == "refused":
            text = f"no estimate: {REASONS[row['reason']]}"
        else:
            continue
        found.append({"label": row["label"], "text": f"{text}."})
    return found


def _cells(rows):
    """What the table of all configurations says of one on every device, from its estimates."""
    return [
        {
            "estimated": f"about {rough(row['images_per_second'])}",
            "measured": "measured",
            "too_large": "does not fit",
        }.get(row["status"], "no estimate")
        + (f" ({rough(row['low'])} to {rough(row['high'])})" if row["status"] == "estimated" else "")
        for row in rows
    ]


def next_steps(runs, settings, config_file=None):
    """What to do next with one device measured: [{text, command, minutes}]. Minutes come from how long the sweep took here.

    runs: the table. config_file: the experiment's file as `make report CONFIG=` takes it, None for the default experiment.
    """
    took = _minutes(runs)
    kind = next(iter(runs["accelerator"].dropna()), "cpu")
    second = {"cuda": "cuda cuda-torch", "metal": "metal mps-torch"}.get(kind, "cpu-tensorflow cpu-torch")
    more = f"about {max(1, round(took))} min" if took else "as long as the first time"
    both = (
        f"about {max(1, round(3 + 2 * took))} min, 3 of them to install it"
        if took
        else "twice as long, and some minutes to install it"
    )
    if settings.get("turns"):
        configurations = len(runs[list(naming.AXES)].drop_duplicates())
        both += f", and up to {math.ceil(settings['turns']['minutes'] * configurations)} min of turns"
    twice = f"about {max(1, round(2 * took))} min" if took else "twice as long as the first time"
    chosen = f" CONFIG={config_file}" if config_file else ""
    elsewhere = "Measure a GPU: start this where there is one, such as a notebook, and copy results/bundle.zip into imports/ here"
    return [
        {
            "text": "Compare a second framework on this machine",
            "command": f'make report{chosen} DEVICES="{second}"',
            "minutes": both,
        },
        {
            "text": elsewhere,
            "command": f"make bundle{chosen}",
            "minutes": f"{more} or less on a GPU, and some minutes to install",
        },
        {
            "text": "Measure the run-to-run spread with three replicates",
            "command": f'make report{chosen} ARGS="--config replicates=3"',
            "minutes": twice,
        },
    ]


def _minutes(runs):
    """Minutes that the runs of the table took, start-up included; None where unknown."""
    started, finished = (
        pd.to_datetime(runs[name], utc=True, errors="coerce") for name in ("started_at", "finished_at")
    )
    seconds = (finished - started).dt.total_seconds().dropna()
    return float(seconds.sum()) / 60 if len(seconds) else None
