"""Why two results cannot be compared, and what a reader must know beside their ratio.

A side is a Result with the name of its device.
"""

import math
from typing import Any

import pandas as pd

from trainoff.analyze.reasons import decoded, reason
from trainoff.analyze.results import Result, either

Side = tuple[Result, str]

# What must be equal for two results to be of the same work. A hash decides if there is one, otherwise the name.
SAME_WORK = {
    "protocol": ["protocol_version"],
    "determinism": ["deterministic"],
    "dataset": ["dataset_sha256", "dataset"],
    "images": ["images_sha256"],
    "weights": ["weights_sha256", "weights"],
    "settings": ["settings"],
}


def obstacles(sides: list[Side]) -> list[str]:
    """Why two results cannot be compared, as reasons; empty if they can."""
    reasons = []
    for result, device in sides:
        if not result.runs:
            reasons.append(reason("no_run", device=device))
        elif "ok" not in result.statuses:
            reasons.append(reason("no_run_finished", device=device, counts=result.statuses))
        elif result.rate is None:
            reasons.append(reason("no_epoch_counted", device=device))
    return reasons or [difference for name, keys in SAME_WORK.items() if (difference := _difference(sides, name, keys))]


def _difference(sides, name, keys):
    """The reason that the runs that count differ in `keys`, "" if they do not. name: of SAME_WORK."""
    values = [{_first_known(run, keys) for run in result.used} for result, _ in sides]
    if len(values[0] | values[1]) == 1:
        return ""
    shown = [sorted(_short(value) for value in side) for side in _without_common_words(values)]
    return reason(
        "other_work", what=name, sides={device: texts for (_, device), texts in zip(sides, shown, strict=True)}
    )


def _without_common_words(values):
    """Sets of values; texts lose the words ("dropout=0.4") that all of them have, so that only the difference is left."""
    texts = [value for side in values for value in side if isinstance(value, str) and " " in value]
    common = set.intersection(*(set(text.split()) for text in texts)) if len(texts) > 1 else set()

    def rest(value):
        return " ".join(word for word in value.split() if word not in common) if value in texts else value

    return [{rest(value) for value in side} for side in values]


def _first_known(run, keys):
    return next((run[key] for key in keys if not pd.isna(run.get(key))), None)


def _short(value):
    """A value for a sentence; hashes are cut to their first digits."""
    text = "unknown" if value is None else str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def caveats(sides: list[Side]) -> list[str]:
    """What a reader must know beside a verdict."""
    scripted = [device for result, device in sides if any(not pd.isna(run.get("own_script")) for run in result.used)]
    reasons = [reason("own_script", devices=scripted)] if scripted else []
    single = {device: result.rate for result, device in sides if len(result.rate.runs) == 1}
    if single:
        spreads = [round(math.sqrt(rate.run_variance), 4) for rate in single.values()]
        reasons.append(reason("one_run", devices=list(single), spreads=spreads))
    if one_epoch := [device for device, rate in single.items() if rate.windows == 1]:
        reasons.append(reason("one_epoch", devices=one_epoch))
    planned = max(len(result.runs) for result, _ in sides)
    for result, device in sides:
        if (used := len(result.used)) < planned:
            reasons.append(
                reason("fewer_replicates", device=device, used=used, planned=planned, counts=result.statuses)
            )
    for result, device in sides:
        disturbed = sum(either([run["busy"]]) or False for run in result.used)
        if disturbed:
            reasons.append(reason("busy", device=device, busy=disturbed, runs=len(result.used)))
    used = [run for result, _ in sides for run in result.used]
    if len({run["code_sha256"] for run in used if not pd.isna(run["code_sha256"])}) > 1:
        reasons.append(reason("other_code"))
    return reasons


def turns_caveats(turns: dict[str, Any]) -> list[str]:
    """The same about turns. turns: a row of the table of turns."""
    if turns["status"] != "ok":
        message = "; ".join(part["words"] for part in decoded(turns["reason"]))
        return [reason("turns_failed", device=turns["failed"], status=turns["status"], message=message)]
    if pd.isna(turns["ratio"]):
        return [turns["reason"]]
    reasons = [reason("spinning", cores=round(float(turns["waiting_cores"]), 1))] if turns["spinning"] else []
    return [*reasons, reason("busy_turns")] if either([turns["busy"]]) else reasons


def overall_reason(compared: int, total: int, single: int, mismatched: int) -> str:
    reasons = [] if compared == total else [reason("some_compared", compared=compared, total=total)]
    if single:
        reasons.append(reason("some_single", single=single, compared=compared))
    if mismatched:
        reasons.append(reason("some_mismatch", mismatched=mismatched, compared=compared))
    return "; ".join(reasons)
