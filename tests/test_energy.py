"""Joules, watts and seconds: what windows say, what a wall meter's file says, and where each figure of a run comes from."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

import collect_energy as energies
from trainoff import energy
from trainoff.analyze import reasons, tables, wall_meter
from trainoff.errors import UserError
from trainoff.report import one_device, palette, rows, study
from trainoff.report.reasons import without_device

DEVICES = synthetic.DEVICES[:3]


def window(joules, seconds=10.0, images=640, warm_up=False, reason=None):
    return {"images": images, "seconds": seconds, "warm_up": warm_up, "energy_joules": joules, "energy_reason": reason}


@given(st.floats(1, 5000), st.floats(0.5, 500), st.integers(1, 10**6), st.floats(0, 1))
def test_watts_times_seconds_are_joules(watts, seconds, images, idle_share):
    windows = [window(watts * seconds * scale, seconds * scale, images * scale) for scale in (1, 2, 3)]
    result, reason = energy.summarize(windows, "nvml", "gpu", idle_watts=idle_share * watts)
    assert reason is None
    assert result["mean_watts"] == pytest.approx(watts)
    # Joules per image times images per second are watts.
    assert result["joules_per_image"] * (images / seconds) == pytest.approx(watts)
    above = result["joules_per_image_above_idle"]
    if above is not None:
        assert above * (images / seconds) == pytest.approx((1 - idle_share) * watts, rel=1e-6, abs=1e-9 * watts)


def test_only_counted_windows_with_a_figure_make_the_run():
    warm_up, good = window(9e9, warm_up=True), window(700.0)
    none = window(None, reason="too short")
    result, _ = energy.summarize([warm_up, good, good, none], "nvml", "gpu")
    assert result["mean_watts"] == 70 and result["idle_watts"] is None and result["joules_per_image_above_idle"] is None
    assert energy.summarize([warm_up, good, none, none], "nvml", "gpu") == (None, "too short")
    assert energy.summarize([warm_up], "nvml", "gpu") == (None, "No window was counted.")
    assert energy.summarize([], None, None)[0] is None


def test_an_idle_power_above_that_of_training_is_not_subtracted():
    result, _ = energy.summarize([window(700.0)], "nvml", "gpu", idle_watts=80)
    assert result["joules_per_image_above_idle"] is None and result["idle_watts"] == 80


# A wall meter's file.


def trace(watts, start=1_767_358_800.0, step=1.0):
    watts = np.asarray(watts, dtype=float)
    return wall_meter.Trace("meter.csv", start + step * np.arange(len(watts)), watts)


def test_constant_power_gives_watts_times_seconds():
    steady = trace([60.0] * 200)
    assert wall_meter.window(steady, steady.times[0] + 10.25, 100.5) == (pytest.approx(60 * 100.5), None)


def test_power_that_rises_evenly_gives_the_mean():
    rising = trace(np.arange(200.0))
    assert wall_meter.joules_between(rising, rising.times[10], rising.times[110]) == pytest.approx(60 * 100)


@given(
    st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 2000)), min_size=3, max_size=30),
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_energy_adds_up_and_lies_between_the_extremes(readings, places):
    times = np.cumsum([step for step, _ in readings])
    watts = np.array([value for _, value in readings])
    result = wall_meter.Trace("meter.csv", times, watts)
    start, middle, end = times[0] + np.sort(places) * (times[-1] - times[0])
    whole = wall_meter.joules_between(result, start, end)
    parts = wall_meter.joules_between(result, start, middle) + wall_meter.joules_between(result, middle, end)
    assert parts == pytest.approx(whole, rel=1e-6, abs=1e-6)
    assert watts.min() * (end - start) - 1e-6 <= whole <= watts.max() * (end - start) + 1e-6


def test_windows_that_the_file_cannot_tell_have_a_reason():
    steady = trace([60.0] * 200)
    start = steady.times[0]

    def sentence(trace, at, seconds):
        return without_device(wall_meter.window(trace, at, seconds)[1])

    assert "meter.csv does not cover" in sentence(steady, start - 1, 100)
    assert "does not cover" in sentence(steady, start + 150, 100)
    assert "59 readings in an epoch of 59 s; at least 60" in sentence(steady, start + 0.5, 58.9)
    assert "0 W during training" in sentence(trace([0.0] * 200), start + 1, 100)
    gap = wall_meter.Trace("meter.csv", np.delete(steady.times, slice(50, 60)), np.delete(steady.watts, slice(50, 60)))
    assert "gap of 11.0 s in the epoch; the limit is 5 s" in sentence(gap, start + 5, 150)
    assert wall_meter.window(gap, start + 5, 150, max_gap_seconds=12)[0] == pytest.approx(60 * 150)
    assert wall_meter.window(gap, start + 62, 100)[1] is None, "the gap lies outside"


def written(path, lines, head="time,watts"):
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "lines, zone",
    [
        (["1767358800,60", "1767358801.5,61"], None),
        (["2026-01-02T13:00:00Z,60", "2026-01-02T13:00:01.500Z,61"], None),
        (["2026-01-02T14:00:00+01:00,60", "2026-01-02T14:00:01.5+01:00,61"], None),
        (["2026-01-02 14:00:00,60", "2026-01-02 14:00:01.5,61"], "Europe/Berlin"),
    ],
)
def test_times_may_be_written_in_several_ways(tmp_path, lines, zone):
    result = wall_meter.read(written(tmp_path / "meter.csv", lines), zone)
    assert result.times.tolist() == [1767358800.0, 1767358801.5] and result.watts.tolist() == [60.0, 61.0]


@pytest.mark.parametrize(
    "lines, zone, words",
    [
        (
            ["2026-01-02T13:00:01Z,60", "2026-01-02T13:00:00Z,61"],
            None,
            "line 3: the time 2026-01-02T13:00:00Z is not after",
        ),
        (["1767358800,60", "1767358800,61"], None, "line 3"),
        (["2026-01-02T13:00:00,60"], None, "has no time zone"),
        (["2026-01-02T13:00:00,60"], "Europe/Berlinn", "no time zone 'Europe/Berlinn'"),
        (["2026-01-02T13:00:00Z,60", "2026-01-02T13:00:01,60"], "UTC", "some times have an offset"),
        (["2026-10-25T02:30:00,60"], "Europe/Berlin", "Expected an offset for a local time"),
        (["yesterday,60"], "UTC", "a time cannot be read"),
        (["1767358800000,60"], None, "not milliseconds"),
        (["1767358800,-3"], None, "line 2: -3 cannot be the power"),
        (["1767358800,lots"], None, "lots cannot be the power"),
        (["1767358800,"], None, "cannot be the power"),
        (["1767358800,61000"], None, "from 0 to 20000"),
        ([], None, "no readings"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(tmp_path, lines, zone, words):
    with pytest.raises(UserError) as caught:
        wall_meter.read(written(tmp_path / "meter.csv", lines), zone)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"power;when\n1;2\n"])
def test_another_file_is_refused_too(tmp_path, content):
    path = tmp_path / "meter.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match="time"):
        wall_meter.read(path)
    with pytest.raises(UserError, match="there is no file"):
        wall_meter.read(tmp_path / "none.csv")


@given(st.text(max_size=80))
def test_no_file_breaks_the_reader(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("meter") / "meter.csv"
    path.write_text(f"time,watts\n{text}", encoding="utf-8", errors="replace")
    try:
        result = wall_meter.read(path, "UTC")
    except UserError:
        return
    assert (np.diff(result.times) > 0).all() and np.isfinite(result.watts).all()


def test_a_file_beside_the_runs_names_the_time_zone_that_would_fit():
    steady = trace([60.0] * 200)
    runs = [(steady.times[0] + 3600, steady.times[0] + 3700)]
    with pytest.raises(UserError, match=r"Moved by \+1 h it would fit"):
        wall_meter.check_overlap(steady, runs)
    with pytest.raises(UserError, match="do not overlap"):
        wall_meter.check_overlap(steady, [(0.0, 10.0)])
    wall_meter.check_overlap(steady, [(steady.times[0] + 198, steady.times[0] + 300)])


# Where a run's figure comes from.


def applied(records, wall_meters=(), declared=None):
    entries = sorted(
        ((f"{rank}.json", record) for rank, record in enumerate(records)), key=lambda entry: [*entry[1]["run"].values()]
    )
    runs, windows = tables.run_table(entries), tables.window_table(entries)
    return energies.apply(runs, windows, list(wall_meters), declared or {}), runs


@pytest.fixture
def records():
    """Runs of three devices: cuda with an NVIDIA counter, cpu and metal without any."""
    made_up = synthetic.records(DEVICES, synthetic.SMALL_GRID)
    synthetic.add_energy(made_up, "cuda", 300, "nvml", "gpu", idle_watts=40)
    return made_up


def test_counters_stand_and_unknown_stays_unknown(records):
    result, runs = applied(records)
    table = result["energy"].set_index("device")
    # What the run recorded and what the tables say are the same.
    own = runs[runs["device"] == "cuda"]
    assert table.loc["cuda", "joules_per_image"].tolist() == pytest.approx(own["joules_per_image"].tolist())
    assert table.loc["cuda", "mean_watts"].tolist() == pytest.approx([300, 300], rel=0.02)
    assert set(table.loc["cuda", "idle_watts"]) == {40}
    assert table.loc["cpu", "joules_per_image"].isna().all() and set(table.loc["cpu", "energy_reason"]) == {
        reasons.recorded(synthetic.NO_METER)
    }
    windows = result["energy_windows"]
    assert (windows["energy_joules"].isna() == windows["energy_reason"].notna()).all()


def test_declared_watts_stand_in_for_what_is_unknown_only(records):
    figures = {"watts": 65, "scope": "package", "source": "a data sheet", "date": "2024"}
    result, _ = applied(records, declared={"cpu": figures, "cuda": figures | {"scope": "gpu"}})
    table = result["energy"].set_index("device")
    assert set(table["energy_source"].dropna()) == {"declared", "nvml"}
    assert table.loc["cpu", "mean_watts"].tolist() == pytest.approx([65, 65])
    assert table.loc["cpu", "joules_per_image_above_idle"].isna().all()
    assert set(table.loc["cuda", "energy_source"]) == {"nvml"}


def test_a_wall_meter_is_laid_over_the_windows(records, tmp_path):
    starts = [pd.Timestamp(window["started_at"]).timestamp() for record in records for window in record["windows"]]
    first = min(starts)
    seconds = np.arange(first - 200, max(starts) + 90, 0.02)
    lines = [f"{second:.2f},{80 if second >= first - 10 else 20}" for second in seconds]
    path = written(tmp_path / "meter.csv", lines)
    idle = {"from": first - 150, "to": first - 50}
    result, _ = applied(records, wall_meters=[{"file": str(path), "devices": ["cpu"], "idle": idle}])
    table = result["energy"].set_index("device").loc["cpu"]
    assert set(table["energy_source"]) == {"wall_meter"} and set(table["energy_scope"]) == {"machine"}
    assert table["mean_watts"].tolist() == pytest.approx([80, 80]) and set(table["idle_watts"]) == {20}
    assert (table["joules_per_image_above_idle"] / table["joules_per_image"]).tolist() == pytest.approx([0.75, 0.75])


def test_a_device_without_runs_and_one_in_two_files_are_refused(records):
    with pytest.raises(UserError, match="no run of a device 'cdua'"):
        applied(records, declared={"cdua": {}})
    entry = {"file": "meter.csv", "devices": ["cpu"]}
    with pytest.raises(UserError, match="cpu is in 2 files"):
        applied(records, wall_meters=[entry, entry])


def test_a_run_whose_windows_do_not_count_says_so(records):
    for record in records:
        for window in record["windows"]:
            window["warm_up"] = True
    result, _ = applied(records)
    assert set(result["energy"]["energy_reason"]) == {reasons.recorded("No window was counted.")}


def test_a_run_without_windows_says_so():
    result, _ = applied(synthetic.records(DEVICES[:1], synthetic.SMALL_GRID, failures={0: "crashed"}))
    assert set(result["energy"]["energy_reason"]) == {
        reasons.reason("no_window"),
        reasons.recorded(synthetic.NO_METER),
    }


def test_a_page_about_one_device_says_that_its_watts_are_declared(tmp_path):
    device = palette.devices_in(DEVICES[:1], pd.DataFrame({"device": ["cpu"]}))[0]
    made_up = synthetic.records(DEVICES[:1], synthetic.SMALL_GRID)
    declared = {"cpu": {"watts": 65, "scope": "package"}}
    found, flagged = {}, {}
    for name, metered in (("none", 0), ("one", 1)):
        synthetic.add_energy(made_up[:metered], "cpu", 30, "rapl", "package")
        paths = synthetic.results(tmp_path / name, DEVICES[:1], made_up, declared=declared)
        rates, costs = (pd.read_parquet(paths[table]) for table in ("rates", "costs"))
        runs = study.read(
            {table: paths[table] for table in ("runs", "energy")}, title="", devices=[], assumptions={}, pair={}
        )
        shown = rows.run_rows(runs.frames["runs"], [device])
        flagged[name] = sum("energy declared, not measured" in row["flags"] for row in shown)
        found[name] = one_device.tiles(device, rates, costs, "USD")[1]
    assert found["none"]["kind"] == "declared, not measured" and found["none"]["details"] == ["both configurations"]
    assert found["none"]["sentence"].endswith("of both configurations. The watts are declared, not measured.")
    assert flagged == {"none": 2, "one": 1}
    assert found["one"]["kind"] == "measured" and found["one"]["sentence"].endswith(", in 1 of 2 configurations.")
