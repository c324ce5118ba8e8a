"""What the page advises is computed from what was measured and set already, and what it says of noise is what was tested."""

import math

import pandas as pd
import pytest
import synthetic

from trainoff import records, windows
from trainoff.analyze import parity, reasons, tables
from trainoff.analyze.pairs import Pair, Verdict
from trainoff.report import caveats, cures, estimates, findings, palette, training, verdict_words, words

PAIR = Pair("cuda", "cpu")


def frames(replicates=1, devices=synthetic.DEVICES[:2], **more):
    records = synthetic.records(devices, synthetic.SMALL_GRID, replicates=replicates, **more)
    files = [(f"{rank}.json", record) for rank, record in enumerate(records)]
    return tables.run_table(files), tables.window_table(files)


@pytest.mark.parametrize(("replicates", "advised"), [(1, 3), (3, 5), (10, 12)])
def test_more_replicates_are_more_than_the_experiment_has(replicates, advised):
    runs, _ = frames(replicates, failures={0: "crashed"})
    assert f"`replicates: {advised}`" in cures.replicates(runs)
    (step,) = (step for step in estimates.next_steps(runs, {}) if "replicates" in step["text"])
    assert f"with {advised} replicates" in step["text"] and f"replicates={advised}" in step["command"]


def test_results_that_were_given_more_replicates_set_no_number_for_the_others():
    runs, _ = frames(3)
    few = runs[(runs["device"] == "cuda") | (runs["replicate"] == 1)]
    assert "`replicates: 3`" in cures.replicates(few)


@pytest.mark.parametrize(("epochs", "advised"), [(4, 8), (10, 20)])
def test_unstable_runs_are_to_train_twice_the_epochs(epochs, advised):
    runs, _ = frames(epochs=epochs)
    assert cures.epochs(runs.assign(unstable=False), {}) == ""
    runs["unstable"] = [True, *[None] * (len(runs) - 1)]
    assert cures.epochs(runs, {}) == f"Set `protocol.epochs: {advised}`."
    assert cures.epochs(runs, {"protocol": {"measure_minutes": 10}}) == "Set `protocol.measure_minutes: 20`."


def test_nothing_is_advised_that_is_set_already():
    settings = {"protocol": {"wait_for_quiet_minutes": 30}, "training": {"on_divergence": {"attempts": 2}}}
    assert "wait_for_quiet_minutes" in cures.quiet({}) and "wait_for_quiet_minutes" not in cures.quiet(settings)
    assert "on_divergence" in cures.divergence({}) and "on_divergence" not in cures.divergence(settings)


@pytest.mark.parametrize("from_turns", [0, 2])
def test_what_decides_a_speed_measured_in_turns_is_more_turns(from_turns):
    runs, _ = frames(3)
    row = {"device": "cuda", "baseline": "cpu", "subset": "all", "from_turns": from_turns}
    found = cures.of_open_verdicts(runs, pd.DataFrame([row]), PAIR)
    assert found["speed"] == (cures.TURNS if from_turns else found["energy"])
    assert "`replicates: 5`" in found["energy"] and found["money"] == found["energy"]
    imported = cures.of_open_verdicts(runs.assign(origin="1a2b3c4d"), pd.DataFrame([row]), PAIR)
    assert imported["energy"] == cures.ELSEWHERE, "no start here adds to runs of bundles"


@pytest.mark.parametrize(
    ("imported", "cure"),
    [(0, "`make retry` trains them again."), (1, "`make retry` trains those of this machine again."), (2, "")],
)
def test_only_failed_runs_of_this_machine_can_be_retried(imported, cure):
    runs, _ = frames(failures={1: "crashed", 3: "crashed"})
    runs.loc[runs.index[runs["status"] == "crashed"][:imported], "origin"] = "1a2b3c4d"
    rates = pd.DataFrame({"images_per_second": [], "one_replicate": [], "unstable": []})
    overall = pd.DataFrame({"subset": [], "configurations_compared": [], "from_turns": []})
    (failures, *_) = caveats.warnings(runs, rates, overall, [], parity.Standing())
    assert failures["text"].startswith("2 of 4 runs failed") and failures["cure"] == cure


