"""Validation: the same numbers whether Keras evaluates or the classes are uneven and outputs are judged here."""

import numpy as np
import pytest

from trainoff.measure.batches import validation_batches


@pytest.mark.parametrize("counts, balanced", [([30, 30, 30], False), ([70, 15, 5], True), ([50, 40, 0], True)])
def test_uneven_classes_have_a_balanced_accuracy_beside_the_same_loss_and_accuracy(counts, balanced):
    import keras

    from trainoff.measure.protocol import validate

    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, kernel_regularizer="l2")(inputs))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), counts)).astype(np.int32)
    samples = np.random.default_rng(1).normal(size=(len(labels), 4)).astype(np.float32)
    found = validate(model, validation_batches(samples, labels, 32), labels, 3, 32)
    expected = model.evaluate(samples, labels, batch_size=32, verbose=0, return_dict=True)
    assert {key: found[key] for key in ("loss", "accuracy")} == pytest.approx(expected, abs=1e-5)
    assert ("balanced_accuracy" in found) is balanced
    if balanced:
        right = model.predict(samples, verbose=0).argmax(axis=1) == labels
        recalls = [right[labels == label].mean() for label in range(3) if counts[label]]
        assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
