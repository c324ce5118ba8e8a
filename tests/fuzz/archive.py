"""Archives of CIFAR-10: .tar.gz."""

import gzip
import io
import os
import tarfile
from pathlib import Path

from archives import batch, cifar10_files, plain_archive

from fuzz.changes import damaged
from trainoff import bounds
from trainoff.prepare import datasets

NAME = "archive of images (.tar.gz)"
FOLDER = datasets.CIFAR10.folder
PLAIN = plain_archive(cifar10_files(per_class=1))
BLOCK = tarfile.BLOCKSIZE
with tarfile.open(fileobj=io.BytesIO(PLAIN)) as _tar:
    HEADERS = [member.offset for member in _tar]
# Where the fields of a header begin: name, mode, owner, size, time, type, target of a link, format, prefix of the name.
FIELDS = {"name": 0, "mode": 100, "size": 124, "time": 136, "type": 156, "target": 157, "format": 257, "prefix": 345}
CHECKSUM = 148
CONTENTS = [
    *(b"../../evil\0", b"/etc/passwd\0", b"\x1b[2J\0", b"\xff\xfe\0", b"x" * 100, b"\0", b"a/\0"),
    f"{FOLDER}/test_batch.bin\0".encode(),
    *(b"%011o\0" % size for size in (0, 1, 3073, 10 * 3073, 8**11 - 1)),
    b"\x80" + b"\xff" * 11,
    (2**96 - 512).to_bytes(12, "big"),
    *(bytes([kind]) for kind in b"01234567LKSxgXNDMV"),
]


def with_header(data, start, field, value):
    """A tar with `value` in a field of the header that begins at byte `start`, with a correct checksum."""
    header = bytearray(data[start : start + BLOCK])
    place = FIELDS[field]
    header[place : place + len(value)] = value
    header[CHECKSUM : CHECKSUM + 8] = b" " * 8
    header[CHECKSUM : CHECKSUM + 8] = b"%06o\0 " % sum(header)
    return data[:start] + bytes(header[:BLOCK]) + data[start + BLOCK :]


