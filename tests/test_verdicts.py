"""What the page says of verdicts: who wins, by how much and in how many configurations; nothing else."""

import math

import pandas as pd
import pytest
import synthetic
from test_compare import compared

import plot_ratio
from trainoff.analyze import pairs, parity
from trainoff.configurations import AXES
from trainoff.report import findings, palette, rows, verdict_words, words

LABELS = {"cpu": "CPU", "cuda": "GPU"}
PAIR = pairs.Pair("cuda", "cpu")
DEVICES = synthetic.DEVICES[:2]


def overall(ratio, low, high, subset="all", **counts):
    """A row of the table `overall`, seen from cuda; counts: configurations by verdict."""
    number = sum(counts.values())
    sizes = {"configurations_compared": number, "configurations_total": number, "from_turns": 0, "equivalence": 0.05}
    verdicts = dict.fromkeys(("faster", "slower", "equivalent", "undecided"), 0) | counts
    ends = {"ratio": ratio, "ci_low": low, "ci_high": high}
    return {"device": "cuda", "baseline": "cpu", "subset": subset} | ends | sizes | verdicts


def speed(*table):
    """(Verdict, its tile) of rows of the table `overall`."""
    verdict = pairs.speed_of(pd.DataFrame(table), PAIR)
    return verdict, verdict_words.verdict(verdict, LABELS, "USD", cures={"speed": "Measure more."})


@pytest.mark.parametrize(
    ("row", "claim", "ending"),
    [
        (overall(1.2, 1.1, 1.3, faster=8), "GPU is faster", ", in all 8 configurations."),
        (
            overall(1.2, 1.1, 1.3, faster=4, slower=1, equivalent=2, undecided=1),
            "GPU is faster",
            " over all 8 configurations: faster in 4, slower in 1, equally fast in 2 and undecided in 1.",
        ),
        (
            overall(1.03, 1.02, 1.04, faster=2, equivalent=6),
            "Equally fast",
            "within 5%, over all 8 configurations (95% interval 1.02–1.04): GPU is faster in 2 and equally fast in 6.",
        ),
        (overall(1.01, 0.99, 1.02, equivalent=8), "Equally fast", "within 5%, in all 8 configurations."),
        (overall(1.01, 0.99, 1.02, undecided=8), "No winner yet", ", which may be chance."),
        (overall(1.09, 1.04, 1.14, undecided=8), "No winner yet", ", but no single configuration is decided."),
        (overall(1.03, 0.97, 1.10, equivalent=2, undecided=6), "No winner yet", ": equally fast in 2 and undecided in 6."),
        (overall(1.02, 0.97, 1.07, slower=1, equivalent=7), "No overall winner", ": slower in 1 and equally fast in 7."),
    ],
)  # fmt: skip
def test_the_sentence_counts_every_verdict(row, claim, ending):
    _, tile = speed(row)
    assert tile["claim"] == claim and tile["sentence"].endswith(ending)
    assert bool(tile["cure"]) == (claim == "No winner yet"), "more measuring decides only what is undecided"
    assert tile["winner"] == ("cuda" if claim == "GPU is faster" else None)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "won", "lost"),
    [(1.0, 0.99, 1.01, 4, 4), (1.6, 1.5, 1.7, 4, 4), (1.02, 0.9, 1.1, 6, 2), (1.1, 1.05, 1.2, 1, 7)],
)
def test_devices_that_both_win_depend_on_the_configuration(ratio, low, high, won, lost):
    row = overall(ratio, low, high, faster=won, slower=lost)
    _, tile = speed(row)
    assert tile["claim"] == "It depends on the configuration" and tile["cure"] == "" and tile["winner"] is None
    assert tile["sentence"].endswith(f"GPU is faster in {won} and CPU is faster in {lost}.")
    (cpu, cuda) = palette.devices_in(DEVICES, pd.DataFrame({"device": ["cpu", "cuda"]}))
    assert "it depends on the configuration" in findings.ratio_title(pd.DataFrame([row]), cpu, [cuda])
    assert rows._matrix_cell(pd.DataFrame([row]), cuda, cpu)["look"] == "open"


@pytest.mark.parametrize(
    ("row", "look"),
    [
        (overall(1.2, 1.1, 1.3, faster=8), "up1"),
        (overall(1.09, 1.04, 1.14, undecided=8), "open"),
        (overall(1.02, 0.97, 1.07, slower=1, undecided=7), "open"),
        (overall(1.01, 0.99, 1.02, equivalent=8), "even"),
    ],
)
def test_the_matrix_colors_what_the_tile_calls_a_win(row, look):
    (cpu, cuda) = palette.devices_in(DEVICES, pd.DataFrame({"device": ["cpu", "cuda"]}))
    assert rows._matrix_cell(pd.DataFrame([row]), cuda, cpu)["look"] == look


