"""Speed that lasts: minutes of long runs, and runs that are measured for minutes."""

from datetime import datetime, timedelta

import pandas as pd
import pytest
import synthetic
import yaml
from pages import draw
from project import ROOT
from test_figures import words as words_of_figure
from test_train import RUN
from test_train import data as data  # noqa: PLC0414 (a fixture)
from test_train import run as train_run

from trainoff import axes
from trainoff.analyze import sustained, tables
from trainoff.errors import UserError
from trainoff.exchange import claims, merging
from trainoff.experiment import checks, plan
from trainoff.report import page, words
from trainoff.workflow import validity

LABELS = {device["name"]: device["label"] for device in synthetic.DEVICES}


def long_records(minutes, last=0.8, epoch_seconds=20.0, gap=2.0):
    """A run of CPU and one of the Apple GPU, of which the latter falls evenly to `last` of its speed over `minutes`."""
    devices = [synthetic.DEVICES[0], synthetic.DEVICES[2]]
    found = synthetic.records(devices, grid=synthetic.GRID | {"batch_size": [32], "img_dim": [96], "trainable": [True]})
    for record in found:
        clock, at, windows = datetime.fromisoformat("2026-01-02T10:00:00+00:00"), 0.0, []
        template = record["windows"][0]
        while at < 60 * minutes:
            done = at / (60 * minutes)
            seconds = epoch_seconds / (1 - (1 - last) * done) if record["run"]["device"] == "metal" else epoch_seconds
            windows.append(
                template
                | {
                    "epoch": len(windows) + 1,
                    "seconds": seconds,
                    "warm_up": not windows,
                    "started_at": (clock + timedelta(seconds=at)).isoformat(),
                }
            )
            at += seconds + gap
        record["windows"] = windows
    return found


def frames(records):
    found = [(f"{place}.json", record) for place, record in enumerate(records)]
    return tables.run_table(found, ROOT), tables.window_table(found)


def test_the_last_minute_of_a_device_that_gets_warm_is_slower():
    by_minute = sustained.table(*frames(long_records(10)))
    found = sustained.ratios(by_minute)
    assert found["cpu"].ratio == pytest.approx(1, abs=1e-6)
    assert found["metal"].ratio == pytest.approx(0.82, abs=0.015)
    assert found["cpu"].first == (1, 1) and found["cpu"].last in ((9, 9), (10, 10))
    text = words.sustained(found, LABELS)
    assert text.startswith(
        f"After {found['cpu'].last[0]} minutes, CPU runs at 100% of the speed of its first minute and Apple GPU at 8"
    )


def test_the_sentence_names_the_minutes_that_are_compared():
    """Runs of other configurations take longer, and a long warm-up hides the first minutes."""
    by_minute = sustained.table(*frames(long_records(10)))
    longer = by_minute["device"] == "metal"
    short = by_minute[~longer & (by_minute["minute"] <= 4)].assign(batch_size=64)
    late = by_minute[longer & (by_minute["minute"] >= 3)]
    text = words.sustained(sustained.ratios(pd.concat([by_minute[~longer], short, late])), LABELS)
    last = by_minute["minute"].max()
    assert text.startswith(
        f"After 4 to {last} minutes, CPU runs at 100% of the speed of its first minute and Apple GPU"
    )
    assert text.endswith(f"% (after {last} minutes, relative to its minute 3)")


def test_a_minute_is_told_by_the_time_on_its_clock_alone():
    """Epochs across minutes count in both by their time; warm-up does not count, and its time goes on."""
    _, windows = frames(long_records(5, last=1.0, epoch_seconds=50.0, gap=30.0))
    own = windows[windows["device"] == "cpu"]
    runs, _ = frames(long_records(5))
    by_minute = sustained.table(runs, own)
    rate = own["images"].iloc[0] / 50.0
    # 0–50 warm-up, 80–130, 160–210, 240–290: nothing counts in minute 1.
    assert by_minute["minute"].tolist() == [2, 3, 4]
    assert by_minute["images_per_second"].tolist() == pytest.approx([rate] * 3)


