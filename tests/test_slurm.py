"""On a real SLURM of one node: the sweep, a controller that is killed, and jobs that SLURM ends. `make test-slurm`."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import project
import pytest

from trainoff import records
from trainoff.supervise import slurm

HERE = Path(__file__).parent
CPU = {"label": "CPU", "backend": "tensorflow", "accelerator": "cpu", "env": "tensorflow-cpu"}
SWEEP = project.SMALL | {
    "devices": [{"name": "node", **CPU, "slurm": {"partition": "main", "memory_mb": 4000, "minutes": 20}}],
    "protocol": project.SMALL["protocol"] | {"epochs": 8},
}
ENDLESS = SWEEP | {
    "grid": project.SMALL["grid"] | {"trainable": [False]},
    "protocol": project.SMALL["protocol"] | {"epochs": 100_000},
    "devices": [
        {"name": "little-time", **CPU, "slurm": {"memory_mb": 4000, "minutes": 1}},
        {"name": "little-memory", **CPU, "slurm": {"memory_mb": 900, "minutes": 20}},
    ],
}


@pytest.fixture(scope="module")
def cluster():
    """The environment in which SLURM's programs find a one-node cluster."""
    folder = tempfile.mkdtemp(prefix="slurm-", dir="/tmp")  # short, as the path of a socket must be
    started = subprocess.run([HERE / "slurm_node.sh", "start", folder], capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    environment = project.environment() | {"SLURM_CONF": f"{folder}/slurm.conf", "USER": "root"}
    yield environment | {"PATH": f"{folder}/bin{os.pathsep}{environment['PATH']}"}
    subprocess.run([HERE / "slurm_node.sh", "stop", folder], check=True)
    shutil.rmtree(folder, ignore_errors=True)


def command(*arguments):
    return [
        *(sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", "--configfile", "tiny.yaml"),
        *("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5", *arguments),
    ]


def sweep(folder, environment, *arguments):
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def runs(folder):
    """{place of a run below the results: its status}"""
    found = (folder / "results/runs").rglob("metrics.json")
    return {str(path.relative_to(folder)): records.read(path)["status"] for path in found}


def queue(environment):
    return subprocess.run(
        ["squeue", "--noheader", "--format=%i %T"], env=environment, capture_output=True, text=True
    ).stdout


@pytest.mark.slow
def test_jobs_that_slurm_never_takes_end_the_start_with_its_own_words(cluster, tmp_path):
    device = {"name": "node", **CPU, "slurm": {"partition": "no-such", "minutes": 20}}
    folder = project.make(tmp_path / "trainoff", SWEEP | {"devices": [device]})
    done = sweep(folder, cluster)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert (
        "SLURM refuses the jobs of the device node: sbatch: error: invalid partition specified: no-such" in done.stdout
    )
    assert not runs(folder) and not queue(cluster)


def test_a_device_asks_for_itself_and_for_what_its_entry_says():
    asked = slurm.request({"name": "cpu"}, 70)
    assert asked["slurm_extra"] == "--exclusive" and asked["runtime"] == 70 and asked["cpus_per_task"] == -1
    assert asked["gres"] is None and asked["mem_mb"] == 0
    asked = slurm.request(
        {"slurm": {"gres": "gpu:1", "memory_mb": 9000, "minutes": 5, "exclusive": False, "cpus": 4}}, 70
    )
    assert [asked[key] for key in ("gres", "mem_mb", "runtime", "slurm_extra", "cpus_per_task")] == [
        "gpu:1",
        9000,
        5,
        None,
        4,
    ]


@pytest.mark.parametrize(
    "state, attempt, status",
    [
        ("TIMEOUT", 1, "timed_out"),
        ("OUT_OF_MEMORY", 2, "out_of_memory"),
        ("NODE_FAIL", 2, None),
        ("CANCELLED", 1, None),
        (None, 2, None),
        ("COMPLETED", 3, None),
        ("FAILED", 3, "crashed"),
        (None, 3, "crashed"),
    ],
)
def test_what_became_of_an_earlier_job_decides(tmp_path, monkeypatch, state, attempt, status):
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    journal = slurm.begin(tmp_path)
    assert journal.parent == tmp_path and slurm.ended(tmp_path, attempt) is None, "its own job"
    slurm.begin(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setattr(slurm, "state_of", lambda job: state if job == "41" else "ASKED FOR ANOTHER")
    found = slurm.ended(tmp_path, attempt)
    assert (found and found[0]) == status
    assert slurm.ended(tmp_path, attempt) is None, "a deleted record must be trained again"


def test_outside_of_slurm_nothing_is_noted(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert slurm.begin(tmp_path) is None and slurm.ended(tmp_path, 1) is None
    monkeypatch.setenv("SLURM_JOB_ID", "43")
    monkeypatch.setenv(slurm.SWEEP, "")
    slurm.name_sweep()
    assert slurm.begin(tmp_path) is None, "the time limit of a sweep in one job is not that of its runs"
    assert list(tmp_path.iterdir()) == []


def test_states_are_read_from_accounting_or_the_controller(monkeypatch, tmp_path):
    answers = {"sacct": "", "scontrol": "JobId=7 JobName=x JobState=OUT_OF_MEMORY Reason=OutOfMemory"}
    monkeypatch.setattr(slurm, "_output", lambda command: answers[command[0]])
    assert slurm.state_of("7") == "OUT_OF_MEMORY"
    answers["sacct"] = "CANCELLED by 0\n"
    assert slurm.state_of("7") == "CANCELLED"
    answers |= {"sacct": "", "scontrol": ""}
    assert slurm.state_of("7") is None
    # Without control groups the job just fails, and its log tells why.
    log = tmp_path / slurm.LOGS / "rule_train/x/7.log"
    log.parent.mkdir(parents=True)
    log.write_text("slurmstepd-node: error: StepId=7.0 exceeded memory limit (2 > 1), being killed\nout of luck\n")
    monkeypatch.chdir(tmp_path)
    assert slurm.state_of("7") == "OUT_OF_MEMORY" and slurm.state_of("8") is None
    answers["sacct"] = "TIMEOUT"
    assert slurm.state_of("7") == "TIMEOUT"


def test_only_jobs_of_this_folder_are_cancelled(tmp_path, monkeypatch):
    called = []
    listing = (
        f"1|{tmp_path}|rule_train_wildcards_x\n2|/elsewhere|rule_train\n3|{tmp_path}|my own\n4|{tmp_path}|rule_probe\n"
    )
    monkeypatch.setattr(slurm, "_output", lambda command: called.append(command) or listing)
    assert slurm.cancel_abandoned(tmp_path) == 2
    assert called[-1] == ["scancel", "1", "4"]
    listing = ""
    assert slurm.cancel_abandoned(tmp_path) == 0


@pytest.mark.slow
def test_the_sweep_on_slurm_yields_the_runs_of_the_local_executor(cluster, tmp_path):
    """The controller is killed on the way: what was finished stays, what was running is cancelled and done again."""
    folder = project.make(tmp_path / "slurm", SWEEP)
    controller = subprocess.Popen(command(), cwd=folder, env=cluster, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    markers = folder / ".snakemake/incomplete"
    while len(runs(folder)) < 1 or len(list(markers.glob("*"))) > 1:
        assert controller.poll() is None and time.monotonic() < deadline
        time.sleep(0.5)
    finished = {path: (folder / path).read_bytes() for path in runs(folder)}
    assert len(finished) == 1 and "RUNNING" in queue(cluster)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()

    done = sweep(folder, cluster)
    assert done.returncode == 0, done.stdout
    assert all((folder / path).read_bytes() == content for path, content in finished.items())
    assert queue(cluster) == ""

    local = project.make(tmp_path / "local", SWEEP)
    done = project.snakemake(local)
    assert done.returncode == 0, done.stdout
    assert runs(folder) == runs(local) and set(runs(local).values()) == {"ok"}
    assert (folder / "results/report.html").exists()
    # Each was a job of its own, and nothing else was one.
    assert len({path.read_text() for path in (folder / "results/runs").rglob(slurm.NOTE)}) == 2
    assert not list((local / "results/runs").rglob(slurm.NOTE))
    assert "Nothing to be done" in sweep(folder, cluster).stdout


@pytest.mark.slow
def test_what_slurm_ends_for_time_or_memory_is_a_status(cluster, tmp_path):
    folder = project.make(tmp_path / "slurm", ENDLESS)
    done = sweep(folder, cluster, "results/tables/runs.csv")
    assert done.returncode == 0, done.stdout
    found = {
        record["run"]["device"]: record for record in map(records.read, (folder / "results/runs").rglob("metrics.json"))
    }
    assert {name: record["status"] for name, record in found.items()} == {
        "little-time": "timed_out",
        "little-memory": "out_of_memory",
    }
    assert found["little-time"]["windows"], "what was measured before the end was lost"
    assert "time limit" in found["little-time"]["failure"]["message"]
    assert "SLURM" in found["little-memory"]["failure"]["message"]
