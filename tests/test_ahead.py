"""What more measuring would decide."""

import pandas as pd
import pytest
import synthetic
import yaml

import compare_devices
import decide
from trainoff.analyze import next_measurements, noise, tables
from trainoff.errors import UserError
from trainoff.experiment import experiment_file
from trainoff.report import turn_words

QUIET = {"unknown": noise.Kind("unknown", 0.02, 1.5)}


def frames(replicates, names=("cpu", "laptop"), noise=0.015):
    devices = [device for device in synthetic.DEVICES if device["name"] in names]
    entries = [
        (f"{rank}.json", record)
        for rank, record in enumerate(synthetic.records(devices, replicates=replicates, noise=noise))
    ]
    keys = tables.records.RUN_KEYS
    runs = tables.run_table(sorted(entries, key=lambda entry: [entry[1]["run"][key] for key in keys]))
    windows = tables.window_table(entries)
    return runs, windows, compare_devices.compare(runs, windows, list(names), kinds=QUIET)


def test_open_pairs_say_how_many_replicates_would_decide_them():
    runs, _, compared = frames(1)
    table = next_measurements.table(compared["comparison"], compared["rates"], runs)
    undecided = compared["comparison"]["verdict"] == "undecided"
    assert len(table) == undecided.sum() > 0 and list(table) == next_measurements.COLUMNS
    known = table.dropna(subset="more_replicates")
    assert len(known) and known["more_replicates"].between(1, next_measurements.MAX_REPLICATES).all()
    assert known["expected"].isin(["faster", "slower", "equivalent"]).all() and (known["minutes"] > 0).all()
    more, configurations, minutes, decided, open_pairs = next_measurements.best(table)
    assert 1 <= decided <= open_pairs == len(table) and minutes > 0 and configurations <= 8 and more >= 1
    (line,) = turn_words.next_lines(table)
    assert line.startswith(f"{more} more replicate") and f"would decide {decided} of" in line


def test_the_cheapest_open_pairs_are_measured_within_the_minutes(tmp_path):
    runs, _, compared = frames(1)
    table = next_measurements.table(compared["comparison"], compared["rates"], runs)
    known = table.dropna(subset="more_replicates").sort_values("minutes")
    assert len(known) > 1
    budget = float(known["minutes"].iloc[:2].sum()) + 0.001
    decision = next_measurements.decide(table, runs, budget)
    assert decision.decided == 2 and decision.open == len(table) and decision.minutes <= budget
    assert set(decision.added) == {"more_replicates"}
    first = decision.added["more_replicates"][0]
    assert first["replicates"] == 1 + known["more_replicates"].iloc[0] and first["devices"] == ["cpu", "laptop"]
    nothing = next_measurements.decide(table, runs, 0)
    assert nothing.added == {} and nothing.cheapest == pytest.approx(known["minutes"].min())

    # From the tables on disk to the file that the next start takes in.
    (tmp_path / "tables").mkdir()
    for name, frame in (("next", table), ("runs", runs)):
        frame.to_parquet(tmp_path / f"tables/{name}.parquet")
    message = decide.decide(tmp_path, budget)
    assert f"decide 2 of {len(table)} undecided pairs" in message
    written = yaml.safe_load((tmp_path / "decide.yaml").read_text())
    assert written == decision.added
    decide.decide(tmp_path, budget)
    assert yaml.safe_load((tmp_path / "decide.yaml").read_text()) == written, "the same again adds nothing"
    assert "make decide MINUTES=" in decide.decide(tmp_path, 0)
    table.drop(columns="device_minutes").to_parquet(tmp_path / "tables/next.parquet")
    with pytest.raises(UserError, match="earlier version"):
        decide.decide(tmp_path, budget)


def test_replicates_that_several_pairs_need_are_trained_once():
    runs, windows, _ = frames(1)
    runs, windows = (
        pd.concat([table, table[table["device"] == "laptop"].assign(device="other")]) for table in (runs, windows)
    )
    compared = compare_devices.compare(runs, windows, ["cpu", "laptop", "other"], kinds=QUIET)
    table = next_measurements.table(compared["comparison"], compared["rates"], runs)
    decision = next_measurements.decide(table, runs, 1e6)
    assert decision.decided == len(table) == 24
    replicates = {}
    for entry in decision.added["more_replicates"]:
        for device in entry["devices"]:
            key = device, *entry["configuration"].values()
            replicates[key] = max(replicates.get(key, 1), entry["replicates"])
    taken = (pd.to_datetime(runs["finished_at"]) - pd.to_datetime(runs["started_at"])).dt.total_seconds()
    seconds = dict(
        zip(runs[["device", *next_measurements.AXES]].itertuples(index=False, name=None), taken, strict=True)
    )
    wanted = sum((number - 1) * seconds[key] for key, number in replicates.items()) / 60
    assert decision.minutes == pytest.approx(wanted)
    assert next_measurements.decide(table, runs, decision.minutes + 0.001).decided == 24
    _, _, minutes, decided, _ = next_measurements.best(table)
    assert next_measurements.decide(table, runs, minutes + 0.001).decided >= decided


