"""The sentences of reasons (trainoff.analyze.reasons), with the labels of devices."""

from typing import Any

from trainoff import numbers
from trainoff.analyze import reasons
from trainoff.analyze.cells import COUNTED_WORDS, STATUS_WORDS
from trainoff.analyze.efficiency import SCOPE_WORDS, SOURCE_WORDS

# {code: what is said}; before it stands the device that the reason is about.
SENTENCES = {
    "recorded": "{words}",
    "no_run": "no run of this configuration",
    "no_run_finished": "no run finished ({counts})",
    "no_epoch_counted": "every epoch is warm-up",
    "no_match": "no precision and compilation in which it is known to train the same as the reference",
    "other_work": "not the same {what}: {sides}",
    "one_run": "a single run of {devices}: run-to-run variation is assumed ({spreads}), not measured",
    "one_epoch": "a single epoch of {devices} counts: its scatter is assumed too",
    "fewer_replicates": "{used} of {planned} replicates ({counts})",
    "busy": "other programs kept the machine busy during {busy} of {runs} runs",
    "busy_turns": "other programs kept the machine busy during their turns",
    "other_code": "measured by different versions of the training code",
    "own_script": "{devices}: timed in users' own scripts, which may not do the same work",
    "mismatch": "does not train the same as the reference ({checks})",
    "some_compared": "{compared} of {total} configurations can be compared",
    "some_single": "{single} of {compared} rest on a single run of a device",
    "some_mismatch": "{mismatched} of {compared} are of a device that does not train the same as the reference",
    "few_pairs": "too few usable pairs of slices",
    "turns_failed": "failed while the devices took turns ({status}): {message}",
    "spinning": "one training kept {cores:g} processors busy while it waited for its turn, which slows the other down",
    "unread": "No energy reading was recorded.",
    "mixed_readings": "Its runs were measured in different ways: {readings}.",
    "no_window": "The run ended before an epoch was timed.",
    "no_window_times": "The times of its epochs were not recorded, so the readings of a wall meter cannot be assigned to them.",
    "meter_elsewhere": "The wall meter's file {file} does not cover the whole epoch.",
    "meter_gap": "The wall meter's file {file} has a gap of {seconds:.1f} s in the epoch; the limit is {limit_seconds:g} s.",
    "meter_sparse": "The wall meter's file {file} has {count} readings in an epoch of {seconds:.0f} s; at least {needed} are "
    "needed. Raise protocol.images_per_epoch, or read the meter more often.",
    "meter_zero": "The wall meter's file {file} shows 0 W during training, which is a fault of the meter.",
    "no_energy": "{why}",
    "declared_energy": "its energy is declared, not measured",
    "other_scope": "the readings cover different parts: {scopes}",
    "no_speed": "no training speed",
    "no_rent_price": "no rental price",
    "no_purchase_price": "no purchase price",
    "no_electricity_price": "no electricity price",
    "no_energy_reading": "no energy reading",
    "unknown_part": "the time of a training, its energy or a price is unknown",
    "longer_than_a_month": "one training takes longer than a month",
    "rent_below_electricity": "renting for one training costs less than the electricity of training on the bought device",
    "no_room": "that would take {trainings:,} trainings a month, but a month has time for {room:,}",
    "untrained_alone": "{missing} of {total} configurations did not train even alone",
    "reference_not_probed": "the reference was not probed",
    "probe_failed": "the probe of the {side} failed ({status}): {message}",
    "other_inputs": "probed with other images or weights than the reference",
    "reference_not_finite": "the reference itself gives values that are not finite",
    "not_finite": "{values} of {total} values are not finite",
    "other_shape": "values of shape {shape}, the reference has {expected}",
    "beyond_rounding": "differs by more than rounding explains",
    "computes_otherwise": "not compared: the device computes something else",
    "no_common_accuracy": "the device and the reference share no configuration with a final accuracy",
    "too_few_replicates": "needs {needed} replicates on both sides",
    "other_accuracy": "{points:+.1f} ± {spread:.1f} points on one of {total} configurations",
    "open_accuracy": "{points:+.1f} ± {spread:.1f} points: inconclusive until there are more replicates",
    "beyond_speed": "orders of magnitude faster than any known device",
    "beyond_operations": "more operations per second than any known device",
    "beyond_power": "a power draw that no device has in training",
    "below_energy": "orders of magnitude less energy than any known device",
    "longer_than_the_run": "epochs that take longer than the run",
}
# What must be equal for two rates to be of the same work (trainoff.analyze.obstacles.SAME_WORK).
WORK_WORDS = {
    "protocol": "protocol version",
    "determinism": "determinism",
    "dataset": "dataset",
    "images": "prepared images",
    "weights": "starting weights",
    "settings": "training settings",
}


def text(column: str | float | None, labels: dict[str, str]) -> str:
    """All reasons of a table's row in words: "CPU: no run of this configuration; …". labels: {device: label}."""
    return "; ".join(sentence(reason, labels) for reason in reasons.decoded(column))


def without_device(column: str | float | None, labels: dict[str, str] | None = None) -> str:
    """The same for a row that names its device: "no run of this configuration; …"."""
    return "; ".join(_in_words(reason, labels or {}) for reason in reasons.decoded(column))


def sentence(reason: dict[str, Any], labels: dict[str, str]) -> str:
    """One reason in words, after the device that it is about."""
    about = f"{labels.get(reason['device'], reason['device'])}: " if "device" in reason else ""
    return about + _in_words(reason, labels)


def _in_words(reason, labels):
    def label(name):
        return labels.get(name, name)

    fields = dict(reason)
    for key, change in {
        "devices": lambda names: numbers.listing([label(name) for name in names]),
        "counts": _counts,
        "spreads": lambda spreads: numbers.listing([f"{spread:.0%}" for spread in dict.fromkeys(spreads)]),
        "checks": lambda checks: numbers.listing([check.replace("_", " ") for check in checks]),
        "what": lambda what: WORK_WORDS.get(what, what),
        "sides": lambda sides: ", ".join(f"{label(name)} {', '.join(values)}" for name, values in sides.items()),
        "readings": lambda readings: numbers.listing([_reading(*reading) for reading in readings]),
        "why": lambda why: "; ".join(_in_words(part, labels) for part in why),
        "status": lambda status: STATUS_WORDS.get(status, status),
        "message": lambda message: message or "it holds no values",
        "shape": _shape,
        "expected": _shape,
    }.items():
        if key in fields:
            fields[key] = change(fields[key])
    if reason["code"] == "other_scope":
        parts = zip(reason["devices"], reason["scopes"], reason["sources"], strict=True)
        fields["scopes"] = ", ".join(f"{label(name)} {_reading(scope, source)}" for name, scope, source in parts)
    return SENTENCES[reason["code"]].format(**fields)


def _reading(scope, source):
    """What a reading is about and whose it is: "the GPU alone by NVIDIA's counter"."""
    return f"{SCOPE_WORDS.get(scope, scope)} by {SOURCE_WORDS.get(source, source)}"


def _shape(shape):
    return " × ".join(map(str, shape))


def _counts(counts):
    """How runs ended: "2 ok, 1 crashed"."""
    return ", ".join(f"{number} {COUNTED_WORDS.get(status, status)}" for status, number in counts.items())
