"""Describes a dataset at the start of a sweep: how many classes it has and what identifies its data."""

from dataclasses import dataclass, field
from typing import Any

from trainoff.files import Hashes

# Number of classes of published datasets.
PUBLISHED = {"digits": 10, "cifar10": 10}
CIFAR100 = {"fine": 100, "coarse": 20}
VALIDATION_FRACTION = 0.2
# Cache of the hashes of the user's files.
NOTES = ".snakemake/trainoff/data.json"


@dataclass(frozen=True)
class Survey:
    """classes: their number. identity: what identifies the data, apart from the dataset's name and archive, as {name: value}.

    inputs: of arrays, input_shape (without the batch) and input_dtype of a sample; {} for images, uint8 (img_dim, img_dim, 3).
    """

    classes: int
    identity: dict = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)


def survey(dataset: dict[str, Any], hashes: Hashes, workers: int) -> Survey:
    """The Survey of an experiment's key `dataset`. hashes: a cache of hashes; workers: number of reading threads.

    Raises UserError for files that cannot be trained on, as far as names, sizes and labels show.
    """
    name = dataset["name"]
    if name == "cifar100":
        labels = dataset.get("labels", "fine")
        return Survey(CIFAR100[labels], {"labels": labels})
    # Imported only where needed, since NumPy would make every start slower.
    if name == "folder":
        from trainoff.prepare import folders

        contents = folders.index(dataset["path"], hashes, workers)
        has_split = any(file.split for file in contents.files)
        fraction = None if has_split else dataset.get("validation_fraction", VALIDATION_FRACTION)
        fit = dataset.get("fit", "resize")
        identity = {"files_sha256": contents.sha256, "fit": fit, "validation_fraction": fraction}
        return Survey(len(contents.classes), identity)
    if name == "arrays":
        from trainoff.prepare import arrays

        sample = arrays.members(dataset["path"])["x_train"]
        _, classes = arrays.labels(dataset["path"])
        inputs = {"input_shape": list(sample.shape[1:]), "input_dtype": sample.feed.name}
        return Survey(classes, {"files_sha256": hashes.sha256(dataset["path"])}, inputs)
    return Survey(PUBLISHED[name])
