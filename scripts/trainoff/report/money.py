"""Buying against renting: what this sweep and its longest run take and cost, as the page shows and recomputes it."""

from trainoff import numbers
from trainoff.analyze import cost
from trainoff.report import economy, words

PARTS = ("import_seconds", "build_seconds", "first_step_seconds")


def section(study, devices):
    """What the page shows: lines, rows, break_even and the numbers for its sliders; None where no device has a price.

    study: trainoff.report.study.Study. devices: those of the figures, by speed.
    """
    assumptions = study.assumptions
    runs, windows, energy_windows, costs = (
        study.frames[name] for name in ("runs", "windows", "energy_windows", "costs")
    )
    known = [device for device in devices if _prices(assumptions, device.name)]
    if not known:
        return None
    currency, power = assumptions["currency"], assumptions["electricity"]
    per_kwh = power and power["per_kwh"]
    facts = []
    for device in known:
        own = costs[costs["device"] == device.name]
        longest = (
            own.dropna(subset="seconds_per_training").sort_values("seconds_per_training").tail(1).to_dict("records")
        )
        taken = sweep(runs, windows, energy_windows, device.name)
        for way, price in _prices(assumptions, device.name).items():
            one = {
                "name": device.name,
                "label": device.label,
                "way": words.WAY_WORDS[way],
                "sweep_seconds": taken["seconds"],
                "sweep_joules": taken["joules"],
                "run_seconds": longest[0]["seconds_per_training"] if longest else None,
                "run_joules": numbers.known_or_none(longest[0]["joules_per_training"]) if longest else None,
                "listed": price["listed"],
                "purchase": price.get("amount"),
                "lifetime_hours": price["lifetime_years"] * cost.HOURS_PER_YEAR if way == "owned" else None,
                "per_hour": price.get("per_hour"),
                "minimum_hours": price.get("minimum_hours"),
            }
            one |= {
                f"{part}_cost": _cost(way, one[f"{part}_seconds"], one[f"{part}_joules"], price, per_kwh)
                for part in ("sweep", "run")
            }
            facts.append(one)
    shares = [_prices(assumptions, row["name"])["owned"]["utilisation"] for row in facts if row["way"] == "bought"]
    unknown = [device for device in devices if device not in known]
    return {
        "runs": numbers.count(int(runs.groupby("device").size().max()), "run"),
        "utilization": round(100 * shares[0]) if shares else 25,
        "buys": bool(shares),
        "rents": any(row["way"] == "rented" for row in facts),
        "rows": [_row(one, currency) for one in facts],
        "break_even": economy.break_even_lines(facts, per_kwh),
        "lines": _lines(facts, unknown, currency),
        "facts": {"currency": currency, "per_kwh": per_kwh, "rows": facts},
    }


def sweep(runs, windows, energy_windows, device):
    """{"seconds", "joules"} of all runs of a device, cold starts included; joules None where a window has no reading."""
    own = runs[runs["device"] == device]
    start = own[list(PARTS)].sum(axis=1).sum()
    taken = windows.loc[windows["device"] == device, "seconds"].sum()
    drawn = energy_windows.loc[energy_windows["device"] == device, "energy_joules"]
    return {
        "seconds": float(start + taken),
        "joules": float(drawn.sum()) if len(drawn) and drawn.notna().all() else None,
    }


def _prices(assumptions, name):
    """{"owned" | "rented": price} of what is known."""
    facts = assumptions["devices"].get(name) or {}
    return {way: facts[key] for way, key in (("owned", "purchase"), ("rented", "rental")) if facts.get(key)}


def _cost(way, seconds, joules, price, per_kwh):
    if way == "owned":
        return cost.owned(seconds, joules, price, per_kwh)
    return cost.rented(seconds, price, whole=True)


def _row(one, currency):
    def amount(value):
        return f"{numbers.significant(value)} {currency}" if numbers.known(value) else "unknown"

    def time(value):
        return numbers.seconds(value) if numbers.known(value) else "unknown"

    return {
        "name": one["name"],
        "way": one["way"],
        "price": one["listed"],
        "sweep": time(one["sweep_seconds"]),
        "sweep_cost": amount(one["sweep_cost"]),
        "run": time(one["run_seconds"]),
        "run_cost": amount(one["run_cost"]),
    }


def _lines(facts, unknown, currency):
    lines = []
    bought = [row for row in facts if row["way"] == "bought" and numbers.known(row["sweep_cost"])]
    rented = [row for row in facts if row["way"] == "rented" and numbers.known(row["sweep_cost"])]
    for one, other in zip(
        bought[:1], [row for row in rented if not bought or row["name"] != bought[0]["name"]][:1], strict=False
    ):
        lines.append(
            f"This sweep takes {numbers.seconds(one['sweep_seconds'])} on {one['label']} and costs "
            f"{numbers.significant(one['sweep_cost'])} {currency} bought; on {other['label']} it takes "
            f"{numbers.seconds(other['sweep_seconds'])} and costs {numbers.significant(other['sweep_cost'])} {currency} rented."
        )
    if unknown:
        lines.append(
            f"{numbers.listing([one.label for one in unknown])}: no price. "
            f"{words.PRICE_CURE.format(name=unknown[0].name)}"
        )
    if any(row["way"] == "bought" and row["run_joules"] is None for row in facts):
        lines.append(f"A bought device's cost needs its energy. {words.METER_CURE}")
    return lines