def member(name, content=b"", kind=tarfile.REGTYPE, size=None, target="", how=tarfile.GNU_FORMAT):
    """The blocks of one member. size: the size that its header claims, None for its real size."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content) if size is None else size, target
    return info.tobuf(how) + content + bytes(-len(content) % BLOCK)


def pax(records, kind=tarfile.XHDTYPE, size=None):
    lines = b""
    for key, value in records.items():
        line = f" {key}={value}\n".encode("utf-8", "surrogateescape")
        length = len(line) + len(str(len(line) + 3))
        lines += str(length).encode() + line
    return member("pax", lines, kind, size)


EXTRAS = [
    lambda random: member(f"{FOLDER}/sub/test_batch.bin", batch([3] * 10, 1)),
    lambda random: member(f"{FOLDER}/test_batch.bin", batch([3] * 10, 1)),
    lambda random: member(f"./{FOLDER}/../{FOLDER}/test_batch.bin", batch([3] * 10, 1)),
    lambda random: member(f"{FOLDER}/test_batch.bin", kind=tarfile.SYMTYPE, target="/etc/passwd"),
    lambda random: member(
        "x", kind=random.choice([b"1", b"3", b"4", b"6", b"S", b"V", b"Z"]), target=f"{FOLDER}/test_batch.bin"
    ),
    lambda random: member("x" * random.choice([10, 90, 250, 3000])),
    lambda random: member("long", b"y" * random.choice([0, 5, 300, 70_000]), tarfile.GNUTYPE_LONGNAME),
    lambda random: pax(
        {
            random.choice(["path", "size", "comment", "GNU.sparse.map", "linkpath"]): random.choice(
                ["1", "a/b", "../x", "9" * 40]
            )
        }
    ),
    lambda random: pax({"path": f"{FOLDER}/test_batch.bin"}) + member("x", batch([3] * 10, 1)),
    lambda random: pax(
        {"comment": "x" * random.choice([3, 70_000])}, random.choice([tarfile.XHDTYPE, tarfile.XGLTYPE])
    ),
    lambda random: member("x", size=random.choice([-1, 1, 10**9, 10**12]) % 8**11),
    lambda random: bytes(BLOCK),
    lambda random: random.randbytes(BLOCK),
]


def packed(folder, data, level=1):
    path = folder / "images.tar.gz"
    path.write_bytes(gzip.compress(data, level))
    return path


def mutated(random, folder):
    data = PLAIN
    kind = random.randrange(4)
    if kind == 0:
        return packed(folder, damaged(random, data), 0)
    if kind == 1:
        path = packed(folder, data)
        path.write_bytes(damaged(random, path.read_bytes()))
        return path
    if kind == 2:
        for _ in range(random.randint(1, 3)):
            data = with_header(data, random.choice(HEADERS), random.choice(list(FIELDS)), random.choice(CONTENTS))
        return packed(folder, data)
    starts = random.sample([*HEADERS, HEADERS[-1] + 2 * BLOCK], random.randint(1, 2))
    for start in sorted(starts, reverse=True):
        data = data[:start] + random.choice(EXTRAS)(random) + data[start:]
    return packed(folder, data)


def read(path):
    splits, names = datasets.load_cifar10(path)
    assert len(names) == 10
    for images, labels in splits.values():
        assert images.shape == (len(labels), 32, 32, 3) and set(labels.tolist()) <= set(range(10))
    if splits["validation"][1].tolist() == [3] * 10:
        # An invented batch may be read if the archive has no other, but must never replace one that it has.
        with tarfile.open(path) as archive:
            assert [Path(member.name).name for member in archive].count("test_batch.bin") == 1


def _in_pieces(folder, pieces):
    """A .tar.gz made of chunks of bytes, without holding all of it in memory."""
    path = folder / "images.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        for piece in pieces:
            file.write(piece)
    return path


def _repeated(block, times):
    return (block for _ in range(times))


MIB = bytes(2**20)
LONG = tarfile.GNUTYPE_LONGNAME
REGRESSIONS = {
    "batch in a folder below": lambda folder: packed(
        folder, member(f"{FOLDER}/sub/test_batch.bin", batch([3] * 10, 1)) + PLAIN
    ),
    "batch in a folder below, last": lambda folder: packed(
        folder,
        PLAIN[: HEADERS[-1] + 2 * BLOCK] + member(f"{FOLDER}/sub/test_batch.bin", batch([3] * 10, 1)) + bytes(1024),
    ),
    "batch twice": lambda folder: packed(folder, member(f"{FOLDER}/test_batch.bin", batch([3] * 10, 1)) + PLAIN),
    "batch twice, once with a dot": lambda folder: packed(
        folder, member(f"./{FOLDER}/test_batch.bin", batch([3] * 10, 1)) + PLAIN
    ),
    "pax header of a gigabyte": lambda folder: _in_pieces(
        folder, [member("pax", kind=tarfile.XHDTYPE, size=2**30), *_repeated(MIB, 300)]
    ),
    "long name of a gigabyte": lambda folder: _in_pieces(
        folder, [member("x", kind=LONG, size=2**30), *_repeated(MIB, 300)]
    ),
    "endless long names": lambda folder: packed(folder, member("next", kind=LONG) * 3000),
    "endless pax headers": lambda folder: packed(folder, pax({"comment": "x"}) * 3000),
    "a million members": lambda folder: _in_pieces(folder, (member(str(number)) for number in range(60_000))),
    "gigabytes of nothing": lambda folder: _in_pieces(folder, [member("x", size=2**31), *_repeated(MIB, 700)]),
    "gigabytes in batches": lambda folder: _in_pieces(
        folder, [member(f"{FOLDER}/test_batch.bin", size=2**31), *_repeated(MIB, 300)]
    ),
    "batch as large as allowed, of one wrong label": lambda folder: _in_pieces(
        folder, [member(f"{FOLDER}/test_batch.bin", size=60 * 2**20), *_repeated(b"\x77" * 2**20, 60), PLAIN]
    ),
    "sparse": lambda folder: packed(folder, member("x", kind=tarfile.GNUTYPE_SPARSE) + PLAIN),
    "link to the world": lambda folder: packed(folder, member("x", kind=tarfile.SYMTYPE, target="/etc/passwd") + PLAIN),
    "hard link to a batch": lambda folder: packed(
        folder, PLAIN[:-1024] + member("x", kind=tarfile.LNKTYPE, target=f"{FOLDER}/test_batch.bin") + bytes(1024)
    ),
    "size that leads back": lambda folder: packed(
        folder, with_header(PLAIN, HEADERS[0], "size", (2**96 - 512).to_bytes(12, "big"))
    ),
    "name that drives a terminal": lambda folder: packed(folder, member("\x1b[2J\u202e") + PLAIN),
    "zeros, larger than the limit": lambda folder: _sparse(folder),
    "empty": lambda folder: packed(folder, b""),
}


def _sparse(folder):
    path = packed(folder, PLAIN)
    os.truncate(path, bounds.ARCHIVE_FILE_BYTES + 1)
    return path
