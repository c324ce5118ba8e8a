"""Whether a run can be what it says, by orders of magnitude: what nothing known comes near is marked, in tables and on the page.

For records of others, whose epochs nobody can check, and for machines whose clock is broken.
"""

from datetime import datetime

from trainoff.analyze.reasons import reason
from trainoff.shapes import Record

# Pixels trained per second. The fastest known figure is 4e8 (MobileNetV3 small, 224 px, RTX 3090; timm's results, 2022), a
# training of the last layer is about five times as fast, and the fastest chips of today ten times; a processor reaches 5e8.
PIXELS_PER_SECOND = {"cpu": 1e10, "metal": 1e10, "mps": 1e10, "cuda": 1e11}
# Operations per second: an NVIDIA B200 is sold as 2.25e15 in bfloat16, a processor with matrix units as 1e14.
OPERATIONS_PER_SECOND = {"cpu": 1e15, "metal": 1e15, "mps": 1e15, "cuda": 3e16}
# A training computes about three times what one pass forward does; where only the last layer is trained, once.
PASSES = {True: 3, False: 1}
# What a chip or machine draws while it trains.
WATTS = 0.05, 20_000.0
# An H100 of 700 W needs 7e-13 J per operation at its best.
JOULES_PER_OPERATION = 1e-15
# Seconds by which the epochs of a run may exceed it, and the share: clocks of two kinds.
SLACK_SECONDS, SLACK = 5.0, 0.02


def doubt(record: Record, images_per_second: float | None) -> str | None:
    """Why a record cannot be what it says, as a reason; None for one that can. images_per_second: over its counted epochs."""
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
    """Seconds from the start of a run to its end; endless where the record does not say."""
    try:
        start, end = (datetime.fromisoformat(record["provenance"][key]) for key in ("started_at", "finished_at"))
        return (end - start).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return float("inf")
