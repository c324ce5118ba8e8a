"""What the figures say in words: titles that state the finding, and notes. Every number comes from the tables."""

from collections.abc import Collection

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers, records
from trainoff.analyze import pairs
from trainoff.analyze.cells import COUNTED_WORDS
from trainoff.analyze.stats import EQUIVALENCE
from trainoff.report.palette import Device
from trainoff.report.words import UNSTABLE


def trained_with(runs: pd.DataFrame) -> str:
    """Which images and starting weights: "digits, random weights"; both matter wherever accuracy is shown."""
    datasets = sorted({str(name) for name in runs["dataset"].dropna()}) or ["unknown images"]
    weights = sorted({weights_text(name) for name in runs["weights"].dropna()}) or ["unknown starting weights"]
    return f"{numbers.listing(datasets)}, {numbers.listing(weights)}"


def weights_text(name: str) -> str:
    """Starting weights in words."""
    return {"random": "random starting weights", "imagenet": "ImageNet weights"}.get(name, f"weights from {name}")


def rates_by_device(rates: pd.DataFrame, devices: list[Device]) -> list[tuple[Device, float, float, int]]:
    """[(device, lowest rate, highest rate, number of configurations)] for devices with a rate."""
    result = []
    for device in devices:
        throughputs = rates.loc[rates["device"] == device.name, "images_per_second"].dropna()
        if len(throughputs):
            result.append((device, throughputs.min(), throughputs.max(), len(throughputs)))
    return result


def throughput_title(rates: pd.DataFrame, devices: list[Device]) -> str:
    """The finding of the throughput figure."""
    ranges = rates_by_device(rates, devices)
    if not ranges:
        return "No run gave a speed"
    if len(ranges) <= 3:
        parts = [f"{device.label} {numbers.span(low, high)}" for device, low, high, _ in ranges]
        return f"Images per second, slowest to fastest configuration: {numbers.listing(parts)}"
    slowest = min(ranges, key=lambda row: row[1])
    fastest = max(ranges, key=lambda row: row[2])
    return (
        f"From {numbers.significant(slowest[1])} images per second on {slowest[0].label} "
        f"to {numbers.significant(fastest[2])} on {fastest[0].label}"
    )


def each_device_title(rates: pd.DataFrame, devices: list[Device]) -> str:
    """The finding of the panels of each device alone: which configuration it trains fastest."""
    best = {}
    for device in devices:
        measured = rates[rates["device"] == device.name].dropna(subset="images_per_second")
        if len(measured):
            best[device.label] = naming.configuration_of(measured.loc[measured["images_per_second"].idxmax()])
    if not best:
        return "No run gave a training speed"
    varying = naming.varying_axes(naming.all_configurations(rates))
    names = {
        label: naming.label(configuration, varying) or "the one configuration" for label, configuration in best.items()
    }
    if len(set(names.values())) == 1:
        every = "Every device is" if len(names) > 1 else f"{next(iter(names))} is"
        return f"{every} fastest on {next(iter(names.values()))}"
    if len(names) <= 3:
        return "; ".join(f"{label} is fastest on {name}" for label, name in names.items())
    return f"The {len(names)} devices are fastest on {len(set(names.values()))} different configurations"


def throughput_notes(runs: pd.DataFrame, rates: pd.DataFrame) -> list[str]:
    """What a reader of the throughput figure must know."""
    notes = [
        "Filled dot: median of the timed epochs, with the device synchronized at both ends of each. Line: 95% interval. Faint "
        "dots: the epochs themselves, of runs that ended well."
    ]
    if (rates["images_per_second"].notna() & rates["ci_low"].isna()).any():
        notes.append("No line: a single epoch was counted, so its noise is unknown.")
    return [*notes, one_replicate_note(rates), unstable_note(rates), parity_note(rates, "results")]


def one_replicate_note(rates: pd.DataFrame) -> str:
    """The note about single runs; "" when every result has several."""
    measured = rates.dropna(subset="images_per_second")
    single = int(measured["one_replicate"].astype(bool).sum())
    if not single:
        return ""
    which = (
        "Each result is a single run"
        if single == len(measured)
        else f"{single} of {len(measured)} results are single runs"
    )
    return f"{which}, so run-to-run variation is assumed from the kind of device; the interval includes it."


