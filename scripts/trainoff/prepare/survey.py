"""What a dataset is, told at the start of a sweep: how many classes it has and what identifies its data."""

from dataclasses import dataclass, field
from typing import Any

from trainoff.files import Hashes

# Classes of the datasets that do not depend on files of the user's own.
PUBLISHED = {"digits": 10, "cifar10": 10}
CIFAR100 = {"fine": 100, "coarse": 20}
VALIDATION_FRACTION = 0.2
# Hashes of the user's files as they were seen last.
NOTES = ".snakemake/trainoff/data.json"


@dataclass(frozen=True)
class Survey:
    """classes: how many. identity: values by name that tell this data from other data, besides the dataset's name and archive.

    inputs: of arrays, input_shape (without the batch) and input_dtype of a sample; {} for images, uint8 (img_dim, img_dim, 3).
    """

    classes: int
    identity: dict = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)


def survey(dataset: dict[str, Any], hashes: Hashes, workers: int) -> Survey:
    """The Survey of an experiment's key `dataset`. hashes: a files.Hashes; workers: threads that read.

    Raises UserError for files that cannot be trained on, as far as names, sizes and labels tell.
    """
    name = dataset["name"]
    if name == "cifar100":
        labels = dataset.get("labels", "fine")
        return Survey(CIFAR100[labels], {"labels": labels})
    # Imported where they are needed: NumPy would make every start slower.
    if name == "folder":
        from trainoff.prepare import folders

        found = folders.index(dataset["path"], hashes, workers)
        given = any(file.split for file in found.files)
        fraction = None if given else dataset.get("validation_fraction", VALIDATION_FRACTION)
        identity = {"files_sha256": found.sha256, "fit": dataset.get("fit", "resize"), "validation_fraction": fraction}
        return Survey(len(found.classes), identity)
    if name == "arrays":
        from trainoff.prepare import arrays

        sample = arrays.members(dataset["path"])["x_train"]
        _, classes = arrays.labels(dataset["path"])
        inputs = {"input_shape": list(sample.shape[1:]), "input_dtype": sample.feed.name}
        return Survey(classes, {"files_sha256": hashes.sha256(dataset["path"])}, inputs)
    return Survey(PUBLISHED[name])
