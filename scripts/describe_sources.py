"""Writes down what images and weights are made of: what runs depend on, whenever these were prepared."""

import json

from trainoff.files import sha256, write_text
from trainoff.script import logged


def describe_sources(settings, own_files, output):
    """Writes the experiment's `settings` of them and the SHA-256 of the user's own files to `output` (JSON)."""
    hashes = {path: sha256(path) for path in own_files}
    write_text(output, json.dumps({**settings, "own_files": hashes}, indent=1) + "\n")


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        describe_sources(snakemake.params.settings, snakemake.input.own_files, snakemake.output.sources)
