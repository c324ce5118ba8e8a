"""The report page: its numbers come from the tables, it is one file, and nothing in the data can break out of it."""

import importlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from test_figures import TABLES_OF, draw

import report
from trainoff import numbers
from trainoff.report import figures, findings

PROJECT = Path(__file__).parents[1]
SETTINGS = {"dataset": {"name": "digits"}, "weights": "random", "replicates": 1, "seed": 0}
HOSTILE = "</script><script>alert(1)</script><!-- \"'&amp; <img src=x onerror=alert(1)>"


def page(folder, devices, records, title="A title", drawn=False, change=None):
    """The page made of records, and the tables behind it; with a stand-in for every figure unless `drawn`.

    change: called with {name of the table: path}, may add tables.
    """
    tables = synthetic.results(folder, devices, records)
    if change:
        change(tables)
    stand_in = folder / "stand-in.svg"
    stand_in.write_text('<svg xmlns="http://www.w3.org/2000/svg"><text id="a">figure</text></svg>')
    svgs = {name: draw(name, tables, devices, folder)[0] if drawn else stand_in for name in TABLES_OF}
    captions = {name: PROJECT / "report" / f"{name}.rst" for name in TABLES_OF}
    parts = [PROJECT / "report" / f"report.{end}" for end in ("html.j2", "css", "js")]
    published = PROJECT / "catalog/published.csv"
    report.main(tables, svgs, captions, title, devices, SETTINGS, *parts, published, folder / "report.html")
    frames = {name: pd.read_parquet(path) for name, path in tables.items()}
    return (folder / "report.html").read_text(encoding="utf-8"), frames


class Outline(HTMLParser):
    """Elements, headings, text and the attributes that load something."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.loads, self.ids, self.scripts, self.words, self._in = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in found:
            self.ids.append(found["id"])
        self.loads += [value for key, value in attributes if key in ("src", "srcset", "data", "action", "poster")]
        self.loads += [value for key, value in attributes if key.endswith("href") and tag in ("link", "image", "use")]
        if tag == "script":
            self.scripts.append(found)
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


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A page of two devices, three replicates, with failures."""
    devices = synthetic.DEVICES[:2]
    failures = {5: "crashed", 30: "out_of_memory", 31: "out_of_memory", 32: "out_of_memory"}
    folder = tmp_path_factory.mktemp("two")
    return page(folder, devices, synthetic.records(devices, replicates=3, failures=failures), drawn=True), folder


def test_the_answer_stands_in_the_tables(two):
    (text, frames), _ = two
    mean = frames["overall"].set_index("subset").loc["all"]
    said = Outline(text).text
    assert f"NVIDIA GPU trained at {numbers.ratio(mean['ratio'])} the speed of CPU" in said
    assert numbers.ratio_interval(mean["ci_low"], mean["ci_high"]) in said
    assert "On 7 of 8 configurations compared" in said
    assert "faster on 7 and not comparable on 1" in said
    assert "random starting weights" in said
    for row in frames["comparison"].dropna(subset="ratio").to_dict("records"):
        assert f"{numbers.ratio(row['ratio'])} ({numbers.ratio_interval(row['ci_low'], row['ci_high'])})" in said


def test_every_run_is_listed_with_links_that_lead_somewhere(two):
    (text, frames), folder = two
    links = set(re.findall(r'href="(runs/[^"]+)"', text))
    assert len([link for link in links if link.endswith("metrics.json")]) == len(frames["runs"]) == 48
    assert all((folder / link).is_file() for link in links)
    assert text.count("Epoch 1 starts") == 4  # the log's tail of each failed run


def test_the_page_is_one_file_and_in_order(two):
    (text, _), _ = two
    outline = Outline(text)
    assert all(load.startswith("#") or load.startswith("data:") for load in outline.loads)
    assert not re.search(r"@import|url\((?!['\"]?#|['\"]?data:)", text)
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert len(outline.ids) == len(set(outline.ids))
    assert text.count(' role="img"') == text.count("<svg ") == 10  # all but those of model sizes, power and break-even
    assert len(text) < 3_000_000


def test_the_same_tables_give_the_same_page(two, tmp_path):
    (text, _), folder = two
    devices = synthetic.DEVICES[:2]
    failures = {5: "crashed", 30: "out_of_memory", 31: "out_of_memory", 32: "out_of_memory"}
    again, _ = page(tmp_path, devices, synthetic.records(devices, replicates=3, failures=failures), drawn=True)
    assert again == text


def test_programs_can_read_the_comparison(two):
    (text, frames), _ = two
    data = data_of(text)
    assert len(data["comparison"]) == len(frames["comparison"])
    assert data["overall"][0]["ratio"] == pytest.approx(frames["overall"]["ratio"][0], rel=1e-5)
    assert data["versions"]["keras"] == ["3.15.1"]
    assert data["hashes"]["code_sha256"] == [synthetic.HASH]


def test_one_device_has_no_winner(tmp_path):
    devices = synthetic.DEVICES[:1]
    text, frames = page(tmp_path, devices, synthetic.records(devices))
    said = Outline(text).text
    assert "no winner" in said
    assert not re.search(r"\bfaster\b", said.split("Before you conclude")[0].replace("Which device trains faster?", ""))
    assert "one replicate" in said and "that run only" in said
    lowest, highest = frames["rates"]["images_per_second"].agg(["min", "max"])
    assert numbers.span(lowest, highest) in said


