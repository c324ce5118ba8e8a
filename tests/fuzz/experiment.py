"""Experiment files in YAML."""

import contextlib
import copy
import json
import math
import os
import re
from pathlib import Path, PurePosixPath

import yaml
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

from fuzz.changes import NUMBERS, damaged, text_of
from trainoff import axes, bounds
from trainoff.errors import UserError
from trainoff.experiment import checks, experiment_file, plan

NAME = "YAML of an experiment"
ROOT = Path(__file__).parents[2]
TEXTS = [path.read_text(encoding="utf-8") for path in (ROOT / "config.yaml", *sorted(ROOT.glob("presets/*.yaml")))]
DEFAULT, *PRESETS = map(yaml.safe_load, TEXTS)
SCHEMA, MODELS, CATALOG = (
    yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    for name in ("schemas/config.schema.yaml", "catalog/models.yaml", "catalog/devices.yaml")
)
axes.into_experiment_schema(SCHEMA)
CONSTRAINTS = axes.constraints() | {"device": "[a-z0-9][a-z0-9_-]*", "replicate": r"\d+"}
WORDS = [
    *(
        "auto",
        "cpu",
        "results",
        "../x",
        "/etc/passwd",
        "5e-4",
        "mobilenetv2",
        "cpu\n",
        "{x}",
        "<results>",
        "*",
        "true",
        "~",
    ),
    *(
        "2026-13-45",
        "0o777",
        "0x1F",
        "12:30:45",
        "!!python/object:os.system",
        "&a [*a]",
        "*nothing",
        "<<",
        "? ",
        "- - -",
        "---",
    ),
]
VALUES = [
    None,
    True,
    -1,
    0,
    10**400,
    0.5,
    [],
    {},
    [None],
    [[]],
    {"a": 1},
    ["x"] * 600,
    "\ud7ff",
    "\u202e",
    "x" * 300,
    "cpu\n",
]


def written(folder, text):
    path = folder / "experiment.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


