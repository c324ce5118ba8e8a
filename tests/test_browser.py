"""The report in a real browser: no errors, nothing loaded, usable by mouse, keyboard, screen reader, phone and printer.

Needs Debian's chromium (or another Chrome on PATH); `make test-browser` runs it.
"""

import csv
import io
import json
import re
from pathlib import Path

import pytest
import synthetic
from axe_playwright_python.sync_playwright import Axe
from pages import HOSTILE, MAIN, ODD, PAGES, page
from playwright.sync_api import expect, sync_playwright
from take_pictures import chromium

from trainoff.report.embedded_tables import frame

pytestmark = pytest.mark.slow

MEGABYTE = 1_000_000


@pytest.fixture(scope="session")
def browser():
    program = chromium()
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
            (PAGES | ODD)[name](folder)
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


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anyone(visit, name, scheme):
    """axe-core: contrast, names, roles, order, by the rules of WCAG 2.2 AA and good practice."""
    tab = visit(name, color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    for width in (390, 768, 1440) if name == "three" else (1280,):
        tab.set_viewport_size({"width": width, "height": 900})
        found = Axe().run(tab).response["violations"]
        assert not [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [390, 768, 1600])
def test_the_page_never_scrolls_sideways(visit, name, width):
    tab = visit(name, width=width)
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    outside = tab.evaluate(
        """() => [...document.querySelectorAll("h1, h2, h3, p, li, legend, .choice")]
            .filter(one => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
            .filter(one => !one.closest(".scroll, .picture.alone, .chart, nav"))
            .map(one => one.textContent.slice(0, 80))"""
    )
    assert not outside


@pytest.mark.parametrize(("name", "explored"), [("nothing", False), ("samples", True)])
def test_the_script_runs_on_pages_without_numbers_or_images(visit, name, explored):
    assert visit(name).locator("#explorer").is_visible() == explored


@pytest.mark.parametrize("name", ["one", "three"])
def test_a_phone_shows_the_answer_first_whole_and_legible(visit, name):
    tab = visit(name, width=390, height=844)
    assert tab.locator(".tile").last.bounding_box()["y"] < 844
    assert tab.locator(".picture.narrow svg").first.is_visible() and tab.locator(".picture.wide svg").first.is_hidden()
    small = tab.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(one => one.checkVisibility() && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
            .map(one => {
                const svg = one.closest("svg"), size = parseFloat(getComputedStyle(one).fontSize);
                const width = svg?.viewBox.baseVal?.width, scale = width ? svg.getBoundingClientRect().width / width : 1;
                return [size * scale, one.textContent.trim().slice(0, 40)];
            }).filter(([size]) => size < 11.9)"""
    )
    assert not small
    # Text of a picture stays inside it.
    cut = tab.evaluate(
        """() => [...document.querySelectorAll(".picture.narrow svg")].flatMap(svg => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll("text")].map(one => [one.getBoundingClientRect(), one.textContent.trim()])
                .filter(([box, text]) => text && (box.right > frame.right + 2 || box.left < frame.left - 2))
                .map(([, text]) => text);
        })"""
    )
    assert not cut


def test_the_page_of_eight_configurations_on_three_devices_is_short(visit):
    tab = visit("three", width=1440, height=900)
    assert tab.locator(".tile").last.bounding_box()["y"] < 700
    assert tab.evaluate("document.documentElement.scrollHeight") <= 9 * 900
    assert len(tab.locator("body").inner_text().split()) <= 2500


@pytest.mark.parametrize("name", PAGES)
def test_print_holds_everything_that_paper_can(visit, name):
    tab = visit(name, width=720)
    tab.emulate_media(media="print")
    assert tab.locator("#explorer").is_hidden() and tab.locator("nav").is_hidden()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 720
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pages = len(re.findall(rb"/Type\s*/Page[^s]", tab.pdf(format="A4")))
    assert 1 <= pages <= 12


def test_without_scripting_the_page_is_complete(visit):
    tab = visit("three", java_script_enabled=False)
    assert tab.locator(".tile .value").first.is_visible()
    assert tab.locator("#explorer").is_hidden() and tab.locator("#training-controls").is_hidden()
    assert shown_rows(tab).count() == 72
    assert tab.locator("figure svg").first.is_visible()


def test_words_of_the_data_stay_words(visit):
    tab = visit("hostile")
    assert tab.locator("img, iframe, b, script:not(#trainoff-data):not(#trainoff-view)").count() == 1  # the page's own
    assert tab.locator("h1").inner_text() == HOSTILE
    assert tab.title() == HOSTILE
    assert HOSTILE in tab.locator("#explore-controls").inner_text()
    # The second device by speed.
    tab.locator("#explore-dots .dot").nth(1).focus()
    assert HOSTILE in tab.locator("#explore-tip").inner_text()
    tab.locator("#runs > details > summary").click()
    tab.locator("#runs details details summary", has_text="crashed").click()


def test_filters_narrow_dots_lines_and_table(visit):
    tab = visit("three")
    assert status(tab) == "All 72 runs shown."
    tab.get_by_role("checkbox", name="Apple GPU").press("Space")
    assert status(tab) == "48 of 72 runs shown."
    assert not shown_rows(tab).filter(has_text="Apple GPU").count()
    tab.get_by_role("checkbox", name="last layer").press("Space")
    assert status(tab) == "24 of 72 runs shown."
    assert shown_rows(tab).count() == 10
    assert all("all weights" in text for text in shown_rows(tab).all_inner_texts())
    tab.locator("#runs .pager").get_by_role("button", name="Show all").click()
    assert shown_rows(tab).count() == 24
    # Each configuration and device has one dot, or the words why there is none.
    assert tab.locator("#explore-dots .dot, #explore-dots .failed").count() == 8
    tab.locator("#explore-parallel > summary").click()
    # The page draws the lines a moment after it is told that the fold opened.
    expect(tab.locator("#explore-lines g:not(.faded) > .line")).to_have_count(24)
    tab.locator(".standing").get_by_role("button", name="Show all").click()
    assert status(tab) == "All 72 runs shown."
    assert tab.get_by_role("checkbox", name="Apple GPU").is_checked()


def test_ranges_and_words_narrow_the_runs(visit):
    tab = visit("three")
    tab.get_by_text("Ranges and words").click()
    tab.get_by_role("spinbutton", name="Speed, minimum").fill("500")
    rates = shown_rows(tab).locator("td:nth-child(6)").all_inner_texts()
    assert rates and all(float(rate.replace(",", "")) >= 499.5 for rate in rates)
    tab.get_by_role("spinbutton", name="Speed, minimum").fill("")
    tab.get_by_role("searchbox").fill("out of memory")
    assert status(tab) == "3 of 72 runs shown."


def test_dragging_along_an_axis_keeps_the_runs_between(visit):
    tab = visit("three")
    tab.locator("#explore-parallel > summary").click()
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
    assert tab.get_by_role("spinbutton", name="Speed, minimum").input_value()


def test_columns_sort_by_number_and_the_unknown_stands_last(visit):
    tab = visit("three")
    heading = tab.locator("#all-runs th", has_text="Images/s")
    for order in ("ascending", "descending"):
        heading.get_by_role("button").press("Enter")
        assert heading.get_attribute("aria-sort") == order
        if order == "ascending":
            tab.locator("#runs .pager").get_by_role("button", name="Show all").click()
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


@pytest.mark.parametrize(("measure", "interval"), [("Cost, rented", "95% interval"), ("Cost, bought", "range")])
def test_an_interval_is_called_what_it_is(measure, interval, visit):
    tab = visit("mac")
    tab.get_by_role("radio", name=measure, exact=True).check(force=True)
    label = next(
        label
        for dot in tab.locator("#explore-dots .dot").all()
        if "USD per 1,000 images (" in (label := dot.get_attribute("aria-label"))
    )
    assert f"USD per 1,000 images ({interval} " in label


def test_dots_can_be_walked_by_keyboard_and_tell_exact_values(visit, reports):
    tab = visit("three")
    dots = tab.locator("#explore-dots .dot")
    dots.first.focus()
    label = dots.first.get_attribute("aria-label")
    tip = tab.locator("#explore-tip")
    assert tip.is_visible()
    data = json.loads(tab.locator("#trainoff-data").text_content())
    rates = frame(data["tables"]["rates"])
    speeds = [f"{speed:.3g}" for speed in rates["images_per_second"].dropna()]
    assert any(re.search(rf"{re.escape(speed)}0* images/s \(95% interval", label.replace(",", "")) for speed in speeds)
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
    assert re.match(r"[\d.,]+ images/s \(95% interval ", tab.locator("#explore-tip strong").inner_text())
    tab.locator("#explore-parallel > summary").click()
    lines = tab.locator("#explore-lines")
    lines.scroll_into_view_if_needed()
    box = lines.bounding_box()
    for height in range(80, 380, 4):
        tab.mouse.move(box["x"] + 120, box["y"] + height)
        if tab.locator("#explore-lines .line.on").count():
            break
    assert tab.locator("#explore-tip span").first.inner_text().startswith("Run ")


def saved(tab, button):
    """The text of the file that a button of the page saves."""
    with tab.expect_download() as download:
        button.click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_tables_and_figures_come_out_of_the_page_itself(visit, reports):
    tab = visit("three")
    text = saved(tab, tab.locator("#table-files").get_by_role("button", name=re.compile("rates.csv")))
    rows = list(csv.DictReader(io.StringIO(text)))
    with open(reports("three").parent / "tables/rates.csv", encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert len(rows) == len(written) == 24 and list(rows[0]) == list(written[0])
    for row, other in zip(rows, written, strict=True):
        assert row["device"] == other["device"] and row["trainable"] == other["trainable"]
        assert (row["images_per_second"] == "") == (other["images_per_second"] == "")
        if row["images_per_second"]:
            assert float(row["images_per_second"]) == pytest.approx(float(other["images_per_second"]), rel=1e-5)
    tab.locator("#figure-ratio summary").click()
    picture = saved(tab, tab.locator("#figure-ratio").get_by_role("button", name="SVG"))
    assert picture.startswith("<svg") and "var(--" not in picture


def test_many_results_are_made_from_what_the_page_carries(visit):
    tab = visit("large")
    assert status(tab) == "All 1,600 runs shown."
    assert tab.locator("#runs .pager").inner_text().startswith("Previous")
    assert "1 to 10 of 1,600" in tab.locator("#runs .pager").inner_text()
    assert (
        "1 to 10 of 200"
        in tab.locator("#rates").locator("xpath=ancestor::section").locator(".pager").first.inner_text()
    )
    assert tab.locator(".excerpt").first.is_hidden()
    tab.locator("#runs .pager").get_by_role("button", name="Next").click()
    assert shown_rows(tab).first.locator("td").first.inner_text() == "11"


def test_the_state_of_the_explorer_stands_in_the_address(visit):
    tab = visit("three")
    tab.get_by_role("checkbox", name="Apple GPU").press("Space")
    tab.get_by_text("Ranges and words").click()
    tab.get_by_role("searchbox").fill("last layer")
    told = status(tab)
    assert told == "24 of 72 runs shown." and "#explore?" in tab.url
    tab.reload()
    assert status(tab) == told
    assert not tab.get_by_role("checkbox", name="Apple GPU").is_checked()


def test_sliders_recompute_what_renting_and_buying_cost(visit):
    tab = visit("three")
    cell = tab.locator("#training-table tr", has_text="3 USD per hour").locator("[data-cost]")
    before = float(cell.inner_text().split()[0])
    tab.locator("#training-rent").fill("6")
    assert tab.locator("#training-rent-text").inner_text() == "200%"
    assert float(cell.inner_text().split()[0]) == pytest.approx(2 * before, rel=0.02)


def test_the_section_being_read_is_marked(visit):
    tab = visit("three")
    tab.locator("#runs").scroll_into_view_if_needed()
    tab.evaluate("document.getElementById('runs').scrollIntoView()")
    expect(tab.locator("nav a[aria-current]")).to_have_attribute("href", "#runs")


def test_a_full_experiment_stays_small(tmp_path):
    devices = synthetic.DEVICES[:4]
    text, _ = page(tmp_path, devices, synthetic.records(devices, replicates=5), drawn=MAIN)
    assert len(text.encode()) < 2.5 * MEGABYTE
    Path(tmp_path, "report.html").unlink()