def unstable_note(rates: pd.DataFrame) -> str:
    """Says how many speeds drifted or scattered; "" when none did."""
    measured = rates.dropna(subset="images_per_second")
    unstable = int(measured["unstable"].fillna(False).astype(bool).sum())
    if not unstable:
        return ""
    return f"{unstable} of {len(measured)} results are marked unstable: {UNSTABLE}."


def parity_note(table: pd.DataFrame, what: str) -> str:
    """Says how many results or ratios are of a device that computes something else; "" when none is."""
    measured = table.dropna(subset="images_per_second")
    mismatched = int((measured["parity"] == "mismatch").sum())
    if not mismatched:
        return ""
    return (
        f"{mismatched} of {len(measured)} {what} are of a device that does not match the reference: it may be fast because it "
        "computes something else."
    )


def ratio_title(overall: pd.DataFrame, baseline: Device, devices: list[Device]) -> str:
    """The finding of the ratio figure. overall: the table, with all its subsets."""
    labels = {device.name: device.label for device in devices}
    against = pairs.against(overall[overall["subset"] == "all"], baseline.name).dropna(subset="ratio")
    ratio_rows = against.sort_values("ratio", ascending=False).to_dict("records")
    if not ratio_rows:
        return f"No configuration can be compared with {baseline.label}"
    parts = []
    for row in ratio_rows:
        verdict = pairs.speed_of(overall, pairs.Pair(row["device"], baseline.name))
        winner, loser = ({**labels, baseline.name: baseline.label}[name] for name in (verdict.winner, verdict.loser))
        if verdict.parts and pairs.agree(verdict):
            all_weights, last_layer = (numbers.ratio(part.ratio) for part in verdict.parts)
            parts.append(f"{winner} is {all_weights} (all weights) and {last_layer} (last layer) as fast as {loser}")
        elif verdict.parts:
            parts.append(f"{winner} or {loser}: it depends on what is trained")
        elif verdict.outcome == "wins":
            parts.append(f"{winner} is {numbers.ratio(verdict.ratio)} as fast as {loser}")
        elif verdict.outcome == "depends":
            parts.append(f"{winner} or {loser}: it depends on the configuration")
        elif verdict.outcome == "equivalent":
            parts.append(f"{winner} and {loser} are equally fast")
        else:
            parts.append(f"no winner between {winner} and {loser}")
    title = "; ".join(parts[:3]) + (f"; and {len(parts) - 3} more" if len(parts) > 3 else "")
    return title.replace("no winner", "No winner", 1) if title.startswith("no winner") else title


def ratio_notes(comparison: pd.DataFrame, overall: pd.DataFrame) -> list[str]:
    """What a reader of the ratio figure must know."""
    known = overall.dropna(subset="ratio")
    compared, total = known["configurations_compared"], known["configurations_total"].max()
    notes = [
        "Lines: 95% intervals. Decided: faster, slower or equivalent, after correction for the number of comparisons (see the "
        "method).",
        f"Geometric mean: over {numbers.span(compared.min(), compared.max(), '{:,.0f}'.format)} of "
        f"{numbers.count(int(total), 'configuration')}, those that can be compared."
        if len(known)
        else "",
    ]
    # A ratio that was measured in turns rests on no single run.
    of_runs = comparison["ratio"].notna() & (comparison["source"] == "runs")
    single = ((comparison["replicates"] == 1) | (comparison["baseline_replicates"] == 1)) & of_runs
    if single.any():
        notes.append(
            f"{int(single.sum())} of {int(comparison['ratio'].notna().sum())} ratios rest on a single run of a "
            "device, so run-to-run variation is assumed from the kind of device."
        )
    return [*notes, parity_note(comparison.dropna(subset="ratio"), "ratios")]


def last_layer_gains(rates: pd.DataFrame) -> pd.DataFrame:
    """One row per device and configuration without `trainable`: how many times faster the last layer trains.

    Columns: the other axes, device, gain, gain_low, gain_high, last_layer, all_weights, unstable. The bounds are the
    lowest and highest ratio that the two 95% intervals allow, which is wider than a 95% interval of the ratio.
    """
    axes = [axis for axis in naming.AXES if axis != "trainable"]
    rates = rates.assign(trainable=rates["trainable"].astype(bool))
    whole = rates[rates["trainable"]].drop(columns="trainable")
    last = rates[~rates["trainable"]].drop(columns="trainable")
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


