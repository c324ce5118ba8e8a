"""Checks whether a part of the locks can be installed here; locks/install.sh calls it first.

python scripts/check_place.py base | cuda | torch | …
python scripts/check_place.py gpu                        checks only for a usable NVIDIA GPU

Prints what will be installed and, for base, the devices that the machine can train on. Ends with one sentence and exit code 1 if
the installation cannot work. Runs with any Python 3.11 or 3.12: only the standard library is used.
"""

import getpass
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainoff.machine import choosing, disks, gpu_support, inventory

ROOT = Path(__file__).resolve().parents[1]
GB = 10**9
# {part: (description, GB in .venv, GB in pip's temporary folder during the installation)}: the total size of its wheels for Linux
# on x86-64, unpacked and packed, plus a tenth (2026-11-27).
PARTS = {
    "base": ("TensorFlow and the other packages", 3.0, 1.0),
    "cuda": ("NVIDIA's libraries for TensorFlow", 3.2, 2.0),
    "torch": ("PyTorch", 5.2, 3.0),
    "torch-cpu": ("PyTorch for a CPU", 1.0, 0.3),
    "jax": ("JAX", 0.4, 0.1),
    "jax-cuda": ("JAX with NVIDIA's libraries", 6.1, 3.6),
}
OTHER = (0.4, 0.2)
# Characters with a special meaning in a list of folders (PATH), in a shell, or in the paths of Snakemake's environments.
UNUSABLE = ':"$`\\\n{}'
ELSEWHERE = "Move the project to another folder, such as one in your home folder, and start again."


class Refusal(Exception):
    """One sentence on why nothing can be installed here, with the fix."""


def check_folder(folder: str | Path) -> None:
    """Raises Refusal if programs cannot be installed in `folder` because of its name, its permissions or its file system."""
    # A surrogate stands for a byte that is not UTF-8.
    unusable = [character for character in str(folder) if character in UNUSABLE or "\ud800" <= character <= "\udfff"]
    if unusable:
        raise Refusal(
            f"The path {str(folder)!r} contains the character {unusable[0]!r}, which search paths or Snakemake cannot contain. "
            f"{ELSEWHERE}"
        )
    try:
        with tempfile.TemporaryDirectory(prefix=".place-", dir=folder) as inside:
            program = Path(inside) / "program"
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
            run(program)
    except Refusal:
        raise
    except OSError as error:
        raise Refusal(f"{folder} cannot be written to ({error.strerror}). {ELSEWHERE}") from None


def run(program: Path) -> None:
    """Runs a program; raises Refusal if the file system does not allow programs to run."""
    try:
        subprocess.run([program], check=True)
    except PermissionError:
        raise Refusal(
            f"{program.parents[1]} is on a file system where no program runs (noexec, or cloud storage). {ELSEWHERE}"
        ) from None


def check_user() -> None:
    """Raises Refusal if Snakemake cannot work for this user: it needs their name and a folder for its cache."""
    try:
        getpass.getuser()
        usual = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    except (KeyError, OSError, RuntimeError):  # a container may run as a user that it does not know
        raise Refusal(
            f"The user with the number {os.getuid()} has no name or no home folder here, and Snakemake needs both. Set them: "
            "USER=name HOME=/folder make report."
        ) from None
    cache = disks.nearest(Path(os.environ.get("XDG_CACHE_HOME") or usual, "snakemake"))
    if fault := disks.fault_of(cache):
        raise Refusal(
            f"{cache} cannot be written to ({fault}), and Snakemake keeps its cache there. Name another folder: "
            "XDG_CACHE_HOME=/folder make report."
        )


def check_disk(
    part: str, folder: str | Path, temporary: str | Path, usage: Callable[[str | Path], Any] = shutil.disk_usage
) -> None:
    """Raises Refusal if a disk is too small.

    temporary: pip's temporary folder; usage: like shutil.disk_usage, for tests.
    """
    installed, downloaded = PARTS[part][1:] if part in PARTS else OTHER
    same = os.stat(folder).st_dev == os.stat(temporary).st_dev
    needs = {folder: installed + downloaded} if same else {folder: installed, temporary: downloaded}
    for place, gigabytes in needs.items():
        free = usage(place).free / GB
        if free < gigabytes:
            advice = (
                "Use another temporary folder: TMPDIR=/path make report."
                if place == temporary and not same
                else "Free some space, or move the project to another disk."
            )
            raise Refusal(
                f"{place} has {free:.1f} GB free, but the installation takes about {gigabytes:.1f} GB. {advice}"
            )


def require_gpu(machine: inventory.Machine) -> None:
    """Raises Refusal if no framework trains on an NVIDIA GPU of an inventory.Machine."""
    choice = choosing.choose(machine, gpu_support.builds(machine.processor))
    if any(pick.like in choosing.ON_NVIDIA.values() for pick in choice.picks):
        return
    reasons = "; ".join(line for line in choice.lines if not line.startswith(("CPU", "Apple")))
    raise Refusal(
        f"This needs a usable NVIDIA GPU: {reasons.rstrip('.') or 'nvidia-smi lists none here'}. `make report` trains on the "
        "devices that this machine has."
    )


def announcement(part: str) -> str:
    """What is about to be installed, in one line."""
    description, installed, _ = PARTS.get(part, (f"the {part} tools", *OTHER))
    minutes = "one to ten minutes" if installed > 2 else "about a minute"
    return f"Adding {description} to .venv, pinned (once; about {installed:g} GB of disk, {minutes})."


def main(part: str) -> None:
    """Prints what will be installed and, for base, the devices; raises Refusal."""
    if part == "gpu":
        require_gpu(inventory.read())
        return
    check_folder(ROOT)
    check_user()
    check_disk(part, ROOT, tempfile.gettempdir())
    if part == "base":
        machine = inventory.read()
        # By the table only: this Python's frameworks are not the ones that are about to be installed.
        choice = choosing.choose(machine, gpu_support.builds(machine.processor))
        print("`devices: auto` means here:", *choice.lines, sep="\n  ")
    print(announcement(part), flush=True)


if __name__ == "__main__":
    # Not every locale can show every character of a name.
    sys.stdout.reconfigure(errors="replace")
    try:
        main(sys.argv[1])
    except Refusal as error:
        sys.exit(str(error))
