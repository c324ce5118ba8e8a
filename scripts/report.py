"""The report: one self-contained HTML page, made of the tables and figures alone.

The same tables, figures and settings give the same page: every time in it comes from the runs.
"""

import base64
import hashlib
import json
import math
import os
import re
from pathlib import Path

import jinja2
import markupsafe
import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers, records
from trainoff.analyze import cells, cost, efficiency, packing, parity, stats
from trainoff.analyze import published as others
from trainoff.analyze.tables import as_csv
from trainoff.errors import printable
from trainoff.files import write_text
from trainoff.report import economy, explore, figures, findings, pictures, summaries, wording
from trainoff.workflow.script import logged

# Figures of the page: heading and the tables that they are drawn from.
FIGURES = {
    "ratio": ("Devices against each other", ["comparison", "overall"]),
    "each_device": ("Each device alone", ["rates", "runs"]),
    "throughput": ("Side by side", ["rates", "windows", "runs"]),
    "last_layer": ("Last layer against all weights", ["rates"]),
    "model_size": ("Does the gap widen with the model?", ["runs", "comparison"]),
    "energy": ("Energy of 1,000 images", ["rates", "energy"]),
    "efficiency": ("Speed against power", ["rates"]),
    "cost": ("Cost of a training", ["costs"]),
    "break_even": ("Owning or renting", ["break_even"]),
    "learning": ("Does it learn?", ["windows"]),
    "cold_start": ("Cold start", ["runs"]),
    "run_matrix": ("How every run ended", ["runs"]),
    "published": ("Published by others", ["rates", "published"]),
}
# Those with a place of their own; the others follow each other in a gallery.
PLACED = ("run_matrix", "published")
# Tables that the page is made of, in the order in which it offers them. That of parity may be missing.
TABLES = (
    "runs",
    "rates",
    "comparison",
    "best",
    "overall",
    "parity",
    "energy",
    "costs",
    "break_even",
    "packing",
    "makespan",
)
# Columns of the runs that another program is given.
RUN_COLUMNS = [
    *records.RUN_KEYS,
    "status",
    "reason",
    "images_per_second",
    "ci_low",
    "ci_high",
    "unstable",
    "busy",
    "final_val_accuracy",
    "joules_per_image",
    "started_at",
    "metrics",
]
# Ratios that are shown beside those of speed where there are any.
FURTHER_RATIOS = {
    "energy_ratio": "Energy per image",
    "cost_ratio": "Cost, rented",
    "owned_cost_ratio": "Cost, owned",
}
# With more runs or ratios than that, the page tells some row by row and sums up the rest; a browser would be slow with all.
MOST_ROWS = 2000
# Failed runs that are told one by one with their last words.
MOST_FAILURES = 100
# A longer table would make the page hard to send.
MOST_CARRIED_BYTES = 500_000
FRAMEWORKS = ("tensorflow", "torch", "jax")
HASHES = ("code_sha256", "dataset_sha256", "images_sha256", "weights_sha256")
SCRIPTS = Path(__file__).resolve().parent


def main(
    tables, svgs, captions, title, devices, settings, template, style, script, published, output, assumptions=None
):
    """Writes the page to `output`.

    tables, svgs, captions: paths by name (tables as parquet, captions as plain text). devices: dicts with name and
    label in the order of the experiment. settings: the experiment's keys. template, style, script, published: paths.
    assumptions: what costs rest on, of trainoff.analyze.cost.assumptions.
    """
    frames = {name: pd.read_parquet(path) for name, path in tables.items()}
    # What wall meters and declared powers say of a run stands in a table of its own.
    frames["runs"] = efficiency.with_energy(frames["runs"], frames["energy"])
    read = {name: Path(path).read_text(encoding="utf-8") for name, path in svgs.items()}
    texts = {name: Path(path).read_text(encoding="utf-8") for name, path in captions.items()}
    page = render(
        frames,
        read,
        texts,
        title,
        devices,
        settings,
        *(Path(path).read_text(encoding="utf-8") for path in (template, style, script)),
        others.read(published),
        Path(output).parent,
        assumptions,
    )
    write_text(output, page)


