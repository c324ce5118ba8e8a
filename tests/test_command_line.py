"""Values that `--config` sets on the command line."""

import shutil
import subprocess

import project
import pytest
import yaml

from trainoff import axes
from trainoff.workflow import command_line

SCHEMA = axes.into_experiment_schema(yaml.safe_load((project.ROOT / "schemas/config.schema.yaml").read_text()))
TURNS = {"minutes": 1, "slice_seconds": 1, "equivalence": 0.05}


@pytest.mark.parametrize(
    "key, text, value",
    [
        ("turns", "off", False),
        ("turns", "No", False),
        ("deterministic", "yes", True),
        ("deterministic", "maybe", "maybe"),
        ("title", "off", "off"),
        ("titel", "off", "off"),
    ],
)
def test_words_for_booleans_are_booleans_where_the_schema_allows_one(key, text, value):
    assert command_line.with_booleans({key: text}, [key], SCHEMA) == {key: value}
    assert command_line.with_booleans({key: text}, [], SCHEMA) == {key: text}, "only what --config sets"


def test_turns_are_left_out_on_the_command_line(tmp_path):
    folder = project.make(tmp_path / "copy", project.SMALL | {"devices": ["cpu", "cpu-torch"], "turns": TURNS})
    assert "take_turns" not in project.planned(folder, "--config", "turns=off")


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("words", ["a b", "a,b", "a, b", " a  b ", "a, b,"])
def test_make_takes_lists_with_spaces_and_with_commas(words):
    command = ["make", "--dry-run", "--file", project.ROOT / "Makefile"]
    for arguments, expected in (
        (["report", f"DEVICES={words}"], "--config 'devices=[a,b]'"),
        (["retry", f"STATUSES={words}"], "--config  'retry=[a,b]'"),
    ):
        done = subprocess.run([*command, *arguments], cwd=project.ROOT, capture_output=True, text=True)
        assert expected in done.stdout, done.stdout + done.stderr
