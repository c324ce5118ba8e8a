"""The sentences of the page: verdicts, and what stands around them.

Takes numbers and codes, and the labels of devices. The winner is named, with a ratio of at least 1.
"""

from collections.abc import Callable
from typing import Any

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze.efficiency import SCOPE_WORDS, UNKNOWN
from trainoff.analyze.pairs import Pair, Verdict, agree
from trainoff.analyze.parity import Standing
from trainoff.energy import MEASURED
from trainoff.report.economy import WAY_WORDS
from trainoff.report.palette import Device
from trainoff.report.reasons import without_device

VERDICT_WORDS = {
    "faster": "faster",
    "slower": "slower",
    "equivalent": "equivalent",
    "undecided": "undecided",
    "not_comparable": "not comparable",
}
PARITY_WORDS = {"same": "match", "departs": "mismatch", "not_judged": "inconclusive"}
HEADINGS = {"speed": "Speed", "energy": "Energy", "money": "Money"}
KIND_WORDS = {"measured": "measured", "estimated": "estimated from prices", "unknown": "unknown"}
METER_CURE = "Give the file of a wall meter in `energy.wall_meters`, or watts in `energy.declared`."
PRICE_CURE = "Add `{name}` to `money.prices`, as docs/energy.md shows."
REPLICATE_CURE = "Set `replicates: 3` and start again; finished runs are kept."
WALL_METER_CURE = "A wall meter covers every machine alike: give its file in `energy.wall_meters`."


def verdict(
    found: Verdict, labels: dict[str, str], currency: str, least_times: dict[str, str] | None = None
) -> dict[str, Any]:
    """A tile of the page from an analyze.pairs.Verdict. least_times: {device: economy.least_time} of those with a price of rent.

    {"quantity", "heading", "value", "winner", "claim", "details": [str], "kind", "sentence", "cure"}; winner is the name of a
    device or None.
    """
    if found.quantity == "money":
        made = _money(found, labels, currency, least_times or {})
    else:
        made = {"speed": _speed, "energy": _energy}[found.quantity](found, labels)
    settled = found.outcome == "wins"
    details = [_interval(found)] if found.ratio else []
    if found.compared:
        details.append(counted(found.compared, found.total))
    return {
        "quantity": found.quantity,
        "heading": HEADINGS[found.quantity],
        "value": numbers.ratio(found.ratio) if found.ratio else "Unknown",
        "winner": found.winner if settled else None,
        "settled": settled,
        "details": [text for text in details if text],
        "kind": KIND_WORDS[found.kind],
        "cure": "",
    } | made


def counted(number: int, total: int) -> str:
    """So many of all configurations: "all 8 configurations", "7 of 8 configurations", "both configurations"."""
    if number < total:
        return f"{number} of {numbers.count(total, 'configuration')}"
    return {1: "the one configuration", 2: "both configurations"}.get(total, f"all {total:,} configurations")


def _interval(found):
    return f"95% interval {ratio_interval(found.low, found.high)}" if found.low and found.high else ""


def _range(found):
    return _interval(found).replace("95% interval", "range")


def ratio_interval(low: float | None, high: float | None) -> str:
    """The interval of a ratio: "3.1–3.4"."""
    return numbers.ratio_interval(low, high).replace(" to ", "–")


def _tail(found):
    """What follows a ratio in a sentence: its interval and the configurations behind it."""
    interval = f" ({_interval(found)})" if _interval(found) else ""
    where = counted(found.compared, found.total)
    return interval, where if found.compared == found.total else f"the {where} that can be compared"


