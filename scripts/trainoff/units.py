"""What one sample of the data is called wherever speed and energy are shown: an image, or a sample where it is none."""

import re

# Sentences, captions and labels are written about images. A key such as images_per_second or a path such as images/img_dim~96
# is no word of them.
_WORDS = re.compile(r"\b(per image|images)\b(?!/\w{2})", re.IGNORECASE)
_SAMPLES = {"images": "samples", "Images": "Samples", "per image": "per sample", "Per image": "Per sample"}


def samples(img_dim):
    """The word "images", or "samples" where the axis img_dim does not apply (0)."""
    return "samples" if img_dim == 0 else "images"


def worded(text, img_dims):
    """A text about images, as it is for runs at the given image sizes: about samples where none of them applies."""
    img_dims = {int(size) for size in img_dims}
    if img_dims != {0}:
        return text
    return _WORDS.sub(lambda match: _SAMPLES.get(match[0], match[0]), text)
