"""What this machine has to train on, read once as a plain value. `trainoff.machine.choosing` makes the choice from it.

Only the standard library is used, since `make` asks before anything is installed.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainoff.machine import nvidia

# PCI vendors and class (a display controller) as /sys/bus/pci shows them.
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
DISPLAY_CLASS = "0x03"
NO_TOOL = "This machine has an NVIDIA GPU, but no nvidia-smi. "
INSTALL_DRIVER = "Install NVIDIA's driver."
INSTALL_TOOLKIT = "In a container, start it with the NVIDIA Container Toolkit (docker run --gpus all)."


@dataclass(frozen=True)
class Machine:
    """system: "Linux" or "Darwin". processor: "x86_64", "aarch64" or "arm64". version: of macOS, else "".

    cards: NVIDIA GPUs as nvidia.Listing has them. visible: CUDA_VISIBLE_DEVICES, None where it is not set. failure: a sentence on
    an NVIDIA GPU or tool that does not work, or None. others: vendors of GPUs that are seen and not supported. jetson: a board of
    NVIDIA's whose GPU needs builds of its own.
    """

    system: str
    processor: str
    version: str = ""
    cards: tuple = ()
    visible: str | None = None
    failure: str | None = None
    others: tuple = ()
    jetson: bool = False

    @property
    def is_apple_silicon(self) -> bool:
        return (self.system, self.processor) == ("Darwin", "arm64")

    @property
    def gpus(self) -> list[dict[str, Any]]:
        """NVIDIA GPUs and slices that this process may use, in the order in which `index` counts them."""
        return nvidia.allowed(self.cards, self.visible)


def read(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Machine:
    """The Machine at hand. root: where /sys and /dev lie, for tests."""
    system, processor = platform.system(), platform.machine()
    if system == "Darwin":
        return Machine(system, processor, platform.mac_ver()[0])
    listing = nvidia.listing()
    vendors = _vendors(root)
    failure = listing.failure
    jetson = (root / "etc/nv_tegra_release").exists()
    if not failure and not listing.cards and "NVIDIA" in vendors and nvidia.tool() is None:
        failure = NO_TOOL + (INSTALL_TOOLKIT if is_container(root) else INSTALL_DRIVER)
    return Machine(
        system,
        processor,
        cards=listing.cards,
        visible=environ.get("CUDA_VISIBLE_DEVICES"),
        failure=failure,
        others=tuple(vendor for vendor in ("AMD", "Intel") if vendor in vendors),
        jetson=jetson,
    )


def is_container(root: Path = Path("/")) -> bool:
    """Whether this runs in a Docker, Podman or Kubernetes container, as far as the usual marks tell."""
    if any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv")):
        return True
    try:
        return "kubepods" in (root / "proc/1/cgroup").read_text()
    except OSError:
        return False


def unusable(machine: Machine) -> str:
    """One sentence on why there is no NVIDIA GPU to use here, with what to do."""
    if machine.failure:
        return machine.failure
    if machine.cards and machine.visible is not None:
        return (
            f"CUDA_VISIBLE_DEVICES={machine.visible!r} leaves {len(machine.gpus)} of the {len(machine.cards)} GPU(s) that "
            "nvidia-smi lists. Change or unset it, or take the device out of `devices:`."
        )
    if machine.others and not machine.cards:
        return (
            f"This machine has {_and(machine.others)} graphics, which trainoff sees and does not support yet (ROCm, oneAPI), and "
            "no NVIDIA GPU. Take the device out of `devices:`."
        )
    return (
        "Expected one that nvidia-smi lists: install the NVIDIA driver where there is such a GPU, or take the device out of "
        "`devices:`."
    )


def _vendors(root):
    """Who made the graphics chips that Linux lists, also those without a driver: a set of the names in VENDORS."""
    found = set()
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        try:
            kind = (folder / "class").read_text().strip()
            vendor = (folder / "vendor").read_text().strip().lower()
        except OSError:
            continue
        if kind.startswith(DISPLAY_CLASS) and vendor in VENDORS:
            found.add(VENDORS[vendor])
    if (root / "dev/kfd").exists():  # AMD's driver for computing
        found.add("AMD")
    return found


def _and(words):
    return " and ".join(words)
