"""The report: one self-contained HTML page, made of the tables and figures alone.

The same tables, figures and settings give the same page: every time in it comes from the runs.
"""

import base64
import hashlib
import json
import math
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jinja2
import markupsafe
import pandas as pd

from trainoff import cells, figures, findings, numbers, parity, records, stats, wording
from trainoff import configurations as naming
from trainoff.files import write_text
from trainoff.script import logged

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
# Figures of the page: heading and the tables that they are drawn from.
FIGURES = {
    "throughput": ("Training speed", ["rates", "windows", "runs"]),
    "ratio": ("Devices against each other", ["comparison", "overall"]),
    "last_layer": ("Last layer against all weights", ["rates"]),
    "learning": ("Does it learn?", ["windows"]),
    "cold_start": ("Cold start", ["runs"]),
    "run_matrix": ("How every run ended", ["runs"]),
}
HASHES = ("code_sha256", "dataset_sha256", "images_sha256", "weights_sha256")


def main(tables, svgs, captions, title, devices, settings, template, style, output):
    """Writes the page to `output`.

    tables, svgs, captions: paths by name (tables as parquet, captions as plain text). devices: dicts with name and
    label in the order of the experiment. settings: the experiment's keys. template, style: paths.
    """
    frames = {name: pd.read_parquet(path) for name, path in tables.items()}
    pictures = {name: Path(path).read_text(encoding="utf-8") for name, path in svgs.items()}
    texts = {name: Path(path).read_text(encoding="utf-8") for name, path in captions.items()}
    page = render(
        frames,
        pictures,
        texts,
        title,
        devices,
        settings,
        Path(template).read_text(encoding="utf-8"),
        Path(style).read_text(encoding="utf-8"),
        Path(output).parent,
    )
    write_text(output, page)


def render(frames, pictures, captions, title, devices, settings, template, style, folder):
    """The page as text; links in it are relative to `folder`."""
    runs, rates = frames["runs"], frames["rates"]
    standing = parity.Standing(frames.get("parity"))
    shown = figures.devices_in(devices, runs)
    labels = {device.name: device.label for device in shown}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.lstrip_blocks = True
    environment.filters |= {"significant": numbers.significant, "ratio": numbers.ratio, "percent": numbers.percent}
    environment.filters |= {"seconds": numbers.seconds, "p_value": numbers.p_value}
    environment.filters["glue"] = glue
    environment.tests["known"] = numbers.known
    script = _script(template)
    configurations = naming.all_configurations(runs)
    return environment.from_string(template).render(
        title=title,
        style=markupsafe.Markup(style.replace("</", "<\\/")),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        summary=wording.summary(runs, shown),
        answers=wording.answers(frames["overall"], rates, shown),
        other_answers=wording.other_answers(frames["overall"], shown),
        caveats=wording.caveats(runs, rates, frames["overall"], shown, standing),
        devices=device_rows(runs, shown),
        figures=figure_cards(pictures, captions, frames, shown, standing),
        constant=naming.constant_text(configurations),
        trained_with=findings.trained_with(runs),
        rate_table=rate_rows(runs, rates, configurations, shown),
        shown=shown,
        labels=labels,
        comparisons=comparison_tables(frames["comparison"], shown),
        parity=parity_rows(frames.get("parity"), labels),
        parity_method=parity.METHOD,
        runs=run_rows(runs, labels, folder),
        failures=failure_rows(runs, labels, folder),
        settings=flat(settings),
        method=stats.METHOD,
        versions=version_rows(runs),
        hashes=hash_rows(runs),
        data=embedded(data_block(frames, shown, title)),
    )


def figure_cards(pictures, captions, frames, devices, standing):
    """The figures by name: heading, finding, inline SVG, caption paragraphs, names of the tables behind."""
    runs, rates = frames["runs"], frames["rates"]
    said = {
        "throughput": findings.throughput_title(rates, devices),
        "ratio": findings.ratio_title(frames["overall"], devices) if len(devices) > 1 else "One device gives no ratio",
        "last_layer": findings.last_layer_title(findings.last_layer_gains(rates), devices),
        "learning": findings.learning_title(runs, devices, standing.departing()),
        "cold_start": findings.cold_start_title(runs, devices),
        "run_matrix": findings.matrix_title(runs),
    }
    return {
        name: {
            "name": name,
            "heading": heading,
            "finding": said[name],
            "picture": inline_svg(pictures[name], name, f"{heading}. {said[name]}."),
            "caption": [" ".join(part.split()) for part in captions[name].split("\n\n") if part.strip()],
            "tables": tables,
        }
        for name, (heading, tables) in FIGURES.items()
    }


