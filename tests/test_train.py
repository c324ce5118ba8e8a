"""One real training, and trainings that are made to fail: each ends as a valid record."""

import importlib.util
import json
import os
import signal
import statistics
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import psutil
import pytest
from project import ROOT

import prepare_images
import prepare_weights
import train
from trainoff import records
from trainoff.errors import UserError
from trainoff.experiment import own_code
from trainoff.files import write_text
from trainoff.machine import devices
from trainoff.measure import child
from trainoff.supervise.job import Job

# Starts in a fourth of the time that MobileNetV2 takes.
SMALL = own_code.entries({"small": {"function": f"{ROOT / 'tests/small_network.py'}:build"}})["small"]
MOBILENETV2 = {"application": "MobileNetV2", "module": "mobilenet_v2"}
CPU = {"name": "cpu", "backend": "tensorflow", "accelerator": "cpu", "index": 0, "threads": None}
RUN = {
    "device": CPU,
    "model": "small",
    "batch_size": 16,
    "img_dim": 32,
    "trainable": False,
    "precision": "float32",
    "xla": False,
    "learning_rate": 0.0005,
    "optimizer": "adam",
    "replicate": 1,
    "seed": 0,
    "architecture": SMALL,
    "dropout": 0.4,
    "learning_rate_decay": {"rate": 0.96, "steps": 10},
    "batch_norm_momentum": 0.9,
    "on_divergence": None,
    "epochs": 3,
    "images_per_epoch": 32,
    "warm_up_epochs": 1,
}


