"""Does a device train the same: comparisons of known truth, a real probe, and the flag on its way to the page."""

import json
import math

import numpy as np
import pandas as pd
import project
import pytest
import synthetic
from pages import page

import check_parity as script
from trainoff.analyze import parity
from trainoff.errors import UserError
from trainoff.experiment import plan
from trainoff.report.reasons import without_device

GENERATOR = np.random.default_rng(1)
LAYERS = [GENERATOR.normal(0, 1 / 6, (40, 40)) for _ in range(12)]
IMAGES = GENERATOR.normal(0, 1, (32, 40))
INPUTS = {"dataset_sha256": "a", "images_sha256": "b", "weights_sha256": "c"}
CATALOG = {"cpu": {"label": "CPU", "backend": "tensorflow", "accelerator": "cpu", "env": "x", **plan.DEVICE_DEFAULTS}}


def network(activation, kind="float64"):
    """Logits of a small network computed with numbers of that kind."""
    values = IMAGES.astype(kind)
    for layer in LAYERS:
        values = activation(values @ layer.astype(kind))
    return (values @ LAYERS[0].astype(kind))[:, :10].astype("float64")


def relu(values):
    return np.maximum(values, 0)


def probe(device="cpu", precision="float32", accelerator="cpu", **changes):
    return {
        "run": {"device": device, "model": "mobilenetv2", "precision": precision, "xla": False},
        "status": "ok",
        "failure": None,
        "logits": network(relu).tolist(),
        "losses": [3.2, 2.2, 1.4, 0.9, 0.6],
        "device": {"accelerator": accelerator},
        "inputs": INPUTS,
    } | changes


def outputs(logits, **changes):
    return parity.compare_outputs(probe("cuda", logits=np.asarray(logits).tolist(), **changes), probe())


def test_rounding_is_the_same():
    finding = outputs(network(relu, "float32"))
    assert finding.verdict == "match"
    assert 0 < finding.measured < 1e-4


def test_a_wrong_activation_is_a_mismatch():
    finding = outputs(network(lambda values: np.where(values > 0, values, 0.1 * values)))
    assert finding.verdict == "mismatch"
    assert finding.measured > 0.5


@pytest.mark.parametrize("precision, accelerator", [("float32", "cpu"), ("float32", "cuda"), ("mixed_float16", "cuda")])
def test_one_wrong_logit_is_a_mismatch(precision, accelerator):
    logits = network(relu)
    logits[17, 3] += 1.01 * outputs(logits, precision=precision, accelerator=accelerator).tolerance * logits.std()
    assert outputs(logits, precision=precision, accelerator=accelerator).verdict == "mismatch"


def test_what_is_no_number_is_a_mismatch():
    logits = probe()["logits"]
    logits[0][0] = None
    finding = outputs(logits)
    assert finding.verdict == "mismatch" and math.isinf(finding.measured)
    assert sentence(finding) == "1 of 320 values are not finite"
    finding = parity.compare_losses(probe("cuda", losses=[3.2, 2.2, None, None, None]), probe())
    assert finding.verdict == "mismatch" and "3 of 5" in sentence(finding)


def sentence(finding):
    return without_device(finding.reason)


def test_other_shapes_depart():
    finding = outputs(network(relu)[:, :9])
    assert finding.verdict == "mismatch" and sentence(finding) == "values of shape 32 × 9, the reference has 32 × 10"


@pytest.mark.parametrize(
    "losses, verdict",
    [
        ([3.2, 2.201, 1.401, 0.901, 0.601], "match"),
        ([3.2, 3.2, 3.2, 3.2, 3.2], "mismatch"),  # no update
        ([3.2, 2.8, 2.4, 2.1, 1.8], "mismatch"),  # a quarter of the gradient
    ],
)
def test_first_losses(losses, verdict):
    assert parity.compare_losses(probe("cuda", losses=losses), probe()).verdict == verdict