@pytest.mark.parametrize("margin", [0.02, 0.2])
def test_equally_fast_is_said_with_the_margin_of_the_test(margin):
    _, tile = speed(overall(1.01, 1.005, 1.015, equivalent=8) | {"equivalence": margin})
    assert f"within {100 * margin:g}%" in tile["sentence"]
    _, tile = speed(overall(1.1, 1.05, 1.15, faster=2, equivalent=6) | {"equivalence": margin})
    assert tile["claim"] == ("Equally fast" if margin == 0.2 else "GPU is faster")


def test_parts_without_a_winner_are_no_winners():
    """The parts are those with all weights and with the last layer alone."""
    alike = overall(1.015, 1.01, 1.02, "trainable=true", equivalent=4)
    other_way = overall(0.985, 0.98, 0.99, "trainable=false", equivalent=4)
    verdict, tile = speed(overall(1.0, 0.998, 1.002, equivalent=8), alike, other_way)
    assert not verdict.parts and tile["claim"] == "Equally fast"
    faster, whole = overall(1.5, 1.4, 1.6, "trainable=true", faster=4), overall(1.22, 1.2, 1.24, faster=4, equivalent=4)
    _, tile = speed(whole, faster, other_way)
    assert tile["sentence"] == (
        "It depends: with all weights GPU is 1.50× as fast as CPU (95% interval 1.40–1.60) and with the last layer alone both "
        "are equally fast, within 5% (95% interval 1.01–1.02)."
    )
    assert tile["details"][:2] == [
        "GPU 1.50× with all weights (95% interval 1.40–1.60)",
        "equally fast with the last layer alone (95% interval 1.01–1.02)",
    ]
    undecided = overall(1.02, 0.97, 1.07, "trainable=false", undecided=4)
    _, tile = speed(whole, faster, undecided)
    assert tile["sentence"].endswith("GPU is 1.02× as fast as CPU (95% interval 0.97–1.07), which is undecided.")
    mixed = overall(1.02, 0.97, 1.07, "trainable=false", faster=2, slower=2)
    _, tile = speed(whole, faster, mixed)
    assert tile["sentence"].endswith(
        "with the last layer alone it depends on the configuration (95% interval 0.97–1.07)."
    )


def test_nothing_comparable_is_not_nothing_measured():
    _, tile = speed(overall(math.nan, math.nan, math.nan))
    assert tile["sentence"] == "No configuration can be compared; the table of ratios says why."
    money = pairs.Verdict("money", "unknown", reasons={"cpu": "not_comparable"})
    assert verdict_words.verdict(money, {}, "USD")["claim"] == "No configuration can be compared"


@pytest.mark.parametrize(("verdict", "hollow"), [("faster", 0), ("equivalent", 0), ("undecided", 8)])
def test_the_figure_of_ratios_draws_equivalent_as_decided(verdict, hollow):
    found = compared(synthetic.records(DEVICES))
    frame = found["comparison"].assign(verdict=verdict)
    figure = plot_ratio.draw(found["rates"], frame, found["overall"], DEVICES, {"compare": None, "baseline": "cpu"})
    marks = [line for axes in figure.axes for line in axes.get_lines() if line.get_marker() == "o"]
    assert sum(line.get_markerfacecolor() == "white" for line in marks) == hollow + 1, "one in the key"


@pytest.mark.parametrize(("times", "means"), [(1, 1), (20, 2)])
def test_the_figure_of_ratios_has_no_mean_that_the_answer_does_not_give(times, means):
    """GPU trains the last layer alone so many times slower."""
    made_up = synthetic.records(DEVICES, replicates=2)
    for record in made_up:
        for window in record["windows"] if record["run"]["device"] == "cuda" and not record["run"]["trainable"] else ():
            window["seconds"] *= times
    found = compared(made_up)
    tables = (found[name] for name in ("rates", "comparison", "overall"))
    figure = plot_ratio.draw(*tables, DEVICES, {"compare": None, "baseline": "cpu"})
    marks = [line for axes in figure.axes for line in axes.get_lines() if line.get_marker() == "D"]
    assert len(marks) == means + 1, "one in the key"


