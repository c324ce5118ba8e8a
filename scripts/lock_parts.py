"""Prints which parts of the locks an experiment's devices need in .venv; `make environment` runs it.

python scripts/lock_parts.py [--devices "cpu-torch cpu-jax"] config.yaml [preset.yaml]

Prints one part per line, for the given devices or else those of the configuration; messages go to standard error.
"""

import argparse
import sys
from pathlib import Path

import platformdirs
import yaml
from snakemake.utils import update_config

from trainoff import axes
from trainoff.errors import UserError
from trainoff.experiment import checks, experiment_file, plan
from trainoff.machine import choosing, disks, gpu_support, inventory
from trainoff.shapes import Entry

ROOT = Path(__file__).parents[1]
# Parts with libraries for NVIDIA GPUs in the same folders (nvidia/cudnn, nvidia/nccl), but in different versions.
APART = {"cuda": "TensorFlow", "torch": "PyTorch", "jax-cuda": "JAX"}


def parts_of(entries: list[Entry], nvidia: bool, processor: str = "x86_64") -> list[str]:
    """The parts that device entries need besides base, in order, without duplicates.

    nvidia: whether there is an NVIDIA GPU; processor: the value of platform.machine().
    Raises UserError for devices whose parts exclude each other.
    """
    parts = []
    for entry in entries:
        parts += {
            "tensorflow-cuda": ["cuda"] if nvidia else [],
            # PyTorch's default build includes GPU libraries: several GB that a machine without a GPU does not need. Its build for
            # CPUs is locked for x86-64 alone.
            "torch": ["torch"] if nvidia or processor != "x86_64" else ["torch-cpu"],
            "jax": ["jax"],
            "jax-cuda": ["jax-cuda"] if nvidia else ["jax"],
        }.get(entry["env"], [])
    # JAX with NVIDIA's libraries trains on a CPU as well.
    parts = [part for part in dict.fromkeys(parts) if part != "jax" or "jax-cuda" not in parts]
    together = [APART[part] for part in parts if part in APART]
    if len(together) > 1:
        raise UserError(
            f"devices: {' and '.join(together)} bring different versions of NVIDIA's libraries and cannot share one environment. "
            "Let conda make one for each (snakemake --cores 1 --use-conda), or compare them in two runs of make, each of which "
            "installs the libraries that it needs."
        )
    return parts


def check_disks(results: str | Path) -> None:
    """Raises DiskFault where the project, its results, Snakemake's metadata or its cache cannot be written to.

    The disk may be full, or a folder may be another user's, as after a start as root in a container. results: folder.
    """
    cache = Path(platformdirs.user_cache_dir("snakemake", "snakemake"))
    for folder, purpose in (
        (ROOT, "the project"),
        (ROOT / ".snakemake", "Snakemake's metadata"),
        (ROOT / results, "the results"),
        (cache, "Snakemake's cache; XDG_CACHE_HOME=/path moves it"),
    ):
        existing = disks.nearest(folder)
        if fault := disks.fault_of(existing):
            raise disks.DiskFault(fault, f"{existing}, for {purpose}")


def is_installed(part: str) -> bool:
    """Whether any version of a part is in .venv (locks/install.sh leaves a stamp)."""
    return any((ROOT / ".venv").glob(f".stamp-{part}-[0-9]*"))


def main(config_files: list[str | Path], names: list[str]) -> None:
    config = {}
    for path in config_files:
        update_config(config, experiment_file.read(path))
    if names:
        config["devices"] = names
    catalog, models, schema = (
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
        for name in ("catalog/devices.yaml", "catalog/models.yaml", "schemas/config.schema.yaml")
    )
    # Before anything is installed; Snakemake checks the same later.
    checks.check(config, axes.into_experiment_schema(schema), models, " + ".join(map(str, config_files)))
    check_disks(config["pathvars"]["results"])
    machine = inventory.read()
    choice = choosing.NONE
    if config["devices"] == "auto":
        choice = choosing.of(machine, config["pathvars"]["results"])
    entries = plan.devices(config, catalog, lambda: choosing.entries(choice, catalog))
    builds = gpu_support.builds(machine.processor, gpu_support.own_list_of_tensorflow())
    unserved = choosing.unserved(entries, machine.gpus, builds)
    for name, reason in unserved.items():
        print(f"{name}: {reason}. Nothing is installed for it; its runs will be unavailable.", file=sys.stderr)
    entries = [entry for entry in entries if entry["name"] not in unserved]
    parts = parts_of(entries, bool(machine.gpus), machine.processor)
    if machine.failure:
        print(machine.failure, file=sys.stderr)
    if not all(map(is_installed, parts)):
        print(f"Devices: {', '.join(entry['name'] for entry in entries)}", *choice.lines, sep="\n  ", file=sys.stderr)
    print(*parts, sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--devices", default="")
    parser.add_argument("config", nargs="+")
    arguments = parser.parse_args()
    try:
        main(arguments.config, arguments.devices.replace(",", " ").split())
    except UserError as error:
        sys.exit(str(error))
