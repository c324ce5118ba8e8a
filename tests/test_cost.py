"""Seconds and joules become money: owning, renting, break-even, the way to an accuracy, ratios and what is said of them."""

import copy
import math
import re
from types import SimpleNamespace

import pages
import pandas as pd
import pytest
import synthetic
import yaml
from project import ROOT
from test_experiment import CATALOG, DEFAULT

import plot_break_even
import plot_cost
import plot_efficiency
import plot_energy
import plot_to_accuracy
from trainoff import records
from trainoff.analyze import cost, efficiency, noise, pairs, stats
from trainoff.configurations import AXES
from trainoff.experiment import plan
from trainoff.report import economy, figures, palette, training, verdict_words
from trainoff.report.figure_table import FIGURES

DEVICES = synthetic.DEVICES[:3]  # cpu, cuda, metal
PURCHASE = {"amount": 8766.0, "lifetime_years": 2, "utilisation": 0.5}  # 1 per hour of training


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return made(tmp_path_factory.mktemp("mixed"), "ioreport", "soc")


@pytest.fixture(scope="module")
def walls(tmp_path_factory):
    """The same machines, each on a wall meter: figures that may be compared."""
    return made(tmp_path_factory.mktemp("walls"), "wall_meter", "machine", source="wall_meter", scope="machine")


def made(folder, metal_source, metal_scope, source="nvml", scope="gpu"):
    made_up = synthetic.records(DEVICES, replicates=3)
    synthetic.add_energy(made_up, "cuda", 300, source, scope, idle_watts=40)
    synthetic.add_energy(made_up, "metal", 30, metal_source, metal_scope, idle_watts=5)
    paths = synthetic.results(folder, DEVICES, made_up)
    return {name: pd.read_parquet(path) for name, path in paths.items()}


def test_different_scopes_and_unknown_energy_enter_no_ratio(mixed):
    found = mixed["comparison"]
    assert found["ratio"].notna().all(), "the speeds are compared all the same"
    assert found["energy_ratio"].isna().all()
    reasons = {pair: set(rows["energy_reason"]) for pair, rows in found.groupby(["device", "baseline"])}
    (other,) = reasons["metal", "cuda"]
    assert "other_scope" in other and '["soc", "gpu"]' in other
    (unread,) = reasons["cuda", "cpu"]
    assert "no_energy" in unread and synthetic.NO_METER in unread


def test_equal_scopes_give_the_ratio_of_watts_over_speed(walls):
    """cuda draws ten times the power of metal and is 14 / 4.3 times as fast."""
    found = walls["comparison"].query("device == 'metal' and baseline == 'cuda'")
    expected = (30 / 4.3) / (300 / 14)
    assert found["energy_ratio"].between(0.95 * expected, 1.05 * expected).all()
    assert ((found["energy_low"] < found["energy_ratio"]) & (found["energy_ratio"] < found["energy_high"])).all()
    # Rent: ratio of the prices over that of the speeds.
    assert (found["cost_ratio"] * found["ratio"]).tolist() == pytest.approx([0.7 / 3.0] * 8)
    assert (found["cost_low"] * found["ci_high"]).tolist() == pytest.approx([0.7 / 3.0] * 8)
    assert (
        found["owned_cost_ratio"].isna().all()
        and found["cost_reason"].str.contains('"no_purchase_price", "device": "cuda"').all()
    )
    overall = walls["overall"].set_index(["device", "baseline", "subset"]).loc["metal", "cuda", "all"]
    assert 0.95 * expected < overall["energy_low"] < overall["energy_ratio"] < overall["energy_high"] < 1.05 * expected
    assert overall["cost_ratio"] * overall["ratio"] == pytest.approx(0.7 / 3.0)
    assert overall["energy_compared"] == overall["cost_compared"] == 8


