"""Rates, ratios, verdicts and denominators of whole experiments."""

import math
import random
import re

import pandas as pd
import pytest
import synthetic
from test_report import ASKED, page

import aggregate_runs
import compare_devices
from trainoff.analyze import pairs, parity, reasons, tables
from trainoff.report import figures, palette, rows, verdict_words
from trainoff.report import reasons as sentences

NAMES = ["cpu", "cuda"]
DEVICES = [device for device in synthetic.DEVICES if device["name"] in NAMES]
ALIKE = [device for device in synthetic.DEVICES if device["name"] in ("cpu", "laptop")]


def compared(records, devices=NAMES, standing=None):
    found = [(f"{rank}.json", record) for rank, record in enumerate(records)]
    runs = tables.run_table(sorted(found, key=lambda one: [one[1]["run"][key] for key in tables.records.RUN_KEYS]))
    return compare_devices.compare(runs, tables.window_table(found), devices, standing)


def of(records, device):
    return [record for record in records if record["run"]["device"] == device]


def test_three_replicates_find_a_fast_device_and_no_difference_between_equals():
    found = compared(synthetic.records(DEVICES, replicates=3))["comparison"]
    assert list(found) == compare_devices.COMPARISON_COLUMNS
    assert len(found) == 8
    assert (
        set(found["verdict"]) == {"faster"} and set(found["device"]) == {"cuda"} and set(found["baseline"]) == {"cpu"}
    )
    assert found["ratio"].between(12, 16).all()
    assert (found["ci_low"] < found["ratio"]).all() and (found["ratio"] < found["ci_high"]).all()
    assert found["ratio"].tolist() == pytest.approx(
        (found["images_per_second"] / found["baseline_images_per_second"]).tolist()
    )
    assert set(found["reason"]) == {""}
    # 2 % apart, with 1.5 % noise.
    alike = compared(synthetic.records(ALIKE, replicates=3), ["cpu", "laptop"])["comparison"]
    assert set(alike["verdict"]) <= {"equivalent", "undecided"}


def codes(table):
    """All reasons of a table."""
    return [one for text in table["reason"] for one in reasons.decoded(text)]


@pytest.mark.parametrize("code", reasons.FIELDS)
def test_every_reason_has_a_sentence_of_its_fields(code):
    fields = {
        "counts": {"ok": 1, "crashed": 2},
        "sides": {"cpu": ["1"], "cuda": ["2"]},
        "checks": ["first_losses"],
        "spreads": [0.03, 0.15],
        "readings": [["gpu", "nvml"], ["machine", "wall_meter"]],
        "shape": [32, 10],
        "expected": [32, 9],
        "status": "timed_out",
        "why": [{"code": "unread"}],
        **{name: ["cpu", "cuda"] for name in ("devices", "scopes", "sources")},
    }
    one = reasons.reason(
        code, **{name: fields.get(name, "cpu" if name == "device" else 3) for name in reasons.FIELDS[code]}
    )
    said = sentences.text(f"{one}; {one}", {"cpu": "A CPU; {x}"})
    assert said.count(sentences.sentence(reasons.decoded(one)[0], {"cpu": "A CPU; {x}"})) == 2
    assert "_" not in said.replace("protocol.images_per_epoch", "")
    assert ("A CPU" in said) == bool({"device", "devices", "sides"} & set(reasons.FIELDS[code]))
    about = "A CPU; {x}: " if "device" in reasons.FIELDS[code] else ""
    assert said == "; ".join(2 * [about + sentences.without_device(one, {"cpu": "A CPU; {x}"})])


def test_the_first_device_of_the_experiment_is_the_baseline():
    records = synthetic.records(DEVICES, replicates=3)
    found = compared(records, ["cuda", "cpu"])["comparison"]
    assert set(found["verdict"]) == {"slower"} and set(found["baseline"]) == {"cuda"}
    # A device that only the runs know comes last; one without runs is left out.
    found = compared(records, ["tpu", "cuda"])["comparison"]
    assert set(found["baseline"]) == {"cuda"} and set(found["device"]) == {"cpu"}


def test_each_pair_stands_once():
    found = compared(synthetic.records(synthetic.DEVICES[:4]), [device["name"] for device in synthetic.DEVICES])
    assert len(found["comparison"]) == 8 * 6 and len(found["overall"]) == 6 * 3


