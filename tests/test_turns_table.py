"""The table of turns: verdicts of all configurations together, what is taken again, and what the page says of it."""

import dataclasses
import json
import math
import random

import pandas as pd
import pytest
import synthetic
import yaml
from project import ROOT

import compare_devices
from trainoff import turn_statistics
from trainoff.analyze import next_measurements, obstacles, reasons, turns
from trainoff.records import RUN_KEYS
from trainoff.report import caveats, palette, rows, turn_words
from trainoff.report import reasons as sentences
from trainoff.workflow import validity


def slices(ratio, number, generator):
    for _ in range(number):
        first = generator.choice(turn_statistics.SIDES)
        one = {
            "images": 320,
            "suspended_seconds": 0.0,
            "waited_seconds": 1.0,
            "waited_cpu_seconds": 0.0,
            "lead_in": False,
        }
        device, baseline = (generator.gauss(1, 0.02) for _ in range(2))
        yield {
            "first": first,
            "counted": True,
            "device": one | {"seconds": device / ratio},
            "baseline": one | {"seconds": baseline},
        }


def record(ratio=1.2, status="ok", minutes=4):
    generator = random.Random(1)
    side = {"status": "ok", "failure": None, "waiting_cores": 0.01, "spinning": False}
    session = {
        "status": status,
        "failed": None if status == "ok" else "device",
        "message": None if status == "ok" else "It fell over.",
        "sides": {"device": side, "baseline": side},
        "pairs": list(slices(ratio, 20, generator)),
    }
    return {
        "schema_version": 1,
        "protocol_version": 1,
        "run": {axis: values[0] for axis, values in synthetic.GRID.items()} | {"seed": 0},
        "device": "laptop",
        "baseline": "cpu",
        "status": status,
        "failed": session["failed"] and "laptop",
        "message": session["message"],
        "turns": {"minutes": minutes, "slice_seconds": 1.75, "equivalence": 0.05},
        "seconds": 200.0,
        "standing": None if status != "ok" else {"verdict": "undecided"},
        "sessions": [session, session],
        "conditions": {},
        "devices": {},
        "host": {},
        "identity": {"device": {"backend": "tensorflow"}, "baseline": {"backend": "tensorflow"}},
    }


def test_how_much_fresh_processes_differ_is_judged_from_all_configurations_together():
    """Equal devices whose processes differ by 15 % for reasons of their own, in eight configurations each."""
    generator, called = random.Random(3), {"together": 0, "alone": 0}
    for _ in range(30):
        found = [record() for _ in range(8)]
        for one in found:
            one["sessions"] = [
                one["sessions"][0] | {"pairs": list(slices(math.exp(generator.gauss(0, 0.15)), 10, generator))}
                for _ in range(2)
            ]
        called["together"] += turns.table(found, 0.05)["verdict"].isin(["faster", "slower"]).sum()
        called["alone"] += sum(turns.table([one], 0.05)["verdict"].isin(["faster", "slower"]).sum() for one in found)
    assert called["together"] / 240 <= 0.1 and called["alone"] / 240 > 0.2


def test_what_a_busy_machine_does_to_one_configuration_widens_no_other():
    quiet, disturbed = [record(1.3) for _ in range(3)], record()
    generator = random.Random(4)
    disturbed["sessions"] = [
        disturbed["sessions"][0] | {"pairs": list(slices(ratio, 10, generator))} for ratio in (0.2, 1.0)
    ]
    before = turns.table(quiet, 0.05)["ci_low"]
    for busy, same in ((True, True), (False, False)):
        disturbed["conditions"] = {"busy": busy}
        after = turns.table([*quiet, disturbed], 0.05)["ci_low"][:3]
        assert (after == before).all() == same


def test_a_framework_whose_processes_differ_is_trusted_less_where_nothing_else_shows_it():
    close, far = record(1.1), record(1.6)
    for one, verdict in ((close, "undecided"), (far, "faster")):
        assert turns.table([one], 0.05)["verdict"].item() == "faster"
        one["identity"] = {"device": {"backend": "torch"}, "baseline": {"backend": "tensorflow"}}
        assert turns.table([one], 0.05)["verdict"].item() == verdict


