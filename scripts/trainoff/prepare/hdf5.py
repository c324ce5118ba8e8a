"""Reads arrays from untrusted HDF5 files: checks names and sizes before content, and reads nothing but numbers.

These functions run in a process of their own (see `confined`) and return JSON values. The format:
https://docs.hdfgroup.org/hdf5/latest/_f_m_t4.html.
"""

import math
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trainoff import bounds
from trainoff.errors import UserError, one_line

# Filters that are part of h5py; others are plugins that HDF5 would load from this machine.
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
NUMBERS = {h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM}  # h5py stores booleans as an enumeration
# Where Keras 3 keeps the weights in a .keras file.
KERAS_MEMBER = "model.weights.h5"


def structure(path: str | Path, shown: str | Path | None = None) -> dict[str, Any]:
    """The structure of the file at `path`, without reading content: a dict of

    arrays: {name: [shape, type, declared bytes]}; names: {group: name of its layer, as Keras 3 notes it};
    order: names of arrays in the order that legacy Keras files list, [] where they list none.
    shown: the path in messages. Raises UserError for a file that is not HDF5, or holds what no weights file holds.
    """
    shown = shown or path
    with _opened(path, shown) as file:
        arrays, names, size = {}, {}, os.path.getsize(path)
        for name, item in _walk(file, shown):
            if isinstance(item, h5py.Dataset):
                arrays[name] = _checked(item, size, shown)
            elif "vars" in item and (layer := _text(item, b"name")):
                names[name] = layer
        if "model_weights" in file and not isinstance(file["model_weights"], h5py.Group):
            raise _refusal(shown, "model_weights is not a group of layers")
        return {"arrays": arrays, "names": names, "order": [name for name in _order(file) if name in arrays]}


