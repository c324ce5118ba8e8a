"""What a training takes and costs on every device, measured and estimated, and from how many trainings a month buying pays off.

Plain values for the page; its sliders recompute the costs from `facts`.
"""

from typing import Any

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers, records
from trainoff.analyze import comparable, cost
from trainoff.analyze.pairs import Pair
from trainoff.report import economy, estimates, verdict_words
from trainoff.report.palette import Device
from trainoff.report.study import Study
from trainoff.shapes import Values


def section(study: Study, devices: list[Device]) -> dict[str, Any] | None:
    """The part of the page as plain values; None where no device is priced or estimated and no training was asked for.

    study: trainoff.report.study.Study with the prices of estimated devices and the catalog's figures, for the sources of
    anchors. devices: palette.Device of the measured ones, by speed.
    """
    frames, assumptions = study.frames, study.assumptions
    table = frames["estimates"]
    configurations = naming.all_configurations(frames["runs"])
    prices = {name: _prices(assumptions, name) for name in (*(device.name for device in devices), *table["device"])}
    asked = study.settings.get("training_run")
    if not configurations or not (asked or len(table) or any(prices.values())):
        return None
    lead = lead_configuration(configurations, frames["rates"])
    trainings = _in_order(_of(frames["training_runs"], lead), devices)
    facts = [fact for row in trainings for fact in _facts(row, prices[row["device"]])]
    estimated = {row["device"]: row for row in _of(table, lead) if row["status"] == "estimated"}
    places = {device.name: device.place for device in devices}
    currency = assumptions["currency"]
    name = naming.label(lead, naming.varying_axes(configurations))
    pairs = break_even_pairs(facts, comparable.apart(frames["comparison"]), lead)
    return {
        "single": len(devices) == 1,
        "estimated": any(fact["kind"] == "estimated" for fact in facts),
        "what": estimates.training_text(asked),
        "configuration": name or naming.constant_text(configurations),
        # The configuration again; "" where there is no other.
        "one_of_several": name,
        "rows": [
            _row(fact, places.get(fact["name"]), estimated.get(fact["name"]), study.published, currency)
            for fact in facts
        ],
        "refused": estimates.refusals(row for row in _of(table, lead) if row["status"] != "measured"),
        "break_even": [break_even_line(facts[bought], facts[rented]) for bought, rented in pairs],
        "lines": [
            *_sweep_line(frames, devices, prices, assumptions),
            *_missing(facts, devices, prices, assumptions["electricity"]),
            *_declared(facts, _of(frames["rates"], lead)),
        ],
        "rents": any(fact["way"] == "rented" for fact in facts),
        "buys": any(fact["way"] == "bought" for fact in facts),
        "utilization": next((round(100 * fact["utilization"]) for fact in facts if fact["way"] == "bought"), 25),
        "estimates": estimates.every(table, configurations),
        "steps": estimates.next_steps(frames["runs"], study.settings, study.config_file) if len(devices) == 1 else [],
        "facts": {"currency": currency, "rows": facts, "pairs": pairs},
    }


def answer_line(trained: dict[str, Any] | None, pair: Pair | None, settings: dict[str, Any]) -> list[str]:
    """What the experiment's training takes and costs on both devices of a pairs.Pair, as a list of one sentence or none.

    trained: of `section`. Each device in the way that costs less.
    """
    if not (trained and pair and settings.get("training_run")):
        return []
    parts = []
    for name in (pair.device, pair.baseline):
        ways = [fact for fact in trained["facts"]["rows"] if fact["name"] == name and fact["kind"] == "measured"]
        if ways:
            fact = min(ways, key=lambda fact: fact["cost"] or 0)
            amount = f" and {economy.money(fact['cost'], trained['facts']['currency'])}" if fact["way"] else ""
            way = f" ({fact['way']})" if fact["way"] else ""
            parts.append(f"{estimates.duration(fact['seconds'], 3)}{amount} on {fact['label']}{way}")
    where = f" with {trained['one_of_several']}" if trained["one_of_several"] else ""
    return [f"Training {trained['what']}{where} takes {', and '.join(parts)}."] if parts else []


def lead_configuration(configurations: list[Values], rates: pd.DataFrame) -> Values:
    """The configuration that times and costs are of: among those that most devices measured, the first in reading order."""
    counts = {}
    for row in rates.dropna(subset="images_per_second").to_dict("records"):
        configuration = naming.configuration_of(row)
        counts[configuration] = counts.get(configuration, 0) + 1
    return max(configurations, key=lambda configuration: counts.get(configuration, 0))