def test_one_run_each_says_so():
    found = compared(synthetic.records(DEVICES))
    assert {(one["code"], *one["devices"]) for one in codes(found["comparison"])} == {("one_run", "cuda", "cpu")}
    assert found["rates"]["one_replicate"].all()
    assert {one["code"] for one in codes(found["overall"])} == {"some_single"}


def test_one_device_gives_rates_and_no_verdict():
    found = compared(synthetic.records(DEVICES[:1]))
    assert len(found["rates"]) == 8 and len(found["comparison"]) == 0 and len(found["overall"]) == 0
    assert list(found["comparison"]) == compare_devices.COMPARISON_COLUMNS


def test_failed_cells_are_not_comparable_and_the_rest_is():
    records = synthetic.records(DEVICES, replicates=3, failures={24: "crashed", 25: "crashed", 26: "out_of_memory"})
    found = compared(records)
    failed = found["comparison"][found["comparison"]["verdict"] == "not_comparable"]
    assert len(failed) == 1
    assert codes(failed) == [
        {"code": "no_run_finished", "device": "cuda", "counts": {"crashed": 2, "out_of_memory": 1}}
    ]
    assert failed[["ratio", "ci_low", "p_value", "p_value_adjusted"]].isna().all(axis=None)
    assert failed["baseline_images_per_second"].notna().all()
    overall = found["overall"].set_index("subset").loc["all"]
    assert (overall["configurations_compared"], overall["configurations_total"]) == (7, 8)
    assert (overall["faster"], overall["not_comparable"]) == (7, 1)
    assert reasons.decoded(overall["reason"]) == [{"code": "some_compared", "compared": 7, "total": 8}]
    rest = found["comparison"].query("verdict == 'faster'")["ratio"]
    assert overall["ratio"] == pytest.approx(math.exp(rest.map(math.log).mean()))


def test_a_missing_replicate_is_said():
    for records in (
        synthetic.records(DEVICES, replicates=3, failures={24: "timed_out"}),
        synthetic.records(DEVICES, replicates=3)[1:],
    ):
        found = compared(records)["comparison"]
        short = found[found["reason"] != ""]
        (one,) = codes(short)
        assert (one["code"], one["used"], one["planned"]) == ("fewer_replicates", 2, 3)
        assert short["verdict"].item() == "faster"


def test_status_counts():
    rates = compared(synthetic.records(DEVICES, replicates=3, failures={24: "timed_out"}))["rates"]
    assert list(rates) == compare_devices.RATE_COLUMNS
    assert sorted(rates["status_counts"].unique()) == ["ok: 2, timed_out: 1", "ok: 3"]
    assert set(rates["windows"]) == {6, 9}


def test_a_configuration_that_a_device_never_ran_is_not_comparable():
    records = synthetic.records(DEVICES)
    found = compared(records[:-1])["comparison"]
    assert codes(found).count({"code": "no_run", "device": "cuda"}) == 1


@pytest.mark.parametrize(
    "part, key, value, reason",
    [
        (None, "protocol_version", 2, ("protocol", ["2"])),
        ("provenance", "dataset_sha256", "a" * 64, ("dataset", ["aaaaaaaaaaaa…"])),
        ("provenance", "images_sha256", "b" * 64, ("images", ["bbbbbbbbbbbb…"])),
        ("provenance", "weights", "imagenet", ("weights", ["imagenet"])),
    ],
)
def test_other_work_is_not_compared(part, key, value, reason):
    records = synthetic.records(DEVICES, replicates=2)
    other = of(records, "cuda")[0]
    configuration = {name: value for name, value in other["run"].items() if name not in ("replicate", "seed")}
    for record in records:
        if configuration.items() <= record["run"].items():
            (record[part] if part else record)[key] = value
    found = compared(records)["comparison"]
    assert (found["verdict"] == "not_comparable").sum() == 1
    (one,) = codes(found[found["verdict"] == "not_comparable"])
    assert (one["code"], one["what"], one["sides"]["cuda"]) == ("other_work", *reason)


