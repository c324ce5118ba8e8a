"""Estimates: what the catalog holds, what is refused, how wrong they are, and that they never pass for measurements."""

import math

import numpy as np
import pages
import pandas as pd
import pytest
import synthetic
import yaml

import plot_estimates
from trainoff import configurations, numbers
from trainoff.analyze import anchors, cost, estimates, hardware, layer_counts, pairs, prediction, published, tables
from trainoff.errors import UserError
from trainoff.report import estimates as words
from trainoff.report import page, palette, training
from trainoff.report.study import Study


@pytest.fixture(scope="module")
def sheets():
    return yaml.safe_load(pages.CATALOG["hardware"].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def counts():
    return layer_counts.read(pages.CATALOG["counts"])


@pytest.fixture(scope="module")
def figures_of_others():
    return published.read(pages.CATALOG["published"])


@pytest.fixture(scope="module")
def timings():
    return prediction.as_observations(pd.read_csv(pages.CATALOG["timings"]))


@pytest.fixture(scope="module")
def predictor(figures_of_others, sheets, counts, timings):
    table, _ = anchors.published(figures_of_others, sheets, counts)
    return prediction.Predictor(table, timings)


def test_the_catalog_is_checked(figures_of_others, sheets, counts):
    labels = [sheet["label"] for sheet in sheets.values()]
    assert len(figures_of_others) >= 150 and len(set(labels)) == len(labels)
    table, left_out = anchors.published(figures_of_others, sheets, counts)
    assert len(table) + len(left_out) == len(figures_of_others) and len(table) >= 150
    assert all(left_out.values()), "every figure that is not used has its reason"
    assert not figures_of_others.duplicated().any()
    for sheet in sheets.values():
        assert {"label", "class", "chip", "names", "tflops", "memory_gb", "memory_gb_per_second", "tdp_watts"} <= set(
            sheet
        )
        assert sheet["source"]["what"] and sheet["source"]["date"]


@pytest.mark.parametrize(
    ("scheme", "device_class", "median", "ninetieth"),
    [
        ("model on a device", "cuda", 0.17, 0.50),
        ("model on a device", "metal", 0.20, 0.50),
        ("source on a device", "cuda", 0.20, 0.70),
        ("device", "metal", 0.20, 0.50),
    ],
)
def test_held_out_figures_are_estimated_within_stated_bounds(predictor, scheme, device_class, median, ninetieth):
    """The catalog cannot get worse than this unnoticed; docs/prediction.md has the errors themselves."""
    table = predictor.table
    error, deviation = predictor.left_out(prediction.group_labels(table, prediction.SCHEMES[scheme]))
    own = table["device_class"].eq(device_class).to_numpy()
    off = np.exp(np.abs(error[own])) - 1
    assert np.median(off) <= median and np.quantile(off, 0.9) <= ninetieth
    light = prediction.is_light(table)
    for kind in (own, own & light, own & ~light):
        stretch = np.where(
            light, predictor.stretch[device_class, True, True], predictor.stretch[device_class, False, True]
        )
        inside = np.mean(np.abs(error[kind]) <= deviation[kind] * stretch[kind])
        assert 0.83 <= inside <= 0.97 or kind.sum() < 30
    assert all(
        predictor.stretch[name, kind, False] >= predictor.stretch[name, kind, True]
        for name, kind, _ in predictor.stretch
    )


def test_counts_grow_with_the_pixels_and_follow_known_networks(counts):
    work = counts.work("resnet50", 224)
    assert work.multiply_adds == pytest.approx(3.86e9, rel=0.01) and work.parameters == pytest.approx(23.6e6, rel=0.01)
    assert counts.work("mobilenetv2", 224).multiply_adds == pytest.approx(0.30e9, rel=0.01)
    sizes = [counts.work("mobilenetv2", size).multiply_adds for size in (32, 96, 100, 128, 200, 224, 600)]
    assert sizes == sorted(sizes) and counts.work("mobilenetv2", 64).multiply_adds == pytest.approx(
        sizes[0] * 4, rel=0.01
    )
    assert counts.work("my-own-network", 224) is None


def test_memory_tells_what_does_not_fit(counts):
    least, usual = layer_counts.memory_gb(counts.work("resnet50", 224), 128, "float32", trainable=True)
    assert least < 21 < usual * 1.3, "an M1 Max was seen to take 21 GB"
    half = layer_counts.memory_gb(counts.work("resnet50", 224), 128, "mixed_float16", trainable=True)
    frozen = layer_counts.memory_gb(counts.work("resnet50", 224), 128, "float32", trainable=False)
    assert half[1] < usual and frozen[1] < 0.3 * usual


def results(folder, devices, wanted, change=None, asked=None, prices=None):
    """(tables of the workflow as frames, devices as figures show them); change: applied to the table of runs' records."""
    records = synthetic.records(devices, synthetic.SMALL_GRID | {"trainable": [True]})
    for record in records:
        (change or (lambda one: None))(record)
    assumptions = synthetic.ASSUMPTIONS | {"devices": prices or synthetic.ASSUMPTIONS["devices"]}
    paths = synthetic.results(folder, devices, records)
    paths |= pages.estimates(folder, paths, devices, wanted, assumptions, asked)
    frames = {name: pd.read_parquet(path) for name, path in paths.items()}
    return frames, palette.devices_in(devices, frames["runs"])


def told(frames, assumptions, settings, published):
    """The Study of these tables, with nothing that times and costs are not about."""
    return Study(frames, "A title", [], assumptions, pages.ASKED, settings, published)


def markup(frames, devices, assumptions, published):
    """{"answer", "section"}: what the page says of a training on its first screen, for one device, and in its section."""
    found = training.section(told(frames, assumptions, {}, published), devices)
    environment = page.environment(pages.ROOT / "report/page")
    method = {"assumptions": [], "economy_method": "", "estimate_method": words.METHOD}
    return {
        "answer": environment.get_template("training_macros.html.j2").module.elsewhere(found),
        "section": environment.get_template("training.html.j2").render(training=found, **method),
    }


def test_one_device_gets_an_answer_for_six_others(tmp_path, sheets, figures_of_others):
    config = yaml.safe_load((pages.ROOT / "config.yaml").read_text(encoding="utf-8"))
    known = cost.of_hardware(
        sheets, config, yaml.safe_load((pages.ROOT / "catalog/devices.yaml").read_text(encoding="utf-8"))
    )
    facts = known | synthetic.ASSUMPTIONS["devices"]
    frames, devices = results(tmp_path, synthetic.DEVICES[:1], config["predict"], prices=facts)
    table = frames["estimates"]
    assert list(table["device"]) == config["predict"] and set(table["status"]) == {"estimated"}
    assert (table["low"] < table["images_per_second"]).all() and (table["images_per_second"] < table["high"]).all()
    assert (table["anchors"] > 0).all() and table["nearest"].str.len().gt(0).all() and table["newest"].notna().all()
    html = markup(frames, devices, synthetic.ASSUMPTIONS | {"devices": facts}, figures_of_others)
    assert html["answer"].count("<em>estimated</em>") == 6 and html["answer"].count('class="measured"') == 1
    assert html["answer"].count("anchors</summary>") == 5 and "https://" in html["answer"], (
        "the anchors are one click away"
    )
    assert html["answer"].count("<pre") == 3 and "make bundle" in html["answer"] and "CIFAR-10" in html["answer"]
    assert "USD" in html["answer"]
    assert not {"×", "faster", "slower"} & set((html["answer"] + html["section"]).replace("<", " ").split())


def test_the_figure_draws_both_kinds_apart(tmp_path, sheets):
    frames, _ = results(tmp_path, synthetic.DEVICES[:1], ["v100", "m4-max"])
    drawn = plot_estimates.draw(frames["estimates"], frames["rates"], synthetic.DEVICES[:1])
    texts = " ".join(text.get_text() for axes in drawn.axes for text in axes.texts)
    assert "about" in texts and "no estimate" in texts and "V100" in drawn.facts["title"]


def test_what_cannot_be_estimated_is_refused_with_what_would_help(tmp_path, sheets, figures_of_others):
    frames, devices = results(tmp_path, synthetic.DEVICES[:1], ["m4-max", "v100"])
    table = frames["estimates"].set_index("device")
    assert table.at["m4-max", "status"] == "refused" and table.at["m4-max", "reason"] == "no_anchor"
    assert not numbers.known(table.at["m4-max", "images_per_second"]), "unknown is null"
    html = markup(frames, devices, synthetic.ASSUMPTIONS, figures_of_others)
    assert "No estimate" in html["answer"] and "make bundle" in html["answer"]
    with pytest.raises(UserError, match="rtx 9999"):
        hardware.check(["rtx 9999"], sheets)


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"model": "my-own"}, "refused", "not_counted"),
        ({"precision": "mixed_bfloat16"}, "refused", "precision"),
        ({"model": "resnet50", "img_dim": 224, "batch_size": 1024}, "too_large", "memory"),
        ({}, "estimated", None),
    ],
)
def test_the_standing_of_a_configuration(change, status, reason, sheets, counts):
    values = {"model": "mobilenetv2", "batch_size": 32, "img_dim": 96, "trainable": True, "precision": "float32"}
    row = values | {"backend": "tensorflow", "device": "v100", "device_memory_gb": 16, "xla": False} | change
    work = counts.work(row["model"], row["img_dim"])
    task = work and anchors.observation(estimates._query(row, sheets["v100"]), sheets["v100"], "cuda", work)
    row |= estimates._memory(row, work) | {"anchors": 1}
    assert estimates._standing(row, False, work, task) == {"status": status, "reason": reason}
    assert estimates._standing(row, True, work, task)["status"] == "measured"
    if reason is None:
        found = estimates._standing(row | {"anchors": 0}, False, work, task)
        assert found == {"status": "refused", "reason": "no_anchor"}