def test_short_runs_failed_runs_and_runs_without_times_have_no_minutes():
    runs, windows = frames(synthetic.records(synthetic.DEVICES[:2]))
    assert sustained.table(runs, windows).empty
    runs, windows = frames(long_records(5))
    assert not sustained.table(runs, windows).empty
    assert sustained.table(runs.assign(status="crashed"), windows).empty
    assert sustained.table(runs, windows.assign(started_at=None)).empty
    assert words.sustained_lines({}, LABELS) == []


def test_figure_and_page_tell_it_where_there_are_long_runs(tmp_path):
    devices = [synthetic.DEVICES[0], synthetic.DEVICES[2]]
    files = draw("sustained", synthetic.results(tmp_path, devices, long_records(10)), devices, tmp_path)
    assert "Apple GPU at 8" in words_of_figure(files)
    (tmp_path / "short").mkdir()
    short = synthetic.results(tmp_path / "short", devices, synthetic.records(devices))
    assert "No run took long enough" in words_of_figure(draw("sustained", short, devices, tmp_path))
    empty = pd.DataFrame(
        {"joules_per_image": [], "mean_watts": [], "owned_per_training": [], "rented_per_training": []}
    )
    for records, there in ((long_records(10), True), (synthetic.records(devices), False)):
        runs, windows = frames(records)
        known = {"runs": runs, "windows": windows, "rates": empty, "costs": empty, "break_even": empty}
        assert page.tells("sustained", known) is there


def config(**protocol):
    found = yaml.safe_load((ROOT / "config.yaml").read_text())
    return found | {"protocol": found["protocol"] | protocol}


def test_minutes_identify_a_run_and_are_no_setting_of_turns():
    plain, timed = (
        plan.training(RUN, config(**more), {RUN["model"]: RUN["architecture"]})
        for more in ({}, {"measure_minutes": 10})
    )
    assert "measure_minutes" not in plain
    assert timed["measure_minutes"] == 10
    held = validity.identity(timed, config(measure_minutes=10), {}, "0", {})
    assert held["measure_minutes"] == 10
    assert "measure_minutes=10" in merging.settings_text(config(measure_minutes=10))
    assert "measure_minutes" not in merging.settings_text(config())
    assert "measure_minutes" in validity.NOT_OF_TURNS


@pytest.mark.parametrize(
    ("protocol", "training", "words"),
    [
        ({"measure_minutes": 60}, {}, "is not less than protocol.timeout_minutes"),
        ({"measure_minutes": 0}, {}, "protocol.measure_minutes"),
        ({"measure_minutes": 5}, {"cosine_decay": True}, "leaves the number of epochs open"),
    ],
)
def test_minutes_that_do_not_fit(protocol, training, words):
    schema = axes.into_experiment_schema(yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text()))
    models = yaml.safe_load((ROOT / "catalog/models.yaml").read_text())
    wanted = config(**protocol)
    wanted["training"] |= training
    with pytest.raises(UserError, match=words):
        checks.check(wanted, schema, models, "config.yaml")


def test_a_real_run_goes_on_in_whole_epochs_until_its_minutes_are_over(data, tmp_path):
    record = train_run(data, tmp_path, measure_minutes=0.1)
    assert record["status"] == "ok", record["failure"]
    windows = record["windows"]
    assert len(windows) > RUN["epochs"]
    assert [window["epoch"] for window in windows] == list(range(1, len(windows) + 1))
    first, last = (datetime.fromisoformat(window["started_at"]).timestamp() for window in (windows[0], windows[-1]))
    assert last - first < 6 < last - first + windows[-1]["seconds"] + windows[-1]["validation_seconds"] + 1
    record["identity"] |= {"measure_minutes": 0.1}
    assert list(claims._identity(record)) and all(
        claims._equal(claimed, computed)
        for key, claimed, computed in claims._identity(record)
        if key == "identity.epochs"
    )
