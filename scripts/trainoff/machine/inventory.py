"""The devices of this machine, read once as a plain value. `trainoff.machine.choosing` makes the choice from it.

Only the standard library is used, since `make` calls this before anything is installed.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainoff.machine import nvidia

# PCI vendors, and the class of display controllers, as in /sys/bus/pci.
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
DISPLAY_CLASS = "0x03"
NO_TOOL = "This machine has an NVIDIA GPU, but no nvidia-smi. "
PROHIBITED = "its compute mode is Prohibited; `nvidia-smi -c DEFAULT` lets processes compute on it"
INSTALL_DRIVER = "Install NVIDIA's driver."


@dataclass(frozen=True)
class Container:
    """A kind of container. advice: how it gets a GPU. marks: files that it has. variables: environment variables that it sets.

    group: a word in the names of its control groups.
    """

    advice: str
    marks: tuple
    variables: tuple = ()
    group: str | None = None

    def is_around(self, environ: Mapping[str, str], root: Path) -> bool:
        """Whether this process runs in such a container."""
        if environ.keys() & {*self.variables} or any((root / mark).exists() for mark in self.marks):
            return True
        try:
            return self.group is not None and self.group in (root / "proc/1/cgroup").read_text()
        except OSError:
            return False


# The innermost first.
CONTAINERS = (
    Container(
        "In an Apptainer or Singularity container, start it with --nv (apptainer exec --nv).",
        marks=(".singularity.d",),
        variables=("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"),
    ),
    Container(
        "In a Kubernetes pod, request the GPU in its specification (resources: {limits: {nvidia.com/gpu: 1}}).",
        marks=("var/run/secrets/kubernetes.io",),
        variables=("KUBERNETES_SERVICE_HOST",),
        group="kubepods",  # with control groups of version 1
    ),
    Container(
        "In a container, start it with the NVIDIA Container Toolkit (docker run --gpus all).",
        marks=(".dockerenv", "run/.containerenv"),
    ),
)


@dataclass(frozen=True)
class Machine:
    """system: "Linux" or "Darwin". processor: "x86_64", "aarch64" or "arm64". version: of macOS, else "".

    cards: NVIDIA GPUs as in nvidia.Listing. visible: CUDA_VISIBLE_DEVICES, None where it is not set. failure: a sentence on an
    NVIDIA GPU or tool that does not work, or None. remark: as in nvidia.Listing. others: vendors of unsupported GPUs. jetson:
    whether this is an NVIDIA Jetson, whose GPU may need special builds.
    """

    system: str
    processor: str
    version: str = ""
    cards: tuple = ()
    visible: str | None = None
    failure: str | None = None
    remark: str | None = None
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
    """This Machine. root: the folder with sys, dev and etc, for tests."""
    system, processor = platform.system(), platform.machine()
    if system == "Darwin":
        return Machine(system, processor, platform.mac_ver()[0])
    listing = nvidia.listing()
    vendors = _vendors(root)
    failure = listing.failure
    jetson = (root / "etc/nv_tegra_release").exists()
    if not failure and not listing.cards and "NVIDIA" in vendors and nvidia.tool() is None:
        failure = NO_TOOL + _advice(environ, root)
    return Machine(
        system,
        processor,
        cards=listing.cards,
        visible=environ.get("CUDA_VISIBLE_DEVICES"),
        failure=failure,
        remark=listing.remark,
        others=tuple(vendor for vendor in ("AMD", "Intel") if vendor in vendors),
        jetson=jetson,
    )


def _advice(environ, root):
    """How to make the GPU usable where nvidia-smi is missing."""
    around = (container.advice for container in CONTAINERS if container.is_around(environ, root))
    return next(around, INSTALL_DRIVER)


def unusable(machine: Machine) -> str:
    """One sentence on why this machine has no usable NVIDIA GPU, with the fix."""
    if machine.failure:
        return machine.failure
    undivided = [card["name"] for card in machine.cards if card["slices"] == []]
    if undivided and (machine.visible is None or len(undivided) == len(machine.cards)):
        return (
            f"{undivided[0]} is set to be divided (MIG), but has no slices yet. Create some (nvidia-smi mig -cgi … -C), turn MIG "
            "off (nvidia-smi -mig 0), or remove the device from `devices:`."
        )
    prohibited = [card["name"] for card in machine.cards if card["prohibited"]]
    if prohibited and not machine.gpus:
        return f"{prohibited[0]}: {PROHIBITED}. Change that, or remove the device from `devices:`."
    if machine.cards and machine.visible is not None:
        return (
            f"CUDA_VISIBLE_DEVICES={machine.visible!r} leaves {len(machine.gpus)} of the {len(machine.cards)} GPU(s) that "
            "nvidia-smi lists. Change or unset it, or remove the device from `devices:`."
        )
    if machine.others and not machine.cards:
        return (
            f"This machine has {' and '.join(machine.others)} graphics, which trainoff does not support yet (ROCm, oneAPI), and "
            "no NVIDIA GPU. Remove the device from `devices:`."
        )
    if machine.cards:
        return "Indices count from 0. Change `index` of the device, or remove the device from `devices:`."
    return (
        "nvidia-smi must list the GPU: install the NVIDIA driver if this machine has such a GPU, or remove the device from "
        "`devices:`."
    )


def _vendors(root):
    """The vendors of the graphics chips that Linux lists, including those without a driver: a set of the names in VENDORS."""
    vendors = set()
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        try:
            kind = (folder / "class").read_text().strip()
            vendor = (folder / "vendor").read_text().strip().lower()
        except OSError:
            continue
        if kind.startswith(DISPLAY_CLASS) and vendor in VENDORS:
            vendors.add(VENDORS[vendor])
    if (root / "dev/kfd").exists():  # AMD's compute driver
        vendors.add("AMD")
    return vendors
