"""What one sample of the data is called wherever speed and energy are shown: an image, or a sample where it is none."""

import re
from collections.abc import Iterable

# Sentences, captions and labels are written about images. A key such as images_per_second or a path such as images/img_dim~96
# is no word of them, nor is a key of JSON or YAML.
_WORDS = re.compile(r"""["']images["']|\b(?:per\s+image|images)\b(?!/\w\w|\.\w|:\s*[\n{])""", re.IGNORECASE)


def samples(img_dim: int | None) -> str:
    """The word "images", or "samples" where the axis img_dim does not apply (0)."""
    return "samples" if img_dim == 0 else "images"


def worded(text: str, img_dims: Iterable[int]) -> str:
    """A text about images, as it is for runs at the given image sizes: about samples where none of them applies."""
    img_dims = {int(size) for size in img_dims}
    if img_dims != {0}:
        return text
    return _WORDS.sub(_sampled, text)


def _sampled(match):
    words = match[0]
    return words if words[0] in "\"'" else words.replace("image", "sample").replace("Image", "Sample")