def test_owned_ratios_take_both_ends(walls, tmp_path):
    money = copy.deepcopy(synthetic.ASSUMPTIONS)
    money["devices"]["cuda"]["purchase"] = money["devices"]["metal"]["purchase"] | {"amount": 9000.0}
    made_up = synthetic.records(DEVICES[1:], replicates=3)
    for device, watts in (("cuda", 300), ("metal", 30)):
        synthetic.add_energy(made_up, device, watts, "wall_meter", "machine")
    paths = synthetic.results(tmp_path, DEVICES[1:], made_up, assumptions=money)
    found = pd.read_parquet(paths["comparison"])
    # Both prices and both powers are 10 : 1, so the costs are 10 : 1 over the speeds.
    assert (found["owned_cost_ratio"] * found["ratio"]).tolist() == pytest.approx([0.1] * 8, rel=0.02)
    assert (
        (found["owned_cost_low"] < found["owned_cost_ratio"]) & (found["owned_cost_ratio"] < found["owned_cost_high"])
    ).all()


def test_owned_ratio_follows_the_ratio_of_speeds_that_is_compared():
    """Turns may find another ratio than the runs, and its interval."""
    rate = SimpleNamespace(images_per_second=100.0, variance=0.01, degrees=3)
    bought = synthetic.ASSUMPTIONS["devices"]["metal"]["purchase"]
    side = rate, efficiency.Energy(rate, "machine", "wall_meter", None)
    money = {"devices": {name: {"purchase": bought, "rental": None} for name in "ab"}, "electricity": {"per_kwh": 0.0}}
    speed = stats.Ratio(2.0, 0.001, 5)
    found = efficiency.cost_columns([side, side], ["a", "b"], money, speed)
    low, high = speed.interval
    assert [found[f"owned_cost_{end}"] for end in ("ratio", "low", "high")] == pytest.approx([0.5, 1 / high, 1 / low])


def test_a_device_s_figure_is_the_mean_that_the_page_names():
    """Of the runs 100, 100 and 800, whose median would be 100: of energy as of speed."""
    runs = [{"replicate": number} | dict.fromkeys(set(records.RUN_KEYS) - {"replicate"}, 1) for number in range(3)]
    row = {"energy_scope": "gpu", "energy_source": "nvml", "energy_reason": None, "joules_per_image": 1.0}
    row |= dict.fromkeys(("joules_per_image_above_idle", "mean_watts", "idle_watts"), math.nan)
    drawn = {
        tuple(run[key] for key in records.RUN_KEYS): (row, [1 / joules])
        for run, joules in zip(runs, (100, 100, 800), strict=True)
    }
    assert efficiency.of_runs(runs, drawn, noise.UNKNOWN).joules_per_image == pytest.approx(200)
    assert stats.rate([[100], [100], [800]]).images_per_second == pytest.approx(200)
    for text in (efficiency.METHOD, FIGURES["throughput"].caption, stats.METHOD):
        assert "geometric mean over its runs" in text


def test_declared_energy_enters_no_ratio():
    run = synthetic.records(DEVICES[:1], synthetic.SMALL_GRID)[0]["run"]
    key = tuple(run[name] for name in records.RUN_KEYS)
    row = {"joules_per_image": 1.0, "energy_scope": "gpu", "energy_source": "declared", "energy_reason": None}
    row |= dict.fromkeys(("joules_per_image_above_idle", "mean_watts", "idle_watts"), math.nan)
    declared = efficiency.of_runs([run], {key: (row, [1.0, 1.01, 0.99])}, noise.UNKNOWN)
    measured = efficiency.of_runs([run], {key: (row | {"energy_source": "nvml"}, [1.0, 1.01, 0.99])}, noise.UNKNOWN)
    assert efficiency.energy_ratio(measured, measured, ["a", "b"])[0].ratio == 1
    assert efficiency.energy_ratio(declared, measured, ["a", "b"]) == (
        None,
        '{"code": "declared_energy", "device": "a"}',
    )


