"""Downloads with retries, a check of size and hash, and an atomic write."""

import logging
import shutil
import tempfile
from pathlib import Path
from typing import TextIO

import pooch
import requests
from tqdm import tqdm

from trainoff.errors import UserError, one_line
from trainoff.files import whole

ATTEMPTS = 3


def download(
    url: str, output: str | Path, known_hash: str | None, size: int | None, terminal: TextIO, otherwise: str
) -> None:
    """Downloads `url` to `output`, with a progress bar on `terminal`; tries ATTEMPTS times.

    known_hash: the expected hash, "sha256:…" or "md5:…", or None; size: the expected bytes, or None. otherwise: what else the
    user can do.
    Raises UserError when the download fails or is not what was expected.
    """
    pooch.get_logger().setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="trainoff-") as folder:
        fetcher = pooch.create(
            path=folder,
            base_url="",
            registry={"download": known_hash},
            urls={"download": url},
            retry_if_failed=ATTEMPTS - 1,
        )
        # pooch sets the total itself, from what the server says.
        bar = tqdm(
            total=size or 1, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1], file=terminal, mininterval=1
        )
        try:
            fetched = Path(fetcher.fetch("download", downloader=pooch.HTTPDownloader(progressbar=bar, timeout=60)))
        except (requests.RequestException, ValueError) as error:
            raise UserError(
                f"{url} could not be downloaded: {one_line(error, 600)}. Try again later, or {otherwise}."
            ) from error
        finally:
            bar.close()
        if size is not None and fetched.stat().st_size != size:
            raise UserError(
                f"{url} gave {fetched.stat().st_size} bytes, expected {size}. Try again later, or {otherwise}."
            )
        with whole(output) as path:
            shutil.copyfile(fetched, path)
