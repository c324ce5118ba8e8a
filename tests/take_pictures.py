"""Takes the pictures in docs/: first screens of five pages of made-up runs, and of the sample report. `make docs` runs it."""

import io
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/pages"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAX_BYTES = 120_000
# A page of real runs, and what of it is shown where: {name: what is scrolled to}.
SAMPLE = ROOT / "docs/sample/report.html"
SAMPLE_PICTURES = {"report": None, "explore": "#explore-controls"}


@dataclass(frozen=True)
class Picture:
    """A first screen. page: a key of pages.SHOWN. width, height: of the screen, in pixels. scheme: light or dark."""

    page: str
    width: int = 1440
    height: int = 900
    scheme: str = "light"


PICTURES = {
    "one": Picture("one"),
    "mac": Picture("mac"),
    "frameworks": Picture("frameworks"),
    "failures": Picture("failures"),
    "large": Picture("large"),
    "one-phone": Picture("one", 390, 844),
    "mac-phone-dark": Picture("mac", 390, 844, "dark"),
}


def chromium():
    """The path of a browser that can be told what to do; None without one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def main(folder=FOLDER):
    """Writes every picture to `folder`; without a browser it says that they stay as they are."""
    program = chromium()
    if program is None:
        print(f"The pictures in docs/ were left out: none of {', '.join(BROWSERS)} is on PATH.")
        return
    import pages
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name in dict.fromkeys(picture.page for picture in PICTURES.values()):
            made = Path(place, name)
            made.mkdir()
            pages.SHOWN[name](made)
            for stem, picture in PICTURES.items():
                if picture.page == name:
                    save(shot(browser, made / "report.html", picture), folder / f"{stem}.png")
        for stem, place in SAMPLE_PICTURES.items():
            save(shot(browser, SAMPLE, Picture(stem), place), folder.parent / f"{stem}.png")
        browser.close()


def shot(browser, page, picture, place=None):
    """The first screen of the file `page`, or the one around the element `place`, as the bytes of a PNG."""
    tab = browser.new_page(viewport={"width": picture.width, "height": picture.height}, color_scheme=picture.scheme)
    tab.goto(page.as_uri())
    if place:
        tab.locator(place).evaluate("element => window.scrollTo(0, element.getBoundingClientRect().top - 150)")
    content = tab.screenshot()
    tab.close()
    return content


def save(content, path):
    """Writes a screenshot as a PNG of few colors."""
    with Image.open(io.BytesIO(content)) as picture:
        # All colors of the devices stay, however small their marks are.
        few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "scripts"))
    main()
