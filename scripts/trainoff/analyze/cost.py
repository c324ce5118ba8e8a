"""What training costs on a device that is owned or rented, and from how many trainings on owning is cheaper.

Costs are joules and seconds times prices, and every price is an assumption with a source, not a measurement. All amounts are in
the experiment's currency. METHOD describes the method in words.
"""

import math
from typing import Any

from trainoff.analyze.reasons import reason
from trainoff.errors import UserError, one_line
from trainoff.shapes import Entry, Experiment

JOULES_PER_KWH = 3.6e6
HOURS_PER_YEAR = 8766.0  # 365.25 days
HOURS_PER_MONTH = HOURS_PER_YEAR / 12
SECONDS_PER_HOUR = 3600.0

METHOD = (
    "Buying: the price of the device, spread evenly over the hours that it trains during its lifetime (lifetime × utilization), "
    "plus the electricity for the measured energy. Renting: the price per hour times the time. If a minimum time is billed, a "
    "training costs at least that; 1,000 images and one epoch are computed from the price per hour alone. A training is import, "
    "build, first step and all epochs, without validation. "
    "Break-even: the trainings of a month run one after another in a single rental; the price of a bought device is spread over "
    "the months of its lifetime, however much it is used. "
    "Not counted: other parts of a machine, people, space, cooling, network, storage, and resale value."
)


def electricity(joules: float | None, price_per_kwh: float | None) -> float | None:
    """Price of this many joules; None if either is unknown."""
    return None if joules is None or price_per_kwh is None else joules / JOULES_PER_KWH * price_per_kwh


def owning_per_second(purchase: dict[str, Any]) -> float:
    """Share of the purchase that a second of training uses up. purchase: amount, lifetime_years, utilisation."""
    hours = purchase["lifetime_years"] * HOURS_PER_YEAR * purchase["utilisation"]
    return purchase["amount"] / (hours * SECONDS_PER_HOUR)


def owned(
    seconds: float | None, joules: float | None, purchase: dict[str, Any] | None, price_per_kwh: float | None
) -> float | None:
    """Cost of work that takes these seconds and joules on a device that is owned; None if a part is unknown."""
    power = electricity(joules, price_per_kwh)
    if purchase is None or seconds is None or power is None:
        return None
    return seconds * owning_per_second(purchase) + power


def rented(seconds: float | None, rental: dict[str, Any] | None, whole: bool = False) -> float | None:
    """Cost of work that takes this many seconds on a device that is rented; None if unknown.

    whole: whether the device is rented for this work alone, so that the minimum time is billed. rental: per_hour, minimum_hours.
    """
    if rental is None or seconds is None:
        return None
    hours = seconds / SECONDS_PER_HOUR
    return rental["per_hour"] * (max(hours, rental["minimum_hours"]) if whole else hours)


def owning_unknown(
    device: str, has_speed: bool, purchase: dict[str, Any] | None, price_per_kwh: float | None, has_energy: bool
) -> str | None:
    """Why the cost of owning the device (a name) is unknown, as a reason; None if it is known."""
    if not has_speed:
        return reason("no_speed", device=device)
    if not purchase:
        return reason("no_purchase_price", device=device)
    if price_per_kwh is None:
        return reason("no_electricity_price")
    return None if has_energy else reason("no_energy_reading", device=device)


def renting_unknown(device: str, has_speed: bool, rental: dict[str, Any] | None) -> str | None:
    """Why the cost of renting the device (a name) is unknown, as a reason; None if it is known."""
    if not has_speed:
        return reason("no_speed", device=device)
    return None if rental else reason("no_rent_price", device=device)


def owned_in_month(
    trainings: int, joules: float | None, purchase: dict[str, Any] | None, price_per_kwh: float | None
) -> float | None:
    """Cost of a month with this many trainings on a device that is owned, whose price is due whether it trains or not."""
    power = electricity(joules, price_per_kwh)
    if purchase is None or power is None:
        return None
    return purchase["amount"] / (12 * purchase["lifetime_years"]) + trainings * power


