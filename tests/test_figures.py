"""Figures: drawn for few and many devices, failures in place, the same tables giving the same bytes."""

import json
import re
from xml.etree import ElementTree

import matplotlib
import pandas as pd
import pytest
import synthetic
from pages import draw

from trainoff import configurations, numbers
from trainoff.report import figures, findings, palette
from trainoff.report.figure_table import FIGURES


def words(files):
    """All text of a figure: of its picture and its facts."""
    facts = json.loads(files["facts"].read_text(encoding="utf-8"))
    texts = [element.text or "" for element in ElementTree.parse(files["svg"]).iter()]
    return " ".join([facts["title"], facts["subtitle"], *facts["notes"], *texts]).replace("\xa0", " ")


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


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_whole(case, name, tmp_path):
    devices, tables, _ = case
    files = draw(name, tables, devices, tmp_path)
    subtitle = json.loads(files["facts"].read_text(encoding="utf-8"))["subtitle"]
    assert not {":", ";", "."} & set(subtitle.replace("0.0005", "")), "the page says that it is the same in all rows"
    for path in files.values():
        assert path.stat().st_size > (1000 if path.suffix != ".json" else 50)
        if path.suffix == ".svg":
            ElementTree.parse(path)


def test_no_label_of_a_logarithmic_axis_is_cut_at_the_edge():
    page = figures.frame(figures.Heading("A title"), 1.0)
    axes = page.axes(1.0, 0.1, figures.WIDTH - 1.0 - figures.EDGE, 0.5)
    axes.set_xscale("log")
    axes.set_xlim(40, 10_001)
    figures.plain_log_axis(axes)
    page.figure.canvas.draw()
    labels = [label for label in axes.get_xticklabels() if label.get_text()]
    assert "1,000" in {label.get_text() for label in labels}
    assert max(label.get_window_extent().x1 for label in labels) <= page.figure.bbox.x1


def test_a_gap_that_widens_with_the_model_is_drawn_and_named(tmp_path):
    devices = synthetic.DEVICES[:2]
    grid = synthetic.SMALL_GRID | {"model": ["mobilenetv2", "resnet50"]}
    records = synthetic.records(devices, grid, replicates=3)
    for record in records:
        if (record["run"]["device"], record["run"]["model"]) == ("cuda", "resnet50"):
            for window in record["windows"]:
                window["seconds"] /= 2
    text = words(draw("model_size", synthetic.results(tmp_path, devices, records), devices, tmp_path))
    assert re.search(r"NVIDIA GPU at 1[34]\.\d× on mobilenetv2 and 2[789]\.\d× on resnet50", text)


def test_no_title_ranks_devices_that_are_alike(tmp_path):
    devices = synthetic.DEVICES[:4]
    records = synthetic.records(devices, replicates=3)
    for record in records:
        record["cold_start"] |= {"import_seconds": 8.0, "build_seconds": 2.0, "first_step_seconds": 12.0}
    tables = synthetic.results(tmp_path, devices, records)
    assert "Starting up takes 22 s on all 4 devices" in words(draw("cold_start", tables, devices, tmp_path))
    assert re.search(
        r"is 4\.\d+× to 4\.\d+× as fast on all 4 devices", words(draw("last_layer", tables, devices, tmp_path))
    )


def test_the_same_tables_give_the_same_figure(tmp_path):
    tables = synthetic.results(tmp_path, synthetic.DEVICES[:2], synthetic.records(synthetic.DEVICES[:2]))
    (tmp_path / "again").mkdir()
    first, second = (draw("throughput", tables, synthetic.DEVICES[:2], tmp_path / name) for name in ("", "again"))
    assert all(first[part].read_bytes() == second[part].read_bytes() for part in first)


def test_a_user_s_own_style_of_matplotlib_changes_no_figure(tmp_path):
    devices = synthetic.DEVICES[:2]
    tables = synthetic.results(tmp_path, devices, synthetic.records(devices))
    first = draw("throughput", tables, devices, tmp_path / "first")
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "black"}):  # as from a matplotlibrc
        second = draw("throughput", tables, devices, tmp_path / "second")
    assert first["svg"].read_bytes() == second["svg"].read_bytes()


def test_failed_cells_keep_their_place_and_reason(tmp_path):
    devices = synthetic.DEVICES[:2]
    tables = synthetic.results(tmp_path, devices, synthetic.records(devices, failures={0: "crashed", 9: "timed_out"}))
    files = draw("throughput", tables, devices, tmp_path)
    assert "crashed (SIGSEGV)" in words(files)
    assert "timed out" in words(files)
    files = draw("run_matrix", tables, devices, tmp_path)
    assert "14 of 16 runs ended well; 1 crashed and 1 timed out" in words(files)


