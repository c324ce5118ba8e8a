"""SLURM: the resources of a device's job, the end of a job that did not report back, and abandoned jobs.

A training that SLURM itself ends (time, memory) cannot write its record. It therefore leaves notes beside it; the job that
Snakemake starts in its place reads them, asks SLURM how the first one ended, and writes the record without training.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from trainoff.errors import one_line
from trainoff.shapes import Entry
from trainoff.supervise import supervise

# Beside a run's metrics while it runs as a SLURM job: the job's number, and the training's reports so far.
NOTE = ".slurm-job"
JOURNAL = ".journal.jsonl"
# Environment variable with the number of the job in which the whole sweep runs; empty for a sweep outside of SLURM.
SWEEP = "TRAINOFF_SWEEP_JOB"
# A job is started three times at most (`retries` in profiles/slurm).
ATTEMPTS = 3
# Folder of the jobs' logs below the project folder.
LOGS = ".snakemake/slurm_logs"
# Permanent refusals; a node that is down today is not one.
FOR_GOOD = re.compile(
    r"[^\n]*(invalid (partition|account|generic resource|gres|feature|qos)|node configuration is not available)[^\n]*",
    re.IGNORECASE,
)
# SLURM writes this to a job's log before it kills the job.
KILLED_FOR_MEMORY = re.compile(r"slurmstepd.*(exceeded.* memory limit|oom.kill)", re.IGNORECASE)
# States in which the same job would end again.
OUTCOMES = {
    "TIMEOUT": (
        "timed_out",
        "SLURM ended the job at its time limit (slurm.minutes of the device, or the partition's).",
    ),
    "DEADLINE": ("timed_out", "SLURM ended the job at its deadline."),
    "OUT_OF_MEMORY": (
        "out_of_memory",
        "SLURM ended the job because it used more memory than it had requested (slurm.memory_mb of the device).",
    ),
}


def request(device: Entry, minutes: int) -> dict[str, Any]:
    """{Snakemake resource: value} that a job on `device` requests from SLURM; None where it requests nothing.

    device: an entry with or without `slurm`. minutes: the time limit where the entry names none.
    """
    wanted = device.get("slurm") or {}
    return {
        "slurm_partition": wanted.get("partition"),
        "slurm_account": wanted.get("account"),
        "gres": wanted.get("gres"),
        "constraint": wanted.get("constraint"),
        # 0: the plugin requests none.
        "mem_mb": wanted.get("memory_mb", 0),
        "runtime": wanted.get("minutes", minutes),
        # Below zero: nothing is requested, and an exclusive node gives all its processors.
        "cpus_per_task": wanted.get("cpus", -1),
        "slurm_extra": None if wanted.get("exclusive") is False else "--exclusive",
    }


def refusal(device: str, wanted: dict[str, Any]) -> str | None:
    """One sentence where SLURM always refuses such jobs; None where it accepts them or cannot be asked.

    device: name of the device; wanted: from `request`. Nothing is submitted.
    """
    options = {
        "--partition": wanted["slurm_partition"],
        "--account": wanted["slurm_account"],
        "--gres": wanted["gres"],
        "--constraint": wanted["constraint"],
        "--mem": wanted["mem_mb"] or None,
        "--time": wanted["runtime"],
    }
    command = ["sbatch", "--test-only", *(f"{name}={value}" for name, value in options.items() if value is not None)]
    try:
        done = subprocess.run(
            [*command, "--wrap=true"], capture_output=True, text=True, timeout=60, env=os.environ | {"LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0 or not (words := FOR_GOOD.search(done.stderr)):
        return None
    asked = ", ".join(f"{name[2:]} {value}" for name, value in options.items() if value is not None)
    return (
        f"SLURM refuses the jobs of the device {device}: {one_line(words[0])}. They ask for {asked}. Correct `slurm` in the "
        "device's entry; `sinfo` and `sacctmgr show associations` list what there is."
    )


def name_sweep() -> None:
    """Called by the start of a sweep, so that its jobs know whether a SLURM job is theirs alone."""
    os.environ[SWEEP] = os.environ.get("SLURM_JOB_ID", "")


def begin(folder: str | Path) -> Path | None:
    """Notes in a run's folder that this SLURM job trains it; returns the path of the journal.

    None outside of SLURM, and in a job that runs the whole sweep: how such a job ends says nothing about a single run.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job in (None, os.environ.get(SWEEP)):
        return None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JOURNAL).unlink(missing_ok=True)
    (folder / NOTE).write_text(f"{job}\n", encoding="ascii")
    return folder / JOURNAL


def ended(folder: str | Path, attempt: int) -> tuple[str, str] | None:
    """(status, message) of a run that an earlier SLURM job began and SLURM ended for good; None for a run still to be done.

    attempt: which start of this run it is, from 1. A job that was canceled, or whose node failed, is repeated; at the last
    attempt its end is the result. Deletes the note.
    """
    note = Path(folder, NOTE)
    try:
        job = note.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    note.unlink(missing_ok=True)
    if not job.isdigit() or job == os.environ.get("SLURM_JOB_ID"):
        return None
    state = state_of(job)
    if state in OUTCOMES:
        return OUTCOMES[state]
    if attempt >= ATTEMPTS and state != "COMPLETED":
        words = f"as {state}" if state else "and SLURM no longer knows how"
        return "crashed", f"SLURM job {job} ended {words} before the run was recorded, like the jobs before it."
    return None


def state_of(job: str) -> str | None:
    """The state of a SLURM job, such as "TIMEOUT"; None where neither accounting nor the controller knows it."""
    for command, pattern in (
        (["sacct", "--jobs", job, "--allocations", "--noheader", "--parsable2", "--format=State"], r"\s*([A-Z_]+)"),
        (["scontrol", "--oneliner", "show", "job", job], r".*\bJobState=([A-Z_]+)"),
    ):
        match = re.match(pattern, _output(command))
        if match:
            break
    state = match[1] if match else None
    # Where SLURM itself watches memory, without control groups, it kills only the step and the job is reported as failed.
    return "OUT_OF_MEMORY" if state in (None, "FAILED") and _killed_for_memory(job) else state


def _killed_for_memory(job):
    """Whether the job's log says that SLURM killed it for its memory."""
    return any(KILLED_FOR_MEMORY.search("\n".join(supervise.tail(path))) for path in Path(LOGS).rglob(f"{job}.log"))


def cancel_abandoned(folder: str | Path) -> int:
    """Cancels the jobs that an earlier, killed Snakemake left in the queue for the project `folder`; returns how many.

    Nobody would collect their results, and this start does the same runs. The folder is locked, so no other start needs them.
    """
    jobs = []
    for line in _output(["squeue", "--me", "--noheader", "--format=%i|%Z|%k"]).splitlines():
        job, place, comment = (line.split("|", 2) + ["", ""])[:3]
        if place == str(Path(folder).resolve()) and comment.startswith("rule_"):
            jobs.append(job)
    if jobs:
        _output(["scancel", *jobs])
    return len(jobs)


def _output(command):
    """Standard output of a SLURM command; "" where it is missing, fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
