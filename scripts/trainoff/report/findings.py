"""What the figures say in words: titles that state the finding, and notes. Every number comes from the tables."""

import re

import numpy as np
import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze.cells import COUNTED_WORDS, STATUS_WORDS


def trained_with(runs):
    """Which images and starting weights: "digits, random weights"; both matter wherever accuracy is shown."""
    datasets = sorted({str(name) for name in runs["dataset"].dropna()}) or ["unknown images"]
    weights = sorted({weights_text(name) for name in runs["weights"].dropna()}) or ["unknown starting weights"]
    return f"{numbers.listing(datasets)}, {numbers.listing(weights)}"


def weights_text(name):
    """Starting weights in words."""
    return {"random": "random starting weights", "imagenet": "ImageNet weights"}.get(name, f"weights from {name}")


def rates_by_device(rates, devices):
    """[(device, lowest rate, highest rate, number of configurations)] for devices with a rate."""
    result = []
    for device in devices:
        own = rates.loc[rates["device"] == device.name, "images_per_second"].dropna()
        if len(own):
            result.append((device, own.min(), own.max(), len(own)))
    return result


def throughput_title(rates, devices):
    """The finding of the throughput figure."""
    found = rates_by_device(rates, devices)
    if not found:
        return "No run gave a training speed"
    if len(found) <= 2:
        parts = [f"{device.label} {numbers.span(low, high)}" for device, low, high, _ in found]
        first = parts[0].replace(found[0][0].label, f"{found[0][0].label} trained", 1) + " images per second"
        return ", ".join([first, *parts[1:]])
    slowest = min(found, key=lambda one: one[1])
    fastest = max(found, key=lambda one: one[2])
    return (
        f"Training speed runs from {numbers.significant(slowest[1])} images per second on {slowest[0].label} "
        f"to {numbers.significant(fastest[2])} on {fastest[0].label}"
    )


def each_device_title(rates, devices):
    """The finding of the panels of each device alone: which configuration it trains fastest."""
    best = {}
    for device in devices:
        own = rates[rates["device"] == device.name].dropna(subset="images_per_second")
        if len(own):
            best[device.label] = naming.configuration_of(own.loc[own["images_per_second"].idxmax()])
    if not best:
        return "No run gave a training speed"
    varying = naming.varying_axes(naming.all_configurations(rates))
    names = {label: naming.label(one, varying) or "the one configuration" for label, one in best.items()}
    if len(set(names.values())) == 1:
        every = "Every device is" if len(names) > 1 else f"{next(iter(names))} is"
        return f"{every} fastest on {next(iter(names.values()))}"
    if len(names) <= 3:
        return "; ".join(f"{label} is fastest on {name}" for label, name in names.items())
    return f"The {len(names)} devices are fastest on {len(set(names.values()))} different configurations"


def throughput_notes(runs, rates):
    """What a reader of the throughput figure must know."""
    notes = [
        "Full dot: median of the counted windows (one window is one epoch, the device synchronised at both ends). "
        "Line: 95 % interval. Faint dots: the windows themselves, of runs that ended well."
    ]
    if (rates["images_per_second"].notna() & rates["ci_low"].isna()).any():
        notes.append("No line: a single window was counted, which tells nothing of its noise.")
    return [*notes, one_replicate_note(rates), unstable_note(rates), parity_note(rates, "rates")]


def one_replicate_note(rates):
    """The warning about single runs; "" when every measured cell has several."""
    measured = rates.dropna(subset="images_per_second")
    single = int(measured["one_replicate"].astype(bool).sum())
    if not single:
        return ""
    which = "Every cell stands" if single == len(measured) else f"{single} of {len(measured)} cells stand"
    return (
        f"{which} on one replicate: such an interval speaks of that run only and says nothing about how much another "
        "run would differ."
    )


def unstable_note(rates):
    """Names how many rates drifted or scattered; "" when none did."""
    measured = rates.dropna(subset="images_per_second")
    unstable = int(measured["unstable"].fillna(False).astype(bool).sum())
    if not unstable:
        return ""
    return (
        f"{unstable} of {len(measured)} cells are marked unstable: their windows drift or scatter beyond the stated "
        "limit, so read these rates with care."
    )