def test_titles_say_what_the_tables_hold(tmp_path):
    devices = synthetic.DEVICES[:2]
    records = synthetic.records(devices, replicates=3, failures={0: "crashed", 1: "crashed", 2: "crashed"})
    tables = synthetic.results(tmp_path, devices, records)
    mean = pd.read_parquet(tables["overall"]).set_index("subset").loc["all"]
    text = words(draw("ratio", tables, devices, tmp_path))
    assert f"NVIDIA GPU is {numbers.ratio(mean['ratio'])} as fast as CPU" in text
    assert "7 of 8" in text
    assert 13 < mean["ratio"] < 15  # the truth behind the made-up records is 14


def test_one_device_gives_no_ratio(tmp_path):
    devices = synthetic.DEVICES[:1]
    tables = synthetic.results(tmp_path, devices, synthetic.records(devices))
    assert "One device gives no ratio" in words(draw("ratio", tables, devices, tmp_path))


def test_nothing_measured_still_gives_every_figure(tmp_path):
    devices = synthetic.DEVICES[:2]
    records = synthetic.records(devices, failures=dict.fromkeys(range(16), "unavailable"))
    tables = synthetic.results(tmp_path, devices, records)
    for name in FIGURES:
        draw(name, tables, devices, tmp_path)


def test_labels_are_text_never_formulas_or_markup(tmp_path):
    label = "$x^2$ <b>&\x07 {nonsense} %s \\frac"
    devices = [{"name": "cpu", "label": label}, synthetic.DEVICES[1]]
    tables = synthetic.results(tmp_path, devices, synthetic.records(devices))
    for name in FIGURES:
        text = words(draw(name, tables, devices, tmp_path))
        assert "$x^2$ <b>&\ufffd {nonsense} %s \\frac" in text or name in (
            "last_layer",
            "cold_start",
            "sustained",
            "readings",
            "learning",
            "model_size",
            "break_even",
            "estimates",
        )


def test_a_device_keeps_its_color_when_others_are_missing():
    devices = synthetic.DEVICES[:3]
    everyone = palette.devices_in(devices, pd.DataFrame({"device": ["cpu", "cuda", "metal"]}))
    some = palette.devices_in(devices, pd.DataFrame({"device": ["metal", "stranger"]}))
    assert some[0] == everyone[2]
    assert some[1].label == "stranger"
    assert (
        len(
            {
                device.color
                for device in palette.devices_in(
                    synthetic.DEVICES, pd.DataFrame(synthetic.DEVICES).rename(columns={"name": "device"})
                )
            }
        )
        == 8
    )


def test_many_configurations_are_split_over_panels():
    keys = list(synthetic.WIDE_GRID)
    table = pd.DataFrame([record["run"] for record in synthetic.records(synthetic.DEVICES[:1], synthetic.WIDE_GRID)])
    all_configurations = configurations.all_configurations(table)
    groups, rows = configurations.split_over_panels(all_configurations)
    assert sum(len(group) for _, group in groups) == len(all_configurations) == 48
    assert max(len(group) for _, group in groups) <= 12
    assert set(rows) < set(keys)


def test_one_replicate_is_said_and_several_are_not():
    rates = pd.DataFrame({"images_per_second": [1.0, 2.0], "one_replicate": [True, False]})
    assert "1 of 2 results are single runs" in findings.one_replicate_note(rates)
    assert findings.one_replicate_note(rates.assign(one_replicate=False)) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.3123, "0.31×"), (0.9961, "1.00×"), (4.226, "4.23×"), (13.84, "13.8×"), (112.4, "112×"), (0.01234, "0.012×")],
)
def test_ratios_have_sensible_digits(value, text):
    assert numbers.ratio(value) == text


def test_what_rounds_up_has_no_digit_more():
    assert [numbers.percent(0.9996), numbers.significant(9.996), numbers.significant(0.0999, 2)] == [
        "100%",
        "10.0",
        "0.10",
    ]


def test_a_ratio_that_can_be_chance_names_no_winner(tmp_path):
    devices = [synthetic.DEVICES[0], synthetic.DEVICES[3]]  # the second is about as fast as the first
    tables = synthetic.results(tmp_path, devices, synthetic.records(devices))
    title = json.loads(draw("ratio", tables, devices, tmp_path)["facts"].read_text(encoding="utf-8"))["title"]
    assert title.startswith("No winner between ")
