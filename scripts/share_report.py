"""A folder to publish, and a gallery of several.

share_report.py FOLDER CONFIG...      copies the report of an experiment, its picture, bundle and entry to FOLDER/<name>
share_report.py --gallery FOLDER      writes FOLDER/index.html over all entries below FOLDER
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
from trainoff import numbers
from trainoff.errors import UserError, one_line
from trainoff.exchange import bundles
from trainoff.files import whole, write_text
from trainoff.report import page

FILES = {"report.html": "index.html", "share.png": "share.png", "share.json": "entry.json", "bundle.zip": "bundle.zip"}
PARTS = Path(__file__).resolve().parents[1] / "report/page"


def share(results: str | Path, folder: str | Path) -> Path:
    """Copies what is published of the results to a folder of its own below `folder`; returns that folder.

    It is named after the title, and further if a report of another experiment or machine has that name already.
    """
    results = Path(results)
    title, origin = _title_and_origin(results / "share.json", results / "bundle.zip")
    place = Path(folder, re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "report")
    if _holds_another(place, title, origin):
        place = place.with_name(f"{place.name}-{hashlib.sha256(f'{title} {origin}'.encode()).hexdigest()[:8]}")
    for name, published in FILES.items():
        if (results / name).is_file():
            with whole(place / published) as temporary:
                shutil.copyfile(results / name, temporary)
        else:
            (place / published).unlink(missing_ok=True)
    return place


def _holds_another(place, title, origin):
    """Whether the folder `place` holds a report of another title, or of another project folder."""
    try:
        other_title, other_origin = _title_and_origin(place / "entry.json", place / "bundle.zip")
    except (OSError, ValueError, KeyError, TypeError):  # nothing there, or nothing whole
        return False
    return other_title != title or None not in (origin, other_origin) and other_origin != origin


def _title_and_origin(entry, bundle):
    """The title of a report and the ID of its project folder, None if that is unknown. entry, bundle: paths."""
    title = json.loads(entry.read_text(encoding="utf-8"))["title"]
    try:
        return title, bundles.read_manifest(bundle)["origin"]
    except UserError:  # there is none, or none of its runs are of that folder
        return title, None


def entries(folder: str | Path) -> list[tuple[str, dict[str, Any]]]:
    """[(path relative to `folder`, entry)] of all published reports below it; what cannot be read is skipped with a message."""
    published = []
    for path in sorted(Path(folder).glob("**/entry.json")):
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            entry["title"], entry["summary"], entry["verdicts"]
            [(result["chip"], result["model"], 1 / result["images_per_second"]) for result in entry["results"]]
            [result["settings"] for result in entry["results"]]
        except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            print(
                f"{path}: skipped, not an entry of a gallery ({type(error).__name__}: {one_line(error)})",
                file=sys.stderr,
            )
            continue
        published.append((path.parent.relative_to(folder).as_posix(), entry))
    return published


def rows(published: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per chip, framework and model: the fastest result, and how far those of several reports differ.

    Reports do not name their machines, so two results may be of the same one.
    """
    groups = {}
    for place, entry in published:
        for result in entry["results"]:
            key = result["chip"], result.get("framework", ""), result["model"]
            groups.setdefault(key, []).append((place, result))
    table = []
    for (chip, framework, model), results in groups.items():
        speeds = [result["images_per_second"] for _, result in results]
        place, best = max(results, key=lambda pair: pair[1]["images_per_second"])
        table.append(
            {
                "chip": chip,
                "framework": framework,
                "model": model,
                "best": max(speeds),
                "median": statistics.median(speeds),
                "results": len(results),
                "spread": max(speeds) / min(speeds) if len(results) > 1 else None,
                "settings": best["settings"],
                "joules_per_image": best.get("joules_per_image"),
                "place": place,
            }
        )
    return sorted(table, key=lambda row: (row["model"], -row["best"]))


def gallery(folder: str | Path) -> tuple[Path, int]:
    """Writes the page over all published reports below `folder`; returns its path and how many there are.

    Raises UserError for a folder without any, and for that of a single report.
    """
    if Path(folder, "entry.json").is_file():
        raise UserError(
            f"{folder}: is the folder of one report, whose page would be lost. Expected the folder that holds it."
        )
    published = entries(folder)
    if not published:
        raise UserError(f"{folder}: holds no report. First share some into it: make share TO={folder}")
    script = "\n".join((PARTS / name).read_text(encoding="utf-8") for name in ("base.js", "tables.js", "gallery.js"))
    script = script.replace("</", "<\\/")
    text = (
        page.environment(PARTS)
        .get_template("gallery.html.j2")
        .render(
            entries=published,
            rows=rows(published),
            style=page.markupsafe.Markup((PARTS / "page.css").read_text(encoding="utf-8")),
            script=page.markupsafe.Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    path = Path(folder, "index.html")
    write_text(path, text)
    return path, len(published)


if __name__ == "__main__":
    # Not every locale can show every character of a name.
    sys.stdout.reconfigure(errors="replace")
    try:
        if sys.argv[1] == "--gallery":
            written, number = gallery(sys.argv[2])
            print(f"Gallery of {numbers.count(number, 'report')}: {written.resolve()}")
        else:
            print(f"To publish: {share(results_of(sys.argv[2:]), sys.argv[1]).resolve()}")
    except UserError as error:
        sys.exit(str(error))
    except OSError as error:
        place = error.filename2 or error.filename or sys.argv[1]
        sys.exit(
            f"{place}: cannot be written ({error.strerror}). Name another folder with TO= (make share) or FOLDER= (make gallery)."
        )