def test_failed_turns_are_named_with_the_device_the_reason_and_what_to_do():
    runs, _ = frames()
    rates = pd.DataFrame({"images_per_second": [], "one_replicate": [], "unstable": []})
    overall = pd.DataFrame({"subset": [], "configurations_compared": [], "from_turns": []})
    failed = reasons.reason("turns_failed", device="cuda", status="crashed", message="It fell over.")
    comparison = pd.DataFrame({"reason": [None, f"{reasons.reason('other_code')}; {failed}", failed]})
    devices = [palette.Device("cuda", "GPU", "tensorflow", "cuda")]
    (warning,) = caveats.warnings(runs, rates, overall, devices, parity.Standing(), comparison=comparison)
    assert warning == {
        "text": "Turns failed for 2 speed ratios. If the runs ended well, they are compared instead. The first reason: GPU: "
        "failed while the devices took turns (crashed): It fell over.",
        "cure": "`make retry` takes them again.",
    }


def test_only_an_undecided_tile_has_a_cure():
    known = {"winner": "cuda", "loser": "cpu", "ratio": 1.02, "low": 0.9, "high": 1.1, "compared": 2, "total": 2}
    labels = {"cpu": "CPU", "cuda": "GPU"}
    for outcome, equivalent, cure in (("undecided", 0, "Do it."), ("undecided", 1, "Do it."), ("equivalent", 2, "")):
        verdict = Verdict("speed", outcome, kind="measured", margin=0.05, equivalent=equivalent, **known)
        assert verdict_words.verdict(verdict, labels, "USD", cures={"speed": "Do it."})["cure"] == cure


def test_unstable_is_said_with_the_limits_that_are_tested():
    for rates in ([100.0, 100 * (1 + 2.2 * windows.SCATTER_LIMIT), 100.0], [100 + step for step in range(8)]):
        assert windows.is_unstable(rates), "scatters, drifts"
    assert f"{windows.SCATTER_LIMIT:.0%}" in words.UNSTABLE and f"{windows.DRIFT_LIMIT:.0%}" in words.UNSTABLE
    rates = pd.DataFrame({"images_per_second": [80.0, 90.0], "unstable": [True, None]})
    assert words.UNSTABLE in findings.unstable_note(rates) and words.UNSTABLE in caveats._unstable(rates, "")["text"]


def test_a_probe_that_failed_says_why_and_asks_for_no_replicates():
    failed = reasons.reason("probe_failed", side="device", status="crashed", message="SIGSEGV.")
    setting = {"device": "cuda", "reference": "cpu", "model": "mobilenetv2", "precision": "float32", "xla": False}
    rows = [setting | {"check": check, "reason": failed} for check in ("outputs", "first_losses")]
    rows.append(setting | {"check": "final_accuracy", "reason": reasons.reason("too_few_replicates", needed=3)})
    table = pd.DataFrame(rows).assign(measured=math.nan, tolerance=0.02, verdict="inconclusive")
    (caveat,) = caveats._parity(parity.Standing(table), {"cuda": "NVIDIA GPU"})
    assert caveat["text"] == (
        "Whether NVIDIA GPU trains the same as the reference is inconclusive: the probe of the device failed (crashed): SIGSEGV."
    )
    assert caveat["cure"] == ""


def test_nobody_is_advised_to_declare_watts_that_are_declared():
    facts = {name: {"joules_per_image": 0.5, "scope": "gpu", "source": "declared"} for name in ("cuda", "cpu")}
    labels = {"cpu": "CPU", "cuda": "NVIDIA GPU"}
    for code, cure in (("declared", verdict_words.WALL_METER_CURE), ("unread", verdict_words.METER_CURE)):
        verdict = Verdict("energy", "unknown", facts=facts, reasons={"cpu": code})
        assert verdict_words.verdict(verdict, labels, "USD")["cure"] == cure