def test_of_configurations_that_are_all_equal_hardly_ever_one_is_called_different():
    """Eight equal configurations of sessions that differ by 4 %: each verdict at 95 % by itself would call one in a third."""
    generator, called = random.Random(5), 0
    for _ in range(60):
        experiment = [record() for _ in range(8)]
        for one in experiment:
            ratios = [math.exp(generator.gauss(0, 0.04)) for _ in range(6)]
            one["sessions"] = [one["sessions"][0] | {"pairs": list(slices(ratio, 4, generator))} for ratio in ratios]
        called += turns.table(experiment, 0.05)["verdict"].isin(["faster", "slower"]).any()
    assert called <= 8


def test_a_session_that_failed_says_nothing_of_other_configurations():
    good, failing = [record(1.1) for _ in range(2)], record(1.1)
    generator = random.Random(6)
    for ratio in (1.0, 0.4):
        failing["sessions"] = [
            *record(1.1)["sessions"],
            record(status="out_of_memory")["sessions"][0] | {"pairs": list(slices(ratio, 3, generator))},
        ]
        failing["status"] = "out_of_memory"
        assert turns.table([*good, failing], 0.05)["ci_low"][0] == turns.table(good + [record(1.1)], 0.05)["ci_low"][0]


def test_the_page_says_what_would_decide_turns():
    undecided = pd.DataFrame({"source": ["turns"] * 3 + ["runs"], "minutes": [8.0, 12.0, 2000.0, None]})
    undecided["more_replicates"] = pd.array([None] * 4, dtype="Int64")
    (line,) = turn_words.next_lines(undecided)
    assert "Turns of 12 minutes each would decide 2 of 3 undecided ratios" in line and "MINUTES=36`" in line
    schema = yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text())["properties"]["turns"]
    (longest,) = [part["properties"]["minutes"]["maximum"] for part in schema["anyOf"] if "properties" in part]
    assert longest == next_measurements.MAX_TURNS_MINUTES, "more would be refused at the next start"


def test_the_table_of_turns_decides_the_comparison():
    table = turns.table([record() | {"conditions": {"busy": True}}], 0.05)
    assert list(table) == turns.COLUMNS
    row = table.iloc[0]
    assert row["verdict"] == "faster" and row["ci_low"] < 1.2 < row["ci_high"] and row["pairs"] == 40
    devices = [device for device in synthetic.DEVICES if device["name"] in ("cpu", "laptop")]
    records = synthetic.records(devices)
    found = [(f"{rank}.json", one) for rank, one in enumerate(records)]
    runs = compare_devices.tables.run_table(sorted(found, key=lambda one: [one[1]["run"][key] for key in RUN_KEYS]))
    compared = compare_devices.compare(
        runs, compare_devices.tables.window_table(found), ["cpu", "laptop"], turned=table
    )["comparison"]
    assert compared["source"].value_counts().to_dict() == {"runs": 7, "turns": 1}
    told = compared[compared["source"] == "turns"].iloc[0]
    for column in ("ratio", "ci_low", "ci_high", "p_value", "p_value_adjusted", "equivalence"):
        assert told[column] == pytest.approx(row[column]), column
    assert told["verdict"] == "faster"
    assert told["busy"] and told["unstable"] is None, "the flags of runs on which it does not rest"
    (shown,) = rows.comparison_tables(compared, None, palette.devices_in(devices, runs), {})
    assert [row["reason_text"].startswith("measured in turns") for row in shown["rows"]] == [True, *[False] * 7]


def test_turns_count_in_whatever_order_the_devices_were():
    """A bundle that is imported sorts them, too: CPUs first."""
    one = record(1.3) | {"identity": {"device": {"backend": "torch"}, "baseline": {"backend": "tensorflow"}}}
    assert turns.in_order(one, ["cpu", "laptop"]) is one
    other = turns.in_order(one, ["laptop", "cpu"])
    assert (other["device"], other["baseline"]) == ("cpu", "laptop") and turns.in_order(other, ["cpu", "laptop"]) == one
    before, after = (turns.table([each], 0.05).iloc[0] for each in (one, other))
    assert (before["verdict"], after["verdict"]) == ("faster", "slower")
    assert after["ratio"] == pytest.approx(1 / before["ratio"]) and after["ci_low"] == pytest.approx(
        1 / before["ci_high"]
    )