# As much of it as the schema asks for.
IDENTITY = {
    "code_sha256": "0" * 64,
    "software": {"tensorflow": "2.19.1"},
    "epochs": 3,
    "images_per_epoch": 32,
    "warm_up_epochs": 1,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Paths of prepared images and random weights."""
    return prepared(tmp_path_factory.mktemp("data"), SMALL)


@pytest.fixture(scope="module")
def mobilenetv2(tmp_path_factory):
    """The same for MobileNetV2."""
    return prepared(tmp_path_factory.mktemp("mobilenetv2"), MOBILENETV2)


def prepared(folder, architecture):
    outputs = {f"{s}_{w}": folder / f"{s}_{w}.npy" for s in ("train", "validation") for w in ("images", "labels")}
    counts = {"train": 100, "validation": 50}
    images = {"dataset": "digits", "images": counts}
    prepare_images.prepare_images(images, {"name": "digits"}, None, 32, outputs, folder / "images.json")
    outputs["weights"] = folder / "weights.npz"
    common = {
        "architecture": architecture,
        "made_from": {"weights": "random", "seed": 0},
        "source": None,
        "train_images": outputs["train_images"],
        "output": outputs["weights"],
        "facts": folder / "weights.json",
    }
    if own_code.is_own(architecture):
        prepare_weights.prepare_own(
            **common, image_facts=folder / "images.json", timeout_seconds=600, say=lambda words: None
        )
    else:
        prepare_weights.prepare_weights(**common, img_dim=32)
    return {name: str(path) for name, path in outputs.items()}, folder


def job_on(data, record, say=lambda words: None, timeout_minutes=10):
    """The Job that writes to the path `record` what comes of a training on the data."""
    files, folder = data
    facts = {}
    for name in ("images", "weights"):
        facts |= json.loads((folder / f"{name}.json").read_text())
    return Job(record, record.with_suffix(".log"), timeout_minutes, say, files, facts)


def run(data, tmp_path, say=lambda words: None, timeout_minutes=10, **changes):
    """Trains and returns the record that was written."""
    job = job_on(data, tmp_path / "metrics.json", say, timeout_minutes)
    train.train(
        job,
        RUN | changes,
        IDENTITY,
        wait_for_quiet_minutes=0,
        idle_seconds=21,
        sequence_file=tmp_path / "sequence",
    )
    return records.read(job.record)


def training_process():
    (child,) = [child for child in psutil.Process().children() if "trainoff.measure.child" in child.cmdline()]
    return child


def test_a_run_ends_ok(mobilenetv2, tmp_path):
    changes = {"precision": "mixed_float16", "xla": True}
    record = run(mobilenetv2, tmp_path, model="mobilenetv2", architecture=MOBILENETV2, **changes)
    assert record["status"] == "ok", record["failure"]
    assert record["failure"] is None
    assert len(record["windows"]) == 3
    assert record["throughput"]["images_per_second"] > 0
    assert record["provenance"]["dataset"] == "digits"
    # A figure of energy, or the reason why there is none: windows this short never have one.
    assert record["energy"] is None and record["energy_reason"]
    assert record["model"]["parameters"] == 2_270_794  # Keras' MobileNetV2 without its top has 2,257,984
    assert record["model"]["trainable_parameters"] == 1280 * 10 + 10


def test_a_segmentation_fault_is_recorded_with_what_was_measured_before(data, tmp_path):
    def crash(words):
        if "epoch 1" in words:
            os.kill(training_process().pid, signal.SIGSEGV)

    record = run(data, tmp_path, say=crash, epochs=100_000)
    assert record["status"] == "crashed"
    assert record["failure"]["signal"] == "SIGSEGV"
    assert record["windows"], "the finished windows were lost"


def test_an_epoch_in_which_the_training_was_stopped_does_not_count(data, tmp_path):
    def stop(words):
        if "epoch 2" in words:
            training = training_process()
            training.suspend()
            threading.Timer(3.0, training.resume).start()

    record = run(data, tmp_path, say=stop, epochs=8, images_per_epoch=1600)
    assert record["status"] == "ok"
    stopped = [window for window in record["windows"] if "suspended_seconds" in window]
    assert sum(window["suspended_seconds"] for window in stopped) == pytest.approx(3, abs=0.5)
    assert all(window["warm_up"] for window in stopped) and len(stopped) <= 2
    others = [window["images"] / window["seconds"] for window in record["windows"] if not window["warm_up"]]
    assert len(others) >= 5
    assert record["throughput"]["images_per_second"] == pytest.approx(statistics.median(others))
    assert record["conditions"]["suspended_seconds"] == pytest.approx(3, abs=0.5)


def test_a_loss_that_is_no_number_is_recorded(data, tmp_path):
    record = run(data, tmp_path, trainable=True, learning_rate=1e30)
    assert record["status"] == "diverged"
    assert record["windows"][-1]["loss"] is None
    assert "loss" in record["failure"]["message"]


def test_a_run_that_diverged_is_trained_again_and_both_attempts_stay(data, tmp_path):
    again = {"reduce_learning_rate": 1e-33, "attempts": 1}
    record = run(data, tmp_path, trainable=True, learning_rate=1e30, on_divergence=again)
    assert record["status"] == "ok"
    first, second = record["training"]["attempts"]
    assert first["outcome"] == "diverged" and first["windows"][-1]["loss"] is None
    assert second["learning_rate"] == pytest.approx(1e-3)
    assert record["run"]["learning_rate"] == 1e30, "the place in the grid is what was asked for"
    assert record["windows"][-1]["loss"] is not None and record["training"]["converged"] is not None


# After its first step this training asks for more memory than it may have.
STARVED_CHILD = """
import resource
import sys

if __name__ == "__main__":
    from trainoff.measure import child

    def load():
        import numpy as np
        import psutil
        from trainoff.measure import protocol

        def train(run, files, backend, report):
            def report_and_ask(event):
                report(event)
                if event["event"] == "first_step":
                    used = psutil.Process().memory_info().vms
                    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, resource.RLIM_INFINITY))
                    np.empty(2**32, "uint8")

            protocol.train(run, files, backend, report_and_ask)

        return train

    child.main(sys.argv[1], load)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not limit an address space")
