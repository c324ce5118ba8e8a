"""Files appear whole or not at all; a stale lock goes, a living one stays; a script's code is known without running it."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from trainoff import files, records
from trainoff.errors import UserError
from trainoff.workflow import imports, locking
from trainoff.workflow.imports import own_modules

ROOT = Path(__file__).parents[1]
# Modules that say what a device is.
DEVICES = ["devices", "inventory", "numbering", "nvidia", "sensors", "usable"]


def test_a_finished_write_is_whole_and_readable_by_others_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "folder/metrics.json"
    for text in ("old", "new and longer: ü"):
        files.write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert os.listdir(path.parent) == ["metrics.json"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.json"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.whole(path) as temporary:
        temporary.write_text("half of the ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["metrics.json"]


def test_a_disk_that_takes_no_more_leaves_the_old_file(tmp_path):
    """A limit on file size stands in for a full disk: the write fails in the middle in the same way."""
    path = tmp_path / "array"
    files.write_text(path, "old")
    code = f"from trainoff import files; files.write_text({str(path)!r}, 'x' * 10**6)"

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", preexec_fn=limit, capture_output=True, text=True
    )
    assert "File too large" in done.stderr
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["array"]


def test_a_kill_in_the_middle_of_a_write_leaves_no_half_file(tmp_path):
    path = tmp_path / "metrics.json"
    code = f"""
import os, signal
from trainoff import files
with files.whole({str(path)!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts")
    assert not path.exists()


def test_a_stale_lock_is_removed_and_a_living_one_kept(tmp_path):
    lock = tmp_path / "locks/0.input.lock"
    lock.parent.mkdir()
    lock.touch()
    with open(tmp_path / "alive.lock", "a") as living:
        fcntl.flock(living, fcntl.LOCK_SH)
        locking.release_if_abandoned(tmp_path)
        assert lock.exists()
        locking._held.pop().close()
    locking.release_if_abandoned(tmp_path)
    assert not lock.exists()
    locking._held.pop().close()


def test_all_that_the_protocol_imports_is_measured_code_or_known_not_to_be():
    """A module that comes between the readings of the clock must not be forgotten."""
    modules = {Path(path).stem for path in own_modules(ROOT / "scripts/train.py")}
    assert {"protocol", "child", "models", "batches", "tensorflow", "supervise"} <= modules
    protocol = ROOT / "scripts/trainoff/measure/protocol.py"
    used = {Path(path).stem for path in own_modules(protocol, ROOT / "scripts")} - {"__init__"}
    # own is measured where a model is the user's own; the others say what a device is, what memory is used, which classes are
    # uneven, what is wrong and which keys dicts have.
    assert used == {*imports.MEASURED, "own", "memory", *DEVICES, "errors", "convergence", "shapes"} - {"protocol"}


def test_every_version_of_the_measured_code_says_whether_it_measures_something_new():
    listed = yaml.safe_load(imports.SAME_CODE.read_text())
    folder = imports.SAME_CODE.parent
    for name, versions in listed.items():
        digest = imports.meaning((folder / f"{name.removeprefix('trainoff/')}.py").read_bytes(), types=False)
        assert digest in versions, f"{name}: add {digest} to {imports.SAME_CODE}: new, or the one that it equals"
        assert all(equal == "new" or versions[equal] == "new" for equal in versions.values())
    modules = {
        path.stem
        for path in imports.measured_modules(ROOT / "scripts", "tensorflow", ["packed", "probing", "limiting", "own"])
    }
    assert modules <= {name.split("/")[1] for name in listed}


@pytest.mark.parametrize(
    "other, same",
    [
        ('"""Another docstring."""\ndef f(x):\n    "And here."\n    return x + 1  # why\n', True),
        ("def f(x): return (x +\n 1)", True),
        ('def f(x):\n    """Says."""\n    return x + 2', False),
        ("def f(y):\n    return y + 1", False),
        ("def f(x):\n    'a'\n    'b'\n    return x + 1", False),
        ("class f:\n    def f(x):\n        return x + 1", False),
    ],
)
def test_code_counts_by_what_it_means(other, same):
    one = 'def f(x):\n    """Adds one."""\n    return x + 1\n'
    assert (imports.meaning(one) == imports.meaning(other)) is same


def test_types_count_in_a_user_s_code_alone():
    plain = "class A:\n    n: int = 1\ndef f(x, *, y=1):\n    return x"
    typed = (
        "from typing import Any\nfrom collections.abc import Callable\nfrom trainoff import shapes\n"
        "class A:\n    n: int = 1\ndef f(x: Any, *, y: int = 1) -> Callable[[int], shapes.Run]:\n    return x"
    )
    assert imports.meaning(plain, types=False) == imports.meaning(typed, types=False)
    assert imports.meaning(plain) == imports.meaning(plain, types=False) != imports.meaning(typed)
    fields = plain.replace("n: int", "n: float")
    assert imports.meaning(plain, types=False) != imports.meaning(fields, types=False), "fields of a class are read"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"status": "ok"}', "null", "[" * 5000])
def test_rubbish_is_no_record(text, tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(UserError, match="metrics.json.*delete the file"):
        records.read(path)
