"""The user's arrays in a .npz file: how they are prepared, and messages about files that do not fit."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare_images
from trainoff import bounds
from trainoff.errors import UserError
from trainoff.files import Hashes
from trainoff.prepare import arrays, survey


def content(dtype=np.float64, shape=(5,), numbers=(30, 10), classes=3):
    generator = np.random.default_rng(0)
    values = {}
    for split, number in zip(("train", "validation"), numbers, strict=True):
        values[f"x_{split}"] = (generator.random((number, *shape)) * 100).astype(dtype)
        values[f"y_{split}"] = np.arange(number) % classes
    return values


def write(path, save=np.savez, **changes):
    found = {name: values for name, values in (content() | changes).items() if values is not None}
    save(path, **found)
    return path


def prepare(folder, path, counts=None):
    names = [f"{split}_{what}" for split in ("train", "validation") for what in ("images", "labels")]
    outputs = {name: folder / f"{name}.npy" for name in names}
    dataset = {"name": "arrays", "path": str(path)}
    identity = survey.survey(dataset, Hashes(folder / "notes.json"), 1).identity
    made_from = {"dataset": "arrays", "images": counts or {"train": None, "validation": None}, **identity}
    prepare_images.prepare_images(made_from, dataset, str(path), 0, outputs, folder / "facts.json")
    return {name: np.load(path, mmap_mode="r") for name, path in outputs.items()}, json.loads(
        (folder / "facts.json").read_text()
    )


@pytest.mark.parametrize("kind", ["arrays", "folder"])
def test_data_that_changed_since_the_start_is_not_prepared(kind, tmp_path):
    dataset = {"name": kind, "path": str(tmp_path / kind)}
    if kind == "arrays":
        dataset["path"] = str(write(tmp_path / "own.npz"))
    else:
        for name in ("a", "b"):
            (tmp_path / kind / name).mkdir(parents=True)
            (tmp_path / kind / name / "0.png").write_bytes(b"it is not looked at")
            (tmp_path / kind / name / "1.png").write_bytes(name.encode())
    made_from = {"dataset": kind, "images": {"train": None, "validation": None}, "files_sha256": "0" * 64}
    with pytest.raises(UserError, match="has changed since the start. Start again once it stays as it is"):
        prepare_images.prepare_images(made_from, dataset, dataset["path"], 8, {}, tmp_path / "facts.json")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "dtype, fed, shape",
    [
        (np.float64, np.float32, (5,)),
        (np.uint8, np.uint8, (4, 6, 1)),
        (">i8", np.int32, (7,)),
        (bool, np.uint8, (2, 2)),
        (np.float16, np.float32, (3,)),
    ],
)
def test_samples_of_any_shape_and_type_become_what_every_framework_takes(tmp_path, save, dtype, fed, shape):
    given_arrays = content(dtype, shape)
    given_arrays["x_train"] = np.asfortranarray(given_arrays["x_train"])
    given_arrays["y_train"] = given_arrays["y_train"][:, None].astype(np.uint8)
    path = write(tmp_path / "my.npz", save, **given_arrays)
    prepared, facts = prepare(tmp_path, path)
    assert prepared["train_images"].dtype == fed and prepared["train_labels"].dtype == np.int32
    assert np.array_equal(prepared["train_images"], given_arrays["x_train"].astype(fed))
    assert np.array_equal(prepared["validation_labels"], given_arrays["y_validation"])
    assert facts["class_names"] == ["0", "1", "2"] and facts["class_counts"]["validation"] == [4, 3, 3]
    known = survey.survey({"name": "arrays", "path": str(path)}, Hashes(tmp_path / "notes.json"), 1)
    assert known.classes == 3 and known.inputs == {"input_shape": list(shape), "input_dtype": np.dtype(fed).name}


def test_a_subset_has_as_many_of_every_class(tmp_path):
    prepared, facts = prepare(tmp_path, write(tmp_path / "my.npz"), {"train": 6, "validation": None})
    assert np.bincount(prepared["train_labels"]).tolist() == [2, 2, 2]
    assert np.array_equal(prepared["train_images"], content()["x_train"][:6].astype(np.float32))


def changed(name, place, value, dtype=None):
    values = content()[name].astype(dtype) if dtype else content()[name]
    values[place] = value
    return {name: values}


@pytest.mark.parametrize(
    "change, hint",
    [
        ({"y_validation": None}, "lacks y_validation"),
        ({"y_train": content()["y_train"].astype(float)}, "y_train is float64.*whole numbers"),
        ({"y_train": np.eye(3)[content()["y_train"]]}, "y_train has shape .*one-hot"),
        ({"y_train": content()["y_train"][1:]}, "one label per sample"),
        ({"y_train": np.zeros(30, int)}, "y_train holds one class"),
        ({"y_train": content()["y_train"] * 2}, "no sample has label 1"),
        (changed("y_train", 4, -1), r"y_train\[4\] is -1"),
        (changed("y_train", 4, 2**40), r"y_train\[4\] is 1099511627776"),
        (changed("y_validation", 0, 3), "y_validation holds label 3, y_train goes up to 2"),
        (changed("x_train", (3, 2), np.nan), r"x_train\[3, 2\] is nan"),
        (changed("x_validation", (0, 0), 1e300), r"x_validation\[0, 0\] is 1e\+300"),
        (
            changed("x_train", (0, 0), 2**40, np.int64) | {"x_validation": np.ones((10, 5), int)},
            r"x_train\[0, 0\] is 1099511627776",
        ),
        ({"x_train": np.zeros((30, 6))}, "the same shape and type"),
        ({"x_train": np.zeros((30, 5), np.uint8)}, "the same shape and type"),
        ({"x_train": np.zeros(30)}, r"shape \(30,\)"),
        ({"x_train": np.zeros((0, 5)), "y_train": np.zeros(0, int)}, "none empty"),
        ({"x_train": np.array([[1], [1, 2]] * 15, dtype=object)}, "holds Python objects"),
        ({"x_train": np.full((30, 5), "text")}, "is of type <U4"),
        ({"x_train": np.zeros((30, 5), complex)}, "is of type complex128"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_a_sentence(tmp_path, change, hint):
    with pytest.raises(UserError, match=hint) as refusal:
        prepare(tmp_path, write(tmp_path / "my.npz", **change))
    assert "my.npz" in str(refusal.value)


def header(descr, shape):
    """A .npy header of version 1.0 that claims a type and shape."""
    words = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(words).to_bytes(2, "little") + words


@pytest.mark.parametrize(
    "member, hint",
    [
        (header("<f8", (2**40, 5)), "larger than|announces"),
        (header("<f8", (10**4000, 5)), "larger than|cannot be read|no NumPy array"),
        (header("<f8", (-1, 5)), "negative|no NumPy array"),
        (header("<f8", (30, 5)) + bytes(1201), "announces"),
        (pickle.dumps([1, 2]), "no NumPy array"),
        (b"", "no NumPy array|cannot be read"),
    ],
)
def test_members_that_claim_what_they_are_not_are_refused_before_they_are_read(tmp_path, member, hint):
    path = write(tmp_path / "my.npz", x_train=None)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("x_train.npy", member)
    with pytest.raises(UserError, match=hint) as refusal:
        arrays.members(path)
    assert len(str(refusal.value)) < 500


def test_zeros_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "ARRAYS_SAMPLE_BYTES", 2**20)
    path = write(tmp_path / "my.npz", x_train=None)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file,
        file.open("x_train.npy", "w", force_zip64=True) as member,
    ):
        member.write(header("|u1", (1, 2**21)))
        member.write(bytes(2**21))
    with pytest.raises(UserError, match="larger than"):
        arrays.members(path)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_file_gives_arrays_or_a_sentence(tmp_path_factory, data):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **content())
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    try:
        by_name = arrays.members(path)
        arrays.labels(path)
        for name in ("x_train", "x_validation"):
            assert sum(len(piece) for piece in arrays.converted(path, by_name[name], name)) == by_name[name].shape[0]
    except UserError as error:
        assert str(error).isprintable() and len(str(error)) < 500
