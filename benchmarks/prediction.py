"""The errors of estimates for unseen figures: devices, models and sources are left out of the catalog in turn.

    python benchmarks/prediction.py                prints errors, coverage and baselines (make benchmark-prediction)
    python benchmarks/prediction.py --raw FILE     writes every estimate with its figure, as CSV
    python benchmarks/prediction.py --fit          fits the constants of trainoff.analyze.prediction.Correction again

The law, the correction and the width of the intervals are fitted without what is left out. The constants of the correction were
fitted on the whole catalog, so the errors are somewhat optimistic.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy.optimize import minimize

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from trainoff.analyze import anchors, layer_counts, prediction, published  # noqa: E402

# What is left out together: observations with equal values in these columns.
SCHEMES = {
    "one model on one device": ["device", "model", "img_dim"],
    "one source of a device": ["device", "source"],
    "one device": ["device"],
    "one chip": ["chip"],
    "one model": ["model"],
    "one source": ["source"],
}


def catalog():
    """(observations of the catalog, timings for the law, hardware)."""
    hardware = yaml.safe_load((ROOT / "catalog/hardware.yaml").read_text(encoding="utf-8"))
    counts = layer_counts.read(ROOT / "catalog/counts.csv")
    table, _ = anchors.published(published.read(ROOT / "catalog/published.csv"), hardware, counts)
    return table, prediction.as_observations(pd.read_csv(ROOT / "catalog/timm-training.csv")), hardware


def held_out(table, timings, columns, start=None):
    """The observations with estimate, low and high, each estimated from the observations outside its group.

    start: coefficients of the law from which every fit starts, which is faster.
    """
    groups = prediction.group_labels(table, columns)
    parts = []
    for group in dict.fromkeys(groups):
        unseen = table[groups == group]
        predictor = prediction.Predictor(table[groups != group].reset_index(drop=True), timings, start=start)
        estimates = predictor.estimate(unseen)
        parts.append(
            unseen.assign(
                estimate=[estimate.images_per_second for estimate in estimates],
                low=[estimate.low for estimate in estimates],
                high=[estimate.high for estimate in estimates],
            )
        )
    return pd.concat(parts).sort_index()


def baseline(table, columns, ability):
    """Estimates by a line in log(ability / multiply-adds), fitted on what is not left out. ability: a value per observation."""
    groups = prediction.group_labels(table, columns)
    x, y = np.log(ability / table["multiply_adds"].to_numpy(float)), np.log(table["images_per_second"].to_numpy(float))
    known = np.isfinite(x)
    estimate = np.full(len(table), np.nan)
    for group in np.unique(groups):
        unseen, rest = groups == group, (groups != group) & known
        if rest.sum() > 2:
            slope, level = np.polyfit(x[rest], y[rest], 1)
            estimate[unseen & known] = np.exp(level + slope * x[unseen & known])
    return estimate


def errors(table, estimate):
    """Relative errors, equal for half and double: exp(|log(estimate / figure)|) - 1."""
    off = np.log(np.asarray(estimate, float) / table["images_per_second"].to_numpy(float))
    return np.exp(np.abs(off[np.isfinite(off)])) - 1


def summary(table):
    """Median, 90th percentile and share inside the interval of a table of `held_out`, as text."""
    if table.empty:
        return "        none"
    off = errors(table, table["estimate"])
    inside = ((table["low"] <= table["images_per_second"]) & (table["images_per_second"] <= table["high"])).mean()
    return f"{len(off):5d} {np.median(off):8.1%} {np.quantile(off, 0.9):8.1%} {inside:8.0%}"


def classes(table):
    """[(name, mask)] by class of device, precision and network."""
    light = pd.Series(prediction.is_light(table), table.index)
    cuda, metal = table["device_class"].eq("cuda"), table["device_class"].eq("metal")
    single = table["precision"].eq("float32")
    return [
        ("NVIDIA GPUs", cuda),
        ("  float32", cuda & single),
        ("  mixed precision", cuda & ~single),
        ("  light networks", cuda & light),
        ("  other networks", cuda & ~light),
        ("Macs", metal),
        ("  TensorFlow", metal & table["software"].eq("tensorflow")),
        ("  PyTorch", metal & table["software"].eq("torch")),
    ]


def elsewhere(table):
    """Whether another NVIDIA GPU of the table has trained the same network, so that the estimate goes from GPU to GPU."""
    devices = table.groupby(["device_class", "model", "img_dim"])["device"].transform("nunique")
    return table["device_class"].eq("cuda") & devices.gt(1)


def report(table, timings, hardware):
    """Prints everything; returns {scheme: table of held_out}."""
    print(f"{len(table)} figures of {table['device'].nunique()} devices, {table['model'].nunique()} models\n")
    by_scheme, start = {}, prediction.fit_law(table, timings)
    for name, columns in SCHEMES.items():
        by_scheme[name] = held_out(table, timings, columns, start)
        print(f"Left out: {name}{' ' * (34 - len(name))}n   median      p90   inside")
        for label, mask in classes(by_scheme[name]):
            print(f"  {label:36s}{summary(by_scheme[name][mask])}")
        if name == "one model on one device":
            print(f"  {'NVIDIA GPU to GPU':36s}{summary(by_scheme[name][elsewhere(table)])}")
        print()
    abilities = {
        "FLOPs only": table["tflops"],
        "TDP": table["device"].map(lambda key: hardware[key]["tdp_watts"] or np.nan),
        "price": table["device"].map(lambda key: _price(hardware[key])),
    }
    print("Baselines (NVIDIA GPUs)                       n   median      p90")
    cuda = table["device_class"].eq("cuda").to_numpy()
    for name in ("one model on one device", "one device"):
        for label, ability in abilities.items():
            estimate = baseline(table, SCHEMES[name], ability.to_numpy(float))
            off = errors(table[cuda], estimate[cuda])
            print(f"  {f'{label}, {name}':38s}{len(off):5d} {np.median(off):8.1%} {np.quantile(off, 0.9):8.1%}")
    return by_scheme


def _price(sheet):
    prices = sheet.get("prices")
    return prices["purchase"]["amount"] if isinstance(prices, dict) and "purchase" in prices else np.nan


def fit(table, timings):
    """Prints the most likely constants of the correction, with a weak prior around those in use."""
    coefficients = prediction.fit_law(table, timings)
    missed = -np.log(table["images_per_second"].to_numpy(float)) - prediction.law(
        coefficients, prediction.Terms.of(table)
    )
    names = [field.name for field in dataclasses.fields(prediction.Correction)]
    fixed = {"unknown_device", "last_layer", "far_image"}
    names = [name for name in names if name not in fixed]
    start = np.log([getattr(prediction.Correction(), name) for name in names])

    def unlikely(values):
        scales = dataclasses.replace(prediction.Correction(), **dict(zip(names, np.exp(values), strict=True)))
        matrix = prediction.covariance(table, table, scales) + scales.noise**2 * np.eye(len(table))
        try:
            lower = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            return 1e9
        whitened = np.linalg.solve(lower, missed)
        return 0.5 * whitened @ whitened + np.log(np.diag(lower)).sum() + 0.5 * (((values - start) / 0.7) ** 2).sum()

    optimum = minimize(unlikely, start, method="L-BFGS-B", options={"maxiter": 60})
    for name, value in zip(names, np.exp(optimum.x), strict=True):
        print(f"{name}: {value:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw", help="where to write every estimate with its figure, as CSV")
    parser.add_argument("--fit", action="store_true", help="fit the constants of the correction again")
    options = parser.parse_args()
    table, timings, hardware = catalog()
    if options.fit:
        fit(table, timings)
        return
    by_scheme = report(table, timings, hardware)
    if options.raw:
        columns = ["label", "model", "img_dim", "batch_size", "precision", "software", "source", "images_per_second"]
        parts = [part[[*columns, "estimate", "low", "high"]].assign(left_out=name) for name, part in by_scheme.items()]
        pd.concat(parts).round(1).to_csv(options.raw, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
