"""What a sample of the data is called wherever speed and energy are shown: an image, or a sample if it is not an image."""

import re
from collections.abc import Iterable

# Sentences, captions and labels are written for images. Not matched: keys such as images_per_second, paths such as
# images/img_dim~96, and keys of JSON or YAML.
_WORDS = re.compile(r"""["']images["']|\b(?:per\s+image|images)\b(?!/\w\w|\.\w|:\s*[\n{])""", re.IGNORECASE)


def samples(img_dim: int | None) -> str:
    """The word "images", or "samples" where the axis img_dim does not apply (0)."""
    return "samples" if img_dim == 0 else "images"


def worded(text: str, img_dims: Iterable[int]) -> str:
    """A text written about images, for runs at these image sizes: about samples if the axis applies to none of them."""
    img_dims = {int(size) for size in img_dims}
    if img_dims != {0}:
        return text
    return _WORDS.sub(_sampled, text)


def _sampled(match):
    words = match[0]
    return words if words[0] in "\"'" else words.replace("image", "sample").replace("Image", "Sample")
