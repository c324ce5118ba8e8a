"""Reads one image file: upright, RGB with 8 bits, square."""

import contextlib
import hashlib
import mmap
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from trainoff import bounds
from trainoff.errors import one_line

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
# How an image is made square: stretched, or the largest square in its center cut out.
FITS = ("resize", "crop")


class BadImage(Exception):
    """A file that is not an image. The message says why, without the file's name."""


def read(path: str | Path) -> Image.Image:
    """The image in the file as a Pillow image in RGB, turned upright by its EXIF orientation; of an animation the first frame.

    Transparency is dropped. 16-bit gray is scaled to 8 bits. Raises BadImage for a file that is none of FORMATS, is damaged,
    or claims more than bounds.IMAGE_PIXELS, which is checked before anything is decoded.
    """
    try:
        with warnings.catch_warnings():
            # Warnings about large images, for which we have our own limit, and about damaged EXIF.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > bounds.IMAGE_PIXELS:
                    raise BadImage(f"claims {width:,} × {height:,} pixels, above the limit of {bounds.IMAGE_PIXELS:,}")
                if image.info.get("progressive") and _scans(path) > bounds.IMAGE_SCANS:
                    raise BadImage(f"has more than {bounds.IMAGE_SCANS} scans")
                image.load()
                _set_upright(image)
                image = _eight_bits(image)
                return image if image.mode == "RGB" else image.convert("RGB")
    except (BadImage, MemoryError):
        raise
    except Image.UnidentifiedImageError as error:
        raise BadImage(f"is none of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise BadImage(f"claims more than {bounds.IMAGE_PIXELS:,} pixels") from error
    # Decoders raise errors of every kind for damaged files.
    except Exception as error:
        raise BadImage(f"cannot be decoded ({one_line(error, 100)})") from error


def digest(image: Image.Image) -> bytes:
    """SHA-256 (bytes) of an RGB image's size and pixels: equal for the same image, whatever the file's name or format."""
    sha256 = hashlib.sha256(b"%d %d " % image.size)
    sha256.update(image.tobytes())
    return sha256.digest()


def square(image: Image.Image, img_dim: int, fit: str) -> Image.Image:
    """The image at img_dim × img_dim pixels, scaled bilinearly and antialiased. fit: one of FITS."""
    if fit == "crop":
        side = min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        image = image.crop((left, top, left + side, top + side))
    return image.resize((img_dim, img_dim), Image.Resampling.BILINEAR)


def _set_upright(image):
    # Damaged EXIF does not affect the pixels.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _scans(path):
    """The number of scans in a JPEG, counted by the two bytes that start each; they cannot occur within a scan."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return sum(1 for _ in re.finditer(rb"\xff\xda", data))


def _eight_bits(image):
    """The image with gray of more than 8 bits scaled to 8, which Pillow would clip at 255; others unchanged."""
    if not image.mode.startswith("I"):
        return image
    values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