def test_too_little_memory_is_recorded(data, tmp_path, monkeypatch):
    (tmp_path / "starved_child.py").write_text(STARVED_CHILD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "child", SimpleNamespace(__name__="starved_child"))
    record = run(data, tmp_path)
    assert record["status"] == "out_of_memory", record["failure"]
    assert "MemoryError" in record["failure"]["message"] and record["cold_start"]["first_step_seconds"] > 0


@pytest.mark.parametrize(
    "words, status",
    [
        # As TensorFlow 2.19 and torch 2.13 said it under a limit of the address space.
        ("Operation received an exception:Status: 1, message: could not create a primitive, in file x.cc:1", "memory"),
        (
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
            "memory",
        ),
        ("can't start new thread", "memory"),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 66846720 bytes.", "memory"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "memory"),
        ("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx`", "error"),
        ("Operation received an exception:Status: 3, message: could not create a primitive descriptor", "error"),
        ("Incompatible shapes: [32,10] vs. [64,10]", "error"),
    ],
)
def test_what_a_framework_says_when_memory_runs_out_is_known(words, status):
    assert child._status(RuntimeError(words)) == {"memory": "out_of_memory", "error": "error"}[status]


@pytest.mark.skipif(devices.is_apple_silicon(), reason="this machine has the device")
def test_a_missing_device_is_recorded_without_training(data, tmp_path):
    record = run(data, tmp_path, device=CPU | {"name": "metal", "accelerator": "metal"})
    assert record["status"] == "unavailable"
    assert "Apple silicon" in record["failure"]["message"]
    assert record["windows"] == []


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_the_same_run_learns_the_same(data, tmp_path, backend):
    """To the bit where that is asked for; else up to rounding, which a few steps let grow to less than a hundredth."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed; `make test-environments` tries it in its own environment")
    device = CPU | {"backend": backend}
    records = [
        run(data, tmp_path, device=device, trainable=True, epochs=2, **asked)
        for asked in ({}, DETERMINISTIC, DETERMINISTIC)
    ]
    assert [one["status"] for one in records] == ["ok"] * 3, [one["failure"] for one in records]
    usual, first, second = ([learnt(window) for window in one["windows"]] for one in records)
    assert first == second
    np.testing.assert_allclose([loss for loss, *_ in usual], [loss for loss, *_ in first], rtol=0.01)
    assert [one["provenance"]["deterministic"] for one in records] == [False, True, True]


DETERMINISTIC = {"deterministic": True}


def learnt(window):
    return [window[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")]


@pytest.mark.parametrize("name", ["train_images", "validation_labels", "weights"])
def test_nothing_is_trained_on_damaged_data(data, tmp_path, name):
    files, folder = data
    damaged = tmp_path / Path(files[name]).name
    content = bytearray(Path(files[name]).read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="--forcerun prepare_(images|weights)"):
        run((files | {name: str(damaged)}, folder), tmp_path)
    assert not (tmp_path / "metrics.json").exists()


def test_a_failure_tells_nothing_of_whose_machine_it_was(data, tmp_path, monkeypatch):
    """A traceback names files by their whole path; records and logs travel."""
    monkeypatch.setenv("HOME", str(tmp_path))
    record = run(data, tmp_path, architecture=MOBILENETV2 | {"application": str(ROOT / "x")}, batch_norm_momentum="x")
    assert record["status"] == "error"
    told = json.dumps(record["failure"])
    assert "Traceback" in told
    assert not [word for word in (str(ROOT), str(tmp_path), sys.prefix) if word in told], told


def test_weights_of_another_architecture_or_format_are_refused(mobilenetv2, tmp_path):
    files, _ = mobilenetv2

    def prepare(source):
        prepare_weights.prepare_weights(
            MOBILENETV2,
            32,
            {"weights": "file"},
            str(source),
            files["train_images"],
            tmp_path / "w.npz",
            tmp_path / "w.json",
        )

    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    with pytest.raises(UserError, match="cannot be read as an HDF5 file"):
        prepare(text)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["Conv1/kernel:0"] = np.zeros((5, 5, 3, 32), "float32")
    with pytest.raises(UserError, match=r"Conv1/kernel is \(5, 5, 3, 32\), expected .*another network"):
        prepare(other)
    assert not (tmp_path / "w.npz").exists()


def test_weights_are_found_in_a_file_with_a_classifier_on_top(mobilenetv2, tmp_path):
    """As models saved whole by other projects store them."""
    from trainoff.measure import models

    files, _ = mobilenetv2
    base = models.build_base(MOBILENETV2, 32)
    models.randomize(base, seed=7)
    source = tmp_path / "whole.h5"
    with h5py.File(source, "w") as file:
        for layer in base.layers:
            for variable in layer.variables:
                file[f"model_weights/mobilenetv2_1.00_32/{layer.name}/{variable.name}:0"] = np.asarray(variable)
        file["model_weights/dense/dense/kernel:0"] = np.zeros((1280, 120), "float32")
    output = tmp_path / "w.npz"
    prepare_weights.prepare_weights(
        MOBILENETV2, 32, {"weights": "file"}, str(source), files["train_images"], output, tmp_path / "w.json"
    )
    loaded = models.build_base(MOBILENETV2, 32)
    models.load(loaded, output)
    for expected, found in zip(base.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, found)
    assert json.loads((tmp_path / "w.json").read_text())["weights"] == "file"


def test_calibrated_random_features_differ_from_image_to_image(mobilenetv2):
    """Without calibration they are nearly constant, and the last layer has nothing to learn from."""
    from trainoff.measure import models

    files, _ = mobilenetv2
    images = np.load(files["train_images"])[:50].astype("float32") / 127.5 - 1

    def spread(base):
        features = np.asarray(base(images, training=False)).mean(axis=(1, 2))
        return features.std(axis=0).mean() / (features.mean() + 1e-9)

    raw = models.build_base(MOBILENETV2, 32)
    models.randomize(raw, seed=0)
    calibrated = models.build_base(MOBILENETV2, 32)
    models.load(calibrated, files["weights"])
    assert spread(calibrated) > 100 * spread(raw)


# A training whose processor's counter is a file; everything else is as always, zeus and its watching process included.
METERED_CHILD = """
import sys
from pathlib import Path

