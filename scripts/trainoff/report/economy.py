"""What the tables say of energy and money in words: titles, notes and the sentences of the answer."""

from typing import Any

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze.efficiency import SCOPE_WORDS, SOURCE_WORDS, UNKNOWN
from trainoff.energy import MEASURED
from trainoff.report.palette import Device
from trainoff.report.reasons import without_device
from trainoff.shapes import Values

WAY_WORDS = {"owned": "bought", "rented": "rented"}


def energy_by_device(rates: pd.DataFrame, devices: list[Device]) -> list[tuple[Device, float, float, str, str]]:
    """[(device, lowest, highest joules per image, scope, source)] for devices with a figure, measured or declared.

    A device whose configurations differ in scope or source has an entry for each.
    """
    readings = []
    for device in devices:
        known = rates[(rates["device"] == device.name) & rates["joules_per_image"].notna()]
        for (scope, source), group in known.groupby(["energy_scope", "energy_source"]):
            readings.append((device, group["joules_per_image"].min(), group["joules_per_image"].max(), scope, source))
    return readings


def energy_title(rates: pd.DataFrame, devices: list[Device]) -> str:
    """The finding of the figure of energy."""
    readings = energy_by_device(rates, devices)
    if not readings:
        return "Energy was not measured"
    parts = [
        f"{device.label} {joules_span(low, high)} ({_about(scope, source)})"
        for device, low, high, scope, source in readings
    ]
    if len(parts) <= 3:
        return f"Joules per 1,000 images: {numbers.listing(parts)}"
    scopes = sorted({_about(scope, source) for *_, scope, source in readings})
    return f"Energy readings of {len(readings)} devices ({numbers.listing(scopes)})"


def joules_span(low: float, high: float) -> str:
    """Joules of 1,000 images from the lowest to the highest configuration."""
    return numbers.span(1000 * low, 1000 * high)


def energy_parts(rates: pd.DataFrame, devices: list[Device]) -> list[str]:
    """What each device's figures of energy are about, and whether these may be compared."""
    readings = energy_by_device(rates, devices)
    notes = [
        f"{device.label}: {SOURCE_WORDS.get(source, source)}, {SCOPE_WORDS.get(scope, scope)}."
        for device, _, _, scope, source in readings
    ]
    if len({scope for *_, scope, _ in readings}) > 1:
        notes.append("These readings cover different parts of a machine and must not be compared.")
    return notes


def energy_notes(rates: pd.DataFrame, devices: list[Device]) -> list[str]:
    """What a reader of a figure of energy must know: what each figure is about, and why others have none."""
    readings, notes = energy_by_device(rates, devices), energy_parts(rates, devices)
    if any(source not in MEASURED for *_, source in readings):
        notes.append("Hollow marks: declared, not measured, so in no ratio.")
    return [*notes, *unknown_energy(rates, devices)]


def unknown_energy(rates: pd.DataFrame, devices: list[Device]) -> list[str]:
    """One sentence per device that has no figure of energy at all, with the reason."""
    notes = []
    for device in devices:
        results = rates[rates["device"] == device.name]
        if len(results) and results["joules_per_image"].isna().all():
            reasons = results["energy_reason"].dropna()
            reason = reasons.mode().iloc[0] if len(reasons) else UNKNOWN.reason
            notes.append(f"{device.label}: energy unknown. {without_device(reason)}")
    return notes


def efficiency_title(rates: pd.DataFrame, devices: list[Device]) -> str:
    """The finding of speed against power: images per joule, ranked only where all figures are about the same part."""
    readings = [reading for reading in energy_by_device(rates, devices) if reading[4] in MEASURED]
    if not readings:
        return "Power was not measured"
    if len({scope for *_, scope, _ in readings}) == 1 and len(readings) > 1:
        best = min(readings, key=lambda reading: reading[1])
        worst = max(readings, key=lambda reading: reading[2])
        return (
            f"From {numbers.significant(1 / worst[2])} images per joule on {worst[0].label} to "
            f"{numbers.significant(1 / best[1])} on {best[0].label}"
        )
    parts = [
        f"{device.label} {numbers.span(1 / high, 1 / low)} ({_about(scope, source)})"
        for device, low, high, scope, source in readings
    ]
    return f"Images per joule: {numbers.listing(parts[:3])}" + (" and more" if len(parts) > 3 else "")


def money(value: float | None, currency: str) -> str:
    """An amount: 0.0123 USD, 12.3 USD."""
    return f"{numbers.significant(value)} {currency}" if numbers.known(value) else numbers.UNKNOWN