def inline_svg(text, name, label):
    """An SVG file's picture for use inside a page: no ids shared with other pictures, and a name for screen readers."""
    ElementTree.register_namespace("", SVG.strip("{}"))
    ElementTree.register_namespace("xlink", XLINK.strip("{}"))
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", text))
    for parent in list(root.iter()):
        for child in list(parent):
            # Style elements would reach the whole page; the page's own style says the same.
            if child.tag in (f"{SVG}style", f"{SVG}metadata"):
                parent.remove(child)
    classes = {}
    for element in root.iter():
        if not element.tag.endswith("text"):
            element.text = None
        element.tail = None
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key.endswith("href") and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            elif key in ("d", "x", "y", "transform", "points"):
                element.set(key, _rounded(value))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
        look = element.attrib.pop("style", None)
        if look:
            element.set("class", classes.setdefault(look, f"{name}-{len(classes)}"))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", label)
    # Names that nothing refers to only make the page longer.
    used = set(re.findall(rf"#({name}-[\w-]+)", ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
    # Thousands of equal styles become one rule each, which halves the page.
    rules = "".join(f".{short}{{{look}}}" for look, short in classes.items())
    style = ElementTree.Element(f"{SVG}style")
    style.text = rules
    root.insert(0, style)
    return markupsafe.Markup(ElementTree.tostring(root, encoding="unicode"))


def _rounded(numbers_text):
    """A path or position with two decimals, a hundredth of a point."""
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found.group()):.2f}", numbers_text)


def glue(text):
    """`text` with a number and its unit kept on one line."""
    return re.sub(r"(?<=\d) (?=(%|px|s)(\W|$))", "\u00a0", text)


def device_rows(runs, devices):
    """What each device is, as its runs say: [(fact, [value per device])]; several values are all named."""
    facts = {
        "Chip": ("device_name", str),
        "Kind": ("accelerator", str),
        "Framework": ("backend", str),
        "Cores": ("device_cores", lambda value: f"{int(value)}"),
        "Memory": ("device_memory_bytes", numbers.gibibytes),
        "Driver": ("driver", str),
        "Machine": ("machine", str),
        "Processor of the machine": ("cpu", str),
        "Operating system": ("os", str),
        "Power": ("power_source", str),
        "Python": ("python", str),
        "TensorFlow": ("tensorflow", str),
        "Keras": ("keras", str),
    }
    return [
        (name, [_values(runs[runs["device"] == device.name], column, form) for device in devices])
        for name, (column, form) in facts.items()
    ]


def rate_rows(runs, rates, configurations, devices):
    """Training speed as a table: [(configuration in words, [cell text per device])]."""
    found = cells.cells(runs, rates)
    varying = naming.varying_axes(configurations)
    return [
        (
            naming.label(configuration, varying) or "the one configuration",
            [_rate_cell(found.get((configuration, device.name))) for device in devices],
        )
        for configuration in configurations
    ]


def _rate_cell(cell):
    if cell is None:
        return {"rate": None, "text": "not run", "notes": []}
    if not numbers.known(cell["images_per_second"]):
        return {"rate": None, "text": cell["failure"], "notes": []}
    flags = [("unstable", cell["unstable"]), ("busy", cell["busy"]), ("other work", cell["departs"])]
    flags.append((cell["failures"], cell["failures"]))
    notes = [note for note, there in flags if there]
    interval = numbers.interval(cell["ci_low"], cell["ci_high"]) if numbers.known(cell["ci_low"]) else "no interval"
    return {"rate": cell["images_per_second"], "text": interval, "notes": notes}


def comparison_tables(comparison, devices):
    """One table of ratios per pair of devices, pairs with the first device first."""
    configurations = naming.all_configurations(comparison) if len(comparison) else []
    varying = naming.varying_axes(configurations)
    order = {configuration: number for number, configuration in enumerate(configurations)}
    labels = {device.name: device.label for device in devices}
    tables = []
    for number, baseline in enumerate(devices):
        for device in devices[number + 1 :]:
            own = comparison[(comparison["device"] == device.name) & (comparison["baseline"] == baseline.name)]
            rows = sorted(own.to_dict("records"), key=lambda row: order[naming.configuration_of(row)])
            tables.append({"device": device, "baseline": baseline, "first": number == 0, "rows": rows})
            for row in rows:
                row["name"] = naming.label(naming.configuration_of(row), varying) or "the one configuration"
                row["interval"] = numbers.ratio_interval(row["ci_low"], row["ci_high"])
                row["verdict_text"] = wording.VERDICT_WORDS.get(row["verdict"], row["verdict"])
                row["unstable"] = bool(row["unstable"] or False)
                row["busy"] = bool(row["busy"] or False)
                row["reason_text"] = findings.plain_reason(row["reason"], labels)
            tables[-1]["note"] = _shared_reason(rows)
    return tables


def _shared_reason(rows):
    """The reason that stands beside every verdict, taken out of the rows to be said once; "" when they differ."""
    judged = [row for row in rows if numbers.known(row["ratio"])]
    reasons = {row["reason_text"] for row in judged}
    if len(judged) < 2 or len(reasons) > 1:
        return ""
    for row in judged:
        row["reason_text"] = ""
    return reasons.pop()


def parity_rows(table, labels):
    """The parity table in words: [dict], empty where none was needed."""
    rows = [] if table is None else table.to_dict("records")
    for row in rows:
        row["label"] = labels.get(row["device"], row["device"])
        row["check"] = row["check"].replace("_", " ").capitalize()
        row["verdict_text"] = wording.PARITY_WORDS[row["verdict"]]
    return rows


