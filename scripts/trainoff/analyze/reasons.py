"""Why a figure is missing, or what a reader must know beside it: codes with fields, as the tables carry them.

A reason is a JSON object with a `code` and the fields of that code; trainoff.report.reasons puts it into words. In a table, the
reasons of a row are separated by "; ".
"""

import json
from typing import Any

from trainoff.errors import one_line

# {code: its fields}. device, devices: names. counts: {status: number of runs}. file: name of a wall meter's file. why: a list
# of reasons.
FIELDS = {
    # A sentence from a record, written by the process that made it.
    "recorded": ("words",),
    # Speeds of two devices.
    "no_run": ("device",),
    "no_run_finished": ("device", "counts"),
    "no_epoch_counted": ("device",),
    "no_match": ("device",),
    "other_work": ("what", "sides"),
    "one_run": ("devices", "spreads"),
    "one_epoch": ("devices",),
    "fewer_replicates": ("device", "used", "planned", "counts"),
    "busy": ("device", "busy", "runs"),
    "other_code": (),
    "own_script": ("devices",),
    "mismatch": ("device", "checks"),
    "some_compared": ("compared", "total"),
    "some_single": ("single", "compared"),
    "some_mismatch": ("mismatched", "compared"),
    "few_pairs": (),
    "turns_failed": ("device", "status", "message"),
    "spinning": ("cores",),
    "busy_turns": (),
    # Energy.
    "unread": (),
    "mixed_readings": ("readings",),
    "no_window": (),
    "no_window_times": (),
    "meter_elsewhere": ("file",),
    "meter_gap": ("file", "seconds", "limit_seconds"),
    "meter_sparse": ("file", "count", "seconds", "needed"),
    "meter_zero": ("file",),
    "no_energy": ("device", "why"),
    "declared_energy": ("device",),
    "other_scope": ("devices", "scopes", "sources"),
    # Cost.
    "no_speed": ("device",),
    "no_rent_price": ("device",),
    "no_purchase_price": ("device",),
    "no_electricity_price": (),
    "no_energy_reading": ("device",),
    "unknown_part": (),
    "longer_than_a_month": (),
    "rent_below_electricity": (),
    "no_room": ("trainings", "room"),
    "untrained_alone": ("missing", "total"),
    # Parity. side: "device" or "reference". points, spread: in percent of the images.
    "reference_not_probed": (),
    "probe_failed": ("side", "status", "message"),
    "other_inputs": (),
    "reference_not_finite": (),
    "not_finite": ("values", "total"),
    "other_shape": ("shape", "expected"),
    "beyond_rounding": (),
    "computes_otherwise": (),
    "no_common_accuracy": (),
    "too_few_replicates": ("needed",),
    "other_accuracy": ("points", "spread", "total"),
    "open_accuracy": ("points", "spread"),
    # An implausible record.
    "beyond_speed": (),
    "beyond_operations": (),
    "beyond_power": (),
    "below_energy": (),
    "longer_than_the_run": (),
}


def reason(code: str, **fields: Any) -> str:
    """A reason as text. Raises ValueError unless the fields are those of the code."""
    if code not in FIELDS or set(fields) != set(FIELDS[code]):
        raise ValueError(f"{code}: fields {sorted(fields)}; expected {sorted(FIELDS.get(code, ()))}")
    return json.dumps({"code": code, **fields}, ensure_ascii=False)


def recorded(words: str | None) -> str | None:
    """The reason for a sentence from a record; None without one."""
    return reason("recorded", words=one_line(words, 1000)) if words else None


def decoded(text: str | float | None) -> list[dict[str, Any]]:
    """The reasons in a table's text as dicts; [] for "" and for a missing text."""
    reasons, place = [], 0
    while isinstance(text, str) and place < len(text):
        try:
            entry, place = json.JSONDecoder().raw_decode(text, place)
        except ValueError:  # a table cuts very long texts
            break
        reasons.append(entry)
        place += len("; ")
    return reasons
