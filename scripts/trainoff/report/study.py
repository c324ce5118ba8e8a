"""A measured experiment as its page and its picture show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from trainoff.analyze import efficiency
from trainoff.analyze import published as others


@dataclass(frozen=True)
class Study:
    """The results of an experiment, and what must be known of it to show them."""

    # Tables by name, as the workflow writes them.
    frames: dict[str, pd.DataFrame]
    title: str
    # Dicts with name, label and accelerator, in the order of the experiment.
    devices: list[dict]
    # What costs rest on, of trainoff.analyze.cost.assumptions.
    assumptions: dict
    # {"compare": name of a device or None, "baseline": the same}: the two that the first screen is about, where it is asked for.
    pair: dict
    # Keys of the experiment.
    settings: dict = field(default_factory=dict)
    # Other people's figures, of trainoff.analyze.published; None where none are shown.
    published: pd.DataFrame | None = None
    # The experiment's file as `make report CONFIG=` takes it; None for the default experiment.
    config_file: str | None = None


def read(
    tables: Mapping[str, str | Path | list[str] | None], published: str | Path | None = None, **fields: Any
) -> Study:
    """The Study of the tables at these paths (Parquet). published: path of the catalog's figures. fields: its other fields."""
    frames = {name: pd.read_parquet(path) for name, path in tables.items() if path}
    if "energy" in frames:
        # What wall meters and declared powers say of a run is in a table of its own.
        frames["runs"] = efficiency.with_energy(frames["runs"], frames["energy"])
    return Study(frames, published=published and others.read(published), **fields)
