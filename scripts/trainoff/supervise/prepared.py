"""Checks the prepared images and weights before a training reads them."""

import os
from pathlib import Path
from typing import Any

from trainoff.errors import UserError
from trainoff.files import sha256_of_all
from trainoff.shapes import Files


def prepared_files(image_facts: str | Path, weight_facts: str | Path) -> Files:
    """Paths of the prepared files by name, which are in the folders of the facts about them."""
    images, weights = Path(image_facts).resolve().parent, Path(weight_facts).resolve().parent
    names = ["train_images", "train_labels", "validation_images", "validation_labels"]
    return {name: str(images / f"{name}.npy") for name in names} | {"weights": str(weights / "weights.npz")}


def check_prepared(files: Files, facts: dict[str, Any]) -> None:
    """Raises UserError when a prepared file has changed since it was written: a run must not train on damaged data.

    files: paths by name; facts: recorded beside them. Reading the files also loads them into the page cache before the clock
    starts.
    """
    images = [path for name, path in files.items() if name != "weights"]
    for rule, paths, expected in (
        ("prepare_images", images, facts["images_sha256"]),
        ("prepare_weights", [files["weights"]], facts["prepared_sha256"]),
    ):
        missing = [path for path in paths if not Path(path).is_file()]
        if missing or sha256_of_all(paths) != expected:
            problem = (
                f"{Path(missing[0]).name}, which {rule} wrote, is missing"
                if missing
                else f"its data differ from what {rule} wrote"
            )
            raise UserError(
                f"{os.path.relpath(Path(paths[0]).parent)}: {problem}. Start once with --forcerun {rule} to prepare it again; "
                "finished runs are kept."
            )
