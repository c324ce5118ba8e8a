"""Untrusted files: regressions and mutated inputs of every format, read with limited memory and time."""

import random

import pytest
import yaml
from fuzz import runner
from project import ROOT

from trainoff import confined
from trainoff.errors import UserError

MUTATED = 40


@pytest.mark.parametrize("name", runner.FORMATS)
def test_every_input_is_accepted_rightly_or_refused_in_a_sentence(name, tmp_path):
    outcome = runner.run(name, MUTATED, seed=1, folder=tmp_path)
    assert outcome["findings"] == []
    assert outcome["accepted"] and outcome["refused"]


def test_findings_are_found(tmp_path):
    """The runner detects a traceback, a crash, a wrong value, too much memory, and a message that is unsafe to print."""

    def refuse(message):
        error = UserError("")
        error.args = (message,)
        raise error

    def crash(path):
        import os

        os.kill(os.getpid(), 11)

    # A fork inherits the memory of this process, which other tests have filled.
    idle = runner.measured(lambda path: None, None)["peak_bytes"]

    def finding(read):
        result = runner.measured(read, None)
        return runner.finding_in(result, result["peak_bytes"] - idle)

    assert finding(lambda path: None) is None
    assert finding(lambda path: refuse("a sentence")) is None
    assert "ZeroDivisionError" in finding(lambda path: 1 / 0)
    assert "no sentence" in finding(lambda path: refuse(""))
    assert "status 11" in finding(crash)
    assert "no sentence" in finding(lambda path: refuse("\x1b[2J"))
    assert "no sentence" in finding(lambda path: refuse("x" * 5000))
    assert "price of" in finding(lambda path: refuse(f"{len(b'x' * 700 * 2**20)}"))


@pytest.mark.parametrize(
    "function, words",
    [
        ("hungry", "more than 320 MiB of memory"),
        ("slow", "not read within 4 seconds"),
        ("crash", "failed"),
        ("raising", "ZeroDivision"),
    ],
)
def test_a_reader_that_forgets_a_limit_ends_in_a_sentence(function, words, tmp_path, monkeypatch):
    """In the real process, with readers made to misbehave."""
    (tmp_path / "misbehaving.py").write_text(
        "import os\n"
        "def hungry(): return len(b'x' * 2**31)\n"
        "def slow():\n    while True: pass\n"
        "def crash(): os.kill(os.getpid(), 11)\n"
        "def raising(): 1 / 0\n"
        "def fine(): return [1, 'é']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(confined, "run", confined.in_new_process)
    with pytest.raises(UserError, match=f"x.h5 is not used: .*{words}"):
        confined.call(f"misbehaving:{function}", "x.h5")
    assert confined.call("misbehaving:fine", "x.h5") == [1, "é"]


def test_the_same_input_comes_of_the_same_seed(tmp_path):
    from fuzz import wall_meter

    first, second = (wall_meter.mutated(random.Random("0 x"), tmp_path).read_bytes() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", ["config.schema.yaml", "bundle.schema.json", "metrics.schema.json"])
def test_patterns_end_where_the_text_ends(name):
    """`$` would allow a line end."""
    parts = list(_parts(yaml.safe_load((ROOT / "schemas" / name).read_text(encoding="utf-8"))))
    patterns = [part["pattern"] for part in parts if isinstance(part.get("pattern"), str)]
    assert patterns and [pattern for pattern in patterns if not pattern.endswith("\\Z")] == []
    if name == "config.schema.yaml":
        texts = [part for part in parts if "string" in part.get("type", ()) and "description" in part]
        assert [part for part in texts if not part.keys() & {"maxLength", "pattern", "enum"}] == []


def _parts(value):
    """All mappings in a nested value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _parts(part)