def cost_title(costs: pd.DataFrame, devices: list[Device]) -> str:
    """The finding of the figure of costs."""
    parts = []
    for device in devices:
        results = costs[costs["device"] == device.name]
        for way in ("owned", "rented"):
            values = results[f"{way}_per_training"].dropna()
            if len(values):
                parts.append(
                    f"{device.label} {WAY_WORDS[way]} {numbers.span(values.min(), values.max())} {results['currency'].iloc[0]}"
                )
    if not parts:
        return "Cost is unknown"
    return f"Cost of a run: {numbers.listing(parts[:4])}" + (" and more" if len(parts) > 4 else "")


def cost_notes(costs: pd.DataFrame, devices: list[Device], assumptions: dict[str, Any]) -> list[str]:
    """What costs rest on, and why others are missing."""
    notes = assumption_lines(
        assumptions, [device.name for device in devices], {device.name: device.label for device in devices}
    )
    if len(costs):
        target = costs["target_accuracy"].dropna()
        epochs = "all timed epochs"
        if len(target):
            epochs = f"timed epochs up to {numbers.percent(target.iloc[0])} validation accuracy"
        notes.insert(0, f"A run: cold start and {epochs}. Prices are quoted from their sources, not measured.")
    for device in devices:
        results = costs[costs["device"] == device.name]
        columns = [
            results.loc[results[f"{way}_per_training"].isna(), f"{way}_reason"].dropna() for way in ("owned", "rented")
        ]
        reasons = dict.fromkeys(column.mode().iloc[0] for column in columns if len(column))
        if reasons:
            notes.append(f"{device.label}: {numbers.listing(dict.fromkeys(map(without_device, reasons)))}.")
    tried = _tried(costs)
    timeless = tried["reached"] & tried["seconds_to_accuracy"].isna()
    for without_cost, why in (
        (~tried["reached"], "at least half of their runs never reached the target"),
        (timeless, "the cold start of their runs is unknown"),
    ):
        if without_cost.any():
            notes.append(f"{without_cost.sum()} of {numbers.count(len(tried), 'result')} have no cost: {why}.")
    return notes


def assumption_lines(assumptions: dict[str, Any], names: list[str], labels: dict[str, str]) -> list[str]:
    """Every assumption that costs rest on, with its source and date: one line each."""
    lines = []
    power = assumptions["electricity"]
    if power:
        lines.append(
            f"Electricity: {money(power['per_kwh'], assumptions['currency'])} per kWh ({power['source']}, {power['date']})."
        )
    for name in names:
        facts = assumptions["devices"].get(name) or {"purchase": None, "rental": None}
        chip = facts.get("chip")
        if chip:
            known = [f"{chip['process_nm']:g} nm"] if "process_nm" in chip else []
            known += [f"{chip['tdp_watts']:g} W by design"] if "tdp_watts" in chip else []
            lines.append(f"{labels.get(name, name)}, for context: {numbers.listing(known)} ({_quoted(chip)}).")
        if facts["purchase"]:
            price = facts["purchase"]
            lines.append(
                f"{labels.get(name, name)}, bought: {price['listed']} over {price['lifetime_years']:g} years, training "
                f"{numbers.percent(price['utilisation'])} of the time ({_quoted(price)})."
            )
        if facts["rental"]:
            price = facts["rental"]
            lines.append(
                f"{labels.get(name, name)}, rented: {price['listed']}{minimum_time(price)} ({_quoted(price)})."
            )
    carbon = assumptions["carbon"]
    if carbon:
        lines.append(f"Carbon: {carbon['grams_per_kwh']:g} g per kWh ({carbon['source']}, {carbon['date']}).")
    return lines


def minimum_time(rental: dict[str, Any]) -> str:
    """What follows a rental price with a minimum time: ", for at least 24 h"; "" where there is none."""
    return f", for at least {rental['minimum_hours']:g} h" if rental["minimum_hours"] else ""


def break_even_title(table: pd.DataFrame, labels: dict[str, str]) -> str:
    """The finding of the break-even figure, of the rows that it shows."""
    if not len(table):
        return "A break-even needs the purchase price of one device and the rental price of another"
    known = table[table["trainings_per_month"].notna()].to_dict("records")
    if not known:
        return "No break-even: renting stays cheaper, or a cost is unknown"
    parts = [
        f"Buying {labels.get(row['owned_device'], row['owned_device'])} pays off above "
        f"{numbers.count(int(row['trainings_per_month']), 'run')} a month, compared with renting "
        f"{labels.get(row['rented_device'], row['rented_device'])}"
        for row in known[:2]
    ]
    return "; ".join(parts)