def sweep(
    runs: pd.DataFrame, windows: pd.DataFrame, energy_windows: pd.DataFrame, device: str
) -> dict[str, float | bool | None]:
    """{"seconds", "joules", "whole"} of all runs of a device, cold starts included.

    joules: None where an epoch has no reading. whole: False where the seconds lack a part, as of a run that failed or whose cold
    start is unknown.
    """
    trained = runs[runs["device"] == device]
    starts = trained[list(records.COLD_START)]
    taken = windows.loc[windows["device"] == device, "seconds"].sum()
    drawn = energy_windows.loc[energy_windows["device"] == device, "energy_joules"]
    return {
        "seconds": float(starts.sum().sum() + taken),
        "joules": float(drawn.sum()) if len(drawn) and drawn.notna().all() else None,
        "whole": bool(starts.notna().to_numpy().all() and (trained["status"] == "ok").all()),
    }


def _prices(assumptions, name):
    """{"owned" | "rented": price} of what is known."""
    facts = assumptions["devices"].get(name) or {}
    return {way: facts[key] for way, key in (("owned", "purchase"), ("rented", "rental")) if facts.get(key)}


def _of(table, configuration):
    return [row for row in table.to_dict("records") if naming.configuration_of(row) == configuration]


def _in_order(rows, devices):
    """Rows of the table of trainings, measured devices first and by speed."""
    order = {device.name: place for place, device in enumerate(devices)}
    return sorted(rows, key=lambda row: order[row["device"]] if row["kind"] == "measured" else len(order))


def _facts(row, prices):
    """What the page recomputes of a training on a device: one for each way to have it, of an estimated device the first alone."""
    ways = [way for way in ("rented", "owned") if numbers.known(row[way])]
    if row["kind"] == "measured":
        ways.reverse()
    return [fact_of(row, way, prices.get(way)) for way in (ways if row["kind"] == "measured" else ways[:1]) or [None]]


def fact_of(row: dict[str, Any], way: str | None, price: dict[str, Any] | None) -> dict[str, Any]:
    """A training on a device that is bought, rented, or neither (way and price None).

    electricity: its part of the cost of a bought device, None where unknown and left out. per_month: of the purchase.
    """
    bought, rented = way == "owned", way == "rented"
    share = row["seconds"] * cost.owning_per_second(price) if bought else None
    return {
        "name": row["device"],
        "label": row["label"],
        "kind": row["kind"],
        "way": economy.WAY_WORDS.get(way),
        "listed": price and price["listed"] + (economy.minimum_time(price) if rented else ""),
        "images_per_second": row["images_per_second"],
        "seconds": row["seconds"],
        "seconds_range": [numbers.known_or_none(row[f"seconds_{end}"]) for end in ("low", "high")],
        "cost": row[way] if way else None,
        "electricity": row["owned"] - share if bought and row["with_electricity"] else None,
        "per_hour": price["per_hour"] if rented else None,
        "minimum_rent": cost.minimum_rent(price) if rented else None,
        "per_month": price["amount"] / (12 * price["lifetime_years"]) if bought else None,
        "utilization": price["utilisation"] if bought else None,
    }


def _row(fact, place, estimate, published, currency):
    """A row of the table in words. place: of the color of a measured device. estimate: the row of `estimates` of another one."""
    measured = fact["kind"] == "measured"
    ways = {"bought": f"bought for {fact['listed']}", "rented": f"rented at {fact['listed']}", None: "no price"}
    row = {"place": place, "label": fact["label"], "measured": measured, "way": ways[fact["way"]]}
    row["without_electricity"] = fact["way"] == "bought" and fact["electricity"] is None
    if measured:
        return row | {
            "speed": numbers.significant(fact["images_per_second"]),
            "speed_range": "",
            "time": estimates.duration(fact["seconds"], 3),
            "time_range": "",
            "cost": economy.money(fact["cost"], currency) if fact["way"] else "",
        }
    low, high = map(estimates.duration, fact["seconds_range"])
    return row | {
        "speed": f"about {estimates.rough(fact['images_per_second'])}",
        "speed_range": f"{estimates.rough(estimate['low'])} to {estimates.rough(estimate['high'])}",
        "time": f"about {estimates.duration(fact['seconds'])}",
        "time_range": f"{low} to {high}",
        "cost": f"about {estimates.rough(fact['cost'])} {currency}" if fact["way"] else "",
        **estimates.sources(estimate, published),
    }