def test_a_run_on_a_device_becomes_its_best_anchor(tmp_path, sheets):
    def on_a_t4(record):
        if record["run"]["device"] == "cuda":
            record["device"]["name"] = "Tesla T4"

    before, _ = results(tmp_path / "before", synthetic.DEVICES[:1], ["t4", "v100"])
    after, _ = results(tmp_path / "after", synthetic.DEVICES[:2], ["t4", "v100"], change=on_a_t4)
    assert list(before["estimates"]["status"]) == ["estimated", "estimated"]
    assert list(after["estimates"]["status"]) == ["measured", "estimated"]
    width = [
        math.log(row["high"] / row["low"])
        for table in (before["estimates"], after["estimates"])
        for row in table[table["device"] == "v100"].to_dict("records")
    ]
    assert width[1] < width[0], "a run of the same software narrows the estimate of others"


@pytest.mark.parametrize("gpu_percent, backend, is_anchor", [(95, "torch", 1), (8, "torch", 0), (8, "tensorflow", 1)])
def test_a_gpu_that_waits_tells_nothing_of_other_frameworks(gpu_percent, backend, is_anchor, tmp_path, sheets, counts):
    def on_an_h100(record):
        if record["run"]["device"] == "cuda":
            record["device"] |= {"name": "NVIDIA H100 80GB HBM3", "backend": backend}
            for window in record["windows"]:
                window["readings"] = {"gpu_percent": {"mean": gpu_percent, "maximum": 99.0}}

    frames, _ = results(tmp_path, synthetic.DEVICES[:2], ["v100"], change=on_an_h100)
    found = anchors.measured(frames["rates"], frames["runs"], sheets, counts, "tensorflow")
    assert list(found["device"]).count("h100") == is_anchor