def _speed(found, labels):
    if found.outcome == "unknown":
        reason = "No configuration has a speed on both devices"
        return {"claim": reason, "sentence": f"{reason}; the table of ratios says why.", "value": "Unknown"}
    if found.parts:
        return _speed_of_parts(found, labels)
    winner, loser = labels[found.winner], labels[found.loser]
    interval, where = _tail(found)
    if found.outcome == "wins":
        judged = f", in {where}"
        if found.won < found.compared:
            judged = f" over {where}: faster in {found.won}"
            judged += f", slower in {found.lost}" if found.lost else ""
            rest = found.compared - found.won - found.lost
            judged += f", undecided in {rest}" if rest else ""
        sentence = f"{winner} is {numbers.ratio(found.ratio)} as fast as {loser}{interval}{judged}."
        return {"claim": f"{winner} is faster", "sentence": sentence}
    if found.outcome == "equivalent":
        return {
            "claim": "Equally fast",
            "sentence": f"{winner} and {loser} are equally fast, within 5%, in {where}.",
        }
    claim = "No winner yet"
    return {
        "claim": claim,
        "sentence": f"{claim}: {winner} measured {numbers.ratio(found.ratio)} as fast as {loser}{interval} over {where}, which "
        "may be chance.",
        "cure": REPLICATE_CURE,
    }


def _speed_of_parts(found, labels):
    """All weights and the last layer alone differ too much for one ratio: both are said."""
    parts = dict(zip(("all weights", "the last layer alone"), found.parts, strict=True))
    same = agree(found)
    told = [
        f"{'' if same else f'{labels[part.winner]} '}{numbers.ratio(part.ratio)} with {name} ({_interval(part)})"
        for name, part in parts.items()
    ]
    if same:
        winner, loser = labels[found.winner], labels[found.loser]
        ratios = " and ".join(
            f"{numbers.ratio(part.ratio)} with {name} ({_interval(part)})" for name, part in parts.items()
        )
        sentence = f"{winner} is faster than {loser}: {ratios}."
    else:
        sentence = " and ".join(
            f"with {name} {labels[part.winner]} is {numbers.ratio(part.ratio)} as fast as {labels[part.loser]} "
            f"({_interval(part)})"
            for name, part in parts.items()
        )
        sentence = f"It depends: {sentence}."
    claim = f"{labels[found.winner]} is faster" if same else "It depends on what is trained"
    return {
        "value": " / ".join(numbers.ratio(part.ratio) for part in parts.values()),
        "claim": claim,
        "details": told,
        "sentence": sentence,
        **({} if same else {"winner": None, "settled": False}),
    }


def _energy(found, labels):
    if found.outcome == "estimated":
        return _estimated_energy(found, labels)
    if found.outcome != "unknown":
        winner, loser = labels[found.winner], labels[found.loser]
        interval, where = _tail(found)
        about = SCOPE_WORDS.get(found.facts[found.winner]["scope"], "")
        if found.outcome == "wins":
            return {
                "claim": f"{winner} needs less energy",
                "sentence": f"{loser} needs {numbers.ratio(found.ratio)} as much energy per image as {winner}{interval}, in "
                f"{where}; both readings cover {about}.",
            }
        return {
            "claim": "No winner yet",
            "sentence": f"Whether {winner} or {loser} needs less energy is undecided{interval}.",
            "cure": REPLICATE_CURE,
        }
    readings = [
        f"{labels[name]} {numbers.significant(1000 * one['joules_per_image'])} J per 1,000 images ({_covers(one)})"
        for name, one in found.facts.items()
    ]
    codes = set(found.reasons.values())
    if codes == {"other_scope"}:
        return {
            "value": "Unknown",
            "claim": "Readings cover different parts",
            "details": readings,
            "sentence": f"Energy cannot be compared, as the readings cover different parts: {'; '.join(readings)}.",
            "cure": WALL_METER_CURE,
            "kind": "measured, not comparable",
        }
    whose = [labels[name] for name, code in found.reasons.items() if code not in ("not_comparable",)]
    claim = f"Not measured on {numbers.listing(whose)}" if whose else "Not measured on a common configuration"
    reasons = [_energy_reason(code) for code in dict.fromkeys(found.reasons.values())]
    text = " ".join([f"Energy was {claim[0].lower()}{claim[1:]}.", *filter(None, reasons)])
    return {"claim": claim, "details": readings, "sentence": text, "cure": METER_CURE if whose else ""}


