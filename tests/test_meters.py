"""Energy counters through zeus itself, over stand-ins for what lies below it: files of RAPL, NVML, Apple's counters."""

import os
import subprocess
import sys
import time
import types

import pytest
import zeus.device.cpu
import zeus.device.cpu.rapl
import zeus.device.gpu
import zeus.device.gpu.nvidia
import zeus.device.soc
from project import ROOT
from test_train import RUN

from trainoff.files import write_text
from trainoff.machine import devices, nvidia
from trainoff.measure import meters
from trainoff.supervise import idling

RANGE_MICROJOULES = 262_143_328_850  # as Intel's processors have it


@pytest.fixture(autouse=True)
def without_what_zeus_remembers():
    """zeus keeps the devices that it found first; each test has its own."""
    forget()
    yield
    forget()


def forget():
    zeus.device.cpu._cpus = zeus.device.gpu._gpus = zeus.device.soc._soc = None
    zeus.device.cpu.rapl.rapl_is_available.cache_clear()
    zeus.device.gpu.nvidia.nvml_is_available.cache_clear()


# RAPL: a tree of files as the system shows it.


def zone(folder, name, joules):
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_MICROJOULES}\n")
    count(folder, joules)
    return folder


def count(folder, joules):
    # In one go, as the system does it: zeus reads the file from a process of its own.
    write_text(folder / "energy_uj", f"{round(joules * 1e6)}\n")


@pytest.fixture
def rapl(tmp_path, monkeypatch):
    """A tree with one package, its memory, and psys, which holds the package again."""
    tree = tmp_path / "intel-rapl"
    package = zone(tree / "intel-rapl:0", "package-0", 1000)
    zone(package / "intel-rapl:0:0", "dram", 10)
    zone(tree / "intel-rapl:1", "psys", 5000)
    monkeypatch.setattr(meters, "RAPL_FOLDER", tree)
    monkeypatch.setattr(zeus.device.cpu.rapl, "RAPL_DIR", str(tree))
    monkeypatch.setattr(devices, "is_apple_silicon", lambda: False)
    return tree


def test_rapl_counts_the_package_once_and_through_a_wrap_around(rapl):
    meter = meters.open_meter("cpu")
    assert meters.facts(meter) == {"source": "rapl", "scope": "package"}
    package, whole = rapl / "intel-rapl:0", rapl / "intel-rapl:1"

    meter.start()
    count(package, 1120)
    count(whole, 5500)
    assert meter.stop(2.0) == (pytest.approx(120), None)

    # zeus' watching process looks once a second, from when it has started. Read before it saw the counter wrap around, the
    # counter seems to have run backwards: a fault. Once it has seen it, the reading is right.
    watcher = meter.monitor.cpus.cpus[0].rapl_file.wraparound_tracker
    for wait in [0.0] + 20 * [1.5]:
        seen = watcher.get_num_wraparounds()
        count(package, RANGE_MICROJOULES / 1e6 - 50)
        time.sleep(wait)
        meter.start()
        count(package, 70)
        deadline = time.monotonic() + wait
        while watcher.get_num_wraparounds() == seen and time.monotonic() < deadline:
            time.sleep(0.05)
        joules, reason = meter.stop(2.0)
        if joules is not None:
            break
        assert "fault of the meter" in reason
    assert joules == pytest.approx(120, abs=0.01)


def test_no_counter_and_one_for_root_alone_say_what_would_help(rapl, monkeypatch, tmp_path):
    monkeypatch.setattr(meters.os, "access", lambda path, mode: False)
    assert "udev rule" in meters.absent("cpu")
    monkeypatch.setattr(meters, "RAPL_FOLDER", tmp_path / "none")
    assert "wall meter" in meters.absent("cpu")
    meter = meters.open_meter("cpu")
    meter.start()
    assert meter.stop(10.0) == (None, meters.absent("cpu"))


def test_zeus_is_not_imported_where_no_counter_can_be():
    code = (
        "import sys; from pathlib import Path; from trainoff.machine import devices; from trainoff.measure import meters\n"
        "meters.RAPL_FOLDER = Path('none'); devices.is_apple_silicon = lambda: False\n"
        "assert meters.open_meter('cpu').kind is None and 'zeus' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts", check=True)


# NVML: the driver's library below zeus.


