"""The user's images in a folder: what is read, how it is split, and messages about folders that do not fit."""

import os
import random
import struct
import unicodedata
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainoff.errors import UserError
from trainoff.files import Hashes
from trainoff.prepare import folders, parallel, pixels


def picture(seed, size=(20, 10)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def fill(folder, classes, seed=0):
    """Writes `number` different PNG files per class below `folder`. classes: {name: number}."""
    for name, number in classes.items():
        (folder / name).mkdir(parents=True)
        for place in range(number):
            picture(zlib.crc32(f"{seed} {name} {place}".encode())).save(folder / name / f"{place}.png")
    return folder


def index(folder):
    return folders.index(str(folder), Hashes(folder.parent / "notes.json"), 2)


def load(folder, tmp_path, img_dim=8, fit="resize", on_bad_image="stop", validation_fraction=0.2):
    contents = index(folder)
    splits, notes = folders.load(contents, str(folder), img_dim, fit, on_bad_image, validation_fraction, 2, tmp_path)
    return contents.classes, {split: (np.array(images[:]), labels) for split, (images, labels) in splits.items()}, notes


def test_each_class_validates_on_a_part_of_its_images_that_no_training_sees(tmp_path):
    names = ["Äpfel und Birnen", "猫", "two  spaces"]
    fill(tmp_path / "own", dict(zip(names, [10, 20, 30], strict=True)))
    classes, splits, notes = load(tmp_path / "own", tmp_path)
    assert classes == sorted(names)
    counts = {split: np.bincount(labels).tolist() for split, (_, labels) in splits.items()}
    assert dict(zip(classes, counts["validation"], strict=True)) == dict(zip(names, [2, 4, 6], strict=True))
    assert sum(counts["train"]) + sum(counts["validation"]) == 60
    seen = {split: {image.tobytes() for image in images} for split, (images, _) in splits.items()}
    assert not seen["train"] & seen["validation"]
    assert notes == {"skipped_images": 0, "validation_images_in_training": 0}


@settings(max_examples=60, deadline=None)
@given(
    digests=st.lists(st.tuples(st.binary(min_size=1, max_size=1), st.integers(0, 3)), min_size=1, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 3),
)
def test_equal_images_are_on_one_side_whatever_their_class_and_order(digests, fraction, seed):
    shuffled = random.Random(seed).sample(digests, len(digests))
    sides = [
        {
            pair: bool(side)
            for pair, side in zip(pairs, folders.content_split(*zip(*pairs, strict=True), fraction), strict=True)
        }
        for pairs in (digests, shuffled)
    ]
    assert sides[0] == sides[1]
    for digest, _ in digests:
        assert len({side for (other, _), side in sides[0].items() if other == digest}) == 1


def test_names_times_and_formats_of_files_change_nothing_that_is_trained_on(tmp_path):
    fill(tmp_path / "own", {"a": 6, "b": 6})
    before = load(tmp_path / "own", tmp_path)
    for place, path in enumerate(sorted((tmp_path / "own" / "a").iterdir())):
        Image.open(path).save(path.with_name(f"{9 - place}.bmp"))
        path.unlink()
    after = load(tmp_path / "own", tmp_path)
    for split in ("train", "validation"):
        for first, second in zip(before[1][split], after[1][split], strict=True):
            assert np.array_equal(first, second)


def test_the_index_knows_every_change_of_content_and_no_other(tmp_path):
    folder = fill(tmp_path / "own", {"a": 3, "b": 3})
    first = index(folder).sha256
    (folder / "a" / "0.png").rename(folder / "a" / "other name.png")
    (folder / "a" / ".DS_Store").write_bytes(b"left by a file manager")
    assert index(folder).sha256 == first
    (folder / "a" / "1.png").rename(folder / "b" / "from a.png")
    moved = index(folder).sha256
    picture(1).save(folder / "a" / "2.png")
    assert len({first, moved, index(folder).sha256}) == 3


def test_a_split_that_is_given_is_kept_and_what_is_on_both_sides_is_counted(tmp_path):
    folder = tmp_path / "own"
    fill(folder / "train", {"a": 3, "b": 2})
    fill(folder / "val", {"a": 2, "b": 1}, seed=1)
    picture(7).save(folder / "train" / "a" / "same.png")
    picture(7).save(folder / "val" / "b" / "same.bmp")
    _, splits, notes = load(folder, tmp_path)
    assert {split: np.bincount(labels).tolist() for split, (_, labels) in splits.items()} == {
        "train": [4, 2],
        "validation": [2, 2],
    }
    assert notes["validation_images_in_training"] == 1


@pytest.mark.parametrize("training, validation", [("Train", "Test"), ("Training", "Testing"), ("train", "VALID")])
def test_a_split_goes_by_many_names(training, validation, tmp_path):
    folder = tmp_path / "own"
    fill(folder / training, {"a": 3, "b": 2})
    fill(folder / validation, {"a": 2, "b": 1}, seed=1)
    contents = index(folder)
    assert contents.classes == ["a", "b"] and [file.split for file in contents.files].count("validation") == 3


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path / "own", {"train": 3, "tram": 3, "test drives": 3})
    assert index(tmp_path / "own").classes == ["test drives", "train", "tram"]


def rgb(path):
    return np.asarray(pixels.read(path))