def test_a_device_without_a_data_sheet_is_learned_from_its_runs(tmp_path, sheets, counts):
    frames, _ = results(tmp_path, synthetic.DEVICES[:1], ["v100"])
    found = anchors.measured(frames["rates"], frames["runs"], sheets, counts, "tensorflow")
    assert list(found["device"]) == ["measured:cpu"] and list(found["device_class"]) == ["cpu"]


@pytest.mark.parametrize(
    ("name", "cores", "key"),
    [
        ("Tesla V100-SXM2-16GB", None, "v100"),
        ("NVIDIA GeForce RTX 4090", None, "rtx4090"),
        ("Apple M3 Max", 30, "m3-max"),
        ("Apple M3 Max", 40, "m3-max-40core"),
        ("Apple M3 Max", 99, None),
        ("GeForce RTX 4090 Laptop GPU", None, None),
        (None, None, None),
    ],
)
def test_drivers_names_are_recognized(name, cores, key, sheets):
    accelerator = "metal" if name and name.startswith("Apple") else "cuda"
    assert hardware.recognized(name, accelerator, cores, sheets) == key
    assert hardware.recognized(name, "cpu", cores, sheets) is None


def test_a_training_run_becomes_time_and_money(tmp_path, sheets):
    facts = synthetic.ASSUMPTIONS["devices"] | {"v100": synthetic.ASSUMPTIONS["devices"]["cuda"]}
    asked = {"images": 1000, "epochs": 3}
    frames, _ = results(tmp_path, synthetic.DEVICES[:3], ["v100"], asked=asked, prices=facts)
    table = frames["training_runs"].set_index("device")
    assert dict(table["kind"]) == {"cpu": "measured", "cuda": "measured", "metal": "measured", "v100": "estimated"}
    assert (table["seconds"] * table["images_per_second"]).to_numpy() == pytest.approx(3000)
    assert table.at["v100", "seconds_low"] < table.at["v100", "seconds"] < table.at["v100", "seconds_high"]
    assert table.at["v100", "rented"] == pytest.approx(table.at["v100", "seconds"] / 3600 * 3.0)
    assert table.at["metal", "with_electricity"] is False or not table.at["metal", "with_electricity"]
    assert not numbers.known(table.at["cpu", "rented"]), "a price that is missing is null"