@pytest.mark.parametrize(
    "own, reference, words",
    [
        (probe("cuda"), None, "was not probed"),
        (
            probe("cuda", status="crashed", logits=None, failure={"message": "SIGSEGV"}),
            probe(),
            "device failed (crashed): SIGSEGV",
        ),
        (
            probe("cuda"),
            probe(status="timed_out", logits=None, failure={"message": "late"}),
            "reference failed (timed out)",
        ),
        (probe("cuda", inputs={**INPUTS, "weights_sha256": "d"}), probe(), "other images or weights"),
        (probe("cuda", logits=None), probe(), "it holds no values"),
        (probe("cuda"), probe(logits=[[None] * 10] * 32), "reference itself"),
    ],
)
def test_what_cannot_be_compared_is_inconclusive(own, reference, words):
    finding = parity.compare_outputs(own, reference)
    assert finding.verdict == "inconclusive"
    assert words in sentence(finding)


CELL = ("mobilenetv2",)


def accuracies(*values):
    return {CELL: np.asarray(values)}


@pytest.mark.parametrize(
    "device, reference, verdict, words",
    [
        ([0.9, 0.91], [0.9, 0.91, 0.9], "inconclusive", "needs 3 replicates"),
        ([0.900, 0.902, 0.901], [0.901, 0.899, 0.902], "match", ""),
        ([0.9, 0.9, 0.9], [0.9, 0.9, 0.9], "match", ""),
        ([0.80, 0.81, 0.79], [0.90, 0.91, 0.90], "mismatch", "-10.3 ± "),
        ([0.7, 0.9, 0.8], [0.75, 0.85, 0.9], "inconclusive", "more replicates"),
    ],
)
def test_final_accuracy(device, reference, verdict, words):
    finding = parity.compare_accuracies(accuracies(*device), accuracies(*reference))
    assert finding.verdict == verdict
    assert words in sentence(finding) and bool(words) == bool(finding.reason)


def test_a_fault_on_one_configuration_is_not_averaged_away():
    good = {(number,): np.asarray([0.9, 0.901, 0.899]) for number in range(8)}
    finding = parity.compare_accuracies({**good, (5,): np.asarray([0.85, 0.851, 0.85])}, good)
    assert finding.verdict == "mismatch" and "one of 8" in sentence(finding)


def test_equal_devices_are_seldom_said_to_depart():
    """At the level stated, over experiments of equal devices whose replicates scatter by three points."""
    generator = np.random.default_rng(0)

    def side():
        return {(number,): 0.8 + generator.normal(0, 0.03, 3) for number in range(8)}

    alarms = sum(parity.compare_accuracies(side(), side()).verdict == "mismatch" for _ in range(400))
    assert alarms <= 0.05 * 400


def test_the_reference_is_the_cpu_on_tensorflow():
    cpu = {"name": "cpu", **CATALOG["cpu"]}
    gpu = {**cpu, "name": "cuda", "accelerator": "cuda"}
    again = {**cpu, "name": "cpu-again"}
    grid = {"model": ["mobilenetv2"], "precision": ["mixed_float16"], "xla": [False], "img_dim": [128, 96]}
    config = {"grid": grid, "seed": 7, "training": {}}

    def probed(devices):
        reference = plan.reference(devices, CATALOG)
        probes = plan.probes(config, devices, reference)
        return reference["name"], [(each["device"]["name"], each["precision"]) for each in probes]

    assert probed([cpu]) == ("cpu", [])
    assert probed([gpu]) == ("cpu", [("cuda", "mixed_float16"), ("cpu", "float32")])
    assert probed([again, cpu])[0] == "cpu-again"
    assert probed([{**gpu, "name": "cpu"}])[0] == "reference-cpu"
    assert probed([gpu, cpu])[1] == [("cuda", "mixed_float16"), ("cpu", "mixed_float16"), ("cpu", "float32")]


