"""Types of the dicts that pass between packages, for annotations: their keys, types, and which of them may be None.

They are dicts rather than classes because they are JSON: Snakemake hands them to jobs as params, and records are files. What a
key means, its unit and when it is None is said in schemas/ (and so in docs/reference.md); tests/test_shapes.py compares both.
What is computed from them is held in classes: trainoff.analyze.stats.Rate, results.Result, efficiency.Energy.
"""

from pathlib import Path
from typing import Any, NotRequired, TypedDict


class Device(TypedDict):
    """The device of a run, as the training gets it (plan.DEVICE_KEYS)."""

    name: str
    backend: str
    accelerator: str
    index: int
    # None: as many as the process can use.
    threads: int | None


# An entry of `devices:` in an experiment, with its defaults: a Device and label, env, precisions, grid, slurm, prices, chip.
Entry = dict[str, Any]
# An experiment, checked and with its defaults (schemas/config.schema.yaml).
Experiment = dict[str, Any]
# {axis: value} for every axis of trainoff.axes, and the values alone in the order of the axes.
Configuration = dict[str, Any]
Values = tuple[Any, ...]
# What a training gets: a Configuration with device, replicate, seed, architecture and settings (plan.training).
Run = dict[str, Any]
# {name: path} of prepared images and weights, as measure.protocol.train takes them.
Files = dict[str, str]
# A path, for modules in which an import of pathlib would count as a change of the measured code.
Location = str | Path


class Reading(TypedDict):
    """Mean and maximum of one hardware reading over an epoch."""

    mean: float
    maximum: float


class Window(TypedDict):
    """One timed epoch of a run."""

    epoch: int
    images: int
    seconds: float
    warm_up: bool
    loss: float | None
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    energy_joules: float | None
    energy_reason: NotRequired[str | None]
    val_balanced_accuracy: NotRequired[float | None]
    validation_seconds: NotRequired[float]
    suspended_seconds: NotRequired[float]
    started_at: NotRequired[str]
    readings: NotRequired[dict[str, Reading]]


class Record(TypedDict):
    """The metrics JSON of one run. Its parts are described in schemas/metrics.schema.json."""

    schema_version: int
    protocol_version: int
    run: dict[str, Any]
    status: str
    failure: dict[str, Any] | None
    cold_start: dict[str, float | None]
    windows: list[Window]
    throughput: dict[str, Any]
    training: dict[str, Any]
    energy: dict[str, Any] | None
    device: dict[str, Any]
    host: dict[str, Any]
    conditions: dict[str, Any]
    software: dict[str, str | None]
    provenance: dict[str, Any]
    own_script: NotRequired[dict[str, str]]
    model: NotRequired[dict[str, int] | None]
    memory: NotRequired[dict[str, int | None]]
    energy_reason: NotRequired[str | None]
    identity: NotRequired[dict[str, Any]]
