"""Which NVIDIA GPUs each framework's pinned build supports, from catalog/gpu-support.csv and the installed build's own list.

Only the standard library is used, since `make` calls this before anything is installed.
"""

import csv
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainoff.machine.nvidia import numbers

TABLE = Path(__file__).parents[3] / "catalog/gpu-support.csv"
NAMES = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}


@dataclass(frozen=True)
class Build:
    """One framework's build. capabilities: compute capabilities that it has kernels for, with "+PTX" if drivers can also compile
    the kernel for later GPUs of the same generation. driver: the minimum major version of NVIDIA's driver."""

    framework: str
    version: str
    cuda: int
    processor: str
    capabilities: tuple
    driver: int

    @property
    def title(self) -> str:
        """The framework and its version in words."""
        return f"{NAMES[self.framework]} {self.version}"


def builds(processor: str, own_list: tuple[str, ...] | None = None) -> list[Build]:
    """The builds for a processor, in the table's order. own_list: compute capabilities of the installed TensorFlow, if known."""
    with open(TABLE, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["processor"] == processor]
    return [
        Build(
            row["framework"],
            row["version"],
            int(row["cuda"]),
            row["processor"],
            own_list if own_list and row["framework"] == "tensorflow" else tuple(row["capabilities"].split()),
            int(row["driver"]),
        )
        for row in rows
    ]


def obstacle(build: Build, gpu: dict[str, Any]) -> str | None:
    """Why a build cannot train on a GPU, in a few words; None where no reason is known.

    gpu: a dict of trainoff.machine.nvidia.
    """
    driver, capability = numbers(gpu["driver"] or ""), gpu["compute_capability"]
    if capability and not serves(build.capabilities, capability):
        return f"{build.title} has no kernels for compute capability {capability} ({span(build.capabilities)})"
    if driver and driver[0] < build.driver:
        return f"{build.title} needs driver {build.driver} or later, and this machine has {gpu['driver']}"
    return None


def serves(capabilities: Iterable[str], capability: str) -> bool:
    """Whether a build with kernels for `capabilities` runs on a GPU of compute capability `capability`, such as "8.6".

    Kernels run on later GPUs of the same generation (the number before the dot). PTX is trusted only within a generation too:
    that of TensorFlow 2.19 for 9.0 fails on Blackwell with CUDA_ERROR_INVALID_PTX (tensorflow#97387).
    """
    major, minor = (*numbers(capability), 0)[:2]
    kernels = [kernel for kernel in map(numbers, capabilities) if len(kernel) == 2]
    return any(major == kernel[0] and minor >= kernel[1] for kernel in kernels)


def span(capabilities: Iterable[str]) -> str:
    """ "6.0 to 9.0": the first and the last of a build's compute capabilities."""
    ordered = sorted(map(numbers, capabilities))
    return " to ".join(".".join(map(str, capability)) for capability in (ordered[0], ordered[-1]))


def own_list_of_tensorflow() -> tuple[str, ...] | None:
    """The compute capabilities that the installed TensorFlow was built for, as in the table. TensorFlow is not imported.

    None where it is not installed, () for a build without CUDA.
    """
    try:
        folder = importlib.util.find_spec("tensorflow").submodule_search_locations[0]
        text = (Path(folder) / "python/platform/build_info.py").read_text(encoding="utf-8")
    except (AttributeError, ImportError, IndexError, OSError, TypeError, ValueError):
        return None
    if re.search(r"'is_cuda_build', False", text):
        return ()
    match = re.search(r"'cuda_compute_capabilities', \[([^\]]*)\]", text)
    return of_names(re.findall(r"'(\w+)'", match[1])) if match else None


def of_names(names: Iterable[str]) -> tuple[str, ...]:
    """("8.9", "9.0+PTX") from ["sm_89", "compute_90"], the names that builds list."""
    matches = filter(None, (re.match(r"(sm|compute)_(\d+)(\d)", name) for name in names))
    return tuple(f"{match[2]}.{match[3]}{'+PTX' if match[1] == 'compute' else ''}" for match in matches)
