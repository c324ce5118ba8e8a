"""Tables of estimates: every configuration on every device of `predict:`, and what one training takes on all devices."""

import collections
import itertools
from typing import Any

import pandas as pd

from trainoff import numbers
from trainoff.analyze import anchors, cost, networks, tables
from trainoff.analyze.prediction import Predictor
from trainoff.configurations import AXES, all_configurations

# Of the devices that share little with a query there are always many; so many anchors are named.
NAMED = 3
# How many images and epochs a training has where the experiment does not say: ten epochs of CIFAR-10.
USUAL_TRAINING = {"images": 50_000, "epochs": 10}
AXIS_COLUMNS = {axis: tables.RUN_COLUMNS[axis] for axis in AXES}
COLUMNS = AXIS_COLUMNS | {
    "device": "str",
    "label": "str",
    "device_class": "str",
    "backend": "str",
    # estimated, refused, too_large (for the device's memory), or measured (then the table of rates has it)
    "status": "str",
    "reason": "str",
    "images_per_second": "float64",
    "low": "float64",
    "high": "float64",
    # Largest over smallest of published figures of the same conditions on this device, where sources contradict each other.
    "contradiction": "float64",
    "memory_gb": "float64",
    "memory_gb_least": "float64",
    "device_memory_gb": "float64",
    # Of this very device; the rest of the estimate comes from others.
    "anchors": "int64",
    # Those that weigh most: "published:row" of catalog/published.csv from 0, or "measured:device", with ";" between.
    "nearest": "str",
    "newest": "str",
}
TRAINING_COLUMNS = AXIS_COLUMNS | {
    "kind": "str",
    "device": "str",
    "label": "str",
    "images": "int64",
    "epochs": "int64",
    "images_per_second": "float64",
    "seconds": "float64",
    "seconds_low": "float64",
    "seconds_high": "float64",
    "currency": "str",
    "rented": "float64",
    "rented_low": "float64",
    "rented_high": "float64",
    "owned": "float64",
    "owned_low": "float64",
    "owned_high": "float64",
    # Whether the cost of owning holds the electricity; False where the energy is not measured.
    "with_electricity": "bool_or_none",
    "cheapest_rented": "str",
    "break_even_per_month": "int_or_none",
    "break_even_reason": "str",
}


def estimate(
    rates: pd.DataFrame,
    runs: pd.DataFrame,
    wanted: list[str],
    hardware: dict[str, dict[str, Any]],
    counts: networks.Counts,
    published: pd.DataFrame,
    timings: pd.DataFrame,
) -> pd.DataFrame:
    """The table COLUMNS. rates, runs, published: tables; timings: of prediction.as_observations; wanted: keys of hardware."""
    if not wanted or runs.empty:
        return tables.frame([], COLUMNS)
    quoted, _ = anchors.published(published, hardware, counts)
    backend = _backend(runs)
    measured = anchors.measured(rates, runs, hardware, counts, backend)
    observed = pd.concat([table for table in (quoted, measured) if len(table)], ignore_index=True)
    known = Known(observed)
    rows, queries, pending = [], [], []
    for configuration, key in itertools.product(all_configurations(runs), wanted):
        values, sheet = dict(zip(AXES, configuration, strict=True)), hardware[key]
        work = counts.work(values["model"], values["img_dim"])
        row = values | {"device": key, "label": sheet["label"], "device_class": sheet["class"], "backend": backend}
        own = known.anchors.get(key, [])
        row |= {"anchors": len(own), "device_memory_gb": sheet["memory_gb"]}
        row |= {"newest": max((anchor["date"] for anchor in own), default=None)}
        query = _query(row, sheet)
        task = work and anchors.observation(query, sheet, sheet["class"], work)
        row |= _memory(row, work)
        row |= _standing(row, known.is_measured(query), work, task)
        rows.append(row)
        if row["status"] == "estimated":
            queries.append(task)
            pending.append(row)
    if queries:
        predictor = Predictor(observed, timings)
        for row, query, found in zip(pending, queries, predictor.estimate(pd.DataFrame(queries)), strict=True):
            row |= {"images_per_second": found.images_per_second}
            row |= _widened(found, known.quoted(query)) | {"nearest": _nearest(found, known.anchors[row["device"]])}
    return tables.frame(rows, COLUMNS)


