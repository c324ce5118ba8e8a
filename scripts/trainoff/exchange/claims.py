"""Checks what a record of another machine claims against what follows from its epochs.

Hashes show that a bundle is complete, not that it is true. So everything that follows from the epochs is computed again; where
the two disagree, somebody changed one of them, and the record is refused. A record whose epochs are all invented, but
consistent, is not detected.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from trainoff import bounds, convergence, energy, windows
from trainoff.errors import UserError, one_line
from trainoff.shapes import Record

# Another version of Python may round the last digits differently.
RELATIVE = 1e-6
STATUSES_OF_EARLIER_ATTEMPTS = ("diverged", "not_converged", "suspended")
# {key: (minimum, maximum)} of numbers, far beyond anything that a training shows.
RANGES = {
    "seconds": (1e-6, 1e8),
    "images": (1, 1e13),
    "batch_size": (1, 1e7),
    "img_dim": (0, 1e5),
    "learning_rate": (1e-15, 1e6),
    "energy_joules": (1e-9, 1e13),
    "joules_per_image": (1e-12, 1e9),
    "joules_per_image_above_idle": (1e-12, 1e9),
    "mean_watts": (1e-6, 1e6),
    "idle_watts": (0, 1e6),
}
LARGEST_NUMBER = 1e30
FIRST_YEAR = 2015
# Clocks differ between machines, and some ignore time zones.
AHEAD = timedelta(days=2)


def check(record: Record, where: str) -> None:
    """Raises UserError for a valid record that is too large, holds impossible numbers or times, or contradicts its epochs."""
    for key, words in _faults(record):
        raise UserError(
            f"{where}: {one_line(key, 100)}: {one_line(words)}. Expected a record as a run writes it; make the bundle again on "
            "its machine."
        )


def require_few_keys(value: dict[str, Any] | list[Any], where: str) -> None:
    """Raises UserError if an object in `value` has more keys than any in a record; a schema's message would list them all."""
    todo = [value]
    while todo:
        part = todo.pop()
        if isinstance(part, dict) and len(part) > bounds.RECORD_KEYS:
            raise UserError(
                f"{where}: an object with more than {bounds.RECORD_KEYS} keys. Expected a record as a run writes it; make the "
                "bundle again on its machine."
            )
        items = part.values() if isinstance(part, dict) else part
        todo += [item for item in items if isinstance(item, dict | list)]


def _faults(record):
    """(key, what is wrong) of everything wrong with a record, counts and ranges first."""
    yield from _counts(record)
    yield from _ranges(record)
    yield from _times(record)
    for name, listed in _all_windows(record):
        for place, window in enumerate(listed, start=1):
            if window["epoch"] != place:
                yield f"{name}.{place - 1}.epoch", f"{window['epoch']}, expected {place}"
    for key, claimed, computed in [*_training(record), *_speed_and_energy(record), *_identity(record)]:
        if not _equal(claimed, computed):
            yield key, f"the record says {_word(claimed)}, its epochs give {_word(computed)}"


def _all_windows(record):
    yield "windows", record["windows"]
    for place, attempt in enumerate(record["training"]["attempts"]):
        yield f"training.attempts.{place}.windows", attempt.get("windows", [])


def _counts(record):
    if len(record["training"]["attempts"]) > bounds.RECORD_ATTEMPTS:
        yield "training.attempts", f"more than {bounds.RECORD_ATTEMPTS}"
    epochs = 0
    for name, listed in _all_windows(record):
        epochs += len(listed)
        if epochs > bounds.RECORD_EPOCHS:
            yield name, f"{epochs:,} epochs; at most {bounds.RECORD_EPOCHS:,} are read"
    failure = record["failure"] or {}
    if len(failure.get("log_tail", ())) > bounds.RECORD_LOG_LINES:
        yield "failure.log_tail", f"more than {bounds.RECORD_LOG_LINES} lines"


