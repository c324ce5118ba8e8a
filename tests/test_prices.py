"""What prices, powers and targets make of seconds and joules; mistakes in them are named."""

import copy
import math

import pandas as pd
import pytest
import synthetic
from hypothesis import assume, given
from hypothesis import strategies as st
from test_experiment import CATALOG, SCHEMA, check, merged

import compute_cost as costs_script
from trainoff.analyze import cost, estimates, tables
from trainoff.errors import UserError
from trainoff.experiment import checks, plan
from trainoff.report import training

DEVICES = synthetic.DEVICES[:3]  # cpu, cuda, metal
PURCHASE = {"amount": 8766.0, "lifetime_years": 2, "utilisation": 0.5}  # 1 per hour of training


def test_a_kilowatt_for_an_hour_is_a_kilowatt_hour():
    joules = 1000 * 3600
    assert cost.electricity(joules, 0.3) == pytest.approx(0.3)
    assert cost.carbon_grams(joules, 380) == pytest.approx(380)
    assert cost.electricity(None, 0.3) is None and cost.electricity(joules, None) is None
    assert cost.electricity(joules, 0) == 0, "free electricity is a price"


def test_owning_spreads_the_price_over_the_hours_of_training():
    assert cost.owning_per_second(PURCHASE) * 3600 == pytest.approx(1)
    # Half an hour of training at 200 W, at 0.5 per kWh.
    assert cost.owned(1800, 200 * 1800, PURCHASE, 0.5) == pytest.approx(0.5 + 0.05)
    assert cost.owned(1800, None, PURCHASE, 0.5) is None
    assert cost.owned(1800, 1.0, None, 0.5) is None


def test_renting_bills_the_least_time_where_a_device_is_rented_for_that_work():
    rental = {"per_hour": 1.083, "minimum_hours": 24}
    assert cost.rented(1800, rental) == pytest.approx(1.083 / 2)
    assert cost.rented(1800, rental, whole=True) == pytest.approx(1.083 * 24)
    assert cost.rented(30 * 3600, rental, whole=True) == pytest.approx(1.083 * 30)
    assert cost.rented(1800, None) is None


@given(
    st.floats(10, 1e5),
    st.floats(0.01, 50),
    st.sampled_from([0, 1, 24]),
    st.floats(60, 1e5),
    st.floats(60, 1e5),
    st.floats(1e3, 1e9),
)
def test_break_even_is_the_smallest_number_that_trying_all_finds(
    amount, per_hour, least, own_seconds, rent_seconds, joules
):
    purchase = {"amount": amount, "lifetime_years": 3, "utilisation": 0.3}
    rental = {"per_hour": per_hour, "minimum_hours": least}
    owner = {"seconds": own_seconds, "joules": joules, "purchase": purchase}
    room = cost.most_trainings(own_seconds)
    assume(room < 5000)
    tried = next(
        (
            number
            for number in range(1, room + 1)
            # The trainings of a month follow each other in one rental.
            if cost.owned_in_month(number, joules, purchase, 0.2)
            <= cost.rented(number * rent_seconds, rental, whole=True)
        ),
        None,
    )
    found, reason = cost.break_even(owner, {"seconds": rent_seconds, "rental": rental}, 0.2)
    assert found == tried or abs(found - tried) <= 1  # one where rounding decides
    assert (found is None) == bool(reason)


@pytest.mark.parametrize(("hours", "trainings"), [(0, 108), (24, 108), (27, 1)])
def test_tables_and_page_know_what_a_rental_costs_at_least(hours, trainings):
    """18.75 USD a month against 0.175 USD for a quarter of an hour, or 18.90 USD for 27 hours."""
    purchase = {"amount": 900, "lifetime_years": 4, "utilisation": 0.25, "listed": "900 USD"}
    rental = {"per_hour": 0.7, "minimum_hours": hours, "listed": "0.7 USD per hour"}
    assert cost.pays_off(18.75, 0.0, 0.175, 0.7 * hours) == trainings
    axes = {axis: values[0] for axis, values in synthetic.GRID.items()}
    rates = pd.DataFrame(
        axes
        | {"device": name, "images_per_second": 40.0, "ci_low": 40.0, "ci_high": 40.0, "joules_per_image": math.nan}
        for name in ("mac", "cloud")
    )
    prices = {"mac": {"purchase": purchase, "rental": None}, "cloud": {"purchase": None, "rental": rental}}
    money, work = {"currency": "USD", "electricity": None}, {"images": 36_000, "epochs": 1}
    found = estimates.training_runs(tables.frame([], estimates.COLUMNS), rates, {}, prices, money, work, {})
    bought, rented = found.set_index("device").loc[["mac", "cloud"]].reset_index().to_dict("records")
    assert bought["break_even_per_month"] == trainings
    facts = [training.fact_of(bought, "owned", purchase), training.fact_of(rented, "rented", rental)]
    assert training.break_even_line(*facts).startswith(f"Buying mac pays off above {trainings} such training")


@pytest.mark.parametrize(
    "accuracies, epochs",
    [
        ([0.5, 0.7, 0.8], 2),
        ([0.7, 0.6, 0.8], 3),
        ([0.7, 0.7, 0.6], 0),
        ([0.1, math.nan, 0.9], 3),
        ([], 0),
    ],
)
def test_the_target_is_reached_where_the_accuracy_stays_above_it(accuracies, epochs):
    assert costs_script.epochs_to_accuracy(accuracies, 0.7) == epochs