def test_sources_that_contradict_each_other_widen_the_interval(predictor, timings, sheets, counts):
    table = predictor.table
    row = table[
        (table["device"] == "a100") & (table["precision"] == "mixed_float16") & (table["model"] == "resnet50")
    ].iloc[0]
    found = prediction.Estimate(
        row["images_per_second"], row["images_per_second"] * 0.99, row["images_per_second"] * 1.01, {}
    )
    query = row.to_dict() | {"batch_size": 256}
    wide = estimates._widened(found, estimates.Known(table).quoted(query))
    same = table[(table["device"] == "a100") & (table["model"] == "resnet50") & (table["software"] == "torch")]
    same = same[(same["precision"] == "mixed_float16") & same["batch_size"].between(128, 512)]["images_per_second"]
    if same.nunique() > 1:
        assert wide["low"] <= same.min() and wide["high"] >= same.max() and wide["contradiction"] > 1


def test_prices_in_another_currency_without_a_rate_are_unknown(sheets):
    config = yaml.safe_load((pages.ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["money"]["currency"] = "EUR"
    found = cost.of_hardware({"m3-max": sheets["m3-max"]}, config, {})
    assert found["m3-max"] == {"purchase": None, "rental": None}


def test_next_steps_name_the_experiment_and_all_the_minutes_that_they_take():
    devices = synthetic.DEVICES[:1]
    found = [(f"{rank}.json", one) for rank, one in enumerate(synthetic.records(devices))]
    runs = tables.run_table(found).assign(accelerator="cpu")
    steps = words.next_steps(runs, {"turns": {"minutes": 4}}, "presets/mine.yaml")
    assert all("CONFIG=presets/mine.yaml" in step["command"] for step in steps)
    assert steps[0]["minutes"].endswith("and up to 32 min of turns"), "8 configurations"
    steps = words.next_steps(runs, {"turns": False})
    assert "turns" not in steps[0]["minutes"] and not any("CONFIG" in step["command"] for step in steps)


def test_a_bought_device_is_compared_with_the_cheapest_rented_one_of_the_same_configuration():
    axes = {axis: values[0] for axis, values in synthetic.SMALL_GRID.items()}
    speeds = {32: {"mac": 10.0, "a": 100.0, "b": 50.0}, 64: {"mac": 10.0, "a": 50.0, "b": 100.0}}
    rates = pd.DataFrame(
        axes | {"batch_size": size, "device": name, "images_per_second": speed, "ci_low": speed, "ci_high": speed}
        for size, own in speeds.items()
        for name, speed in own.items()
    ).assign(joules_per_image=math.nan)
    rental = {"per_hour": 1.0, "minimum_hours": 0.0}
    prices = {name: {"purchase": None, "rental": rental} for name in ("a", "b")}
    prices["mac"] = {"purchase": {"amount": 900, "lifetime_years": 4, "utilisation": 0.25}, "rental": None}
    empty = tables.frame([], estimates.COLUMNS)
    priced = {"currency": "USD", "electricity": None}
    found = estimates.training_runs(empty, rates, {}, prices, priced, {"images": 36_000, "epochs": 1}, {})
    own = found[found["device"] == "mac"].set_index("batch_size")
    assert own["cheapest_rented"].to_dict() == {32: "a", 64: "b"}
    # 0.1 USD of rent against 18.75 USD a month.
    assert own["break_even_per_month"].to_dict() == {32: 188, 64: 188}


def test_the_table_of_all_estimates_says_each_where_it_belongs(tmp_path):
    frames, _ = results(tmp_path, synthetic.DEVICES[:1], ["v100", "m4-max"])
    small = frames["estimates"].set_index("device").assign(images_per_second=100.0, low=80.0, high=120.0)
    large = small.assign(batch_size=64, images_per_second=200.0, low=150.0, high=250.0)
    table = pd.concat([large, small]).reset_index()
    made = [configurations.configuration_of(row) for row in (small.iloc[0], large.iloc[0])]
    found = words.every(table, made)
    assert found["labels"] == list(small["label"])
    assert found["rows"] == [
        {"name": "batch 32", "cells": ["about 100 (80 to 120)", "no estimate"]},
        {"name": "batch 64", "cells": ["about 200 (150 to 250)", "no estimate"]},
    ]
    assert words.every(table.iloc[:0], made) is None


def test_the_answer_names_the_configuration_of_its_training_where_there_are_several(tmp_path, figures_of_others):
    asked = {"images": 50000, "epochs": 1}
    paths = synthetic.results(tmp_path, synthetic.DEVICES[:2], synthetic.records(synthetic.DEVICES[:2]))
    paths |= pages.estimates(tmp_path, paths, synthetic.DEVICES[:2], [], synthetic.ASSUMPTIONS, asked)
    frames = {name: pd.read_parquet(path) for name, path in paths.items()}
    devices = palette.devices_in(synthetic.DEVICES[:2], frames["runs"])
    settings = {"training_run": asked}
    found = training.section(told(frames, synthetic.ASSUMPTIONS, settings, figures_of_others), devices)
    (line,) = training.answer_line(found, pairs.Pair("cuda", "cpu"), settings)
    assert line.startswith("Training 1 epoch of 50,000 images with all weights · 96 px · batch 32 takes ")


def test_a_cost_from_declared_watts_says_so(tmp_path, figures_of_others):
    devices, made_up = synthetic.DEVICES[2:3], synthetic.records(synthetic.DEVICES[2:3], synthetic.SMALL_GRID)
    paths = synthetic.results(tmp_path, devices, made_up, declared={"metal": {"watts": 20.0, "scope": "machine"}})
    paths |= pages.estimates(tmp_path, paths, devices, [], synthetic.ASSUMPTIONS)
    frames = {name: pd.read_parquet(path) for name, path in paths.items()}
    shown = palette.devices_in(devices, frames["runs"])
    found = training.section(told(frames, synthetic.ASSUMPTIONS, {}, figures_of_others), shown)
    assert "The cost of Apple GPU contains electricity at declared watts, not measured." in found["lines"]


NO_PRICES = synthetic.ASSUMPTIONS | {"devices": {}}


def test_without_prices_the_page_says_what_a_training_takes_and_what_is_missing(tmp_path, figures_of_others):
    asked = {"images": 50000, "epochs": 30}
    frames, devices = results(tmp_path, synthetic.DEVICES[:2], [], asked=asked, prices={"none": None})
    found = training.section(told(frames, NO_PRICES, {"training_run": asked}, figures_of_others), devices)
    assert [(row["label"], row["cost"], row["way"]) for row in found["rows"]] == [
        ("CPU", "", "no price"),
        ("NVIDIA GPU", "", "no price"),
    ]
    assert found["what"] == "30 epochs of 50,000 images"
    speed = frames["rates"].set_index("device").at["cpu", "images_per_second"]
    assert found["rows"][0]["time"] == words.duration(30 * 50000 / speed, 3) and found["rows"][0]["time"].endswith(" h")
    assert found["lines"] == ["CPU and NVIDIA GPU have no price. Add `cpu` to `money.prices`, as docs/energy.md shows."]
    assert not found["break_even"] and not found["rents"] and not found["buys"]
    assert training.section(told(frames, NO_PRICES, {}, figures_of_others), devices) is None, "nothing was asked for"


def test_the_cost_of_a_bought_device_without_a_reading_leaves_out_electricity(tmp_path, figures_of_others):
    devices = [device for device in synthetic.DEVICES if device["name"] in ("cuda", "metal")]
    frames, shown = results(tmp_path, devices, [])
    found = training.section(told(frames, synthetic.ASSUMPTIONS, {}, figures_of_others), shown)
    bought = next(row for row in found["rows"] if row["way"].startswith("bought"))
    assert bought["without_electricity"] and bought["way"] == "bought for 900 USD"
    assert "The cost of Apple GPU leaves out electricity" in " ".join(found["lines"])
    assert found["break_even"][0].startswith("Buying Apple GPU pays off above ")
    unpriced = told(frames, synthetic.ASSUMPTIONS | {"electricity": None}, {}, figures_of_others)
    assert "as it has no price. Set `money.electricity`" in " ".join(training.section(unpriced, shown)["lines"])


def fact(name, way, kind="measured", **more):
    """A row of training.section's facts: an hour at 3 USD, or 900 USD over 48 months with 0.01 USD of electricity."""
    prices = {
        "rented": {"per_hour": 3.0, "cost": 3.0, "minimum_rent": 0.0},
        "bought": {"per_month": 18.75, "cost": 0.1, "electricity": 0.01},
    }
    return {"name": name, "label": name, "kind": kind, "way": way, "seconds": 3600.0, **prices[way], **more}


def test_break_even_is_told_against_the_cheapest_rented_device():
    facts = [
        fact("mac", "bought"),
        fact("mac", "rented", cost=0.7),
        fact("v100", "rented"),
        fact("h100", "rented", cost=2.5),
        fact("a100", "rented", "estimated", cost=1.0),
        fact("m3", "bought", "estimated"),
    ]
    assert training.break_even_pairs(facts, {}, ()) == [[0, 3], [0, 4], [5, 1]]
    assert (
        training.break_even_line(facts[0], facts[3])
        == "Buying mac pays off above 7 such trainings a month, compared with renting h100."
    )
    assert training.break_even_line(facts[0], facts[4]).endswith("compared with renting a100, by estimate.")
    cheap = fact("spot", "rented", per_hour=0.01)
    assert "costs less than the electricity of training on mac." in training.break_even_line(facts[0], cheap)
    slow = fact("mac", "bought", seconds=14 * 86400.0)
    told = training.break_even_line(slow, fact("spot", "rented", per_hour=1.0, seconds=3600.0))
    assert told.endswith("that would take 19 trainings a month, and mac has time for 2.")