def test_costs_follow_from_the_tables(mixed):
    costs = mixed["costs"].merge(mixed["rates"], on=[*AXES, "device"], suffixes=("", "_rate"))
    metal, cuda, cpu = (costs[costs["device"] == name] for name in ("metal", "cuda", "cpu"))
    capital = cost.owning_per_second(synthetic.ASSUMPTIONS["devices"]["metal"]["purchase"])
    expected = 1000 * (capital / metal["images_per_second"] + metal["joules_per_image"] / 3.6e6 * 0.2)
    assert metal["owned_per_1000_images"].tolist() == pytest.approx(expected.tolist())
    assert (metal["owned_per_1000_images_low"] < metal["owned_per_1000_images"]).all()
    assert cuda["rented_per_epoch"].tolist() == pytest.approx((3.0 / 3600 * 640 / cuda["images_per_second"]).tolist())
    assert (metal["rented_per_training"] == 0.7 * 24).all(), "a day is billed at least"
    assert set(cuda["owned_reason"]) == {'{"code": "no_purchase_price", "device": "cuda"}'}
    assert cuda["owned_per_training"].isna().all()
    assert cpu[["owned_per_1000_images", "rented_per_1000_images"]].isna().all(axis=None)
    assert set(cuda["energy_scope"]) == {"gpu"} and set(metal["energy_scope"]) == {"soc"}
    assert costs["grams_co2e_per_training"].isna().all(), "no grid was named"


def test_the_way_to_an_accuracy_is_told_per_cell(tmp_path):
    """metal always gets there, cuda in two runs of three, cpu in one."""
    made_up = synthetic.records(DEVICES, synthetic.SMALL_GRID, replicates=3)
    synthetic.add_energy(made_up, "metal", 30, "ioreport", "soc")
    failing = {"cuda": [3], "cpu": [2, 3]}
    for one in made_up:
        if one["run"]["replicate"] in failing.get(one["run"]["device"], []):
            one["windows"][-1]["val_accuracy"] = 0.1
    table = pd.read_parquet(synthetic.results(tmp_path, DEVICES, made_up, target=0.45)["costs"])
    reached = table.groupby("device")["runs_reached"].agg(set)
    assert reached.to_dict() == {"cpu": {1}, "cuda": {2}, "metal": {3}} and set(table["runs"]) == {3}
    known = table.groupby("device")["seconds_to_accuracy"].agg(lambda values: values.notna().all())
    assert known.to_dict() == {"cpu": False, "cuda": True, "metal": True}, "a median over runs, endless ones counted"
    assert table.loc[table["device"] == "cpu", ["owned_per_training", "rented_per_training"]].isna().all(axis=None)
    # All four epochs, at 30 W.
    own = table[table["device"] == "metal"]
    assert (own["joules_to_accuracy"] < 30 * 1.02 * own["seconds_to_accuracy"]).all()
    lines = economy.target_lines(table, palette.devices_in(DEVICES, table))
    assert "did not reach 45%" in lines[0] and " J (chip); 2 of 2" in lines[2]
    assert " s with last layer (2 of 3 runs); 2 of 2" in lines[1]


def test_a_training_takes_no_longer_because_it_was_stopped(tmp_path):
    told = []
    for stop in (0.0, 28_800.0):
        made_up = synthetic.records(DEVICES[:2], synthetic.SMALL_GRID)
        for one in made_up:
            one["windows"][1]["warm_up"] = True
            if stop:
                one["windows"][1]["seconds"] += stop
                one["windows"][1]["suspended_seconds"] = stop
        paths = synthetic.results(tmp_path / str(stop), DEVICES[:2], made_up, target=0.2)
        runs, epochs, drawn, costs = (
            pd.read_parquet(paths[name]) for name in ("runs", "windows", "energy_windows", "costs")
        )
        curves = plot_to_accuracy.curves(runs, epochs, drawn, synthetic.ASSUMPTIONS)
        told.append(
            [
                *costs["seconds_to_accuracy"],
                *costs["rented_per_training"].dropna(),
                training.sweep(runs, epochs, drawn, "cpu")["seconds"],
                *(curve["seconds"][-1] for curve in curves.values()),
            ]
        )
    assert told[1] == pytest.approx(told[0])


