"""Which records of probes and packs `retry` makes anew; runs and turns are judged by trainoff.workflow.validity."""

import contextlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path


def ended_with(statuses: Collection[str], paths: Iterable[str | Path]) -> list[str | Path]:
    """Those `paths` of records that are there and have one of the statuses."""
    if not statuses:
        return []
    found = []
    for path in paths:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(Path(path).read_bytes())["status"] in statuses:
                found.append(path)
    return found