def test_a_file_that_is_no_probe_gives_a_sentence(tmp_path):
    (tmp_path / "probe.json").write_text('{"status": "ok"}')
    with pytest.raises(UserError, match="not a probe's record"):
        parity.read(tmp_path / "probe.json")


TWO = project.TINY | {
    "devices": [
        "cpu",
        {
            "name": "cpu-again",
            "label": "CPU again",
            "backend": "tensorflow",
            "accelerator": "cpu",
            "env": "tensorflow-cpu",
        },
    ],
    "grid": {"batch_size": [16], "img_dim": [32], "trainable": [False]},
}
DEVICES = [{"name": "cpu", "label": "CPU"}, {"name": "cpu-again", "label": "CPU again"}]


@pytest.fixture(scope="module")
def probes(tmp_path_factory):
    """Paths of two real probes of one CPU under two names."""
    folder = project.make(tmp_path_factory.mktemp("probes") / "trainoff", TWO)
    planned = project.planned(folder)
    assert (planned["probe_device"], planned["check_parity"], planned["train"]) == (2, 1, 2)
    done = project.snakemake(folder, "--until", "probe_device")
    assert done.returncode == 0, done.stdout
    names = [device["name"] for device in DEVICES]
    return [
        folder / f"results/parity/{name}/model~mobilenetv2/precision~float32/xla~false/probe.json" for name in names
    ]


def follow(folder, probes):
    """Takes probes and made-up runs down the road to the page; returns (parity table, comparison, page)."""
    csv, parquet = folder / "tables/parity.csv", folder / "tables/parity.parquet"

    def judge(runs):
        script.main(probes, runs, "cpu", csv, parquet)
        return parquet

    records = synthetic.records(DEVICES, synthetic.SMALL_GRID, replicates=3)
    tables = synthetic.results(folder, DEVICES, records, parity=judge)
    page(folder, DEVICES, records, tables=tables, drawn=("learning",))
    text = (folder / "report.html").read_text().replace("\xa0", " ")
    return pd.read_csv(csv), pd.read_csv(folder / "tables/comparison.csv"), text


def test_one_cpu_under_two_names_is_the_same(probes, tmp_path):
    first, again = map(parity.read, probes)
    assert first["status"] == again["status"] == "ok"
    assert first["losses"][-1] < first["losses"][0] / 2, "the batch was not learnt, so its loss shows nothing"
    table, comparison, text = follow(tmp_path, probes)
    checks = table.set_index("check")
    assert list(checks["verdict"][["outputs", "first_losses"]]) == ["match", "match"]
    assert set(table["device"]) == {"cpu-again"} and set(table["reference"]) == {"cpu"}
    assert set(comparison["parity"]) == {"match"}
    assert "Does every device train the same?" in text
    assert "does not train the same" not in text


@pytest.mark.parametrize("what", ["logits", "losses"])
def test_a_device_that_computes_something_else_carries_the_flag_everywhere(probes, tmp_path, what):
    record = json.loads(probes[1].read_text())
    record[what][-1] = [value + 3 for value in record[what][-1]] if what == "logits" else record[what][0]
    tampered = tmp_path / "probe.json"
    tampered.write_text(json.dumps(record))
    table, comparison, text = follow(tmp_path, [probes[0], tampered])
    assert "mismatch" in set(table["verdict"])
    assert table.set_index("check")["reason"]["final_accuracy"] == '{"code": "computes_otherwise"}'
    assert "not compared: the device computes something else" in text
    assert set(comparison["parity"]) == {"mismatch"}
    assert comparison["reason"].str.contains('"code": "mismatch", "device": "cpu-again"').all()
    assert comparison["verdict"].isin(["faster", "slower", "equivalent", "undecided"]).all(), "the speed was dropped"
    before = text.split("<h3>Caveats</h3>")[1].split("</section>")[0]
    assert "CPU again does not train the same as the reference" in before
    assert "CPU again: does not train the same" in text and "mismatch" in text
    title = text.split('id="figure-learning"')[1].split("</figure>")[0]
    assert "on CPU again" not in title
