"""What is published: the verdict as a picture, a folder per report, and one page over many."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import synthetic
from machine import Machine
from PIL import Image
from test_report import Outline

import draw_share
import share_report
from trainoff.errors import UserError
from trainoff.report import study
from trainoff.report.figure_table import ANSWER_TABLES

ASKED = {"compare": None, "baseline": None}


def published(folder, title, speed_up=1.0):
    """The results of two made-up devices in `folder`, with picture and entry; one machine may be faster than another."""
    devices = synthetic.DEVICES[:2]
    records = synthetic.records(devices, synthetic.SMALL_GRID, replicates=2)
    for window in (window for record in records for window in record["windows"]):
        window["seconds"] /= speed_up
    synthetic.add_energy(records, "cuda", 250, "nvml", "gpu")
    tables = synthetic.results(folder, devices, records, declared={"cpu": {"watts": 65, "scope": "package"}})
    fields = {"title": title, "devices": devices, "assumptions": synthetic.ASSUMPTIONS, "pair": ASKED}
    results = study.read({name: tables[name] for name in ANSWER_TABLES}, **fields)
    draw_share.main(results, folder / "share.png", folder / "share.json")
    (folder / "report.html").write_text("<!doctype html><title>a report</title>")
    return folder


def test_the_verdict_is_a_picture_of_the_size_that_links_show(tmp_path):
    published(tmp_path, "A title that is <b>long</b> " * 5)
    with Image.open(tmp_path / "share.png") as picture:
        assert picture.size == (1200, 630)


def test_a_gallery_tells_the_spread_between_results_of_one_kind(tmp_path):
    site = tmp_path / "site"
    for name, speed_up in (("one", 1.0), ("other", 1.25)):
        (tmp_path / name).mkdir()
        place = share_report.share(published(tmp_path / name, f"Machine <i>{name}</i>", speed_up), site)
        assert sorted(path.name for path in place.iterdir()) == ["entry.json", "index.html", "share.png"]
    (site / "broken").mkdir()
    (site / "broken/entry.json").write_text("{}")
    path, number = share_report.gallery(site)
    assert number == 2, "what cannot be read is left out"
    text = path.read_text()
    rows = {row["chip"]: row for row in share_report.rows(share_report.entries(site))}
    assert rows["CUDA"]["results"] == 2 and 1.24 < rows["CUDA"]["spread"] < 1.26
    assert "1.25×" in Outline(text).text and "<i>" not in text
    links = re.findall(r'href="([^"#][^"]*index.html)"', text)
    assert links and all((site / link).is_file() for link in links)
    entry = json.loads((site / "machine-i-one-i/entry.json").read_text())
    assert "NVIDIA GPU is" in entry["verdicts"][0]
    known = {result["device"]: result["joules_per_image"] for result in entry["results"]}
    assert known["NVIDIA GPU"] > 0 and known["CPU"] is None, "nobody measured what is declared"


def test_reports_of_one_title_get_folders_of_their_own(tmp_path):
    """Of two machines with the default title, or of two titles of which a name of a folder keeps nothing."""
    site, places = tmp_path / "site", {}
    for name, title in (("one", "ResNet"), ("other", "ResNet"), ("third", "報告"), ("fourth", "比較")):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}/share.json").write_text(json.dumps({"title": title}))
        (tmp_path / f"{name}/report.html").write_text(name)
        shutil.copy(Machine(tmp_path / f"{name}-machine", ["cpu"]).bundle(), tmp_path / f"{name}/bundle.zip")
        places[name] = share_report.share(tmp_path / name, site)
    assert len({*places.values()}) == 4 and places["one"] == site / "resnet" and places["third"] == site / "report"
    for name, place in places.items():
        assert (place / "index.html").read_text() == name
        assert share_report.share(tmp_path / name, site) == place, "the same report again has the same address"
    # The bundle of a report on runs of other machines only holds no run.
    (tmp_path / "one/bundle.zip").write_bytes(Machine(tmp_path / "none", []).bundle().read_bytes())
    assert share_report.share(tmp_path / "one", site) == places["one"]
    # A copy that was cut off before is replaced.
    (places["one"] / "entry.json").write_text("{")
    assert share_report.share(tmp_path / "one", site) == places["one"]


def test_a_gallery_replaces_no_report_and_is_never_empty(tmp_path):
    (tmp_path / "index.html").write_text("a report")
    with pytest.raises(UserError, match="holds no report. First share some"):
        share_report.gallery(tmp_path)
    (tmp_path / "entry.json").write_text("{}")
    with pytest.raises(UserError, match="the folder of one report"):
        share_report.gallery(tmp_path)
    assert (tmp_path / "index.html").read_text() == "a report"


@pytest.mark.parametrize("arguments", [["site", "config.yaml"], ["--gallery", "site"]])
def test_a_folder_that_cannot_be_written_ends_in_a_sentence(tmp_path, arguments):
    (tmp_path / "config.yaml").write_text("title: Mine")
    (tmp_path / "results").mkdir()
    (tmp_path / "results/share.json").write_text(json.dumps({"title": "Mine"}))
    if arguments[0] == "site":
        (tmp_path / "site").write_text("a file")
        (tmp_path / "results/report.html").write_text("a report")
    else:
        entry = {"title": "Mine", "summary": "", "verdicts": [], "results": []}
        (tmp_path / "site/mine").mkdir(parents=True)
        (tmp_path / "site/mine/entry.json").write_text(json.dumps(entry))
        (tmp_path / "site/index.html").mkdir()
    done = subprocess.run(
        [sys.executable, share_report.__file__, *arguments], cwd=tmp_path, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("site") and "cannot be written" in done.stderr and "TO=" in done.stderr


@pytest.mark.parametrize("speed", [0, "fast", None])
def test_an_entry_without_a_speed_is_skipped_in_a_gallery(tmp_path, capsys, speed):
    result = {"chip": "a", "model": "m", "images_per_second": speed, "settings": ""}
    (tmp_path / "entry.json").write_text(
        json.dumps({"title": "x", "summary": "", "verdicts": [], "results": [result, result]})
    )
    assert share_report.entries(tmp_path) == []
    assert "skipped, not an entry of a gallery" in capsys.readouterr().err
