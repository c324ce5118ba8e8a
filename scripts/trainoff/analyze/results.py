"""Results: a configuration on a device, over its replicates."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from trainoff import records
from trainoff.analyze import efficiency, noise, stats
from trainoff.configurations import AXES
from trainoff.shapes import Values


@dataclass
class Result:
    """A configuration on a device, possibly without any run."""

    # Rows of the table of runs, as dicts.
    runs: list[dict[str, Any]] = field(default_factory=list)
    # The runs that count: status ok and at least one counted window.
    used: list[dict[str, Any]] = field(default_factory=list)
    # For each of these the images per second of its counted windows.
    rates: list[list[float]] = field(default_factory=list)
    # The throughput over these runs; None if no run counts.
    rate: stats.Rate | None = None
    energy: efficiency.Energy = efficiency.UNKNOWN

    @property
    def statuses(self) -> dict[str, int]:
        """{status: number of runs}, ok first."""
        counts = {}
        for run in self.runs:
            counts[run["status"]] = counts.get(run["status"], 0) + 1
        return {status: counts[status] for status in sorted(counts, key=lambda name: (name != "ok", name))}

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the images per second, (NaN, NaN) if no run counts."""
        if self.rate is None:
            return math.nan, math.nan
        return stats.interval(self.rate.images_per_second, self.rate.variance, self.rate.degrees)

    def flag(self, name: str) -> bool | None:
        """Whether any run that counts has the flag `name` (unstable or busy), None if that is unknown.

        Swapping disturbs a run like other programs do, so it counts as busy.
        """
        if name == "busy" and any(run["swapped"] is True for run in self.used):
            return True
        return either(run[name] for run in self.used)


Results = dict[tuple[Values, str], Result]


def either(values: Iterable[bool | float | None]) -> bool | None:
    """True if any value is true, None if any is unknown or there are none, otherwise False."""
    values = [None if pd.isna(value) else bool(value) for value in values]
    return True if True in values else None if None in values or not values else False


def gather(runs: pd.DataFrame, windows: pd.DataFrame, drawn: efficiency.Drawn, kinds: dict[str, noise.Kind]) -> Results:
    """{(configuration, device): Result} in the order of the runs. drawn: of efficiency.read. kinds: of noise.kinds."""
    rates = {}
    counted = windows[~windows["warm_up"].astype(bool)]
    for *key, value in counted[[*records.RUN_KEYS, "images_per_second"]].itertuples(index=False, name=None):
        rates.setdefault(tuple(key), []).append(value)
    results = {}
    for run in runs.to_dict("records"):
        result = results.setdefault((tuple(run[name] for name in AXES), run["device"]), Result())
        result.runs.append(run)
        run_rates = rates.get(tuple(run[name] for name in records.RUN_KEYS))
        if run["status"] == "ok" and run_rates:
            result.used.append(run)
            result.rates.append(run_rates)
    of_device = {}
    for (_, device), result in results.items():
        of_device.setdefault(device, []).append(result)
    known = _kinds(of_device, kinds)
    for device, device_results in of_device.items():
        measured = [result for result in device_results if result.rates]
        busy = [result.flag("busy") is True for result in measured]
        together = stats.rates([result.rates for result in measured], known[device], busy)
        for result, rate in zip(measured, together, strict=True):
            result.rate = rate
        for result in device_results:
            result.energy = efficiency.of_runs(result.used, drawn, known[device])
    return results


def _kinds(of_device, kinds):
    """{device: noise.Kind}, each updated by the other devices of its kind. of_device: {device: its Results}."""
    names = {device: _kind_name(results, kinds) for device, results in of_device.items()}
    seen = {}
    for device, results in of_device.items():
        repeated = [result.rates for result in results if len(result.rates) > 1]
        seen[device] = noise.typical([noise.Sample(tuple(map(_log_median, runs)), 0.0) for runs in repeated])
    return {
        device: noise.informed(
            kinds.get(name, noise.UNKNOWN),
            [
                seen[other]
                for other, other_name in names.items()
                if other != device and other_name == name and seen[other]
            ],
        )
        for device, name in names.items()
    }


def _kind_name(results, kinds):
    """The name of the noisiest kind among a device's runs, since a GPU may wait for the processor in some configurations only."""
    runs = [run for result in results for run in result.used or result.runs]
    return max(dict.fromkeys(map(noise.kind_name, runs)), key=lambda name: kinds.get(name, noise.UNKNOWN).spread)


def _log_median(rates):
    return math.log(statistics.median(rates))
