"""A few kills and one full disk; `make drills` tries many (tests/drills.py)."""

import subprocess

import pytest
import storm


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = storm.make(tmp_path_factory.mktemp("storm") / "undisturbed")
    sweep = storm.Sweep(folder)
    assert sweep.process.wait(600) == 0, sweep.said()
    return folder


def test_a_sweep_that_is_killed_again_and_again_loses_nothing(undisturbed, tmp_path):
    folder = storm.make(tmp_path / "killed")
    storm.storm(folder, seed=16, kills=4, longest_seconds=4)
    assert storm.learned(folder) == storm.learned(undisturbed)


def test_a_full_disk_stops_a_sweep_and_fails_no_run(undisturbed, tmp_path):
    folder = storm.make(tmp_path / "starved")
    try:
        _, learned = storm.starve(folder, seed=2, place="results")
    except subprocess.CalledProcessError:
        pytest.skip("this needs the right to mount a tmpfs")
    assert learned == storm.learned(undisturbed)
