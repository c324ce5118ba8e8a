"""Faults provoked for real on a tiny experiment, one after another: what happened, and what was lost.

    python tests/drills.py                    # all; about twenty minutes on two CPU cores
    python tests/drills.py killed_snakemake   # some

Every drill starts with one run of two finished. After the fault, whatever its message says to do is done and the sweep is
started again. Nothing is lost when all runs end well, the finished run is the very same file, and the tables hold the same
losses and accuracies as those of an undisturbed sweep. The storms at the end start with nothing, on trainings that compute
nothing (tests/storm.py), so that there are many moments to strike at. Writes results/benchmarks/drills.md; the exit status
is 1 when something was lost.
"""

import contextlib
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import faults
import project
import psutil
import storm
from halfdone import Lost, NotHere, expect, finished_sweep, half_done, learnt, recover, run_files

OUTPUT = project.ROOT / "results/benchmarks/drills.md"


def drill(fault, finished, folder):
    """Provokes one fault in a half-done copy of the sweep `finished`; returns (fault, outcome, lost)."""
    half_done(finished, folder)
    first = run_files(folder)[0]
    before = first.read_bytes(), first.stat().st_mtime_ns
    name = fault.__doc__
    try:
        outcome = fault(folder)
        recover(folder)
        expect((first.read_bytes(), first.stat().st_mtime_ns) == before, "the finished run was done again")
        expect(learnt(folder) == learnt(finished), "the tables differ from those of an undisturbed sweep")
        left = [path.name for path in (folder / "results/runs").glob("*/**/.*")]
        expect(not left or fault is faults.power_cut, f"left behind: {left}")
    except NotHere as reason:
        return name, f"not provoked here: {reason}", "not known"
    except Lost as error:
        return name, "FAILED", str(error)
    finally:
        end_children()
    return name, outcome, "nothing"


def killed_25_times(folder):
    """25 kills at random moments: trainings, those that wait for them, Snakemake, all"""
    undisturbed = storm.make(folder / "undisturbed", replicates=4)
    expect(storm.Sweep(undisturbed).process.wait(1200) == 0, "the undisturbed sweep stopped")
    done = storm.storm(storm.make(folder / "killed", replicates=4), seed=25, kills=25, longest_seconds=8)
    expect(storm.learned(folder / "killed") == storm.learned(undisturbed), "the tables differ")
    return f"{', '.join(f'{part} {number}' for part, number in done.items())}; no run of 16 was lost or trained twice"


def full_at_random(folder):
    """Full disk at random moments: results, TMPDIR, home folder"""
    outcomes = []
    for seed, place in enumerate([*storm.PLACES, "results"]):
        try:
            came_of_it, _ = storm.starve(storm.make(folder / f"starved-{seed}"), seed, place)
        except subprocess.CalledProcessError:
            raise NotHere("needs the right to mount a tmpfs") from None
        outcomes.append(f"{place}: {came_of_it}")
    return f"{'; '.join(outcomes)}; no run was recorded as failed"


# Those that start with nothing.
STORMS = [killed_25_times, full_at_random]


def weather(storm, folder):
    """As `drill`, for one of STORMS."""
    folder.mkdir()
    try:
        return storm.__doc__, storm(folder), "nothing"
    except NotHere as reason:
        return storm.__doc__, f"not provoked here: {reason}", "not known"
    except AssertionError as error:
        return storm.__doc__, "FAILED", str(error)
    finally:
        end_children()


def end_children():
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()


def table(rows):
    """The rows in Markdown."""
    head = [("fault", "outcome", "lost"), ("---", "---", "---")]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows]) + "\n"


def main(names):
    known = {fault.__name__: fault for fault in [*faults.FAULTS, *STORMS]}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"there is no drill {unknown[0]}. Expected any of: {', '.join(known)}.")
    rows = []
    with tempfile.TemporaryDirectory(prefix="trainoff-drills-") as folder:
        finished = None
        for name in names or known:
            if known[name] in STORMS:
                rows.append(weather(known[name], Path(folder) / name))
            else:
                finished = finished or finished_sweep(Path(folder) / "finished")
                rows.append(drill(known[name], finished, Path(folder) / name))
            print(*rows[-1], sep=" | ", flush=True)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    where = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    OUTPUT.write_text(f"{where}\n\n{table(rows)}")
    print(f"\n{table(rows)}written to {OUTPUT}")
    return 1 if any(lost != "nothing" and lost != "not known" for _, _, lost in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
