"""Runs of other work, such as on another dataset: what tables, titles and sentences leave out of their comparisons."""

import math
import re

import pages
import pandas as pd
import pytest
import synthetic

import plot_learning
import plot_to_accuracy
from trainoff.analyze import comparable, pairs
from trainoff.report import economy, findings, palette, step_times, training, verdict_words
from trainoff.report.study import Study

DEVICES = [
    device | {"accelerator": device["name"], "backend": "tensorflow"}
    for device in synthetic.DEVICES
    if device["name"] in ("cuda", "metal")
]
LABELS = {device["name"]: device["label"] for device in DEVICES}
PAIR = frozenset(LABELS)


def frames(folder, other_work):
    """The tables of two devices with energy readings; other_work: whether metal trained on another dataset."""
    made_up = synthetic.records(
        DEVICES, synthetic.GRID | {"batch_size": [32, 64, 128], "trainable": [True]}, replicates=3
    )
    for record in made_up:
        if other_work and record["run"]["device"] == "metal":
            record["provenance"] |= {"dataset": "others", "dataset_sha256": "a" * 64}
    synthetic.add_energy(made_up, "cuda", 300, "nvml", "gpu")
    synthetic.add_energy(made_up, "metal", 30, "ioreport", "soc")
    return {name: pd.read_parquet(path) for name, path in synthetic.results(folder, DEVICES, made_up).items()}


@pytest.fixture(scope="module")
def same(tmp_path_factory):
    return frames(tmp_path_factory.mktemp("same"), other_work=False)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return frames(tmp_path_factory.mktemp("other"), other_work=True)


def test_pairs_that_did_other_work_are_apart(same, other):
    assert comparable.apart(same["comparison"]) == {}
    apart = comparable.apart(other["comparison"])
    assert len(apart) == 6 and {names for _, names in apart} == {PAIR}
    missing = other["comparison"].assign(reason='{"code": "no_run", "device": "cuda"}')
    assert comparable.apart(missing) == {}, "a configuration that was not run is no other work"


def test_no_step_times_of_other_work_cross(same, other):
    devices = palette.devices_in(DEVICES, same["runs"])
    assert "is faster than Apple GPU" in step_times.title(same["overhead"], same["crossings"], devices)
    assert other["crossings"].empty and len(other["overhead"]) == len(same["overhead"])
    assert "faster" not in step_times.title(other["overhead"], other["crossings"], devices)


def test_no_break_even_between_devices_that_did_other_work(same, other, tmp_path):
    """cuda is rented, metal bought or rented."""
    shown = [economy.of_shown_configuration(tables["break_even"]) for tables in (same, other)]
    titles = [economy.break_even_title(table, LABELS) for table in shown]
    assert "renting NVIDIA GPU" in titles[0] and "NVIDIA" not in titles[1]
    assert economy.break_even_notes(shown[1], LABELS) == [
        "Buying Apple GPU instead of renting NVIDIA GPU: not the same dataset: Apple GPU aaaaaaaaaaaa…, NVIDIA GPU "
        f"{synthetic.HASH[:12]}…."
    ]
    lines = []
    for tables, name in ((same, "same"), (other, "other")):
        paths = {}
        for table in ("rates", "runs", "comparison"):
            paths[table] = tmp_path / f"{name}-{table}.parquet"
            tables[table].to_parquet(paths[table])
        made = pages.estimates(tmp_path, paths, DEVICES, [], synthetic.ASSUMPTIONS)
        known = tables | {table: pd.read_parquet(path) for table, path in made.items()}
        study = Study(known, "A title", [], synthetic.ASSUMPTIONS, pages.ASKED)
        found = training.section(study, palette.devices_in(DEVICES, tables["runs"]))
        lines.append(" ".join(found["break_even"]))
        cheapest = known["training_runs"].set_index("device").loc["metal", "cheapest_rented"]
        assert (cheapest == "NVIDIA GPU").all() if name == "same" else cheapest.isna().all()
        assert len(found["rows"]) == 3, "what a training takes is told of both"
    assert "renting NVIDIA GPU" in lines[0] and not lines[1]


def test_times_to_accuracy_of_other_work_are_not_compared(same, other):
    def facts(tables):
        inputs = (tables[name] for name in ("runs", "windows", "energy_windows", "rates", "comparison"))
        return plot_to_accuracy.draw(*inputs, synthetic.ASSUMPTIONS, DEVICES).facts

    assert re.search("NVIDIA GPU in .* and Apple GPU in ", facts(same)["title"])
    assert "Apple GPU" not in facts(other)["title"] and "NVIDIA GPU in " in facts(other)["title"]
    assert any(note.startswith("Apple GPU did other work") for note in facts(other)["notes"])
    assert "other work" not in str(facts(same))


def test_accuracies_of_other_work_are_not_compared(same, other):
    def facts(tables):
        return plot_learning.draw(tables["runs"], tables["windows"], tables["comparison"], DEVICES).facts

    assert "on NVIDIA GPU and " in facts(same)["title"] and "other work" not in str(facts(same))
    assert "Apple GPU" not in facts(other)["title"] and "on NVIDIA GPU" in facts(other)["title"]
    assert any(note.startswith("Apple GPU did other work") for note in facts(other)["notes"])
    assert comparable.of_other_work(["cuda", "metal"], {}) == []


def test_the_largest_group_that_did_the_same_work_is_compared():
    apart = {("c", frozenset(pair)): "{}" for pair in ("ab", "ac", "ad", "bd", "cd")}
    assert comparable.largest_group("abcd", apart, "c") == ["b", "c"]
    assert comparable.largest_group("abcd", apart, "another") == ["a", "b", "c", "d"]
    assert comparable.largest_group("", apart, "c") == []


def test_energy_of_other_work_was_measured_and_is_not_compared(same, other):
    def tile(tables):
        found = pairs.verdicts(tables, pairs.Pair("cuda", "metal"))["energy"]
        return verdict_words.verdict(found, LABELS, "USD")

    assert tile(other)["sentence"] == "Energy cannot be compared, as no configuration can."
    assert len(tile(other)["details"]) == 2 and not tile(other)["cure"], "a meter would not help"
    # Readings on other configurations: of cuda at one batch size, of metal at the others.
    rates = same["rates"].assign(energy_scope="machine", energy_source="wall_meter")
    rates.loc[(rates["batch_size"] == 32) == (rates["device"] == "metal"), "joules_per_image"] = math.nan
    overall = same["overall"].assign(energy_compared=0)
    disjoint = tile(same | {"rates": rates, "overall": overall})
    assert disjoint["sentence"] == "Energy was not measured on a common configuration."


def test_means_are_of_what_can_be_compared(same):
    overall = same["overall"].assign(configurations_compared=5)
    (note,) = (note for note in findings.ratio_notes(same["comparison"], overall) if note.startswith("Geometric mean"))
    assert note.endswith("over 5 of 6 configurations, those that can be compared."), "both devices ran all of them"
