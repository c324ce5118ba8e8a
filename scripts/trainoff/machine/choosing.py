"""What `devices: auto` stands for: from a machine and the builds of the frameworks, both plain values, to a choice.

The CPU, and one device per distinct GPU, each on a framework whose pinned build serves it. The CPU trains on TensorFlow, the
reference, and also on the GPUs' framework where that is another one, so that a comparison of the two is one of devices. Only the
standard library is used, since `make` asks before anything is installed.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainoff.errors import one_line
from trainoff.machine import gpu_support, inventory
from trainoff.machine.gpu_support import NAMES, obstacle
from trainoff.machine.nvidia import is_slice, numbers
from trainoff.shapes import Entry

# The device of catalog/devices.yaml that computes with a framework on an NVIDIA GPU, by order of preference.
ON_NVIDIA = {"tensorflow": "cuda", "torch": "cuda-torch", "jax": "cuda-jax"}
ON_CPU = {"tensorflow": "cpu", "torch": "cpu-torch", "jax": "cpu-jax"}
# How many records are looked through for one that names its GPU: those of runs that found no device do not.
LOOKED_THROUGH = 20
# Environment variable with the picks of the start that a job works for.
PASSED_ON = "TRAINOFF_AUTO"
# What PyTorch 2.13 asks for.
MACOS_FOR_TORCH = (14,)


@dataclass(frozen=True)
class Pick:
    """A device that was chosen. name: in the experiment; like: its entry in catalog/devices.yaml; index: place of its GPU among
    those that may be used; gpu_name: how its label calls the GPU, None where the catalog's label is clear enough."""

    name: str
    like: str
    index: int = 0
    gpu_name: str | None = None


@dataclass(frozen=True)
class Choice:
    """picks: what trains. lines: one per device of the machine, for the person who starts it."""

    picks: tuple
    lines: tuple


NONE = Choice((), ())


def choose(
    found: inventory.Machine, builds: list[gpu_support.Build], measured: dict[str, tuple[str, int | None]] | None = None
) -> Choice:
    """The Choice for a inventory.Machine. builds: gpu_support.builds for its processor. measured: of measured_gpus."""
    lines = ["CPU → cpu (TensorFlow)"]
    picks = [Pick("cpu", "cpu")]
    for part in (_apple(found), _nvidia(found, builds, measured or {})):
        picks += part.picks
        lines += part.lines
    also = next((framework for framework in ("torch", "jax") if picks[-1].like == ON_NVIDIA[framework]), None)
    if also:
        # First, so that it is the one that the others take turns with.
        picks.insert(0, Pick(ON_CPU[also], ON_CPU[also]))
        lines.insert(
            0, f"CPU → {ON_CPU[also]} ({NAMES[also]}): the GPU's framework, so that the two compare as devices"
        )
    if found.failure:
        lines.append(f"NVIDIA GPU → left out: {found.failure}")
    lines += [
        f"{vendor} graphics → left out: seen and not supported yet ({'ROCm' if vendor == 'AMD' else 'oneAPI'})"
        for vendor in found.others
    ]
    return Choice(tuple(picks), tuple(lines))


def entries(choice: Choice, catalog: dict[str, dict[str, Any]]) -> list[str | Entry]:
    """The picks as `devices:` of an experiment could hold them: names of the catalog, or whole entries. catalog: by name."""
    return [_entry(pick, catalog) for pick in choice.picks]


def _entry(pick, catalog):
    if pick == Pick(pick.like, pick.like):
        return pick.name
    entry = {"name": pick.name, **catalog[pick.like], "index": pick.index}
    if pick.gpu_name:
        entry["label"] = entry["label"].replace("NVIDIA GPU", pick.gpu_name)
    return entry


def _apple(found):
    if not found.is_apple_silicon:
        return Choice((), ())
    if numbers(found.version) < MACOS_FOR_TORCH:
        return Choice(
            (Pick("metal", "metal"),),
            (
                "Apple GPU → metal (TensorFlow)",
                f"Apple GPU → mps-torch (PyTorch) left out: it needs macOS 14 or later, here is {found.version}",
            ),
        )
    return Choice(
        (Pick("metal", "metal"), Pick("mps-torch", "mps-torch")),
        ("Apple GPU → metal (TensorFlow)", "Apple GPU → mps-torch (PyTorch)"),
    )


