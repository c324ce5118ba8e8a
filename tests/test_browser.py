"""The report in a real browser: no errors, nothing loaded, usable by mouse, keyboard, screen reader, phone and printer.

Needs Debian's chromium (or another Chrome on PATH); `make test-browser` runs it.
"""

import base64
import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest
import synthetic
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from test_report import HOSTILE, page

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MEGABYTE = 1_000_000


def three(folder):
    devices = synthetic.DEVICES[:3]
    failures = {5: "crashed", 30: "out_of_memory", 31: "out_of_memory", 32: "out_of_memory", 50: "diverged"}
    records = synthetic.records(devices, replicates=3, failures=failures)
    synthetic.add_energy(records, "cpu", 30, "rapl", "package", idle_watts=10)
    synthetic.add_energy(records, "cuda", 250, "nvml", "gpu", idle_watts=50)
    return page(folder, devices, records, drawn=True)


def hostile(folder):
    devices = [{"name": "cpu", "label": HOSTILE}, {"name": "cuda", "label": "{{ 7 * 7 }} </style><b>"}]
    records = synthetic.records(devices, failures={2: "crashed", 9: "error"})
    records[2]["failure"] |= {"message": HOSTILE, "log_tail": [HOSTILE, "half a character \ud800"]}
    records[3]["device"]["name"] = HOSTILE
    return page(folder, devices, records, title=HOSTILE, drawn=True)


REPORTS = {
    "one": lambda folder: page(folder, synthetic.DEVICES[:1], synthetic.records(synthetic.DEVICES[:1]), drawn=True),
    "three": three,
    "eight": lambda folder: page(folder, synthetic.DEVICES, synthetic.records(synthetic.DEVICES), drawn=True),
    "hostile": hostile,
}


@pytest.fixture(scope="session")
def browser():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert program, "no browser on PATH; on Debian and Ubuntu: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """{name: path of the page}, each made once."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            REPORTS[name](folder)
            made[name] = folder / "report.html"
        return made[name]

    return get


