"""One entry of the table of axes is enough: paths, schemas, records, tables, labels, the page and trackers follow from it."""

import json
import re

import pandas as pd
import project
import pytest

from trainoff import axes, experiment, records
from trainoff.exchange import tracking
from trainoff.workflow import keeping

LATER = axes.Axis("warmth", "Warmth", {"enum": ["cold", "hot"]}, "str", usual="cold", before="cold")
RUN = {
    "device": "cpu",
    "model": "mobilenetv2",
    "batch_size": 32,
    "img_dim": 96,
    "trainable": False,
    "precision": "float32",
    "xla": False,
    "learning_rate": 0.0005,
    "replicate": 1,
    "seed": 0,
}
PATH = (
    "results/runs/cpu/model~mobilenetv2/batch_size~32/img_dim~96/trainable~false/precision~float32/xla~false/"
    "learning_rate~0.0005/replicate~1/metrics.json"
)


def test_the_published_schema_of_records_names_every_axis():
    run = json.loads(records.SCHEMA_PATH.read_text())["properties"]["run"]
    assert {name: run["properties"][name] for name in axes.names()} == {
        axis.name: axis.recorded or axis.schema for axis in axes.AXES
    }
    assert set(run["required"]) == {"device", "replicate", "seed"} | {
        axis.name for axis in axes.AXES if axis.before is axes.ABSENT
    }


def test_values_fit_their_wildcards():
    for name, word in experiment.wildcards(RUN | {"device": {"name": "cpu"}}).items():
        if name in axes.names():
            assert re.fullmatch(axes.by_name(name).constraint, word)


def test_runs_that_differ_in_one_value_have_different_names():
    """Trackers would write one over the other."""
    other = {"batch_size": 64, "img_dim": 128, "trainable": True, "precision": "mixed_float16", "xla": True}
    other |= {"model": "resnet50", "learning_rate": 0.001, "replicate": 2}
    found = {tracking.name({"run": RUN | {key: value}}) for key, value in other.items()} | {tracking.name({"run": RUN})}
    assert len(found) == len(other) + 1


def test_a_later_axis_leaves_earlier_records_as_they_are(monkeypatch, tmp_path):
    monkeypatch.setattr(axes, "AXES", (*axes.AXES, LATER))
    assert axes.complete(RUN)["warmth"] == "cold"
    assert axes.without_later(RUN | {"warmth": "cold"}) == RUN
    assert axes.default_grid() == {"warmth": ["cold"]}
    now = PATH.replace("/replicate", "/warmth~cold/replicate")
    assert axes.earlier_paths(now) == [PATH]
    assert axes.earlier_paths(now.replace("cold", "hot")) == []
    old, new = tmp_path / PATH, tmp_path / now
    old.parent.mkdir(parents=True)
    old.write_text("a record")
    keeping.move_to_later_path(new)
    assert new.read_text() == "a record" and not old.exists()


ENTRY = """    Axis(
        "warmth", "Warmth", {"enum": ["cold", "hot"]}, "str", text="{} start".format, usual="cold", before="cold"
    ),
)
# In the order in which people"""


@pytest.mark.slow
def test_an_axis_is_one_entry_and_its_use(copy):
    """From train to page and trackers, in a copy whose finished runs stay finished."""
    table, protocol = copy / "scripts/trainoff/axes.py", copy / "scripts/trainoff/measure/protocol.py"
    text = table.read_text()
    assert text.count(")\n# In the order in which people") == 1
    table.write_text(text.replace(")\n# In the order in which people", ENTRY))
    assert project.planned(copy).keys() & {"train", "prepare_images", "prepare_weights"} == set()
    protocol.write_text(
        protocol.read_text().replace('seed = run["seed"]', 'seed = run["seed"] + (run["warmth"] == "hot")')
    )
    tiny = project.TINY | {"grid": project.TINY["grid"] | {"warmth": ["cold", "hot"], "trainable": [False]}}
    tiny |= {"trackers": {"tensorboard": True}}
    (copy / "tiny.yaml").write_text(json.dumps(tiny))
    done = project.snakemake(copy)
    assert done.returncode == 0, done.stdout
    runs = pd.read_csv(copy / "results/tables/runs.csv")
    assert sorted(runs["warmth"]) == ["cold", "hot"]
    assert set(pd.read_csv(copy / "results/tables/comparison.csv").columns) >= {"warmth"}
    assert "Warmth" in (copy / "results/report.html").read_text()
    assert "hot start" in (copy / "results/report.html").read_text()
    assert len(list((copy / "results/trackers/tensorboard").rglob("*tfevents*"))) == 2
