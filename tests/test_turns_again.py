"""Turns at the next start: what stays finished, what is taken again, and that nothing finished is lost."""

import json
import random

import project
import pytest
import yaml
from test_turns_table import record, slices

from trainoff.workflow import keeping

SETTINGS = {"minutes": 4, "slice_seconds": 1.75, "equivalence": 0.05}
OTHER_CPU = {"name": "cpu-b", "label": "CPU b", "backend": "tensorflow", "accelerator": "cpu", "env": "tensorflow-cpu"}
EXPERIMENT = project.SMALL | {"devices": ["cpu", OTHER_CPU], "turns": SETTINGS}
# What identifies the turns that an experiment wants, as in their records.
WANTED = """
import json


include: "Snakefile"


def priority_of(path):
    taking = rules.take_turns.rule
    return taking.expand_priority(taking.get_wildcards(path), [], 1)


with open("wanted.json", "w") as file:
    wanted = {path: os.path.dirname(path) for path in TURNS}
    json.dump(
        {
            path: {
                "sides": TURNS_OF[folder],
                "identity": identity_of_sides(folder),
                "priority": priority_of(path),
            }
            for path, folder in wanted.items()
        },
        file,
    )
"""


@pytest.fixture
def folder(tmp_path):
    """An experiment of two devices whose turns are all undecided: one session says faster, the other slower."""
    made = project.make(tmp_path / "trainoff", EXPERIMENT)
    (made / "wanted.smk").write_text(WANTED)
    done = project.snakemake(made, "--dry-run", "--snakefile", "wanted.smk")
    assert done.returncode == 0, done.stdout
    generator = random.Random(2)
    for path, wanted in json.loads((made / "wanted.json").read_text()).items():
        run = {key: value for key, value in wanted["sides"]["device"].items() if key not in ("device", "replicate")}
        names = {side: one["device"]["name"] for side, one in wanted["sides"].items()}
        taken = record() | {"run": run, **names, "identity": wanted["identity"], "turns": SETTINGS, "standing": None}
        session = taken["sessions"][0]
        taken["sessions"] = [session | {"pairs": list(slices(ratio, 20, generator))} for ratio in (0.8, 1.3)]
        (made / path).parent.mkdir(parents=True)
        (made / path).write_text(json.dumps(taken))
    return made


def change(folder, **keys):
    (folder / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT | keys))


def test_turns_that_are_taken_again_are_announced_and_kept(folder):
    assert "take_turns" not in project.planned(folder)
    before = {path: path.read_bytes() for path in (folder / "results/turns").rglob("turns.json")}
    change(folder, turns=SETTINGS | {"minutes": 9})
    done = project.snakemake(folder, "--dry-run")
    assert project.jobs_in(done.stdout)["take_turns"] == len(before) == 2
    assert "turns of 2 speed ratios will be taken again: turns.minutes 4 → 9" in done.stdout
    # As Snakemake and the job do when it begins.
    for path, content in before.items():
        path.unlink()
        place = keeping.supersede(path, folder / "results")
        assert (place / "turns.json").read_bytes() == content and list(path.parent.iterdir()) == []


def test_a_record_without_its_settings_is_named_with_what_to_do(folder):
    path = next((folder / "results/turns").rglob("turns.json"))
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "turns"}))
    said = project.snakemake(folder, "--dry-run").stdout
    assert "KeyError" not in said and f"{path.relative_to(folder)}: the record: 'turns' is a required property" in said
    assert "delete the file to take these turns again" in said


def test_turns_stay_finished_when_the_devices_are_listed_in_another_order(folder):
    change(folder, devices=[OTHER_CPU, "cpu"])
    assert "take_turns" not in project.planned(folder)
    change(folder, devices=[OTHER_CPU, "cpu"], turns=SETTINGS | {"minutes": 9})
    assert project.planned(folder)["take_turns"] == 2


def test_turns_are_taken_in_the_order_of_the_experiment_after_its_runs(folder):
    first, second = json.loads((folder / "wanted.json").read_text()).values()
    assert 1 > first["priority"] > second["priority"] > 0
