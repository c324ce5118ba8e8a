"""When a training counts as converged. Standard library only, since every device's environment needs it."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from statistics import NormalDist

from trainoff.shapes import Window

# The last epoch's mean loss must be under this fraction of the first step's.
LOSS_FRACTION = 0.9
CONFIDENCE = 0.95

# Classes are uneven if the largest has more than this many times the images of the smallest: accuracy alone then misleads.
UNEVEN = 1.5

RULE = (
    f"A run is converged when the mean training loss of its last epoch is below {LOSS_FRACTION:.0%} of the loss of its first "
    "step and below the entropy of the training labels, and its validation accuracy is above chance: the lower end of its "
    f"{CONFIDENCE:.0%} Wilson interval over the validation images exceeds the share of the largest class among them."
)


@dataclass(frozen=True)
class Chance:
    """What can be reached without looking at an image. accuracy: on the validation images, by always predicting their largest
    class. loss: of the training, in nats, by predicting the share of every class for every image."""

    accuracy: float
    loss: float


def chance_of(class_counts: dict[str, list[int]]) -> Chance:
    """The Chance of data. class_counts: {"train": images of each class, "validation": …}."""
    train, validation = class_counts["train"], class_counts["validation"]
    shares = [count / sum(train) for count in train if count]
    return Chance(max(validation) / sum(validation), -sum(share * math.log(share) for share in shares))


def uneven(counts: Collection[int]) -> bool:
    """Whether classes are so uneven that balanced accuracy is reported too. counts: images of each class, 0 for none."""
    return max(counts) > UNEVEN * min(counts)


def converged(windows: list[Window], first_loss: float | None, validation_images: int, chance: Chance) -> bool | None:
    """Whether a training converged by RULE; None if that is unknown because there are no windows.

    windows: of the metrics record, in order. first_loss: of the first step. validation_images: the number of images behind
    each accuracy. chance: a Chance.
    """
    if not windows:
        return None
    last = windows[-1]
    if first_loss is None or last["loss"] is None or last["val_accuracy"] is None:
        return False
    low, _ = wilson_interval(last["val_accuracy"], validation_images)
    return last["loss"] < min(LOSS_FRACTION * first_loss, chance.loss) and low > chance.accuracy


def wilson_interval(fraction: float, number: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """(low, high) of a fraction of `number` independent trials (Wilson 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (fraction + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z / (1 + z**2 / number) * math.sqrt(fraction * (1 - fraction) / number + z**2 / (4 * number**2))
    return middle - half, middle + half