def render(
    frames, svgs, captions, title, devices, settings, template, style, script, published, folder, assumptions=None
):
    """The page as text; links in it are relative to `folder`."""
    frames = frames | {"runs": in_order(frames["runs"], folder)}
    runs, rates = frames["runs"], frames["rates"]
    standing = parity.Standing(frames.get("parity"))
    shown = figures.devices_in(devices, runs)
    labels = {device.name: device.label for device in shown}
    configurations = naming.all_configurations(runs)
    answers, said_once = without_repeats(wording.answers(frames["overall"], rates, shown))
    cards = figure_cards(svgs, captions, folder)
    proof = "ratio" if len(shown) > 1 else "throughput"
    if len(shown) == 1:
        cards["throughput"]["heading"] = "Training speed"
    script = script.replace("</", "<\\/")
    told = excerpt(frames, configurations)
    return (
        environment()
        .from_string(template)
        .render(
            title=title,
            style=markupsafe.Markup(style.replace("</", "<\\/")),
            script=markupsafe.Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            summary=wording.summary(runs, shown),
            answers=with_headlines(answers, frames["overall"], shown),
            said_once=said_once,
            economy_lines=economy.target_lines(frames["costs"], shown) + economy.carbon_lines(frames["costs"], shown),
            assumptions=economy.assumption_lines(assumptions, list(labels), labels) if assumptions else [],
            economy_method=f"{efficiency.METHOD} {cost.METHOD}",
            other_answers=wording.other_answers(frames["overall"], shown),
            caveats=wording.caveats(runs, rates, frames["overall"], shown, standing),
            devices=device_rows(runs, shown),
            figures=cards,
            gallery=[card for name, card in cards.items() if name not in (*PLACED, proof) and _tells(name, frames)],
            constant=naming.constant_text(configurations),
            trained_with=findings.trained_with(runs),
            rate_table=rate_rows(told["runs"], told["rates"], naming.all_configurations(told["runs"]), shown),
            shown=shown,
            labels=labels,
            comparisons=comparison_tables(told["comparison"], shown),
            best=best_rows(told.get("best"), shown),
            parity=parity_rows(frames.get("parity"), labels),
            **packing.in_words(frames.get("packing"), frames.get("makespan"), labels),
            parity_method=parity.METHOD,
            runs=run_rows(told["runs"], shown),
            with_energy=bool(runs["joules_per_image"].notna().any()),
            failures=failure_rows(runs, shown),
            excerpt=excerpt_note(configurations, runs, told),
            settings=flat(settings),
            method=stats.METHOD,
            versions=version_rows(runs),
            hashes=hash_rows(runs),
            published=published_rows(published),
            table_links={name: f"tables/{name}.csv" for name in TABLES},
            carried=carried(frames),
            data=embedded(data_block(told, shown, title)),
            view=embedded(explore.view(told["runs"], told["rates"], shown, told.get("costs"))),
        )
    )


