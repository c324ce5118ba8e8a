"""The sentences of reasons (trainoff.analyze.reasons), with the labels of devices."""

from trainoff import numbers
from trainoff.analyze import reasons
from trainoff.analyze.cells import COUNTED_WORDS
from trainoff.analyze.efficiency import SCOPE_WORDS, SOURCE_WORDS

SENTENCES = {
    "no_run": "{device}: no run of this configuration",
    "no_run_finished": "{device}: no run finished ({counts})",
    "no_epoch_counted": "{device}: every epoch is warm-up",
    "one_epoch_counted": "{device}: a single epoch was counted, so its noise is unknown",
    "other_work": "not the same {what}: {sides}",
    "one_run": "a single run of {devices}: run-to-run variation is assumed ({spreads}), not measured",
    "fewer_replicates": "{device}: {used} of {planned} replicates ({counts})",
    "busy": "{device}: other programs kept the machine busy during {busy} of {runs} runs",
    "other_code": "measured by different versions of the training code",
    "own_script": "{devices}: timed in own scripts, so that the work is the same is their users' word",
    "mismatch": "{device}: does not train the same as the reference ({checks})",
    "some_compared": "{compared} of {total} configurations can be compared",
    "some_single": "{single} of {compared} are of a single run of a device",
    "some_mismatch": "{mismatched} of {compared} are of a device that does not train the same as the reference",
    "no_energy": "{device}: {recorded}",
    "declared_energy": "{device}: its energy is declared, not measured",
    "one_energy_reading": "{device}: a single epoch was read, so its noise is unknown",
    "other_scope": "the readings cover different parts: {scopes}",
    "no_rent_price": "{device}: no price of rent",
    "no_purchase_price": "{device}: no price of purchase",
    "no_electricity": "{device}: no energy reading, or no price of electricity",
}


def text(column, labels):
    """All reasons of a table's row in words: "CPU: no run of this configuration; …". labels: {device: label}."""
    return "; ".join(sentence(one, labels) for one in reasons.decoded(column))


def sentence(one, labels):
    """One reason in words."""

    def label(name):
        return labels.get(name, name)

    said = dict(one)
    for key, change in {
        "device": label,
        "devices": lambda names: numbers.listing([label(name) for name in names]),
        "counts": _counts,
        "spreads": lambda spreads: numbers.listing([f"{spread:.0%}" for spread in dict.fromkeys(spreads)]),
        "checks": lambda checks: numbers.listing([check.replace("_", " ") for check in checks]),
        "sides": lambda sides: ", ".join(f"{label(name)} {', '.join(values)}" for name, values in sides.items()),
    }.items():
        if key in said:
            said[key] = change(said[key])
    if one["code"] == "other_scope":
        parts = zip(one["devices"], one["scopes"], one["sources"], strict=True)
        said["scopes"] = ", ".join(
            f"{label(name)} {SCOPE_WORDS.get(scope, scope)} by {SOURCE_WORDS.get(source, source)}"
            for name, scope, source in parts
        )
    return SENTENCES[one["code"]].format(**said)


def _counts(counts):
    """How runs ended: "2 ok, 1 crashed"."""
    return ", ".join(f"{number} {COUNTED_WORDS.get(status, status)}" for status, number in counts.items())
