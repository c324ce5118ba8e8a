"""A training in the user's own script: timed by the callback, imported as a bundle, and marked wherever it is shown."""

import re
import subprocess
import sys

import emulation
import numpy as np
import pandas as pd
import pytest
import synthetic
import yaml
from pages import CATALOG, page
from project import ROOT
from test_report import Outline, carried

from trainoff import records
from trainoff.analyze import anchors, layer_counts
from trainoff.analyze.reasons import reason
from trainoff.errors import UserError
from trainoff.exchange import bundles, merging

WORK = "four numbers in three classes"


def fit(
    folder,
    epochs=4,
    validation_seconds=0.0,
    loss="sparse_categorical_crossentropy",
    learning_rate=0.01,
    steps=None,
    name="tiny",
    **options,
):
    """Trains a dense network on 64 random samples as a script would, with a Timer; returns the history of `fit`.

    steps: a list to which every step adds its number.
    """
    import time

    import keras

    from trainoff import Timer

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(3, activation="softmax")], name=name
    )
    model.compile(keras.optimizers.RMSprop(learning_rate), loss, metrics=["accuracy"])
    inputs, labels = np.random.default_rng(0).normal(size=(64, 4)), np.arange(64) % 3

    class Slow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if steps is not None:
                steps.append(batch)

        def on_test_batch_end(self, batch, logs=None):
            time.sleep(validation_seconds)

    timer = Timer(folder, **{"work": WORK, "batch_size": 16} | options)
    history = model.fit(
        inputs,
        labels,
        batch_size=16,
        epochs=epochs,
        validation_data=(inputs[:16], labels[:16]),
        callbacks=[timer, Slow()],
        verbose=0,
    )
    return history.history


def imported(folder, *places):
    """(survey, records) of the bundles at `places`, unpacked in `folder`."""
    survey = merging.survey([str(place) for place in places], [], synthetic.DEVICES[0], folder / ".origin")
    merging.unpack(survey.paths, survey.names, folder / "imported")
    return survey, [records.read(entry["path"]) for entry in merging.index_of(folder / "imported")["runs"]]


def shown(folder, devices, piped=()):
    """(page, tables) of unpacked bundles and records of the pipeline."""
    tables = synthetic.results(folder, devices, piped, imported=(folder / "imported", folder / ".origin"))
    return page(folder, devices, [], tables=tables)


def test_importing_the_package_costs_nothing_and_no_other_name_is_there():
    code = "import sys, trainoff; assert not {'keras', 'numpy', 'psutil'} & {*sys.modules}; trainoff.Tiner"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True)
    assert done.stderr.strip().endswith("AttributeError: module 'trainoff' has no attribute 'Tiner'")


def test_a_plain_fit_is_timed_and_imported_and_marked_wherever_it_is_shown(tmp_path):
    """Two machines and three trainings: records, tables and page. The validation of 0.5 s is not timed."""
    losses = fit(tmp_path / "one", validation_seconds=0.5, label="Desk")
    fit(tmp_path / "one", label="Desk")
    fit(tmp_path / "two", label="Laptop")
    assert [path.name for path in sorted((tmp_path / "one").glob("*.zip"))] == [
        "own-cpu-tiny-16-1.zip",
        "own-cpu-tiny-16-2.zip",
    ]
    survey, timed = imported(tmp_path, tmp_path / "one", tmp_path / "two")
    first = timed[0]
    assert first["own_script"] == {"work": WORK} and first["status"] == "ok" and first["training"]["converged"] is None
    axes = {key: first["run"][key] for key in ("model", "batch_size", "img_dim", "trainable", "optimizer", "replicate")}
    assert axes == {
        "model": "tiny",
        "batch_size": 16,
        "img_dim": 0,
        "trainable": True,
        "optimizer": "rmsprop",
        "replicate": 1,
    }
    assert first["run"]["learning_rate"] == pytest.approx(0.01)
    assert [window["images"] for window in first["windows"]] == [64] * 4
    assert [window["warm_up"] for window in first["windows"]] == [True, False, False, False]
    for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert [window[key] for window in first["windows"]] == pytest.approx(losses[key])
    assert min(window["seconds"] for window in first["windows"]) < 0.5
    assert first["memory"]["peak_bytes"] > 100e6

    text, frames = shown(tmp_path, survey.devices)
    assert '"code": "own_script"' in frames["comparison"]["reason"].iloc[0]
    runs = frames["runs"]
    assert runs["device"].nunique() == 2
    assert set(runs["own_script"]) == {WORK} and set(frames["comparison"]["verdict"]) != {"not_comparable"}
    words = Outline(text).text
    assert "Desk (own script)" in words and "Laptop (own script)" in words
    assert f'were timed in users\' own scripts ("{WORK}"), which may not do the same work' in words
    assert re.search(r"(Desk|Laptop) \(own script\).{0,80}(as fast as|equally fast)", words), "a verdict names them so"
    assert text.count('<span class="flag">own script</span>') == len(timed)
    assert carried(text, "runs")["own_script"].tolist() == [WORK] * 3


