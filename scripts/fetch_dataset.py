"""Downloads the official binary archive of CIFAR-10 or CIFAR-100 and verifies its size and SHA-256."""

from pathlib import Path
from typing import TextIO

from trainoff.prepare import datasets
from trainoff.prepare.download import download
from trainoff.workflow.script import logged


def fetch_dataset(output: str | Path, terminal: TextIO, url: str, sha256: str, size: int) -> None:
    """Writes the archive to `output` and progress to the stream `terminal`."""
    download(
        url,
        output,
        known_hash=f"sha256:{sha256}",
        size=size,
        terminal=terminal,
        otherwise="download it elsewhere and name the file in dataset.archive",
    )


if __name__ == "__main__":
    with logged(snakemake.log[0]) as terminal:
        fetch_dataset(snakemake.output.archive, terminal, *datasets.DOWNLOADS[snakemake.wildcards.archive])