if __name__ == "__main__":
    import zeus.device.cpu.rapl
    from trainoff.machine import devices
    from trainoff.measure import child, meters

    zeus.device.cpu.rapl.RAPL_DIR = {tree!r}
    meters.RAPL_FOLDER = Path({tree!r})
    devices.is_apple_silicon = lambda: False
    child.main(sys.argv[1], child._training)
"""


def test_a_counter_is_read_while_the_run_trains(data, tmp_path, monkeypatch):
    """A counter that runs at 50 W all the time says so of every window, and nothing outlives the run."""
    zone = tmp_path / "intel-rapl" / "intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0")
    (zone / "max_energy_range_uj").write_text("262143328850")
    started, done = time.monotonic(), threading.Event()

    def count():
        write_text(zone / "energy_uj", f"{1e9 + 50e6 * (time.monotonic() - started):.0f}")

    def keep_counting():
        while not done.wait(0.005):
            count()

    count()
    (tmp_path / "metered_child.py").write_text(METERED_CHILD.format(tree=str(zone.parent)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "child", SimpleNamespace(__name__="metered_child"))
    counter = threading.Thread(target=keep_counting)
    counter.start()
    try:
        # Windows that are long enough for the counter, however fast the machine is.
        record = run(data, tmp_path, images_per_epoch=3200)
    finally:
        done.set()
        counter.join()
    assert record["status"] == "ok", record["failure"]
    assert record["energy_reason"] is None, record["energy_reason"]
    assert (record["energy"]["source"], record["energy"]["scope"]) == ("rapl", "package")
    assert record["energy"]["mean_watts"] == pytest.approx(50, rel=0.3)
    left = [process.pid for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(tmp_path)]
    assert left == [os.getpid()], "only this process is still in that folder"