def test_unnamed_models_of_one_process_are_replicates_of_one_network(tmp_path, capsys):
    """Keras calls them sequential, sequential_1 and so on; a name that the user gave is kept."""
    for name in (None, None, "tiny_2"):
        fit(tmp_path, epochs=1, name=name)
    assert [path.name for path in sorted(tmp_path.glob("*.zip"))] == [
        "own-cpu-sequential-16-1.zip",
        "own-cpu-sequential-16-2.zip",
        "own-cpu-tiny_2-16-1.zip",
    ]
    assert "1 epoch. None of them counts, since warm_up_epochs is 1: train more." in capsys.readouterr().out


def test_own_scripts_of_other_words_and_the_pipeline_are_not_compared(tmp_path):
    fit(tmp_path / "one", label="Desk")
    fit(tmp_path / "two", label="Laptop", work="something else")
    survey, timed = imported(tmp_path, tmp_path / "one", tmp_path / "two")
    piped = synthetic.records(synthetic.DEVICES[:1], synthetic.SMALL_GRID | {"trainable": [True]})
    for record in piped:
        record["run"] |= {key: timed[0]["run"][key] for key in timed[0]["run"] if key not in ("device", "seed")}
    _, frames = shown(tmp_path, [*survey.devices, synthetic.DEVICES[0]], piped)
    comparison = frames["comparison"]
    assert len(comparison) == 3 and set(comparison["verdict"]) == {"not_comparable"}
    assert all('"what": "settings"' in reason for reason in comparison["reason"])


def test_a_bundle_whose_records_do_not_say_so_is_refused(tmp_path):
    """A run of an own script cannot be passed off as a run of the pipeline, or the other way round."""
    fit(tmp_path / "one")
    path = tmp_path / "one/own-cpu-tiny-16-1.zip"
    manifest = bundles.read_manifest(path)
    files = dict(bundles.read(path))
    for change in ({"own_script": {"work": "other"}}, {}):
        new_manifest = {key: manifest[key] for key in ("origin", "title", "devices", "reference")} | {
            "experiment": change
        }
        changed = {
            name: item.encode() if isinstance(item, str) else bundles.encoded(item) for name, item in files.items()
        }
        bundles.write(tmp_path / "changed.zip", new_manifest, changed)
        with pytest.raises(UserError, match="own_script: the record holds"):
            imported(tmp_path / "there", tmp_path / "changed.zip")


def test_a_loss_that_is_not_finite_is_recorded_as_diverged(tmp_path):
    import keras

    fit(tmp_path / "one", loss=lambda labels, outputs: keras.ops.sum(outputs) * np.nan)
    _, (record,) = imported(tmp_path, tmp_path / "one")
    assert (record["status"], record["training"]["converged"]) == ("diverged", False)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"work": ""}, "Timer: work: ''. Expected a few words"),
        ({"work": None}, "Timer: work: None"),
        ({"batch_size": 0}, "Timer: batch_size: 0. Expected a whole number from 1"),
        ({"samples_per_epoch": 6.4}, "Timer: samples_per_epoch: 6.4"),
        ({"warm_up_epochs": True}, "Timer: warm_up_epochs: True"),
        ({"device": "My GPU"}, "Timer: device: 'My GPU'. Expected lowercase letters"),
    ],
)
def test_what_cannot_be_timed_is_said_before_the_training(options, words, tmp_path):
    with pytest.raises(UserError, match=words):
        fit(tmp_path, **options)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "place, policy, batch_size, words",
    [
        ("one", "float64", 16, "the model computes in float64. Expected one of float32"),
        ("one", "float32", 70_000, "run.batch_size: 70000 is greater .* cannot be packed"),
        ("file", "float32", 16, r"folder: .*/file cannot be written to \(File exists\)"),
    ],
)
def test_what_cannot_be_packed_is_said_before_the_first_step(place, policy, batch_size, words, tmp_path):
    import keras

    (tmp_path / "file").touch()
    before, steps = keras.config.dtype_policy(), []
    keras.config.set_dtype_policy(policy)
    try:
        with pytest.raises(UserError, match=f"Timer: {words}"):
            fit(tmp_path / place, batch_size=batch_size, steps=steps)
    finally:
        keras.config.set_dtype_policy(before)
    assert not steps


