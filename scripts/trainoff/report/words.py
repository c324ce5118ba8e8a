"""The sentences around the verdicts of the page. Takes numbers and codes, and the labels of devices."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze import cells
from trainoff.analyze.pairs import Pair
from trainoff.analyze.parity import Standing
from trainoff.analyze.sustained import Sustained
from trainoff.report.palette import Device
from trainoff.windows import DRIFT_LIMIT, SCATTER_LIMIT

# What "unstable" means, of results in the plural.
UNSTABLE = (
    f"their speed scattered by more than {SCATTER_LIMIT:.0%} or drifted by more than {DRIFT_LIMIT:.0%} within a run"
)


def summary(runs: pd.DataFrame, devices: list[Device]) -> str:
    """One line under the title: how much was run, and when."""
    parts = [
        numbers.count(len(devices), "device"),
        numbers.count(len(naming.all_configurations(runs)), "configuration"),
        numbers.count(len(runs), "run"),
    ]
    return f"{', '.join(parts)}, {moment(runs['started_at'].min())} to {moment(runs['finished_at'].max())} UTC"


def moment(text: str) -> str:
    """A time stamp of a record, to the minute: "2026-01-02 00:07"."""
    return str(text).replace("T", " ")[:16]


def sweep_lines(
    runs: pd.DataFrame,
    windows: pd.DataFrame,
    energy_windows: pd.DataFrame,
    pair: Pair | None,
    labels: dict[str, str],
    sweep: Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame, str], dict[str, float | bool | None]],
) -> list[str]:
    """How long all runs of this sweep took on both devices of the pair. sweep: trainoff.report.training.sweep."""
    if pair is None:
        return []
    sweeps = {name: sweep(runs, windows, energy_windows, name) for name in (pair.device, pair.baseline)}
    counts = {name: int((runs["device"] == name).sum()) for name in sweeps}
    uneven = len(set(counts.values())) > 1
    parts = [
        f"{'' if taken['whole'] else 'at least '}{numbers.seconds(taken['seconds'])} on {labels[name]}"
        + (f" ({numbers.count(counts[name], 'run')})" if uneven else "")
        for name, taken in sweeps.items()
        if taken["seconds"]
    ]
    return [f"The cold starts and epochs of all runs took {numbers.listing(parts)}."] if parts else []


def memory_lines(runs: pd.DataFrame, devices: list[Device]) -> list[str]:
    """The largest peak memory of a run on each device; [] where no record holds it. devices: palette.Device."""
    columns = ["peak_memory_bytes", "peak_device_memory_bytes"]
    peaks = [(device.label, *runs.loc[runs["device"] == device.name, columns].max()) for device in devices]
    parts = [f"{label} {peak_memory(*peak)}" for label, *peak in peaks if numbers.known(peak[0])]
    return [f"Peak memory of a run: {'; '.join(parts)}."] if parts else []


def peak_memory(of_process: float | None, of_device: float | None) -> str:
    """Memory in bytes: "0.8 GiB", and where a framework counts that of its device "0.8 GiB + 3.2 GiB on the device"."""
    on_device = f" + {numbers.gibibytes(of_device)} on the device" if numbers.known(of_device) else ""
    return f"{numbers.gibibytes(of_process)}{on_device}" if numbers.known(of_process) else ""


def equally_well(standing: Standing, rates: pd.DataFrame, pair: Pair | None, labels: dict[str, str]) -> list[str]:
    """Whether both devices of the pair train the same; [] without a pair or where a warning says it. rates: the table."""
    if pair is None or {pair.device, pair.baseline} & {*standing.mismatched(), *standing.inconclusive()}:
        return []
    measured = rates.dropna(subset="images_per_second")
    sides = [measured[measured["device"] == name] for name in (pair.device, pair.baseline)]
    both = sides[0].merge(sides[1], on=list(naming.AXES), suffixes=("", "_of_baseline"))
    matching = int(((both["parity"] == "match") & (both["parity_of_baseline"] == "match")).sum())
    if standing.table is None or (len(both) and not matching):
        return ["Whether both train equally well was not checked."]
    where = "" if matching == len(both) else f" in {matching} of {len(both)} configurations, the only ones checked"
    text = f"{labels[pair.device]} and {labels[pair.baseline]} train equally well{where}: "
    return [f"{text}outputs and first losses match the reference."] if matching else []


def sustained(ratios: dict[str, Sustained], labels: dict[str, str]) -> str:
    """What remains of the speed of the first minute in the last one of long runs.

    ratios: {device: Sustained}. labels: of devices.
    """
    ranked = sorted(((taken.ratio, labels[device], taken) for device, taken in ratios.items()), reverse=True)
    if len(ranked) > 3:
        ranked = [ranked[0], ranked[-1]]
    (ratio, label, first), *others = ranked
    parts = [f"{label} runs at {numbers.percent(ratio)} of the speed of {_first_minute(first)}"]
    for ratio, label, other in others:
        unlike = [f"after {_minutes(other.last)} minutes"] if other.last != first.last else []
        unlike += [f"relative to {_first_minute(other)}"] if other.first != first.first else []
        parts.append(f"{label} at {numbers.percent(ratio)}" + (f" ({', '.join(unlike)})" if unlike else ""))
    return f"After {_minutes(first.last)} minutes, {numbers.listing(parts)}"


def _first_minute(taken):
    """The minute whose speed is 100%: a later one than the first where the warm-up took longer."""
    if taken.first == (1, 1):
        return "its first minute"
    return f"its {'minute' if taken.first[0] == taken.first[1] else 'minutes'} {_minutes(taken.first)}"


def _minutes(ends):
    return numbers.span(*ends, "{:d}".format)


def sustained_lines(ratios: dict[str, Sustained], labels: dict[str, str]) -> list[str]:
    """The same as a line of the page; [] where no run took minutes."""
    return [f"{sustained(ratios, labels)}."] if ratios else []


def disturbed(runs: pd.DataFrame, labels: dict[str, str]) -> list[str]:
    """A sentence per device whose machine slowed runs down: throttled ones and the like. labels: of devices."""
    words = {
        "throttled": "throttled",
        "swapping": "swapped memory to disk",
        "on battery": "ran on battery",
        "low-power mode": "ran in low-power mode",
    }
    sentences = []
    for name, group in runs[runs["status"] == "ok"].groupby("device", sort=False):
        flags = [cells.disturbances(run) for run in group.to_dict("records")]
        counts = {flag: sum(flag in of_run for of_run in flags) for flag in words}
        if parts := [f"{count} {words[flag]}" for flag, count in counts.items() if count]:
            total = numbers.count(len(group), "run")
            sentences.append(
                f"Of {total} on {labels.get(name, name)}, {numbers.listing(parts)}; their speed may be too low."
            )
    return sentences


def warm_up(settings: dict[str, Any]) -> str:
    """Which epochs count. settings: keys of the experiment."""
    epochs = (settings.get("protocol") or {}).get("warm_up_epochs", 1)
    if epochs == 0:
        return "Every epoch counts."
    if epochs == 1:
        return "The first epoch warms up and is not counted."
    return f"The first {epochs} epochs warm up and are not counted."


def excerpt_note(shown: int, total: int, runs: int) -> str:
    """What a reader without scripting must know of a page that writes only some configurations row by row."""
    return (
        f"This table shows {shown:,} of {total:,} configurations, spread evenly over the grid. The answer and the figures cover "
        f"all {numbers.count(runs, 'run')}; with JavaScript, so does this table."
    )


def reproduce(runs: pd.DataFrame) -> list[str]:
    """Lines of a shell that repeat this experiment, with the versions it was measured with."""

    def values(column):
        return numbers.listing(sorted({str(value) for value in runs[column].dropna()})) or "unknown"

    return [
        f"# protocol {values('protocol_version')}, Keras {values('keras')}, "
        f"training code {numbers.listing(_short(runs['code_sha256']))}",
        "# on each machine, with the experiment below saved as experiment.yaml:",
        "make report CONFIG=experiment.yaml",
        "# to bring machines together: make the bundle there, put the zip into imports/ here",
        "make bundle CONFIG=experiment.yaml",
    ]


def _short(hashes):
    return sorted({str(value)[:12] for value in hashes.dropna()}) or ["unknown"]