def places(value, path=()):
    """Paths of all parts of a structure of dicts and lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*path, key)
        yield from places(part, (*path, key))


def restructured(random):
    """A shipped experiment with parts replaced, removed or added, as JSON or YAML."""
    value = copy.deepcopy(random.choice([DEFAULT, *PRESETS]))
    for _ in range(random.randint(1, 3)):
        if not (candidates := list(places(value))):
            break
        *path, last = random.choice(candidates)
        parent = value
        for key in path:
            parent = parent[key]
        kind = random.randrange(4)
        if kind == 0:
            del parent[last]
        elif kind == 1 and isinstance(parent, dict):
            parent[text_of(random, WORDS)] = copy.deepcopy(random.choice(VALUES))
        else:
            parent[last] = copy.deepcopy(random.choice([*VALUES, text_of(random, WORDS)]))
    dump = random.choice([json.dumps, yaml.safe_dump, lambda value: yaml.safe_dump(value, allow_unicode=True)])
    return dump(value)


def mutated(random, folder):
    kind = random.randrange(4)
    if kind == 0:
        return written(folder, restructured(random))
    lines = random.choice(TEXTS).splitlines(keepends=True)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(lines))
        line = lines[place]
        cut = random.randrange(len(line) + 1)
        what = random.randrange(6)
        if what == 0:
            lines[place] = line[:cut] + text_of(random, WORDS) + line[cut:]
        elif what == 1:
            lines.insert(random.randrange(len(lines)), line)  # duplicates a key, or moves it elsewhere
        elif what == 2:
            lines[place] = " " * random.randint(0, 8) + line.lstrip()
        elif what == 3:
            lines[place] = re.sub(r"[0-9.]+", lambda _: random.choice(NUMBERS), line, count=1)
        elif what == 4:
            lines[place] = re.sub(
                r":.*", lambda _: f": {random.choice('[{&*!|>')}{text_of(random, WORDS)}", line, count=1
            )
        else:
            lines.insert(place, laughs(random.randint(2, 9), random.randint(2, 9), random.choice(["[]", "{}"])))
    data = "".join(lines).encode("utf-8", "surrogatepass")
    return written(folder, damaged(random, data) if kind == 1 else data)


def laughs(levels, width, brackets, key="trackers"):
    """YAML with several levels, each of which refers to the previous one several times."""
    lines = [f"{key}:\n", "  a0: &a0 x\n"]
    for level in range(1, levels + 1):
        parts = [f"k{part}: *a{level - 1}" if brackets == "{}" else f"*a{level - 1}" for part in range(width)]
        lines.append(f"  a{level}: &a{level} {brackets[0]}{', '.join(parts)}{brackets[1]}\n")
    return "".join(lines)


def read(path):
    experiment_file.read(path)
    # Snakemake's own reader must be able to read whatever is accepted.
    config = copy.deepcopy(DEFAULT)
    try:
        update_config(config, load_configfile(path))
    except (
        WorkflowError
    ) as error:  # libyaml accepts slightly more than Snakemake's parser, which also gives a clear message
        raise UserError(str(error)) from None
    config = plan.in_order(config)
    checks.check(config, SCHEMA, MODELS, str(path))
    entries = plan.devices(config, CATALOG, detect=lambda: ["cpu"])
    checks.check_devices(entries, config, SCHEMA, MODELS)
    plan.probes(config, entries, plan.reference(entries, CATALOG))
    runs = plan.runs(config, entries)
    assert len(runs) <= bounds.EXPERIMENT_RUNS
    for run in runs[:: max(1, len(runs) // 200)]:
        words = plan.wildcards(run)
        assert all(re.fullmatch(CONSTRAINTS[key], word) for key, word in words.items()), words
        place = PurePosixPath(config["pathvars"]["results"], "runs", *words.values())
        assert place.parts[0] == "results" and ".." not in place.parts
        assert all(len(os.fsencode(step)) < 200 for step in place.parts)
    assert not experiment_file.unshowable(config)
    assert math.prod(map(len, config["grid"].values())) > 0


GRID = "grid: {model: [mobilenetv2], trainable: [true], precision: [float32], xla: [false], "
REGRESSIONS = {
    "laughs in lists": lambda folder: written(folder, laughs(9, 9, "[]")),
    "laughs in mappings": lambda folder: written(folder, laughs(9, 9, "{}")),
    "laughs under another key": lambda folder: written(folder, laughs(9, 9, "{}", "grid")),
    "laughs in place of keys": lambda folder: written(folder, "a: &a [x, x]\nb: {? [*a, *a] : 1}\n"),
    "alias of itself": lambda folder: written(folder, "trackers: &a {b: *a}\n"),
    "key twice": lambda folder: written(folder, "seed: 1\ntitle: x\nseed: 2\n"),
    "key twice in a mapping": lambda folder: written(folder, "grid: {img_dim: [32], img_dim: [64]}\n"),
    "key twice in JSON": lambda folder: written(folder, '{\n\t"seed": 1,\n\t"seed": 2\n}'),
    "line end after a name": lambda folder: written(
        folder, 'devices: [{"name": "cpu\\n", label: x, backend: tensorflow}]'
    ),
    "name of 300 letters": lambda folder: written(
        folder, f"devices: [{{name: {'x' * 300}, label: x, backend: tensorflow, accelerator: cpu, env: torch}}]"
    ),
    "folder of 300 letters": lambda folder: written(folder, f"pathvars: {{results: results/{'x' * 300}}}"),
    "expressions": lambda folder: written(folder, "__use_yte__: true\ntitle: ?open('/tmp/fuzz-was-here', 'w')\n"),
    "tag": lambda folder: written(folder, "title: !!python/object/apply:os.system [id]\n"),
    "10,000 open brackets": lambda folder: written(folder, "a: " + "[" * 10_000),
    "10,000 open braces in JSON": lambda folder: written(folder, '{"a":' * 10_000),
    "integer of 5,000 digits": lambda folder: written(folder, "seed: " + "9" * 5000),
    "no such day": lambda folder: written(folder, "title: 2026-13-45\n"),
    "comments alone": lambda folder: written(folder, "# nothing\n"),
    "two documents": lambda folder: written(folder, "seed: 1\n---\nseed: 2\n"),
    "mixed list of 100,000": lambda folder: written(folder, "imports: [" + "a, [1], " * 30_000 + "b]"),
    "millions of runs": lambda folder: written(
        folder,
        GRID
        + f"batch_size: [1, 2, 4, 5, 8, 10], img_dim: {[*range(32, 432)]}, learning_rate: {[n / 1000 for n in range(1, 401)]}}}",
    ),
    "direction of writing turned": lambda folder: written(folder, 'title: "\\u202egnp.exe"'),
    "escape in a title": lambda folder: written(folder, 'title: "\\e]0;x\\a"'),
    "zero bytes": lambda folder: written(folder, b"\0" * 100_000),
    "a gigabyte of zeros": lambda folder: _sparse(folder, 2**30),
}


def _sparse(folder, size):
    path = written(folder, "")
    with contextlib.suppress(OSError):
        os.truncate(path, size)
    return path