def measured_gpus(results: str | Path) -> dict[str, tuple[str, int | None]]:
    """{device: (name, memory in bytes) of its GPU} of the runs on NVIDIA GPUs that lie in the folder `results`."""
    found = {}
    for folder in Path(results, "runs").glob("cuda*"):
        for path in itertools.islice(folder.rglob("metrics.json"), LOOKED_THROUGH):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                facts = json.loads(path.read_text(encoding="utf-8"))["device"]
                if facts["name"]:
                    found[folder.name] = facts["name"], facts["memory_bytes"]
                    break
    return found


def _nvidia(found, builds, measured):
    gpus = found.gpus
    lines = _hidden(found, gpus)
    if found.jetson:
        return Choice(
            (), (*lines, "NVIDIA Jetson → left out: it needs NVIDIA's own builds of the frameworks (JetPack)")
        )
    distinct = {}
    for index, gpu in enumerate(gpus):
        distinct.setdefault((gpu["name"], gpu["memory_bytes"]), []).append(index)
    lines += [
        f"{card['name']} → left out: it is set to be divided (MIG) and has no slices yet"
        for card in found.cards
        if card["slices"] == []
    ]
    # The largest first; indices of equal ones.
    groups = sorted(distinct.values(), key=lambda indices: -(gpus[indices[0]]["memory_bytes"] or 0))
    served = {indices[0]: _served(gpus[indices[0]], builds) for indices in groups}
    chosen = _frameworks({index: frameworks for index, frameworks in served.items() if frameworks})
    several = sum(framework is not None for framework in chosen.values()) > 1
    shorts = _names([gpus[indices[0]] for indices in groups])
    picks = []
    for indices, short in zip(groups, shorts, strict=True):
        index, gpu = indices[0], gpus[indices[0]]
        framework = chosen.get(index)
        pick = framework and _pick(framework, index, gpu, short, several, measured)
        lines.append(f"{_words(gpu)} → {_outcome(gpu, served[index], framework, builds, pick)}")
        picks += [pick] if pick else []
        lines += [f"{gpus[equal]['name']} → left out: equal to GPU {index}" for equal in indices[1:] if framework]
    for like in {pick.like for pick in picks} & measured.keys() - {pick.name for pick in picks}:
        lines.append(f"runs of {like} → left out: they are of {one_line(measured[like][0], 80)}, which is not here now")
    return Choice(tuple(picks), tuple(lines))


def _hidden(found, gpus):
    if found.visible is None or not found.cards or any(is_slice(gpu["uuid"]) for gpu in gpus):
        return []
    hidden = len(found.cards) - len(gpus)
    return [f"{hidden} NVIDIA GPU(s) → left out by CUDA_VISIBLE_DEVICES={found.visible!r}"] if hidden else []


def _served(gpu, builds):
    """Frameworks whose build serves the GPU, by preference."""
    return [build.framework for build in builds if obstacle(build, gpu) is None]


def _frameworks(served):
    """{index: framework, or None where it would have to share an environment that it cannot share}, largest GPU first.

    One framework for all where there is one: then a comparison of GPUs is one of GPUs. Two frameworks' libraries for NVIDIA GPUs
    do not go into one environment (scripts/lock_parts.py), so else the largest GPU decides.
    """
    for framework in ON_NVIDIA:
        if served and all(framework in frameworks for frameworks in served.values()):
            return dict.fromkeys(served, framework)
    first = next(iter(served.values()), [None])[0]
    return {index: first if first in frameworks else None for index, frameworks in served.items()}


def _pick(framework, index, gpu, short, several, measured):
    """The Pick of a GPU. It keeps the name that it has runs under, so that they stay in the experiment when GPUs come and go.

    short: its model; several: whether other GPUs are chosen too; measured: of measured_gpus.
    """
    like = ON_NVIDIA[framework]
    by_model = f"{like}-{re.sub('[^a-z0-9]+', '-', short.lower()).strip('-')}"
    held = [name for name in (like, by_model) if measured.get(name) == (gpu["name"], gpu["memory_bytes"])]
    name = (held or [by_model if several or like in measured else like])[0]
    return Pick(name, like, index, short if several or name == by_model else None)