def parity_note(table, what):
    """Names how many rates or ratios are of a device that computes something else; "" when none is."""
    measured = table.dropna(subset="images_per_second")
    departing = int((measured["parity"] == "departs").sum())
    if not departing:
        return ""
    return (
        f"{departing} of {len(measured)} {what} are of a device that does not train the same as the reference: it may be "
        "fast because it computes something else."
    )


def busy_note(runs):
    """Names how many runs other programs disturbed; "" when none."""
    busy = int((runs["busy"].fillna(False).astype(bool) & (runs["status"] == "ok")).sum())
    if not busy:
        return ""
    return (
        f"{busy} of {len(runs)} runs are marked busy: other programs took more than a tenth of the machine, so these rates "
        "may be too low. Run them again on a quiet machine, or set protocol.wait_for_quiet_minutes."
    )


def learning_rate_notes(runs, devices):
    """Which devices needed another learning rate than was asked for, in a sentence each; none when all got by."""
    labels = {device.name: device.label for device in devices}
    again = runs[(runs["attempts"] > 1) & runs["converged"].eq(True)]
    return [
        f"{labels.get(name, name)} converged only at a lower learning rate in {len(own)} of "
        f"{numbers.count(int((runs['device'] == name).sum()), 'run')}: {_rates(own)}."
        for name, own in again.groupby("device", sort=False)
    ]


def _rates(runs):
    """ "0.00025 instead of 0.0005" for every pair of rates in `runs`."""
    pairs = runs[["learning_rate_used", "learning_rate"]].drop_duplicates().sort_values("learning_rate")
    return numbers.listing([f"{used:g} instead of {asked:g}" for used, asked in pairs.itertuples(index=False)])


def not_converged_note(runs, devices):
    """Names how many runs that ended well did not learn, and where; "" when all did or it is not known."""
    ended = runs[(runs["status"] == "ok") & runs["converged"].notna()]
    lost = ended[~ended["converged"].astype(bool)]
    if lost.empty:
        return ""
    labels = {device.name: device.label for device in devices}
    parts = [
        f"{len(lost[lost['device'] == name])} of {len(own)} on {labels.get(name, name)}"
        for name, own in ended.groupby("device", sort=False)
        if (lost["device"] == name).any()
    ]
    where = f" ({numbers.listing(parts)})" if ended["device"].nunique() > 1 else ""
    return (
        f"{len(lost)} of {numbers.count(len(ended), 'run')} did not converge{where}: their loss hardly fell or their accuracy "
        "stayed near chance. Their speed counts all the same."
    )


def against_first(table, devices):
    """The rows of a comparison whose baseline is the first device; figures and sentences tell these."""
    return table[table["baseline"] == devices[0].name]


def ratio_title(overall, devices):
    """The finding of the ratio figure, with the denominator of every mean."""
    labels = {device.name: device.label for device in devices}
    table = against_first(overall[overall["subset"] == "all"], devices)
    found = table.dropna(subset="ratio").sort_values("ratio", ascending=False).to_dict("records")
    if not found:
        return f"No configuration can be compared with {devices[0].label}"
    if len(found) == 1:
        row = found[0]
        interval = f"{numbers.ratio_interval(row['ci_low'], row['ci_high'])}; " if numbers.known(row["ci_low"]) else ""
        return (
            f"{labels[row['device']]} trained at {numbers.ratio(row['ratio'])} the speed of {devices[0].label} "
            f"({interval}{denominator(row)})"
        )
    parts = [f"{labels[row['device']]} {numbers.ratio(row['ratio'])}" for row in found]
    return f"Training speed relative to {devices[0].label}: {numbers.listing(parts)}"


def denominator(row):
    """How many configurations stand behind a mean: "7 of 8 configurations"."""
    return f"{row['configurations_compared']} of {row['configurations_total']} configurations"


def ratio_notes(comparison):
    """What a reader of the ratio figure must know."""
    notes = [
        "Lines and brackets: 95 % intervals. Significant: corrected for the number of comparisons, as the method says."
    ]
    single = ((comparison["replicates"] == 1) | (comparison["baseline_replicates"] == 1)) & comparison["ratio"].notna()
    if single.any():
        notes.append(
            f"{int(single.sum())} of {int(comparison['ratio'].notna().sum())} ratios rest on a single run of a device: "
            "such an interval speaks of these runs only."
        )
    return [*notes, parity_note(comparison.dropna(subset="ratio"), "ratios")]