def _ranges(value, path=()):
    """Numbers and texts out of range anywhere in a record, with as little work per epoch as possible."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        if isinstance(part, dict | list):
            yield from _ranges(part, (*path, str(key)))
        elif isinstance(part, str):
            if len(part) > bounds.RECORD_TEXT:
                yield (
                    ".".join((*path, str(key))),
                    f"a text of {len(part):,} characters; at most {bounds.RECORD_TEXT:,} are read",
                )
        elif part is not None and not isinstance(part, bool):
            minimum, maximum = RANGES.get(key, (-LARGEST_NUMBER, LARGEST_NUMBER))
            if not minimum <= part <= maximum:
                yield ".".join((*path, str(key))), f"{part:g} is out of the range from {minimum:g} to {maximum:g}"


def _times(record):
    provenance = record["provenance"]
    moments = {f"provenance.{key}": provenance[key] for key in ("started_at", "finished_at")}
    for name, listed in _all_windows(record):
        for place, window in enumerate(listed):
            if window.get("started_at"):
                moments[f"{name}.{place}.started_at"] = window["started_at"]
    latest = datetime.now(UTC) + AHEAD
    for key, text in moments.items():
        moment = moment_of(text)
        if moment is None:
            yield key, f"{one_line(text, 40)!r} is not a time such as 2026-01-02T13:00:00Z"
        elif not FIRST_YEAR <= moment.year <= latest.year or moment > latest:
            yield key, f"{one_line(text, 40)} is in the future or before {FIRST_YEAR}"
    start, end = moment_of(provenance["started_at"]), moment_of(provenance["finished_at"])
    if start and end and end < start:
        yield "provenance.finished_at", "before started_at"


def moment_of(text: str) -> datetime | None:
    """A time in a record as a datetime in UTC; None for a text that is not a time."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def _training(record):
    """(key, what the record says, what follows) of how the training went."""
    training, status, last = record["training"], record["status"], (record["windows"] or [{}])[-1]
    *earlier, final = training["attempts"]
    yield "training.epochs", training["epochs"], len(record["windows"])
    yield "training.final_val_accuracy", training["final_val_accuracy"], last.get("val_accuracy")
    yield (
        "training.final_val_balanced_accuracy",
        training.get("final_val_balanced_accuracy"),
        last.get("val_balanced_accuracy"),
    )
    yield "training.converged", training["converged"], _converged(record)
    yield "failure", record["failure"] is None, status == "ok"
    yield "training.attempts.0.learning_rate", training["attempts"][0]["learning_rate"], record["run"]["learning_rate"]
    word = "not_converged" if status == "ok" and training["converged"] is False else status
    # Suspended in every epoch that counts.
    suspended = final["outcome"] == "suspended" and all(window["warm_up"] for window in record["windows"])
    yield "training.attempts.outcome", final["outcome"], "suspended" if status == "ok" and suspended else word
    for place, attempt in enumerate(earlier):
        if attempt["outcome"] not in STATUSES_OF_EARLIER_ATTEMPTS:
            yield f"training.attempts.{place}.outcome", attempt["outcome"], "an attempt that was abandoned"
        if training["attempts"][place + 1]["learning_rate"] > attempt["learning_rate"]:
            yield f"training.attempts.{place + 1}.learning_rate", "more than before", "less or the same"


def _converged(record):
    """What convergence.RULE says of the last attempt, as far as the record allows; otherwise what the record says."""
    training, status, listed = record["training"], record["status"], record["windows"]
    if status == "diverged":
        return False
    if status != "ok" or "own_script" in record or not listed:
        return None
    if None not in [training.get(key) for key in ("validation_images", "chance_accuracy", "chance_loss")]:
        chance = convergence.Chance(training["chance_accuracy"], training["chance_loss"])
        return convergence.converged(listed, training.get("first_loss"), training["validation_images"], chance)
    # A record of an earlier version: a run whose last loss is not finite or whose accuracy is 0 cannot have converged.
    last = listed[-1]
    return bool(training["converged"]) and last["loss"] is not None and bool(last["val_accuracy"])


def _speed_and_energy(record):
    try:
        speed = windows.summarize(record["windows"])
    except ValueError as error:
        yield "windows", str(error), "possible times"
        return
    if len(record["windows"]) > windows.TREND_VALUES:  # earlier versions judged longer runs differently
        del speed["unstable"]
    for key, value in speed.items():
        yield f"throughput.{key}", record["throughput"][key], value
    claimed = record["energy"]
    if claimed:
        computed, _ = energy.summarize(record["windows"], claimed["source"], claimed["scope"], claimed["idle_watts"])
        for key in claimed:
            yield f"energy.{key}", claimed[key], (computed or {}).get(key)


def _identity(record):
    """(key, what the record says, what follows) of the settings it was trained with; nothing for a record without them."""
    identity, run = record.get("identity"), record["run"]
    if identity is None:
        return
    if record["status"] == "ok":
        finished = len(record["windows"])
        # Measured for minutes, a run has at least its epochs.
        timed = identity.get("measure_minutes") is not None
        yield "identity.epochs", identity["epochs"], min(finished, identity["epochs"]) if timed else finished
    for name, listed in _all_windows(record):
        for place, window in enumerate(listed):
            if window["images"] != identity["images_per_epoch"]:
                yield f"{name}.{place}.images", window["images"], identity["images_per_epoch"]
            if window["warm_up"] != (place < identity["warm_up_epochs"] or "suspended_seconds" in window):
                yield f"{name}.{place}.warm_up", window["warm_up"], not window["warm_up"]
    for key, where in (("backend", record["device"]), ("accelerator", record["device"])):
        if key in identity:
            yield f"identity.{key}", identity[key], where[key]
    for key in ("images_sha256", "code_sha256"):
        if key in record["provenance"]:
            yield f"provenance.{key}", record["provenance"][key], identity[key]
    if isinstance(identity["images_per_epoch"], int):
        yield "identity.images_per_epoch", identity["images_per_epoch"] % run["batch_size"], 0


def _equal(claimed, computed):
    if isinstance(claimed, bool) or isinstance(computed, bool) or not isinstance(claimed, int | float):
        return claimed is computed if isinstance(claimed, bool) or isinstance(computed, bool) else claimed == computed
    return isinstance(computed, int | float) and math.isclose(claimed, computed, rel_tol=RELATIVE)


def _word(value):
    return "nothing" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)
