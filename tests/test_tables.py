"""Records become tables: whole, in order, with the unknown left empty."""

import csv
import json
import random

import pandas as pd
import pytest
import synthetic

import aggregate_runs
from trainoff.analyze import tables
from trainoff.errors import UserError

DEVICES = synthetic.DEVICES[:2]


def outputs(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return [folder / name for name in ("runs.csv", "runs.parquet", "windows.csv", "windows.parquet")]


def change(path, **parts):
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | parts))


def test_one_row_per_run_and_per_window(tmp_path):
    paths = synthetic.write(tmp_path, synthetic.records(DEVICES, failures={1: "crashed", 2: "diverged"}))
    files = outputs(tmp_path / "tables")
    aggregate_runs.main(paths, *files)
    runs, windows = pd.read_parquet(files[1]), pd.read_parquet(files[3])
    assert list(runs) == list(tables.RUN_COLUMNS) == list(pd.read_csv(files[0]))
    assert list(windows) == list(tables.WINDOW_COLUMNS) == list(pd.read_csv(files[2]))
    assert len(runs) == 16 and len(windows) == 14 * 4 + 1
    assert (windows["images_per_second"] == windows["images"] / windows["seconds"]).all()
    crashed = runs[runs["status"] == "crashed"].iloc[0]
    assert crashed["signal"] == "SIGSEGV" and "SIGSEGV" in crashed["reason"] and crashed["counted_windows"] == 0
    unknown = [
        "images_per_second",
        "ci_low",
        "unstable",
        "converged",
        "final_loss",
        "joules_per_image",
        "weights_sha256",
    ]
    assert crashed[unknown].isna().all()
    # Whole numbers stay whole where some are unknown.
    assert set(pd.read_csv(files[0], dtype=str)["device_cores"].dropna()) == {"2"}


def test_rates_are_computed_from_the_windows(tmp_path):
    paths = synthetic.write(tmp_path, synthetic.records(DEVICES[:1]))
    invented = {"images_per_second": 1e6, "ci_low": 1e6, "ci_high": 1e6, "unstable": True}
    change(paths[0], throughput=invented)
    runs = tables.run_table(tables.read_all(paths))
    assert runs["images_per_second"].max() < 1e4 and not runs["unstable"].any()


def test_tables_do_not_depend_on_the_order_of_the_files(tmp_path):
    paths = synthetic.write(tmp_path, synthetic.records(DEVICES, replicates=2, failures={3: "timed_out"}))
    shuffled = random.Random(1).sample(paths, len(paths))
    first, second = outputs(tmp_path / "first"), outputs(tmp_path / "second")
    aggregate_runs.main(paths, *first)
    aggregate_runs.main(shuffled, *second)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_no_runs_give_empty_tables(tmp_path):
    files = outputs(tmp_path)
    aggregate_runs.main([], *files)
    assert len(pd.read_parquet(files[1])) == 0 and list(pd.read_csv(files[2])) == list(tables.WINDOW_COLUMNS)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b"null", b'{"windows": 3}'])
def test_a_corrupted_file_is_named_with_the_remedy(tmp_path, content):
    paths = synthetic.write(tmp_path, synthetic.records(DEVICES[:1]))
    paths[3].write_bytes(content)
    with pytest.raises(UserError, match="delete the file") as caught:
        tables.read_all(paths)
    assert str(paths[3]) in str(caught.value)


@pytest.mark.parametrize("seconds", ["0", "-2.5", "NaN", "1e999", "Infinity"])
def test_an_impossible_time_costs_that_run_only(tmp_path, seconds):
    paths = synthetic.write(tmp_path, synthetic.records(DEVICES[:1]))
    record = json.loads(paths[3].read_text())
    record["windows"][2]["seconds"] = "HERE"
    paths[3].write_text(json.dumps(record).replace('"HERE"', seconds))
    found = tables.read_all(paths)
    runs = tables.run_table(found).set_index("metrics")
    bad = runs.loc[str(paths[3])]
    assert bad["status"] == "error" and "Epoch 3" in bad["reason"] and pd.isna(bad["images_per_second"])
    assert (runs["status"] == "ok").sum() == 7
    assert len(tables.window_table(found)) == 7 * 4


def test_two_files_of_one_run_are_refused(tmp_path):
    records = synthetic.records(DEVICES[:1])
    paths = synthetic.write(tmp_path / "here", records) + synthetic.write(tmp_path / "there", records[:1])
    with pytest.raises(UserError, match="same run"):
        tables.read_all(paths)


MARKS = ["\x1b[2J", "\u202eabc", "a\u200bb", "\ud800", "a\rb", "a\nb,c"]
HOSTILE = [*MARKS, '=HYPERLINK("x")', "\t=1", "+1", "-1", "@x", "\uff1d1", "=" * 9000]


def test_foreign_text_stays_text_in_every_table(tmp_path):
    others = len(HOSTILE) * [None]
    frame = pd.DataFrame({"text": [*HOSTILE, None], "number": -1.5, "whole": [-3, *others]}, dtype="object")
    frame["number"] = frame["number"].astype("float64")
    tables.write(frame, tmp_path / "a.csv", tmp_path / "a.parquet")
    content = (tmp_path / "a.csv").read_bytes().decode()
    assert content == tables.as_csv(frame)
    assert content.count("\n") == len(HOSTILE) + 2 and content.replace("\n", "").isprintable()
    rows = list(csv.reader(content.splitlines()))[1:]
    assert all(row[1] == "-1.5" for row in rows) and rows[0][2] in ("-3", "-3.0")
    assert not any(row[0].startswith(tuple("=+-@\t\r\uff1d")) for row in rows)
    assert max(len(row[0]) for row in rows) <= tables.LONGEST_CELL + 1
    kept = pd.read_parquet(tmp_path / "a.parquet")["text"]
    assert kept[6] == HOSTILE[6] and all(text is None or text != text or text.isprintable() for text in kept)