@pytest.fixture
def nvml(monkeypatch):
    """Three GPUs, one of them lost, with counters in `millijoules`; what zeus asks the driver's library is answered here."""
    library = zeus.device.gpu.nvidia.pynvml
    found = types.SimpleNamespace(millijoules=[10_000_000, None, 77_000_000], architecture=9, superchip=0)
    numbers = {"GPU-a": 0, "GPU-b": 2}

    def handle(number):
        if number not in numbers.values():
            raise library.NVMLError(library.NVML_ERROR_GPU_IS_LOST)
        return number

    def handle_of(uuid):
        if uuid not in numbers:
            raise library.NVMLError(library.NVML_ERROR_NOT_FOUND)
        return numbers[uuid]

    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 3,
        "nvmlDeviceGetHandleByIndex": handle,
        "nvmlDeviceGetHandleByUUID": handle_of,
        "nvmlDeviceGetIndex": lambda handle: handle,
        "nvmlDeviceGetC2cModeInfoV": lambda handle: types.SimpleNamespace(isC2cEnabled=found.superchip),
        "nvmlDeviceGetName": lambda handle: "Example GPU",
        "nvmlDeviceGetArchitecture": lambda handle: found.architecture,
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: found.millijoules[handle],
    }
    for name, answer in answers.items():
        monkeypatch.setattr(library, name, answer)
    # The lost one is missing here. The first is divided: its slices are no GPUs that the driver's library counts.
    cards = ({"uuid": "GPU-a", "slices": [{"uuid": "MIG-c"}, {"uuid": "MIG-d"}]}, {"uuid": "GPU-b", "slices": None})
    monkeypatch.setattr(nvidia, "listing", lambda: nvidia.Listing(cards))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b")
    monkeypatch.setattr(devices, "is_apple_silicon", lambda: False)
    return found


def test_nvml_reads_the_gpu_that_trains(nvml):
    meter = meters.open_meter("cuda")
    assert meters.facts(meter) == {"source": "nvml", "scope": "gpu"}
    meter.start()
    nvml.millijoules = [10_900_000, None, 79_500_000]
    assert meter.stop(10.0) == (pytest.approx(2500), None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    forget()
    nvml.superchip = 1
    assert meters.facts(meters.open_meter("cuda"))["scope"] == "soc", "the counter is about more than the GPU"


def test_a_counter_that_stands_still_is_a_fault_and_a_short_window_says_so(nvml):
    meter = meters.open_meter("cuda")
    meter.start()
    joules, reason = meter.stop(10.0)
    assert joules is None and "read 0 J of the gpu" in reason and "fault" in reason
    meter.start()
    nvml.millijoules[2] += 500_000
    joules, reason = meter.stop(2.0)
    assert joules is None and "60 updates take 6 s" in reason and "images_per_epoch" in reason


def test_a_gpu_without_a_counter_and_a_driver_that_fails_give_a_reason(nvml, monkeypatch):
    nvml.architecture = 4
    assert "from Volta on" in meters.open_meter("cuda").reason
    forget()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-gone")
    assert "could not be opened" in meters.open_meter("cuda").reason
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-c")
    assert "slice (MIG)" in meters.open_meter("cuda").reason


# Apple: the library below zeus, whose numbers are millijoules.


class AppleCounters:
    """What zeus-apple-silicon's monitor does, with the window's numbers given."""

    def __init__(self, **millijoules):
        self.millijoules = millijoules

    def begin_window(self, key, restart=False):
        pass

    def end_window(self, key):
        names = zeus.device.soc.apple.AppleSiliconMeasurement.__dataclass_fields__
        return types.SimpleNamespace(**(dict.fromkeys(names) | self.millijoules))


def apple(monkeypatch, **millijoules):
    library = types.SimpleNamespace(AppleEnergyMonitor=lambda: AppleCounters(**millijoules))
    monkeypatch.setattr(zeus.device.soc.apple, "zeus_apple_silicon", library)
    monkeypatch.setattr(zeus.device.soc, "apple_silicon_is_available", lambda: True)
    monkeypatch.setattr(devices, "is_apple_silicon", lambda: True)


def test_apple_adds_up_the_chip_from_millijoules(monkeypatch):
    parts = {"cpu_total_mj": 30_000, "gpu_mj": 90_000, "dram_mj": 5_000, "ane_mj": 0}
    apple(monkeypatch, **parts, performance_cluster_mj=[20_000], efficiency_cores_mj=[1, 2])
    meter = meters.open_meter("metal")
    assert meters.facts(meter) == {"source": "ioreport", "scope": "soc"}
    meter.start()
    assert meter.stop(10.0) == (pytest.approx(125), None)


@pytest.mark.parametrize(
    "accelerator, parts, words",
    [
        ("metal", {"cpu_total_mj": 0, "gpu_mj": 90_000}, "read 0 J of the cpu"),
        ("metal", {"cpu_total_mj": 9_000, "gpu_mj": 0}, "read 0 J of the gpu"),
        ("metal", {"cpu_total_mj": 9_000}, "no reading of the gpu"),
        ("cpu", {"cpu_total_mj": 9_000, "gpu_mj": 0}, None),
        ("cpu", {}, "no reading"),
    ],
)
def test_apples_zeros_are_faults_where_training_needs_the_part(monkeypatch, accelerator, parts, words):
    apple(monkeypatch, **parts)
    meter = meters.open_meter(accelerator)
    meter.start()
    joules, reason = meter.stop(10.0)
    assert (joules is None) == bool(words) and (words or "") in (reason or "")


# What counts as a reading.


@pytest.mark.parametrize(
    "parts, seconds, training, words",
    [
        ({"gpu": 700.0}, 10, True, None),
        ({}, 10, True, "no reading"),
        ({"gpu": 0.0}, 10, True, "0 J"),
        ({"gpu": 0.0, "cpu": 4.0}, 10, False, None),
        ({"gpu": -5.0, "cpu": 40.0}, 10, True, "-5 J"),
        ({"gpu": 700.0}, 5.9, True, "60 updates take 6 s"),
        ({"gpu": 262_143.0}, 10, True, "26,214 W"),
    ],
)
def test_a_reading_counts_or_says_why_not(parts, seconds, training, words):
    joules, reason = meters.judged(parts, seconds, meters.NVML, ("gpu",) if training else ())
    assert (joules is None) == bool(words) and (words or "") in (reason or "")
    assert joules is None or joules == sum(parts.values())


# Idle power.


class Idle:
    """A meter over a clock that only sleeping moves; the second reading is disturbed."""

    kind = meters.NVML

    def __init__(self, watts):
        self.watts, self.now, self.started = list(watts), 0.0, 0.0

    def start(self):
        self.started = self.now

    def stop(self, seconds, training):
        assert not training
        return self.watts.pop(0) * (self.now - self.started), None

    def sleep(self, seconds):
        self.now += seconds


def test_idle_power_is_the_middle_of_three_readings(monkeypatch):
    meter = Idle([20, 90, 22])
    monkeypatch.setattr(meters, "open_meter", lambda accelerator: meter)
    found = idling.measure("cuda", 21, sleep=meter.sleep, clock=lambda: meter.now)
    assert found == {"watts": pytest.approx(22), "reason": None, "source": "nvml", "scope": "gpu"}
    assert idling.watts_of(found, "nvml", "gpu") == pytest.approx(22)
    assert idling.watts_of(found, "wall_meter", "machine") is None


def test_idle_power_is_measured_once_in_a_session(monkeypatch, tmp_path):
    measured = []
    monkeypatch.setattr(meters, "absent", lambda accelerator: None)
    monkeypatch.setattr(devices, "require", lambda accelerator, index: None)
    monkeypatch.setattr(idling, "_measure", lambda *arguments: measured.append(arguments) or {"watts": 20.0})
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: {0: {"uuid": "GPU-a"}, 1: {"uuid": "GPU-b"}})

    def ask(seconds=21, index=0, name="cuda", backend="tensorflow"):
        device = {"name": name, "backend": backend, "accelerator": "cuda", "index": index, "threads": None}
        return idling.of_session(tmp_path, device, seconds, tmp_path / "log", lambda words: None)

    assert ask() == ask() == {"watts": 20.0} and len(measured) == 1
    assert ask(name="cuda-torch", backend="torch") and len(measured) == 1, "the same GPU, whatever trains on it"
    assert ask(index=1) and len(measured) == 2
    measured.clear()
    measured.append("the first")
    assert ask(seconds=0)["watts"] is None and len(measured) == 1
    monkeypatch.setattr(idling.psutil, "boot_time", lambda: 0.0)
    ask()
    assert len(measured) == 2, "the machine was restarted"


