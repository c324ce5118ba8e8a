"""A copy of Snakemake's metadata about its output files (params, inputs, their checksums), stored beside these files.

Snakemake keeps it in .snakemake, which a clone lacks and which people delete to remove a stuck lock. Without it, a changed title
or price would go unnoticed and leave a wrong page. Trainings do not need it: their records identify themselves.
"""

import contextlib
import glob
import json
import logging
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainoff.files import write_text

# Scripts of rules whose metadata is not kept: a record identifies itself, and a download is checked by its hash. An importing
# workflow gives the rules other names.
NOT_KEPT = {"train", "take_turns", "fetch_dataset", "fetch_weights"}

PLACE = "<results>"


def is_news(record: logging.LogRecord) -> bool:
    """Whether a log record of Snakemake is more than a notice that it has no metadata of finished trainings, which is normal."""
    return "missing provenance/metadata" not in (text := record.getMessage()) or not text.rstrip().endswith(
        ("train", "turns")
    )


def compare_without_pandas(persistence: Any) -> None:
    """Makes Snakemake compare params without pandas, which it would import to check for tables; none of our params is one.

    The import takes a fifth of a start. Snakemake checks once whether pandas is installed and works without it.
    """
    if "pandas" not in sys.modules:
        sys.modules["pandas"] = None
        try:
            _ = persistence._serialize_param
        finally:
            del sys.modules["pandas"]


def _kept_of(record):
    """The part of a Snakemake metadata record to keep; None without a record."""
    # The text of environments and code would be larger than everything else, and nothing uses it.
    return None if record is None else dict(record.items()) | {"conda_env": None, "code": None}


def _is_kept(rule):
    return not rule.norun and Path(rule.script or "").stem not in NOT_KEPT


class Metadata:
    """Snakemake's metadata of the folder `results`. workflow: Snakemake's, while a Snakefile is read.

    The copy names the folder as PLACE, so that it is valid wherever the results are moved.
    """

    def __init__(self, results, workflow):
        self._results = str(results)
        self._path = Path(results, ".metadata.json")
        self._workflow = workflow
        self._restored = False
        # The rules of this workflow only, even if another one imports it.
        self._rules = workflow.modifier.rules

    def restore(self) -> None:
        """Gives Snakemake the copied metadata, and makes it recreate files without any. Does so once, during planning."""
        if self._restored or not self._workflow.is_main_process:
            return
        self._restored = True
        from snakemake.io import IOFile
        from snakemake.persistence import MetadataRecord

        persistence, forced = self._workflow.persistence, self._workflow.dag.forcefiles
        differing = {
            path: known for path, known in self._read().items() if known != _kept_of(persistence.metadata(IOFile(path)))
        }
        for path, known in differing.items():
            # Snakemake has no public call to write a record; reading and deleting have one.
            with contextlib.suppress(ValueError, OSError):
                persistence._write_record(path, MetadataRecord.model_validate(known))
        if differing:
            persistence._clear_cache()
        for path in self._outputs():
            if persistence.metadata(IOFile(path)) is None:
                forced.add(path)

    def forget(self, path: str | Path) -> None:
        """Makes Snakemake accept the file `path`, whatever its metadata say of it or of a killed start."""
        if not self._workflow.is_main_process:
            return
        from snakemake.io import IOFile

        self._workflow.persistence.cleanup_metadata(IOFile(path))

    def drop(self, jobs: Iterable[Any]) -> None:
        """Deletes the copied metadata of the outputs of jobs that are about to run."""
        gone = {str(path) for job in jobs for path in job.output}
        known = self._read()
        if gone & known.keys():
            self._write({path: record for path, record in known.items() if path not in gone})

    def keep(self, jobs: Iterable[Any]) -> None:
        """Copies Snakemake's metadata about the outputs of jobs, where there are any."""
        # Of the last job, Snakemake still remembers that there was none.
        self._workflow.persistence._clear_cache()
        known = self._read()
        before = dict(known)
        for job in jobs:
            if not _is_kept(job.rule):
                continue
            for path in job.output:
                record = self._workflow.persistence.metadata(path)
                if record is not None and Path(path).exists():
                    known[str(path)] = _kept_of(record)
        if known != before:
            self._write(known)

    def _outputs(self):
        """Existing outputs of all rules, as paths."""
        for rule in filter(_is_kept, self._rules):
            for pattern in map(str, rule.output):
                yield from glob.iglob(re.sub(r"\{[^{}]+\}", "*", pattern))

    def _read(self):
        try:
            text = self._path.read_text(encoding="utf-8")
            known = json.loads(text.replace(f'"{PLACE}/', f'"{self._results}/'))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _write(self, known):
        # If the folder cannot be written to, nothing is kept, and later starts recreate more files than necessary.
        with contextlib.suppress(OSError):
            text = json.dumps(known, ensure_ascii=False)
            # All experiments share their downloads, which stay where they are.
            place = re.compile(f'"{re.escape(self._results)}/(?!downloads/)')
            write_text(self._path, place.sub(f'"{PLACE}/', text))
