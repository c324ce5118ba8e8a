"""The cost of training on each device, what it takes to reach an accuracy, and the break-even, per configuration."""

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from trainoff import numbers, records
from trainoff.analyze import comparable, cost, tables
from trainoff.analyze.reasons import reason
from trainoff.configurations import AXES
from trainoff.workflow.script import logged

COLUMNS = {key: tables.RUN_COLUMNS[key] for key in AXES} | {
    "device": "str",
    "currency": "str",
    "owned_per_1000_images": "float64",
    "owned_per_1000_images_low": "float64",
    "owned_per_1000_images_high": "float64",
    "rented_per_1000_images": "float64",
    "rented_per_1000_images_low": "float64",
    "rented_per_1000_images_high": "float64",
    "owned_per_epoch": "float64",
    "rented_per_epoch": "float64",
    "owned_per_training": "float64",
    "rented_per_training": "float64",
    "electricity_per_training": "float64",
    "seconds_per_training": "float64",
    "joules_per_training": "float64",
    "seconds_to_accuracy": "float64",
    "joules_to_accuracy": "float64",
    "target_accuracy": "float64",
    "runs": "int64",
    "runs_reached": "int_or_none",
    "grams_co2e_per_1000_images": "float64",
    "grams_co2e_per_training": "float64",
    "energy_scope": "str",
    "energy_source": "str",
    "owned_reason": "str",
    "rented_reason": "str",
}
BREAK_EVEN_COLUMNS = {key: tables.RUN_COLUMNS[key] for key in AXES} | {
    "owned_device": "str",
    "rented_device": "str",
    "currency": "str",
    "trainings_per_month": "int_or_none",
    "owned_per_month": "float64",
    "electricity_per_training": "float64",
    "rented_per_training": "float64",
    "minimum_rent": "float64",
    "owned_seconds_per_training": "float64",
    "rented_seconds_per_training": "float64",
    "reason": "str",
}


def main(
    runs: str | Path,
    windows: str | Path,
    rates: str | Path,
    energy_windows: str | Path,
    comparison: str | Path,
    assumptions: dict[str, Any],
    target: float | None,
    outputs: tables.Outputs,
) -> None:
    """Writes the tables of costs to `outputs`, {"costs" | "break_even": (csv path, parquet path)}.

    runs, windows, rates, energy_windows, comparison: paths of parquet files. assumptions: of trainoff.analyze.cost.assumptions.
    target: validation accuracy to reach, from 0 to 1, or None.
    """
    frames = [pd.read_parquet(path) for path in (runs, windows, rates, energy_windows)]
    cost_table = costs(*frames, assumptions, target)
    tables.write(cost_table, *outputs["costs"])
    apart = comparable.apart(pd.read_parquet(comparison))
    tables.write(break_even(cost_table, assumptions, apart), *outputs["break_even"])