@pytest.mark.parametrize(
    "factor, value, whole",
    [(1.0, r"2\.\d+×", True), (2.0, r"2\.\d+× / 4\.\d+×", True), (0.2, r"2\.\d+× / 2\.\d+×", False)],
)
def test_no_headline_mixes_all_weights_with_the_last_layer_where_they_disagree(factor, value, whole, tmp_path):
    """factor: how much faster the CPU is at the last layer than synthetic records have it. Both draw and cost alike."""
    names = [*NAMES, "laptop"]
    shown = [device for device in synthetic.DEVICES if device["name"] in names]
    records = synthetic.records(shown, replicates=3)
    for record in of(records, "cpu"):
        for window in record["windows"]:
            window["seconds"] /= 32 * (1 if record["run"]["trainable"] else factor)
    for name in NAMES:
        synthetic.add_energy(records, name, 100, "rapl", "package")
    price = synthetic.ASSUMPTIONS["devices"]["cuda"]
    assumptions = synthetic.ASSUMPTIONS | {"devices": dict.fromkeys(names, price)}
    text, found = page(
        tmp_path, shown, records, drawn=("ratio",), assumptions=assumptions, pair={"compare": NAMES, "baseline": None}
    )
    labels = {device["name"]: device["label"] for device in shown}
    verdicts = pairs.verdicts(found, pairs.Pair("cpu", "cuda"))
    for quantity, claim in {"speed": "is faster", "energy": "needs less energy", "money": "costs less"}.items():
        tile = verdict_words.verdict(verdicts[quantity], labels, "USD", {"cuda": ", for at least 24 h"})
        assert (quantity == "money") == any("images, for at least 24 h" in detail for detail in tile["details"])
        assert re.fullmatch(value, tile["value"]) and tile["value"] in text
        assert tile["claim"] == (f"{labels['cpu']} {claim}" if whole else "It depends on what is trained")
        assert (tile["winner"], tile["settled"]) == (("cpu", True) if whole else (None, False))
        assert ("with the last layer alone" in tile["sentence"]) == (factor != 1)
        assert ("both readings cover the processor package" in tile["sentence"]) == (quantity == "energy")
    assert ("(last layer) as fast as" in text) == (factor == 2)
    matrix = rows.matrix_rows(found["overall"], palette.devices_in(shown, found["rates"]))
    cells = {
        one["device"].name: dict(zip([other["device"].name for other in matrix], one["cells"], strict=True))
        for one in matrix
    }
    assert cells["cpu"]["cuda"]["text"] == verdict_words.verdict(verdicts["speed"], labels, "USD")["value"] or not whole
    assert len(cells["cuda"]["cpu"]["text"].split(" / ")) == (1 if factor == 1 else 2)
    assert (cells["cpu"]["cuda"]["look"], cells["cpu"]["cpu"]["text"]) == ("up2" if whole else "open", "–")


def test_windows_that_do_not_count_give_no_rate():
    records = synthetic.records(DEVICES)
    for window in of(records, "cuda")[0]["windows"]:
        window["warm_up"] = True
    for window in of(records, "cuda")[1]["windows"][1:]:
        window["warm_up"] = True
    of(records, "cuda")[1]["windows"][0]["warm_up"] = False
    found = compared(records)["comparison"]
    assert [one["code"] for one in codes(found.query("verdict == 'not_comparable'"))] == ["no_epoch_counted"]
    assert [one["devices"] for one in codes(found) if one["code"] == "one_epoch"] == [["cuda"]]


def test_subsets_by_what_is_trained():
    overall = compared(synthetic.records(DEVICES, replicates=3))["overall"].set_index("subset")
    assert list(overall.index) == ["all", "trainable=true", "trainable=false"]
    assert overall["configurations_total"].tolist() == [8, 4, 4]


def test_verdicts_are_corrected_for_all_comparisons():
    found = compared(synthetic.records(synthetic.DEVICES[:4], replicates=3), [])["comparison"]
    assert (found["p_value_adjusted"] >= found["p_value"]).all()


def test_the_same_metrics_give_the_same_bytes(tmp_path):
    paths = synthetic.write(tmp_path, synthetic.records(ALIKE, replicates=3, failures={2: "crashed"}))
    files = {}
    for name, order in (("first", paths), ("second", random.Random(2).sample(paths, len(paths)))):
        folder = tmp_path / name
        outputs = [folder / file for file in ("runs.csv", "runs.parquet", "windows.csv", "windows.parquet")]
        aggregate_runs.main(order, *outputs)
        made = {key: (folder / f"{key}.csv", folder / f"{key}.parquet") for key in ("rates", "comparison", "overall")}
        compare_devices.main(outputs[1], outputs[3], ["cpu", "laptop"], made)
        files[name] = [path.read_bytes() for pair in made.values() for path in pair]
        assert list(pd.read_csv(made["comparison"][0])) == compare_devices.COMPARISON_COLUMNS
    assert files["first"] == files["second"]


