"""Tables of estimates: every configuration on every device of `predict:`, and what a training takes on each device."""

import collections
import itertools
from typing import Any

import pandas as pd

from trainoff import numbers
from trainoff.analyze import anchors, cost, layer_counts, tables
from trainoff.analyze.comparable import Apart
from trainoff.analyze.prediction import Predictor
from trainoff.configurations import AXES, all_configurations

# Number of anchors that an estimate names.
NAMED = 3
# A training for which the experiment does not give images and epochs: ten epochs of CIFAR-10.
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
    # Largest over smallest of the published figures under the same conditions on this device, if sources contradict each other.
    "contradiction": "float64",
    "memory_gb": "float64",
    "memory_gb_least": "float64",
    "device_memory_gb": "float64",
    # The number of anchors on this device; the rest of the estimate comes from other devices.
    "anchors": "int64",
    # The anchors that weigh most: "published:row" (row of catalog/published.csv from 0) or "measured:device", joined by ";".
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
    # Whether the cost of owning includes electricity; False if the energy was not measured.
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
    counts: layer_counts.Counts,
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
        device_anchors = known.anchors.get(key, [])
        row |= {"anchors": len(device_anchors), "device_memory_gb": sheet["memory_gb"]}
        row |= {"newest": max((anchor["date"] for anchor in device_anchors), default=None)}
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
        for row, query, estimated in zip(pending, queries, predictor.estimate(pd.DataFrame(queries)), strict=True):
            row |= {"images_per_second": estimated.images_per_second}
            row |= _widened(estimated, known.quoted(query)) | {
                "nearest": _nearest(estimated, known.anchors[row["device"]])
            }
    return tables.frame(rows, COLUMNS)


class Known:
    """The observations for lookup. anchors: {device: [row]}, each a dict with its position in the table under "row"."""

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
        """Whether there is a measurement of exactly what the query asks for."""
        return (query["batch_size"], *self._conditions(query)) in self._measured

    def quoted(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Published observations under the query's conditions and near its batch size, so that a sweep over batch sizes does not
        count as a contradiction.
        """
        batch = query["batch_size"]
        return [row for row in self._quoted[self._conditions(query)] if batch / 2 <= row["batch_size"] <= batch * 2]


def _backend(runs):
    """The framework whose speed is estimated: TensorFlow if the experiment uses it, otherwise its first."""
    known = [backend for backend in runs["backend"].dropna() if backend]
    return "tensorflow" if "tensorflow" in known or not known else known[0]


def _query(row, sheet):
    """The columns of an observation that follow from a configuration and a device."""
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
    minimum, usual = (
        layer_counts.memory_gb(work, row["batch_size"], row["precision"], row["trainable"]) if work else (None, None)
    )
    return {"memory_gb": usual, "memory_gb_least": minimum}


def _standing(row, is_measured, work, task):
    """status and reason of a row: whether it can be estimated. task: of anchors.observation, None without one."""
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


def _widened(estimated, quoted):
    """The interval of an Estimate, widened to cover published figures that contradict each other under the same conditions.

    Such figures differ in something that the sources do not state. quoted: the published observations under these conditions.
    """
    if len({row["source"] for row in quoted}) < 2:
        return {"low": estimated.low, "high": estimated.high, "contradiction": None}
    speeds = [row["images_per_second"] for row in quoted]
    return {
        "low": min(estimated.low, *speeds),
        "high": max(estimated.high, *speeds),
        "contradiction": max(speeds) / min(speeds),
    }


def _nearest(estimated, anchors_of_device):
    """The ids of the device's anchors that weigh most."""
    weighing = [anchor for anchor in anchors_of_device if anchor["row"] in estimated.weights]
    ranked = sorted(weighing or anchors_of_device, key=lambda anchor: -abs(estimated.weights.get(anchor["row"], 0)))
    return ";".join(dict.fromkeys(anchor["id"] for anchor in ranked[:NAMED]))


def training_runs(
    table: pd.DataFrame,
    rates: pd.DataFrame,
    labels: dict[str, str],
    prices: dict[str, dict[str, Any] | None],
    assumptions: dict[str, Any],
    training: dict[str, int],
    apart: Apart,
) -> pd.DataFrame:
    """The table TRAINING_COLUMNS: what a training takes without start-up and validation, measured devices first.

    table: of `estimate`. labels: {device: label} of the measured devices. prices: {device: {purchase, rental}} of all devices, in
    the currency of `assumptions` (trainoff.analyze.cost). training: {images, epochs}. apart: the pairs that did other work, which
    have no break-even.
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
    for configuration, others in together.items():
        for row in others:
            alike = [
                other for other in others if (configuration, frozenset((row["device"], other["device"]))) not in apart
            ]
            row |= {"currency": assumptions["currency"]} | _break_even(row, alike, prices)
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
    """From how many such trainings a month owning this device is cheaper than the cheapest rented one, or a reason why never."""
    purchase = (prices.get(row["device"]) or {}).get("purchase")
    rented = [other for other in others if other["rented"] is not None and other["device"] != row["device"]]
    if not purchase or not rented or row["seconds"] is None:
        return {"cheapest_rented": None, "break_even_per_month": None, "break_even_reason": "no_price"}
    cheapest = min(rented, key=lambda other: other["rented"])
    fixed, room = purchase["amount"] / (12 * purchase["lifetime_years"]), cost.most_trainings(row["seconds"])
    running = row["owned"] - row["seconds"] * cost.owning_per_second(purchase)
    result = {"cheapest_rented": cheapest["label"], "break_even_per_month": None, "break_even_reason": None}
    rental = prices[cheapest["device"]]["rental"]
    trainings = cost.pays_off(fixed, running, cost.rented(cheapest["seconds"], rental), cost.minimum_rent(rental))
    if trainings is None:
        return result | {"break_even_reason": "rent_below_electricity"}
    if trainings > room:
        return result | {"break_even_reason": "no_room"}
    return result | {"break_even_per_month": trainings}
