"""Figures: drawn for few and many devices, failures in place, the same tables giving the same bytes."""

import importlib
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import synthetic

from trainoff import configurations, numbers
from trainoff.report import figures, findings

PUBLISHED = Path(__file__).parents[1] / "catalog/published.csv"
TABLES_OF = {
    "throughput": ["runs", "windows", "rates"],
    "each_device": ["runs", "rates"],
    "ratio": ["rates", "comparison", "overall"],
    "last_layer": ["rates"],
    "model_size": ["runs", "comparison"],
    "learning": ["runs", "windows"],
    "cold_start": ["runs"],
    "run_matrix": ["runs"],
    "published": ["rates", PUBLISHED],
    "energy": ["rates"],
    "efficiency": ["rates"],
    "cost": ["costs"],
    "break_even": ["break_even"],
}


def draw(name, tables, devices, folder):
    """Draws one figure as its rule does; returns the paths of SVG and PNG."""
    script = importlib.import_module(f"plot_{name}")
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    money = [synthetic.ASSUMPTIONS] if name in ("cost", "break_even") else []
    script.main(*[tables.get(table, table) for table in TABLES_OF[name]], *money, devices, svg, png)
    return svg, png


def words(svg):
    """All text of an SVG."""
    return " ".join(text for element in ElementTree.parse(svg).iter() for text in [element.text or ""]).replace(
        "\xa0", " "
    )


CASES = {
    1: {"failures": {3: "crashed"}},
    2: {"replicates": 3, "failures": {5: "crashed", 30: "out_of_memory", 31: "out_of_memory", 32: "out_of_memory"}},
    8: {"grid": synthetic.SMALL_GRID, "failures": {2: "diverged", 5: "timed_out", 9: "unavailable", 14: "error"}},
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """(devices, tables, folder) for 1, 2 and 8 devices with failed runs."""
    devices = synthetic.DEVICES[: request.param]
    folder = tmp_path_factory.mktemp(f"devices{request.param}")
    return devices, synthetic.results(folder, devices, synthetic.records(devices, **CASES[request.param])), folder


@pytest.mark.parametrize("name", TABLES_OF)
def test_every_figure_is_drawn_whole_and_again_the_same(case, name, tmp_path):
    devices, tables, _ = case
    (tmp_path / "again").mkdir()
    first = draw(name, tables, devices, tmp_path)
    second = draw(name, tables, devices, tmp_path / "again")
    for one, other in zip(first, second, strict=True):
        assert one.stat().st_size > 1000
        assert one.read_bytes() == other.read_bytes()
    ElementTree.parse(first[0])


def test_failed_cells_keep_their_place_and_reason(tmp_path):
    devices = synthetic.DEVICES[:2]
    tables = synthetic.results(tmp_path, devices, synthetic.records(devices, failures={0: "crashed", 9: "timed_out"}))
    svg, _ = draw("throughput", tables, devices, tmp_path)
    assert "crashed (SIGSEGV)" in words(svg)
    assert "timed out" in words(svg)
    svg, _ = draw("run_matrix", tables, devices, tmp_path)
    assert "14 of 16 runs ended well; 1 crashed and 1 timed out" in words(svg)


def test_titles_say_what_the_tables_hold(tmp_path):
    devices = synthetic.DEVICES[:2]
    records = synthetic.records(devices, replicates=3, failures={0: "crashed", 1: "crashed", 2: "crashed"})
    tables = synthetic.results(tmp_path, devices, records)
    mean = pd.read_parquet(tables["overall"]).set_index("subset").loc["all"]
    text = words(draw("ratio", tables, devices, tmp_path)[0])
    assert f"NVIDIA GPU trained at {numbers.ratio(mean['ratio'])} the speed of CPU" in text
    assert "7 of 8" in text
    assert 13 < mean["ratio"] < 15  # the truth behind the made-up records is 14


def test_one_device_gives_no_ratio(tmp_path):
    devices = synthetic.DEVICES[:1]
    tables = synthetic.results(tmp_path, devices, synthetic.records(devices))
    assert "One device gives no ratio" in words(draw("ratio", tables, devices, tmp_path)[0])


def test_nothing_measured_still_gives_every_figure(tmp_path):
    devices = synthetic.DEVICES[:2]
    records = synthetic.records(devices, failures=dict.fromkeys(range(16), "unavailable"))
    tables = synthetic.results(tmp_path, devices, records)
    for name in TABLES_OF:
        draw(name, tables, devices, tmp_path)


def test_labels_are_text_never_formulas_or_markup(tmp_path):
    label = "$x^2$ <b>&\x07 {nonsense} %s \\frac"
    devices = [{"name": "cpu", "label": label}, synthetic.DEVICES[1]]
    tables = synthetic.results(tmp_path, devices, synthetic.records(devices))
    for name in TABLES_OF:
        text = words(draw(name, tables, devices, tmp_path)[0])
        assert "$x^2$ <b>&\ufffd {nonsense} %s \\frac" in text or name in (
            "last_layer",
            "cold_start",
            "learning",
            "model_size",
            "break_even",
        )


def test_a_device_keeps_its_colour_when_others_are_missing():
    devices = synthetic.DEVICES[:3]
    everyone = figures.devices_in(devices, pd.DataFrame({"device": ["cpu", "cuda", "metal"]}))
    some = figures.devices_in(devices, pd.DataFrame({"device": ["metal", "stranger"]}))
    assert some[0] == everyone[2]
    assert some[1].label == "stranger"
    assert (
        len(
            {
                device.colour
                for device in figures.devices_in(
                    synthetic.DEVICES, pd.DataFrame(synthetic.DEVICES).rename(columns={"name": "device"})
                )
            }
        )
        == 8
    )


def test_many_configurations_are_split_over_panels():
    keys = list(synthetic.WIDE_GRID)
    table = pd.DataFrame([one["run"] for one in synthetic.records(synthetic.DEVICES[:1], synthetic.WIDE_GRID)])
    found = configurations.all_configurations(table)
    groups, rows = configurations.split_over_panels(found)
    assert sum(len(group) for _, group in groups) == len(found) == 48
    assert max(len(group) for _, group in groups) <= 12
    assert set(rows) < set(keys)


def test_one_replicate_is_said_and_several_are_not():
    rates = pd.DataFrame({"images_per_second": [1.0, 2.0], "one_replicate": [True, False]})
    assert "1 of 2 cells stand on one replicate" in findings.one_replicate_note(rates)
    assert findings.one_replicate_note(rates.assign(one_replicate=False)) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.3123, "0.31×"), (0.9961, "1.00×"), (4.226, "4.23×"), (13.84, "13.8×"), (112.4, "112×"), (0.01234, "0.012×")],
)
def test_ratios_have_sensible_digits(value, text):
    assert numbers.ratio(value) == text
