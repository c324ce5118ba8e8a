"""Which parts of the locks an experiment's devices need in .venv; `make environment` asks.

python scripts/lock_parts.py [--devices "cpu-torch cpu-jax"] config.yaml [preset.yaml]

Prints one part per line, of the devices given or else of the configuration's, and says on standard error what was found.
"""

import argparse
import sys
from pathlib import Path

import platformdirs
import yaml
from snakemake.utils import update_config

from trainoff.errors import UserError
from trainoff.experiment import experiment_file, plan
from trainoff.machine import choosing, disks, gpu_support, inventory
from trainoff.shapes import Entry

ROOT = Path(__file__).parents[1]
# Parts whose libraries for NVIDIA GPUs lie in the same folders (nvidia/cudnn, nvidia/nccl), of other versions.
APART = {"cuda": "TensorFlow", "torch": "PyTorch", "jax-cuda": "JAX"}


def parts_of(entries: list[Entry], nvidia: bool, system: str = "Linux") -> list[str]:
    """The parts that device entries need besides base, in order, without repeats.

    nvidia: whether there is an NVIDIA GPU; system: as platform.system() gives it.
    Raises UserError for devices whose parts do not go together.
    """
    parts = []
    for entry in entries:
        parts += {
            "tensorflow-cuda": ["cuda"] if nvidia else [],
            # PyTorch's own build brings its GPU libraries: several GB that a machine without the GPU does not need.
            "torch": ["torch"] if nvidia or system == "Darwin" else ["torch-cpu"],
            "jax": ["jax"],
            "jax-cuda": ["jax-cuda"] if nvidia else ["jax"],
        }.get(entry["env"], [])
    # JAX with NVIDIA's libraries trains on a CPU as well.
    parts = [part for part in dict.fromkeys(parts) if part != "jax" or "jax-cuda" not in parts]
    together = [APART[part] for part in parts if part in APART]
    if len(together) > 1:
        raise UserError(
            f"devices: {' and '.join(together)} bring different versions of NVIDIA's libraries and cannot share one environment. "
            "Let conda make one for each: snakemake --cores 1 --use-conda. Or compare them in two runs of make, which exchanges "
            "them."
        )
    return parts


def check_disks() -> None:
    """Raises DiskFault where Snakemake cannot start: it keeps notes in the project and copies of scripts in the user's cache."""
    cache = Path(platformdirs.user_cache_dir("snakemake", "snakemake"))
    for folder, what in ((ROOT, "the project"), (cache, "Snakemake's cache; XDG_CACHE_HOME=/path puts it elsewhere")):
        there = next(place for place in (folder, *folder.parents) if place.is_dir())
        if words := disks.fault_of(there):
            raise disks.DiskFault(words, f"{there}, for {what}")


def is_installed(part: str) -> bool:
    """Whether some version of a part is in .venv (locks/install.sh leaves a stamp)."""
    return any((ROOT / ".venv").glob(f".stamp-{part}-[0-9]*"))


def main(config_files: list[str | Path], names: list[str]) -> None:
    check_disks()
    config = {}
    for path in config_files:
        update_config(config, experiment_file.read(path))
    if names:
        config["devices"] = names
    catalog = yaml.safe_load((ROOT / "catalog/devices.yaml").read_text(encoding="utf-8"))
    found = inventory.read()
    choice = choosing.NONE
    if config["devices"] == "auto":
        choice = choosing.of(found, config["pathvars"]["results"])
    entries = plan.devices(config, catalog, lambda: choosing.entries(choice, catalog))
    builds = gpu_support.builds(found.processor, gpu_support.own_list_of_tensorflow())
    known = choosing.unserved(entries, found.gpus, builds)
    for name, reason in known.items():
        print(f"{name}: {reason}. Nothing is installed for it; its runs will be unavailable.", file=sys.stderr)
    entries = [entry for entry in entries if entry["name"] not in known]
    parts = parts_of(entries, bool(found.gpus), found.system)
    if found.failure:
        print(found.failure, file=sys.stderr)
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