def one(seconds, joules=100.0, reached=True):
    return {"reached": reached, "seconds": seconds, "joules": joules, "images": 640, "epochs": 4}


def test_runs_that_never_reach_the_target_count_as_endless():
    never = one(math.inf, None, reached=False)
    assert costs_script.typical([one(10), one(20), one(30)])["seconds"] == 20
    assert costs_script.typical([one(10), one(20), never])["seconds"] == 20
    assert costs_script.typical([one(10), never, never])["seconds"] is None
    assert costs_script.typical([one(10), never])["seconds"] is None
    assert costs_script.typical([one(10, 50.0), one(20, 90.0), never])["joules"] == 90
    assert costs_script.typical([one(10, None), one(20, 90.0)])["joules"] is None
    assert costs_script.typical([])["seconds"] is None


# Prices and what else the experiment says.


@pytest.mark.parametrize(
    "changes, key, words",
    [
        (
            {"money": {"prices": {"cpu": {"rental": {"per_hour": 1, "currency": "USD", "date": "2026"}}}}},
            "money.prices.cpu",
            "source",
        ),
        (
            {"money": {"prices": {"cpu": {"rental": {"per_hour": 1, "source": "abc", "date": "2026"}}}}},
            "money.prices.cpu",
            "currency",
        ),
        (
            {
                "money": {
                    "prices": {"cpu": {"rental": {"per_hour": -1, "currency": "USD", "source": "abc", "date": "2026"}}}
                }
            },
            "money.prices.cpu",
            "-1",
        ),
        ({"money": {"electricity": {"per_kwh": -0.1}}}, "money.electricity.per_kwh", "0 or more"),
        ({"money": {"electricity": {"date": 2026}}}, "money.electricity.date", "in quotes"),
        ({"money": {"utilisation": 25}}, "money.utilisation", "up to 1"),
        ({"money": {"lifetime_years": 0}}, "money.lifetime_years", "Years"),
        ({"money": {"currency": "dollars"}}, "money.currency", "Three capital letters"),
        ({"energy": {"carbon": {"grams_per_kwh": 380, "date": "2026"}}}, "energy.carbon", "source"),
        ({"energy": {"declared": {"cpu": {"watts": 65}}}}, "energy.declared.cpu", "scope"),
        (
            {"energy": {"declared": {"cpu": {"watts": 0, "scope": "gpu", "source": "abc", "date": "2026"}}}},
            "energy.declared.cpu.watts",
            "above 0",
        ),
        ({"energy": {"wall_meters": [{"devices": ["cpu"]}]}}, "energy.wall_meters.0", "file"),
        ({"energy": {"idle_seconds": 5}}, "energy.idle_seconds", "at least 18"),
        ({"target_accuracy": 70}, "target_accuracy", "up to 1"),
    ],
)
def test_mistakes_in_prices_and_powers_are_named(changes, key, words):
    with pytest.raises(UserError) as caught:
        check(merged(changes))
    assert str(caught.value).startswith(f"config.yaml: {key}"), caught.value
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_catalog_is_held_to_its_schema():
    checks.check_catalog(CATALOG, SCHEMA)
    wrong = copy.deepcopy(CATALOG)
    del wrong["v100"]["prices"]["rental"]["source"]
    with pytest.raises(UserError, match="catalog/devices.yaml: v100: prices.rental.source: missing"):
        checks.check_catalog(wrong, SCHEMA)


def assumptions(**money):
    config = merged({"money": money})
    check(config)
    return cost.assumptions(config, plan.devices(config, CATALOG, detect=lambda: ["cpu", "cuda"]), CATALOG)


def test_prices_come_from_the_experiment_before_the_catalog():
    found = assumptions(
        prices={
            "cuda": "h100",
            "cpu": {"purchase": {"amount": 500, "currency": "USD", "source": "a shop", "date": "2025"}},
        }
    )
    assert found["devices"]["cuda"]["rental"]["per_hour"] == CATALOG["h100"]["prices"]["rental"]["per_hour"]
    assert found["devices"]["cuda"]["rental"]["source"] and found["devices"]["cuda"]["purchase"] is None
    assert (
        found["devices"]["cpu"]["purchase"] | {"amount": 500.0, "lifetime_years": 4, "utilisation": 0.25}
        == found["devices"]["cpu"]["purchase"]
    )
    assert found["devices"]["m1-mini"]["purchase"]["verified"] is False
    with pytest.raises(UserError, match="no prices of 'cpu'"):
        assumptions(prices={"cuda": "cpu"})


def test_currencies_are_mixed_by_a_given_rate_only():
    euros = {"purchase": {"amount": 500, "currency": "EUR", "source": "a shop", "date": "2025"}}
    with pytest.raises(UserError, match="in EUR and the report in USD"):
        assumptions(prices={"cpu": euros})
    found = assumptions(prices={"cpu": euros}, exchange={"EUR": {"rate": 1.1, "source": "a bank", "date": "2026-01"}})
    assert found["devices"]["cpu"]["purchase"]["amount"] == pytest.approx(550)


# Whole experiments: cpu has no meter, cuda an NVIDIA counter, metal Apple's.
