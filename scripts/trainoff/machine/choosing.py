"""What `devices: auto` stands for: a choice, made from a machine and the builds of the frameworks, both plain values.

The choice is the CPU and one device per distinct GPU, each with a framework whose pinned build supports it. The CPU trains with
TensorFlow, the reference, and also with the GPUs' framework if that is another one, so that the two compare as devices. Only the
standard library is used, since `make` calls this before anything is installed.
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
from trainoff.machine import gpu_support, inventory, numbering, nvidia
from trainoff.machine.gpu_support import NAMES, obstacle
from trainoff.machine.nvidia import is_slice, numbers
from trainoff.shapes import Entry

# {framework: its device for NVIDIA GPUs in catalog/devices.yaml}, in order of preference.
ON_NVIDIA = {"tensorflow": "cuda", "torch": "cuda-torch", "jax": "cuda-jax"}
ON_CPU = {"tensorflow": "cpu", "torch": "cpu-torch", "jax": "cpu-jax"}
# The maximum number of records to search for one that names its GPU: records of runs without a device name none.
MAX_RECORDS_SEARCHED = 20
# Environment variable with the picks of the start that a job works for.
PASSED_ON = "TRAINOFF_AUTO"
# The memory of one model differs by up to 7 % between drivers and with error correction (RTX A6000: 49,140 and 46,068 MiB); two
# models of one name differ by more (10 and 12 GB).
MEMORY_TOLERANCE = 0.1
# From this compute capability on (Thor), NVIDIA's Jetson runs the same builds as Arm servers; Orin (8.7) does not.
# https://developer.nvidia.com/blog/whats-new-in-cuda-toolkit-13-0-for-jetson-thor-unified-arm-ecosystem-and-more, read 2026-11-29
JETSON_AS_SERVERS = (11, 0)
# PyTorch 2.13 needs this version.
MACOS_FOR_TORCH = (14,)


@dataclass(frozen=True)
class Pick:
    """A chosen device. name: in the experiment; like: its entry in catalog/devices.yaml; index: of its GPU among the usable ones;
    gpu_name: the GPU's name in its label, None to keep the catalog's label."""

    name: str
    like: str
    index: int = 0
    gpu_name: str | None = None


@dataclass(frozen=True)
class Choice:
    """picks: the devices that train. lines: for the user, one per device of the machine. gpus: its usable NVIDIA GPUs."""

    picks: tuple
    lines: tuple
    gpus: tuple = ()


NONE = Choice((), ())


def choose(
    machine: inventory.Machine,
    builds: list[gpu_support.Build],
    measured: dict[str, tuple[str, int | None]] | None = None,
) -> Choice:
    """The Choice for an inventory.Machine. builds: gpu_support.builds for its processor. measured: from measured_gpus."""
    lines = ["CPU → cpu (TensorFlow)"]
    picks = [Pick("cpu", "cpu")]
    for part in (_apple(machine), _nvidia(machine, builds, measured or {})):
        picks += part.picks
        lines += part.lines
    also = next((framework for framework in ("torch", "jax") if picks[-1].like == ON_NVIDIA[framework]), None)
    if also:
        # First, so that it is the baseline of the turns.
        picks.insert(0, Pick(ON_CPU[also], ON_CPU[also]))
        lines.insert(
            0, f"CPU → {ON_CPU[also]} ({NAMES[also]}): the GPU's framework, so that the two compare as devices"
        )
    if machine.failure:
        lines.append(f"NVIDIA GPU → left out: {machine.failure}")
    if machine.remark:
        lines.append(machine.remark)
    lines += [
        f"{vendor} graphics → left out: not supported yet ({'ROCm' if vendor == 'AMD' else 'oneAPI'})"
        for vendor in machine.others
    ]
    return Choice(tuple(picks), tuple(lines), tuple(machine.gpus))


def entries(choice: Choice, catalog: dict[str, dict[str, Any]]) -> list[str | Entry]:
    """The picks as `devices:` of an experiment: names of the catalog, or whole entries. catalog: entries by name."""
    return [_entry(pick, catalog) for pick in choice.picks]


def _entry(pick, catalog):
    if pick == Pick(pick.like, pick.like):
        return pick.name
    entry = {"name": pick.name, **catalog[pick.like], "index": pick.index}
    if pick.gpu_name:
        entry["label"] = entry["label"].replace("NVIDIA GPU", pick.gpu_name)
    return entry


def _apple(machine):
    if not machine.is_apple_silicon:
        return NONE
    if numbers(machine.version) < MACOS_FOR_TORCH:
        return Choice(
            (Pick("metal", "metal"),),
            (
                "Apple GPU → metal (TensorFlow)",
                f"Apple GPU → mps-torch (PyTorch) left out: it needs macOS 14 or later, and this is macOS {machine.version}",
            ),
        )
    return Choice(
        (Pick("metal", "metal"), Pick("mps-torch", "mps-torch")),
        ("Apple GPU → metal (TensorFlow)", "Apple GPU → mps-torch (PyTorch)"),
    )


def measured_gpus(results: str | Path) -> dict[str, tuple[str, int | None]]:
    """{device: (name, memory in bytes) of its GPU} for the runs on NVIDIA GPUs in the folder `results`."""
    first = {folder.name: next(_gpus_of_runs(folder), None) for folder in Path(results, "runs").glob("cuda*")}
    return {device: gpu for device, gpu in first.items() if gpu}


def _gpus_of_runs(folder):
    """Yields (name, memory in bytes) of the GPU for some records of a device, whose folder is given."""
    for path in itertools.islice(folder.rglob("metrics.json"), MAX_RECORDS_SEARCHED):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            facts = json.loads(path.read_text(encoding="utf-8"))["device"]
            if facts["name"]:
                yield facts["name"], facts["memory_bytes"]


def _nvidia(machine, builds, measured):
    gpus = machine.gpus
    lines = _hidden(machine, gpus)
    if machine.jetson and not (gpus and all(_capability(gpu) >= JETSON_AS_SERVERS for gpu in gpus)):
        return Choice(
            (), (*lines, "NVIDIA Jetson → left out: it needs NVIDIA's own builds of the frameworks (JetPack)")
        )
    distinct = []
    for index, gpu in enumerate(gpus):
        equal = next((indices for indices in distinct if _is_same_model(_model(gpus[indices[0]]), _model(gpu))), None)
        if equal is None:
            distinct.append(equal := [])
        equal.append(index)
    lines += [
        f"{card['name']} → left out: MIG is enabled, but there are no MIG slices yet"
        for card in machine.cards
        if card["slices"] == []
    ]
    lines += [f"{card['name']} → left out: {inventory.PROHIBITED}" for card in machine.cards if card["prohibited"]]
    # Indices of equal GPUs, the largest GPU first.
    groups = sorted(distinct, key=lambda indices: -(gpus[indices[0]]["memory_bytes"] or 0))
    served = {indices[0]: _served(gpus[indices[0]], builds) for indices in groups}
    chosen = _frameworks({index: frameworks for index, frameworks in served.items() if frameworks})
    several = sum(framework is not None for framework in chosen.values()) > 1
    shorts = _names([gpus[indices[0]] for indices in groups])
    picks = []
    for indices, short in zip(groups, shorts, strict=True):
        index, gpu = indices[0], gpus[indices[0]]
        framework = chosen.get(index)
        pick = framework and _pick(framework, index, gpu, short, several, measured, {pick.name for pick in picks})
        lines.append(f"{_words(gpu)} → {_outcome(gpu, served[index], framework, builds, pick)}")
        picks += [pick] if pick else []
        lines += [f"{gpus[equal]['name']} → left out: same model as GPU {index}" for equal in indices[1:] if framework]
    for like in {pick.like for pick in picks} & measured.keys() - {pick.name for pick in picks}:
        lines.append(
            f"runs of {like} → left out: they ran on {one_line(measured[like][0], 80)}, which this machine does not have now"
        )
    return Choice(tuple(picks), tuple(lines))


def _capability(gpu):
    """The compute capability as numbers; () where it is unknown."""
    return numbers(gpu["compute_capability"] or "")


def _model(gpu):
    """(name, memory in bytes) of a GPU."""
    return gpu["name"], gpu["memory_bytes"]


def _is_same_model(one, other):
    """Whether two GPUs, as from _model, are of one model."""
    (name, memory), (other_name, other_memory) = one, other
    if None in (memory, other_memory):
        return one == other
    return name == other_name and abs(memory - other_memory) <= MEMORY_TOLERANCE * max(memory, other_memory)


def _hidden(machine, gpus):
    if machine.visible is None or not machine.cards or any(is_slice(gpu["uuid"]) for gpu in gpus):
        return []
    hidden = sum(bool(nvidia.allowed([card], None)) for card in machine.cards) - len(gpus)
    return [f"{hidden} NVIDIA GPU(s) → left out by CUDA_VISIBLE_DEVICES={machine.visible!r}"] if hidden else []


def _served(gpu, builds):
    """Frameworks whose build supports the GPU, in order of preference."""
    return [build.framework for build in builds if obstacle(build, gpu) is None]


def _frameworks(served):
    """{index: framework, or None where none fits into the same environment}, largest GPU first.

    One framework for all GPUs if possible: then only the GPUs differ. Two frameworks' libraries for NVIDIA GPUs do not fit into
    one environment (scripts/lock_parts.py), so otherwise the largest GPU decides.
    """
    for framework in ON_NVIDIA:
        if served and all(framework in frameworks for frameworks in served.values()):
            return dict.fromkeys(served, framework)
    first = next(iter(served.values()), [None])[0]
    return {index: first if first in frameworks else None for index, frameworks in served.items()}


def _pick(framework, index, gpu, short, several, measured, taken):
    """The Pick of a GPU. It keeps the name of its earlier runs, so that they stay in the experiment when GPUs come and go.

    short: its model; several: whether other GPUs are chosen too; measured: from measured_gpus; taken: names of other picks.
    """
    like = ON_NVIDIA[framework]
    by_model = f"{like}-{re.sub('[^a-z0-9]+', '-', short.lower()).strip('-')}"
    # Models can differ in other characters only, as the slices 1g.24gb+me and 1g.24gb-me.
    names = [like, by_model, *(f"{by_model}-{number}" for number in range(2, len(measured) + len(taken) + 3))]
    names = [name for name in names if name not in taken]
    earlier = [name for name in names if name in measured and _is_same_model(measured[name], _model(gpu))]
    new = [name for name in names if name not in measured and (name != like or not several)]
    name = (earlier or new)[0]
    return Pick(name, like, index, None if name == like and not several else short)


def _outcome(gpu, served, framework, builds, pick):
    """What happens with a GPU, in words. served: frameworks that support it; framework, pick: the chosen ones or None."""
    reasons = {build.framework: obstacle(build, gpu) for build in builds}
    if not served:
        return "left out: " + (
            "; ".join(filter(None, reasons.values())) or "no framework has a build for GPUs on this processor"
        )
    if framework is None:
        return (
            f"left out: it needs {NAMES[served[0]]}, whose GPU libraries conflict with those for the larger GPU. "
            f"Measure it alone: CUDA_VISIBLE_DEVICES={gpu['uuid']}"
        )
    if framework != served[0]:
        why = "one framework for all GPUs"
    else:
        preferred = list(ON_NVIDIA)[: list(ON_NVIDIA).index(framework)]
        why = "; ".join(reasons.get(other) or f"no {NAMES[other]} for GPUs on this processor" for other in preferred)
    return f"{pick.name} ({NAMES[framework]})" + (f": {why}" if why else "")


def _words(gpu):
    """A GPU in words: name, memory, compute capability and driver, where known."""
    memory = f"{gpu['memory_bytes'] / 2**30:.0f} GB" if gpu["memory_bytes"] else None
    capability = gpu["compute_capability"] and f"compute capability {gpu['compute_capability']}"
    facts = [memory, capability, gpu["driver"] and f"driver {gpu['driver']}"]
    return f"{gpu['name']} ({', '.join(filter(None, facts))})"


def _names(gpus):
    """A short name for each of several distinct GPUs: "RTX 4090", with its memory where two names are equal."""
    names = [re.sub(r"^(NVIDIA|Tesla|GeForce|Quadro)\s+", "", re.sub(r"^NVIDIA\s+", "", gpu["name"])) for gpu in gpus]
    names = [name.replace(",", " ") for name in names]
    return [
        f"{name} {gpu['memory_bytes'] / 2**30:.0f} GB" if names.count(name) > 1 and gpu["memory_bytes"] else name
        for name, gpu in zip(names, gpus, strict=True)
    ]


def unserved(entries: list[Entry], gpus: list[dict[str, Any]], builds: list[gpu_support.Build]) -> dict[str, str]:
    """{name of a device: why its framework cannot train on its NVIDIA GPU}, for devices whose GPU is present.

    gpus: the usable ones; builds: gpu_support.builds for the processor.
    """
    by_framework = {build.framework: build for build in builds}
    reasons = {}
    for entry in entries:
        if entry["accelerator"] == "cuda" and entry["index"] < len(gpus):
            build = by_framework.get(entry["backend"])
            reason = f"there is no {NAMES[entry['backend']]} for NVIDIA GPUs on this processor"
            if build:
                reason = obstacle(build, gpus[entry["index"]])
            if reason:
                reasons[entry["name"]] = reason
    return reasons


def foreseen(entries: list[Entry], results: str | Path) -> tuple[str, ...]:
    """One line per NVIDIA device of an experiment that names its devices: its GPU, or why its runs will be unavailable.

    Another line follows if the device has runs on another GPU in the folder `results`.
    """
    if all(entry["accelerator"] != "cuda" for entry in entries):
        return ()
    machine = inventory.read()
    gpus = machine.gpus
    why = unserved(entries, gpus, gpu_support.builds(machine.processor, gpu_support.own_list_of_tensorflow()))
    lines = []
    for entry in entries:
        if entry["accelerator"] == "cuda":
            name, index = entry["name"], entry["index"]
            line = f"{_words(gpus[index])} → {name}" if index < len(gpus) else f"{name}: {inventory.unusable(machine)}"
            lines.append(f"{line}: unavailable, {why[name]}" if name in why else line)
            if index < len(gpus):
                lines += _mixed(name, gpus[index], Path(results, "runs", name))
    return tuple(lines)


def _mixed(name, gpu, folder):
    """[a line on runs of a device on other GPUs than `gpu`], if there are some. folder: of its runs."""
    others = sorted({one_line(other, 80) for other, _ in _gpus_of_runs(folder)} - {one_line(gpu["name"], 80)})
    if not others:
        return []
    return [
        f"{name}: it has runs on {' and '.join(others)}. To keep the GPUs apart, give this one an entry with another name"
    ]


def number_gpus(entries: list[Entry], choice: Choice, jobs_run_here: bool) -> None:
    """Makes each index stand for the same GPU in all jobs of this start.

    entries: the devices of the experiment. choice: of `devices: auto`, else NONE. jobs_run_here: False if they run on other
    machines, which have other GPUs.
    """
    uses_gpus = jobs_run_here and any(entry["accelerator"] == "cuda" for entry in entries)
    numbering.pass_on((choice.gpus or inventory.read().gpus) if uses_gpus else ())


def of(machine: inventory.Machine, results: str | Path) -> Choice:
    """The Choice for an inventory.Machine, with the pinned or installed builds. results: folder."""
    builds = gpu_support.builds(machine.processor, gpu_support.own_list_of_tensorflow())
    return choose(machine, builds, measured_gpus(results) if machine.gpus else None)


def here(results: str | Path, decide: bool = True) -> Choice:
    """The Choice on this machine, passed on to the jobs that this process starts.

    results: the experiment's folder. decide: False in a job, which takes over the choice of its start, even if the driver fails
    meanwhile or the job runs on another machine.
    """
    passed_on = os.environ.get(PASSED_ON)
    if passed_on and not decide:
        return Choice(tuple(Pick(**pick) for pick in json.loads(passed_on)), ())
    choice = of(inventory.read(), results)
    os.environ[PASSED_ON] = json.dumps([dataclasses.asdict(pick) for pick in choice.picks])
    return choice