def break_even_notes(table: pd.DataFrame, labels: dict[str, str]) -> list[str]:
    """Which pairs have no break-even, and why."""
    rows = table[table["reason"].notna()].to_dict("records")
    return [
        f"Buying {labels.get(row['owned_device'], row['owned_device'])} instead of renting "
        f"{labels.get(row['rented_device'], row['rented_device'])}: {without_device(row['reason'], labels)}."
        for row in rows[:4]
    ]


def target_lines(costs: pd.DataFrame, devices: list[Device]) -> list[str]:
    """Time and energy to the target accuracy per device, in its fastest configuration; [] without a target."""
    if costs["target_accuracy"].isna().all():
        return []
    target = numbers.percent(costs["target_accuracy"].dropna().iloc[0])
    lines = []
    tried = _tried(costs)
    varying = naming.varying_axes(naming.all_configurations(costs))
    for device in devices:
        results = tried[tried["device"] == device.name]
        reached = results[results["reached"]].dropna(subset="seconds_to_accuracy")
        if results["reached"].any() and not len(reached):
            lines.append(
                f"{device.label} reached {target} validation accuracy; the time is unknown because the cold start of its runs is."
            )
            continue
        if not len(reached):
            counts = numbers.listing(dict.fromkeys(map(_reached, results.to_dict("records"))))
            lines.append(
                f"{device.label} did not reach {target} validation accuracy (runs that did, by configuration: {counts})."
            )
            continue
        best = reached.loc[reached["seconds_to_accuracy"].idxmin()]
        name = naming.label(naming.configuration_of(best), varying)
        line = (
            f"{device.label} reached {target} validation accuracy after {numbers.seconds(best['seconds_to_accuracy'])} "
            f"{f'with {name} ' if name else ''}({best['runs_reached']:.0f} of {numbers.count(int(best['runs']), 'run')})"
        )
        if numbers.known(best["joules_to_accuracy"]):
            about = _about(best["energy_scope"], best["energy_source"])
            line += f" and {numbers.significant(best['joules_to_accuracy'])} J ({about})"
        lines.append(
            f"{line}; {results['reached'].sum()} of {numbers.count(len(results), 'configuration')} reached it."
        )
    return lines


def _tried(costs):
    """The rows of the costs that have runs and a target, with `reached`: whether most of their runs reached it.

    The time to accuracy does not tell: it is also unknown where the cold start is.
    """
    tried = costs[costs["target_accuracy"].notna() & (costs["runs"] > 0)]
    return tried.assign(reached=2 * tried["runs_reached"].astype(float) > tried["runs"])


def _reached(row):
    """How many runs reached the target: "2 of 3". Pandas makes the counts floats where other rows have none."""
    return f"{row['runs_reached']:.0f} of {row['runs']:.0f}"


def carbon_lines(costs: pd.DataFrame, devices: list[Device]) -> list[str]:
    """Carbon of a training per device, over configurations; [] where no grid was named or nothing has a figure."""
    lines = []
    for device in devices:
        known = costs[(costs["device"] == device.name) & costs["grams_co2e_per_training"].notna()]
        for (scope, source), group in known.groupby(["energy_scope", "energy_source"]):
            grams = group["grams_co2e_per_training"]
            lines.append(
                f"{device.label}: {numbers.span(grams.min(), grams.max())} g of CO2 equivalent per training "
                f"({_about(scope, source)})."
            )
    return lines


def shown_configuration(table: pd.DataFrame) -> Values | None:
    """The configuration that a break-even figure shows: most pairs known, then the most work. None for an empty table."""
    scores = {}
    for row in table.to_dict("records"):
        known, seconds = scores.get(naming.configuration_of(row), (0, 0.0))
        more = row["rented_seconds_per_training"] if numbers.known(row["rented_seconds_per_training"]) else 0.0
        scores[naming.configuration_of(row)] = (known + numbers.known(row["rented_per_training"]), seconds + more)
    return max(scores, key=scores.get) if scores else None


def of_shown_configuration(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the break-even table that the figure shows."""
    configuration = shown_configuration(table)
    shown = [
        place for place, row in enumerate(table.to_dict("records")) if naming.configuration_of(row) == configuration
    ]
    return table.iloc[shown]


def _about(scope, source):
    words = {"gpu": "GPU", "package": "processor", "soc": "chip", "machine": "machine"}.get(scope, scope)
    return words if source in MEASURED else f"{words}, declared"


def _quoted(fact):
    what = f"{fact['what']}; " if fact.get("what") else ""
    doubt = ", unverified" if fact.get("verified") is False else ""
    return f"{what}{fact['source']}, {fact['date']}{doubt}"