def plain_reason(reason, labels):
    """A reason from the comparison as a reader wants it: labels for device names, words for statuses."""
    if not numbers.known(reason) or not reason:
        return ""
    for name, label in labels.items():
        place = rf"(^|; |\bof |\band of |, )({re.escape(name)})(?=:| |$)"
        reason = re.sub(place, lambda found, label=label: found.group(1) + label, reason)
    for status, words in STATUS_WORDS.items():
        reason = re.sub(rf"\b{status}: (\d+)", rf"\1 {words}", reason)
    return reason


def last_layer_gains(rates):
    """One row per device and configuration without `trainable`: how many times faster the last layer trains.

    Columns: the other axes, device, gain, gain_low, gain_high, last_layer, all_weights, unstable. The bounds are the
    lowest and highest ratio that the two 95 % intervals allow, which is wider than a 95 % interval of the ratio.
    """
    axes = [axis for axis in naming.AXES if axis != "trainable"]
    both = rates.assign(trainable=rates["trainable"].astype(bool))
    whole = both[both["trainable"]].drop(columns="trainable")
    last = both[~both["trainable"]].drop(columns="trainable")
    table = whole.merge(last, on=[*axes, "device"], suffixes=("_all", "_last"))
    table["gain"] = table["images_per_second_last"] / table["images_per_second_all"]
    table["gain_low"] = table["ci_low_last"] / table["ci_high_all"]
    table["gain_high"] = table["ci_high_last"] / table["ci_low_all"]
    table["unstable"] = table["unstable_last"].fillna(False).astype(bool) | table["unstable_all"].fillna(False).astype(
        bool
    )
    table = table.rename(columns={"images_per_second_last": "last_layer", "images_per_second_all": "all_weights"})
    columns = [*axes, "device", "gain", "gain_low", "gain_high", "last_layer", "all_weights", "unstable"]
    return table.dropna(subset="gain")[columns]


def last_layer_title(gains, devices):
    """The finding of the last-layer figure."""
    found = _range_by_device(gains, devices, "gain")
    if not found:
        return "No device has both: last layer and all weights"
    if len(found) <= 2:
        parts = [f"{numbers.span(low, high, numbers.ratio)} on {device.label}" for device, low, high, _ in found]
        first = parts[0].replace(" on ", " the speed of all weights on ", 1)
        return f"Training only the last layer: {numbers.listing([first, *parts[1:]])}"
    most, least = max(found, key=lambda one: one[3]), min(found, key=lambda one: one[3])
    return (
        f"Training the last layer alone gains most on {most[0].label} (median {numbers.ratio(most[3])}) "
        f"and least on {least[0].label} ({numbers.ratio(least[3])})"
    )


def learning_title(runs, devices, departing=()):
    """The finding of the learning curves: where validation accuracy ended, without the devices named in `departing`."""
    devices = [device for device in devices if device.name not in departing]
    ended = runs.loc[runs["status"] == "ok"].dropna(subset="final_val_accuracy")
    found = _range_by_device(ended, devices, "final_val_accuracy")
    if not found:
        return "No run ended with a validation accuracy"
    epochs = ended["epochs"]
    after = numbers.span(epochs.min(), epochs.max(), lambda value: f"{int(value)}")
    if len(found) <= 2:
        parts = [f"{numbers.span(low, high, numbers.percent)} on {device.label}" for device, low, high, _ in found]
        return f"Validation accuracy after {after} epochs: {numbers.listing(parts)}"
    span = numbers.span(ended["final_val_accuracy"].min(), ended["final_val_accuracy"].max(), numbers.percent)
    return f"Validation accuracy after {after} epochs: {span} over {len(found)} devices"


def learning_notes(runs, many_replicates, departing=()):
    """What a reader of the learning curves must know. departing: labels of devices that do not train the same."""
    notes = [
        f"Trained on {trained_with(runs)}. These curves show whether a device learns, not how good the model can "
        "become."
    ]
    if runs["trainable"].astype(bool).any():
        notes.append(
            "All weights: early validation figures can lag behind training, because batch-norm statistics are averages "
            "over many steps (a thousand in MobileNetV2 unless batch_norm_momentum says otherwise) and at first still "
            "describe the starting weights; this is the same on every device."
        )
    if many_replicates:
        notes.append("Line: median over replicates. Band: lowest to highest replicate.")
    if departing:
        notes.append(
            f"{numbers.listing(departing)} does not train the same as the reference: the curves are shown, the accuracies "
            "are not compared."
        )
    return notes


