"""Plausibility of runs: values far beyond those of any known device are marked, in tables and on the page.

For records of other machines, whose epochs cannot be checked, and for machines with a broken clock.
"""

from datetime import datetime

from trainoff.analyze.reasons import reason
from trainoff.shapes import Record

# Pixels trained per second. The highest known figure is 4e8 (MobileNetV3 small, 224 px, RTX 3090; timm's results, 2022). Training
# the last layer alone is about five times as fast, and today's fastest chips are ten times as fast; a processor reaches 5e8.
PIXELS_PER_SECOND = {"cpu": 1e10, "metal": 1e10, "mps": 1e10, "cuda": 1e11}
# Operations per second: the data sheet of an NVIDIA B200 gives 2.25e15 in bfloat16, that of a processor with matrix units 1e14.
OPERATIONS_PER_SECOND = {"cpu": 1e15, "metal": 1e15, "mps": 1e15, "cuda": 3e16}
# A training step computes about three times as much as a forward pass; training the last layer alone about as much.
PASSES = {True: 3, False: 1}
# Minimum and maximum power of a chip or machine that trains.
WATTS = 0.05, 20_000.0
# An H100 at 700 W needs at least 7e-13 J per operation.
JOULES_PER_OPERATION = 1e-15
# The epochs of a run may exceed its duration by this many seconds plus this share, since the two come from different clocks.
SLACK_SECONDS, SLACK = 5.0, 0.02


def doubt(record: Record, images_per_second: float | None) -> str | None:
    """Why a record is implausible, as a reason; None if it is plausible. images_per_second: over its counted epochs."""
    run, accelerator = record["run"], record["device"]["accelerator"]
    operations = (record.get("model") or {}).get("flops_per_image", 0) * PASSES[run["trainable"]]
    energy = record["energy"] or {}
    if images_per_second is not None:
        if images_per_second * run["img_dim"] ** 2 > PIXELS_PER_SECOND[accelerator]:
            return reason("beyond_speed")
        if images_per_second * operations > OPERATIONS_PER_SECOND[accelerator]:
            return reason("beyond_operations")
    if energy:
        if not WATTS[0] <= energy["mean_watts"] <= WATTS[1]:
            return reason("beyond_power")
        if operations and energy["joules_per_image"] < JOULES_PER_OPERATION * operations:
            return reason("below_energy")
    if _seconds(record) > _elapsed(record) * (1 + SLACK) + SLACK_SECONDS:
        return reason("longer_than_the_run")
    return None


def _seconds(record):
    return sum(window["seconds"] for window in record["windows"])


def _elapsed(record):
    """Seconds from the start of a run to its end; infinite if the record does not tell."""
    try:
        start, end = (datetime.fromisoformat(record["provenance"][key]) for key in ("started_at", "finished_at"))
        return (end - start).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return float("inf")
