"""Changes to bytes and texts, for every format."""

SIGNS = [
    "\x00",
    "\x1b[2J",
    "\r",
    "\n",
    "\t",
    "\u202e",
    "\u200b",
    "\ufeff",
    "é",
    "𝟙",
    "\x85",
    "'",
    '"',
    ",",
    ";",
    "=",
    "@",
]
NUMBERS = [
    "0",
    "-0",
    "-1",
    "1e308",
    "1e400",
    "-1e-320",
    "nan",
    "inf",
    "-inf",
    "9" * 30,
    "9" * 5000,
    "0x10",
    "1_000",
    "1:30:00",
]


def damaged(random, data):
    """`data` (bytes) with some bytes changed, removed, doubled or inserted."""
    data = bytearray(data)
    for _ in range(random.randint(1, 6)):
        place = random.randrange(len(data) + 1)
        kind = random.randrange(6)
        if kind == 0 and place < len(data):
            data[place] = random.randrange(256)
        elif kind == 1 and place < len(data):
            data[place] ^= 1 << random.randrange(8)
        elif kind == 2:
            del data[place : place + random.randint(1, 64)]
        elif kind == 3:
            data[place:place] = data[place : place + random.randint(1, 64)]
        elif kind == 4 and random.random() < 0.2:
            del data[place:]
        else:
            # Boundary values of sizes and counts.
            width = random.choice([1, 2, 4, 8])
            value = random.choice(
                [0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), random.randrange(2 ** (8 * width))]
            )
            data[place : place + width] = value.to_bytes(width, random.choice(["little", "big"]))
    return bytes(data)


def text_of(random, words):
    """A text to insert into another: one of `words`, a number, unusual characters, or a long text."""
    kind = random.randrange(4)
    if kind == 0:
        return random.choice(words)
    if kind == 1:
        return random.choice(NUMBERS)
    if kind == 2:
        return "".join(random.choices(SIGNS, k=random.randint(1, 3)))
    return random.choice(words)[:3] * random.choice([1, 50, 2000])