def test_the_idle_process_runs_and_says_why_there_is_nothing(tmp_path, monkeypatch):
    """Through the process of its own, on whatever this machine has: a figure, or a reason."""
    device = {"name": "gpu", "backend": "tensorflow", "accelerator": "cuda", "index": 99, "threads": None}
    assert "usable NVIDIA GPU" in idling.of_session(tmp_path, device, 18, tmp_path / "log", print)["reason"]
    monkeypatch.setattr(devices, "require", lambda accelerator, index: None)
    found = idling.of_session(tmp_path, device, 18, tmp_path / "log", lambda words: None)
    assert found["watts"] is None and found["reason"]


def test_the_counter_is_read_around_the_clock(monkeypatch):
    """Synchronize, counter, clock, train, synchronize, clock, counter, validate: nothing but training is timed."""
    from trainoff.measure import protocol

    order = []
    parts = {
        "backend": types.SimpleNamespace(
            synchronize=lambda model: order.append("synchronize"), peak_memory=lambda model: None
        ),
        "meter": types.SimpleNamespace(
            start=lambda: order.append("meter"), stop=lambda seconds: (order.append("meter"), (seconds * 70, None))[1]
        ),
    }
    clock = iter(range(100))
    monkeypatch.setattr(
        protocol, "time", types.SimpleNamespace(perf_counter=lambda: (order.append("clock"), next(clock))[1])
    )
    events = []
    windows = protocol.Windows(RUN, {}, report=events.append, **parts)
    windows._validate = lambda: (order.append("validate"), {"loss": 1.0, "accuracy": 0.5})[1]
    windows.on_epoch_begin(0)
    order.append("train")
    windows.on_epoch_end(0, {"loss": 1.0, "accuracy": 0.5})
    expected = ["synchronize", "meter", "clock", "train", "synchronize", "clock", "meter"]
    assert order[:7] == expected and order[7:] == ["clock", "validate", "clock"]
    (event,) = [event for event in events if "window" in event]
    assert (
        event["window"]["energy_joules"] == 70 * event["window"]["seconds"] and event["window"]["energy_reason"] is None
    )
