"""The tiles of the first screen: who wins speed, energy and money, in a tile and in a sentence.

Takes numbers and codes, and the labels of devices. The winner is named, with a ratio of at least 1.
"""

from typing import Any

from trainoff import numbers
from trainoff.analyze.efficiency import SCOPE_WORDS, UNKNOWN
from trainoff.analyze.pairs import Verdict, agree
from trainoff.energy import MEASURED
from trainoff.report.economy import WAY_WORDS
from trainoff.report.reasons import without_device

HEADINGS = {"speed": "Speed", "energy": "Energy", "money": "Money"}
KIND_WORDS = {"measured": "measured", "estimated": "estimated from prices", "unknown": "unknown"}
METER_CURE = "Give the file of a wall meter in `energy.wall_meters`, or watts in `energy.declared`."
PRICE_CURE = "Add `{name}` to `money.prices`, as docs/energy.md shows."
REPLICATE_CURE = "Set `replicates: 3` and start again; finished runs are kept."
# Of a Verdict's parts.
PARTS = ("all weights", "the last layer alone")
# Of each quantity: the claim, the sentence where all weights and the last layer alone have one winner, and its half otherwise.
PHRASES_OF_PARTS = {
    "speed": (
        "{winner} is faster",
        "{winner} is faster than {loser}: {ratios}.",
        "{winner} is {ratio} as fast as {loser}",
    ),
    "energy": (
        "{winner} needs less energy",
        "{loser} needs more energy per image than {winner}: {ratios}{covers}.",
        "{loser} needs {ratio} as much energy per image as {winner}",
    ),
    "money": (
        "{winner} costs less",
        "Training on {loser}, {loser_way}, costs more than on {winner}, {winner_way}: {ratios}.",
        "training on {loser}, {loser_way}, costs {ratio} as much as on {winner}, {winner_way}",
    ),
}
WALL_METER_CURE = "A wall meter covers every machine alike: give its file in `energy.wall_meters`."


def verdict(
    found: Verdict, labels: dict[str, str], currency: str, least_times: dict[str, str] | None = None
) -> dict[str, Any]:
    """A tile of the page from an analyze.pairs.Verdict. least_times: {device: economy.least_time} of those with a price of rent.

    {"quantity", "heading", "value", "winner", "claim", "details": [str], "kind", "sentence", "cure"}; winner is the name of a
    device or None.
    """
    if found.parts:
        made = _of_parts(found, labels)
        if found.quantity == "money":
            made["details"] += _amounts(found, labels, currency, least_times or {})
    elif found.quantity == "money":
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


def _of_parts(found, labels):
    """All weights and the last layer alone differ too much for one ratio: both are said."""
    claim, together, alone = PHRASES_OF_PARTS[found.quantity]
    parts = dict(zip(PARTS, found.parts, strict=True))
    interval = _range if found.quantity == "money" else _interval

    def named(part):
        """Who wins and who loses, in the phrases' words."""
        names = {"winner": part.winner, "loser": part.loser}
        ways = {f"{side}_way": _way(part, name) for side, name in names.items()} if part.quantity == "money" else {}
        return {side: labels[name] for side, name in names.items()} | ways

    ratios = {name: f"{numbers.ratio(part.ratio)} with {name} ({interval(part)})" for name, part in parts.items()}
    made = {"value": " / ".join(numbers.ratio(part.ratio) for part in parts.values())}
    missing = [counted(found.compared, found.total)] if found.compared < found.total else []
    covers = ""
    if found.quantity == "energy":
        covers = f"; both readings cover {SCOPE_WORDS.get(found.facts[found.winner]['scope'], '')}"
    if agree(found):
        return made | {
            "winner": found.winner,
            "settled": True,
            "claim": claim.format(**named(found)),
            "details": [*ratios.values(), *missing],
            "sentence": together.format(**named(found), ratios=numbers.listing(list(ratios.values())), covers=covers),
        }
    told = [
        f"with {name} {alone.format(**named(part), ratio=numbers.ratio(part.ratio))} ({interval(part)})"
        for name, part in parts.items()
    ]
    return made | {
        "winner": None,
        "settled": False,
        "claim": "It depends on what is trained",
        "details": [*(f"{labels[part.winner]} {ratios[name]}" for name, part in parts.items()), *missing],
        "sentence": f"It depends: {' and '.join(told)}{covers}.",
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
    each = _amounts(found, labels, currency, least_times)
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


def _amounts(found, labels, currency, least_times):
    """What a million images cost on each device; two amounts where there are two parts."""
    told = []
    for name, one in found.facts.items():
        costs = [1000 * part.facts[name]["per_1000_images"] for part in found.parts or (found,)]
        least = least_times.get(name, "") if one["way"] == "rented" else ""
        amounts = " / ".join(map(numbers.significant, costs))
        told.append(f"{labels[name]} {WAY_WORDS[one['way']]}: {amounts} {currency} per million images{least}")
    return told


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
