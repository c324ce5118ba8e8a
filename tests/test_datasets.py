"""Datasets of images: where they come from, that runs never train on validation images, and messages about bad archives."""

import json
import tarfile

import numpy as np
import pytest
from archives import batch, cifar10_files, cifar100_files, write_archive
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare_images
from trainoff.errors import UserError
from trainoff.files import sha256
from trainoff.measure.batches import training_batches, validation_batches
from trainoff.prepare import datasets


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_archive(tmp_path_factory.mktemp("archive") / "small.tar.gz", cifar10_files())


def prepare(folder, dataset, archive, counts, img_dim=32):
    outputs = {
        f"{split}_{what}": folder / f"{split}_{what}.npy"
        for split in ("train", "validation")
        for what in ("images", "labels")
    }
    made_from = {"dataset": dataset["name"], "images": counts}
    prepare_images.prepare_images(made_from, dataset, archive, img_dim, outputs, folder / "facts.json")
    arrays = {name: np.load(path, mmap_mode="r") for name, path in outputs.items()}
    return arrays, json.loads((folder / "facts.json").read_text())


@pytest.mark.parametrize("label, classes", [("fine", 100), ("coarse", 20)])
def test_cifar100_has_fine_and_coarse_classes(tmp_path, label, classes):
    archive = write_archive(tmp_path / "small.tar.gz", cifar100_files(), folder=datasets.CIFAR100.folder)
    dataset = {"name": "cifar100", "labels": label}
    arrays, facts = prepare(tmp_path, dataset, archive, {"train": None, "validation": 100})
    assert facts["class_names"] == [f"{label}_{number}" for number in range(classes)]
    assert np.bincount(arrays["train_labels"]).tolist() == [200 // classes] * classes
    assert facts["class_counts"]["validation"] == [100 // classes] * classes
    records = np.frombuffer(cifar100_files()["train.bin"], np.uint8).reshape(-1, 3074)
    assert np.array_equal(arrays["train_images"][7], records[7, 2:].reshape(3, 32, 32).transpose(1, 2, 0))


def distinct(images):
    return {image.tobytes() for image in np.asarray(images)}


@pytest.mark.parametrize("counts", [{"train": None, "validation": None}, {"train": 100, "validation": 20}])
def test_cifar10_validates_on_the_test_batch_alone(archive, tmp_path, counts):
    arrays, facts = prepare(tmp_path, {"name": "cifar10"}, archive, counts)
    files = cifar10_files()
    of_test = {record.tobytes() for record in np.frombuffer(files["test_batch.bin"], np.uint8).reshape(-1, 3073)[:, 1:]}

    def as_stored(images):
        return {np.ascontiguousarray(image.transpose(2, 0, 1)).tobytes() for image in np.asarray(images)}

    assert as_stored(arrays["validation_images"]) <= of_test
    assert not as_stored(arrays["train_images"]) & of_test
    assert facts["class_names"][0] == "airplane"


def test_digits_share_no_image_between_training_and_validation(tmp_path):
    arrays, _ = prepare(tmp_path, {"name": "digits"}, None, {"train": 1280, "validation": 320})
    assert arrays["train_images"].shape == (1280, 32, 32, 3)
    assert arrays["train_images"].dtype == np.uint8
    assert not distinct(arrays["train_images"]) & distinct(arrays["validation_images"])
    for split, each in (("train", 128), ("validation", 32)):
        assert np.bincount(arrays[f"{split}_labels"]).tolist() == [each] * 10


def test_preparing_twice_gives_the_same_bytes(archive, tmp_path):
    counts = {"train": 50, "validation": 10}
    facts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        facts.append(prepare(tmp_path / name, {"name": "cifar10"}, archive, counts, img_dim=48)[1])
    assert facts[0] == facts[1]


def test_a_larger_subset_holds_the_smaller_one():
    labels = np.random.default_rng(0).permutation(np.tile(np.arange(10), 30))
    small, large = (datasets.balanced_subset(labels, count, "abcdefghij", "train") for count in (50, 120))
    assert set(small) < set(large)


def test_a_subset_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="images.train.*at most 40"):
        datasets.balanced_subset(np.tile(np.arange(10), 4), 50, "abcdefghij", "train")


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 5))
def test_every_pass_shows_every_image_once_whatever_the_batch_size(count, batch_size, seed):
    images = np.arange(count)
    stream = training_batches(images, images, batch_size, seed)
    seen = np.concatenate([next(stream)[0] for _ in range(-(-3 * count // batch_size))])
    for start in (0, count, 2 * count):
        assert sorted(seen[start : start + count]) == list(range(count))
    one_by_one = training_batches(images, images, 1, seed)
    assert [int(next(one_by_one)[0][0]) for _ in range(3 * count)] == seen[: 3 * count].tolist()


def test_validation_sees_every_image_once():
    images = np.arange(70)
    seen = np.concatenate([batch[0] for batch in validation_batches(images, images, 32)])
    assert seen.tolist() == list(range(70))


def test_checksum_of_an_own_archive_is_held(archive):
    datasets.load_cifar10(archive, sha256(archive))
    with pytest.raises(UserError, match="has SHA-256 .*, expected 0000"):
        datasets.load_cifar10(archive, "0" * 64)


def link(name):
    member = tarfile.TarInfo(f"{datasets.CIFAR10.folder}/{name}")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    "change, hint",
    [
        ({"data_batch_3.bin": None}, "lacks data_batch_3.bin"),
        ({"data_batch_1.bin": b"\0" * 3072}, "3072 bytes, not a whole number of records"),
        ({"test_batch.bin": b""}, "0 bytes"),
        ({"test_batch.bin": batch([3, 10], 0)}, "record 1 has label 10"),
        ({"../../outside.bin": b"x"}, "points outside"),
        ({"data_batch_2.bin": link("data_batch_2.bin")}, "not a plain file"),
    ],
)
def test_bad_archives_are_refused_in_a_sentence(tmp_path, change, hint):
    files = {name: content for name, content in (cifar10_files() | change).items() if content is not None}
    with pytest.raises(UserError, match=hint):
        datasets.load_cifar10(write_archive(tmp_path / "bad.tar.gz", files))


def test_truncated_and_foreign_files_are_refused(archive, tmp_path):
    whole = archive.read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "text": b"no archive at all", "empty": b""}.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read to its end"):
            datasets.load_cifar10(path)
