"""The tiles of a page about one device: what it did, as there is nothing to compare it with."""

from typing import Any

import pandas as pd

from trainoff import numbers
from trainoff.analyze import pairs
from trainoff.energy import MEASURED
from trainoff.report import verdict_words
from trainoff.report.economy import WAY_WORDS
from trainoff.report.palette import Device
from trainoff.report.reasons import without_device


def tiles(device: Device, rates: pd.DataFrame, costs: pd.DataFrame, currency: str) -> list[dict[str, Any]]:
    """The three tiles of a page about one device (a palette.Device): what it did, as there is nothing to compare."""
    speeds = rates["images_per_second"].dropna()
    metered = rates["energy_source"].isin(MEASURED)
    # Declared watts only where nothing was measured.
    joules = 1000 * rates.loc[metered if metered.any() else slice(None), "joules_per_image"].dropna()
    tiles_of_device = [
        _range_tile(
            "speed",
            speeds,
            "images per second",
            len(rates),
            f"{device.label} trains",
            "No run gave a speed; the table of runs says why.",
        ),
        _range_tile(
            "energy",
            joules,
            "J per 1,000 images",
            len(rates),
            f"{device.label} needs",
            _no_energy(rates),
            verdict_words.METER_CURE,
            kind="measured" if metered.any() else "declared",
        ),
    ]
    ways = {way: 1000 * costs[f"{way}_per_1000_images"].dropna() for way in ("owned", "rented")}
    way = next((way for way, values in ways.items() if len(values)), None)
    reason = pairs.no_cost(costs)
    tiles_of_device.append(
        _range_tile(
            "money",
            ways[way] if way else speeds.iloc[:0],
            f"{currency} per million images, {WAY_WORDS[way]}" if way else "",
            len(rates),
            f"{device.label} costs",
            f"Cost is unknown: {verdict_words.no_cost({device.name: reason}, {device.name: device.label})}.",
            verdict_words.cost_cure({device.name: reason}),
            kind="estimated",
        )
    )
    return tiles_of_device


def _range_tile(quantity, values, unit, total, start, missing, cure="", kind="measured"):
    if not len(values):
        return {
            "quantity": quantity,
            "heading": verdict_words.HEADINGS[quantity],
            "value": "Unknown",
            "winner": None,
            "settled": False,
            "claim": "",
            "details": [],
            "kind": verdict_words.KIND_WORDS["unknown"],
            "sentence": missing,
            "cure": cure,
        }
    value = numbers.span(values.min(), values.max()).replace(" to ", "–")
    counted = verdict_words.counted(len(values), total)
    ends = "slowest to fastest" if quantity == "speed" else "lowest to highest"
    return {
        "quantity": quantity,
        "heading": verdict_words.HEADINGS[quantity],
        "value": value,
        "winner": None,
        "settled": True,
        "claim": unit,
        "details": [counted],
        "kind": verdict_words.KIND_WORDS[kind],
        "sentence": f"{start} {value} {unit}, {'in' if len(values) == 1 else f'{ends} of'} {counted}."
        + (" The watts are declared, not measured." if kind == "declared" else ""),
        "cure": "",
    }


def _no_energy(rates):
    reasons = rates["energy_reason"].dropna()
    return f"Energy was not measured. {without_device(reasons.mode().iloc[0]) if len(reasons) else ''}".strip()
