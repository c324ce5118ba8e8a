"""Compares devices: throughputs per configuration and device, ratios per configuration and pair of devices, and overall."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from trainoff.analyze import efficiency, noise, overall, parity, stats, tables
from trainoff.analyze import turns as turning
from trainoff.analyze.obstacles import caveats, obstacles, turns_caveats
from trainoff.analyze.reasons import reason
from trainoff.analyze.results import Result, Results, either, gather
from trainoff.configurations import AXES
from trainoff.shapes import Values
from trainoff.workflow.script import logged

RATE_COLUMNS = [
    *AXES,
    "device",
    "images_per_second",
    "ci_low",
    "ci_high",
    "replicates",
    "windows",
    "status_counts",
    "unstable",
    "busy",
    "one_replicate",
    "run_spread",
    "spread_source",
    "parity",
    *efficiency.RATE_COLUMNS,
]
COMPARISON_COLUMNS = [
    *AXES,
    "device",
    "baseline",
    "images_per_second",
    "baseline_images_per_second",
    "ratio",
    "ci_low",
    "ci_high",
    "p_value",
    "p_value_adjusted",
    "p_different",
    "p_different_adjusted",
    "verdict",
    "source",
    "equivalence",
    "decisive_minutes",
    "reason",
    "replicates",
    "baseline_replicates",
    "spread_source",
    "baseline_spread_source",
    "unstable",
    "busy",
    "parity",
    *efficiency.RATIO_COLUMNS,
]
# Axes about how a device computes, which the comparison "each at its best" leaves to the device. The other axes are the work.
SETTING = ["precision", "xla"]
WORK = [axis for axis in AXES if axis not in SETTING]
PARITY_AXES = ["model", *SETTING]
BEST_COLUMNS = [
    *WORK,
    *(f"{side}{axis}" for side in ("", "baseline_") for axis in SETTING),
    *(column for column in COMPARISON_COLUMNS if column not in AXES),
]
# What a row takes over from the table of turns.
FROM_TURNS = [
    "p_value",
    "p_value_adjusted",
    "p_different",
    "p_different_adjusted",
    "equivalence",
    "verdict",
    "decisive_minutes",
]
Row = dict[str, Any]


def main(
    runs: str | Path,
    windows: str | Path,
    devices: list[str],
    outputs: tables.Outputs,
    parity_table: str | Path | None = None,
    energy: Sequence[str | Path] | None = None,
    assumptions: Row | None = None,
    noise_catalog: str | Path | None = None,
    turns: str | Path | None = None,
) -> None:
    """Writes the tables of the runs and windows (paths of parquet files) to `outputs`.

    devices: names in the order of the experiment; of a pair, the first is the baseline. Devices that only appear in the runs
    follow. outputs: {"rates" | "comparison" | "best" | "overall": (csv path, parquet path)}, those that are wanted.
    parity_table: path of the parity table (parquet), None if parity was not needed. energy: paths of the tables energy and
    energy_windows (parquet), None without them. assumptions: of trainoff.analyze.cost.assumptions. noise_catalog: path of
    catalog/noise.yaml. turns: path of the table of turns (parquet), None if no devices took turns.
    """
    turned = pd.read_parquet(turns) if turns else None
    catalog = yaml.safe_load(Path(noise_catalog).read_text(encoding="utf-8")) if noise_catalog else {}
    standing = parity.Standing(pd.read_parquet(parity_table) if parity_table else None)
    drawn = efficiency.read(*(pd.read_parquet(path) for path in energy)) if energy else None
    frames = compare(
        pd.read_parquet(runs),
        pd.read_parquet(windows),
        devices,
        standing,
        drawn,
        assumptions,
        noise.kinds(catalog),
        turned,
    )
    for name, paths in outputs.items():
        tables.write(frames[name], *paths)


def compare(
    runs: pd.DataFrame,
    windows: pd.DataFrame,
    devices: list[str],
    standing: parity.Standing | None = None,
    drawn: efficiency.Drawn | None = None,
    assumptions: Row | None = None,
    kinds: dict[str, noise.Kind] | None = None,
    turned: pd.DataFrame | None = None,
) -> dict[str, pd.DataFrame]:
    """{"rates", "comparison", "best", "overall"}: the tables.

    standing: parity.Standing of the devices. drawn: of efficiency.read. assumptions: of trainoff.analyze.cost.assumptions.
    kinds: of noise.kinds. turned: the table of turns.
    """
    standing = standing or parity.Standing()
    assumptions = assumptions or {"devices": {}, "electricity": None}
    results = gather(runs, windows, drawn or {}, kinds or {})
    configurations = list(dict.fromkeys(configuration for configuration, _ in results))
    known = set(runs["device"])
    devices = [name for name in devices if name in known] + sorted(known - set(devices))
    pairs = list(itertools.combinations(devices, 2))
    by_runs = {
        (configuration, device, baseline): ratio
        for baseline, device in pairs
        for configuration, ratio in _ratios(results, configurations, device, baseline).items()
    }
    by_turns = _turns(turned)
    rows = [
        compare_results(
            [(results.get((configuration, name), Result()), name) for name in (device, baseline)],
            by_runs.get((configuration, device, baseline)),
            assumptions,
            by_turns.get((configuration, device, baseline)),
        )
        | dict(zip(AXES, configuration, strict=True))
        for configuration in configurations
        for baseline, device in pairs
    ]
    judge(rows)
    for row in rows:
        add_parity(row, standing)
    best = compare_best(results, pairs, standing, assumptions)
    return {
        "rates": rate_table(results, configurations, devices, standing),
        "comparison": pd.DataFrame(rows, columns=COMPARISON_COLUMNS),
        "best": pd.DataFrame(best, columns=BEST_COLUMNS),
        "overall": overall.table(rows, pairs, best),
    }


def _ratios(results, configurations, device, baseline):
    """{configuration: stats.Ratio} of two devices, for the configurations with a throughput on both."""
    rates = {
        configuration: [results.get((configuration, name), Result()).rate for name in (device, baseline)]
        for configuration in configurations
    }
    shared = {configuration: sides for configuration, sides in rates.items() if None not in sides}
    ratios = stats.ratios([rate for rate, _ in shared.values()], [rate for _, rate in shared.values()])
    return dict(zip(shared, ratios, strict=True))


def _turns(table):
    """{(configuration, device, baseline): row} of the table of turns."""
    rows = [] if table is None else table.to_dict("records")
    return {(tuple(row[axis] for axis in AXES), row["device"], row["baseline"]): row for row in rows}


def rate_table(
    results: Results, configurations: list[Values], devices: list[str], standing: parity.Standing
) -> pd.DataFrame:
    """One row per configuration and device, measured or not."""
    rows = []
    for configuration, device in itertools.product(configurations, devices):
        result = results.get((configuration, device), Result())
        rate = result.rate
        low, high = result.interval
        axes = dict(zip(AXES, configuration, strict=True))
        rows.append(
            axes
            | {
                "device": device,
                "images_per_second": rate.images_per_second if rate else math.nan,
                "ci_low": low,
                "ci_high": high,
                "replicates": len(rate.runs) if rate else 0,
                "windows": rate.windows if rate else 0,
                "status_counts": ", ".join(f"{status}: {count}" for status, count in result.statuses.items()),
                "unstable": result.flag("unstable"),
                "busy": result.flag("busy"),
                "one_replicate": bool(rate) and len(rate.runs) == 1,
                "run_spread": math.sqrt(rate.run_variance) if rate else math.nan,
                "spread_source": rate.spread_source if rate else None,
                "parity": standing.of(device, *(axes[axis] for axis in PARITY_AXES)),
                **efficiency.rate_columns(result.energy),
            }
        )
    return pd.DataFrame(rows, columns=RATE_COLUMNS)


def compare_results(
    sides: list[tuple[Result, str]], ratio: stats.Ratio | None, assumptions: Row, turns: Row | None = None
) -> Row:
    """The row of a configuration and pair without the configuration's keys, with its stats.Ratio as "found".

    "found_energy" is the Ratio of the energy. sides: (Result, name) of the device and of the baseline. ratio: of their runs, None
    if one has none. turns: the row of the table of turns for this pair; if it has a ratio, that and its verdict are used, since
    drift affects both devices alike.

    `judge` adds verdicts and corrected p-values of runs, which depend on all rows.
    """
    rates = [side.rate for side, _ in sides]
    hindrances = obstacles(sides)
    by_turns = turns is not None and not pd.isna(turns["ratio"])
    valid_ratio = turning.as_ratio(turns) if by_turns else None if hindrances else ratio
    low, high = valid_ratio.interval if valid_ratio else (math.nan, math.nan)
    economy = (
        _economy(sides, valid_ratio, assumptions)
        if valid_ratio and not hindrances
        else _no_economy("; ".join(hindrances))
    )
    remarks = hindrances or ([] if by_turns else caveats(sides))
    return {
        "device": sides[0][1],
        "baseline": sides[1][1],
        "images_per_second": rates[0].images_per_second if rates[0] else math.nan,
        "baseline_images_per_second": rates[1].images_per_second if rates[1] else math.nan,
        "ratio": valid_ratio.ratio if valid_ratio else math.nan,
        "ci_low": low,
        "ci_high": high,
        "p_value": valid_ratio.p_value if valid_ratio else math.nan,
        "p_value_adjusted": math.nan,
        "p_different": valid_ratio.p_different() if valid_ratio else math.nan,
        "p_different_adjusted": math.nan,
        "verdict": "not_comparable",
        "source": "turns" if by_turns else "runs" if valid_ratio else None,
        "equivalence": stats.EQUIVALENCE if valid_ratio else math.nan,
        "decisive_minutes": math.nan,
        "reason": "; ".join([*remarks, *(turns_caveats(turns) if turns else [])]),
        "replicates": len(rates[0].runs) if rates[0] else 0,
        "baseline_replicates": len(rates[1].runs) if rates[1] else 0,
        "spread_source": rates[0].spread_source if rates[0] else None,
        "baseline_spread_source": rates[1].spread_source if rates[1] else None,
        # Turns do not use the runs, so it does not matter whether these were unstable.
        "unstable": None if by_turns else either(side.flag("unstable") for side, _ in sides),
        "busy": either([turns["busy"]] if by_turns else (side.flag("busy") for side, _ in sides)),
        "found": valid_ratio,
        **economy,
        **({column: turns[column] for column in FROM_TURNS} if by_turns else {}),
    }


def _economy(sides, speed, assumptions):
    """The columns of energy and cost of two comparable results, with "found_energy"."""
    names = [name for _, name in sides]
    ratio, obstacle = efficiency.energy_ratio(*(side.energy for side, _ in sides), names)
    low, high = ratio.interval if ratio else (math.nan, math.nan)
    return {
        "energy_ratio": ratio.ratio if ratio else math.nan,
        "energy_low": low,
        "energy_high": high,
        "energy_reason": obstacle or "",
        **efficiency.cost_columns([(side.rate, side.energy) for side, _ in sides], names, assumptions, speed),
        "found_energy": ratio,
    }


def _no_economy(reasons):
    texts = {"energy_reason": reasons, "cost_reason": reasons}
    return dict.fromkeys(efficiency.RATIO_COLUMNS, math.nan) | texts | {"found_energy": None}


def judge(rows: list[Row]) -> None:
    """Fills in the corrected p-values and verdicts of all rows that compare runs, corrected together."""
    comparable = [row for row in rows if row["found"] and row["source"] == "runs"]
    judged = stats.judge([row["found"] for row in comparable])
    for row, (adjusted, different, verdict) in zip(comparable, judged, strict=True):
        row |= {"p_value_adjusted": adjusted, "p_different_adjusted": different, "verdict": verdict}


def add_parity(row: Row, standing: parity.Standing) -> None:
    """Adds to a row whether both devices train the same. A device with a mismatch keeps its speed, and the row a reason."""
    devices = row["device"], row["baseline"]
    setting = [row[axis] for axis in PARITY_AXES]
    row["parity"] = standing.of_pair(devices, *setting)
    flags = [standing.flag(device, *setting) for device in devices]
    row["reason"] = "; ".join(filter(None, [row["reason"], *flags]))


def compare_best(
    results: Results, pairs: list[tuple[str, str]], standing: parity.Standing, assumptions: Row
) -> list[Row]:
    """Rows of the comparison "each at its best": every device in the fastest setting in which it trains the same.

    One row per configuration of the work and pair, with the setting of each side; none if no device was measured in more than
    one setting, since the rows would equal those of the other comparison. The fastest setting is chosen by the same windows that
    are compared, which favors it slightly.
    """
    settings = {}
    for (configuration, device), result in results.items():
        axes = dict(zip(AXES, configuration, strict=True))
        settings.setdefault((tuple(axes[axis] for axis in WORK), device), []).append((axes, result))
    if all(len(candidates) == 1 for candidates in settings.values()):
        return []
    rows = []
    for work, (baseline, device) in itertools.product(dict.fromkeys(work for work, _ in settings), pairs):
        names = (device, baseline)
        candidates = [settings.get((work, name), []) for name in names]
        sides = [_best(each, name, standing) for each, name in zip(candidates, names, strict=True)]
        named_results = [(result, name) for (_, result), name in zip(sides, names, strict=True)]
        rates = [result.rate for result, _ in named_results]
        row = compare_results(named_results, None if None in rates else stats.ratio(*rates), assumptions)
        for prefix, (axes, _) in zip(("", "baseline_"), sides, strict=True):
            row |= {f"{prefix}{axis}": axes.get(axis) for axis in SETTING}
        if not row["found"]:
            row["parity"] = "inconclusive"
            unmatched = [
                reason("no_match", device=name)
                for (axes, _), each, name in zip(sides, candidates, names, strict=True)
                if not axes and any(result.rate for _, result in each)
            ]
            row["reason"] = "; ".join(unmatched) or row["reason"]
        else:
            row["parity"] = "not_needed" if standing.table is None else "match"
        rows.append(row | dict(zip(WORK, work, strict=True)))
    judge(rows)
    return rows


def _best(candidates, device, standing):
    """(axes, Result) of the fastest candidate in which the device trains the same; ({}, a Result without a rate) without any."""
    passed = [
        (axes, result)
        for axes, result in candidates
        if result.rate and standing.of(device, *(axes[axis] for axis in PARITY_AXES)) in ("match", "not_needed")
    ]
    failed = next((result for _, result in candidates if not result.rate), Result())
    return max(passed, key=lambda candidate: candidate[1].rate.images_per_second, default=({}, failed))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            snakemake.input.runs,
            snakemake.input.windows,
            snakemake.params.devices,
            tables.files(snakemake.output, "rates", "comparison", "best", "overall"),
            snakemake.input.parity or None,
            [snakemake.input.energy, snakemake.input.energy_windows],
            snakemake.params.assumptions,
            snakemake.input.noise,
            snakemake.input.turns or None,
        )