def break_even_pairs(facts: list[dict[str, Any]], apart: comparable.Apart, configuration: Values) -> list[list[int]]:
    """Places in `facts` of what is bought and what is rented instead: the cheapest that was measured, and an estimated one below.

    An estimated device that is bought is compared with the cheapest of all. apart: the pairs that did other work, which are not
    compared. configuration: that of `facts`.
    """
    rented = sorted(
        (place for place, fact in enumerate(facts) if fact["way"] == "rented"), key=lambda place: facts[place]["cost"]
    )
    pairs = []
    for place, fact in enumerate(facts):
        if fact["way"] != "bought":
            continue
        others = [
            other
            for other in rented
            if facts[other]["name"] != fact["name"]
            and (configuration, frozenset((fact["name"], facts[other]["name"]))) not in apart
        ]
        measured = [other for other in others if facts[other]["kind"] == "measured"]
        chosen = others[:1] if fact["kind"] == "estimated" else [*measured[:1], *others[:1]]
        pairs += [[place, other] for other in dict.fromkeys(chosen)]
    return pairs


def break_even_line(bought: dict[str, Any], rented: dict[str, Any]) -> str:
    """From how many trainings a month buying one device is cheaper than renting another, in a sentence; two of `facts`.

    The trainings of a month follow each other in one rental. report/page/training.js says the same.
    """
    power = bought["electricity"] or 0
    rent = rented["per_hour"] * rented["seconds"] / cost.SECONDS_PER_HOUR
    by_estimate = "estimated" in (bought["kind"], rented["kind"])
    tail = ", by estimate" if by_estimate else ""
    stays = f"Renting {rented['label']} stays cheaper than buying {bought['label']}{tail}"
    trainings = cost.pays_off(bought["per_month"], power, rent, rented["minimum_rent"])
    room = cost.most_trainings(bought["seconds"])
    if trainings is None:
        return f"{stays}: renting for one training costs less than the electricity of training on {bought['label']}."
    count = estimates.rough(trainings) if by_estimate else f"{trainings:,}"
    if trainings > room:
        return f"{stays}: that would take {count} trainings a month, and {bought['label']} has time for {room:,}."
    return (
        f"Buying {bought['label']} pays off above {count} such training{'' if trainings == 1 else 's'} a month, compared with "
        f"renting {rented['label']}{tail}."
    )


def _sweep_line(frames, devices, prices, assumptions):
    """What all runs of this sweep cost on each priced device, as a list of one line or none."""
    power, parts = assumptions["electricity"], []
    for device in devices:
        taken = sweep(frames["runs"], frames["windows"], frames["energy_windows"], device.name)
        for way, price in prices[device.name].items():
            amount = (
                cost.owned(taken["seconds"], taken["joules"], price, power and power["per_kwh"])
                if way == "owned"
                else cost.rented(taken["seconds"], price, whole=True)
            )
            if amount:
                how = economy.WAY_WORDS[way] + (economy.minimum_time(price) if way == "rented" else "")
                bound = "" if taken["whole"] else "at least "
                parts.append(f"{bound}{economy.money(amount, assumptions['currency'])} on {device.label} ({how})")
    return [f"At these prices, the cold starts and epochs of all runs cost {numbers.listing(parts)}."] if parts else []


def _declared(facts, rates):
    """Whose electricity was not measured, as a list of one line or none. rates: rows of the table for the same configuration."""
    declared = {row["device"] for row in rates if row["energy_source"] == "declared"}
    labels = dict.fromkeys(
        fact["label"] for fact in facts if fact["electricity"] is not None and fact["name"] in declared
    )
    return (
        [f"The cost of {numbers.listing(labels)} contains electricity at declared watts, not measured."]
        if labels
        else []
    )


def _missing(facts, devices, prices, electricity):
    """What costs leave out or lack, with what to do about it."""
    lines = []
    unpriced = [device for device in devices if not prices[device.name]]
    if unpriced:
        has = "has" if len(unpriced) == 1 else "have"
        lines.append(
            f"{numbers.listing([device.label for device in unpriced])} {has} no price. "
            f"{verdict_words.PRICE_CURE.format(name=unpriced[0].name)}"
        )
    unmetered = dict.fromkeys(
        fact["label"]
        for fact in facts
        if fact["kind"] == "measured" and fact["way"] == "bought" and fact["electricity"] is None
    )
    if unmetered:
        why, code = ("no energy was measured", "no_energy") if electricity else ("it has no price", "no_electricity")
        cure = verdict_words.cost_cure(dict.fromkeys(unmetered, code))
        lines.append(f"The cost of {numbers.listing(unmetered)} leaves out electricity, as {why}. {cure}")
    return lines
