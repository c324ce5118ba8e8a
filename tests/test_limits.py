"""The search for the largest size that trains, and one real search under a memory limit."""

import json
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

import collect_limits
import find_limit
from trainoff.supervise.job import Job


@given(st.integers(1, 200), st.integers(-5, 250))
def test_the_edge_is_found_in_few_trials(number, edge):
    """Values 10, 20, …; those at places below `edge` train."""
    values = [10 * (place + 1) for place in range(number)]

    def attempt(value):
        ok = values.index(value) < edge
        return {"value": value, "status": "ok" if ok else "crashed", "message": None if ok else "SIGSEGV"}

    found = find_limit.search(values, attempt)
    training = [value for value in values if values.index(value) < edge]
    assert found["largest"] == (training[-1] if training else None)
    assert found["smallest_failed"] == next(iter(values[len(training) :]), None)
    assert (found["at_edge"] or {}).get("value") == found["smallest_failed"]
    assert len(found["tried"]) <= 2 + number.bit_length()
    assert len({trial["value"] for trial in found["tried"]}) == len(found["tried"])


def test_a_trial_whose_swapping_is_unknown_is_judged_by_its_end():
    assert find_limit.judged("ok", None, None) == ("ok", None)
    assert find_limit.judged("ok", None, 10**9)[0] == "swapped"


def test_a_table_says_where_and_why():
    edge = {"value": 196, "status": "crashed", "message": "ended by SIGSEGV"}
    run = {"device": "metal", "model": "mobilenetv2", "axis": "img_dim", "batch_size": 32, "img_dim": 0}
    tried = [{"value": 160, "status": "ok", "message": None, "peak_memory_bytes": 2**30}, edge]
    beyond = {"run": run, "largest": 512, "smallest_failed": None, "at_edge": None, "tried": tried[:1]}
    table = collect_limits.table(
        [{**beyond, "largest": 160, "smallest_failed": 196, "at_edge": edge, "tried": tried}, beyond]
    )
    assert table["largest"].tolist() == [160, 512]
    assert table["whole_range"].tolist() == [False, True]
    assert table["fixed"].tolist() == ["batch_size 32"] * 2
    assert table.loc[0, ["status", "reason", "peak_memory_bytes"]].tolist() == ["crashed", "ended by SIGSEGV", 2**30]


@pytest.mark.slow
def test_a_memory_limit_is_found(tmp_path):
    """As under `ulimit -v`: the trials inherit the limit, and the larger ones end in it."""
    run = {
        "device": {"name": "cpu", "backend": "tensorflow", "accelerator": "cpu", "index": 0, "threads": None},
        "model": "mobilenetv2",
        "axis": "batch_size",
        "values": [8, 64, 512, 4096],
        "img_dim": 96,
        "batch_size": 0,
        "trainable": True,
        "precision": "float32",
        "xla": False,
        "learning_rate": 5e-5,
        "learning_rate_decay": None,
        "dropout": 0.0,
        "batch_norm_momentum": None,
        "steps": 1,
        "seed": 0,
        "classes": 10,
        "architecture": {"application": "MobileNetV2", "module": "mobilenet_v2"},
    }
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (14 * 2**30, before[1]))
    try:
        find_limit.limit(Job(tmp_path / "limit.json", tmp_path / "log", timeout_minutes=5, say=print), run)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    found = json.loads((tmp_path / "limit.json").read_text())
    assert found["largest"] in (8, 64, 512)
    assert found["at_edge"]["status"] in ("out_of_memory", "crashed")
    assert found["at_edge"]["message"]
