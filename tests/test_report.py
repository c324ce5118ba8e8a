"""The report page: its numbers come from the tables, it is one file, and nothing in the data can break out of it."""

import base64
import hashlib
import importlib
import json
import re
from html.parser import HTMLParser

import hypothesis
import pandas as pd
import pytest
import synthetic
from pages import ASKED, HOSTILE, ROOT, page

from trainoff import numbers
from trainoff.analyze.reasons import reason
from trainoff.report import caveats, explore, palette, rows
from trainoff.report.embedded_tables import column, frame, plain
from trainoff.report.embedded_tables import values as restored
from trainoff.report.figure_table import FIGURES


class Outline(HTMLParser):
    """Elements, headings, text and the attributes that load something."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.loads, self.ids, self.scripts, self.words, self._in = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in values:
            self.ids.append(values["id"])
        self.loads += [value for key, value in attributes if key in ("src", "srcset", "data", "action", "poster")]
        self.loads += [value for key, value in attributes if key.endswith("href") and tag in ("link", "image", "use")]
        if tag == "script":
            self.scripts.append(values)
        if tag in ("script", "style"):
            self._in.append(tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._in.pop()

    def handle_data(self, data):
        if not self._in:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\xa0", " ").split())


def data_of(text):
    return json.loads(
        re.search(r'<script type="application/json" id="trainoff-data">(.*?)</script>', text, re.S).group(1)
    )


def test_a_page_of_samples_that_are_no_images_speaks_of_samples(tmp_path):
    devices = synthetic.DEVICES[:2]
    records = synthetic.records(devices, grid=synthetic.SMALL_GRID)
    for record in records:
        record["run"]["img_dim"] = 0
        record["training"] |= {"final_val_balanced_accuracy": 0.52, "classes": 3, "chance_accuracy": 0.9}
    text, _ = page(tmp_path, devices, records, drawn=("throughput",))
    words = Outline(text).text
    assert "samples per second" in words and "images per second" not in words and "per image" not in words
    assert "· 0 px" not in words
    assert "Published by others" not in words and "ImageNet" not in words, "other people's figures are about images"
    assert re.search("always predicting the largest one is right for 90 ?% of the validation samples", words)
    assert carried(text, "runs")["images_per_second"][0] > 0
    script = re.search("<script>(.*?)</script>", text, re.S)[1]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in text, "else browsers do not run it"


FAILURES = {5: "crashed", 30: "out_of_memory", 31: "out_of_memory", 32: "out_of_memory"}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A page of two devices, three replicates, with failures."""
    devices = synthetic.DEVICES[:2]
    folder = tmp_path_factory.mktemp("two")
    records = synthetic.records(devices, replicates=3, failures=FAILURES)
    return page(folder, devices, records, drawn=("ratio", "throughput")), folder


def tiles_of(text):
    """What each tile of the answer says, tags left out: {heading: words}."""
    tiles = re.findall(r'<div class="tile.*?</div>', text, re.S)
    texts = [" ".join(re.sub(r"<[^>]+>", " ", tile).replace("\xa0", " ").split()) for tile in tiles]
    return {words.split()[0]: words for words in texts}


def carried(text, name):
    """A table as the page carries it."""
    return frame(data_of(text)["tables"][name])


def test_the_answer_names_the_winner_and_stands_in_the_tables(two):
    (text, frames), _ = two
    mean = frames["overall"].set_index("subset").loc["all"]
    words = Outline(text).text
    interval = f"{mean['ci_low']:.1f}–{mean['ci_high']:.1f}"
    assert f"NVIDIA GPU is {numbers.ratio(mean['ratio'])} as fast as CPU (95% interval {interval})" in words
    assert "in the 7 of 8 configurations that can be compared" in words
    assert tiles_of(text)["Speed"].startswith(f"Speed measured {numbers.ratio(mean['ratio'])} NVIDIA GPU is faster")
    assert "Unknown" in tiles_of(text)["Energy"] and "energy.wall_meters" in tiles_of(text)["Energy"]
    assert "money.prices" in tiles_of(text)["Money"]
    for row in frames["comparison"].dropna(subset="ratio").to_dict("records"):
        assert f"{numbers.ratio(row['ratio'])} {numbers.ratio_interval(row['ci_low'], row['ci_high'])}" in words