def costs(
    runs: pd.DataFrame,
    windows: pd.DataFrame,
    rates: pd.DataFrame,
    energy_windows: pd.DataFrame,
    assumptions: dict[str, Any],
    target: float | None,
) -> pd.DataFrame:
    """One row per configuration and device of the table of rates; see COLUMNS."""
    trainings = trainings_by_cell(runs, windows, energy_windows, target)
    power = assumptions["electricity"]
    price_per_kwh = power and power["per_kwh"]
    carbon = assumptions["carbon"]
    grams_per_kwh = carbon and carbon["grams_per_kwh"]
    rows = []
    for rate in rates.to_dict("records"):
        facts = assumptions["devices"].get(rate["device"], {"purchase": None, "rental": None})
        cell = trainings.get((*(rate[axis] for axis in AXES), rate["device"]), [])
        training = typical(cell)
        if not numbers.known(rate["energy_scope"]):
            # Joules of an unknown part, such as of runs with different meters, or of runs that all failed after the target.
            training["joules"] = None
        per_image = _per_image(rate, facts, price_per_kwh)
        images = training["images_per_epoch"] or math.nan
        has_speed = numbers.known(rate["images_per_second"])
        rows.append(
            {axis: rate[axis] for axis in AXES}
            | {
                "device": rate["device"],
                "currency": assumptions["currency"],
                **{f"{name}_per_1000_images{end}": 1000 * value for (name, end), value in per_image.items()},
                "owned_per_epoch": images * per_image["owned", ""],
                "rented_per_epoch": images * per_image["rented", ""],
                "owned_per_training": cost.owned(
                    training["seconds"], training["joules"], facts["purchase"], price_per_kwh
                ),
                "rented_per_training": cost.rented(training["seconds"], facts["rental"], whole=True),
                "electricity_per_training": cost.electricity(training["joules"], price_per_kwh),
                "seconds_per_training": training["seconds"],
                "joules_per_training": training["joules"],
                "seconds_to_accuracy": training["seconds"] if target is not None else None,
                "joules_to_accuracy": training["joules"] if target is not None else None,
                "target_accuracy": target,
                "runs": len(cell),
                "runs_reached": sum(run["reached"] for run in cell) if target is not None else None,
                "grams_co2e_per_1000_images": cost.carbon_grams(
                    numbers.known_or_none(1000 * rate["joules_per_image"]), grams_per_kwh
                ),
                "grams_co2e_per_training": cost.carbon_grams(training["joules"], grams_per_kwh),
                "energy_scope": rate["energy_scope"],
                "energy_source": rate["energy_source"],
                "owned_reason": cost.owning_unknown(
                    rate["device"], has_speed, facts["purchase"], price_per_kwh, numbers.known(rate["joules_per_image"])
                ),
                "rented_reason": cost.renting_unknown(rate["device"], has_speed, facts["rental"]),
            }
        )
    return tables.frame(rows, COLUMNS)


def break_even(table: pd.DataFrame, assumptions: dict[str, Any], apart: comparable.Apart) -> pd.DataFrame:
    """One row per configuration and pair of a device that can be owned and one that can be rented.

    table: of `costs`. apart: the pairs that did other work, which have no break-even.
    """
    power = assumptions["electricity"]
    price_per_kwh = power and power["per_kwh"]
    rows = []
    for configuration, group in table.groupby(list(AXES), sort=False):
        cells = group.to_dict("records")
        for owned, rented in itertools.product(cells, cells):
            purchase = assumptions["devices"].get(owned["device"], {}).get("purchase")
            rental = assumptions["devices"].get(rented["device"], {}).get("rental")
            if not purchase or not rental:
                continue
            row = dict(zip(AXES, configuration, strict=True)) | {
                "owned_device": owned["device"],
                "rented_device": rented["device"],
                "currency": assumptions["currency"],
                "owned_seconds_per_training": owned["seconds_per_training"],
                "rented_seconds_per_training": rented["seconds_per_training"],
            }
            seconds = [numbers.known_or_none(cell["seconds_per_training"]) for cell in (owned, rented)]
            joules = numbers.known_or_none(owned["joules_per_training"])
            if other_work := apart.get((configuration, frozenset((owned["device"], rented["device"])))):
                rows.append(row | {"reason": other_work})
                continue
            if None in seconds or joules is None or price_per_kwh is None:
                rows.append(row | {"reason": reason("unknown_part")})
                continue
            trainings, obstacle = cost.break_even(
                {"seconds": seconds[0], "joules": joules, "purchase": purchase},
                {"seconds": seconds[1], "rental": rental},
                price_per_kwh,
            )
            rows.append(
                row
                | {
                    "trainings_per_month": trainings,
                    "owned_per_month": cost.owned_in_month(0, joules, purchase, price_per_kwh),
                    "electricity_per_training": cost.electricity(joules, price_per_kwh),
                    "rented_per_training": cost.rented(seconds[1], rental),
                    "minimum_rent": cost.minimum_rent(rental),
                    "reason": obstacle,
                }
            )
    return tables.frame(rows, BREAK_EVEN_COLUMNS)


