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

# In tables.
VERDICT_WORDS = {
    "faster": "faster",
    "slower": "slower",
    "equivalent": "equivalent",
    "undecided": "undecided",
    "not_comparable": "not comparable",
}
HEADINGS = {"speed": "Speed", "energy": "Energy", "money": "Money"}
KIND_WORDS = {
    "measured": "measured",
    "declared": "declared, not measured",
    "estimated": "estimated from prices",
    "unknown": "unknown",
}
METER_CURE = "Give the file of a wall meter in `energy.wall_meters`, or watts in `energy.declared`."
PRICE_CURE = "Add `{name}` to `money.prices`, as docs/energy.md shows."
# Of a Verdict's parts.
PARTS = ("all weights", "the last layer alone")
WITHOUT_WINNER = {"equivalent": "equally fast", "depends": "no overall winner", "undecided": "undecided"}
# By quantity: the claim, the sentence where all weights and the last layer alone have the same winner, the clause otherwise.
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
AMOUNTS_OF_RUNS = "The amounts are from the runs, the ratio from turns where there are any."
WALL_METER_CURE = "A wall meter measures every machine as a whole: give its file in `energy.wall_meters`."


def verdict(
    verdict: Verdict,
    labels: dict[str, str],
    currency: str,
    minimum_times: dict[str, str] | None = None,
    cures: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A tile of the page from an analyze.pairs.Verdict. minimum_times: {device: economy.minimum_time} of the rented devices.

    cures: of trainoff.report.cures.of_open_verdicts, what would decide an undecided quantity.

    {"quantity", "heading", "value", "winner", "claim", "details": [str], "kind", "sentence", "cure"}; winner is the name of a
    device or None.
    """
    if verdict.parts:
        tile = _of_parts(verdict, labels)
        if verdict.quantity == "money":
            tile["details"] += _amounts(verdict, labels, currency, minimum_times or {})
    elif verdict.quantity == "money":
        tile = _money(verdict, labels, currency, minimum_times or {})
    else:
        tile = {"speed": _speed, "energy": _energy}[verdict.quantity](verdict, labels)
    if verdict.outcome == "undecided" and not verdict.parts and (verdict.quantity != "speed" or verdict.open):
        tile["cure"] = (cures or {}).get("speed" if verdict.from_turns else verdict.quantity, "")
    settled = verdict.outcome == "wins"
    details = [_interval(verdict)] if verdict.ratio else []
    if verdict.compared:
        details.append(counted(verdict.compared, verdict.total))
    return {
        "quantity": verdict.quantity,
        "heading": HEADINGS[verdict.quantity],
        "value": numbers.ratio(verdict.ratio) if verdict.ratio else "Unknown",
        "winner": verdict.winner if settled else None,
        "settled": settled,
        "details": [text for text in details if text],
        "kind": KIND_WORDS[verdict.kind],
        "cure": "",
    } | tile


def counted(number: int, total: int) -> str:
    """So many of all configurations: "all 8 configurations", "7 of 8 configurations", "both configurations"."""
    if number < total:
        return f"{number} of {numbers.count(total, 'configuration')}"
    return {1: "the one configuration", 2: "both configurations"}.get(total, f"all {total:,} configurations")


def _interval(verdict):
    if not (verdict.low and verdict.high):
        return ""
    # A ratio of rents has the interval of the speeds; any other ratio of costs combines the ends of both sides.
    combined = verdict.quantity == "money" and {facts["way"] for facts in verdict.facts.values()} != {"rented"}
    return f"{'range' if combined else '95% interval'} {ratio_interval(verdict.low, verdict.high)}"


def ratio_interval(low: float | None, high: float | None) -> str:
    """The interval of a ratio: "3.1–3.4"."""
    return numbers.ratio_interval(low, high).replace(" to ", "–")


def _tail(verdict):
    """What follows a ratio in a sentence: its interval and the configurations behind it."""
    interval = f" ({_interval(verdict)})" if _interval(verdict) else ""
    where = counted(verdict.compared, verdict.total)
    return interval, where if verdict.compared == verdict.total else f"the {where} that can be compared"


def _speed(verdict, labels):
    if verdict.outcome == "unknown":
        reason = "No configuration can be compared"
        return {"claim": reason, "sentence": f"{reason}; the table of ratios says why.", "value": "Unknown"}
    winner, loser = labels[verdict.winner], labels[verdict.loser]
    interval, where = _tail(verdict)
    if verdict.outcome == "wins":
        judged = f" over {where}: {_counts(verdict)}" if verdict.won < verdict.compared else f", in {where}"
        sentence = f"{winner} is {numbers.ratio(verdict.ratio)} as fast as {loser}{interval}{judged}."
        return {"claim": f"{winner} is faster", "sentence": sentence}
    if verdict.outcome == "equivalent":
        sentence = f"{winner} and {loser} are {_equally_fast(verdict)}, in {where}."
        if verdict.equivalent < verdict.compared:
            sentence = f"{winner} and {loser} are {_equally_fast(verdict)}, over {where}{interval}: {_counts(verdict, labels)}."
        return {"claim": "Equally fast", "sentence": sentence}
    if verdict.outcome == "depends":
        claim = "It depends on the configuration"
        return {"claim": claim, "sentence": f"{claim}: {_counts(verdict, labels)}."}
    claim = "No winner yet" if verdict.open else "No overall winner"
    measured = f"{winner} was measured {numbers.ratio(verdict.ratio)} as fast as {loser}{interval} over {where}"
    return {"claim": claim, "sentence": f"{claim}: {measured}{_doubt(verdict)}."}


def _doubt(verdict):
    """Why a mean that favors a device makes it no winner."""
    if verdict.open < verdict.compared:
        return f": {_counts(verdict)}"
    # The mean of all may be clear where no configuration is.
    return ", but no single configuration is decided" if verdict.low and verdict.low > 1 else ", which may be chance"


def _counts(verdict, labels=None):
    """In how many configurations the winner is faster, slower and so on; with `labels`, in how many each device is faster."""
    winner, loser = ("", "") if labels is None else (f"{labels[name]} is " for name in (verdict.winner, verdict.loser))
    counts = {
        f"{winner}faster": verdict.won,
        f"{loser}{'slower' if labels is None else 'faster'}": verdict.lost,
        "equally fast": verdict.equivalent,
        "undecided": verdict.open,
    }
    return numbers.listing([f"{word} in {count}" for word, count in counts.items() if count])


def _equally_fast(verdict):
    return f"equally fast, within {100 * verdict.margin:g}%"


def _of_parts(verdict, labels):
    """All weights and the last layer alone differ too much for a single ratio, so both are given."""
    claim, together, alone = PHRASES_OF_PARTS[verdict.quantity]
    parts = dict(zip(PARTS, verdict.parts, strict=True))

    def named(part):
        """Who wins and who loses, in the phrases' words."""
        names = {"winner": part.winner, "loser": part.loser}
        ways = {f"{side}_way": _way(part, name) for side, name in names.items()} if part.quantity == "money" else {}
        return {side: labels[name] for side, name in names.items()} | ways

    ratios = {name: f"{numbers.ratio(part.ratio)} with {name} ({_interval(part)})" for name, part in parts.items()}
    tile = {"value": " / ".join(numbers.ratio(part.ratio) for part in parts.values())}
    missing = [counted(verdict.compared, verdict.total)] if verdict.compared < verdict.total else []
    covers = ""
    if verdict.quantity == "energy":
        covers = f"; both readings cover {SCOPE_WORDS.get(verdict.facts[verdict.winner]['scope'], '')}"
    if agree(verdict):
        return tile | {
            "winner": verdict.winner,
            "settled": True,
            "claim": claim.format(**named(verdict)),
            "details": [*ratios.values(), *missing],
            "sentence": together.format(**named(verdict), ratios=numbers.listing(list(ratios.values())), covers=covers),
        }
    clauses, details = [], []
    for name, part in parts.items():
        said = alone.format(**named(part), ratio=numbers.ratio(part.ratio))
        clauses.append(f"with {name} {_clause(part, said)}")
        without_winner = f"{WITHOUT_WINNER.get(part.outcome)} with {name} ({_interval(part)})"
        details.append(f"{labels[part.winner]} {ratios[name]}" if part.outcome == "wins" else without_winner)
    return tile | {
        "winner": None,
        "settled": False,
        "claim": "It depends on what is trained",
        "details": [*details, *missing],
        "sentence": f"It depends: {' and '.join(clauses)}{covers}.",
    }


def _clause(part, said):
    """The verdict on a part. said: who wins by how much, if one does."""
    interval = f" ({_interval(part)})"
    if part.outcome == "equivalent":
        return f"both are {_equally_fast(part)}{interval}"
    if part.outcome == "depends":
        return f"it depends on the configuration{interval}"
    return f"{said}{interval}{'' if part.outcome == 'wins' else ', which is undecided'}"


def _energy(verdict, labels):
    if verdict.outcome == "estimated":
        return _estimated_energy(verdict, labels)
    if verdict.outcome != "unknown":
        winner, loser = labels[verdict.winner], labels[verdict.loser]
        interval, where = _tail(verdict)
        about = SCOPE_WORDS.get(verdict.facts[verdict.winner]["scope"], "")
        if verdict.outcome == "wins":
            return {
                "claim": f"{winner} needs less energy",
                "sentence": f"{loser} needs {numbers.ratio(verdict.ratio)} as much energy per image as {winner}{interval}, in "
                f"{where}; both readings cover {about}.",
            }
        return {
            "claim": "No winner yet",
            "sentence": f"Whether {winner} or {loser} needs less energy is undecided{interval}.",
        }
    readings = [
        f"{labels[name]} {numbers.significant(1000 * facts['joules_per_image'])} J per 1,000 images ({_covers(facts)})"
        for name, facts in verdict.facts.items()
    ]
    codes = set(verdict.reasons.values())
    if codes == {"other_scope"}:
        return {
            "value": "Unknown",
            "claim": "Readings cover different parts",
            "details": readings,
            "sentence": f"Energy cannot be compared, because the readings cover different parts: {'; '.join(readings)}.",
            "cure": WALL_METER_CURE,
            "kind": "measured, not comparable",
        }
    if codes == {"not_comparable"}:
        claim = "No configuration can be compared"
        return {"claim": claim, "details": readings, "sentence": "Energy cannot be compared, as no configuration can."}
    whose = [labels[name] for name, code in verdict.reasons.items() if code != "no_common_reading"]
    claim = f"Not measured on {numbers.listing(whose)}" if whose else "Not measured on a common configuration"
    reasons = [_energy_reason(code) for code in dict.fromkeys(verdict.reasons.values())]
    text = " ".join([f"Energy was {claim[0].lower()}{claim[1:]}.", *filter(None, reasons)])
    # Who declared watts needs a meter, not watts.
    cure = WALL_METER_CURE if codes == {"declared"} else METER_CURE
    return {"claim": claim, "details": readings, "sentence": text, "cure": cure if whose else ""}


def _estimated_energy(verdict, labels):
    """A ratio of readings that cover different parts: an estimate, with the parts named."""
    winner, loser = labels[verdict.winner], labels[verdict.loser]
    in_part = verdict.facts[verdict.loser]["in_part"]
    covers = {name: SCOPE_WORDS.get(facts["covers"], facts["covers"]) for name, facts in verdict.facts.items()}
    times, ends = numbers.ratio(verdict.ratio), numbers.span(verdict.low, verdict.high, numbers.ratio)
    by_configuration = f"{ends} by configuration" if ends != times else ""
    return {
        "value": f"{'≥' if in_part else '≈'} {times}",
        "claim": f"{winner} needs less energy, by an estimate",
        "details": [f"{labels[name]}: {text}" for name, text in covers.items()]
        + [*filter(None, [by_configuration]), counted(verdict.compared, verdict.total)],
        "sentence": f"{loser} needs {'at least' if in_part else 'about'} {times} as much energy per image as {winner}"
        f"{f' ({by_configuration})' if by_configuration else ''}. This is "
        f"an estimate: the {loser} reading covers {covers[verdict.loser]}, the {winner} reading {covers[verdict.winner]}.",
        "cure": WALL_METER_CURE,
        "kind": "estimated from readings of different parts",
    }


def _energy_reason(code):
    known = {
        "declared": "The watts are declared, not measured.",
        "no_common_reading": "",
        UNKNOWN.reason: "",
        "unread": "",
    }
    return known.get(code, without_device(code))


def _covers(facts):
    words = SCOPE_WORDS.get(facts["scope"], facts["scope"])
    return words if facts["source"] in MEASURED else f"{words}, declared"


def _money(verdict, labels, currency, minimum_times):
    amounts = _amounts(verdict, labels, currency, minimum_times)
    if verdict.outcome == "unknown":
        reasons = {name: code for name, code in verdict.reasons.items() if code != "not_comparable"}
        claim = no_cost(reasons, labels)
        return {
            "claim": claim if reasons else f"{claim[0].upper()}{claim[1:]}",
            "details": amounts,
            "sentence": f"Cost is unknown: {claim}.",
            "cure": cost_cure(reasons),
        }
    winner, loser = labels[verdict.winner], labels[verdict.loser]
    interval, where = _tail(verdict)
    if verdict.outcome == "wins":
        return {
            "claim": f"{winner} costs less",
            "details": [*amounts, *([_interval(verdict)] if _interval(verdict) else [])],
            "sentence": f"Training on {loser}, {_way(verdict, verdict.loser)}, costs {numbers.ratio(verdict.ratio)} as much as "
            f"on {winner}, {_way(verdict, verdict.winner)}{interval}, in {where}.",
        }
    return {
        "claim": "No clear winner",
        "details": amounts,
        "sentence": f"Whether {winner} or {loser} costs less is undecided{interval}.",
    }


def _amounts(verdict, labels, currency, minimum_times):
    """What a million images cost on each device; two amounts where there are two parts."""
    lines = []
    for name, facts in verdict.facts.items():
        costs = [1000 * part.facts[name]["per_1000_images"] for part in verdict.parts or (verdict,)]
        minimum_time = minimum_times.get(name, "") if facts["way"] == "rented" else ""
        amounts = " / ".join(map(numbers.significant, costs))
        lines.append(f"{labels[name]} {WAY_WORDS[facts['way']]}: {amounts} {currency} per million images{minimum_time}")
    return [*lines, AMOUNTS_OF_RUNS] if verdict.from_turns else lines


def no_cost(reasons: dict[str, str], labels: dict[str, str]) -> str:
    """Why devices have no cost. reasons: {device: code}."""
    needs = {
        "no_price": "no price",
        "no_energy": "a price but no energy reading",
        "no_electricity": "a price but no price of electricity",
        "no_speed": "no training speed",
        "no_run": "no run",
    }
    groups = {}
    for name, code in reasons.items():
        groups.setdefault(needs.get(code, "no cost"), []).append(labels[name])
    parts = [
        f"{numbers.listing(names)} {'has' if len(names) == 1 else 'have'} {need}" for need, names in groups.items()
    ]
    return numbers.listing(parts) or "no configuration can be compared"


def cost_cure(reasons: dict[str, str]) -> str:
    """What would tell the cost of devices without one; "" where prices and readings would not. reasons: {device: code}."""
    cures = {
        "no_energy": METER_CURE,
        "no_electricity": "Set `money.electricity`, as docs/energy.md shows.",
        "no_price": PRICE_CURE,
    }
    lacking = [(code, name) for code in cures for name, known in reasons.items() if known == code]
    return cures[lacking[0][0]].format(name=lacking[0][1]) if lacking else ""


def _way(verdict, name):
    return WAY_WORDS[verdict.facts[name]["way"]]