def test_each_at_its_best_takes_the_fastest_setting_that_trains_the_same():
    grid = synthetic.SMALL_GRID | {"trainable": [True], "precision": ["float32", "mixed_float16"], "xla": [False, True]}
    records = synthetic.records(DEVICES, grid, replicates=3)
    speed = {("mixed_float16", False): 1.5, ("mixed_float16", True): 2}
    for record in records:
        faster = (
            speed.get((record["run"]["precision"], record["run"]["xla"]), 1) if record["run"]["device"] == "cuda" else 1
        )
        for window in record["windows"]:
            window["seconds"] /= faster
    table = pd.DataFrame(
        [
            {"device": device, "reference": "cpu", "model": "mobilenetv2", "precision": precision, "xla": xla}
            | {"check": check, "verdict": "mismatch" if (device, precision, xla) == mismatched else "match"}
            for device in NAMES
            for precision in grid["precision"]
            for xla in grid["xla"]
            for check in ("outputs", "first_losses")
            for mismatched in [("cuda", "mixed_float16", True)]
        ]
    )
    found = compared(records, standing=parity.Standing(table))
    (best,) = found["best"].to_dict("records")
    assert (best["precision"], best["xla"]) == ("mixed_float16", False), "the fastest of all does not match"
    assert best["verdict"] == "faster" and best["ratio"] == pytest.approx(14 * 1.5, rel=0.1)
    # No ratio mixes lanes: the mean of one is not that of the other.
    overall = found["overall"].set_index("subset")
    assert overall.loc["each at its best", "configurations_total"] == 1
    assert overall.loc["all", "configurations_total"] == 4
    assert compared(synthetic.records(DEVICES))["best"].empty
    # Never that a device was not run which was.
    table.loc[table["device"] == "cuda", "verdict"] = "mismatch"
    (best,) = compared(records, standing=parity.Standing(table))["best"].to_dict("records")
    assert [(one["code"], one["device"]) for one in reasons.decoded(best["reason"])] == [("no_match", "cuda")]
    for record in records:
        record["status"] = "crashed" if record["run"]["device"] == "cuda" else "ok"
    (best,) = compared(records)["best"].to_dict("records")
    assert [one["code"] for one in reasons.decoded(best["reason"])] == ["no_run_finished"]


@pytest.mark.parametrize(
    "ranked, baseline",
    [
        (["cuda-torch", "cpu", "cpu-torch"], "cpu-torch"),
        (["cuda-torch", "metal", "mps-torch", "cpu", "cpu-torch"], "metal"),
        (["cuda-torch", "cpu"], "cpu"),
        (["cuda", "cuda-torch", "cuda-jax"], "cuda-torch"),
        (["cpu-jax", "cpu"], "cpu"),
    ],
)
def test_the_first_pair_is_of_two_accelerators_or_of_one_framework_where_there_is_such_a_pair(ranked, baseline):
    kinds = {name: "cpu" if name.startswith("cpu") else "an accelerator" for name in ranked}
    frameworks = {name: name.partition("-")[2] or "tensorflow" for name in ranked}
    assert pairs.chosen(ranked, kinds, frameworks) == pairs.Pair(ranked[0], baseline)
    assert pairs.chosen(ranked, kinds, frameworks, compare=ranked[::-1][:2]) == pairs.Pair(*ranked[::-1][:2])


def test_the_page_and_its_figures_begin_with_the_same_pair(tmp_path):
    devices = [
        {"name": "cpu", "label": "CPU", "backend": "tensorflow", "accelerator": "cpu"},
        {"name": "laptop", "label": "PyTorch (CPU)", "backend": "torch", "accelerator": "cpu"},
        {"name": "cuda", "label": "PyTorch (NVIDIA GPU)", "backend": "torch", "accelerator": "cuda"},
    ]
    made = synthetic.records(devices, synthetic.SMALL_GRID)
    for record in made:
        record["device"]["backend"] = next(one["backend"] for one in devices if one["name"] == record["run"]["device"])
    text, frames = page(tmp_path, devices, made)
    assert re.search(r'<h2 id="answer-heading">(.*?)</h2>', text)[1] == "PyTorch (NVIDIA GPU) or PyTorch (CPU)?"
    shown = palette.devices_in(devices, frames["runs"])
    assert figures.asked(shown, frames["rates"], ASKED)[0] == pairs.Pair("cuda", "laptop")
