"""Says where an experiment's report is and whether anything was run: find_report.py SINCE CONFIG... (later files override).

SINCE: when the sweep was started, in seconds since 1970; --folder: only prints the folder of the results.
"""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path

from trainoff import numbers
from trainoff.errors import UserError
from trainoff.experiment import experiment_file


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
    """The results folder that the experiment files name; later files override. Raises UserError for an unusable file."""
    results = "results"
    for path in configs:
        pathvars = experiment_file.read(path).get("pathvars", {})
        results = pathvars.get("results", results) if isinstance(pathvars, dict) else None
        if not (results and isinstance(results, str)):
            raise UserError(
                f"{path}: pathvars: names no folder. Expected one, such as pathvars: {{results: results/mine}}."
            )
    return results


if __name__ == "__main__":
    # Not every locale can show every character of a name.
    sys.stdout.reconfigure(errors="strict" if sys.argv[1] == "--folder" else "replace")
    try:
        folder = results_of(sys.argv[2:])
    except UserError as error:
        sys.exit(str(error))
    if message := folder if sys.argv[1] == "--folder" else words(float(sys.argv[1]), folder):
        print(message)
