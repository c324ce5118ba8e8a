"""The GPUs of this machine and their slices, as nvidia-smi lists them, or why it fails.

A failing nvidia-smi is not the same as a machine without a GPU. Only the standard library is used, since `make` calls this before
anything is installed.
"""

import csv
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where WSL has the tool; this folder is missing from the PATH of many shells there.
WSL_FOLDER = Path("/usr/lib/wsl/lib")
# Columns, the oldest first: a driver that does not know one refuses the whole query.
COLUMNS = ["uuid", "name", "memory.total", "driver_version", "compute_cap", "mig.mode.current", "index", "compute_mode"]
OLDEST_COLUMNS = 4
SECONDS = 60
SLICE = re.compile(r"^\s+MIG (?P<profile>\S+)\s+Device\s+\d+: \(UUID: (?P<uuid>MIG-[^)\s]+)\)")
CARD = re.compile(r"^GPU \d+: .*\(UUID: (?P<uuid>GPU-[^)\s]+)\)")
# (words in the tool's output, advice); the first match counts.
ADVICE = [
    (
        "version mismatch",
        "The driver was updated while the old one was loaded: restart the machine (in a container, restart the container).",
    ),
    (
        "couldn't communicate with the nvidia driver",
        "The driver is not loaded: restart the machine after its installation or a kernel update; if that does not help, "
        "reinstall the driver.",
    ),
    (
        "libnvidia-ml",
        "The driver's library is missing: in a container, start it with the NVIDIA Container Toolkit (docker run --gpus all); "
        "otherwise, reinstall the driver.",
    ),
    ("insufficient permissions", "This user has no access to /dev/nvidia*: ask the machine's administrator."),
    (
        "nvml: unknown error",
        "A container loses its GPUs when the host reloads its services: restart the container.",
    ),
    *(
        (sign, "A GPU stopped responding (see the kernel log): restart the machine.")
        for sign in ("unable to determine the device handle", "gpu is lost", "gpu requires reset")
    ),
    ("it did not answer", "The driver hangs (see the kernel log): restart the machine."),
    (
        "no devices were found",
        "The driver runs but finds no GPU: in a container or a cluster job, request one (docker run --gpus all, --gres=gpu:1); "
        "otherwise see the kernel log.",
    ),
]
OTHER_ADVICE = "Run nvidia-smi yourself: trainoff can use the GPU as soon as nvidia-smi lists it."


@dataclass(frozen=True)
class Listing:
    """cards: one dict per GPU in the tool's order, with uuid, name, memory_bytes, driver, compute_capability (None if unknown),
    number (by which the tool counts it), prohibited (whether its compute mode lets no process compute) and slices: None, or for a
    GPU with MIG enabled a list of such dicts.

    failure: one sentence with the tool's words and advice, if the tool is installed and fails; else None. remark: the same for
    what the tool says besides a list of GPUs, such as about one that is lost.
    """

    cards: tuple
    failure: str | None = None
    remark: str | None = None


def tool() -> str | None:
    """Path of nvidia-smi; None if it is not installed."""
    return shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=WSL_FOLDER)


def listing() -> Listing:
    """The Listing of this machine; empty without nvidia-smi."""
    program = tool()
    if program is None:
        return Listing(())
    for columns in (COLUMNS, COLUMNS[:OLDEST_COLUMNS]):
        words = _ask(program, f"--query-gpu={','.join(columns)}", "--format=csv,noheader,nounits")
        if "not a valid field" not in words.lower():
            break
    # Skips lines of text: with a warning, such as about a corrupted infoROM, the tool lists GPUs and still exits with an error.
    rows, others = [], []
    for line in filter(str.strip, words.splitlines()):
        row = next(csv.reader([line], skipinitialspace=True))
        is_card = len(row) >= OLDEST_COLUMNS and " " not in row[0]
        (rows if is_card else others).append(row if is_card else line)
    cards = [_card(place, row) for place, row in enumerate(rows)]
    if not cards:
        return Listing((), failure_sentence(words, in_wsl=WSL_FOLDER.is_dir()))
    if any(card["slices"] is not None for card in cards):
        cards = with_slices(cards, _ask(program, "-L"))
    return Listing(tuple(cards), remark=_remark(" ".join(others)))


def failure_sentence(words: str, in_wsl: bool = False) -> str:
    """What a failing nvidia-smi means. words: its output, or how it failed."""
    quote = " ".join(words.split())[:200] or "nothing"
    advice = _advice(quote) or OTHER_ADVICE
    if in_wsl:
        advice = (
            "WSL uses the driver of Windows: update it there, run `wsl --update` and `wsl --shutdown`, and start again."
        )
    return f"nvidia-smi is installed but fails: “{quote}”. {advice}"


