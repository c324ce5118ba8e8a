"""Says where an experiment's report is and whether anything was run: find_report.py SINCE CONFIG... (later files override).

SINCE: when the sweep was started, in seconds since 1970; --folder: only prints the folder of the results.
"""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

from trainoff import numbers


def words(since: float, results: str | Path) -> str:
    """What to say of the results in the folder `results`; "" where there is no report."""
    report = Path(results, "report.html").resolve()
    if not report.exists():
        return ""
    if report.stat().st_mtime >= since:
        return f"Report: {report}"
    with open(Path(results, "tables/runs.csv"), encoding="utf-8", newline="") as file:
        runs = numbers.count(sum(1 for _ in csv.DictReader(file)), "run")
    return f"Everything was finished already: {runs}, nothing was run again.\nReport: {report}"


def results_of(configs: Iterable[str | Path]) -> str:
    """The results folder that the experiment files name; later files override."""
    results = "results"
    for path in configs:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        results = (config.get("pathvars") or {}).get("results", results)
    return results


if __name__ == "__main__":
    if sys.argv[1] == "--folder":
        print(results_of(sys.argv[2:]))
        sys.exit()
    # Not every locale can show every character of a name.
    sys.stdout.reconfigure(errors="replace")
    if message := words(float(sys.argv[1]), results_of(sys.argv[2:])):
        print(message)