def last_layer_title(gains: pd.DataFrame, devices: list[Device]) -> str:
    """The finding of the last-layer figure."""
    ranges = _range_by_device(gains, devices, "gain")
    if not ranges:
        return "No device was measured both ways: the last layer alone and all weights"
    if len(ranges) <= 2:
        parts = [
            f"{numbers.span(low, high, numbers.ratio)} as fast on {device.label}" for device, low, high, _ in ranges
        ]
        return f"Training only the last layer is {numbers.listing(parts)}"
    lowest, *_, highest = sorted(ranges, key=lambda row: row[3])
    if _alike(lowest[3], highest[3]):
        gain = numbers.span(lowest[3], highest[3], numbers.ratio)
        return f"Training only the last layer is {gain} as fast on all {len(ranges)} devices"
    return (
        f"Training the last layer alone gains most on {highest[0].label} (median {numbers.ratio(highest[3])}) "
        f"and least on {lowest[0].label} ({numbers.ratio(lowest[3])})"
    )


def learning_title(runs: pd.DataFrame, devices: list[Device], left_out: Collection[str] = ()) -> str:
    """The finding of the learning curves: where validation accuracy ended, without the devices named in `left_out`."""
    devices = [device for device in devices if device.name not in left_out]
    compared = runs["device"].isin([device.name for device in devices])
    finished = runs.loc[compared & (runs["status"] == "ok")].dropna(subset="final_val_accuracy")
    ranges = _range_by_device(finished, devices, "final_val_accuracy")
    if not ranges:
        return "No run has a final validation accuracy"
    epochs = finished["epochs"]
    after = numbers.span(epochs.min(), epochs.max(), lambda value: f"{int(value)}")
    after += " epoch" if after == "1" else " epochs"
    if len(ranges) <= 2:
        parts = [f"{numbers.span(low, high, numbers.percent)} on {device.label}" for device, low, high, _ in ranges]
        return f"Validation accuracy after {after}: {numbers.listing(parts)}"
    span = numbers.span(finished["final_val_accuracy"].min(), finished["final_val_accuracy"].max(), numbers.percent)
    return f"Validation accuracy after {after}: {span} over {len(ranges)} devices"


def learning_notes(runs: pd.DataFrame, many_replicates: bool, mismatched: Collection[str] = ()) -> list[str]:
    """What a reader of the learning curves must know. mismatched: labels of devices that do not train the same."""
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
    return [*notes, _not_compared(mismatched)] if mismatched else notes


def other_work_note(labels: Collection[str]) -> str:
    """The note on curves of devices that did other work; "" without any."""
    if not labels:
        return ""
    return (
        f"{numbers.listing(labels)} did other work; the table of ratios says what differs. The curves are shown, but not "
        "compared."
    )


def _not_compared(labels):
    """The note on curves of devices that do not train the same."""
    return (
        f"{numbers.listing(labels)} {'does' if len(labels) == 1 else 'do'} not train the same as the reference: the curves "
        "are shown, but the accuracies are not compared."
    )


def cold_start_title(runs: pd.DataFrame, devices: list[Device]) -> str:
    """The finding of the cold-start figure."""
    table = cold_starts(runs)
    ranges = _range_by_device(table.dropna(subset="total"), devices, "total")
    if not ranges:
        return "No run reached its first training step"
    if len(ranges) <= 2:
        parts = [f"{numbers.span(low, high, numbers.seconds)} on {device.label}" for device, low, high, _ in ranges]
        head = f"From start to the end of the first training step: {numbers.listing(parts)}"
    else:
        lowest, *_, highest = sorted(ranges, key=lambda row: row[3])
        head = (
            f"Starting up takes longest on {highest[0].label} (median {numbers.seconds(highest[3])}) "
            f"and shortest on {lowest[0].label} ({numbers.seconds(lowest[3])})"
        )
        if _alike(lowest[3], highest[3]):
            head = (
                f"Starting up takes {numbers.span(lowest[3], highest[3], numbers.seconds)} on all {len(ranges)} devices"
            )
    whole = table.dropna(subset="total")
    share = (whole["first_step_seconds"] / whole["total"]).median()
    return f"{head}; the first step accounts for {numbers.percent(share)}"


