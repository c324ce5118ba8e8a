"""Which parts of the locks an experiment's devices need in .venv; `make environment` asks.

python scripts/lock_parts.py [--devices "cpu-torch cpu-jax"] config.yaml [preset.yaml]

Prints one part per line, of the devices given or else of the configuration's, and says on standard error what was found.
"""

import argparse
import platform
import sys
from pathlib import Path

import yaml
from snakemake.utils import update_config

from trainoff import devices, experiment, experiment_file
from trainoff.errors import UserError

ROOT = Path(__file__).parents[1]


def parts_of(entries, nvidia):
    """The parts that device entries need besides base, in order, without repeats. nvidia: is there an NVIDIA GPU?

    Raises UserError for devices whose parts do not go together.
    """
    parts = []
    for entry in entries:
        parts += {
            "tensorflow-cuda": ["cuda"] if nvidia else [],
            # PyTorch's own build brings its GPU libraries: several GB that a machine without the GPU does not need.
            "torch": ["torch"] if nvidia or platform.system() == "Darwin" else ["torch-cpu"],
            "jax": ["jax"],
            "jax-cuda": ["jax-cuda"] if nvidia else ["jax"],
        }.get(entry["env"], [])
    parts = list(dict.fromkeys(parts))
    if {"cuda", "jax-cuda"} <= set(parts):
        raise UserError(
            "devices: TensorFlow and JAX bring different versions of NVIDIA's libraries and cannot share one environment. Let "
            "conda make one for each: snakemake --cores 1 --use-conda. Or compare them in two runs of make."
        )
    return parts


def main(config_files, names):
    config = {}
    for path in config_files:
        update_config(config, experiment_file.read(path))
    if names:
        config["devices"] = names
    catalog = yaml.safe_load((ROOT / "catalog/devices.yaml").read_text(encoding="utf-8"))
    entries = experiment.devices(config, catalog, devices.detect)
    nvidia = bool(devices.nvidia_gpus())
    found = "an NVIDIA GPU" if nvidia else "an Apple GPU" if devices.is_apple_silicon() else "no GPU"
    print(f"This machine has {found}; devices: {', '.join(entry['name'] for entry in entries)}.", file=sys.stderr)
    print(*parts_of(entries, nvidia), sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--devices", default="")
    parser.add_argument("config", nargs="+")
    arguments = parser.parse_args()
    try:
        main(arguments.config, arguments.devices.replace(",", " ").split())
    except UserError as error:
        sys.exit(str(error))