def extract(path: str | Path, names: list[str], output: str | Path, shown: str | Path) -> None:
    """Writes the named arrays of the file at `path` to `output`, an .npz whose keys are their places in `names`.

    shown: the path in messages.
    """
    with _opened(path, shown) as file, zipfile.ZipFile(output, "w") as archive:
        for place, name in enumerate(names):
            dataset = file[name]
            _checked(dataset, os.path.getsize(path), shown)
            array = np.asarray(dataset[()])
            if not np.isfinite(array).all():
                raise UserError(
                    f"weights: {one_line(shown)} holds values that are not finite, in {one_line(name, 100)}."
                )
            with archive.open(f"{place}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def unpack_keras(path: str | Path, output: str | Path) -> bool:
    """Writes the weights in the .keras file (a zip) at `path` to `output`; returns whether there were any."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > bounds.KERAS_ZIP_MEMBERS:
                raise _refusal(path, f"it has {len(entries):,} members, more than {bounds.KERAS_ZIP_MEMBERS:,}")
            matches = [entry for entry in entries if entry.filename == KERAS_MEMBER]
            if len(matches) > 1:
                raise _refusal(path, f"it holds {KERAS_MEMBER} twice")
            if not matches:
                return False
            (entry,) = matches
            size, packed = entry.file_size, os.path.getsize(path)
            if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _refusal(path, f"{KERAS_MEMBER} is encrypted, or compressed in a way that Keras does not use")
            if size > bounds.WEIGHTS_FILE_BYTES or size > bounds.WEIGHTS_EXPANSION * packed:
                raise _refusal(path, f"{KERAS_MEMBER} claims {size:,} bytes in a file of {packed:,}")
            with archive.open(entry) as source, open(output, "wb") as target:
                shutil.copyfileobj(source, target, bounds.MIB)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, zipfile.zlib.error) as error:
        raise _refusal(path, f"it cannot be read as a .keras file, which is a zip ({one_line(error)})") from None
    return True


def _opened(path, shown):
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise _refusal(shown, f"it cannot be read as an HDF5 file ({one_line(error, 160)})") from None


def _walk(file, path):
    """Yields (name, group or dataset) of everything in the file, each once; rejects what no weights file holds."""
    waiting, seen, count = [("", file, 0)], {_address(file)}, 0
    while waiting:
        prefix, group, depth = waiting.pop()
        if depth > bounds.WEIGHTS_DEPTH:
            raise _refusal(path, f"it has groups more than {bounds.WEIGHTS_DEPTH} deep")
        count += len(group)
        if count > bounds.WEIGHTS_OBJECTS:
            raise _refusal(path, f"it has more than {bounds.WEIGHTS_OBJECTS:,} groups and arrays")
        for part in group:
            name = f"{prefix}/{part}" if prefix else part
            if len(name) > bounds.WEIGHTS_NAME or not name.isprintable():
                raise _refusal(path, f"{one_line(name, 100)!r} is not a valid name of a layer or weight")
            if not isinstance(group.get(part, getlink=True), h5py.HardLink):
                raise _refusal(path, f"{one_line(name, 100)} is a link")
            item = group[part]
            if not isinstance(item, (h5py.Group, h5py.Dataset)):
                raise _refusal(path, f"{one_line(name, 100)} is neither a group nor an array")
            address = _address(item)
            if address in seen:
                raise _refusal(path, f"{one_line(name, 100)} has two names")
            seen.add(address)
            yield name, item
            if isinstance(item, h5py.Group):
                waiting.append((name, item, depth + 1))


def _address(item):
    info = h5py.h5o.get_info(item.id)
    return info.addr


def _checked(dataset, size, path):
    """[shape, type, declared bytes] of an array that is safe to read; raises UserError for others."""
    name = one_line(dataset.name, 100)
    # Checked before dataset.dtype, which would build whatever type the file describes.
    kind = dataset.id.get_type()
    if kind.get_class() not in NUMBERS or kind.get_size() > 16:
        raise _refusal(path, f"{name} does not hold plain numbers")
    dtype = dataset.dtype
    if dtype.kind not in "fiub":
        raise _refusal(path, f"{name} does not hold plain numbers")
    if dataset.shape is None:
        raise _refusal(path, f"{name} is empty")
    plist = dataset.id.get_create_plist()
    layout = plist.get_layout()
    if layout == h5py.h5d.VIRTUAL or plist.get_external_count():
        raise _refusal(path, f"the numbers of {name} are in another file")
    declared = math.prod(dataset.shape) * dtype.itemsize
    stored = dataset.id.get_storage_size()
    filters = {plist.get_filter(place)[0] for place in range(plist.get_nfilters())}
    if filters - FILTERS:
        raise _refusal(path, f"{name} is compressed in a way that Keras does not use")
    if stored > size or declared > stored * (bounds.WEIGHTS_EXPANSION if filters else 1):
        raise _refusal(path, f"{name} claims {declared:,} bytes, of which {stored:,} are stored in a file of {size:,}")
    if layout == h5py.h5d.CHUNKED and math.prod(dataset.chunks) * dtype.itemsize > bounds.WEIGHTS_CHUNK_BYTES:
        raise _refusal(path, f"{name} has chunks of more than {bounds.WEIGHTS_CHUNK_BYTES >> 20} MiB")
    return [list(dataset.shape), str(dtype), declared]


def _order(file):
    """Names of the arrays in the order that the attributes of a legacy Keras file list."""
    scope = "model_weights" if "model_weights" in file else ""
    group = file[scope] if scope else file
    for layer in _texts(group, "layer_names"):
        if isinstance(group.get(layer), h5py.Group):
            for weight in _texts(group[layer], "weight_names"):
                yield "/".join(filter(None, (scope, layer, weight)))


def _texts(group, name):
    """The texts of an attribute, which Keras splits into name0, name1, … when it is long; [] for anything else."""
    names = [name.encode()] if name in group.attrs else []
    while not names or names[0] != name.encode():
        part = f"{name}{len(names)}".encode()
        if not h5py.h5a.exists(group.id, part):
            break
        names.append(part)
    attributes = [h5py.h5a.open(group.id, part) for part in names]
    attributes = [
        attribute for attribute in attributes if math.prod(attribute.shape)
    ]  # HDF5 has no size for empty ones
    if sum(attribute.get_storage_size() for attribute in attributes) > bounds.WEIGHTS_NAMES_BYTES:
        return []
    texts = []
    for attribute in attributes:
        if attribute.get_type().get_class() != h5py.h5t.STRING or len(attribute.shape) != 1:
            return []
        # Texts of variable length may all refer to one large text in the file: then the memory limit applies (see confined).
        texts += [_decoded(text) for text in group.attrs[attribute.name.decode()].tolist()]
    return texts if all(len(text) <= bounds.WEIGHTS_NAME for text in texts) else []


def _text(group, name):
    """A short text attribute, "" for none."""
    if not h5py.h5a.exists(group.id, name):
        return ""
    attribute = h5py.h5a.open(group.id, name)
    if attribute.get_type().get_class() != h5py.h5t.STRING or attribute.shape:
        return ""
    value = _decoded(group.attrs[name.decode()])
    return value if len(value) <= bounds.WEIGHTS_NAME else ""


def _decoded(text):
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _refusal(path, reason):
    return UserError(
        f"weights: {one_line(path)} is not used: {reason}. Nothing in it was read; expected a weights file that Keras saved."
    )