def test_ratios_of_turns_rest_on_no_single_run():
    comparison = pd.DataFrame(
        {
            "ratio": [1.1, 1.2, math.nan],
            "source": ["turns", "runs", None],
            "replicates": 1,
            "baseline_replicates": 1,
            "images_per_second": 80.0,
            "parity": "match",
        }
    )
    overall = pd.DataFrame({"ratio": [1.1], "configurations_compared": [2], "configurations_total": [3]})
    assert "1 of 2 ratios rest on a single run" in " ".join(findings.ratio_notes(comparison, overall))
    assert "single run" not in " ".join(findings.ratio_notes(comparison.head(1), overall))


def test_a_sweep_with_an_unknown_part_took_at_least_what_is_known():
    runs, epochs = frames()
    energy = pd.DataFrame({"device": ["cpu"], "energy_joules": [math.nan]})
    labels = {"cpu": "CPU", "cuda": "NVIDIA GPU"}
    (line,) = words.sweep_lines(runs, epochs, energy, PAIR, labels, training.sweep)
    assert training.sweep(runs, epochs, energy, "cpu")["whole"] and "at least" not in line
    # Trainings in users' own scripts have no cold start.
    unknown = runs.assign(import_seconds=runs["import_seconds"].where(runs["device"] != "cpu"))
    crashed = runs.assign(status=runs["status"].where(runs["device"] != "cpu", "crashed"))
    for changed in (unknown, crashed):
        assert not training.sweep(changed, epochs, energy, "cpu")["whole"]
        (line,) = words.sweep_lines(changed, epochs, energy, PAIR, labels, training.sweep)
        assert line.count("at least") == 1 and line.index("at least") > line.index("NVIDIA GPU")
    # A device that was not found takes no time.
    none = runs.assign(**dict.fromkeys(records.COLD_START, math.nan))
    (line,) = words.sweep_lines(none, epochs[epochs["device"] == "cpu"], energy, PAIR, labels, training.sweep)
    assert "on CPU" in line and "NVIDIA GPU" not in line
    assert words.sweep_lines(none, epochs.iloc[:0], energy, PAIR, labels, training.sweep) == []


@pytest.mark.parametrize(
    ("epochs", "said"), [(0, "Every epoch counts."), (2, "The first 2 epochs warm up and are not counted.")]
)
def test_the_page_says_how_many_epochs_warm_up(epochs, said):
    assert words.warm_up({"protocol": {"warm_up_epochs": epochs}}) == said


def test_one_epoch_is_one_epoch():
    runs, _ = frames(epochs=1)
    devices = palette.devices_in(synthetic.DEVICES[:2], runs)
    assert findings.learning_title(runs, devices).startswith("Validation accuracy after 1 epoch: ")


@pytest.mark.parametrize(
    ("outcome", "changed", "said"),
    [
        ("wins", {"won": 6, "lost": 1}, "over all 8 configurations: faster in 6, slower in 1 and undecided in 1."),
        ("wins", {"won": 8}, ", in all 8 configurations."),
        ("undecided", {"low": 0.9}, "which may be chance."),
        ("undecided", {}, "but no single configuration is decided."),
    ],
)
def test_the_sentence_on_speed_says_in_how_many_configurations(outcome, changed, said):
    known = {"ratio": 1.2, "low": 1.1, "high": 1.3, "compared": 8, "total": 8, "kind": "measured"} | changed
    verdict = Verdict("speed", outcome, "cuda", "cpu", **known)
    assert verdict_words.verdict(verdict, {"cpu": "CPU", "cuda": "GPU"}, "USD")["sentence"].endswith(said)
