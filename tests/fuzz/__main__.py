"""Tries thousands of mutated inputs per format and reports the outcomes: `make fuzz`.

python tests/fuzz [--inputs 5000] [--seed 0] [format …]

Every input is read in a process of its own, and its time and peak memory above an idle process are recorded. It may be accepted
correctly or rejected with a message; anything else (a traceback, a wrong value, a crash, more than the limits in runner.py) is
a finding, listed with the seed that reproduces it. Writes results/fuzz.json and prints the table of docs/security.md.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from fuzz import runner  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("formats", nargs="*", default=runner.FORMATS)
    arguments = parser.parse_args()
    outcomes = {}
    with tempfile.TemporaryDirectory(prefix="trainoff-fuzz-") as folder:
        for name in arguments.formats:
            outcomes[name] = runner.run(name, arguments.inputs, arguments.seed, Path(folder))
            print(runner.row(outcomes[name]), flush=True)
            for finding in outcomes[name]["findings"]:
                print(f"    {finding}", file=sys.stderr)
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    (results / "fuzz.json").write_text(json.dumps(outcomes, indent=1))
    print(runner.HEADER, *map(runner.row, outcomes.values()), sep="\n")
    return any(outcome["findings"] for outcome in outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