def test_every_kind_of_image_becomes_eight_bit_rgb_upright(tmp_path):
    colors = picture(3, size=(12, 8))
    gray = colors.convert("L")
    sixteen = np.asarray(gray).astype(np.uint16) * 257
    alpha = colors.convert("RGBA")
    alpha.putalpha(7)
    turned = Image.Exif()
    turned[0x0112] = 6  # turned by 90 degrees clockwise
    cases = {
        "plain.png": (colors, {}, np.asarray(colors)),
        "plain.bmp": (colors, {}, np.asarray(colors)),
        "exact.webp": (colors, {"lossless": True}, np.asarray(colors)),
        "gray.png": (gray, {}, np.asarray(gray)[..., None].repeat(3, 2)),
        "deep.png": (Image.fromarray(sixteen), {}, np.asarray(gray)[..., None].repeat(3, 2)),
        "palette.png": (gray.convert("P"), {}, np.asarray(gray)[..., None].repeat(3, 2)),
        "bits.png": (gray.convert("1"), {}, np.asarray(gray.convert("1").convert("L"))[..., None].repeat(3, 2)),
        "alpha.png": (alpha, {}, np.asarray(colors)),
        "turned.png": (colors, {"exif": turned}, np.rot90(np.asarray(colors), -1)),
    }
    for name, (image, options, expected) in cases.items():
        image.save(tmp_path / name, **options)
        assert np.array_equal(rgb(tmp_path / name), expected), name
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    flat.save(tmp_path / "print.jpg", quality=95)
    assert np.abs(rgb(tmp_path / "print.jpg").astype(int) - [255, 0, 0]).max() < 8


def test_crop_takes_the_middle_and_resize_takes_all(tmp_path):
    wide = Image.new("RGB", (90, 30), (255, 0, 0))
    wide.paste((0, 255, 0), (30, 0, 60, 30))
    assert {tuple(color) for color in np.asarray(pixels.square(wide, 10, "crop")).reshape(-1, 3).tolist()} == {
        (0, 255, 0)
    }
    assert np.asarray(pixels.square(wide, 9, "resize"))[4, 0].tolist() == [255, 0, 0]


def bomb():
    """A PNG of 60,000 × 60,000 pixels in a few bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_files_that_are_no_images_are_named_and_counted(tmp_path):
    folder = fill(tmp_path / "own", {"a": 4, "b": 4})
    whole = (folder / "a" / "0.png").read_bytes()
    for name, content in {
        "text.jpg": b"no image",
        "cut.png": whole[: len(whole) // 2],
        "bomb.png": bomb(),
        "empty.png": b"",
    }.items():
        (folder / "b" / name).write_bytes(content)
    os.mkfifo(folder / "b" / "pipe.png")
    (folder / "b" / "nowhere.png").symlink_to("gone")
    with pytest.raises(
        UserError, match="6 files are not images: b/bomb.png claims more than .* pixels;.* 1 more.*on_bad_image: skip"
    ):
        load(folder, tmp_path)
    _, splits, notes = load(folder, tmp_path, on_bad_image="skip")
    assert notes["skipped_images"] == 6
    assert sum(len(labels) for _, labels in splits.values()) == 8


def test_many_files_are_decoded_by_processes_as_few_are_by_threads(tmp_path, monkeypatch):
    folder = fill(tmp_path / "own", {"a": 20, "b": 20})
    (folder / "a" / "text.png").write_bytes(b"no image")
    _, few, notes = load(folder, tmp_path, on_bad_image="skip")
    monkeypatch.setattr(parallel, "WORTH_PROCESSES", 1)
    _, many, same_notes = load(folder, tmp_path, on_bad_image="skip")
    assert notes == same_notes and notes["skipped_images"] == 1
    for split in few:
        for threads, processes in zip(few[split], many[split], strict=True):
            np.testing.assert_array_equal(threads, processes)
    with pytest.raises(UserError, match=r"a/text\.png is none of"):
        load(folder, tmp_path)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["png", "jpeg", "webp", "bmp"]))
def test_a_damaged_image_gives_pixels_or_a_reason(tmp_path_factory, data, kind):
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    picture(5, size=(24, 24)).save(path, kind)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        assert rgb(path).shape[2] == 3
    except pixels.BadImage as error:
        assert str(error).isprintable()


@pytest.mark.parametrize(
    "layout, hint",
    [
        ({}, "holds no class"),
        ({"a/0.png": 1}, "holds one class, a"),
        ({"a/0.png": 1, "b": None}, "b has no files"),
        ({"a/0.png": 1, "b/0.png": 2}, "leaves no image to validate on"),
        ({"train/a/0.png": 1, "train/b/0.png": 2}, "holds train/ but no validation/"),
        ({"train/a/0.png": 1, "train/b/0.png": 2, "validation/c/0.png": 3}, "c has no files in train/"),
        ({"train/a/0.png": 1, "train/b/0.png": 2, "validation/a": None}, "leaves no image to validate on"),
        (
            {"seg_train/a/0.png": 1, "seg_train/b/0.png": 2, "seg_test/a/0.png": 3},
            "holds seg_train/ and seg_test/ with .*. Rename",
        ),
    ],
)
def test_folders_that_are_laid_out_otherwise_are_refused_in_a_sentence(tmp_path, layout, hint):
    folder = tmp_path / "own"
    folder.mkdir()
    for name, seed in layout.items():
        path = folder / name
        (path if seed is None else path.parent).mkdir(parents=True, exist_ok=True)
        if seed is not None:
            picture(seed).save(path)
    with pytest.raises(UserError, match=hint):
        index(folder)


def test_no_folder_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot be opened as a folder"):
        index(tmp_path / "gone")


def test_a_name_that_unicode_writes_in_two_ways_is_one_class(tmp_path):
    for form, seed in (("NFC", 1), ("NFD", 2)):
        fill(tmp_path / "own", {unicodedata.normalize(form, "é"): 2, f"other {form}": 2}, seed=seed)
    assert index(tmp_path / "own").classes == ["other NFC", "other NFD", "é"]
