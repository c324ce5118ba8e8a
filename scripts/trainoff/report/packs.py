"""What the report shows of several trainings at once: pack by pack, and all runs so."""

from typing import Any

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze.cells import status_text
from trainoff.analyze.cost import JOULES_PER_KWH
from trainoff.report import economy
from trainoff.report.reasons import without_device

# Columns of the makespan that the report shows where a value is known, one at a time and several at once each.
FURTHER = {"joules": "Energy", "rented": "Cost, rented", "owned": "Cost, owned"}


def in_words(packs: pd.DataFrame | None, spans: pd.DataFrame | None, labels: dict[str, str]) -> dict[str, list[Any]]:
    """What the report shows of both tables: {"makespans", "makespan_headings", "packs"}, empty without tables.

    labels: {device: label}. Columns of which nothing is known are left out.
    """
    if packs is None or spans is None:
        return {"makespans": [], "makespan_headings": [], "packs": []}
    known = [what for what in FURTHER if spans[f"one_at_a_time_{what}"].notna().any()]
    configurations = naming.all_configurations(packs)
    varying = naming.varying_axes(configurations)
    return {
        "makespan_headings": [f"{FURTHER[what]}, one at a time and several at once" for what in known],
        "makespans": [
            row
            | {
                "label": labels.get(row["device"], row["device"]),
                "at_once": row["at_once"].replace(", ", " or "),
                "reason_text": without_device(row["reason"]),
                "further": [_further(row, what) for what in known],
            }
            for row in spans.to_dict("records")
        ],
        "packs": [
            row
            | {
                "label": labels.get(row["device"], row["device"]),
                "name": naming.label(naming.configuration_of(row), varying) or "the one configuration",
                "memory_text": _memory_text(row),
                "status_text": status_text(row["status"]),
            }
            for row in packs.to_dict("records")
        ],
    }


def _further(row, what):
    """One quantity of all runs, one at a time and several at once: "3.2 kJ, 2.9 kJ", "0.0042 USD, 0.0031 USD"."""
    values = row[f"one_at_a_time_{what}"], row[f"packed_{what}"]
    if what == "joules":
        return ", ".join(map(energy_text, values))
    return ", ".join(economy.money(value, row["currency"]) for value in values)


def energy_text(joules: float | None) -> str:
    """An amount of energy: 3.2 kJ, 1.4 kWh."""
    if not numbers.known(joules):
        return numbers.UNKNOWN
    if joules < JOULES_PER_KWH:
        return f"{numbers.significant(joules / 1e3)} kJ"
    return f"{numbers.significant(joules / JOULES_PER_KWH)} kWh"


def _memory_text(row):
    parts = [("", row["memory_bytes"]), (" on the device", row["device_memory_bytes"])]
    return ", ".join(numbers.gibibytes(value) + where for where, value in parts if numbers.known(value)) or "unknown"