def trainings_by_cell(
    runs: pd.DataFrame, windows: pd.DataFrame, energy_windows: pd.DataFrame, target: float | None
) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """{(axes…, device): [one training per run]}, runs that failed included.

    A training is a dict: reached (whether it reached the target or, without one, the end), seconds (cold start and windows;
    infinite if not reached), joules (of the windows; None if one is unknown), images (of a window), epochs.
    """
    joules = {
        (*(row[name] for name in records.RUN_KEYS), row["epoch"]): row["energy_joules"]
        for row in energy_windows.to_dict("records")
    }
    by_run = {}
    for row in windows.to_dict("records"):
        by_run.setdefault(tuple(row[name] for name in records.RUN_KEYS), []).append(row)
    trainings = {}
    for run in runs.to_dict("records"):
        key = tuple(run[name] for name in records.RUN_KEYS)
        rows = sorted(by_run.get(key, []), key=lambda row: row["epoch"])
        drawn = [numbers.known_or_none(joules.get((*key, row["epoch"]), math.nan)) for row in rows]
        trainings.setdefault((*(run[axis] for axis in AXES), run["device"]), []).append(
            training(run, rows, drawn, target)
        )
    return trainings


def training(
    run: dict[str, Any], windows: list[dict[str, Any]], joules: list[float | None], target: float | None
) -> dict[str, Any]:
    """What a run took to its end or to the target accuracy; see `trainings_by_cell`."""
    if target is None:
        end = len(windows) if run["status"] == "ok" else 0
    else:
        end = epochs_to_accuracy([row["val_accuracy"] for row in windows], target)
    # NaN if a part of the cold start is unknown.
    seconds = math.fsum([*(run[part] for part in records.COLD_START), *(row["seconds"] for row in windows[:end])])
    return {
        "reached": bool(end),
        "seconds": seconds if end and numbers.known(seconds) else math.inf,
        "joules": math.fsum(joules[:end]) if end and None not in joules[:end] else None,
        "images": windows[0]["images"] if windows else None,
        "epochs": end,
    }


def epochs_to_accuracy(accuracies: Iterable[float | None], target: float) -> int:
    """Number of epochs until the accuracy reaches the target and stays there to the end of the run; 0 if it never does."""
    end = 0
    for epoch, accuracy in enumerate(accuracies, start=1):
        if not numbers.known(accuracy) or accuracy < target:
            end = 0
        elif not end:
            end = epoch
    return end


def typical(trainings: list[dict[str, Any]]) -> dict[str, float | None]:
    """The median training of a result. A training that did not reach its end counts as infinitely long and is never dropped.

    Returns seconds and joules (None if the median is infinite or unknown) and images_per_epoch.
    """
    seconds = _median([training["seconds"] for training in trainings])
    # The energy of trainings that reached the end; unknown if that of any of them is.
    joules = [training["joules"] for training in trainings if training["reached"]]
    known = seconds is not None and joules and None not in joules
    images = [training["images"] for training in trainings if training["images"]]
    return {
        "seconds": seconds,
        "joules": _median(joules + [math.inf] * (len(trainings) - len(joules))) if known else None,
        "images_per_epoch": images[0] if images else None,
    }


def _per_image(rate, facts, price_per_kwh):
    """{(owned | rented, "" | _low | _high): cost of one image}; NaN where unknown.

    The ends of owning combine the ends of throughput and energy, so the interval is wider than a 95 % interval.
    """
    result = {}
    for end, speed, joules in (
        ("", rate["images_per_second"], rate["joules_per_image"]),
        ("_low", rate["ci_high"], rate["joules_per_image_low"]),
        ("_high", rate["ci_low"], rate["joules_per_image_high"]),
    ):
        seconds = 1 / speed if numbers.known(speed) else None
        owned = cost.owned(seconds, numbers.known_or_none(joules), facts["purchase"], price_per_kwh)
        rented = cost.rented(seconds, facts["rental"])
        result["owned", end] = math.nan if owned is None else owned
        result["rented", end] = math.nan if rented is None else rented
    return result


def _median(values):
    """Median of values that may be infinite; None if there are none, and if the median is infinite."""
    values = sorted(values)
    if not values:
        return None
    half = len(values) // 2
    middle = values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2
    return middle if math.isfinite(middle) else None


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.runs,
            snakemake.input.windows,
            snakemake.input.rates,
            snakemake.input.energy_windows,
            snakemake.input.comparison,
            snakemake.params.assumptions,
            snakemake.params.target,
            tables.files(snakemake.output, "costs", "break_even"),
        )