def cold_starts(runs: pd.DataFrame) -> pd.DataFrame:
    """Median cold start per configuration and device; `total` is null where a part is unknown."""
    parts = list(records.COLD_START)
    table = runs[[*naming.AXES, "device", *parts]].copy()
    table[parts] = table[parts].apply(pd.to_numeric)
    table = table.groupby([*naming.AXES, "device"], as_index=False)[parts].median()
    table["total"] = table[parts].sum(axis=1, skipna=False)
    return table


def matrix_title(runs: pd.DataFrame) -> str:
    """The finding of the run matrix."""
    counts = runs["status"].value_counts()
    good = int(counts.get("ok", 0))
    failed = [
        f"{int(counts[status])} {words}"
        for status, words in COUNTED_WORDS.items()
        if status != "ok" and status in counts
    ]
    if not failed:
        return f"All {len(runs):,} runs ended well" if len(runs) > 1 else "The only run ended well"
    return f"{good:,} of {len(runs):,} runs ended well; {numbers.listing(failed)}"


def _alike(lowest, highest):
    """Whether two medians are so near that no title says which is larger."""
    return highest <= lowest * (1 + EQUIVALENCE)


def _range_by_device(table, devices, column):
    """[(device, lowest, highest, median)] of a column, for devices that have a value."""
    result = []
    for device in devices:
        values = table.loc[table["device"] == device.name, column].dropna()
        if len(values):
            result.append((device, values.min(), values.max(), values.median()))
    return result


def to_accuracy_title(
    curves: dict[str, dict[str, list[float] | None]], devices: list[Device], left_out: Collection[str] = ()
) -> str:
    """The finding of accuracy against time: how soon each device got as far as the least accurate one did.

    Without the devices named in `left_out`, which do not train the same or did other work.
    """
    by_label = {device.label: curves[device.name] for device in devices if device.name in curves.keys() - {*left_out}}
    if not by_label:
        return "No device that trains the same as the reference reached an accuracy"
    goal = min(max(curve["accuracy"]) for curve in by_label.values())
    times = {
        label: next(
            seconds for seconds, accuracy in zip(curve["seconds"], curve["accuracy"], strict=True) if accuracy >= goal
        )
        for label, curve in by_label.items()
    }
    ranked = sorted(times.items(), key=lambda item: item[1])
    parts = [f"{label} in {numbers.seconds(seconds)}" for label, seconds in ranked[:3]]
    return f"{numbers.percent(goal)} validation accuracy: {numbers.listing(parts)}"


def to_accuracy_notes(
    runs: pd.DataFrame,
    curves: dict[str, dict[str, list[float] | None]],
    devices: list[Device],
    mismatched: Collection[str] = (),
    other_work: Collection[str] = (),
) -> list[str]:
    """What a reader of accuracy against time must know.

    mismatched, other_work: names of devices that do not train the same, and of those that did other work.
    """
    notes = [
        f"One dot per epoch, the median over the runs. Trained on {trained_with(runs)}: with few epochs this shows whether a "
        "device learns, not how good the model can become."
    ]
    for what, words in (("joules", "energy reading"), ("money", "price, or no energy reading")):
        missing = [device.label for device in devices if device.name in curves and curves[device.name][what] is None]
        if missing:
            notes.append(f"{numbers.listing(missing)}: no {words}.")
    notes.append(other_work_note([device.label for device in devices if device.name in other_work]))
    suspect = [device.label for device in devices if device.name in curves and device.name in mismatched]
    return [*notes, _not_compared(suspect)] if suspect else notes


def readings_title(runs: dict[str, pd.DataFrame], devices: list[Device]) -> str:
    """The finding of the figure of readings. runs: {device: rows of one run's series}; devices: palette.Device with one."""
    parts = []
    for device in devices:
        series = runs[device.name]
        hottest = next(
            (series[name].max() for name in ("gpu_celsius", "cpu_celsius") if series[name].notna().any()), None
        )
        watts = next(
            (series[name].mean() for name in ("gpu_watts", "soc_watts", "package_watts") if series[name].notna().any()),
            None,
        )
        facts = [] if hottest is None else [f"up to {hottest:.0f} °C"]
        facts += [] if watts is None else [f"{numbers.significant(watts)} W on average"]
        if facts:
            parts.append(f"{device.label} {' and '.join(facts)}")
    if not parts:
        return "Clocks over the longest run of each device; no machine reports temperature or power"
    return "; ".join(parts[:3]) if len(parts) <= 3 else f"Readings of {len(parts)} devices over their longest runs"