def _remark(words):
    return f"nvidia-smi also says: “{words[:200]}”. {_advice(words) or ''}".strip() if words else None


def _advice(words):
    return next((advice for sign, advice in ADVICE if sign in words.lower()), None)


def with_slices(cards: list[dict[str, Any]], listed: str) -> list[dict[str, Any]]:
    """The cards with their MIG slices, from the output of `nvidia-smi -L`. A slice's profile gives its memory (3g.20gb)."""
    slices, owner = {}, None
    for line in listed.splitlines():
        if match := CARD.match(line):
            owner = match["uuid"]
        elif (match := SLICE.match(line)) and owner:
            slices.setdefault(owner, []).append((match["profile"], match["uuid"]))
    return [
        card
        if card["slices"] is None
        else card
        | {
            "slices": [
                {
                    **card,
                    "uuid": uuid,
                    "name": f"{card['name']} MIG {profile}",
                    "memory_bytes": _memory_of(profile),
                    "slices": None,
                }
                for profile, uuid in slices.get(card["uuid"], [])
            ]
        }
        for card in cards
    ]


def allowed(cards: Sequence[dict[str, Any]], visible: str | None) -> list[dict[str, Any]]:
    """The GPUs that a process may use, and instead of a GPU with MIG enabled its slices.

    visible: the value of CUDA_VISIBLE_DEVICES, None where it is not set. Its order is kept; numbers are those of nvidia-smi;
    UUIDs may be abbreviated. As in CUDA, the first name that matches nothing, or more than one GPU, ends the list, and a GPU with
    MIG enabled stands for its first slice.
    """
    if visible is None:
        return [unit for card in cards for unit in _units(card)]
    chosen = []
    for name in (part.strip() for part in visible.split(",")):
        if name.startswith("MIG-"):
            fits = [unit for card in cards for unit in card["slices"] or [] if unit["uuid"].startswith(name)]
        else:
            named = [card for card in cards if name and _is_named(card, name)]
            fits = [unit for card in named for unit in _units(card)[:1]]
        if len(fits) != 1 or fits[0] in chosen:
            break
        chosen += fits
    return chosen


def memory_used(uuid: str) -> int | None:
    """Memory in use on the GPU of that UUID in bytes; None where it is unknown, as for a MIG slice: the tool knows its card's.

    uuid: "" for no GPU.
    """
    program = tool()
    if program is None or not uuid or is_slice(uuid):
        return None
    answer = _ask(program, "--query-gpu=memory.used", "--format=csv,noheader,nounits", f"--id={uuid}").strip()
    return int(answer) * 2**20 if answer.isdigit() else None


def is_slice(uuid: str) -> bool:
    """Whether a UUID names a MIG slice."""
    return uuid.startswith("MIG-")


def numbers(version: str) -> tuple[int, ...]:
    """(8, 9) from "8.9"; parsing stops at anything that is not a number."""
    return tuple(int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part)


def _is_named(card, name):
    return name == str(card["number"]) or (not name.isdigit() and card["uuid"].startswith(name))


def _units(card):
    if card["prohibited"]:
        return []
    return [card] if card["slices"] is None else card["slices"]


def _ask(program, *arguments):
    """The program's output, or how it failed."""
    try:
        process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return str(error.strerror)
    try:
        output, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"it did not answer within {SECONDS:g} s"
    finally:
        if process.returncode is None:
            _abandon(process)
    return output if process.returncode == 0 else f"{output}{errors}"


def _abandon(process):
    """Kills a process without waiting for its end: if it is stuck in the driver, it ends only with the machine."""
    process.kill()
    for pipe in (process.stdout, process.stderr):
        pipe.close()
    # Collects the process if it ends after all.
    threading.Thread(target=process.wait, daemon=True).start()


def _card(place, row):
    values = dict(zip(COLUMNS, map(str.strip, row), strict=False))
    mebibytes, capability = values["memory.total"], values.get("compute_cap", "")
    return {
        "uuid": values["uuid"],
        "name": values["name"],
        "memory_bytes": int(mebibytes) * 2**20 if mebibytes.isdigit() else None,
        "driver": values["driver_version"] if numbers(values["driver_version"]) else None,
        "compute_capability": capability if numbers(capability) else None,
        # A GPU that is lost is missing from the rows, but counts.
        "number": int(values["index"]) if values.get("index", "").isdigit() else place,
        "prohibited": values.get("compute_mode") == "Prohibited",
        "slices": [] if values.get("mig.mode.current") == "Enabled" else None,
    }


def _memory_of(profile):
    match = re.search(r"\.(\d+)gb", profile)
    return int(match[1]) * 2**30 if match else None
