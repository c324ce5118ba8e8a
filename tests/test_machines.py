"""Two clones on one machine, as two machines that never meet. `make test-machines`."""

import shutil

import project
import pytest

CPU = {"label": "CPU", "backend": "tensorflow", "accelerator": "cpu", "env": "tensorflow-cpu"}
DEVICES = {
    "one": [{"name": "one-thread", **CPU, "threads": 1}],
    "two": [{"name": "two-threads", **CPU, "threads": 2, "label": "CPU, two threads"}],
}


@pytest.mark.slow
def test_two_clones_that_exchange_bundles_render_the_same_comparison(tmp_path):
    folders = {}
    for name, devices in DEVICES.items():
        folders[name] = project.make(tmp_path / name / "trainoff", project.SMALL | {"devices": devices})
        done = project.snakemake(folders[name], "--", "bundle")
        assert done.returncode == 0, done.stdout
        assert "2 runs (2 ok)" in done.stdout
    for name, other in (("one", "two"), ("two", "one")):
        (folders[name] / "imports").mkdir()
        shutil.copy(folders[other] / "results/bundle.zip", folders[name] / "imports")
        assert "train" not in project.planned(folders[name])
        done = project.snakemake(folders[name])
        assert done.returncode == 0, done.stdout
        page = (folders[name] / "results/report.html").read_text()
        assert "CPU, two threads" in page
        assert project.planned(folders[name]) == {}
    for table in ("comparison.csv", "comparison.parquet", "rates.csv", "overall.csv"):
        one, two = (folder / "results/tables" / table for folder in folders.values())
        assert one.read_bytes() == two.read_bytes(), table
    assert "one-thread" in one.read_text() and "two-threads" in one.read_text()