class Known:
    """The observations, by what they are asked for. anchors: {device: [row]}, each a dict with its place `row` in the table."""

    CONDITIONS = ("device", "model", "img_dim", "precision", "trainable", "software")

    def __init__(self, observed):
        self.anchors, self._quoted, self._measured = {}, collections.defaultdict(list), set()
        for place, anchor in zip(observed.index, observed.to_dict("records"), strict=True):
            self.anchors.setdefault(anchor["device"], []).append(anchor | {"row": place})
            if anchor["kind"] == "quoted":
                self._quoted[self._conditions(anchor)].append(anchor)
            if anchor["kind"] == "measured":
                self._measured.add((anchor["batch_size"], *self._conditions(anchor)))

    def _conditions(self, row):
        return tuple(row[column] for column in self.CONDITIONS)

    def is_measured(self, query: dict[str, Any]) -> bool:
        """Whether there is a measurement of just what a query asks for."""
        return (query["batch_size"], *self._conditions(query)) in self._measured

    def quoted(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Published observations of a query's conditions at about its batch, so that a sweep over batches is no contradiction."""
        batch = query["batch_size"]
        return [row for row in self._quoted[self._conditions(query)] if batch / 2 <= row["batch_size"] <= batch * 2]


def _backend(runs):
    """The framework whose speed is estimated: TensorFlow where the experiment uses it, otherwise its first."""
    known = [backend for backend in runs["backend"].dropna() if backend]
    return "tensorflow" if "tensorflow" in known or not known else known[0]


def _query(row, sheet):
    """The columns of an observation that a configuration and a device give."""
    return {
        "id": "",
        "kind": "wanted",
        "device": row["device"],
        "label": sheet["label"],
        "chip": sheet["chip"],
        **{axis: row[axis] for axis in ("model", "img_dim", "batch_size", "trainable", "precision")},
        "software": anchors.software_of_run(row["backend"], row["xla"]),
        "source": "measured",
        "date": "",
        "images_per_second": float("nan"),
    }


def _memory(row, work):
    least, usual = (
        networks.memory_gb(work, row["batch_size"], row["precision"], row["trainable"]) if work else (None, None)
    )
    return {"memory_gb": usual, "memory_gb_least": least}


def _standing(row, is_measured, work, task):
    """status and reason of a row: whether it can be estimated. task: of anchors.observation, None where it has none."""
    if is_measured:
        return {"status": "measured", "reason": None}
    if work is None:
        return {"status": "refused", "reason": "not_counted"}
    if task is None:
        return {"status": "refused", "reason": "precision"}
    if not row["anchors"]:
        return {"status": "refused", "reason": "no_anchor"}
    if row["memory_gb_least"] > row["device_memory_gb"]:
        return {"status": "too_large", "reason": "memory"}
    return {"status": "estimated", "reason": None}


def _widened(found, quoted):
    """The interval of an Estimate, widened so far that it holds published figures of its conditions that contradict each other.

    Those differ in what sources do not state. quoted: the published observations of its conditions.
    """
    if len({row["source"] for row in quoted}) < 2:
        return {"low": found.low, "high": found.high, "contradiction": None}
    speeds = [row["images_per_second"] for row in quoted]
    return {
        "low": min(found.low, *speeds),
        "high": max(found.high, *speeds),
        "contradiction": max(speeds) / min(speeds),
    }


def _nearest(found, anchors_of_device):
    """The anchors of the device that weigh most, as ids."""
    weighing = [anchor for anchor in anchors_of_device if anchor["row"] in found.weights]
    ranked = sorted(weighing or anchors_of_device, key=lambda anchor: -abs(found.weights.get(anchor["row"], 0)))
    return ";".join(dict.fromkeys(anchor["id"] for anchor in ranked[:NAMED]))


def training_runs(
    table: pd.DataFrame,
    rates: pd.DataFrame,
    labels: dict[str, str],
    prices: dict[str, dict[str, Any] | None],
    assumptions: dict[str, Any],
    training: dict[str, int],
) -> pd.DataFrame:
    """The table TRAINING_COLUMNS: what one training takes, measured devices first.

    table: of `estimate`. labels: {device: label} of the measured ones. prices: {device: {purchase, rental}} of all, in the
    currency of `assumptions` (trainoff.analyze.cost). training: {images, epochs}. Without start-up and validation.
    """
    power = assumptions["electricity"]
    rows = []
    for rate in rates.to_dict("records"):
        if numbers.known(rate["images_per_second"]):
            speeds = [rate["images_per_second"], rate["ci_low"], rate["ci_high"]]
            joules = numbers.known_or_none(rate["joules_per_image"])
            rows.append(_training(rate, "measured", labels, speeds, joules, prices, power, training))
    for row in table[table["status"] == "estimated"].to_dict("records"):
        speeds = [row["images_per_second"], row["low"], row["high"]]
        rows.append(_training(row, "estimated", {row["device"]: row["label"]}, speeds, None, prices, power, training))
    together = collections.defaultdict(list)
    for row in rows:
        together[tuple(row[axis] for axis in AXES)].append(row)
    for others in together.values():
        for row in others:
            row |= {"currency": assumptions["currency"]} | _break_even(row, others, prices)
    return tables.frame(rows, TRAINING_COLUMNS)


def _training(row, kind, labels, speeds, joules, prices, power, training):
    images = training["images"] * training["epochs"]
    middle, slow, fast = [images / speed if numbers.known(speed) else None for speed in speeds]
    facts = prices.get(row["device"]) or {"purchase": None, "rental": None}
    per_kwh = power and power["per_kwh"]
    electricity = cost.electricity(joules and joules * images, per_kwh)
    values = {axis: row[axis] for axis in AXES} | {"kind": kind, "device": row["device"]}
    values |= {"label": labels.get(row["device"], row["device"]), "images_per_second": speeds[0], **training}
    values |= {"seconds": middle, "seconds_low": fast, "seconds_high": slow}
    for end, seconds in (("", middle), ("_low", fast), ("_high", slow)):
        values[f"rented{end}"] = cost.rented(seconds, facts["rental"], whole=True)
        share = seconds and facts["purchase"] and seconds * cost.owning_per_second(facts["purchase"])
        values[f"owned{end}"] = share + (electricity or 0) if share else None
    values["with_electricity"] = electricity is not None if facts["purchase"] else None
    return values


def _break_even(row, others, prices):
    """From how many such trainings a month owning this device is cheaper than the cheapest rented one; None with a reason."""
    purchase = (prices.get(row["device"]) or {}).get("purchase")
    rented = [other for other in others if other["rented"] is not None and other["device"] != row["device"]]
    if not purchase or not rented or row["seconds"] is None:
        return {"cheapest_rented": None, "break_even_per_month": None, "break_even_reason": "no_price"}
    cheapest = min(rented, key=lambda other: other["rented"])
    fixed, room = purchase["amount"] / (12 * purchase["lifetime_years"]), cost.most_trainings(row["seconds"])
    running = row["owned"] - row["seconds"] * cost.owning_per_second(purchase)
    found = {"cheapest_rented": cheapest["label"], "break_even_per_month": None, "break_even_reason": None}
    if cheapest["rented"] <= running:
        return found | {"break_even_reason": "rent_below_electricity"}
    trainings = int(-(-fixed // (cheapest["rented"] - running)))
    if trainings > room:
        return found | {"break_even_reason": "no_room"}
    return found | {"break_even_per_month": max(trainings, 1)}