def test_energy_to_an_accuracy_is_given_only_with_the_part_that_was_read(tmp_path):
    """metal has readings of two meters; cuda reached the target before its time was over."""
    made_up = synthetic.records(
        DEVICES[1:], synthetic.SMALL_GRID, replicates=2, failures=dict.fromkeys(range(4), "timed_out")
    )
    synthetic.add_energy(made_up, "cuda", 300, "nvml", "gpu")
    synthetic.add_energy(made_up[4::2], "metal", 30, "ioreport", "soc")
    synthetic.add_energy(made_up[5::2], "metal", 60, "wall_meter", "machine")
    table = pd.read_parquet(synthetic.results(tmp_path, DEVICES[1:], made_up, target=0.05)["costs"])
    assert table["seconds_to_accuracy"].notna().all() and table["energy_scope"].isna().all()
    lines = economy.target_lines(table, palette.devices_in(DEVICES[1:], table))
    assert len(lines) == 2 and not any(" J " in line or "declared" in line for line in lines)
    assert table[["joules_per_training", "electricity_per_training", "owned_per_training"]].isna().all(axis=None)


def test_an_unknown_cold_start_is_no_missed_target(tmp_path):
    """As in users' own scripts. cpu was not run with the last layer alone, cuda never gets to the higher target."""
    made_up = synthetic.records(DEVICES[:2], synthetic.SMALL_GRID)
    made_up = [one for one in made_up if one["run"]["trainable"] or one["run"]["device"] != "cpu"]
    for one in made_up:
        if one["run"]["device"] == "cuda":
            one["cold_start"] = dict.fromkeys(one["cold_start"])
    told = {}
    for target in (0.2, 0.99):
        table = pd.read_parquet(synthetic.results(tmp_path / str(target), DEVICES[:2], made_up, target=target)["costs"])
        shown = palette.devices_in(DEVICES[:2], table)
        told[target] = economy.target_lines(table, shown), economy.cost_notes(table, shown, synthetic.ASSUMPTIONS)[-1]
    lines, note = told[0.2]
    assert "(1 of 1 run); 1 of 1 configuration reached it." in lines[0]
    assert lines[1].startswith("NVIDIA GPU reached 20% validation accuracy; the time is unknown")
    assert note == "2 of 3 results have no cost: the cold start of their runs is unknown."
    lines, note = told[0.99]
    assert lines[1] == "NVIDIA GPU did not reach 99% validation accuracy (runs that did, by configuration: 0 of 1)."
    assert note.startswith("3 of 3 results have no cost: at least half of their runs never reached")


@pytest.mark.parametrize(
    ("failed", "electricity", "claim", "cure"),
    [
        (True, {"per_kwh": 0.2}, "NVIDIA GPU has no training speed", ""),
        (False, None, "Apple GPU and NVIDIA GPU have a price but no price of electricity", "money.electricity"),
        (False, {"per_kwh": 0.2}, "NVIDIA GPU has a price but no energy reading", "energy.wall_meters"),
    ],
)
def test_a_device_with_a_price_lacks_none(failed, electricity, claim, cure, tmp_path):
    """cuda, which is bought, has its speeds or not, and a reading of its energy where electricity has no price."""
    prices = {name: synthetic.ASSUMPTIONS["devices"]["metal"] | {"rental": None} for name in ("cuda", "metal")}
    assumptions = synthetic.ASSUMPTIONS | {
        "devices": prices,
        "electricity": electricity and synthetic.ASSUMPTIONS["electricity"],
    }
    devices = [device for device in DEVICES if device["name"] in prices]
    statuses = dict.fromkeys(range(2), "out_of_memory") if failed else {}
    made_up = synthetic.records(devices, synthetic.SMALL_GRID, failures=statuses)
    synthetic.add_energy(made_up, "metal", 30, "wall_meter", "machine")
    if not electricity:
        synthetic.add_energy(made_up, "cuda", 300, "wall_meter", "machine")
    paths = synthetic.results(tmp_path, devices, made_up, assumptions)
    tables = {name: pd.read_parquet(path) for name, path in paths.items()}
    found = pairs.verdicts(tables, pairs.Pair("metal", "cuda"))["money"]
    labels = {device["name"]: device["label"] for device in devices}
    tile = verdict_words.verdict(found, labels, "USD")
    assert tile["claim"] == claim and cure in tile["cure"] and bool(cure) == bool(tile["cure"])