def _estimated_energy(found, labels):
    """A ratio of readings that cover different parts: an estimate, with the parts named."""
    winner, loser = labels[found.winner], labels[found.loser]
    in_part = found.facts[found.loser]["in_part"]
    covers = {name: SCOPE_WORDS.get(one["covers"], one["covers"]) for name, one in found.facts.items()}
    times = numbers.ratio(found.ratio)
    return {
        "value": f"{'≥' if in_part else '≈'} {times}",
        "claim": f"{winner} needs less energy, by an estimate",
        "details": [f"{labels[name]}: {text}" for name, text in covers.items()]
        + [counted(found.compared, found.total)],
        "sentence": f"{loser} needs {'at least' if in_part else 'about'} {times} as much energy per image as {winner}. This is "
        f"an estimate: the {loser} reading covers {covers[found.loser]}, the {winner} reading {covers[found.winner]}.",
        "cure": WALL_METER_CURE,
        "kind": "estimated from readings of different parts",
    }


def _energy_reason(code):
    known = {
        "declared": "Its watts are declared, not measured.",
        "not_comparable": "",
        UNKNOWN.reason: "",
        "unread": "",
    }
    return known.get(code, without_device(code))


def _covers(one):
    words = SCOPE_WORDS.get(one["scope"], one["scope"])
    return words if one["source"] in MEASURED else f"{words}, declared"


def _money(found, labels, currency, least_times):
    each = [
        f"{labels[name]} {WAY_WORDS[one['way']]}: {numbers.significant(1000 * one['per_1000_images'])} {currency} per million "
        f"images{least_times.get(name, '') if one['way'] == 'rented' else ''}"
        for name, one in found.facts.items()
    ]
    if found.outcome == "unknown":
        names = [name for name, code in found.reasons.items() if code != "not_comparable"]
        claim = no_cost({name: found.reasons[name] for name in names}, labels)
        cure = PRICE_CURE.format(name=names[0]) if names else ""
        if "no_energy" in found.reasons.values():
            cure = METER_CURE
        return {"claim": claim, "details": each, "sentence": f"Cost is unknown: {claim}.", "cure": cure}
    winner, loser = labels[found.winner], labels[found.loser]
    interval, where = _tail(found)
    if found.outcome == "wins":
        return {
            "claim": f"{winner} costs less",
            "details": [*each, *([_range(found)] if _range(found) else [])],
            "sentence": f"Training on {loser}, {_way(found, found.loser)}, costs {numbers.ratio(found.ratio)} as much as on "
            f"{winner}, {_way(found, found.winner)}{interval.replace('95% interval', 'range')}, in {where}.",
        }
    return {
        "claim": "No clear winner",
        "details": each,
        "sentence": f"Whether {winner} or {loser} costs less is undecided{interval.replace('95% interval', 'range')}.",
        "cure": REPLICATE_CURE,
    }


def no_cost(reasons: dict[str, str], labels: dict[str, str]) -> str:
    """Why devices have no cost. reasons: {device: code}."""
    needs = {"no_price": "no price", "no_energy": "a price but no energy reading", "no_run": "no run"}
    groups = {}
    for name, code in reasons.items():
        groups.setdefault(needs.get(code, "no cost"), []).append(labels[name])
    parts = [
        f"{numbers.listing(names)} {'has' if len(names) == 1 else 'have'} {need}" for need, names in groups.items()
    ]
    return numbers.listing(parts) or "no configuration has a cost on both devices"


def _way(found, name):
    return WAY_WORDS[found.facts[name]["way"]]


# --- The head of the page -------------------------------------------------------------------------------------------


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
    sweep: Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame, str], dict[str, float | None]],
) -> list[str]:
    """How long all runs of this sweep took on both devices of the pair. sweep: trainoff.report.training.sweep."""
    if pair is None:
        return []
    taken = {name: sweep(runs, windows, energy_windows, name)["seconds"] for name in (pair.device, pair.baseline)}
    counts = {name: int((runs["device"] == name).sum()) for name in taken}
    parts = [f"{numbers.seconds(taken[name])} on {labels[name]}" for name in taken if counts[name]]
    if len(set(counts.values())) > 1:
        parts = [f"{part} ({numbers.count(counts[name], 'run')})" for part, name in zip(parts, taken, strict=True)]
    return [f"The whole sweep took {numbers.listing(parts)}, cold starts included."]