def cold_start_title(runs, devices):
    """The finding of the cold-start figure."""
    table = cold_starts(runs)
    found = _range_by_device(table.dropna(subset="total"), devices, "total")
    if not found:
        return "No run got as far as its first step"
    if len(found) <= 2:
        parts = [f"{numbers.span(low, high, numbers.seconds)} on {device.label}" for device, low, high, _ in found]
        head = f"From start to the end of the first training step: {numbers.listing(parts)}"
    else:
        most, least = max(found, key=lambda one: one[3]), min(found, key=lambda one: one[3])
        head = (
            f"Starting up takes longest on {most[0].label} (median {numbers.seconds(most[3])}) "
            f"and shortest on {least[0].label} ({numbers.seconds(least[3])})"
        )
    whole = table.dropna(subset="total")
    share = (whole["first_step_seconds"] / whole["total"]).median()
    return f"{head}; the first step is {numbers.percent(share)} of it"


def cold_starts(runs):
    """Median cold start per configuration and device; `total` is null where a part is unknown."""
    parts = ["import_seconds", "build_seconds", "first_step_seconds"]
    table = runs[[*naming.AXES, "device", *parts]].copy()
    table[parts] = table[parts].apply(pd.to_numeric)
    table = table.groupby([*naming.AXES, "device"], as_index=False)[parts].median()
    table["total"] = table[parts].sum(axis=1, skipna=False)
    return table


def matrix_title(runs):
    """The finding of the run matrix."""
    counts = runs["status"].value_counts()
    good = int(counts.get("ok", 0))
    failed = [
        f"{int(counts[status])} {words}"
        for status, words in COUNTED_WORDS.items()
        if status != "ok" and status in counts
    ]
    if not failed:
        return f"All {len(runs)} runs ended well" if len(runs) > 1 else "The one run ended well"
    return f"{good} of {len(runs)} runs ended well; {numbers.listing(failed)}"


def _range_by_device(table, devices, column):
    """[(device, lowest, highest, median)] of a column, for devices that have a value."""
    result = []
    for device in devices:
        own = table.loc[table["device"] == device.name, column].dropna()
        if len(own):
            result.append((device, own.min(), own.max(), own.median()))
    return result


def ratios_by_size(runs, comparison):
    """Rows of the comparison with a ratio, and with the operations of their model at their img_dim (`flops_per_image`).

    Empty with fewer than two models on any device: a single size shows no trend.
    """
    sizes = runs.dropna(subset="flops_per_image").groupby(["model", "img_dim"])["flops_per_image"].first()
    rows = comparison.dropna(subset="ratio").join(sizes, on=["model", "img_dim"]).dropna(subset="flops_per_image")
    rows = rows.astype({"flops_per_image": float})
    return rows[rows.groupby("device")["model"].transform("nunique") > 1]


def means_by_model(points):
    """One row per model of one device: geometric means of ratio and operations, over the settings that all models share."""
    setting = [axis for axis in naming.AXES if axis != "model"]
    shared = points.groupby(setting)["model"].transform("nunique") == points["model"].nunique()
    logs = points[shared].assign(**{key: np.log(points.loc[shared, key]) for key in ("ratio", "flops_per_image")})
    means = logs.groupby("model")[["ratio", "flops_per_image"]].mean().apply(np.exp)
    return means.sort_values("flops_per_image").reset_index()


def model_size_title(points, devices):
    """The finding of the figure of ratios by model size."""
    parts = []
    for device in devices[1:]:
        means = means_by_model(points[points["device"] == device.name]) if len(points) else points
        if len(means) > 1:
            small, large = means.iloc[0], means.iloc[-1]
            parts.append(
                f"{device.label} at {numbers.ratio(small['ratio'])} on {small['model']} and "
                f"{numbers.ratio(large['ratio'])} on {large['model']}"
            )
    if not parts:
        return "Whether the gap widens with the model was not measured"
    return f"Against {devices[0].label}: {numbers.listing(parts)}"
