"""What a machine says of itself while it trains: mean and maximum by epoch, the series beside it, and nothing invented."""

import csv
import gzip
import json
import sys
import threading
import time
import types

import pandas as pd
import pytest
import synthetic
from pages import draw
from pages import page as make_page
from project import ROOT
from test_figures import words as words_of_figure

import aggregate_runs
import bundle
from trainoff import configurations as naming
from trainoff import series
from trainoff.analyze import cells, tables
from trainoff.analyze import readings as table_of_readings
from trainoff.errors import UserError
from trainoff.exchange import bundles, tracking
from trainoff.report import caveats, explore, page, palette, rows
from trainoff.supervise import apple, readings
from trainoff.supervise.launch import Journal

CPU = {"accelerator": "cpu", "index": 0}
CUDA = {"accelerator": "cuda", "index": 1}


@pytest.fixture
def driver(monkeypatch):
    """NVIDIA's library and one GPU of two, whose power no one may read."""

    def power(gpu):
        raise RuntimeError("not supported")

    library = types.SimpleNamespace(
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetUtilizationRates=lambda gpu: types.SimpleNamespace(gpu=97),
        nvmlDeviceGetClockInfo=lambda gpu, kind: 1980 if kind == 1 else 2619,
        nvmlDeviceGetTemperature=lambda gpu, kind: {"GPU-b": 66}[gpu],
        nvmlDeviceGetPowerUsage=power,
        nvmlDeviceGetEnforcedPowerLimit=lambda gpu: 450_000,
        nvmlDeviceGetMemoryInfo=lambda gpu: types.SimpleNamespace(used=2**30),
        nvmlDeviceGetCurrentClocksEventReasons=lambda gpu: 0x20,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(readings.devices, "nvidia_gpus", lambda: [{"uuid": "GPU-a"}, {"uuid": "GPU-b"}])
    monkeypatch.setattr(readings, "INTERVAL_SECONDS", 0.01)
    return library


def taken(device):
    with readings.Readings(device) as found:
        while len(found.samples) < 3:
            pass
    return found


def test_a_gpu_is_read_and_what_it_does_not_tell_is_left_out(driver, tmp_path, monkeypatch):
    monkeypatch.setattr(readings.meters, "RAPL_FOLDER", rapl(tmp_path, [1, 1, 1]))
    found = taken(CUDA)
    known = found.between(0, float("inf"))
    assert known["gpu_celsius"] == {"mean": 66, "maximum": 66}, "of the GPU that the run names"
    assert known["gpu_watts_limit"]["mean"] == 450 and known["gpu_throttled"]["maximum"] == 1
    assert "gpu_watts" not in known
    schema = json.loads((ROOT / "schemas/metrics.schema.json").read_text())
    described = schema["properties"]["windows"]["items"]["properties"]["readings"]["properties"]
    assert list(described) == list(series.NAMES) and described.keys() == {*found.names, "soc_watts", "thermal_pressure"}
    driver.nvmlInit = driver.nvmlDeviceGetPowerUsage
    assert not [name for name in taken(CUDA).names if name.startswith("gpu")], "a driver that fails"


def test_throttling_is_read_on_drivers_that_know_only_the_old_function(driver):
    """NVIDIA's package has the new function with every driver; with one before version 535, calling it fails."""
    driver.nvmlDeviceGetCurrentClocksEventReasons = driver.nvmlDeviceGetPowerUsage
    driver.nvmlDeviceGetCurrentClocksThrottleReasons = lambda gpu: 0x40
    assert taken(CUDA).between(0, float("inf"))["gpu_throttled"]["mean"] == 1
    driver.nvmlDeviceGetCurrentClocksThrottleReasons = driver.nvmlDeviceGetPowerUsage
    assert "gpu_throttled" not in taken(CUDA).between(0, float("inf"))


def test_a_reading_that_never_returns_does_not_hold_a_finished_training(driver, monkeypatch):
    monkeypatch.setattr(readings, "PATIENCE_SECONDS", 0.2)
    hangs, returns = threading.Event(), threading.Event()

    def never(gpu):
        if hangs.is_set():
            returns.wait(60)

    driver.nvmlDeviceGetPowerUsage = never
    started = time.monotonic()
    with readings.Readings(CUDA) as found:
        while len(found.samples) < 3:
            pass
        hangs.set()
        time.sleep(0.05)
    assert time.monotonic() - started < 30
    samples = len(found.samples)
    returns.set()
    found._thread.join()
    assert len(found.samples) == samples >= 3, "what returns later is no part of them"


def test_a_driver_that_hangs_from_the_start_holds_no_training(driver, monkeypatch):
    monkeypatch.setattr(readings, "PATIENCE_SECONDS", 0.2)
    returns = threading.Event()
    driver.nvmlInit = lambda: returns.wait(60)
    with readings.Readings(CUDA) as found:
        assert not found.samples
    assert not returns.is_set() and found.between(0, float("inf")) == {}
    returns.set()
    found._thread.join()


def test_an_epoch_holds_what_was_read_while_it_lasted():
    found = readings.Readings(CPU)
    found.names = ["cpu_mhz", "load_cores"]
    for second in range(10):
        found.samples.append((100.0 + second, (None, float(second))))
    journal = Journal("none", notify=None)
    window = {"seconds": 3.0, "validation_seconds": 1.0}
    journal.events = [
        {"event": "window", "at": 106.5, "window": dict(window)},
        {"event": "window", "at": 99.0, "window": dict(window)},
    ]
    journal.add_readings(found)
    first, second = journal.windows
    assert first["readings"] == {"load_cores": {"mean": 4.0, "maximum": 5.0}}
    assert second == window


def test_the_series_is_small_and_reads_as_it_was_taken(tmp_path):
    found = taken(CPU)
    found.samples = [(1000.0 + second, found.samples[0][1]) for second in range(600)]
    found.write(tmp_path / "readings.csv.gz")
    with gzip.open(tmp_path / "readings.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 600 and rows[7]["seconds"] == "7.0" and float(rows[7]["memory_used_bytes"]) > 0
    assert (tmp_path / "readings.csv.gz").stat().st_size < 10_000


@pytest.mark.parametrize(
    "changes, flag",
    [
        ({"readings": {"gpu_throttled": {"mean": 0.2, "maximum": 1.0}}}, "throttled"),
        ({"readings": {"gpu_throttled": {"mean": 0.01, "maximum": 1.0}}}, None),
        ({"readings": {"thermal_pressure": {"mean": 1.1, "maximum": 2.0}}}, "throttled"),
        ({"readings": {"thermal_pressure": {"mean": 0.9, "maximum": 1.0}}}, None),
        ({"conditions": {"swapped_bytes_during": 10**9}}, "swapping"),
        ({"host": {"power_source": "battery"}}, "on battery"),
        ({"readings": {"on_battery": {"mean": 0.1, "maximum": 1.0}}, "host": {"power_source": "mains"}}, "on battery"),
        ({"readings": {"on_battery": {"mean": 0.0, "maximum": 0.0}}, "host": {"power_source": "mains"}}, None),
        ({"conditions": {"power_mode": "lowpowermode 1"}}, "low-power mode"),
        ({"conditions": {"power_mode": "low-power"}}, "low-power mode"),
        ({"conditions": {"power_mode": "powersave"}}, None),
        ({"conditions": {"power_mode": "powermode 0"}}, None),
        ({"conditions": {"suspended_seconds": 8.2}}, "stopped for 8 s, not counted"),
    ],
)
def test_a_run_is_flagged_where_it_is_shown(changes, flag):
    record = synthetic.records([{"name": "cpu"}])[0]
    for key in ("conditions", "host"):
        record[key] = record[key] | changes.get(key, {})
    for window in record["windows"]:
        window["readings"] = changes.get("readings", {})
    usual = rows.run_flags(tables._run_row("m.json", synthetic.records([{"name": "cpu"}])[0]))
    assert [one for one in rows.run_flags(tables._run_row("m.json", record)) if one not in usual] == (
        [flag] if flag else []
    )


def test_a_disturbed_run_is_a_caveat_and_marks_its_result_and_its_ratio(tmp_path):
    devices = [{"name": "cpu", "label": "CPU"}, {"name": "laptop", "label": "Laptop"}]
    records = synthetic.records(devices, synthetic.SMALL_GRID, replicates=2)
    records[4]["host"]["power_source"] = "battery"
    records[5]["conditions"] |= {"power_mode": "low-power", "swapped_bytes_during": 10**9}
    for window in records[5]["windows"]:
        window["readings"] = {"thermal_pressure": {"mean": 2.0, "maximum": 2.0}}
    text, frames = make_page(tmp_path, devices, records, drawn=("throughput",))
    assert (
        "Of 4 runs on Laptop, 1 throttled, 1 swapped memory to disk, 1 ran on battery and 1 ran in low-power mode; their"
        in text
    )
    assert "Of 4 runs on Laptop, 1 throttled" in (tmp_path / "throughput.json").read_text()
    flags = {"throttled", "swapping", "on battery", "low-power mode"}
    shown = palette.devices_in(devices, frames["runs"])
    (_, marked), (_, unmarked) = rows.rate_rows(
        frames["runs"], frames["rates"], naming.all_configurations(frames["runs"]), shown
    )
    assert [flags & set(cell["notes"]) for cell in (*marked, *unmarked)] == [set(), flags, set(), set()]
    assert "on battery" in str(explore.view(frames["runs"], frames["rates"], shown)["notes"])
    (table,) = rows.comparison_tables(frames["comparison"], None, shown, cells.cells(frames["runs"], frames["rates"]))
    assert [flags & set(row["flags"]) for row in table["rows"]] == [flags, set()]


def rapl(folder, microjoules):
    """Files as RAPL's, of two packages and of a zone that holds them again."""
    for number, name in enumerate(("package-0", "package-1", "psys")):
        zone = folder / f"intel-rapl:{number}"
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "name").write_text(name)
        (zone / "max_energy_range_uj").write_text("262143328850")
        (zone / "energy_uj").write_text(str(microjoules[number]))
    return folder


def test_the_power_of_the_processor_packages_is_read_between_two_looks(tmp_path, monkeypatch):
    clock = iter([0.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(readings.time, "monotonic", lambda: next(clock))
    read = readings._package(rapl(tmp_path, [10_000_000, 262_143_000_000, 5]))["package_watts"]
    assert read() is None, "nothing was drawn yet"
    # 40 J of one, and a turn of the counter of the other: 0.32885 J up to its range, 9.67115 J after it.
    rapl(tmp_path, [50_000_000, 9_671_150, 99_000_000])
    assert read() == pytest.approx((40 + 10) / 2)
    rapl(tmp_path, [70_000_000, 29_671_150, 99])
    assert read() == pytest.approx(40)
    assert read() is None, "a counter that stands still"


def test_a_machine_without_counters_of_its_processor_has_no_such_reading(tmp_path):
    assert readings._package(tmp_path / "none") == {}
    locked = rapl(tmp_path / "locked", [1, 1, 1])
    (locked / "intel-rapl:0/energy_uj").unlink()  # as for one that may not read it
    assert readings._package(locked) == {}


class Mac:
    """Stands in for macOS' system library and for Apple's counters (zeus_apple_silicon), in whose place it is put."""

    def __init__(self):
        self.refuses, self.pressure, self.millijoules = False, 0, {"cpu_total_mj": 5000, "gpu_mj": 900, "ane_mj": None}

    def notify_register_check(self, name, token):
        assert name == b"com.apple.system.thermalpressurelevel"
        token._obj.value = 7
        return int(self.refuses)

    def notify_get_state(self, token, state):
        assert token.value == 7
        state._obj.value = self.pressure
        return int(self.refuses)

    def AppleEnergyMonitor(self):
        return types.SimpleNamespace(get_cumulative_energy=lambda: types.SimpleNamespace(**self.millijoules))


@pytest.fixture
def mac(monkeypatch):
    stand_in = Mac()
    monkeypatch.setattr(apple.ctypes, "CDLL", {apple.SYSTEM_LIBRARY: stand_in}.__getitem__)
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", stand_in)
    monkeypatch.setattr(readings.devices, "is_apple_silicon", lambda: True)
    return stand_in


def test_an_apple_chip_is_read_whatever_device_trains(mac, monkeypatch):
    monkeypatch.setattr(readings, "INTERVAL_SECONDS", 0.01)
    with readings.Readings(CPU) as found:
        known = {}
        while "soc_watts" not in known or not known["thermal_pressure"]["maximum"]:
            mac.millijoules["gpu_mj"] += 0.01
            known = found.between(0, float("inf"))
            mac.pressure = 2 if known else 0
    assert known["thermal_pressure"]["maximum"] == series.HEAVY and known["soc_watts"]["maximum"] > 0


def test_the_power_of_an_apple_chip_is_that_of_its_parts_between_two_looks(mac, monkeypatch):
    clock = iter([0.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    monkeypatch.setattr(apple.time, "monotonic", lambda: next(clock))
    read = apple.sources()["soc_watts"]
    assert read() is None, "nothing was drawn yet"
    mac.millijoules = {"cpu_total_mj": 25_000, "gpu_mj": 40_900, "ane_mj": None}
    assert read() == pytest.approx((20 + 40) / 2)
    assert read() is None, "counters that stand still"
    mac.millijoules = {"cpu_total_mj": 26_000, "gpu_mj": 41_900, "ane_mj": 70_000}
    assert read() is None, "a part that was not counted before"
    mac.millijoules = {"cpu_total_mj": 27_000, "gpu_mj": 42_900, "ane_mj": 71_000}
    assert read() == pytest.approx(3)
    mac.millijoules = {"cpu_total_mj": 0, "gpu_mj": 0, "ane_mj": 0}
    assert read() is None, "counters that ran backwards"


def test_what_a_mac_does_not_tell_is_left_out_and_ends_no_run(mac, monkeypatch):
    read = apple.sources()["thermal_pressure"]
    mac.pressure = 5  # no level that macOS names
    assert read() is None
    mac.pressure, mac.refuses = 1, True
    assert read() is None
    assert list(apple.sources()) == ["soc_watts"], "refused from the start"
    monkeypatch.setitem(sys.modules, "zeus_apple_silicon", None)
    assert apple.sources() == {}
    monkeypatch.undo()
    assert apple.sources() == {} or sys.platform == "darwin"


def with_series(path, record, watts=300.0):
    """Writes a series beside a record of three looks before its first epoch and then one a second."""
    found = readings.Readings(CPU)
    found.names = ["gpu_watts", "gpu_celsius", "gpu_mhz"]
    ends = [3.0 + 10 * place for place in range(len(record["windows"]) + 1)]
    spans = [(place + 1, start, start + 8.0) for place, start in enumerate(ends[:-1])]
    found.samples = [
        (float(second), (watts if second > 2 else 40.0, 50.0 + second, None)) for second in range(int(ends[-1]))
    ]
    found.write(path.with_name(series.OWN), spans)


@pytest.fixture
def runs_with_series(tmp_path):
    """(paths of the records, records) of two devices, of which one has series."""
    devices = synthetic.DEVICES[:2]
    made = synthetic.records(devices, synthetic.SMALL_GRID)
    paths = synthetic.write(tmp_path / "results", made)
    for path, record in zip(paths, made, strict=True):
        if record["run"]["device"] == "cuda":
            with_series(path, record)
    return paths, made


def test_a_series_tells_which_epoch_was_on_the_clock(runs_with_series):
    paths, made = runs_with_series
    found = table_of_readings.table(zip(paths, made, strict=True))
    assert set(found["device"]) == {"cuda"} and len(found) == 2 * 43
    first = found[found["trainable"]].sort_values("seconds")
    assert first["epoch"].tolist()[:14] == pytest.approx(
        [*[float("nan")] * 3, *[1.0] * 9, float("nan"), 2.0], nan_ok=True
    )
    window = next(record for record in made if record["run"]["device"] == "cuda")["windows"][0]
    assert first["images_per_second"].iloc[3] == pytest.approx(window["images"] / window["seconds"])
    assert first["gpu_mhz"].isna().all() and first["gpu_watts"].iloc[5] == 300


def test_a_figure_shows_the_longest_run_of_each_device(runs_with_series, tmp_path):
    paths, made = runs_with_series
    outputs = [tmp_path / f"{name}.{kind}" for name in ("runs", "windows") for kind in ("csv", "parquet")]
    aggregate_runs.main(paths, *outputs, readings_parquet=tmp_path / "readings.parquet")
    files = draw("readings", {"readings": tmp_path / "readings.parquet"}, synthetic.DEVICES[:2], tmp_path)
    text = words_of_figure(files)
    assert "NVIDIA GPU up to 92 °C" in text and "W on average" in text
    assert "MHz" not in text, "what was not told has no panel"


def test_the_page_shows_readings_only_if_one_of_them_changes(runs_with_series):
    paths, made = runs_with_series
    taken = table_of_readings.table(zip(paths, made, strict=True))
    amounts = pd.DataFrame(
        columns=["joules_per_image", "mean_watts", "owned_per_training", "rented_per_training"], dtype=float
    )
    known = {
        "runs": tables.run_table(list(zip(map(str, paths), made, strict=True))),
        "rates": amounts,
        "costs": amounts,
        "break_even": amounts,
    }
    assert page.tells("readings", known | {"readings": taken})
    constant = taken.assign(gpu_watts=None, gpu_celsius=None, cpu_mhz=2445.4)
    assert not page.tells("readings", known | {"readings": constant}), "many virtual machines report a constant clock"


def test_a_bundle_carries_the_series_and_its_reader_shows_them(runs_with_series, tmp_path):
    paths, made = runs_with_series
    experiment = {"title": "t", "training": {}, "protocol": {}, "deterministic": False}
    devices = [
        device | {"backend": "tensorflow", "accelerator": "cuda" if device["name"] == "cuda" else "cpu"}
        for device in synthetic.DEVICES[:2]
    ]
    zipped = tmp_path / "bundle.zip"
    bundle.main(paths, [], experiment, devices, None, tmp_path / "origin", zipped, say=lambda words: None)
    names = bundles.read_manifest(zipped)["files"]
    assert sum(name.endswith("/readings.csv") for name in names) == 2
    assert bundles.read_manifest(zipped)["bundle_version"] == 2
    contents = {name: text for name, text in bundles.read(zipped) if name.endswith("/readings.csv")}
    folder = tmp_path / "imported"
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    found = table_of_readings.table(
        [
            (folder / bundles.run_folder(record["run"]) / "metrics.json", record)
            for record in made
            if record["run"]["device"] == "cuda"
        ]
    )
    assert len(found) == 2 * 43 and found["gpu_watts"].max() == 300


@pytest.mark.parametrize(
    "text",
    ["", "epoch,seconds\n1,1\n", "seconds,gpu_watts\n1\n", "seconds,gpu_watts\n1,nan\n", "seconds,gpu_watts\n1,=1+1\n"],
)
def test_what_is_no_series_is_refused(text, tmp_path):
    with pytest.raises(UserError, match="Expected the readings"):
        series.parsed(text, "a.zip")
    (tmp_path / series.BUNDLED).write_text(text)
    assert bundle._series(tmp_path / "metrics.json") is None
    made = synthetic.records(synthetic.DEVICES[:1], synthetic.SMALL_GRID)[:1]
    assert table_of_readings.table([(tmp_path / "metrics.json", made[0])]).empty


def test_trackers_get_the_readings_of_each_epoch():
    record = synthetic.records(synthetic.DEVICES[:1])[0]
    record["windows"][0]["readings"] = {"gpu_celsius": {"mean": 61.5, "maximum": 63.0}}
    assert tracking.epochs(record)[0][1]["hardware/gpu_celsius"] == 61.5


def test_a_gpu_that_waits_for_the_processor_is_a_caveat():
    records = synthetic.records([{"name": name, "accelerator": "cuda"} for name in ("busy", "idle", "silent")])
    for record in records:
        share = {"busy": 97.0, "idle": 8.4}.get(record["run"]["device"])
        for window in record["windows"]:
            window["readings"] = {"gpu_percent": {"mean": share, "maximum": 99.0}} if share else {}
    # Of a run that is one of eight.
    for window in records[0]["windows"]:
        window["readings"] = {"gpu_percent": {"mean": 70.0, "maximum": 99.0}}
    runs = tables.run_table([(str(place), record) for place, record in enumerate(records)])
    labels = {"busy": "Busy", "idle": "Idle", "silent": "Silent"}
    text = caveats._waiting(runs, labels)["text"]
    assert (
        "busy only 70% of the time on Busy in 1 of 8 runs and 8% of the time on Idle." in text and "Silent" not in text
    )
    assert caveats._waiting(runs[runs["device"] == "silent"], labels) is None
