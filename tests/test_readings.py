"""What a machine says of itself while it trains: mean and maximum by epoch, the series beside it, and nothing invented."""

import csv
import gzip
import json
import sys
import types

import pytest
import synthetic
from project import ROOT

from trainoff.analyze import tables
from trainoff.report import rows
from trainoff.supervise import readings
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
    assert described.keys() == set(found.names)
    driver.nvmlInit = driver.nvmlDeviceGetPowerUsage
    assert not [name for name in taken(CUDA).names if name.startswith("gpu")], "a driver that fails"


def test_an_epoch_holds_what_was_read_while_it_lasted():
    found = readings.Readings(CPU)
    place = found.names.index("load_cores")
    for second in range(10):
        values = [None] * len(found.names)
        values[place] = float(second)
        found.samples.append((100.0 + second, tuple(values)))
    journal = Journal("none", say=None)
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
        ({"readings": 0.2}, "throttled"),
        ({"readings": 0.01}, None),
        ({"conditions": {"swapped_bytes_during": 10**9}}, "swapping"),
        ({"host": {"power_source": "battery"}}, "on battery"),
        ({"conditions": {"suspended_seconds": 8.2}}, "stopped for 8 s, not counted"),
    ],
)
def test_a_run_is_flagged_where_it_is_shown(changes, flag):
    record = synthetic.records([{"name": "cpu"}])[0]
    for key in ("conditions", "host"):
        record[key] = record[key] | changes.get(key, {})
    for window in record["windows"]:
        if share := changes.get("readings"):
            window["readings"] = {"gpu_throttled": {"mean": share, "maximum": 1.0}}
    usual = rows._flags(tables._run_row("m.json", synthetic.records([{"name": "cpu"}])[0]))
    assert [one for one in rows._flags(tables._run_row("m.json", record)) if one not in usual] == (
        [flag] if flag else []
    )


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
