"""Says where an experiment's report lies, if there is one: report_path.py CONFIG... (later files override)."""

import sys
from pathlib import Path

import yaml

results = "results"
for path in sys.argv[1:]:
    config = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    results = (config.get("pathvars") or {}).get("results", results)
report = Path(results, "report.html").resolve()
if report.exists():
    print(f"Report: {report}")
