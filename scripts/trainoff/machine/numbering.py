"""Which NVIDIA GPU an `index` stands for: the same one in all jobs of a sweep, whatever drops out of nvidia-smi meanwhile.

Only the standard library is used, since `make` calls this before anything is installed.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

# Environment variable with the usable GPUs of the start that a job works for, in the order of their indices: [[UUID, name], …].
PASSED_ON = "TRAINOFF_GPUS"


def pass_on(gpus: Sequence[dict[str, Any]]) -> None:
    """Passes on to the jobs that this process starts which GPU has which index. gpus: the usable ones; none: each job counts."""
    os.environ[PASSED_ON] = json.dumps([[gpu["uuid"], gpu["name"]] for gpu in gpus])


def by_index(gpus: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """{index: GPU} of the usable ones `gpus`: as the start counted them, so that a missing one renumbers no other."""
    at_start = _at_start()
    if not at_start:
        return dict(enumerate(gpus))
    present = {gpu["uuid"]: gpu for gpu in gpus}
    return {index: present[uuid] for index, (uuid, _) in enumerate(at_start) if uuid in present}


def name_at_start(index: int) -> str | None:
    """The name of the GPU that had this index when the sweep started; None if there was none."""
    at_start = _at_start()
    return at_start[index][1] if index < len(at_start) else None


def _at_start():
    return json.loads(os.environ.get(PASSED_ON) or "[]")
