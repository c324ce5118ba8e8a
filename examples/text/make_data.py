"""Makes text.npz beside this file: short reviews as word numbers, in three classes: pleased, displeased, mixed.

The reviews are made up, so the example runs offline. Their word order matters: "not bad" is positive.

    python examples/text/make_data.py
"""

from pathlib import Path

import numpy as np

KINDS = """
thing film plot cast sound hotel room view staff meal soup wine bread trip bus guide map book end pace tone
verb was is seemed felt looked stayed
not not never hardly
much very quite really rather so
good good fine lovely bright warm clean kind fresh funny clever calm quick
bad bad dull ugly dark cold dirty rude stale boring silly loud slow
and and but while
"""
WORDS = {line.split()[0]: line.split()[1:] for line in KINDS.split("\n") if line}
CLASSES = ["pleased", "displeased", "mixed"]
# 0 pads a review.
NUMBERS = {
    word: number for number, word in enumerate(sorted({word for words in WORDS.values() for word in words}), start=1)
}
LENGTH = 20
SAMPLES = {"train": 6000, "validation": 1200}


def clause(pleases, generator):
    """Words that say something good or bad, sometimes by denying the opposite."""

    def one(kind):
        return WORDS[kind][generator.integers(len(WORDS[kind]))]

    denied = generator.random() < 0.4
    words = [one("thing"), one("verb")]
    words += [one("not")] if denied else []
    words += [one("much")] if generator.random() < 0.5 else []
    return [*words, one("good" if pleases != denied else "bad")]


def review(label, generator):
    """Word numbers (LENGTH,) of one review of that class, padded with 0."""
    pleases = [label == 0] * generator.integers(1, 4) if label < 2 else [bool(generator.integers(2))]
    if label == 2:
        pleases += [not pleases[0]]
    words = []
    for one in pleases:
        words += [WORDS["and"][generator.integers(len(WORDS["and"]))]] if words else []
        words += clause(one, generator)
    numbers = [NUMBERS[word] for word in words]
    return numbers + [0] * (LENGTH - len(numbers))


def main():
    generator = np.random.default_rng(0)
    arrays = {}
    for split, number in SAMPLES.items():
        labels = generator.permutation(np.arange(number) % len(CLASSES))
        arrays[f"x_{split}"] = np.array([review(label, generator) for label in labels], np.int32)
        arrays[f"y_{split}"] = labels
    target = Path(__file__).with_name("text.npz")
    np.savez_compressed(target, **arrays)
    print(
        f"{target}: {SAMPLES['train']:,} reviews to train on, {SAMPLES['validation']:,} to validate, {len(NUMBERS)} words"
    )


if __name__ == "__main__":
    main()
