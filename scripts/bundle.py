"""Packs the finished runs of an experiment into one small zip, for a machine that shares no disk with this one."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from trainoff import bounds, records, series
from trainoff.analyze import parity
from trainoff.errors import UserError, one_line
from trainoff.exchange import bundles
from trainoff.privacy import private, without_folders
from trainoff.shapes import Entry, Experiment, Record
from trainoff.supervise import supervise
from trainoff.workflow import validity
from trainoff.workflow.script import logged

LOG_LINES = 40
# Keys of the experiment that no run depends on and that reveal something about this site: its folders, accounts, meters and
# prices. Devices are listed separately.
PRIVATE_KEYS = ("pathvars", "imports", "devices", "trackers", "container", "energy", "money", "retry")
# Keys of a device's entry that a bundle contains; the rest is private to this site: software, prices, SLURM requests.
ENTRY_KEYS = ("name", "label", "backend", "accelerator")


def main(
    metrics: Iterable[str | Path],
    probes: Sequence[str | Path],
    experiment: Experiment,
    devices: list[Entry],
    reference: str | None,
    origin_file: str | Path,
    output: str | Path,
    say: Callable[[str], None],
    ready: Callable[[int, Path, Record], None] = lambda place, path, record: None,
) -> None:
    """Writes the bundle of the records at the paths `metrics` and `probes` to `output`.

    experiment: the merged configuration. devices: entries of the experiment. reference: name of the device that was
    probed as reference, None without probes. origin_file: holds the ID of this folder. say: prints a line. ready: from
    validity.requirement, rejects a record that is not the run that the experiment wants.
    """
    files, chips, statuses, readings = {}, {}, {}, {}
    for place, path in enumerate(map(Path, metrics)):
        record = records.read(path)
        ready(place, path, record)
        record.pop("settings", None)
        record = private(record)
        name = bundles.run_folder(record["run"])
        files[f"{name}/metrics.json"] = bundles.encoded(record)
        log = private("\n".join(supervise.tail(path.with_name("train.log"), LOG_LINES)), free_text=True)
        files[f"{name}/train.log"] = f"{log}\n".encode()
        if text := _series(path):
            readings[f"{name}/{series.BUNDLED}"] = text.encode()
        device, chip = record["run"]["device"], record["device"]["name"]
        if chip is not None and chips.setdefault(device, chip) != chip:
            raise UserError(
                f"{path}: ran on {one_line(chip, 60)}, but other runs of {device} on {one_line(chips[device], 60)}. Expected "
                "one chip per device; give each chip its own device, and train these runs again."
            )
        statuses[record["status"]] = statuses.get(record["status"], 0) + 1
    size = sum(map(len, readings.values()))
    count = len(files) + len(readings) + len(probes)
    if readings and (size > bounds.BUNDLE_SERIES_BYTES or count >= bounds.BUNDLE_FILES):
        say("The hardware readings are too large for a bundle and stay here; each record holds their mean values.")
        readings = {}
    files |= readings
    for path in probes:
        record = private(parity.read(path))
        files[bundles.probe_name(record["run"])] = bundles.encoded(record)
    bundles.write(
        output,
        {
            "origin": bundles.origin_of(origin_file),
            "title": one_line(experiment["title"], 200),
            "experiment": private(
                without_folders({key: value for key, value in experiment.items() if key not in PRIVATE_KEYS})
            ),
            "devices": [
                {key: device[key] for key in ENTRY_KEYS} | {"chip": private(chips.get(device["name"]))}
                for device in devices
            ],
            "reference": reference,
        },
        files,
    )
    outcome = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    size = Path(output).stat().st_size
    say(
        f"{output}: {sum(statuses.values())} runs ({outcome}) of {', '.join(device['name'] for device in devices)} in "
        f"{size / 1024:,.0f} KB. Copy it into the folder imports/ of trainoff on the other machine, and start trainoff there."
    )


def _series(metrics):
    """The readings beside a record, None where there are none or the file holds anything else, which must stay here."""
    text = series.text_of(metrics)
    try:
        return text if text and series.parsed(text, metrics) else None
    except UserError:
        return None


if __name__ == "__main__":
    with logged(snakemake.log[0]) as terminal:
        main(
            metrics=snakemake.input.metrics,
            probes=snakemake.input.probes,
            experiment=snakemake.params.experiment,
            devices=snakemake.params.devices,
            reference=snakemake.params.reference,
            origin_file=snakemake.params.origin_file,
            output=snakemake.output.bundle,
            say=lambda words: terminal.write(f"{words}\n"),
            ready=validity.requirement(snakemake.params.wanted),
        )
