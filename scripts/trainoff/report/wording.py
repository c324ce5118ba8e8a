"""What the report says in words: the answer, and what to know before concluding. Every number comes from the tables."""

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.report import economy, findings

VERDICT_WORDS = {
    "faster": "faster",
    "slower": "slower",
    "no_significant_difference": "no significant difference",
    "not_comparable": "not comparable",
}
PARITY_WORDS = {"same": "the same", "departs": "departs", "not_judged": "not judged"}


def pair_sentence(row, labels):
    """The answer for one pair of devices (a row of the table `overall`), in a sentence or three."""
    device, baseline = labels[row["device"]], labels[row["baseline"]]
    if not row["configurations_compared"]:
        total = numbers.count(row["configurations_total"], "configuration")
        return f"{device} cannot be compared with {baseline} on any of {total}; the table of ratios says why."
    text = (
        f"On {findings.denominator(row)} compared, {device} trained at {numbers.ratio(row['ratio'])} the speed of "
        f"{baseline} (geometric mean"
    )
    if numbers.known(row["ci_low"]):
        text += f"; 95 % interval {numbers.ratio_interval(row['ci_low'], row['ci_high'])}"
    return f"{text}): {verdict_counts(row)}."


def verdict_counts(row):
    """How the single configurations were judged: "faster on 7, not comparable on 1"."""
    parts = [
        f"{words} on {int(row[verdict])}"
        for verdict, words in VERDICT_WORDS.items()
        if numbers.known(row[verdict]) and row[verdict]
    ]
    return numbers.listing(parts)


def summary(runs, devices):
    """One line under the title: how much was run, and when."""
    configurations = naming.all_configurations(runs)
    parts = [
        numbers.count(len(devices), "device"),
        numbers.count(len(configurations), "configuration"),
        numbers.count(len(runs), "run"),
    ]
    first, last = runs["started_at"].min(), runs["finished_at"].max()
    return f"{', '.join(parts)}, from {moment(first)} to {moment(last)} UTC"


def moment(text):
    """A time stamp of a record, to the minute: "2026-01-02 00:07"."""
    return str(text).replace("T", " ")[:16]


def answers(overall, rates, devices):
    """The report's first words: [{"text", "details"}], one per pair with the first device; one for a single device."""
    if len(devices) == 1:
        return [one_device_answer(rates, devices[0])]
    table = findings.against_first(overall, devices)
    return [_pair_answer(table, device, devices) for device in devices[1:]]


def other_answers(overall, devices):
    """The same for all pairs without the first device."""
    result = []
    for place, baseline in enumerate(devices[1:], start=1):
        table = overall[overall["baseline"] == baseline.name]
        result += [_pair_answer(table, device, devices) for device in devices[place + 1 :]]
    return result


def one_device_answer(rates, device):
    """What can be said of one device: no winner, its rates."""
    found = findings.rates_by_device(rates, [device])
    text = f"One device was measured, {device.label}, so there is nothing to compare and no winner."
    if not found:
        return {"text": text, "details": ["None of its runs gave a training speed."]}
    _, low, high, number = found[0]
    total = numbers.count(len(rates), "configuration")
    details = [f"It trained {numbers.span(low, high)} images per second on {number} of {total}."]
    for trainable, words in ((True, "all weights"), (False, "the last layer alone")):
        own = rates.loc[rates["trainable"].astype(bool) == trainable]
        values = own["images_per_second"].dropna()
        if len(values):
            details.append(
                f"Training {words}: {numbers.span(values.min(), values.max())} images per second "
                f"({len(values)} of {numbers.count(len(own), 'configuration')})."
            )
    details += [line for line in [economy.energy_line(rates, device)] if line]
    return {"text": text, "details": details}


def _pair_answer(table, device, devices):
    labels = {one.name: one.label for one in devices}
    rows = {row["subset"]: row for row in table[table["device"] == device.name].to_dict("records")}
    details = []
    for subset, words in (("trainable=true", "all weights"), ("trainable=false", "last layer alone")):
        row = rows.get(subset)
        if row and row["configurations_compared"]:
            interval = (
                f"{numbers.ratio_interval(row['ci_low'], row['ci_high'])}; " if numbers.known(row["ci_low"]) else ""
            )
            details.append(f"{words} {numbers.ratio(row['ratio'])} ({interval}{findings.denominator(row)})")
    line = ", ".join(details)
    lines = [f"{line[0].upper()}{line[1:]}."] if line else []
    best = rows.get("each at its best")
    if best and best["configurations_compared"]:
        interval = (
            f"{numbers.ratio_interval(best['ci_low'], best['ci_high'])}; " if numbers.known(best["ci_low"]) else ""
        )
        lines.append(
            f"Each at its best (precision and XLA left to the device) {numbers.ratio(best['ratio'])} "
            f"({interval}{findings.denominator(best)})."
        )
    lines += economy.pair_lines(rows["all"], labels)
    single = rows["all"]["one_replicate"]
    if single:
        lines.append(
            f"{single} of {numbers.count(rows['all']['configurations_compared'], 'ratio')} rest on a single run of a "
            "device: the interval speaks of these runs and leaves out how much another run would differ."
        )
    departing = rows["all"]["departing"]
    if departing:
        lines.append(
            f"{departing} of {numbers.count(rows['all']['configurations_compared'], 'ratio')} are of a device that does not "
            "train the same as the reference: its speed may be that of other work."
        )
    return {"text": pair_sentence(rows["all"], labels), "details": lines}


def caveats(runs, rates, overall, devices, standing):
    """What a reader of the answer must know: failures, single runs, unstable rates, other work, accuracy.

    standing: parity.Standing of the devices.
    """
    failed = int((runs["status"] != "ok").sum())
    found = []
    if failed:
        found.append(
            f"{failed} of {numbers.count(len(runs), 'run')} did not end well; they are listed with their reasons."
        )
    found += [findings.one_replicate_note(rates), findings.unstable_note(rates), findings.busy_note(runs)]
    found += [*parity_caveats(standing, devices), findings.not_converged_note(runs, devices)]
    found += findings.learning_rate_notes(runs, devices)
    found.append(
        f"Accuracies on this page are those of a model trained on {findings.trained_with(runs)}: they show whether a "
        "device learns and do not say how good the model can become."
    )
    found += economy.energy_caveats(rates, devices)
    return [text for text in found if text]


def parity_caveats(standing, devices):
    """What a reader of speeds and accuracies must know of what the devices compute (standing: parity.Standing)."""
    if standing.table is None:
        untested = "This compares speed. Whether the devices train equally well was not tested here."
        return [untested] if len(devices) > 1 else []
    labels = {one.name: one.label for one in devices}
    found = [
        f"{labels.get(name, name)} does not train the same as the reference: its speed may be that of other work, and its "
        "accuracy is not compared."
        for name in standing.departing()
    ]
    unjudged = [labels.get(name, name) for name in standing.unjudged()]
    if unjudged:
        found.append(f"Whether {numbers.listing(unjudged)} trains the same as the reference could not be judged.")
    return found
