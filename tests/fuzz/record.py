"""Records of other machines: each is rejected, or its values in tables follow from its own epochs."""

import copy
import json
import math

import synthetic

from trainoff import bounds, records
from trainoff.analyze import tables
from trainoff.exchange import bundles, claims

NAME = "record"
MAKE_IT_FIT = 0.3  # share of changed records whose claims are computed again, as careful tampering would
EXTREMES = [0, -1, 1, 2, 1e-300, 1e300, 1e-9, 1e9, 1e16, 2**53, 2**63, 10**30, -0.0, 0.5]
WORDS = [
    "",
    "ok",
    "crashed",
    "\x1b[2J",
    "\u202eabc",
    "=1+1",
    "a\rb\nc",
    "x" * 300,
    "x" * 100_000,
    "../..",
    "null",
    "9999-12-31T00:00:00Z",
]
GRID = synthetic.SMALL_GRID


def originals():
    """Valid records with several outcomes, with and without energy."""
    devices = [{"name": "cuda"}, {"name": "cpu-there"}]
    made_up = synthetic.records(devices, GRID, failures={1: "crashed", 2: "diverged"})
    synthetic.add_energy(made_up, "cuda", 240.0, "nvml", "gpu", idle_watts=40.0)
    return made_up


ORIGINALS = originals()
TRAINING = ORIGINALS[0]["training"]
# Compile and import now, so that inputs do not pay for it.
records.departure({})


def changed(random, record):
    """A copy of a record with one to three changes."""
    value = copy.deepcopy(record)
    for _ in range(random.choice([1, 1, 2, 3])):
        random.choice([replace_number, replace_number, replace_text, remove, add, repeat_windows, swap_windows])(
            random, value
        )
    if random.random() < MAKE_IT_FIT:
        fit(value)
    return value


def places(value, wanted):
    """[(parent, key)] of all parts of a structure that have a given type."""
    matches = []
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(part, wanted):
            matches.append((value, key))
        if isinstance(part, dict | list):
            matches += places(part, wanted)
    return matches


def replace_number(random, record):
    numbers = [(parent, key) for parent, key in places(record, int | float)]
    parent, key = random.choice(numbers)
    parent[key] = random.choice([*EXTREMES, parent[key] * random.choice([0.2, 5, 1.000001, 1000]), parent[key] + 1])


def replace_text(random, record):
    parent, key = random.choice(places(record, str))
    parent[key] = random.choice([*WORDS, 7, None, True, [], {}])


def remove(random, record):
    parent, key = random.choice(places(record, object))
    del parent[key]


def add(random, record):
    parent = random.choice([record, *(parent[key] for parent, key in places(record, dict))])
    parent[random.choice(["epoch", "seconds", "extra", "windows", "x" * 2000])] = random.choice(
        [*EXTREMES, *WORDS, [[[]]]]
    )


def repeat_windows(random, record):
    times = random.choice([2, 3, 10, 10, 10, 500])
    windows = record.get("windows")
    if not isinstance(windows, list) or not all(isinstance(window, dict) for window in windows):
        return
    record["windows"] = [dict(window) for window in windows for _ in range(times)]
    if random.random() < 0.5:
        for number, window in enumerate(record["windows"], start=1):
            window["epoch"] = number


def swap_windows(random, record):
    if isinstance(record.get("windows"), list):
        random.shuffle(record["windows"])


def fit(record):
    """Computes claims again from the epochs, where the epochs allow it."""
    try:
        record["throughput"] = claims.windows.summarize(record["windows"])
        record["training"]["epochs"] = len(record["windows"])
        record["training"]["final_val_accuracy"] = record["windows"][-1]["val_accuracy"]
    except Exception:  # noqa: BLE001 - if the changes broke too much, the record stays as it is
        return


def with_one_digit(random, text):
    """`text` with one digit replaced by another."""
    digits = [place for place, sign in enumerate(text) if sign.isdigit()]
    place = random.choice(digits)
    other = random.choice([digit for digit in "0123456789" if digit != text[place]])
    return text[:place] + other + text[place + 1 :]


