"""Image files in the user's folder: JPEG, PNG, WebP and BMP."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from fuzz.changes import damaged
from trainoff import bounds
from trainoff.errors import UserError
from trainoff.prepare import pixels

NAME = "image (.jpg, .png, .webp, .bmp)"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Boundary values of widths and heights: 2**31 pixels, our limit, the limits of the formats.
SIDES = [0, 1, 2, 16_383, 16_384, 46_341, 60_000, 65_535, 2**31 - 1, 2**32 - 1]
ORIENTATION = 0x0112


def encoded(kind, mode="RGB", size=(24, 16), seed=0, **options):
    """The bytes of a valid image of noise."""
    draw = np.random.default_rng(seed)
    values = draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    data = (
        Image.fromarray(values[..., 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(values).convert(mode)
    )
    file = io.BytesIO()
    data.save(file, kind, **options)
    return file.getvalue()


def upright_as(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def animated(kind, frames=3):
    first, *rest = (Image.new("RGB", (16, 16), (number, 9, 9)) for number in range(frames))
    file = io.BytesIO()
    first.save(file, kind, save_all=True, append_images=rest)
    return file.getvalue()


VALID = [
    *(encoded("PNG", mode) for mode in ("RGB", "RGBA", "P", "L", "LA", "1", "I;16")),
    *(encoded("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
    encoded("JPEG", progressive=True),
    encoded("JPEG", exif=upright_as(6)),
    encoded("PNG", exif=upright_as(5)),
    *(encoded("WEBP", mode) for mode in ("RGB", "RGBA")),
    encoded("WEBP", lossless=True, exif=upright_as(8)),
    *(encoded("BMP", mode) for mode in ("RGB", "P", "L", "1")),
    animated("PNG"),
    animated("WEBP"),
]


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def chunks_of(data):
    """[(name, content)] of a valid PNG."""
    chunks, place = [], len(SIGNATURE)
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def png(chunks):
    return SIGNATURE + b"".join(chunk(name, content) for name, content in chunks)


def expanding(megabytes=64):
    return zlib.compress(bytes(megabytes * 2**20), 9)


def rearranged(random, data):
    """A PNG with one thing changed and correct checksums."""
    chunks = chunks_of(data)
    kind, place = random.randrange(5), random.randrange(len(chunks))
    if kind == 0:
        header = bytearray(chunks[0][1])
        header[0:8] = struct.pack(">II", random.choice(SIDES), random.choice(SIDES))
        chunks[0] = (b"IHDR", bytes(header))
    elif kind == 1:
        header = bytearray(chunks[0][1])
        header[random.randrange(8, 13)] = random.choice([0, 1, 2, 3, 4, 6, 8, 16, 255])
        chunks[0] = (b"IHDR", bytes(header))
    elif kind == 2:
        extra = random.choice(
            [
                (b"zTXt", b"text\0\0" + expanding()),
                (b"iCCP", b"icc\0\0" + expanding()),
                (b"tEXt", b"\x1b[2J\0" + b"\xff" * 70_000),
                (b"eXIf", random.randbytes(300)),
                (b"PLTE", random.randbytes(3 * random.choice([0, 1, 256, 300]))),
                (b"tRNS", random.randbytes(random.choice([0, 1, 6, 300]))),
                (b"acTL", struct.pack(">II", random.choice([0, 1, 2**31 - 1]), 0)),
            ]
        )
        chunks.insert(min(1 + random.randrange(len(chunks)), len(chunks) - 1), extra)
    elif kind == 3:
        chunks[place] = (chunks[place][0], damaged(random, chunks[place][1]) or b"\0")
    else:
        chunks = [*chunks[:place], chunks[place], *chunks[place:]] if random.random() < 0.5 else chunks[:place]
    return png(chunks)


def with_sides(random, data):
    """A JPEG or BMP that claims the wrong width or height."""
    data = bytearray(data)
    if data[:2] == b"BM":
        data[18:26] = struct.pack("<II", random.choice(SIDES), random.choice(SIDES))
        data[30:34] = struct.pack("<I", random.choice([0, 1, 2, 3, 4, 99]))
        return bytes(data)
    start = next(
        (place for place in range(len(data) - 9) if data[place] == 0xFF and data[place + 1] in (0xC0, 0xC2)), None
    )
    if start is not None:
        data[start + 5 : start + 9] = struct.pack(">HH", *(random.choice(SIDES) & 0xFFFF for _ in range(2)))
    return bytes(data)


def mutated(random, folder):
    data = random.choice(VALID)
    if data.startswith(SIGNATURE) and random.random() < 0.5:
        data = rearranged(random, data)
    elif data[:2] in (b"BM", b"\xff\xd8") and random.random() < 0.5:
        data = with_sides(random, data)
    if random.random() < 0.6:
        data = damaged(random, data)
    return written(data)(folder)


def read(path):
    """Reads an image as in a folder of images: gives its pixels or a reason, which counts as a rejection."""
    try:
        image = pixels.read(path)
    except pixels.BadImage as error:
        raise UserError(str(error)) from error
    width, height = image.size
    assert image.mode == "RGB" and 0 < width * height <= bounds.IMAGE_PIXELS
    assert len(pixels.digest(image)) == 32
    for fit in pixels.FITS:
        assert pixels.square(image, 32, fit).size == (32, 32)


def written(data):
    def make(folder):
        path = folder / "image"
        path.write_bytes(data() if callable(data) else data)
        return path

    return make


def of_one_color(width, height, colors=2, rows=None):
    """A PNG with many pixels in few bytes. colors: 2 for RGB, 6 for RGBA; rows: number of rows stored, None for all."""
    row = bytes(1 + width * {2: 3, 6: 4}[colors])
    packer = zlib.compressobj(9)
    lines = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colors, 0, 0, 0)
    return png([(b"IHDR", header), (b"IDAT", lines), (b"IEND", b"")])


def of_many_scans():
    """A progressive JPEG whose last scan is repeated a thousand times."""
    file = io.BytesIO()
    Image.new("RGB", (4000, 4000), (9, 99, 199)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * 1000 + data[-2:]


LARGEST = int(bounds.IMAGE_PIXELS**0.5)
REGRESSIONS = {
    "claims 60,000 x 60,000 pixels": written(lambda: of_one_color(60_000, 60_000, rows=1)),
    "as large as allowed, cut": written(lambda: of_one_color(LARGEST, LARGEST, colors=6, rows=10)),
    "text that expands": written(lambda: rearranged_with(b"zTXt", b"text\0\0" + expanding(400))),
    "color profile that expands": written(lambda: rearranged_with(b"iCCP", b"icc\0\0" + expanding(400))),
    "a thousand scans": written(lambda: of_many_scans()),
    "empty": written(b""),
}


def rearranged_with(name, content):
    first, *rest = chunks_of(VALID[0])
    return png([first, (name, content), *rest])