def run_rows(runs, labels, folder):
    """Every run for the table: its values and links to its metrics and log."""
    configurations = naming.all_configurations(runs)
    varying = naming.varying_axes(configurations)
    rows = sorted(runs.to_dict("records"), key=lambda run: run["sequence"])
    return [
        run
        | {
            "label": labels[run["device"]],
            "name": naming.label(naming.configuration_of(run), varying) or "the one configuration",
            "status_text": cells.status_text(run["status"], run["signal"]),
            "interval": numbers.interval(run["ci_low"], run["ci_high"]) if numbers.known(run["ci_low"]) else "",
            "unstable": bool(run["unstable"] or False),
            "busy": bool(run["busy"] or False),
            **_links(run, folder),
        }
        for run in rows
    ]


def failure_rows(runs, labels, folder):
    """The runs that did not end well, with the last lines of their logs."""
    failed = runs[runs["status"] != "ok"]
    rows = run_rows(failed, labels, folder)
    varying = naming.varying_axes(naming.all_configurations(runs))
    for row in rows:
        row["name"] = naming.label(naming.configuration_of(row), varying)
        row["log_tail"] = log_tail(row["metrics"])
    return rows


def log_tail(metrics):
    """Last lines that a failed run wrote, from its metrics file; none where the file cannot be read any more."""
    path = Path(metrics)
    if not path.is_file():
        return []
    failure = json.loads(path.read_text(encoding="utf-8")).get("failure") or {}
    # A log may hold bytes of any kind; half characters cannot be written to a page.
    return [str(line).encode("utf-8", "replace").decode() for line in failure.get("log_tail", [])]


def _links(run, folder):
    metrics = os.path.relpath(run["metrics"], folder).replace(os.sep, "/")
    return {"metrics_link": metrics, "log_link": f"{metrics.rpartition('/')[0]}/train.log"}


def version_rows(runs):
    """Software and protocol: [(what, values in words)]."""
    names = {"Python": "python", "TensorFlow": "tensorflow", "Keras": "keras", "Protocol version": "protocol_version"}
    rows = [(name, _values(runs, column)) for name, column in names.items()]
    return [*rows, ("Metrics schema version", str(records.SCHEMA_VERSION))]


def hash_rows(runs):
    """SHA-256 of what went into the runs: [(what, [hashes])]."""
    names = {
        "code_sha256": "Training code",
        "dataset_sha256": "Dataset",
        "images_sha256": "Prepared images",
        "weights_sha256": "Starting weights",
    }
    return [(names[column], sorted(runs[column].dropna().unique().tolist())) for column in HASHES]


def data_block(frames, devices, title):
    """What another program may want of the page: comparison, means, rates, versions and hashes, in plain values."""
    runs = frames["runs"]
    return {
        "title": title,
        "devices": [{"name": device.name, "label": device.label} for device in devices],
        "rates": _plain_records(frames["rates"]),
        "comparison": _plain_records(frames["comparison"]),
        "overall": _plain_records(frames["overall"]),
        "parity": _plain_records(frames["parity"]) if "parity" in frames else [],
        "runs_by_status": {status: int(count) for status, count in runs["status"].value_counts().sort_index().items()},
        "schema_version": records.SCHEMA_VERSION,
        "versions": {
            column: sorted({str(value) for value in runs[column].dropna()})
            for column in ("python", "tensorflow", "keras", "protocol_version")
        },
        "hashes": {column: sorted(runs[column].dropna().unique().tolist()) for column in HASHES},
        "method": stats.METHOD,
    }


def embedded(value):
    """JSON that nothing can break out of a script element with."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True)
    return markupsafe.Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def flat(settings, prefix=""):
    """Settings as [(dotted key, value in words)]."""
    rows = []
    for key, value in settings.items():
        if isinstance(value, dict):
            rows += flat(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, _words(value)))
    return rows


def _words(value):
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else str(value)


def _values(table, column, form=str):
    """All distinct known values of a column in words."""
    values = table[column].dropna().unique().tolist()
    return numbers.listing(dict.fromkeys(form(value) for value in values)) or "unknown"


def _plain_records(table):
    return [
        {key: _plain(value) for key, value in row.items()}
        for row in table.astype(object).where(table.notna(), None).to_dict("records")
    ]


def _plain(value):
    """A value for JSON; floats keep six digits, which is more than any of them can be known to."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _script(template):
    found = re.search(r"<script>(.*?)</script>", template, re.DOTALL)
    return found.group(1) if found else ""


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            tables={
                name: snakemake.input[name]
                for name in ("runs", "rates", "comparison", "overall", "parity")
                if snakemake.input[name]  # an experiment on the reference alone has no parity table
            },
            svgs={name: snakemake.input[name] for name in FIGURES},
            captions={name: snakemake.input[f"{name}_caption"] for name in FIGURES},
            title=snakemake.params.title,
            devices=snakemake.params.devices,
            settings=snakemake.params.settings,
            template=snakemake.input.template,
            style=snakemake.input.style,
            output=snakemake.output.page,
        )