def _outcome(gpu, served, framework, builds, pick):
    """What becomes of a GPU, in words. served: frameworks that could; framework, pick: the chosen ones or None."""
    reasons = {build.framework: obstacle(build, gpu) for build in builds}
    if not served:
        return "left out: " + (
            "; ".join(filter(None, reasons.values())) or "no framework has a build for GPUs on this processor"
        )
    if framework is None:
        return (
            f"left out: it needs {NAMES[served[0]]}, whose GPU libraries do not fit beside those of the larger GPU. "
            f"Measure it alone: CUDA_VISIBLE_DEVICES={gpu['uuid']}"
        )
    if framework != served[0]:
        why = "one framework for all GPUs that are compared"
    else:
        preferred = list(ON_NVIDIA)[: list(ON_NVIDIA).index(framework)]
        why = "; ".join(reasons.get(other) or f"no {NAMES[other]} for GPUs on this processor" for other in preferred)
    return f"{pick.name} ({NAMES[framework]})" + (f": {why}" if why else "")


def _words(gpu):
    """A GPU in words: name, memory, compute capability, driver, as far as they are known."""
    memory = f"{gpu['memory_bytes'] / 2**30:.0f} GB" if gpu["memory_bytes"] else None
    capability = gpu["compute_capability"] and f"compute capability {gpu['compute_capability']}"
    facts = [memory, capability, gpu["driver"] and f"driver {gpu['driver']}"]
    return f"{gpu['name']} ({', '.join(filter(None, facts))})"


def _names(gpus):
    """A short name for each of distinct GPUs: "RTX 4090"; with its memory where two are called alike."""
    names = [re.sub(r"^(NVIDIA|Tesla|GeForce|Quadro)\s+", "", re.sub(r"^NVIDIA\s+", "", gpu["name"])) for gpu in gpus]
    names = [name.replace(",", " ") for name in names]
    return [
        f"{name} {gpu['memory_bytes'] / 2**30:.0f} GB" if names.count(name) > 1 and gpu["memory_bytes"] else name
        for name, gpu in zip(names, gpus, strict=True)
    ]


def unserved(entries: list[Entry], gpus: list[dict[str, Any]], builds: list[gpu_support.Build]) -> dict[str, str]:
    """{name of a device: why its framework cannot train on its NVIDIA GPU}, for those whose GPU is there.

    gpus: those that may be used; builds: gpu_support.builds for the processor.
    """
    by_framework = {build.framework: build for build in builds}
    found = {}
    for entry in entries:
        if entry["accelerator"] == "cuda" and entry["index"] < len(gpus):
            build = by_framework.get(entry["backend"])
            reason = f"there is no {NAMES[entry['backend']]} for NVIDIA GPUs on this processor"
            if build:
                reason = obstacle(build, gpus[entry["index"]])
            if reason:
                found[entry["name"]] = reason
    return found


def foreseen(entries: list[Entry]) -> tuple[str, ...]:
    """One line per device of an experiment that names its devices: which GPU it is, or why its runs will be unavailable."""
    if all(entry["accelerator"] != "cuda" for entry in entries):
        return ()
    found = inventory.read()
    gpus = found.gpus
    why = unserved(entries, gpus, gpu_support.builds(found.processor, gpu_support.own_list_of_tensorflow()))
    lines = []
    for entry in entries:
        if entry["accelerator"] == "cuda":
            name, index = entry["name"], entry["index"]
            there = f"{_words(gpus[index])} → {name}" if index < len(gpus) else f"{name}: {inventory.unusable(found)}"
            lines.append(f"{there}: unavailable, {why[name]}" if name in why else there)
    return tuple(lines)


def of(found: inventory.Machine, results: str | Path) -> Choice:
    """The Choice for a inventory.Machine, with the builds as they are pinned, or installed. results: folder."""
    builds = gpu_support.builds(found.processor, gpu_support.own_list_of_tensorflow())
    return choose(found, builds, measured_gpus(results) if found.gpus else None)


def here(results: str | Path, decide: bool = True) -> Choice:
    """The Choice on this machine, passed on to the jobs that this process starts.

    results: the experiment's folder. decide: False in a job, which takes over what its start chose, be it that the driver fails
    meanwhile or that the job runs on another machine.
    """
    passed_on = os.environ.get(PASSED_ON)
    if passed_on and not decide:
        return Choice(tuple(Pick(**pick) for pick in json.loads(passed_on)), ())
    choice = of(inventory.read(), results)
    os.environ[PASSED_ON] = json.dumps([dataclasses.asdict(pick) for pick in choice.picks])
    return choice