def told(tables, quantity):
    """The tile of metal against cuda."""
    from trainoff.analyze import pairs

    found = pairs.verdicts(tables, pairs.Pair("metal", "cuda"))[quantity]
    return verdict_words.verdict(found, {device["name"]: device["label"] for device in DEVICES}, "USD")


def test_sentences_say_what_the_tables_hold(mixed, walls):
    from trainoff import numbers

    row = walls["overall"].query("device == 'metal' and baseline == 'cuda' and subset == 'all'").to_dict("records")[0]
    tile = told(walls, "energy")
    size = max(row["energy_ratio"], 1 / row["energy_ratio"])
    assert tile["value"] == numbers.ratio(size) and f"needs {numbers.ratio(size)} as much energy" in tile["sentence"]
    assert "in all 8 configurations; both readings cover the whole machine" in tile["sentence"]
    tile = told(mixed, "energy")
    assert "the whole chip" in tile["sentence"] and "the GPU alone" in tile["sentence"]
    assert "wall meter" in tile["cure"] and tile["winner"] is None
    shown = palette.devices_in(DEVICES, mixed["rates"])
    notes = " ".join(economy.energy_notes(mixed["rates"], shown))
    assert "must not be compared" in notes and f"CPU: energy unknown. {synthetic.NO_METER}" in notes


def test_the_amounts_of_the_money_tile_have_its_ratio(tmp_path):
    """They are of the configurations that both ran."""
    made_up = synthetic.records(DEVICES, failures={8: "crashed", 12: "crashed"})
    synthetic.add_energy(made_up, "metal", 30, "ioreport", "soc")
    tables = {name: pd.read_parquet(path) for name, path in synthetic.results(tmp_path, DEVICES, made_up).items()}
    found = pairs.verdicts(tables, pairs.Pair("metal", "cuda"))["money"]
    amounts = {name: one["per_1000_images"] for name, one in found.facts.items()}
    assert found.compared == 6 and amounts[found.loser] / amounts[found.winner] == pytest.approx(found.ratio)


def test_a_least_time_of_renting_stands_wherever_its_price_does(tmp_path):
    text = pages.failures(tmp_path, drawn=())[0].replace("\xa0", " ")
    amount = r"Apple GPU rented: [\d.]+ USD per million images, for at least 24 h"
    assert re.search(amount, text), "the tile"
    assert "rented at 0.7 USD per hour, for at least 24 h" in text, "what a training costs"
    assert re.search(r"16\.8 USD on Apple GPU \(rented, for at least 24 h\)", text), "what the sweep cost"


def words_of(figure, _):
    """All text of a figure: of its picture and its facts."""
    drawn = [text.get_text() for text in figure.findobj(figures.matplotlib.text.Text)]
    return " ".join([figure.facts["title"], figure.facts["subtitle"], *figure.facts["notes"], *drawn])


