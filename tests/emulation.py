"""Emulated machines: made-up programs and files in place of a machine's own, by tests/machines.yaml.

Run, it writes the table in docs/devices.md again.
"""

import os
import platform
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import lock_parts  # noqa: E402
from trainoff.experiment import plan  # noqa: E402
from trainoff.machine import choosing, gpu_support, inventory, numbering, nvidia  # noqa: E402

MACHINES = yaml.safe_load((ROOT / "tests/machines.yaml").read_text(encoding="utf-8"))
CATALOG = yaml.safe_load((ROOT / "catalog/devices.yaml").read_text(encoding="utf-8"))
PAGE = ROOT / "docs/devices.md"
VENDORS = {name: number for number, name in inventory.VENDORS.items()}
# As old drivers do, refuses columns that it does not know.
NVIDIA_SMI = """#!/bin/sh
case "$1" in
-L) cat "{folder}/slices" ;;
*compute_cap*{known}) cat "{folder}/cards"; exit {code} ;;
*compute_cap*) echo 'Field "compute_cap" is not a valid field to query.'; exit 2 ;;
*) cat "{folder}/cards"; exit {code} ;;
esac
"""


def emulate(told, folder, patch):
    """Makes this process see the machine of a row, its files below `folder`; returns the root of these files.

    patch: pytest's monkeypatch. No program of the real machine is found any more but what a shell script needs.
    """
    programs = folder / "bin"
    wsl = folder / "usr/lib/wsl/lib"
    for path in (programs, folder / "sys/bus/pci/devices"):
        path.mkdir(parents=True)
    if told.get("place") == "wsl":
        wsl.mkdir(parents=True)
    code, words = told.get("fails", (0, "\n".join(told.get("smi", []))))
    if "fails" in told or "smi" in told:
        (folder / "cards").write_text(words + "\n")
        (folder / "slices").write_text("\n".join(told.get("slices", [])) + "\n")
        columns = max(row.count(",") for row in told.get("smi", [",,,,,"]))
        known = "" if columns + 1 > nvidia.OLDEST_COLUMNS else "NOT-KNOWN"
        place = wsl if told.get("place") == "wsl" else programs
        _program(place / "nvidia-smi", NVIDIA_SMI.format(folder=folder, code=code, known=known))
    for number, vendor in enumerate(told.get("pci", [])):
        chip = folder / f"sys/bus/pci/devices/0000:0{number}:00.0"
        chip.mkdir()
        (chip / "class").write_text("0x030000\n")
        (chip / "vendor").write_text(f"{VENDORS[vendor]}\n")
    for mark in told.get("marks", []):
        (folder / mark).parent.mkdir(parents=True, exist_ok=True)
        (folder / mark).touch()
    mac = told.get("macos")
    if mac:
        _program(programs / "sysctl", f'#!/bin/sh\necho "{mac["chip"]}"\n')
        _program(programs / "system_profiler", f'#!/bin/sh\necho "      Total Number of Cores: {mac["cores"]}"\n')
        patch.setattr(platform, "mac_ver", lambda: (mac["version"], ("", "", ""), "arm64"))
    patch.setattr(platform, "system", lambda: "Darwin" if mac else "Linux")
    patch.setattr(platform, "machine", lambda: "arm64" if mac else told.get("system", "x86_64"))
    patch.setattr(nvidia, "WSL_FOLDER", wsl)
    for program in ("cat", "sh"):
        (programs / program).symlink_to(f"/bin/{program}")
    patch.setenv("PATH", str(programs))
    variables = told.get("variables", {}) | ({"CUDA_VISIBLE_DEVICES": told["visible"]} if "visible" in told else {})
    of_containers = [name for container in inventory.CONTAINERS for name in container.variables]
    for name in ("CUDA_VISIBLE_DEVICES", numbering.PASSED_ON, *of_containers):
        patch.delenv(name, raising=False)
    for name, value in variables.items():
        patch.setenv(name, value)
    return folder


def choice_of(root):
    """(what is chosen on the emulated machine, the entries of its devices, the parts of the locks that make installs)"""
    found = inventory.read(os.environ, root)
    choice = choosing.choose(found, gpu_support.builds(found.processor))
    config = {"devices": "auto"}
    entries = plan.devices(config, CATALOG, lambda: choosing.entries(choice, CATALOG))
    return choice, entries, lock_parts.parts_of(entries, bool(found.gpus), found.processor)


def _program(path, text):
    path.write_text(text)
    path.chmod(0o755)


def table():
    """The table of machines in Markdown, from the table that the tests hold the choice to."""
    lines = ["| machine | `auto` takes | `make` adds | why, and what is left out |", "| --- | --- | --- | --- |"]
    for name, told in MACHINES.items():
        says = "; ".join(words.replace("|", "\\|") for words in told.get("says", []))
        takes = ", ".join(f"`{device}`" for device in told["devices"])
        adds = ", ".join(f"`{part}`" for part in told["installs"]) or "nothing"
        lines.append(f"| {name} | {takes} | {adds} | {says} |")
    return "\n".join(lines)


def page(text):
    """docs/devices.md with the table in its place."""
    return re.sub(r"(?s)\| machine \| `auto` takes .*?(?=\n\n)", lambda _: table(), text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