def mutated(random, folder):
    record = random.choice(ORIGINALS)
    kind = random.choice(["changed", "changed", "digit", "bytes"])
    text = json.dumps(changed(random, record) if kind == "changed" else record)
    if kind == "digit":
        text = with_one_digit(random, text)
    content = bytearray(text.encode())
    if kind == "bytes":
        for _ in range(random.choice([1, 3])):
            content[random.randrange(len(content))] = random.randrange(256)
    path = folder / "metrics.json"
    path.write_bytes(content)
    return path


def read(path):
    """Reads a record as one of another machine, and makes tables of it."""
    record = bundles.checked_record(path.read_bytes(), str(path))
    agrees_with_its_epochs(record, str(path))


def agrees_with_its_epochs(record, path):
    """Raises AssertionError where a value of the record in tables does not follow from its epochs."""
    runs, windows = tables.run_table([(path, record)]), tables.window_table([(path, record)])
    (row,) = runs.to_dict("records")
    counted = sorted(window["images"] / window["seconds"] for window in record["windows"] if not window["warm_up"])
    middle = len(counted) // 2
    median = (counted[middle] + counted[~middle]) / 2 if counted else math.nan
    assert same(row["images_per_second"], median) and same(
        record["throughput"]["images_per_second"] or math.nan, median
    )
    assert row["epochs"] == len(windows) == len(record["windows"]) <= bounds.RECORD_EPOCHS
    assert [window["epoch"] for window in record["windows"]] == list(range(1, len(windows) + 1))
    last = record["windows"][-1]["val_accuracy"] if record["windows"] else None
    assert same(row["final_val_accuracy"], math.nan if last is None else last)
    assert tables.as_csv(runs).count("\n") == 2


def same(first, second):
    return (first != first and second != second) or math.isclose(first, second, rel_tol=1e-5)


def long_record(epochs):
    record = copy.deepcopy(ORIGINALS[0])
    window = record["windows"][-1] | {"started_at": record["provenance"]["started_at"]}
    record["windows"] = [window | {"epoch": number, "warm_up": number == 1} for number in range(1, epochs + 1)]
    record["energy"], record["energy_reason"] = None, "left out"
    fit(record)
    return record


def written(content):
    def make(folder):
        path = folder / "metrics.json"
        path.write_text(content() if callable(content) else content, encoding="utf-8")
        return path

    return make


def record_with(**parts):
    return lambda: json.dumps(ORIGINALS[0] | parts)


REGRESSIONS = {
    "10,000 epochs in few bytes": written(lambda: json.dumps(long_record(10_000))),
    "more epochs than are read": written(lambda: json.dumps(long_record(bounds.RECORD_EPOCHS + 1))),
    "an epoch of 1e-300 s": written(lambda: json.dumps(ORIGINALS[0]).replace('"seconds": ', '"seconds": 1e-300, "x": ', 1)),
    "a thousand attempts": written(record_with(training=TRAINING | {"attempts": TRAINING["attempts"] * 1000})),
    "a deep nest": written('{"windows": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "millions of empty objects": written(lambda: '{"windows": [' + "{}," * 5_000_000 + "{}]}"),
    "millions of numbers": written(lambda: '{"windows": [' + "1," * 10_000_000 + "1]}"),
    "a million keys": written(lambda: json.dumps({f"k{number}": number for number in range(1_000_000)})),
    "the year 9999": written(lambda: json.dumps(ORIGINALS[0]).replace("2026-01-02T", "9999-01-02T")),
    "end before start": written(record_with(provenance=ORIGINALS[0]["provenance"] | {"finished_at": "2025-01-01T00:00:00Z"})),
    "a device that ends in a newline": written(record_with(run=ORIGINALS[0]["run"] | {"device": "cuda\n"})),
    "a device of 300 letters": written(record_with(run=ORIGINALS[0]["run"] | {"device": "x" * 300})),
    "an attempt whose epochs are a number": written(
        record_with(training=TRAINING | {"attempts": [TRAINING["attempts"][0] | {"windows": 0.5}]})
    ),
    "a departure late in many epochs": written(
        lambda: json.dumps(long_record(20_000)).replace('"epoch": 19999,', '"epoch": "x",')
    ),
    "a key missing beside many epochs": written(
        lambda: json.dumps({key: value for key, value in long_record(20_000).items() if key != "status"})
    ),
    "faster than its epochs": written(record_with(throughput=ORIGINALS[0]["throughput"] | {"images_per_second": 1e6})),
}  # fmt: skip
