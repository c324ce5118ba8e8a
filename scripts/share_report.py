"""A folder to publish, and a gallery of several.

share.py FOLDER CONFIG...      copies the report of an experiment, its picture, bundle and entry to FOLDER/<name>
share.py --gallery FOLDER      writes FOLDER/index.html over all entries below FOLDER
"""

import base64
import hashlib
import json
import re
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from find_report import results_of
from trainoff.errors import one_line
from trainoff.files import write_text
from trainoff.report import page

FILES = {"report.html": "index.html", "share.png": "share.png", "share.json": "entry.json", "bundle.zip": "bundle.zip"}
PARTS = Path(__file__).resolve().parents[1] / "report/page"


def share(results: str | Path, folder: str | Path) -> Path:
    """Copies what is published of the results to a folder of its own below `folder`; returns that folder."""
    results = Path(results)
    title = json.loads((results / "share.json").read_text(encoding="utf-8"))["title"]
    place = Path(folder, re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "report")
    place.mkdir(parents=True, exist_ok=True)
    for name, published in FILES.items():
        if (results / name).is_file():
            shutil.copyfile(results / name, place / published)
    return place


def entries(folder: str | Path) -> list[tuple[str, dict[str, Any]]]:
    """[(path relative to `folder`, entry)] of all published reports below it; what cannot be read is left out with a word."""
    found = []
    for path in sorted(Path(folder).glob("**/entry.json")):
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            entry["title"], entry["summary"], entry["verdicts"]
            [(one["chip"], one["model"], float(one["images_per_second"])) for one in entry["results"]]
        except (ValueError, KeyError, TypeError) as error:
            print(
                f"{path}: left out, not an entry of a gallery ({type(error).__name__}: {one_line(error)})",
                file=sys.stderr,
            )
            continue
        found.append((path.parent.relative_to(folder).as_posix(), entry))
    return found


def rows(found: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per chip, framework and model: the fastest result, and how far machines of that kind differ."""
    groups = {}
    for place, entry in found:
        for one in entry["results"]:
            groups.setdefault((one["chip"], one.get("framework", ""), one["model"]), []).append((place, one))
    result = []
    for (chip, framework, model), ones in groups.items():
        speeds = [one["images_per_second"] for _, one in ones]
        place, best = max(ones, key=lambda pair: pair[1]["images_per_second"])
        result.append(
            {
                "chip": chip,
                "framework": framework,
                "model": model,
                "best": max(speeds),
                "median": statistics.median(speeds),
                "machines": len(ones),
                "spread": max(speeds) / min(speeds) if len(ones) > 1 else None,
                "settings": best["settings"],
                "joules_per_image": best.get("joules_per_image"),
                "place": place,
            }
        )
    return sorted(result, key=lambda row: (row["model"], -row["best"]))


def gallery(folder: str | Path) -> tuple[Path, int]:
    """Writes the page over all published reports below `folder`; returns its path and how many there are."""
    found = entries(folder)
    script = "\n".join((PARTS / name).read_text(encoding="utf-8") for name in ("base.js", "tables.js", "gallery.js"))
    script = script.replace("</", "<\\/")
    text = (
        page.environment(PARTS)
        .get_template("gallery.html.j2")
        .render(
            entries=found,
            rows=rows(found),
            style=page.markupsafe.Markup((PARTS / "page.css").read_text(encoding="utf-8")),
            script=page.markupsafe.Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    path = Path(folder, "index.html")
    write_text(path, text)
    return path, len(found)


if __name__ == "__main__":
    if sys.argv[1] == "--gallery":
        written, number = gallery(sys.argv[2])
        print(f"Gallery of {number} reports: {written.resolve()}")
    else:
        print(f"To publish: {share(results_of(sys.argv[2:]), sys.argv[1]).resolve()}")