def test_the_figures_say_what_is_measured_and_what_is_assumed(mixed, tmp_path):
    from trainoff.report import saving

    saving.use_style()
    text = words_of(plot_energy.draw(mixed["rates"], DEVICES), tmp_path)
    assert "The GPU alone" in text and "The whole chip" in text and "must not be compared" in text
    assert "images/J" in words_of(plot_efficiency.draw(mixed["rates"], DEVICES), tmp_path)
    text = words_of(plot_cost.draw(mixed["costs"], synthetic.ASSUMPTIONS, DEVICES), tmp_path)
    assert "made up, 2026-01" in text and "for at least 24 h" in text and "no purchase price" in text
    text = words_of(plot_break_even.draw(mixed["break_even"], synthetic.ASSUMPTIONS, DEVICES), tmp_path)
    assert "pays off above" in text and "runs per month" in text


def test_energy_to_accuracy_of_different_parts_is_marked(mixed, walls, tmp_path):
    """The figure has all devices on one axis of joules, further left on which would be better."""

    def text(tables):
        inputs = (tables[name] for name in ("runs", "windows", "energy_windows", "rates", "comparison"))
        return words_of(plot_to_accuracy.draw(*inputs, synthetic.ASSUMPTIONS, DEVICES), tmp_path)

    assert "joules, not comparable" in text(mixed) and "NVIDIA's counter (NVML), the GPU alone." in text(mixed)
    assert "joules" in text(walls) and "not comparable" not in text(walls)


def test_the_break_even_table_has_every_pair(mixed):
    table = mixed["break_even"]
    assert set(zip(table["owned_device"], table["rented_device"], strict=True)) == {
        ("metal", "cuda"),
        ("metal", "metal"),
    }
    assert (table["trainings_per_month"].notna() | table["reason"].notna()).all()


def test_default_prices_have_source_and_date():
    for entry in CATALOG.values():
        for price in entry.get("prices", {}).values():
            assert price["source"] and price["date"] and price["currency"]
    assert yaml.safe_load((ROOT / "config.yaml").read_text())["money"]["electricity"]["source"]
    assert (
        cost.assumptions(DEFAULT, plan.devices(DEFAULT, CATALOG, detect=lambda: ["cpu"]), CATALOG)["currency"] == "USD"
    )


def test_readings_of_different_parts_give_an_estimate_that_names_them(mixed):
    labels = {device["name"]: device["label"] for device in DEVICES}
    found = pairs.verdicts(mixed, pairs.Pair("metal", "cuda"))["energy"]
    assert (found.outcome, found.winner, found.kind) == ("estimated", "metal", "estimated")
    # cuda draws ten times the power at 14 / 4.3 times the speed, and that of its processor is not known.
    assert found.ratio == pytest.approx(10 * 4.3 / 14, rel=0.03)
    tile = verdict_words.verdict(found, labels, "USD")
    assert tile["value"].startswith("≥ 3")
    assert "needs at least 3" in tile["sentence"] and "the NVIDIA GPU reading covers the GPU alone" in tile["sentence"]
    assert not tile["settled"] and tile["kind"] == "estimated from readings of different parts"
    turned = pairs.verdicts(mixed, pairs.Pair("cuda", "metal"))["energy"]
    assert (turned.winner, turned.ratio) == ("metal", pytest.approx(found.ratio))


@pytest.mark.parametrize("times, outcome", [(0.1, "unknown"), (5, "estimated")])
def test_an_estimate_hides_no_difference_between_all_weights_and_the_last_layer(times, outcome, mixed):
    """cuda needs three times as much energy as metal; the last layer alone so many times that."""
    last_layer = (mixed["rates"]["device"] == "cuda") & ~mixed["rates"]["trainable"]
    factor = last_layer.map({True: times, False: 1})
    rates = mixed["rates"].assign(joules_per_image=mixed["rates"]["joules_per_image"] * factor)
    found = pairs.verdicts(mixed | {"rates": rates}, pairs.Pair("metal", "cuda"))["energy"]
    assert found.outcome == outcome
    tile = verdict_words.verdict(found, {device["name"]: device["label"] for device in DEVICES}, "USD")
    assert outcome == "unknown" or re.search(r"least 6\.\d+× .* \(3\.\d+× to 15\.\d× by conf", tile["sentence"])


