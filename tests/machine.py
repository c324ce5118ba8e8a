"""A made-up machine: a folder of results of some devices, which exchanges bundles with others."""

import hashlib
import json
import shutil
import zipfile

import pandas as pd
import synthetic

import aggregate_runs
import bundle
import compare_devices
from trainoff.exchange import bundles, merging

EXPERIMENT = {
    "title": "An experiment",
    "dataset": {"name": "cifar10", "archive": "/home/alice/data/cifar.tar.gz"},
    "weights": "/Users/alice/weights.h5",
    "training": {"dropout": 0.4, "learning_rate_decay": None},
    "protocol": {"epochs": 4, "images_per_epoch": 640, "warm_up_epochs": 1, "timeout_minutes": 60},
    "pathvars": {"results": "results"},
    "imports": ["imports"],
}
TABLES = ("runs", "windows", "rates", "comparison", "best", "overall")


def entry(name, label=None):
    accelerator = "cpu" if name in ("cpu", "laptop") else "cuda"
    return {"name": name, "label": label or name.upper(), "backend": "tensorflow", "accelerator": accelerator}


class Machine:
    """A project folder with made-up runs of some devices."""

    def __init__(self, folder, devices, experiment=EXPERIMENT, **records):
        self.folder = folder
        self.devices = [entry(name) for name in devices]
        self.experiment = experiment
        self.records = synthetic.records(self.devices, **{"grid": synthetic.SMALL_GRID, "replicates": 3} | records)
        self.metrics = synthetic.write(folder, self.records)

    def bundle(self, name="bundle.zip"):
        said = []
        path = self.folder / name
        bundle.main(self.metrics, [], self.experiment, self.devices, None, self.folder / ".origin", path, said.append)
        assert str(path) in said[0]
        return path

    def survey(self, *places):
        reference = self.devices[0] if self.devices else entry("cpu")
        return merging.survey([str(place) for place in places], self.devices, reference, self.folder / ".origin")

    def tables(self, *places):
        """{name: bytes of the csv} of all tables with the bundles at `places` beside the own runs, and the runs' frame."""
        survey = self.survey(*places)
        imported = self.folder / "imported" if survey.paths else None
        if imported:
            shutil.rmtree(imported, ignore_errors=True)
            merging.unpack(survey.paths, survey.names, imported)
        files = {name: (self.folder / f"{name}.csv", self.folder / f"{name}.parquet") for name in TABLES}
        aggregate_runs.main(
            self.metrics,
            *files["runs"],
            *files["windows"],
            imported,
            self.folder / ".origin",
            lambda place, path, record: record.update(settings=merging.settings_text(EXPERIMENT)),
        )
        outputs = {name: files[name] for name in TABLES[2:]}
        compare_devices.main(
            files["runs"][1], files["windows"][1], [device["name"] for device in survey.devices], outputs
        )
        return {name: csv.read_bytes() for name, (csv, _) in files.items()}, pd.read_parquet(files["runs"][1])


def rewritten(path, change=None, manifest=None, extra=()):
    """The bundle at `path` with members changed by `change(name, bytes)`, hashes made to fit, and other members added.

    manifest: changes bundle.json before it gets its hash. extra: (name or ZipInfo, bytes) pairs.
    """
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != bundles.MANIFEST}
        content = json.loads(archive.read(bundles.MANIFEST))
    files = {name: change(name, data) if change else data for name, data in files.items()}
    content["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
    }
    content = manifest(content) if manifest else content
    content["id"] = bundles.id_of(content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {bundles.MANIFEST: bundles._canonical(content), **files}.items():
            archive.writestr(name, data)
        for name, data in extra:
            archive.writestr(name, data)
    return path