@pytest.fixture
def visit(browser, reports):
    """Opens a report; returns the page, which fails the test on errors, dialogs and requests at its end."""
    opened = []

    def visit(name, width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        tab = context.new_page()
        troubles = []
        tab.on("console", lambda message: troubles.append(message.text) if message.type != "log" else None)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        own = reports(name).as_uri()
        tab.on("request", lambda request: None if _allowed(request.url, own) else troubles.append(request.url))
        tab.goto(own)
        opened.append((context, troubles))
        return tab

    yield visit
    for context, troubles in opened:
        context.close()
        assert not troubles


def _allowed(url, own):
    return url.split("#")[0] == own or url.startswith("data:")


def shown_rows(tab):
    return tab.locator("#all-runs tbody tr:visible")


def status(tab):
    return tab.locator("#explore-status").inner_text()


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anyone(visit, name, scheme):
    """axe-core: contrast, names, roles, order, by the rules of WCAG 2.2 AA and good practice."""
    tab = visit(name, color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    found = Axe().run(tab).response["violations"]
    assert not [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found]


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [390, 768, 1600])
def test_the_page_never_scrolls_sideways(visit, name, width):
    tab = visit(name, width=width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    outside = tab.evaluate(
        """() => [...document.querySelectorAll("h1, h2, h3, p, li, legend, .choice")]
            .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll, .picture, .chart, nav"))
            .map(one => one.textContent.slice(0, 80))"""
    )
    assert not outside


@pytest.mark.parametrize("name", REPORTS)
def test_print_holds_everything_that_paper_can(visit, name):
    tab = visit(name, width=720)
    tab.emulate_media(media="print")
    assert tab.locator("#explorer").is_hidden() and tab.locator("nav").is_hidden()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 720
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(tab.pdf(format="A4")) > 20_000


def test_without_scripting_the_page_is_complete(visit):
    tab = visit("three", java_script_enabled=False)
    assert tab.locator(".said").first.is_visible()
    assert tab.locator("#explorer").is_hidden()
    assert shown_rows(tab).count() == 72
    assert tab.locator("figure svg").first.is_visible()


def test_words_of_the_data_stay_words(visit):
    tab = visit("hostile")
    assert tab.locator("img, iframe, b, script:not(#trainoff-data):not(#trainoff-view)").count() == 1  # the page's own
    assert tab.locator("h1").inner_text() == HOSTILE
    assert tab.title() == HOSTILE
    assert HOSTILE in tab.locator("#explore-controls").inner_text()
    tab.locator("#explore-dots .dot").first.focus()
    assert HOSTILE in tab.locator("#explore-tip").inner_text()
    tab.get_by_text("crashed").first.click()


def test_filters_narrow_dots_lines_and_table(visit):
    tab = visit("three")
    assert status(tab) == "All 72 runs shown."
    tab.get_by_role("checkbox", name="Apple GPU").press("Space")
    assert status(tab) == "48 of 72 runs shown."
    assert not shown_rows(tab).filter(has_text="Apple GPU").count()
    tab.get_by_role("checkbox", name="last layer").press("Space")
    assert status(tab) == "24 of 72 runs shown."
    assert shown_rows(tab).count() == 24
    assert all("all weights" in text for text in shown_rows(tab).all_inner_texts())
    # Each configuration and device has one dot, or the words why there is none.
    assert tab.locator("#explore-dots .dot, #explore-dots .failed").count() == 8
    assert tab.locator("#explore-lines g:not(.faded) > .line").count() == 24
    tab.get_by_role("button", name="Show all").click()
    assert status(tab) == "All 72 runs shown."
    assert tab.get_by_role("checkbox", name="Apple GPU").is_checked()


def test_ranges_and_words_narrow_the_runs(visit):
    tab = visit("three")
    tab.get_by_text("Ranges and words").click()
    tab.get_by_role("spinbutton", name="Speed, least").fill("500")
    rates = shown_rows(tab).locator("td:nth-child(6)").all_inner_texts()
    assert rates and all(float(rate.replace(",", "")) >= 499.5 for rate in rates)
    tab.get_by_role("spinbutton", name="Speed, least").fill("")
    tab.get_by_role("searchbox").fill("out of memory")
    assert status(tab) == "3 of 72 runs shown."


def test_dragging_along_an_axis_keeps_the_runs_between(visit):
    tab = visit("three")
    tab.get_by_text("Ranges and words").click()
    handle = tab.locator("#explore-lines .handle").first
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    # Away from the ends, where the page's head may lie above.
    tab.mouse.move(box["x"] + 14, box["y"] + 100)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 14, box["y"] + 220, steps=4)
    tab.mouse.up()
    some = int(re.match(r"(\d+) of 72", status(tab)).group(1))
    assert 0 < some < 72
    assert tab.get_by_role("spinbutton", name="Speed, least").input_value()


def test_columns_sort_by_number_and_the_unknown_stands_last(visit):
    tab = visit("three")
    heading = tab.locator("#all-runs th", has_text="Images/s")
    for order in ("ascending", "descending"):
        heading.get_by_role("button").press("Enter")
        assert heading.get_attribute("aria-sort") == order
        texts = tab.locator("#all-runs tbody td:nth-child(6)").all_inner_texts()
        values = [float(text.replace(",", "")) for text in texts if text]
        assert values == sorted(values, reverse=order == "descending")
        assert texts[len(values) :] == [""] * (72 - len(values)) and len(values) < 72


@pytest.mark.parametrize("measure, unit", [("Energy", "J per image"), ("Cost, rented", "USD per 1,000 images")])
def test_the_measure_can_be_switched(visit, measure, unit):
    tab = visit("three")
    dot = tab.locator("#explore-dots .dot").first
    assert "images/s" in dot.get_attribute("aria-label")
    tab.get_by_role("radio", name=measure, exact=True).check(force=True)
    assert unit in dot.get_attribute("aria-label")
    axis = tab.locator("#explore-dots .axis").text_content()
    assert unit in axis
    # A processor's energy beside that of a GPU alone.
    assert ("not of the same part of each machine" in axis) == (measure == "Energy")


def test_dots_can_be_walked_by_keyboard_and_tell_exact_values(visit, reports):
    tab = visit("three")
    dots = tab.locator("#explore-dots .dot")
    dots.first.focus()
    label = dots.first.get_attribute("aria-label")
    tip = tab.locator("#explore-tip")
    assert tip.is_visible()
    data = json.loads(tab.locator("#trainoff-data").text_content())
    rate = next(row for row in data["rates"] if row["device"] == "cpu" and row["trainable"])
    assert re.search(rf"{rate['images_per_second']:.1f} images/s \(95 % interval {rate['ci_low']:.1f}", label)
    tab.keyboard.press("ArrowDown")
    assert dots.nth(1).evaluate("one => one === document.activeElement")
    tab.keyboard.press("Escape")
    assert tip.is_hidden()
    tab.keyboard.press("Enter")
    assert re.match(r"\d of 72 runs shown: ", status(tab))
    runs = re.search(r"runs? ([\d, ]+)", dots.nth(1).get_attribute("aria-label")).group(1).split(", ")
    assert shown_rows(tab).locator("td:first-child").all_inner_texts() == [run.strip() for run in runs]


def test_hovering_shows_a_run(visit):
    tab = visit("three")
    tab.locator("#explore-dots .dot").nth(3).hover()
    assert tab.locator("#explore-tip strong").inner_text().startswith("75.2 images/s (95 % interval ")
    lines = tab.locator("#explore-lines")
    lines.scroll_into_view_if_needed()
    box = lines.bounding_box()
    for height in range(80, 380, 4):
        tab.mouse.move(box["x"] + 120, box["y"] + height)
        if tab.locator("#explore-lines .line.on").count():
            break
    assert tab.locator("#explore-tip span").first.inner_text().startswith("Run ")


def test_the_tables_travel_with_the_page(visit):
    tab = visit("three")
    link = tab.locator("a[download='rates.csv']").get_attribute("href")
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(link.split(",")[1]).decode())))
    data = json.loads(tab.locator("#trainoff-data").text_content())
    assert len(rows) == len(data["rates"]) == 24
    assert float(rows[0]["images_per_second"]) == pytest.approx(data["rates"][0]["images_per_second"], rel=1e-5)


def test_links_lead_to_what_is_there(visit, reports):
    tab = visit("three")
    links = tab.evaluate("[...document.querySelectorAll('a[href]')].map(one => one.getAttribute('href'))")
    folder = reports("three").parent
    for link in links:
        if link.startswith("#"):
            assert tab.locator(f"[id='{link[1:]}']").count() == 1, link
        elif not re.match("https://|data:|figures/", link):
            assert (folder / link).exists(), link


def test_a_full_experiment_stays_small(tmp_path):
    devices = synthetic.DEVICES[:4]
    text, _ = page(tmp_path, devices, synthetic.records(devices, replicates=5), drawn=True)
    assert len(text.encode()) < 5 * MEGABYTE
    Path(tmp_path, "report.html").unlink()
