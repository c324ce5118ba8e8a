"""Whether a part of the locks can be installed here; locks/install.sh asks before it begins.

python scripts/check_place.py base | cuda | torch | …
python scripts/check_place.py gpu                        only whether there is an NVIDIA GPU to train on

Says what it adds and, for base, what the machine has to train on. Ends with one sentence and exit code 1 for a place that cannot
work. Any Python 3.11 or 3.12 runs it: only the standard library is used.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainoff.machine import choosing, gpu_support, inventory

ROOT = Path(__file__).resolve().parents[1]
GB = 10**9
# {part: (what it is, GB in .venv, GB that pip needs in its temporary folder meanwhile)}: its wheels for Linux on x86-64, unpacked
# and packed, summed 2026-11-27, with a tenth more.
PARTS = {
    "base": ("TensorFlow and all else", 3.0, 1.0),
    "cuda": ("NVIDIA's libraries for TensorFlow", 3.2, 2.0),
    "torch": ("PyTorch", 5.2, 3.0),
    "torch-cpu": ("PyTorch for a CPU", 1.0, 0.3),
    "jax": ("JAX", 0.4, 0.1),
    "jax-cuda": ("JAX with NVIDIA's libraries", 6.1, 3.6),
}
OTHER = (0.4, 0.2)
# Characters that a list of folders (PATH) or a shell takes for something else.
UNUSABLE = ':"$`\\\n'
ELSEWHERE = "Move the project to another folder, such as one in your home folder, and start again."


class Refusal(Exception):
    """One sentence on why the place cannot work, with what to do."""


def check_folder(folder: str | Path) -> None:
    """Raises Refusal where programs cannot be installed in `folder`: its name, its permissions, or how it is mounted."""
    found = [sign for sign in UNUSABLE if sign in str(folder)]
    if found:
        raise Refusal(
            f"The path {str(folder)!r} has the character {found[0]!r}, which no search path can hold. {ELSEWHERE}"
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
    """Runs a program; raises Refusal where the file system lets none run."""
    try:
        subprocess.run([program], check=True)
    except PermissionError:
        raise Refusal(
            f"{program.parents[1]} is on a file system from which no program runs (noexec, or a cloud storage). {ELSEWHERE}"
        ) from None


def check_disk(
    part: str, folder: str | Path, temporary: str | Path, usage: Callable[[str | Path], Any] = shutil.disk_usage
) -> None:
    """Raises Refusal where a disk is too small.

    temporary: pip's temporary folder; usage: tells the free bytes of a folder's disk.
    """
    installed, downloaded = PARTS[part][1:] if part in PARTS else OTHER
    same = os.stat(folder).st_dev == os.stat(temporary).st_dev
    needs = {folder: installed + downloaded} if same else {folder: installed, temporary: downloaded}
    for place, gigabytes in needs.items():
        free = usage(place).free / GB
        if free < gigabytes:
            advice = (
                "Name another temporary folder: TMPDIR=/path make report."
                if place == temporary and not same
                else "Free some space, or move the project to another disk."
            )
            raise Refusal(
                f"{place} has {free:.1f} GB free, and installing this takes about {gigabytes:.1f} GB. {advice}"
            )


def require_gpu(found: inventory.Machine) -> None:
    """Raises Refusal where no framework trains on an NVIDIA GPU of a inventory.Machine."""
    choice = choosing.choose(found, gpu_support.builds(found.processor))
    if any(pick.like in choosing.ON_NVIDIA.values() for pick in choice.picks):
        return
    reasons = "; ".join(line for line in choice.lines if not line.startswith(("CPU", "Apple")))
    raise Refusal(
        f"This needs an NVIDIA GPU to train on: {reasons.rstrip('.') or 'nvidia-smi lists none here'}. `make report` trains on "
        "what there is."
    )


def announcement(part: str) -> str:
    """What is about to be added, in one line."""
    what, installed, _ = PARTS.get(part, (f"the {part} tools", *OTHER))
    minutes = "one to ten minutes" if installed > 2 else "about a minute"
    return f"Adding {what} to .venv, pinned (once; about {installed:g} GB of disk, {minutes})."


def main(part: str) -> None:
    """Prints what is added and found; raises Refusal."""
    if part == "gpu":
        require_gpu(inventory.read())
        return
    check_folder(ROOT)
    check_disk(part, ROOT, tempfile.gettempdir())
    if part == "base":
        found = inventory.read()
        # By the table: a framework of the Python that runs this is not the one that is about to be installed.
        choice = choosing.choose(found, gpu_support.builds(found.processor))
        print("`devices: auto` means here:", *choice.lines, sep="\n  ")
    print(announcement(part), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Refusal as error:
        sys.exit(str(error))
