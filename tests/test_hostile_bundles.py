"""Hostile, damaged and changed bundles are rejected with a clear message and do no harm."""

import stat
import zipfile

import pytest
from machine import entry, rewritten

from trainoff import bounds
from trainoff.errors import UserError


def with_text(old, new):
    """Replaces text in records."""
    return lambda name, data: data.replace(old, new) if name.endswith("metrics.json") else data


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


RUN = "runs/cuda/model~mobilenetv2/replicate~1"
HOSTILE = {
    "path upwards": ({"extra": [("../evil.json", b"{}")]}, "has a name that no file in a bundle can have"),
    "path upwards inside": ({"extra": [("runs/cuda/../../../evil/metrics.json", b"{}")]}, "has a name"),
    "absolute path": ({"extra": [("/etc/evil/metrics.json", b"{}")]}, "has a name"),
    "windows path": ({"extra": [("C:\\evil\\metrics.json", b"{}")]}, "has a name"),
    "link": ({"extra": [link(f"{RUN}/metrics.json", "/etc/passwd")]}, "is a link"),
    "zip in a zip": ({"extra": [(f"{RUN}/inner.zip", b"PK")]}, "has a name"),
    "two files of a name": ({"extra": [("bundle.json", b"{}")]}, "is in it twice"),
    "not listed": ({"extra": [(f"{RUN}/metrics.json", b"{}")]}, "present but not listed"),
    "newer version": ({"manifest": lambda content: content | {"bundle_version": 3}}, "made by a newer trainoff"),
    "other kind": ({"manifest": lambda content: content | {"format": "another"}}, "format"),
    "a list": ({"manifest": lambda content: content | {"devices": "cuda"}}, "devices"),
    "no run": ({"manifest": lambda content: content | {"files": {}}}, "listed"),
    "markup in a name": (
        {"manifest": lambda content: content | {"devices": [entry("<script>alert(1)</script>")]}},
        "does not match",
    ),
    "foreign device": ({"manifest": lambda content: content | {"devices": [entry("other")]}}, "holds a different run"),
    "a device twice": ({"manifest": lambda content: content | {"devices": content["devices"] * 2}}, "twice"),
    "endless number": ({"change": with_text(b'"images":640', b'"images":1e999')}, "1e999"),
    "huge number": ({"change": with_text(b'"images":640', b'"images":' + b"9" * 5000)}, "too large"),
    "no number": ({"change": with_text(b'"images":640', b'"images":NaN')}, "NaN"),
    "half a character": ({"change": with_text(b"Linux 6.1", b"\\ud800")}, "surrogates not allowed"),
    "deep nesting": (
        {"change": with_text(b'"failure":null', b'"failure":' + b"[" * 100_000 + b"]" * 100_000)},
        "recursion|nested",
    ),
    "another run inside": ({"change": with_text(b'"replicate":1', b'"replicate":7')}, "a different run than its name"),
    "not a record": ({"change": lambda name, data: b"{}"}, "required"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_in_a_sentence(here, there, case):
    changes, words = HOSTILE[case]
    path = rewritten(there.bundle(), **changes)
    before = set(here.folder.parent.rglob("*"))
    with pytest.raises(UserError, match=words) as refused:
        here.tables(path)
    assert str(path) in str(refused.value) and len(str(refused.value)) < 1000
    places = [here.folder / ".origin", here.folder / "imported"]
    assert not [path for path in set(here.folder.parent.rglob("*")) - before if not {path, *path.parents} & {*places}]


def test_hostile_words_in_harmless_places_stay_words(here, there):
    label = "</script><script>alert(1)</script>"
    path = rewritten(
        there.bundle(), manifest=lambda content: content | {"devices": [entry("cuda", label), entry("v100")]}
    )
    assert {device["label"] for device in here.survey(path).devices} == {"CPU", label, "V100"}


def test_a_zip_bomb_is_refused_before_it_is_read(here, there, monkeypatch):
    path = there.bundle()
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{RUN}/train.log", b"\0" * (bounds.BUNDLE_MEMBER_BYTES + 1))
    assert path.stat().st_size < 200_000
    with pytest.raises(UserError, match="is larger than 32 MiB"):
        here.tables(path)
    monkeypatch.setattr(bounds, "BUNDLE_FILES", 10)
    with pytest.raises(UserError, match="more than 10 files"):
        here.tables(there.bundle())


def test_every_changed_byte_is_noticed_or_changes_nothing(here, there):
    """Changes sixty bytes spread over the file, one at a time."""
    path = there.bundle()
    sound = path.read_bytes()
    expected, _ = here.tables(path)
    refused = 0
    for place in range(0, len(sound), len(sound) // 60):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
        try:
            tables, _ = here.tables(path)
        except UserError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert tables["comparison"] == expected["comparison"], place
    assert refused > 30


def test_a_changed_digit_in_a_sound_zip_is_refused_by_its_hash(here, there):
    """After packing it again, the zip's own checksums and the length are correct: only the listed hash shows the change."""
    path = there.bundle()
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in files if name.endswith("/metrics.json"))
    changed = files[name].replace(b'"images":640', b'"images":740', 1)
    assert changed != files[name] and len(changed) == len(files[name])
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in (files | {name: changed}).items():
            archive.writestr(each, content)
    with pytest.raises(UserError, match="has changed since it was bundled"):
        here.tables(path)


def test_a_refusal_quotes_little_of_what_is_damaged(here, there):
    """Python's zip reader quotes the whole name that a header claims, which here is most of the archive."""
    path = there.bundle()
    damaged = bytearray(path.read_bytes())
    damaged[26:28] = (1500).to_bytes(2, "little")  # length of the first member's name
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="is damaged") as refused:
        here.tables(path)
    assert len(str(refused.value)) < 700 and str(refused.value).isprintable()


NO_BUNDLES = [(b"", "is empty"), (b"no zip", "read as a zip"), (b"PK\5\6" + b"\0" * 18, "holds no bundle.json")]


@pytest.mark.parametrize("content, words", NO_BUNDLES)
def test_what_is_no_bundle_is_said(here, content, words):
    path = here.folder / "bundle.zip"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        here.tables(path)
    half = here.bundle("half.zip")
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    with pytest.raises(UserError, match="cannot be read as a zip"):
        here.tables(half)
