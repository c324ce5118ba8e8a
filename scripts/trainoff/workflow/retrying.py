"""Which probes and packs a start repeats. Runs and turns are judged by trainoff.workflow.validity."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path


def due(paths: Iterable[str | Path], statuses: Collection[str]) -> list[str | Path]:
    """Those `paths` of records that are missing or have one of the statuses."""
    return [path for path in paths if not Path(path).is_file() or (statuses and _status(path) in statuses)]


def _status(path):
    try:
        return json.loads(Path(path).read_bytes())["status"]
    except (OSError, ValueError, KeyError, TypeError):  # its reader reports it
        return None