def test_a_ratio_that_could_be_chance_does_not_stand_out(tmp_path):
    devices = [synthetic.DEVICES[0], synthetic.DEVICES[3], synthetic.DEVICES[1]]  # the second is as fast as the first
    text, _ = page(tmp_path, devices, synthetic.records(devices))
    large = re.findall(r'<p class="(figure[^"]*)">(.*?)</p>', text)
    assert [look for look, _ in large] == ["figure open", "figure"]
    assert ["no significant difference found" in words for _, words in large] == [True, False]


def test_each_at_its_best_stands_apart(tmp_path):
    devices = synthetic.DEVICES[:2]
    grid = synthetic.SMALL_GRID | {"precision": ["float32", "mixed_float16"]}
    text, frames = page(tmp_path, devices, synthetic.records(devices, grid, replicates=3))
    said = Outline(text).text
    mean = frames["overall"].set_index("subset").loc["each at its best"]
    assert f"Each at its best (precision and XLA left to the device) {numbers.ratio(mean['ratio'])}" in said
    for row in frames["best"].to_dict("records"):
        assert f"NVIDIA GPU against CPU {'all weights' if row['trainable'] else 'last layer'}" in said
    assert len(data_of(text)["best"]) == len(frames["best"]) == 2


def test_runs_that_did_not_learn_are_named(tmp_path):
    devices = synthetic.DEVICES[:2]
    text, _ = page(tmp_path, devices, synthetic.records(devices))
    assert "8 of 16 runs did not converge (4 of 8 on CPU and 4 of 8 on NVIDIA GPU)" in Outline(text).text


def test_one_replicate_is_said_beside_the_answer(tmp_path):
    devices = synthetic.DEVICES[:2]
    text, _ = page(tmp_path, devices, synthetic.records(devices))
    answer = Outline(text).text.split("Before you conclude")[0]
    assert "8 of 8 ratios rest on a single run of a device" in answer
    assert "All verdicts here: one run of NVIDIA GPU and of CPU" in Outline(text).text


def test_measured_differently_and_unknown_are_kept_apart(tmp_path):
    """One device with an NVIDIA counter, one with Apple's, one without any."""
    devices = synthetic.DEVICES[:3]
    made = synthetic.records(devices, synthetic.SMALL_GRID, replicates=3)
    synthetic.add_energy(made, "cuda", 300, "nvml", "gpu", idle_watts=40)
    synthetic.add_energy(made, "metal", 30, "ioreport", "soc", idle_watts=5)
    text, frames = page(tmp_path, devices, made, drawn=True)
    said = Outline(text).text
    assert "NVIDIA GPU is about the GPU alone" in said and "Apple GPU is about the whole chip" in said
    assert f"CPU: energy unknown. {synthetic.NO_METER}" in said
    assert frames["comparison"]["energy_ratio"].isna().all() and "Energy per image" not in said
    drawn = words_of(text, "energy")
    assert drawn.count("(GPU)") >= 2 and drawn.count("(chip)") >= 2 and drawn.count("unknown") >= 2


def words_of(text, name):
    """All words of one figure of the page."""
    figure = re.search(rf'<figure id="{name}">.*?</figure>', text, re.S)[0]
    return re.sub(r"<[^>]+>", " ", figure)


def test_hostile_words_stay_words(tmp_path):
    devices = [{"name": "cpu", "label": HOSTILE}, {"name": "cuda", "label": "{{ 7 * 7 }}"}]
    records = synthetic.records(devices, synthetic.SMALL_GRID, failures={2: "crashed"})
    records[2]["failure"] |= {"message": HOSTILE, "log_tail": [HOSTILE, "half a character \ud800"]}
    records[3]["device"]["name"] = HOSTILE
    text, _ = page(tmp_path, devices, records, title=HOSTILE, drawn=True)
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
    assert "cannot be compared with CPU" in Outline(text).text
    assert data_of(text)["runs_by_status"] == {"unavailable": 64}


def test_plots_and_report_take_plain_values_only():
    for script in [*(f"plot_{name}" for name in TABLES_OF), "report"]:
        assert not hasattr(importlib.import_module(script), "snakemake")


def test_the_page_says_which_device_needed_which_learning_rate():

    devices = [figures.Device(name, label, "#000", "o") for name, label in (("cpu", "CPU"), ("metal", "Apple GPU"))]
    runs = pd.DataFrame(
        [
            {"device": "cpu", "attempts": 1, "converged": True, "learning_rate": 5e-4, "learning_rate_used": 5e-4},
            {"device": "metal", "attempts": 2, "converged": True, "learning_rate": 5e-4, "learning_rate_used": 2.5e-4},
            {
                "device": "metal",
                "attempts": 3,
                "converged": False,
                "learning_rate": 5e-4,
                "learning_rate_used": 1.25e-4,
            },
        ]
    )
    (sentence,) = findings.learning_rate_notes(runs, devices)
    assert sentence == "Apple GPU converged only at a lower learning rate in 1 of 2 runs: 0.00025 instead of 0.0005."


def test_runs_of_other_machines_are_told_apart():
    runs = pd.DataFrame({"origin": ["local", "local", "1a2b3c4d5e6f"]})
    assert report.origin_rows(runs) == [("Runs from", "this machine 2 and bundle 1a2b3c4d5e6f 1")]
    assert report.origin_rows(runs[:2]) == []