def test_what_several_decisions_add_is_never_more_than_a_start_reads(tmp_path):
    runs, _, compared = frames(1)
    table = next_measurements.table(compared["comparison"], compared["rates"], runs)
    (tmp_path / "tables").mkdir()
    for name, frame in (("next", table), ("runs", runs)):
        frame.to_parquet(tmp_path / f"tables/{name}.parquet")
    configuration = dict(runs[next_measurements.AXES].astype(object).iloc[0])
    entries = [
        {"devices": ["cpu", "laptop"], "configuration": configuration | {"learning_rate": 1 / rank}, "replicates": 4}
        for rank in range(1, next_measurements.MAX_ENTRIES)
    ]
    file = tmp_path / "decide.yaml"
    file.write_text(yaml.safe_dump({"more_replicates": entries}))
    decide.decide(tmp_path, 1000)
    assert len(experiment_file.read(file)["more_replicates"]) == next_measurements.MAX_ENTRIES
    with pytest.raises(UserError, match="Set `replicates: [0-9]+` in the experiment"):
        decide.decide(tmp_path, 1000)


def test_further_minutes_of_turns_are_paid_for_wherever_they_are_open():
    runs, _, compared = frames(1)
    comparison = (
        compared["comparison"].head(3).assign(verdict="undecided", source="turns", decisive_minutes=[6.0, 10.0, None])
    )
    table = next_measurements.table(comparison, compared["rates"], runs)
    assert next_measurements.decide(table, runs, 17).added == {}
    decision = next_measurements.decide(table, runs, 18)
    assert decision.added == {"turns": {"minutes": 6}} and (decision.minutes, decision.decided) == (18, 1)
    assert next_measurements.decide(table, runs, 30).added == {"turns": {"minutes": 10}}


def test_nothing_open_proposes_nothing():
    runs, _, compared = frames(3, ("cpu", "cuda"))
    table = next_measurements.table(compared["comparison"], compared["rates"], runs)
    assert table.empty and next_measurements.best(table) is None and turn_words.next_lines(table) == []
    assert turn_words.next_lines(None) == []


def test_turns_that_are_open_name_minutes():
    runs, _, compared = frames(1)
    comparison = compared["comparison"].head(1).assign(verdict="undecided", source="turns", decisive_minutes=7.0)
    row = next_measurements.table(comparison, compared["rates"], runs).iloc[0]
    assert row["minutes"] == 7 and pd.isna(row["more_replicates"])


def test_epochs_per_process_follow_costs_and_spreads():
    runs, windows, compared = frames(3)
    table = next_measurements.epochs(compared["rates"], runs, windows)
    assert list(table) == next_measurements.EPOCH_COLUMNS and len(table) == 16
    row = table.iloc[0]
    wanted = (row["start_seconds"] / row["epoch_seconds"]) ** 0.5 * row["epoch_spread"] / row["run_spread"]
    assert row["best_epochs"] == pytest.approx(wanted, abs=1)


def test_only_devices_of_this_machine_are_to_train_more_replicates():
    """The runs of the laptop come from a bundle, which no start here adds to."""
    runs, _, compared = frames(1)
    away = runs["device"] == "laptop"
    table = next_measurements.table(compared["comparison"], compared["rates"], runs.assign(origin="1a2b3c4d"))
    assert len(table) and table["more_replicates"].isna().all() and turn_words.next_lines(table) == []
    both = next_measurements.table(compared["comparison"], compared["rates"], runs)
    imported = runs.assign(origin=away.map({True: "1a2b3c4d", False: "local"}))
    one = next_measurements.table(compared["comparison"], compared["rates"], imported)
    assert one["more_replicates"].notna().sum() <= both["more_replicates"].notna().sum()
    known = one["more_replicates"].notna()
    assert known.any() and (one.loc[known, "more_replicates"] >= both.loc[known, "more_replicates"]).all()
    seconds = pd.to_datetime(runs["finished_at"]) - pd.to_datetime(runs["started_at"])
    assert one.loc[known, "minutes"].max() <= 10 * seconds[~away].max().total_seconds() / 60
    entries = next_measurements.decide(one, imported, 1e6).added["more_replicates"]
    assert len(entries) == known.sum() and all(entry["devices"] == ["cpu"] for entry in entries)


@pytest.mark.parametrize("text", ["abc", "-5", "0", "nan", "inf", "config.yaml"])
def test_a_wrong_number_of_minutes_is_refused_in_a_sentence(text):
    with pytest.raises(UserError, match=f"MINUTES: '{text}' is not a number of minutes above 0"):
        decide.minutes_of(text)