def test_no_ratio_of_the_answer_is_below_one(tmp_path):
    """The slow device first in the experiment, and last: the winner is named either way."""
    for number, devices in enumerate((synthetic.DEVICES[:2], synthetic.DEVICES[1::-1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        text, _ = page(folder, devices, synthetic.records(devices, synthetic.SMALL_GRID, replicates=3))
        assert re.match(r"Speed measured 1[34]\.\d× NVIDIA GPU is faster", tiles_of(text)["Speed"])


@pytest.fixture(scope="module")
def priced(tmp_path_factory):
    """Three devices, two of them metered and priced: (folder, devices, records, tables)."""
    devices = [
        device | {"accelerator": kind}
        for device, kind in zip(synthetic.DEVICES, ("cpu", "cuda", "metal"), strict=False)
    ]
    folder = tmp_path_factory.mktemp("priced")
    records = synthetic.records(devices, synthetic.SMALL_GRID, replicates=3)
    synthetic.add_energy(records, "cuda", 300, "nvml", "gpu", idle_watts=40)
    synthetic.add_energy(records, "metal", 30, "ioreport", "soc", idle_watts=5)
    return folder, devices, records, synthetic.results(folder, devices, records)


def test_accelerators_are_compared_before_cpus_unless_another_pair_is_asked_for(priced):
    folder, devices, records, tables = priced
    questions = []
    for pair in ({}, {"compare": ["cpu", "metal"]}, {"baseline": "cpu"}):
        text, _ = page(folder, devices, records, pair=ASKED | pair, tables=tables)
        questions.append(re.search(r'<h2 id="answer-heading">(.*?)</h2>', text)[1])
    assert questions == ["NVIDIA GPU or Apple GPU?", "CPU or Apple GPU?", "NVIDIA GPU or CPU?"]


def test_owned_against_rented_is_told_with_both_prices(priced):
    folder, devices, records, tables = priced
    text, frames = page(folder, devices, records, tables=tables, drawn=("energy",))
    tile = tiles_of(text)["Money"]
    assert "Apple GPU costs less" in tile and "NVIDIA GPU rented" in tile and "Apple GPU bought" in tile
    words = Outline(text).text
    assert re.search(
        r"Buying Apple GPU pays off above [\d,]+ such trainings a month, compared with renting NVIDIA GPU", words
    )
    facts = data_of(text)["training"]
    assert {(row["name"], row["way"]) for row in facts["rows"]} == {
        ("cuda", "rented"),
        ("metal", "bought"),
        ("metal", "rented"),
        ("cpu", None),
    }
    # Measured differently is an estimate: each reading is named with what it covers.
    assert "Apple GPU needs less energy, by an estimate" in tiles_of(text)["Energy"]
    assert "the GPU alone" in tiles_of(text)["Energy"] and "the whole chip" in tiles_of(text)["Energy"]
    assert frames["comparison"]["energy_ratio"].isna().all()
    assert {"The GPU alone", "The whole chip"} <= set(
        re.findall(r">\s*(The [\w ]+?)\s*</text>", figure_of(text, "energy"))
    )


def figure_of(text, name):
    return re.search(rf'<figure id="figure-{name}">.*?</figure>', text, re.S)[0]


def test_several_devices_stand_in_a_matrix(priced):
    folder, devices, records, tables = priced
    text, frames = page(folder, devices, records, tables=tables)
    matrix = re.search(r'<table class="sortable matrix">.*?</table>', text, re.S)[0]
    names = [Outline(cell).text for cell in re.findall(r"<th scope=.row.*?</th>", matrix)]
    assert names == ["NVIDIA GPU", "Apple GPU", "CPU"], "the fast first, CPUs last"
    row = frames["overall"].query("subset == 'all' and device == 'cuda' and baseline == 'cpu'").iloc[0]
    assert numbers.ratio(row["ratio"]) in matrix and numbers.ratio(1 / row["ratio"]) in matrix


def test_the_page_is_one_file_and_in_order(two):
    (text, _), _ = two
    outline = Outline(text)
    assert all(load.startswith("#") or load.startswith("data:") for load in outline.loads)
    assert not re.search(r"@import|url\((?!['\"]?#|['\"]?data:)", text)
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert len(outline.ids) == len(set(outline.ids))
    assert len(text) < 1_000_000


def test_every_link_leads_somewhere_once_the_page_is_mailed(two):
    (text, _), _ = two
    links = re.findall(r'href="([^"]*)"', text)
    ids = set(Outline(text).ids)
    assert links and all(
        link[1:] in ids if link.startswith("#") else link.startswith(("https://", "data:")) for link in links
    )


def test_every_run_is_listed_and_failures_say_why(two):
    (text, frames), _ = two
    assert len(re.findall(r"<tr data-run=", text)) == len(frames["runs"]) == 48
    assert text.count("Epoch 1 starts") == 4  # the log's tail of each failed run
    assert "4 of 48 runs failed" in Outline(text).text and "make retry" in text


def test_the_same_tables_give_the_same_page(two, tmp_path):
    (text, _), folder = two
    devices = synthetic.DEVICES[:2]
    records = synthetic.records(devices, replicates=3, failures=FAILURES)
    again, _ = page(tmp_path, devices, records, drawn=("ratio", "throughput"))
    assert again == text


def test_the_page_carries_its_tables_once(two):
    (text, frames), _ = two
    for name in ("runs", "rates", "comparison", "overall", "costs"):
        table = carried(text, name)
        assert len(table) == len(frames[name])
        assert set(frames[name].columns) - set(table.columns) <= {"metrics"}
    assert list(carried(text, "comparison")["ratio"].dropna()) == pytest.approx(
        list(frames["comparison"]["ratio"].dropna()), rel=1e-5
    )
    data = data_of(text)
    assert data["versions"]["keras"] == ["3.15.1"]
    assert data["hashes"]["code_sha256"] == [synthetic.HASH]
    assert data["verdicts"][0]["winner"] == "cuda" and data["verdicts"][0]["outcome"] == "wins"


def test_one_device_says_what_it_does_and_names_no_winner(tmp_path):
    devices = synthetic.DEVICES[:1]
    text, frames = page(tmp_path, devices, synthetic.records(devices))
    words = Outline(text).text
    assert "faster" not in words.split("Caveats")[0]
    assert "Each result is a single run" in words and "assumed" in words
    lowest, highest = frames["rates"]["images_per_second"].agg(["min", "max"])
    assert f"CPU trains {numbers.significant(lowest)}–{numbers.significant(highest)} images per second" in words


@pytest.mark.parametrize(
    ("name", "words", "cure"),
    [("cpu", "CPU has no price.", "money.prices"), ("metal", "price but no energy reading.", "energy.wall_meters")],
)
def test_one_device_says_what_its_cost_lacks(tmp_path, name, words, cure):
    devices = [device for device in synthetic.DEVICES if device["name"] == name]
    facts = synthetic.ASSUMPTIONS["devices"][name] | {"rental": None}
    assumptions = synthetic.ASSUMPTIONS | {"devices": {name: facts}}
    text, _ = page(tmp_path, devices, synthetic.records(devices, synthetic.SMALL_GRID), assumptions=assumptions)
    assert words in Outline(text).text and cure in tiles_of(text)["Money"]


def test_a_ratio_that_could_be_chance_names_no_winner(tmp_path):
    devices = [synthetic.DEVICES[0], synthetic.DEVICES[3]]  # the second is as fast as the first
    text, _ = page(tmp_path, devices, synthetic.records(devices))
    assert "No winner yet" in tiles_of(text)["Speed"] and "replicates: 3" in tiles_of(text)["Speed"]
    assert "is faster" not in tiles_of(text)["Speed"]


def test_each_at_its_best_stands_apart(tmp_path):
    devices = synthetic.DEVICES[:2]
    grid = synthetic.SMALL_GRID | {"precision": ["float32", "mixed_float16"]}
    text, frames = page(tmp_path, devices, synthetic.records(devices, grid, replicates=3))
    words = Outline(text).text
    for row in frames["best"].to_dict("records"):
        assert f"NVIDIA GPU against CPU {'all weights' if row['trainable'] else 'last layer'}" in words
    assert len(carried(text, "best")) == len(frames["best"]) == 2


def test_only_what_is_unusual_is_a_warning_and_says_its_cure(tmp_path):
    devices = synthetic.DEVICES[:2]
    records = synthetic.records(devices, replicates=3)
    for record in records:
        record["throughput"]["unstable"] = False
    text, _ = page(tmp_path, devices, records)
    assert "Caveats" not in text and "did not converge" not in text
    records[0]["conditions"]["busy"] = True
    text, _ = page(tmp_path, devices, records)
    assert "1 of 48 runs ran while other programs" in text and "protocol.wait_for_quiet_minutes: 30" in text


def test_peak_memory_stands_in_the_row_of_each_run_and_in_one_line(tmp_path):
    """Old records hold none: without any there is neither the column nor the line."""
    devices = synthetic.DEVICES[:2]
    records = synthetic.records(devices, synthetic.SMALL_GRID)
    text, _ = page(tmp_path, devices, records)
    assert "Peak memory" not in Outline(text).text
    for record, peaks in zip(records, ((2**30, None), (3 * 2**29, None), None, (2**31, 5 * 2**30)), strict=True):
        if peaks:
            record["memory"] = dict(zip(("peak_bytes", "peak_device_bytes"), peaks, strict=True))
    text, _ = page(tmp_path, devices, records)
    words = Outline(text).text
    assert "Peak memory of a run: CPU 1.5 GiB; NVIDIA GPU 2 GiB + 5 GiB on the device." in words
    cells = re.findall(r'<td class="nowrap" data-value="(\d*)">([^<]*)</td></tr>', text)
    assert cells == [
        (str(2**30), "1 GiB"),
        (str(3 * 2**29), "1.5 GiB"),
        ("", ""),
        (str(2**31), "2 GiB + 5 GiB on the device"),
    ]


def test_hostile_words_stay_words(tmp_path):
    devices = [{"name": "cpu", "label": HOSTILE}, {"name": "cuda", "label": "{{ 7 * 7 }}"}]
    records = synthetic.records(devices, synthetic.SMALL_GRID, failures={2: "crashed"})
    records[2]["failure"] |= {"message": HOSTILE, "log_tail": [HOSTILE, "half a character \ud800"]}
    records[3]["device"]["name"] = HOSTILE
    text, _ = page(tmp_path, devices, records, title=HOSTILE, drawn=("ratio", "run_matrix"))
    outline = Outline(text)
    blocks = [{"type": "application/json", "id": f"trainoff-{name}"} for name in ("data", "view")]
    assert outline.scripts == [*blocks, {}]
    assert "<img" not in text and "<!-- " not in text
    assert data_of(text)["title"] == HOSTILE
    assert outline.text.count("alert(1)") > 5
    assert "{{ 7 * 7 }}" in outline.text


def test_eight_devices_and_nothing_measured(tmp_path):
    devices = synthetic.DEVICES
    failures = dict.fromkeys(range(64), "unavailable")
    text, _ = page(tmp_path, devices, synthetic.records(devices, failures=failures))
    assert "No configuration can be compared" in Outline(text).text
    assert data_of(text)["runs_by_status"] == {"unavailable": 64}


def test_plots_and_report_take_plain_values_only():
    for script in [*(f"plot_{name}" for name in FIGURES), "write_report"]:
        assert not hasattr(importlib.import_module(script), "snakemake")


def test_every_figure_is_one_entry_and_one_script():
    scripts = {path.stem.removeprefix("plot_") for path in (ROOT / "scripts").glob("plot_*.py")}
    assert scripts == set(FIGURES)


def test_the_page_says_which_device_needed_which_learning_rate():
    rates = [("cpu", 1, True, 5e-4), ("metal", 2, True, 2.5e-4), ("metal", 3, False, 1.25e-4)]
    columns = ["device", "attempts", "converged", "learning_rate_used"]
    runs = pd.DataFrame(rates, columns=columns).assign(learning_rate=5e-4)
    (caveat,) = caveats._learning_rates(runs, {"metal": "Apple GPU"})
    assert (
        caveat["text"] == "Apple GPU converged only at a lower learning rate in 1 of 2 runs: 0.00025 instead of 0.0005."
    )


def test_runs_of_other_machines_are_told_apart():
    runs = pd.DataFrame({"origin": ["local", "local", "1a2b3c4d5e6f"]})
    assert rows.origin_rows(runs) == [("Runs from", "this machine 2 and bundle 1a2b3c4d5e6f 1")]
    assert rows.origin_rows(runs[:2]) == []


def test_the_script_gives_runs_the_flags_and_numbers_that_the_page_gives(two):
    """On large pages it makes the rows of all runs."""
    (_, frames), _ = two
    runs = frames["runs"].reset_index(drop=True)
    devices = palette.devices_in(synthetic.DEVICES, runs)
    assert explore.view(runs, frames["rates"], devices)["runs"]["name"] is None
    runs.loc[0, "implausible"], runs.loc[1, "origin"] = reason("beyond_speed"), "1a2b3c4d5e6f"
    runs["throttled"] = [False, False, True, *[None] * (len(runs) - 3)]
    view, shown = explore.view(runs, frames["rates"], devices), rows.run_rows(runs, devices)
    assert [list(view["flags"][place]) for place in view["runs"]["f"]] == [row["flags"] for row in shown]
    assert view["runs"]["name"] == [row["run_name"] for row in shown] and view["runs"]["name"][1].endswith("@1a2b3c4d")
    assert "implausible" in str(shown[0]["flags"]) and "throttled" in shown[2]["flags"]


@hypothesis.given(
    hypothesis.strategies.lists(
        hypothesis.strategies.one_of(
            hypothesis.strategies.none(),
            hypothesis.strategies.booleans(),
            hypothesis.strategies.integers(-1000, 1000),
            hypothesis.strategies.sampled_from(["a", "b", "", "=1+1"]),
        ),
        max_size=30,
    )
)
def test_a_column_is_carried_without_loss(values):
    encoded = column(pd.Series(values, dtype=object))
    assert restored(encoded, len(values)) == [plain(value) for value in values]