def memory_lines(runs: pd.DataFrame, devices: list[Device]) -> list[str]:
    """The most memory that a run of each device took; [] where no record says it. devices: palette.Device."""
    columns = ["peak_memory_bytes", "peak_device_memory_bytes"]
    peaks = [(device.label, *runs.loc[runs["device"] == device.name, columns].max()) for device in devices]
    parts = [f"{label} {peak_memory(*peak)}" for label, *peak in peaks if numbers.known(peak[0])]
    return [f"Peak memory of a run: {'; '.join(parts)}."] if parts else []


def peak_memory(of_process: float | None, of_device: float | None) -> str:
    """Memory in bytes: "0.8 GiB", and where a framework counts that of its device "0.8 GiB + 3.2 GiB on the device"."""
    on_device = f" + {numbers.gibibytes(of_device)} on the device" if numbers.known(of_device) else ""
    return f"{numbers.gibibytes(of_process)}{on_device}" if numbers.known(of_process) else ""


def equally_well(standing: Standing, pair: Pair | None, labels: dict[str, str]) -> list[str]:
    """Whether both devices of the pair train the same; [] without a pair or where a warning says it."""
    if pair is None:
        return []
    if standing.table is None:
        return ["Whether both train equally well was not checked."]
    names = (pair.device, pair.baseline)
    if set(names) & {*standing.departing(), *standing.unjudged()}:
        return []
    return [
        f"{labels[pair.device]} and {labels[pair.baseline]} train equally well: outputs and first losses match the reference."
    ]


def sustained(ratios: dict[str, tuple[float, int]], labels: dict[str, str]) -> str:
    """What the last minute of long runs has left of the first. ratios: {device: (ratio, minutes)}; labels: of devices."""
    named = sorted(((ratio, labels[device], minutes) for device, (ratio, minutes) in ratios.items()), reverse=True)
    if len(named) > 3:
        named = [named[0], named[-1]]
    (_, first, minutes), *others = named
    parts = [f"{first} trains at {numbers.percent(named[0][0])} of its first minute's speed"]
    parts += [
        f"{label} at {numbers.percent(ratio)}{'' if other == minutes else f' (after {other})'}"
        for ratio, label, other in others
    ]
    return f"After {minutes} minutes {numbers.listing(parts)}"


def sustained_lines(ratios: dict[str, tuple[float, int]], labels: dict[str, str]) -> list[str]:
    """The same as a line of the page; [] where no run took minutes."""
    return [f"{sustained(ratios, labels)}."] if ratios else []


def excerpt_note(shown: int, total: int, runs: int) -> str:
    """What a reader without scripting must know of a page that writes only some configurations row by row."""
    return (
        f"This table shows {shown:,} of {total:,} configurations, spread evenly over the grid. The answer and the figures cover "
        f"all {numbers.count(runs, 'run')}; with JavaScript, so does this table."
    )


def reproduce(runs: pd.DataFrame) -> list[str]:
    """Lines of a shell that repeat this experiment, with the versions it was measured with."""

    def told(column):
        return numbers.listing(sorted({str(value) for value in runs[column].dropna()})) or "unknown"

    return [
        f"# protocol {told('protocol_version')}, Keras {told('keras')}, "
        f"training code {numbers.listing(_short(runs['code_sha256']))}",
        "# on each machine, with the experiment below saved as experiment.yaml:",
        "make report CONFIG=experiment.yaml",
        "# to bring machines together: make the bundle there, put the zip into imports/ here",
        "make bundle CONFIG=experiment.yaml",
    ]


def _short(hashes):
    return sorted({str(value)[:12] for value in hashes.dropna()}) or ["unknown"]
