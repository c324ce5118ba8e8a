"""When a training counts as converged, and what is tried when it does not."""

import math

import pytest
from scipy.stats import binomtest

import train
from trainoff import convergence

TEN_CLASSES = convergence.Chance(accuracy=1 / 10, loss=math.log(10))


def window(loss, accuracy):
    return {"loss": loss, "val_accuracy": accuracy}


@pytest.mark.parametrize(
    "windows, expected",
    [
        ([window(2.0, 0.3), window(1.2, 0.6)], True),
        ([window(2.25, 0.6)], False),  # the loss hardly fell
        ([window(1.2, 0.11)], False),  # 36 of 320 may be chance
        ([window(1.2, 0.6), window(None, 0.1)], False),
        ([], None),
    ],
)
def test_loss_and_accuracy_must_both_show_it(windows, expected):
    assert convergence.converged(windows, 2.5, 320, TEN_CLASSES) is expected


def test_naming_the_largest_class_is_no_convergence():
    """Of 90 % of the images in one class, a training learns at once that it is large, and nothing else."""
    chance = convergence.chance_of({"train": [900, 50, 50], "validation": [90, 5, 5]})
    assert chance.accuracy == 0.9 and chance.loss == pytest.approx(0.394, abs=1e-3)
    noise = [window(0.39, 0.9)]
    assert convergence.converged(noise, 1.1, 100, chance) is False
    assert convergence.converged(noise, 1.1, 100, convergence.Chance(1 / 3, math.log(3))) is True
    assert convergence.converged([window(0.2, 0.97)], 1.1, 1000, chance) is True
    # It must beat the shares in its loss as well.
    assert convergence.converged([window(0.41, 0.97)], 1.1, 1000, chance) is False


def test_even_classes_have_the_chance_of_their_number():
    chance = convergence.chance_of({"train": [128] * 10, "validation": [32] * 10})
    assert chance.accuracy == pytest.approx(0.1) and chance.loss == pytest.approx(math.log(10))
    assert not convergence.uneven([35, 37, 36]) and convergence.uneven([90, 5, 5]) and convergence.uneven([1, 0])


@pytest.mark.parametrize("hits, number", [(0, 10), (36, 320), (320, 320), (5001, 10000)])
def test_the_interval_is_wilsons(hits, number):
    low, high = convergence.wilson_interval(hits / number, number)
    expected = binomtest(hits, number).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


class Outcome:
    """What train.py reads of a launch.Outcome."""

    def __init__(self, status, loss=1.0):
        self.status = status
        self.journal = self
        self.windows = [window(loss, 0.8)]

    def last(self, name):
        return {"first_step": {"loss": 2.3}, "built": {"validation_images": 320}}[name]


def stopped(counts):
    """An Outcome that was stopped in an epoch; counts: whether another epoch still does."""
    outcome = Outcome("ok")
    outcome.windows = [
        window(1.0, 0.8) | {"warm_up": True, "suspended_seconds": 8.0},
        window(1.0, 0.8) | {"warm_up": not counts},
    ]
    outcome.suspended_seconds = 8.0
    return outcome


@pytest.mark.parametrize(
    "outcomes, expected",
    [
        ([stopped(counts=True)], ["ok"]),
        ([stopped(counts=False), Outcome("ok")], ["suspended", "ok"]),
        ([stopped(counts=False)] * 3, ["suspended"] * 3),
    ],
)
def test_what_was_stopped_in_all_its_epochs_is_trained_again(outcomes, expected):
    left = iter(outcomes)
    run = {"learning_rate": 0.1, "classes": 10, "on_divergence": {"reduce_learning_rate": 0.5, "attempts": 2}}
    attempts = train._attempts(run, lambda rate: next(left), lambda words: None, TEN_CLASSES)
    told = train._training(attempts)["attempts"]
    assert [attempt["outcome"] for attempt in told] == expected
    assert {attempt["learning_rate"] for attempt in told} == {0.1}


@pytest.mark.parametrize(
    "outcomes, tried",
    [
        ([Outcome("ok")], [(0.1, True)]),
        ([Outcome("diverged"), Outcome("ok")], [(0.1, False), (0.05, True)]),
        ([Outcome("ok", 2.3), Outcome("diverged"), Outcome("ok", 2.2)], [(0.1, False), (0.05, False), (0.025, False)]),
        ([Outcome("crashed")], [(0.1, None)]),
        ([Outcome("diverged"), Outcome("crashed")], [(0.1, False), (0.05, None)]),
    ],
)
def test_only_what_did_not_converge_is_trained_again_at_a_lower_rate(outcomes, tried):
    left = iter(outcomes)
    run = {
        "learning_rate": 0.1,
        "classes": 10,
        "on_divergence": {"reduce_learning_rate": 0.5, "attempts": 2},
    }
    attempts = train._attempts(run, lambda rate: next(left), lambda words: None, TEN_CLASSES)
    assert [(rate, converged) for rate, _, converged in attempts] == tried
    assert train._training(attempts)["converged"] is tried[-1][1]
    assert (
        len(train._attempts(run | {"on_divergence": None}, lambda rate: Outcome("diverged"), print, TEN_CLASSES)) == 1
    )
