"""Why a comparison has no ratio, or what must be known beside it: codes with fields, as the tables carry them.

A reason is a JSON object with a `code` and the fields of that code; trainoff.report.reasons says it. In a table, the reasons of
a row follow each other, separated by "; ".
"""

import json

# {code: its fields}. device, devices: names. counts: {status: number of runs}.
FIELDS = {
    "no_run": ("device",),
    "no_run_finished": ("device", "counts"),
    "no_epoch_counted": ("device",),
    "one_epoch_counted": ("device",),
    "other_work": ("what", "sides"),
    "one_run": ("devices", "spreads"),
    "fewer_replicates": ("device", "used", "planned", "counts"),
    "busy": ("device", "busy", "runs"),
    "other_code": (),
    "own_script": ("devices",),
    "mismatch": ("device", "checks"),
    "some_compared": ("compared", "total"),
    "some_single": ("single", "compared"),
    "some_mismatch": ("mismatched", "compared"),
    "no_energy": ("device", "recorded"),
    "declared_energy": ("device",),
    "one_energy_reading": ("device",),
    "other_scope": ("devices", "scopes", "sources"),
    "no_rent_price": ("device",),
    "no_purchase_price": ("device",),
    "no_electricity": ("device",),
}


def reason(code, **fields):
    """A reason as text; raises ValueError for fields that its code does not have."""
    if code not in FIELDS or set(fields) != set(FIELDS[code]):
        raise ValueError(f"{code}: fields {sorted(fields)}; expected {sorted(FIELDS.get(code, ()))}")
    return json.dumps({"code": code, **fields}, ensure_ascii=False)


def decoded(text):
    """The reasons of a table's text as dicts; [] for "" and for a missing one."""
    found, place = [], 0
    while isinstance(text, str) and place < len(text):
        try:
            one, place = json.JSONDecoder().raw_decode(text, place)
        except ValueError:  # a table cuts very long texts
            break
        found.append(one)
        place += len("; ")
    return found
