"""Downloads published ImageNet weights. Their publisher names no hash: the first download's is kept and enforced."""

import json
from pathlib import Path

from trainoff.files import sha256, write_text
from trainoff.prepare.download import download
from trainoff.workflow.script import logged


def fetch_weights(url, output, hashes, terminal):
    """Writes the file at `url` to `output`.

    hashes: JSON file with the SHA-256 of every file fetched before, by name; a file that it knows must match, a new
    one is added.
    """
    known = json.loads(Path(hashes).read_text()) if Path(hashes).exists() else {}
    name = url.rsplit("/", 1)[-1]
    download(
        url,
        output,
        sha256=known.get(name),
        size=None,
        terminal=terminal,
        otherwise="download it elsewhere and name the file in `weights`",
    )
    write_text(hashes, json.dumps(known | {name: sha256(output)}, indent=1, sort_keys=True))


if __name__ == "__main__":
    with logged(snakemake.log[0]) as terminal:
        fetch_weights(snakemake.params.url, snakemake.output.weights, snakemake.params.hashes, terminal)