def test_the_processor_of_a_gpu_s_machine_counts_in_the_estimate(tmp_path):
    made_up = synthetic.records(DEVICES, replicates=3)
    synthetic.add_energy(made_up, "cuda", 300, "nvml", "gpu")
    synthetic.add_energy(made_up, "metal", 30, "ioreport", "soc")
    for record in made_up:
        for window in record["windows"] if record["run"]["device"] == "cuda" else ():
            window["readings"] = {"package_watts": {"mean": 100.0, "maximum": 120.0}}
    paths = synthetic.results(tmp_path, DEVICES, made_up)
    tables = {name: pd.read_parquet(path) for name, path in paths.items()}
    watts = tables["runs"].query("device == 'cuda'")["package_watts"]
    assert watts.tolist() == pytest.approx([100.0] * len(watts))
    found = pairs.verdicts(tables, pairs.Pair("metal", "cuda"))["energy"]
    assert found.ratio == pytest.approx(400 / 30 * 4.3 / 14, rel=0.03)
    labels = {device["name"]: device["label"] for device in DEVICES}
    sentence = verdict_words.verdict(found, labels, "USD")["sentence"]
    assert "needs about 4" in sentence and "reading covers the GPU and the processor package" in sentence
    # The ratio of what was measured stays unknown.
    assert tables["comparison"]["energy_ratio"].isna().all()


@pytest.mark.parametrize("others", [3, 8])
def test_other_work_enters_no_verdict_on_energy_or_money(others, mixed, tmp_path):
    """metal is bought and cuda rented, and their readings cover different parts: neither ratio is in the comparison."""
    made_up = synthetic.records(DEVICES)
    for record in [record for record in made_up if record["run"]["device"] == "cuda"][:others]:
        record["provenance"]["dataset_sha256"] = "a" * 64
        for window in record["windows"]:
            window["seconds"] *= 20
    synthetic.add_energy(made_up, "cuda", 300, "nvml", "gpu")
    synthetic.add_energy(made_up, "metal", 30, "ioreport", "soc")
    paths = synthetic.results(tmp_path, DEVICES, made_up)
    tables = {name: pd.read_parquet(path) for name, path in paths.items()}
    found = pairs.verdicts(tables, pairs.Pair("metal", "cuda"))
    expected = pairs.verdicts(mixed, pairs.Pair("metal", "cuda"))
    for quantity in ("energy", "money"):
        if others == 8:
            assert found[quantity].outcome == "unknown" and "not_comparable" in found[quantity].reasons.values()
        else:
            assert found[quantity].compared == 5
            assert found[quantity].ratio == pytest.approx(expected[quantity].ratio, rel=0.05)


@pytest.mark.parametrize(
    ("watts", "scope", "source"), [(5, "gpu", "nvml"), (300, "machine", "wall_meter"), (300, "gpu", "declared")]
)
def test_no_estimate_where_nothing_follows(watts, scope, source, tmp_path):
    """A GPU that alone draws less than the other's chip may draw more with its processor; a wall meter holds more."""
    made_up = synthetic.records(DEVICES, synthetic.SMALL_GRID, replicates=2)
    synthetic.add_energy(made_up, "cuda", watts, source, scope)
    synthetic.add_energy(made_up, "metal", 30, "ioreport", "soc")
    tables = {name: pd.read_parquet(path) for name, path in synthetic.results(tmp_path, DEVICES, made_up).items()}
    found = pairs.verdicts(tables, pairs.Pair("metal", "cuda"))["energy"]
    assert (found.outcome, found.ratio) == ("unknown", None)