def test_a_schedule_may_begin_at_zero(tmp_path):
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(0.0, 100, warmup_target=0.4, warmup_steps=8)
    fit(tmp_path / "one", epochs=2, learning_rate=schedule)
    _, (record,) = imported(tmp_path, tmp_path / "one")
    assert record["run"]["learning_rate"] == 0.2, "that of the end of the first epoch, of four steps"


def test_a_stream_of_unknown_length_needs_the_number_of_samples(tmp_path):
    import keras

    from trainoff import Timer

    def batches():
        for _ in range(3):
            yield np.ones((8, 4)), np.zeros(8)

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(UserError, match="does not know how many steps an epoch has. Give samples_per_epoch"):
        model.fit(batches(), verbose=0, callbacks=[Timer(tmp_path, work="w", batch_size=8)])
    model.fit(batches(), verbose=0, callbacks=[Timer(tmp_path, work="w", batch_size=8, samples_per_epoch=24)])
    _, (record,) = imported(tmp_path / "there", tmp_path)
    assert [window["images"] for window in record["windows"]] == [24] and record["windows"][0]["warm_up"]
    assert pd.isna(record["windows"][0]["accuracy"])


def test_a_gpu_is_known_by_the_name_that_its_framework_gives(tmp_path, monkeypatch):
    """CUDA calls the fastest GPU 0 unless it is told otherwise; nvidia-smi calls this one 1."""
    from trainoff.measure.backends import tensorflow as backend

    emulation.emulate(
        emulation.MACHINES["RTX 4090 beside a GT 1030 that comes first"], tmp_path / "machine", monkeypatch
    )
    monkeypatch.setattr(backend, "placement", lambda model: {"gpu"})
    for number, name in enumerate(("NVIDIA GeForce RTX 4090", "another GPU")):
        facts = {"name": name, "compute_capability": "8.9"}
        monkeypatch.setattr(backend, "describe", lambda accelerator, facts=facts: facts)
        fit(tmp_path / f"timings{number}", epochs=2)
        _, (record,) = imported(tmp_path / str(number), tmp_path / f"timings{number}")
        known = {key: record["device"][key] for key in ("name", "memory_bytes", "driver")}
        memory, driver = (24564 * 2**20, "560.35.03") if name.endswith("4090") else (None, None)
        assert known == {"name": name, "memory_bytes": memory, "driver": driver}


@pytest.mark.parametrize(("kind", "rocm", "named"), [("xpu", False, "xpu"), ("gpu", True, "an AMD GPU")])
def test_a_device_that_is_not_supported_ends_the_training_before_its_first_step(
    kind, rocm, named, tmp_path, monkeypatch
):
    """TensorFlow for ROCm calls an AMD GPU what it calls NVIDIA's."""
    import tensorflow

    from trainoff.measure.backends import tensorflow as backend

    monkeypatch.setattr(backend, "placement", lambda model: {kind})
    monkeypatch.setattr(tensorflow.sysconfig, "get_build_info", lambda: {"is_rocm_build": rocm})
    with pytest.raises(UserError, match=f"the model is on {named}. Expected the CPU, an NVIDIA GPU or an Apple GPU"):
        fit(tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("doubt", ["", "own_script", "implausible", "mismatch"])
def test_speeds_that_may_be_of_other_work_are_no_anchors(doubt, tmp_path):
    """A T4 that was measured counts as measured, unless it is open what was."""
    devices = synthetic.DEVICES[:2]
    made_up = synthetic.records(devices, synthetic.SMALL_GRID)
    for record in made_up:
        if record["run"]["device"] == "cuda":
            record["device"]["name"] = "Tesla T4"
            record |= {"own_script": {"work": WORK}} if doubt == "own_script" else {}
    paths = synthetic.results(tmp_path, devices, made_up)
    runs, rates = (pd.read_parquet(paths[name]) for name in ("runs", "rates"))
    if doubt == "implausible":
        runs.loc[runs["device"] == "cuda", "implausible"] = reason("beyond_speed")
    if doubt == "mismatch":
        rates.loc[rates["device"] == "cuda", "parity"] = "mismatch"
    sheets = yaml.safe_load(CATALOG["hardware"].read_text(encoding="utf-8"))
    found = anchors.measured(rates, runs, sheets, layer_counts.read(CATALOG["counts"]), "tensorflow")
    assert sorted(set(found["device"])) == (["measured:cpu"] if doubt else ["measured:cpu", "t4"])
