"""When a training counts as converged, in standard library only, since every device's environment needs it."""

import math
from statistics import NormalDist

# The last epoch's mean loss must be under this fraction of the first step's.
LOSS_FRACTION = 0.9
CONFIDENCE = 0.95

RULE = (
    f"A run is converged when the mean training loss of its last epoch is below {LOSS_FRACTION:.0%} of the loss of its first "
    f"step, and its validation accuracy is above chance: the lower end of its {CONFIDENCE:.0%} Wilson interval over the "
    "validation images exceeds one in the number of classes."
)


def converged(windows, first_loss, validation_images, classes):
    """Whether a training converged by RULE; None when it cannot be told, because there are no windows.

    windows: of the metrics record, in order. first_loss: of the first step. validation_images: how many an accuracy is of.
    """
    if not windows:
        return None
    last = windows[-1]
    if first_loss is None or last["loss"] is None or last["val_accuracy"] is None:
        return False
    low, _ = wilson_interval(last["val_accuracy"], validation_images)
    return last["loss"] < LOSS_FRACTION * first_loss and low > 1 / classes


def wilson_interval(fraction, number, confidence=CONFIDENCE):
    """(low, high) of a fraction of `number` independent trials (Wilson 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (fraction + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z / (1 + z**2 / number) * math.sqrt(fraction * (1 - fraction) / number + z**2 / (4 * number**2))
    return middle - half, middle + half
