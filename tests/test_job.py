"""What a script that starts measured processes is told, and what it finds of an earlier start of its job."""

import json
import resource
import subprocess
import sys

import pytest
from project import ROOT

import train
from trainoff.supervise import slurm
from trainoff.supervise.job import Job

# As a script's own block, with what Snakemake would give it.
SCRIPT = """
import sys
from types import SimpleNamespace
from trainoff.supervise.job import of_rule

folder = sys.argv[1]
snakemake = SimpleNamespace(
    log=[f"{folder}/log"],
    input={"image_facts": f"{folder}/images/facts.json", "weight_facts": f"{folder}/weights/facts.json"},
    resources=type("Resources", (dict,), {"timeout_minutes": 3})(start=2),
)
with of_rule(snakemake, f"{folder}/record.json", before=lambda: open(f"{folder}/log").read()) as job:
    print("what the script prints")
    job.say("what a person reads")
    job.write({"start": job.start, "minutes": job.timeout_minutes, "files": job.files, **job.with_classes(job.facts)})
    job.say_failure("timed_out", " ".join(job.earlier_log))
"""


def test_a_script_is_told_what_its_rule_says(tmp_path):
    for room, facts in (("images", {"class_names": ["a", "b"]}), ("weights", {"weights": "random"})):
        (tmp_path / room).mkdir()
        (tmp_path / room / "facts.json").write_text(json.dumps(facts))
    (tmp_path / "log").write_text("of the start before\n")
    command = [sys.executable, "-c", SCRIPT, tmp_path]
    done = subprocess.run(command, cwd=ROOT / "scripts", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "what a person reads\ntimed out: of the start before\n"
    assert (tmp_path / "log").read_text() == "what the script prints\n"
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["start"], record["minutes"], record["classes"], record["weights"]) == (2, 3, 2, "random")
    assert record["files"]["train_images"] == str(tmp_path / "images/train_images.npy")
    assert record["files"]["weights"] == str(tmp_path / "weights/weights.npz")


def test_a_job_that_slurm_ended_is_found_with_what_it_had_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    event = {"event": "imported", "seconds": 2.5}
    slurm.begin(tmp_path).write_text(json.dumps(event) + "\n")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setattr(slurm, "state_of", lambda job: "TIMEOUT")
    job = Job(tmp_path / "record.json", tmp_path / "log", 3, print, start=2, earlier_log=["its last words"])
    outcome = job.ended()
    assert outcome.status == "timed_out" and outcome.journal.events == [event]
    assert outcome.failure["log_tail"] == ["its last words"]
    assert job.ended() is None, "a deleted record must be trained again"


def test_a_full_disk_does_not_make_the_count_of_runs_begin_anew(tmp_path):
    path = tmp_path / "runs/.sequence"
    assert [train._next_in_sequence(path) for _ in range(11)] == list(range(1, 12))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError):
            train._next_in_sequence(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert train._next_in_sequence(path) == 12
