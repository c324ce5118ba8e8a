"""Whether a device trains the same as the reference: outputs, first losses and final accuracies, compared with tolerances.

METHOD describes the method in words.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from trainoff.analyze.reasons import reason
from trainoff.configurations import AXES
from trainoff.errors import UserError, one_line

COLUMNS = ["device", "reference", "model", "precision", "xla", "check", "measured", "tolerance", "verdict", "reason"]
KINDS = {"measured": "float64", "tolerance": "float64"}
# Precision and xla of the reference.
REFERENCE_SETTING = "float32", False

# Tolerances by the rounding of a device. float32 has 24 significant bits, except that NVIDIA's GPUs multiply it in TF32 by
# default, with 11 bits, as many as float16; bfloat16 has 8.

# Largest difference of a logit, in standard deviations of the reference's logits. Observed for MobileNetV2 with random weights,
# which magnify rounding about a hundred times: 0.00004 in float32 (other CPU kernels), 0.18 in TF32 (emulated by rounding the
# inputs of convolutions), 0.28 in float16 and 0.9 in bfloat16, all at 32 pixels; on an H100 0.13 (PyTorch) and 0.06 (JAX) in TF32
# at 96 pixels. Unrelated outputs differ by 4.
OUTPUTS = {"float32": 0.02, "tf32": 0.6, "mixed_float16": 0.8, "mixed_bfloat16": 2.0}
# Largest difference of a loss, as a share of the reference's first loss, over steps on one batch in which the loss falls
# by four fifths: a device that never updates its weights differs by 0.8. Observed in the same way: 0.008 in float32, 0.024 in
# TF32, 0.028 in float16, 0.10 in bfloat16; 0.016 and 0.011 on the H100.
FIRST_LOSSES = {"float32": 0.05, "tf32": 0.1, "mixed_float16": 0.1, "mixed_bfloat16": 0.3}
# Difference of mean final validation accuracies. Projects derived from the study report losses of 3 and 10 points on a faulty
# device; 2 points are little compared with the effect of another seed.
FINAL_ACCURACY = 0.02
MIN_REPLICATES = 3
LEVEL = 0.05

# Runs are compared with each other if all of these are equal.
SAME_WORK = [*AXES, "protocol_version", "dataset_sha256", "images_sha256", "weights_sha256"]

METHOD = (
    "Each device computes each model from the same weights and images as the reference, in a process of its own. "
    "Outputs: the largest difference of the logits of a validation batch, in standard deviations of the reference's logits. "
    "First losses: the largest difference of the losses of the first training steps, all on the same batch, as a share of the "
    "first loss. The tolerances follow from how a device rounds: in full float32, in TF32, which NVIDIA's GPUs use instead, "
    "or in mixed precision. "
    f"Final accuracy: with {MIN_REPLICATES} runs on both sides it is a mismatch if, on any configuration, the "
    f"interval of the difference (95%, corrected for the number of configurations) lies beyond {FINAL_ACCURACY:.0%} of "
    "the images, and a match if the interval of the mean difference lies within; otherwise it is inconclusive. "
    "A mismatch in any check is a mismatch of the device; matching outputs and first losses are a match, since final accuracy "
    "would need many replicates for that."
)


@dataclass(frozen=True)
class Finding:
    """The result of one check. measured and tolerance are in the same unit; measured is NaN if nothing was measured."""

    verdict: str  # match, mismatch or inconclusive
    reason: str  # of trainoff.analyze.reasons; "" if there is nothing to explain
    measured: float = math.nan
    tolerance: float = math.nan


def read(path: str | Path) -> dict[str, Any]:
    """The record that scripts/probe_device.py wrote to `path`."""
    try:
        record = json.loads(Path(path).read_bytes())
        record["run"]["device"], record["run"]["model"], record["run"]["precision"]
        (
            record["status"],
            record["failure"],
            record["logits"],
            record["losses"],
            record["inputs"],
            record["device"]["accelerator"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a probe's record ({type(error).__name__}: {one_line(error)}). Expected JSON as a probe writes it; "
            "delete the file to probe again."
        ) from error
    return record


def table(probes: list[dict[str, Any]], runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """One row per device, model, precision, value of xla, and check, with the columns COLUMNS.

    probes: records as `read` returns them. runs: the table of runs. reference: name of the device that all others are compared
    with; its own other precisions are compared with its float32.
    """
    known = {tuple(probe["run"][key] for key in ("device", "model", "precision", "xla")): probe for probe in probes}
    rows = []
    for (device, model, precision, xla), probe in known.items():
        if (device, precision, xla) == (reference, *REFERENCE_SETTING):
            continue
        against = known.get((reference, model, *REFERENCE_SETTING))
        findings = {
            "outputs": compare_outputs(probe, against),
            "first_losses": compare_losses(probe, against),
        }
        if device != reference:
            if "mismatch" in {finding.verdict for finding in findings.values()}:
                findings["final_accuracy"] = Finding(
                    "inconclusive", reason("computes_otherwise"), tolerance=FINAL_ACCURACY
                )
            else:
                same_runs = runs[(runs["model"] == model) & (runs["precision"] == precision) & (runs["xla"] == xla)]
                findings["final_accuracy"] = compare_accuracies(
                    accuracies(same_runs[same_runs["device"] == device]),
                    accuracies(same_runs[same_runs["device"] == reference]),
                )
        for check, finding in findings.items():
            rows.append(
                {"device": device, "reference": reference, "model": model, "precision": precision, "xla": xla}
                | {"check": check}
                | {name: getattr(finding, name) for name in ("measured", "tolerance", "verdict", "reason")}
            )
    return pd.DataFrame(rows, columns=COLUMNS).astype(KINDS)


def table_of_machines(machines: dict[str, list[dict[str, Any]]], runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """The table over several machines. machines: {name of a machine's reference: its probes}.

    The devices of each machine are compared with its own reference, and that with `reference`, this machine's, if it was probed.
    """
    tables = []
    for machine_reference, probes in machines.items():
        tables.append(table(probes, runs, machine_reference))
        if machine_reference != reference and machines[reference]:
            reference_probes = [
                probe
                for probe in [*machines[reference], *probes]
                if probe["run"]["device"] in (machine_reference, reference)
                and (probe["run"]["precision"], probe["run"]["xla"]) == REFERENCE_SETTING
            ]
            tables.append(table(reference_probes, runs, reference))
    return pd.concat([frame for frame in tables if len(frame)] or tables[:1], ignore_index=True)


def arithmetic(probe: dict[str, Any]) -> str:
    """The rounding of a probe's device, a key of the tolerances."""
    precision = probe["run"]["precision"]
    return "tf32" if precision == "float32" and probe["device"]["accelerator"] == "cuda" else precision


def compare_outputs(probe: dict[str, Any], reference: dict[str, Any] | None) -> Finding:
    """The Finding on the logits of two probes: the largest difference in standard deviations of the reference's."""
    tolerance = OUTPUTS[arithmetic(probe)]
    return _compare(probe, reference, "logits", tolerance, lambda values: np.std(values))


def compare_losses(probe: dict[str, Any], reference: dict[str, Any] | None) -> Finding:
    """The Finding on the first losses of two probes: the largest difference as a share of the reference's first."""
    tolerance = FIRST_LOSSES[arithmetic(probe)]
    return _compare(probe, reference, "losses", tolerance, lambda values: np.abs(values[0]))


def _compare(probe, reference, what, tolerance, unit):
    obstacle = _obstacle(probe, reference, what)
    if obstacle:
        return Finding("inconclusive", obstacle, tolerance=tolerance)
    expected = np.asarray(reference[what], dtype=float)  # None becomes NaN
    actual = np.asarray(probe[what], dtype=float)
    if not np.isfinite(expected).all():
        return Finding("inconclusive", reason("reference_not_finite"), tolerance=tolerance)
    if actual.shape != expected.shape:
        shapes = {"shape": actual.shape, "expected": expected.shape}
        return Finding("mismatch", reason("other_shape", **shapes), tolerance=tolerance)
    wrong = int(np.sum(~np.isfinite(actual)))
    if wrong:
        return Finding("mismatch", reason("not_finite", values=wrong, total=actual.size), math.inf, tolerance)
    scale = np.maximum(unit(expected), np.finfo("float32").tiny)
    measured = float(np.max(np.abs(actual - expected) / scale))
    if measured > tolerance:
        return Finding("mismatch", reason("beyond_rounding"), measured, tolerance)
    return Finding("match", "", measured, tolerance)


def _obstacle(probe, reference, what):
    """Why two probes cannot be compared, as a reason; "" if they can."""
    if reference is None:
        return reason("reference_not_probed")
    for side, record in (("device", probe), ("reference", reference)):
        if record[what] is None:
            message = one_line((record["failure"] or {}).get("message") or "", 1000)
            return reason("probe_failed", side=side, status=record["status"], message=message)
    if probe["inputs"] != reference["inputs"]:
        return reason("other_inputs")
    return ""


def accuracies(runs: pd.DataFrame) -> dict[tuple[str, ...], np.ndarray]:
    """{values of SAME_WORK: final validation accuracies of the runs that ended well}."""
    finished = runs[runs["status"] == "ok"].dropna(subset="final_val_accuracy")
    groups = finished.groupby(SAME_WORK, dropna=False)["final_val_accuracy"]
    # As texts, since unknown hashes are NaN, which does not even equal itself.
    return {tuple(map(str, key)): values.to_numpy(dtype=float) for key, values in groups}


def compare_accuracies(
    device: dict[tuple[str, ...], np.ndarray], reference: dict[tuple[str, ...], np.ndarray]
) -> Finding:
    """The Finding on final accuracies, each side as `accuracies` returns it; measured is device − reference.

    A faulty device may differ on some configurations only, so a single configuration can show a mismatch. A match takes the mean
    over the configurations, since single configurations rarely have enough replicates for it.
    """

    def inconclusive(why, measured=math.nan):
        return Finding("inconclusive", why, measured, FINAL_ACCURACY)

    shared = device.keys() & reference.keys()
    if not shared:
        return inconclusive(reason("no_common_accuracy"))
    enough = [key for key in sorted(shared) if min(len(device[key]), len(reference[key])) >= MIN_REPLICATES]
    if not enough:
        return inconclusive(reason("too_few_replicates", needed=MIN_REPLICATES))
    differences = [_difference(device[key], reference[key]) for key in enough]
    for mean, variance, degrees in differences:
        spread = _quantile(degrees, LEVEL / len(enough)) * math.sqrt(variance)
        if abs(mean) - spread > FINAL_ACCURACY:
            return Finding(
                "mismatch", reason("other_accuracy", **_points(mean, spread), total=len(enough)), mean, FINAL_ACCURACY
            )
    mean = math.fsum(difference for difference, _, _ in differences) / len(enough)
    parts = [(variance / len(enough) ** 2, degrees) for _, variance, degrees in differences]
    variance = math.fsum(part for part, _ in parts)
    below = math.fsum(part**2 / degrees for part, degrees in parts)
    spread = _quantile(variance**2 / below if below else 1, LEVEL) * math.sqrt(variance)
    if abs(mean) + spread <= FINAL_ACCURACY:
        return Finding("match", "", mean, FINAL_ACCURACY)
    return inconclusive(reason("open_accuracy", **_points(mean, spread)), mean)


def _points(mean, spread):
    """The fields of a reason: a difference and its spread, in percent of the images."""
    return {"points": round(100 * mean, 2), "spread": round(100 * spread, 2)}


def _difference(device, reference):
    """Welch: difference of the means, its variance, its degrees of freedom."""
    parts = [(np.var(side, ddof=1) / len(side), len(side) - 1) for side in (device, reference)]
    variance = math.fsum(part for part, _ in parts)
    below = math.fsum(part**2 / degrees for part, degrees in parts)
    return float(np.mean(device) - np.mean(reference)), variance, variance**2 / below if below else 1


def _quantile(degrees, level):
    return float(special.stdtrit(degrees, 1 - level / 2))


class Standing:
    """The parity of devices according to the parity table; always "not_needed" without a table."""

    def __init__(self, table=None):
        """table: of `table`, None for an experiment with the reference alone."""
        self.table = table
        self.rows = {}
        for row in [] if table is None else table.to_dict("records"):
            self.rows.setdefault((row["device"], row["model"], row["precision"], bool(row["xla"])), []).append(row)
        self.references = set() if table is None else set(table["reference"])

    def of(self, device: str, model: str, precision: str, xla: bool) -> str:
        """match, mismatch, inconclusive or not_needed.

        A mismatch in any check is a mismatch. Matching outputs and first losses are a match; the final accuracy, which needs
        replicates, may be inconclusive.
        """
        if self.table is None:
            return "not_needed"
        verdicts = {row["check"]: row["verdict"] for row in self.rows.get((device, model, precision, bool(xla)), [])}
        # Another machine's reference is compared with this machine's, so it has rows too.
        if not verdicts and device in self.references and (precision, bool(xla)) == REFERENCE_SETTING:
            return "match"
        if "mismatch" in verdicts.values():
            return "mismatch"
        checks = {verdicts.get("outputs"), verdicts.get("first_losses")}
        return "match" if checks == {"match"} else "inconclusive"

    def of_pair(self, devices: Iterable[str], *setting: Any) -> str:
        """The worst verdict among these devices: mismatch, then inconclusive, then match."""
        verdicts = {self.of(device, *setting) for device in devices}
        return next((verdict for verdict in ("mismatch", "inconclusive", "match") if verdict in verdicts), "not_needed")

    def flag(self, device: str, model: str, precision: str, xla: bool) -> str:
        """The reason that is added to every ratio of a device with a mismatch; "" for other devices."""
        if self.of(device, model, precision, xla) != "mismatch":
            return ""
        rows = self.rows[device, model, precision, bool(xla)]
        checks = [row["check"] for row in rows if row["verdict"] == "mismatch"]
        return reason("mismatch", device=device, checks=checks)

    def mismatched(self) -> list[str]:
        """Names of the devices with a mismatch in any model or precision, in the order of the table."""
        return list(dict.fromkeys(key[0] for key in self.rows if self.of(*key) == "mismatch"))

    def inconclusive(self) -> list[str]:
        """Names of the devices that are inconclusive somewhere and have no mismatch, in the order of the table."""
        names = dict.fromkeys(key[0] for key in self.rows if self.of(*key) == "inconclusive")
        return [name for name in names if name not in self.mismatched()]