def most_trainings(seconds: float) -> int:
    """Maximum number of trainings of this length in a month."""
    return int(HOURS_PER_MONTH * SECONDS_PER_HOUR // seconds)


def minimum_rent(rental: dict[str, Any]) -> float:
    """What a rental costs however short it is."""
    return rental["per_hour"] * rental["minimum_hours"]


def pays_off(per_month: float, power: float, rent: float, minimum_rent: float) -> int | None:
    """From how many trainings a month on buying is cheaper than renting; None if never.

    per_month: of the purchase. power, rent: of a training on the bought and on the rented device. minimum_rent: of the one rental
    in which the trainings of a month follow each other.
    """
    if per_month + power <= max(rent, minimum_rent):
        return 1
    # The minimum makes no difference here: if it did, buying would be cheaper with a single training.
    return math.ceil(per_month / (rent - power)) if rent > power else None


def break_even(
    owner: dict[str, Any], renter: dict[str, Any], price_per_kwh: float | None
) -> tuple[int | None, str | None]:
    """(trainings a month from which owning is cheaper, None), or (None, reason).

    owner: seconds, joules and purchase of a training on the device to own; renter: seconds and rental on the device to rent.
    """
    fixed = owned_in_month(0, owner["joules"], owner["purchase"], price_per_kwh)
    if fixed is None or renter["rental"] is None:
        return None, reason("unknown_part")
    power = electricity(owner["joules"], price_per_kwh)
    trainings = pays_off(fixed, power, rented(renter["seconds"], renter["rental"]), minimum_rent(renter["rental"]))
    room = most_trainings(owner["seconds"])
    if trainings is None:
        return None, reason("rent_below_electricity")
    if not room:
        return None, reason("longer_than_a_month")
    if trainings > room:
        return None, reason("no_room", trainings=trainings, room=room)
    return trainings, None


def carbon_grams(joules: float | None, grams_per_kwh: float | None) -> float | None:
    """Grams of CO2 equivalent of this many joules; None if either is unknown."""
    return None if joules is None or grams_per_kwh is None else joules / JOULES_PER_KWH * grams_per_kwh


def assumptions(config: Experiment, devices: list[Entry], catalog: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All prices and factors that costs are computed from, as plain values in one currency.

    Returns {"currency", "electricity": {per_kwh, …} or None, "carbon": {grams_per_kwh, …} or None, "devices": {name:
    {"purchase", "rental", "chip"}}}, with None for what is not known. Raises UserError for prices that cannot be used.
    devices: entries of the experiment; catalog: catalog/devices.yaml, whose prices apply to the devices it names.
    """
    money = config["money"]
    entries = dict(catalog) | {entry["name"]: entry for entry in devices}
    given = {name: _given(name, value, catalog) for name, value in money["prices"].items()}
    facts = {}
    for name in [*entries, *(name for name in given if name not in entries)]:
        prices = entries.get(name, {}).get("prices", {}) | given.get(name, {})
        where = f"money.prices.{name}" if name in given else f"catalog/devices.yaml: {name}.prices"
        facts[name] = _with_defaults(prices, money, where) | {
            "chip": entries.get(name, {}).get("chip") or _chip_of(money["prices"].get(name), catalog),
        }
    power = money["electricity"]
    return {
        "currency": money["currency"],
        "electricity": power
        and {**power, "per_kwh": converted(power["per_kwh"], power["currency"], money, "money.electricity")},
        "carbon": config["energy"]["carbon"],
        "devices": facts,
    }


def _with_defaults(prices, money, where):
    """{"purchase", "rental"} of a device in the experiment's currency; what a price does not give comes from the experiment."""
    purchase, rental = prices.get("purchase"), prices.get("rental")
    return {
        "purchase": purchase
        and {
            "lifetime_years": money["lifetime_years"],
            "utilisation": money["utilisation"],
            **purchase,
            "amount": converted(purchase["amount"], purchase["currency"], money, f"{where}.purchase"),
            "listed": f"{purchase['amount']:,.10g} {purchase['currency']}",
        },
        "rental": rental
        and {
            "minimum_hours": 0,
            **rental,
            "per_hour": converted(rental["per_hour"], rental["currency"], money, f"{where}.rental"),
            "listed": f"{rental['per_hour']:g} {rental['currency']} per hour",
        },
    }


def of_hardware(
    hardware: dict[str, dict[str, Any]], config: Experiment, catalog: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Prices of devices that nobody measured here, {key: {"purchase", "rental"}}, in the experiment's currency.

    hardware: catalog/hardware.yaml; `prices` there may name an entry of catalog, catalog/devices.yaml. `money.prices` takes
    precedence over both. A price in a currency without an exchange rate is unknown.
    """
    money, prices_by_key = config["money"], {}
    for key, sheet in hardware.items():
        prices = sheet.get("prices", {})
        prices = _given(key, prices, catalog) if isinstance(prices, str) else prices
        if key in money["prices"]:
            prices = prices | _given(key, money["prices"][key], catalog)
        rates = {money["currency"], *money["exchange"]}
        prices = {kind: price for kind, price in prices.items() if price and price["currency"] in rates}
        prices_by_key[key] = _with_defaults(prices, money, f"catalog/hardware.yaml: {key}.prices")
    return prices_by_key


def converted(amount: float, currency: str, money: dict[str, Any], where: str) -> float:
    """An amount in the experiment's currency, by the exchange rates that it gives."""
    if currency == money["currency"]:
        return float(amount)
    if currency not in money["exchange"]:
        raise UserError(
            f"{where}: the amount is in {currency} and the report in {money['currency']}. Expected the same currency, or the "
            f"rate for 1 {currency} in {money['currency']} under money.exchange, such as {currency}: {{rate: 1.1, source: …, "
            "date: …}."
        )
    return float(amount) * money["exchange"][currency]["rate"]


def _chip_of(value, catalog):
    """The chip of the catalog entry whose prices are used, if `value` names one."""
    return catalog[value].get("chip") if isinstance(value, str) else None


def _given(name, value, catalog):
    """Prices of a device as the experiment gives them: written out, or the name of a catalog entry."""
    if isinstance(value, dict):
        return value
    if "prices" not in catalog.get(value, {}):
        known = [entry for entry, facts in catalog.items() if "prices" in facts]
        raise UserError(
            f"money.prices.{name}: catalog/devices.yaml has no prices of {one_line(value)!r}. Expected one of "
            f"{', '.join(known)}, or purchase and rental written out."
        )
    return catalog[value]["prices"]