def excerpt(frames, configurations):
    """The tables as far as the page tells them row by row: whole, or some configurations spread evenly over the grid.

    A configuration keeps all its runs and ratios, so that every row and dot of the page means what it does on a small page.
    """
    longest = max(len(frames["runs"]), len(frames["comparison"]))
    if longest <= MOST_ROWS:
        return frames
    kept = set(configurations[:: -(-longest // MOST_ROWS)])

    def cut(table):
        axes = [axis for axis in naming.AXES if axis in table]
        if len(table) <= MOST_ROWS // 10 or not {"img_dim", "batch_size"} <= set(axes):
            return table
        wanted = {tuple(one[naming.AXES.index(axis)] for axis in axes) for one in kept}
        chosen = [naming.configuration_of(row, axes) in wanted for row in table[axes].to_dict("records")]
        return table[chosen].reset_index(drop=True)

    return {name: cut(table) for name, table in frames.items()}


def excerpt_note(configurations, runs, told):
    """What a reader of an excerpt must know; "" when the page tells all."""
    if len(told["runs"]) == len(runs):
        return ""
    return (
        f"Told run by run here: {len(naming.all_configurations(told['runs'])):,} of {len(configurations):,} configurations, "
        f"spread evenly over the grid ({len(told['runs']):,} of {len(runs):,} runs). The answer and the figures are of all, and "
        "the files beside this page hold every row."
    )


def environment():
    """Jinja's, strict, with our filters."""
    found = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters |= {
        name: getattr(numbers, name) for name in ("significant", "ratio", "percent", "seconds", "p_value")
    }
    found.filters["glue"] = glue
    found.tests["known"] = numbers.known
    return found


def in_order(runs, folder):
    """The runs in the order they were started, each metrics file as a link from `folder`."""
    links = [os.path.relpath(path, folder).replace(os.sep, "/") for path in runs["metrics"]]
    return runs.assign(metrics_file=runs["metrics"], metrics=links).sort_values(
        ["sequence", "started_at"], kind="stable", ignore_index=True
    )


def without_repeats(answers):
    """The answers without details that all of several share, and these."""
    if len(answers) < 2:
        return answers, []
    shared = [detail for detail in answers[0]["details"] if all(detail in answer["details"] for answer in answers)]
    kept = [
        answer | {"details": [detail for detail in answer["details"] if detail not in shared]} for answer in answers
    ]
    return kept, shared


def with_headlines(answers, overall, devices):
    """The answers, each of a pair with its ratio to be set large; None where there is none.

    `settled`: whether any configuration was called faster or slower. A ratio that could be chance must not stand out.
    """
    if len(devices) < 2:
        return [answer | {"headline": None} for answer in answers]
    table = findings.against_first(overall[overall["subset"] == "all"], devices)
    rows = {row["device"]: row for row in table.to_dict("records")}
    found = []
    for answer, device in zip(answers, devices[1:], strict=True):
        row, headline = rows[device.name], None
        if numbers.known(row["ratio"]):
            headline = {"ratio": numbers.ratio(row["ratio"]), "device": device, "baseline": devices[0]}
            headline["settled"] = bool(row["faster"] + row["slower"])
        found.append(answer | {"headline": headline})
    return found


def _tells(name, frames):
    """Whether a figure tells anything of so few devices and models, prices and meters. That of energy says what is missing."""
    runs, rates, costs = (frames[table] for table in ("runs", "rates", "costs"))
    devices, models = runs["device"].nunique(), runs["model"].nunique()
    told = {
        "ratio": devices > 1,
        "each_device": devices > 1 and not summaries.too_many(naming.all_configurations(runs)),
        "model_size": min(devices, models) > 1,
        "efficiency": rates["mean_watts"].notna().any(),
        "cost": costs[["owned_per_training", "rented_per_training"]].notna().any(axis=None),
        "break_even": frames["break_even"]["rented_per_training"].notna().any(),
    }
    return bool(told.get(name, True))


def figure_cards(svgs, captions, folder):
    """The figures by name: heading, picture, caption paragraphs, and links to the tables and the code behind."""
    cards = {}
    for name, (heading, tables) in FIGURES.items():
        if name not in svgs:
            continue
        code = SCRIPTS / f"plot_{name}.py"
        cards[name] = {
            "name": name,
            "heading": heading,
            "picture": pictures.inline(svgs[name], name, heading),
            "caption": [" ".join(part.split()) for part in captions[name].split("\n\n") if part.strip()],
            "tables": tables,
            "links": {table: _table_link(table, folder) for table in tables},
            "code": f"scripts/{code.name}",
            "code_link": _relative(code, folder),
        }
    return cards


def _table_link(table, folder):
    return (
        _relative(SCRIPTS.parent / "catalog/published.csv", folder) if table == "published" else f"tables/{table}.csv"
    )


def _relative(path, folder):
    return os.path.relpath(path, folder).replace(os.sep, "/")


def published_rows(table):
    """Other people's figures in words."""
    return [
        row
        | {
            "rate": f"{row['images_per_second']:,.6g}" if numbers.known(row["images_per_second"]) else "",
            "work": others.conditions(row),
            "how": "; ".join(str(row[key]) for key in ("software", "conditions") if not pd.isna(row[key])),
            "date": row["published"] if not pd.isna(row["published"]) else "not stated",
        }
        for row in table.to_dict("records")
    ]


def carried(frames):
    """The tables as files inside the page: [{"name", "rows", "link"}], without those too long to send."""
    found = []
    for name in TABLES:
        if name in frames:
            content = as_csv(frames[name].drop(columns="metrics_file", errors="ignore")).encode()
            if len(content) <= MOST_CARRIED_BYTES:
                link = f"data:text/csv;charset=utf-8;base64,{base64.b64encode(content).decode()}"
                found.append({"name": name, "rows": len(frames[name]), "link": link})
    return found


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
        "PyTorch": ("torch", str),
        "JAX": ("jax", str),
        "Keras": ("keras", str),
    }
    return [
        (name, [_values(runs[runs["device"] == device.name], column, form) for device in devices])
        for name, (column, form) in facts.items()
        if column not in FRAMEWORKS or runs[column].notna().any()
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
            further = [(words, column) for column, words in FURTHER_RATIOS.items() if _any_known(rows, column)]
            tables.append(
                {"device": device, "baseline": baseline, "first": number == 0, "rows": rows, "further": further}
            )
            for row in rows:
                row["name"] = naming.label(naming.configuration_of(row), varying) or "the one configuration"
                row["interval"] = numbers.ratio_interval(row["ci_low"], row["ci_high"])
                row["verdict_text"] = wording.VERDICT_WORDS.get(row["verdict"], row["verdict"])
                row["unstable"] = bool(row["unstable"] or False)
                row["busy"] = bool(row["busy"] or False)
                row["reason_text"] = findings.plain_reason(row["reason"], labels)
            tables[-1]["note"] = _shared_reason(rows)
    return tables


def _any_known(rows, column):
    return any(numbers.known(row.get(column)) for row in rows)


def _shared_reason(rows):
    """The reason that stands beside every verdict, taken out of the rows to be said once; "" when they differ."""
    judged = [row for row in rows if numbers.known(row["ratio"])]
    reasons = {row["reason_text"] for row in judged}
    if len(judged) < 2 or len(reasons) > 1:
        return ""
    for row in judged:
        row["reason_text"] = ""
    return reasons.pop()


def best_rows(table, devices):
    """The lane "each at its best", every device against the first: [dict], empty where the lanes are one."""
    if table is None or table.empty:
        return []
    axes = [axis for axis in naming.AXES if axis not in ("precision", "xla")]
    works = naming.all_configurations(table, axes)
    varying = naming.varying_axes(works, axes)
    labels = {device.name: device.label for device in devices}
    order = [device.name for device in devices]
    rows = [row for row in table.to_dict("records") if row["baseline"] == order[0] and row["device"] in labels]
    rows.sort(key=lambda row: (order.index(row["device"]), works.index(naming.configuration_of(row, axes))))
    return [
        row
        | {
            "pair": f"{labels[row['device']]} against {labels[row['baseline']]}",
            "name": naming.label(naming.configuration_of(row, axes), varying, axes) or "the one configuration",
            "settings": [_setting(row, prefix) for prefix in ("", "baseline_")],
            "interval": numbers.ratio_interval(row["ci_low"], row["ci_high"]),
            "verdict_text": wording.VERDICT_WORDS.get(row["verdict"], row["verdict"]),
            "reason_text": findings.plain_reason(row["reason"], labels),
        }
        for row in rows
    ]


def _setting(row, prefix):
    """How a side of a pair computes at its best."""
    values = [(axis, row[f"{prefix}{axis}"]) for axis in ("precision", "xla")]
    return ", ".join(naming.value_text(axis, value) for axis, value in values if numbers.known(value)) or "none"


def parity_rows(table, labels):
    """The parity table in words: [dict], empty where none was needed."""
    rows = [] if table is None else table.to_dict("records")
    for row in rows:
        row["label"] = labels.get(row["device"], row["device"])
        row["precision"] += ", XLA" if row.get("xla") else ""
        row["check"] = row["check"].replace("_", " ").capitalize()
        row["verdict_text"] = wording.PARITY_WORDS[row["verdict"]]
    return rows


def run_rows(runs, devices):
    """Every run for the table: its values and links to its metrics and log."""
    by_name = {device.name: device for device in devices}
    configurations = naming.all_configurations(runs)
    varying = naming.varying_axes(configurations)
    return [
        run
        | {
            "shown": by_name[run["device"]],
            "label": by_name[run["device"]].label,
            "run_name": _run_name(run),
            "name": naming.label(naming.configuration_of(run), varying) or "the one configuration",
            "status_text": cells.status_text(run["status"], run["signal"]),
            "interval": numbers.interval(run["ci_low"], run["ci_high"]) if numbers.known(run["ci_low"]) else "",
            "flags": _flags(run),
            "metrics_link": run["metrics"],
            "log_link": f"{run['metrics'].rpartition('/')[0]}/train.log" if _has_log(run) else None,
        }
        for run in runs.to_dict("records")
    ]


def _flags(run):
    """What must be said beside a run's status, in a word or few."""
    flags = [name for name in ("unstable", "busy") if run[name] or False]
    if numbers.known(run["suspended_seconds"]) and run["suspended_seconds"] > 0:
        flags.append(f"stopped for {run['suspended_seconds']:.0f} s, not counted")
    if run["attempts"] > 1:
        flags.append(f"attempt {run['attempts']}, learning rate {run['learning_rate_used']:g}")
    if run["status"] == "ok" and numbers.known(run["converged"]) and not run["converged"]:
        flags.append("did not converge")
    return flags


def _has_log(run):
    """Whether the run's log came along; that of a run from another machine may have stayed there."""
    return Path(run["metrics_file"]).with_name("train.log").is_file()


def _run_name(run):
    """A run's number, with where it came from when that was another machine."""
    origin = run.get("origin")
    elsewhere = numbers.known(origin) and origin not in ("", "local")
    return f"{run['sequence']}@{str(origin)[:8]}" if elsewhere else str(run["sequence"])


def failure_rows(runs, devices):
    """The runs that did not end well, with the last lines of their logs."""
    rows = [row for row in run_rows(runs, devices) if row["status"] != "ok"][:MOST_FAILURES]
    return [row | {"log_tail": log_tail(row["metrics_file"])} for row in rows]


def log_tail(metrics):
    """Last lines that a failed run wrote, from its metrics file; none where the file cannot be read any more."""
    path = Path(metrics)
    if not path.is_file():
        return []
    failure = json.loads(path.read_text(encoding="utf-8")).get("failure") or {}
    return [printable(line) for line in failure.get("log_tail", [])]


def version_rows(runs):
    """Software and protocol: [(what, values in words)]."""
    names = {"Python": "python", "TensorFlow": "tensorflow", "PyTorch": "torch", "JAX": "jax", "Keras": "keras"}
    names["Protocol version"] = "protocol_version"
    rows = [(name, _values(runs, column)) for name, column in names.items() if runs[column].notna().any()]
    return [*rows, ("Metrics schema version", str(records.SCHEMA_VERSION)), *origin_rows(runs)]


def origin_rows(runs):
    """Where runs come from, if not all from this machine: [("Runs from", "this machine 8, bundle 1a2b… 16")]."""
    counts = runs["origin"].value_counts()
    if set(counts.index) <= {"local"}:
        return []
    bundled = [f"bundle {origin} {counts[origin]}" for origin in sorted(set(counts.index) - {"local"})]
    own = [f"this machine {counts['local']}"] if "local" in counts.index else []
    return [("Runs from", numbers.listing([*own, *bundled]))]


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
        **{
            name: _plain_records(frames[name]) if name in frames else []
            for name in ("best", "parity", "costs", "break_even")
        },
        "runs": _columns_and_rows(runs[[column for column in RUN_COLUMNS if column in runs]]),
        "runs_by_status": {status: int(count) for status, count in runs["status"].value_counts().sort_index().items()},
        "schema_version": records.SCHEMA_VERSION,
        "versions": {
            column: sorted({str(value) for value in runs[column].dropna()})
            for column in ("python", *FRAMEWORKS, "keras", "protocol_version")
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


def _columns_and_rows(table):
    """A long table without its column names in every row."""
    return {"columns": list(table), "rows": [list(row.values()) for row in _plain_records(table)]}


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


def _table_path(name, inputs):
    """The path of a table; its input has another name where a figure has that one."""
    return inputs.get(f"{name}_table") or inputs.get(name)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            # A table that the experiment has no use for is an empty list.
            tables={name: path for name in TABLES if (path := _table_path(name, snakemake.input))},
            svgs={name: snakemake.input[name] for name in FIGURES if snakemake.input.get(name)},
            captions={name: snakemake.input[f"{name}_caption"] for name in FIGURES if snakemake.input.get(name)},
            title=snakemake.params.title,
            devices=snakemake.params.devices,
            settings=snakemake.params.settings,
            template=snakemake.input.template,
            style=snakemake.input.style,
            script=snakemake.input.script,
            published=snakemake.input.published_table,
            output=snakemake.output.page,
            assumptions=snakemake.params.assumptions,
        )