def test_devices_train_equally_well_only_where_that_was_checked():
    checked = {"reference": "cpu", "model": "mobilenetv2", "precision": "float32", "xla": False, "verdict": "match"}
    # Of a third device, so that there is a table.
    standing = parity.Standing(pd.DataFrame([checked | {"device": "metal", "check": "outputs", "reason": ""}]))

    def said(*verdicts, standing=standing):
        table = [
            dict.fromkeys(AXES, number) | {"device": name, "images_per_second": 9.0, "parity": parity}
            for number, verdict in enumerate(verdicts)
            for name, parity in {"cpu": "match", "cuda": verdict}.items()
        ]
        return " ".join(words.equally_well(standing, pd.DataFrame(table), PAIR, LABELS))

    assert said("match", "match").startswith("GPU and CPU train equally well: outputs and first losses match")
    assert said("inconclusive", "inconclusive") == "Whether both train equally well was not checked."
    assert "equally well in 1 of 2 configurations, the only ones checked: outputs" in said("match", "inconclusive")
    assert said("not_needed", standing=parity.Standing()) == "Whether both train equally well was not checked."


def test_accuracies_of_a_device_that_does_not_match_are_in_no_title():
    names = ["cpu", "cuda", "metal", "laptop"]
    runs = pd.DataFrame({"device": names, "status": "ok", "final_val_accuracy": [0.9, 0.01, 0.91, 0.92], "epochs": 4})
    runs.loc[1, "epochs"] = 9
    title = findings.learning_title(runs, palette.devices_in(synthetic.DEVICES, runs), {"cuda"})
    assert title == "Validation accuracy after 4 epochs: 90% to 92% over 3 devices"


def rented(folder):
    """The tables of two devices with the same rent, compared by their runs."""
    price = synthetic.ASSUMPTIONS["devices"]["cuda"] | {"purchase": None}
    assumptions = synthetic.ASSUMPTIONS | {"devices": dict.fromkeys(LABELS, price)}
    paths = synthetic.results(folder, DEVICES, synthetic.records(DEVICES, synthetic.SMALL_GRID), assumptions)
    return {name: pd.read_parquet(paths[name]) for name in ("rates", "comparison", "overall", "costs")}


def test_rents_are_compared_as_the_speeds_are(tmp_path):
    tables = rented(tmp_path)
    row = tables["overall"].query("subset == 'all'").iloc[0]
    tile = verdict_words.verdict(pairs.verdicts(tables, PAIR)["money"], LABELS, "USD")
    assert f"(95% interval {verdict_words.ratio_interval(row['ci_low'], row['ci_high'])})" in tile["sentence"]
    # As turns found them: the other way round.
    turned = {"cost_ratio": 1.2, "cost_low": 1.19, "cost_high": 1.21, "from_turns": 2}
    tables["overall"] = tables["overall"].query("subset == 'all'").assign(**turned)
    verdict = pairs.verdicts(tables, PAIR)["money"]
    assert (verdict.winner, verdict.outcome, verdict.compared) == ("cpu", "wins", 2)
    tile = verdict_words.verdict(verdict, LABELS, "USD")
    assert "costs 1.20× as much as on CPU, rented (95% interval 1.19–1.21), in both configurations." in tile["sentence"]
    assert verdict_words.AMOUNTS_OF_RUNS in tile["details"]
    tables["overall"]["cost_low"] = 0.95
    cures = {"speed": "More turns.", "money": "More replicates."}
    assert (
        verdict_words.verdict(pairs.verdicts(tables, PAIR)["money"], LABELS, "USD", cures=cures)["cure"]
        == "More turns."
    )


def test_costs_of_other_work_are_not_compared(tmp_path):
    tables = rented(tmp_path)
    tables["comparison"]["verdict"] = "not_comparable"
    tile = verdict_words.verdict(pairs.verdicts(tables, PAIR)["money"], LABELS, "USD")
    assert tile["sentence"] == "Cost is unknown: no configuration can be compared." and tile["winner"] is None


def test_time_to_accuracy_leaves_out_devices_that_compute_something_else():
    """A device that trains otherwise may get there sooner, and sets no goal for the others."""
    curves = {
        "cpu": {"seconds": [1.0, 2.0], "accuracy": [0.5, 0.9], "joules": None, "money": None},
        "cuda": {"seconds": [0.1, 0.2], "accuracy": [0.1, 0.2], "joules": None, "money": None},
    }
    devices = palette.devices_in(DEVICES, pd.DataFrame({"device": ["cpu", "cuda"]}))
    label = next(device.label for device in devices if device.name == "cuda")
    both = findings.to_accuracy_title(curves, devices)
    alone = findings.to_accuracy_title(curves, devices, ["cuda"])
    assert "20% validation accuracy" in both and "90% validation accuracy" in alone and label not in alone
    assert "trains the same" in findings.to_accuracy_title(curves, devices, ["cpu", "cuda"])
    runs = pd.DataFrame({"dataset": ["digits"], "weights": ["random"]})
    assert findings.to_accuracy_notes(runs, curves, devices, ["cuda"])[-1].startswith(f"{label} does not")
