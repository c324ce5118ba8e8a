"""Estimates: what the catalog holds, what is refused, how wrong they are, and that they never pass for measurements."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
import yaml

import estimate_devices
import plot_estimates
from trainoff import numbers
from trainoff.analyze import anchors, cost, estimates, hardware, networks, prediction, published, tables
from trainoff.errors import UserError
from trainoff.report import estimates as words
from trainoff.report import page, palette
from trainoff.report.study import Study

ROOT = Path(__file__).parents[1]
CATALOG = {
    "published": ROOT / "catalog/published.csv",
    "hardware": ROOT / "catalog/hardware.yaml",
    "counts": ROOT / "catalog/counts.csv",
    "timings": ROOT / "catalog/timm-training.csv",
}


@pytest.fixture(scope="module")
def sheets():
    return yaml.safe_load(CATALOG["hardware"].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def counts():
    return networks.read(CATALOG["counts"])


@pytest.fixture(scope="module")
def figures_of_others():
    return published.read(CATALOG["published"])


@pytest.fixture(scope="module")
def timings():
    return prediction.as_observations(pd.read_csv(CATALOG["timings"]))


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
    inside = np.mean(np.abs(error[own]) <= deviation[own] * predictor.stretch[device_class])
    assert np.median(off) <= median and np.quantile(off, 0.9) <= ninetieth
    assert 0.83 <= inside <= 0.97


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
    least, usual = networks.memory_gb(counts.work("resnet50", 224), 128, "float32", trainable=True)
    assert least < 21 < usual * 1.3, "an M1 Max was seen to take 21 GB"
    half = networks.memory_gb(counts.work("resnet50", 224), 128, "mixed_float16", trainable=True)
    frozen = networks.memory_gb(counts.work("resnet50", 224), 128, "float32", trainable=False)
    assert half[1] < usual and frozen[1] < 0.3 * usual


# What a study needs that nothing of this is about.
TOLD = {"title": "A title", "devices": [], "assumptions": {}, "pair": {}}


def markup(found):
    """{"answer", "section"}: what the page says on its first screen and in the section."""
    environment = page.environment(ROOT / "report/page")
    answer = environment.get_template("estimates_macros.html.j2").module.elsewhere(found)
    return {"answer": answer, "section": environment.get_template("estimates.html.j2").render(estimates=found)}


def results(folder, devices, wanted, sheets, change=None, training=None, prices=None):
    """(tables of the workflow as frames, devices as figures show them); change: applied to the table of runs' records."""
    records = synthetic.records(devices, synthetic.SMALL_GRID | {"trainable": [True]})
    for record in records:
        (change or (lambda one: None))(record)
    tables = synthetic.results(folder, devices, records)
    paths = {name: (folder / f"{name}.csv", folder / f"{name}.parquet") for name in ("estimates", "training_runs")}
    labels = {device["name"]: device["label"] for device in devices}
    catalog = {name: str(path) for name, path in CATALOG.items()}
    facts = prices or synthetic.ASSUMPTIONS["devices"]
    estimate_devices.main(
        tables["rates"], tables["runs"], catalog, wanted, labels, facts, synthetic.ASSUMPTIONS, training, paths
    )
    frames = {name: pd.read_parquet(path) for name, path in tables.items()}
    frames |= {name: pd.read_parquet(parquet) for name, (_, parquet) in paths.items()}
    return frames, palette.devices_in(devices, frames["runs"])


def test_one_device_gets_an_answer_for_six_others(tmp_path, sheets, figures_of_others):
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    known = cost.of_hardware(
        sheets, config, yaml.safe_load((ROOT / "catalog/devices.yaml").read_text(encoding="utf-8"))
    )
    facts = known | synthetic.ASSUMPTIONS["devices"]
    frames, devices = results(tmp_path, synthetic.DEVICES[:1], config["predict"], sheets, prices=facts)
    table = frames["estimates"]
    assert list(table["device"]) == config["predict"] and set(table["status"]) == {"estimated"}
    assert (table["low"] < table["images_per_second"]).all() and (table["images_per_second"] < table["high"]).all()
    assert (table["anchors"] > 0).all() and table["nearest"].str.len().gt(0).all() and table["newest"].notna().all()
    html = markup(words.view(Study(frames, published=figures_of_others, **TOLD), devices))
    assert html["answer"].count("<em>estimated</em>") == 6 and html["answer"].count('class="measured"') == 1
    assert "<details><summary>" in html["answer"] and "https://" in html["answer"], "the anchors are one click away"
    assert html["answer"].count("<pre") == 3 and "make bundle" in html["answer"] and "CIFAR-10" in html["answer"]
    assert "USD" in html["answer"]
    assert not {"×", "faster", "slower"} & set((html["answer"] + html["section"]).replace("<", " ").split())


def test_the_figure_draws_both_kinds_apart(tmp_path, sheets):
    frames, _ = results(tmp_path, synthetic.DEVICES[:1], ["v100", "m4-max"], sheets)
    drawn = plot_estimates.draw(frames["estimates"], frames["rates"], synthetic.DEVICES[:1])
    texts = " ".join(text.get_text() for axes in drawn.axes for text in axes.texts)
    assert "about" in texts and "no estimate" in texts and "V100" in drawn.facts["title"]


def test_what_cannot_be_estimated_is_refused_with_what_would_help(tmp_path, sheets, figures_of_others):
    frames, devices = results(tmp_path, synthetic.DEVICES[:1], ["m4-max", "v100"], sheets)
    table = frames["estimates"].set_index("device")
    assert table.at["m4-max", "status"] == "refused" and table.at["m4-max", "reason"] == "no_anchor"
    assert not numbers.known(table.at["m4-max", "images_per_second"]), "unknown is null"
    html = markup(words.view(Study(frames, published=figures_of_others, **TOLD), devices))
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

    before, _ = results(tmp_path / "before", synthetic.DEVICES[:1], ["t4", "v100"], sheets)
    after, _ = results(tmp_path / "after", synthetic.DEVICES[:2], ["t4", "v100"], sheets, change=on_a_t4)
    assert list(before["estimates"]["status"]) == ["estimated", "estimated"]
    assert list(after["estimates"]["status"]) == ["measured", "estimated"]
    width = [
        math.log(row["high"] / row["low"])
        for table in (before["estimates"], after["estimates"])
        for row in table[table["device"] == "v100"].to_dict("records")
    ]
    assert width[1] < width[0], "a run of the same software narrows the estimate of others"


def test_a_device_without_a_data_sheet_is_learned_from_its_runs(tmp_path, sheets, counts):
    frames, _ = results(tmp_path, synthetic.DEVICES[:1], ["v100"], sheets)
    found = anchors.measured(frames["rates"], frames["runs"], sheets, counts)
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
    training = {"images": 1000, "epochs": 3}
    frames, _ = results(tmp_path, synthetic.DEVICES[:3], ["v100"], sheets, training=training, prices=facts)
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
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
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
