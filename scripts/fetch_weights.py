"""Downloads published ImageNet weights and verifies them: by their publisher's hash, or else that of the first download."""

import json
from pathlib import Path
from typing import TextIO

import yaml

from trainoff.errors import UserError
from trainoff.files import sha256, write_text
from trainoff.prepare.download import download
from trainoff.workflow.script import logged

CATALOG = Path(__file__).parents[1] / "catalog" / "models.yaml"
ELSEWHERE = "download it elsewhere and name the file in `weights`"


def published_hash(model: str) -> str | None:
    """The publisher's hash of the weights of a model in the catalog, "md5:…" or "sha256:…"; None where there is none."""
    return yaml.safe_load(CATALOG.read_text(encoding="utf-8"))[model]["weights"].get("hash")


def fetch_weights(
    url: str, output: str | Path, hashes: str | Path, terminal: TextIO, published: str | None = None
) -> None:
    """Writes the file at `url` to `output`.

    published: the publisher's hash, None for none. hashes: JSON file with the SHA-256 of every file downloaded before, by name;
    a file listed there must match, a new one is added.
    """
    known = json.loads(Path(hashes).read_text()) if Path(hashes).exists() else {}
    name = url.rsplit("/", 1)[-1]
    before = known.get(name)
    download(
        url,
        output,
        known_hash=published or (before and f"sha256:{before}"),
        size=None,
        terminal=terminal,
        otherwise=ELSEWHERE,
    )
    digest = sha256(output)
    if before not in (None, digest):
        Path(output).unlink()
        raise UserError(
            f"{url} has changed since it was first downloaded: SHA-256 {digest}, expected {before} ({hashes}). Try again later, "
            f"or {ELSEWHERE}."
        )
    if published is None and before is None:
        print(
            f"{name}: first seen with SHA-256 {digest}; its publisher provides no hash. Later downloads must be the same.",
            file=terminal,
        )
    write_text(hashes, json.dumps(known | {name: digest}, indent=1, sort_keys=True))


if __name__ == "__main__":
    with logged(snakemake.log[0]) as terminal:
        fetch_weights(
            snakemake.params.url,
            snakemake.output.weights,
            snakemake.params.hashes,
            terminal,
            published_hash(snakemake.wildcards.model),
        )