def test_single_runs_are_a_caveat_only_where_a_ratio_rests_on_them():
    rates = pd.DataFrame({"images_per_second": [80.0, 90.0], "one_replicate": True})
    for compared, from_turns, caveat in ((8, 8, False), (8, 7, True), (0, 0, True)):
        row = {"subset": "all", "configurations_compared": compared, "from_turns": from_turns}
        assert bool(caveats._single(rates, pd.DataFrame([row]))) == caveat


def test_turns_that_failed_have_a_row_and_no_ratio():
    row = turns.table([record(status="crashed")], 0.05).iloc[0]
    assert (row["verdict"], row["failed"], row["reason"]) == (
        "not_comparable",
        "laptop",
        reasons.recorded("It fell over."),
    )
    assert pd.isna(row["ratio"])


def test_a_row_says_that_its_turns_failed_or_disturbed_each_other():
    spinning = record()
    for session in spinning["sessions"]:
        session["sides"] = {
            side: one | {"spinning": True, "waiting_cores": 1.94} for side, one in session["sides"].items()
        }
    for one, said in (
        (record(status="crashed"), "laptop: failed while the devices took turns (crashed): It fell over."),
        (spinning, "one training kept 1.9 processors busy while it waited for its turn"),
        (record() | {"conditions": {"busy": True}}, "other programs kept the machine busy during their turns"),
    ):
        row = turns.table([one], 0.05).to_dict("records")[0]
        (code,) = obstacles.turns_caveats(row)
        assert said in sentences.text(code, {})
    assert obstacles.turns_caveats(turns.table([record()], 0.05).to_dict("records")[0]) == []


def test_turns_are_finished_until_something_that_identifies_them_changes(tmp_path):
    path = tmp_path / "turns.json"
    path.write_text(json.dumps(record()))
    own = record()
    sides = {side: own["run"] | {"device": {"name": own[side]}} for side in turn_statistics.SIDES}

    def judged(wanted=own["identity"], retry=()):
        return validity.judge_turns(path, sides, wanted, retry)

    assert judged().finished and judged(retry=["crashed"]).finished
    assert not judged({"device": {"backend": "torch"}, "baseline": {"backend": "tensorflow"}}).finished
    path.write_text(json.dumps(record(status="crashed")))
    assert judged().finished and str(judged(retry=["crashed"]).change) == "crashed, to be retried"
    path.write_text("{")
    assert not judged().finished
    assert not validity.judge_turns(tmp_path / "none", sides, own["identity"]).change


def test_turns_that_the_table_leaves_undecided_are_taken_again_with_more_minutes(tmp_path):
    """The table knows of a pair's other configurations, and of today's margin, and so may differ from the record's verdict."""
    path, other = tmp_path / "turns.json", tmp_path / "other.json"

    def change(status="ok", **settings):
        path.write_text(json.dumps(record(status=status)))
        found = validity.longer_turns(path, record()["turns"] | settings)
        return found and str(found)

    assert change(minutes=8) == "turns.minutes 4 → 8" and change(slice_seconds=3) == "turns.slice_seconds 1.75 → 3"
    assert change() is change(minutes=2) is change("crashed", minutes=8) is None
    decided = record(1.1)
    decided["standing"] = dataclasses.asdict(turn_statistics.stand_of(decided["sessions"], ["tensorflow"] * 2, 0.05))
    path.write_text(json.dumps(decided))
    devices = ["cpu", "laptop"]
    assert turns.undecided([path], 0.05, devices) == []
    generator = random.Random(2)
    scattered = decided | {
        "sessions": [decided["sessions"][0] | {"pairs": list(slices(ratio, 20, generator))} for ratio in (0.8, 1.3)]
    }
    other.write_text(json.dumps(scattered))
    assert turns.undecided([path, other], 0.05, devices) == [path, other]
    slept = decided | {
        "sessions": [
            session | {"pairs": [pair | {"counted": False} for pair in session["pairs"]]}
            for session in decided["sessions"]
        ]
    }
    other.write_text(json.dumps(slept))
    assert turns.undecided([path, other], 0.05, devices) == [other]
    other.write_text(json.dumps(record(status="crashed")))
    assert turns.undecided([other], 0.05, devices) == [], "failed ones wait for make retry"
