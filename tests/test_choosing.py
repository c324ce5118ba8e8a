"""What `devices: auto` chooses, says, installs and records on each machine of tests/machines.yaml, all emulated."""

import contextlib
import itertools
import json
import os
import re
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import emulation
import psutil
import pytest
from packaging import markers

import check_place
import lock_parts
from trainoff.errors import UserError
from trainoff.experiment import plan
from trainoff.machine import choosing, devices, disks, gpu_support, inventory, numbering, nvidia, sensors
from trainoff.measure.backends import torch as torch_backend
from trainoff.supervise import launch

ROOT = Path(__file__).parents[1]
GB = 2**30
LOCKS = {"tensorflow": "cuda", "torch": "torch", "jax": "jax-cuda"}


@pytest.fixture
def emulated(tmp_path, monkeypatch):
    """Emulates the machine of a row; returns the root of its files."""
    memory = SimpleNamespace(total=16 * GB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    numbers = itertools.count()
    return lambda told: emulation.emulate(told, tmp_path / f"root{next(numbers)}", monkeypatch)


def devices_of(name):
    """The entry of the catalog as an experiment has it."""
    (entry,) = plan.devices({"devices": [name]}, emulation.CATALOG, list)
    return entry


@pytest.mark.parametrize("name", emulation.MACHINES)
def test_auto_takes_what_the_machine_has_and_says_why(name, emulated):
    told = emulation.MACHINES[name]
    choice, entries, parts = emulation.choice_of(emulated(told))
    assert [entry["name"] for entry in entries] == list(told["devices"])
    assert parts == told["installs"]
    for words in told.get("says", []):
        assert any(words in line for line in choice.lines), (words, choice.lines)
    assert all("\n" not in line for line in choice.lines)
    labels = [entry["label"] for entry in entries]
    assert len({*labels}) == len(labels) and not any("," in label for label in labels)


@pytest.mark.parametrize("name", emulation.MACHINES)
def test_a_run_sees_its_own_gpu_alone_and_records_it(name, emulated):
    told = emulation.MACHINES[name]
    _, entries, _ = emulation.choice_of(emulated(told))
    for entry in entries:
        uuid = told["devices"][entry["name"]]
        devices.require(entry["accelerator"], entry["index"])
        assert devices.environment(entry)["CUDA_VISIBLE_DEVICES"] == (uuid or "")
        if entry["name"] in told.get("recorded", {}):
            facts = devices.describe(entry["accelerator"], entry["index"])
            recorded = [facts["name"], round(facts["memory_bytes"] / GB)]
            assert recorded == told["recorded"][entry["name"]]
            if "macos" in told:
                assert facts["cores"] == told["macos"]["cores"]


@pytest.mark.parametrize(
    "name", [name for name, told in emulation.MACHINES.items() if list(told["devices"]) == ["cpu"]]
)
def test_a_device_that_is_not_there_is_unavailable_for_the_reason_that_auto_gives(name, emulated, monkeypatch):
    told = emulation.MACHINES[name]
    root = emulated(told)
    read = inventory.read
    monkeypatch.setattr(inventory, "read", lambda: read(os.environ, root))
    found = inventory.read()
    if found.gpus:  # it is there, and it is the software that does not fit: tests/test_devices.py
        return
    with pytest.raises(devices.DeviceUnavailable) as failure:
        devices.require("cuda", 0)
    sentence = str(failure.value)
    if "fails" in told:
        assert " ".join(told["fails"][1].split()) in sentence
    elif "visible" in told:
        assert f"CUDA_VISIBLE_DEVICES={told['visible']!r} leaves 0 of the {len(found.cards)}" in sentence
    elif set(told.get("pci", [])) <= {"AMD", "Intel"} and "pci" in told:
        assert "does not support yet" in sentence and "driver" not in sentence
    elif found.cards and found.cards[0]["prohibited"]:
        assert sentence.endswith("T400: " + told["says"][0] + ". Change that, or remove the device from `devices:`.")
    elif found.cards:
        assert "A100-SXM4-40GB is set to be divided (MIG), but has no slices yet" in sentence
    elif "pci" in told:
        assert any(words in sentence for words in told["says"])


def test_a_job_takes_what_its_start_chose_though_the_driver_fails_meanwhile(emulated, monkeypatch, tmp_path):
    monkeypatch.setenv(choosing.PASSED_ON, "")
    emulated(emulation.MACHINES["RTX 5090 beside an RTX 4090"])
    chosen = choosing.here(tmp_path)
    monkeypatch.setattr(nvidia, "listing", lambda: nvidia.Listing((), "it fails"))
    assert choosing.here(tmp_path, decide=False).picks == chosen.picks
    assert [pick.name for pick in choosing.here(tmp_path).picks] == ["cpu"], "another start chooses again"


A100, RTX_4090 = "NVIDIA A100-SXM4-40GB", "NVIDIA GeForce RTX 4090"
BESIDE = "RTX 4090 beside a GT 1030 that comes first"


@pytest.mark.parametrize("named", [False, True])
def test_a_gpu_that_drops_out_gives_its_runs_to_no_other(named, emulated, monkeypatch):
    told = emulation.MACHINES[BESIDE]
    root = emulated(told)
    choice, entries, _ = emulation.choice_of(root)
    if named:
        choice, entries = choosing.NONE, [devices_of("cuda") | {"index": index} for index in (0, 1)]
    slow, fast = sorted(
        (entry for entry in entries if entry["accelerator"] == "cuda"), key=lambda entry: entry["index"]
    )
    monkeypatch.setenv(numbering.PASSED_ON, "")
    choosing.number_gpus(entries, choice, jobs_run_here=True)
    (root / "cards").write_text(told["smi"][1] + "\n")
    with pytest.raises(
        devices.DeviceUnavailable, match="GT 1030 .index 0. was there when the sweep started, and is missing"
    ):
        devices.require("cuda", slow["index"])
    assert devices.gpu_uuid(slow) == "" == devices.environment(slow)["CUDA_VISIBLE_DEVICES"]
    assert launch.device_facts({"threads": None} | slow, {})["name"] is None
    devices.require("cuda", fast["index"])
    assert devices.environment(fast)["CUDA_VISIBLE_DEVICES"] == "GPU-rtx4090"
    assert launch.device_facts({"threads": None} | fast, {})["name"] == RTX_4090
    # Jobs on other machines count the GPUs there.
    choosing.number_gpus(entries, choice, jobs_run_here=False)
    assert devices.gpu_uuid(slow) == "GPU-rtx4090"


def test_a_start_says_that_a_named_device_has_runs_on_another_gpu(emulated, tmp_path):
    path = tmp_path / "runs/cuda/model~m/replicate~1/metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"device": {"name": A100, "memory_bytes": 40 * GB}}))
    for row, extra in (("V100", 1), ("A100", 0)):
        emulated(emulation.MACHINES[row])
        _, *others = choosing.foreseen([devices_of("cuda")], tmp_path)
        assert len(others) == extra and all(
            f"cuda: it has runs on {A100}. To keep the GPUs apart" in line for line in others
        )


@pytest.mark.parametrize(
    "row, held, names",
    [
        (BESIDE, {"cuda": (RTX_4090, 24564)}, ["cuda", "cuda-gt-1030"]),
        (BESIDE, {"cuda": ("NVIDIA GeForce GT 1030", 2048)}, ["cuda-rtx-4090", "cuda"]),
        (BESIDE, {"cuda": (A100, 40960)}, ["cuda-rtx-4090", "cuda-gt-1030"]),
        (
            "RTX 3060 with 8 GB and with 12 GB",
            {"cuda": ("NVIDIA GeForce RTX 3060", 8192)},
            ["cuda-rtx-3060-12-gb", "cuda"],
        ),
        ("A100", {"cuda": (A100, 40960)}, ["cuda"]),
        ("A100", {"cuda": (A100, 40536)}, ["cuda"]),  # as an older driver counts it
        ("A100", {"cuda-a100-sxm4-40gb": (A100, 40960)}, ["cuda-a100-sxm4-40gb"]),
        ("A100", {"cuda": (RTX_4090, 24564)}, ["cuda-a100-sxm4-40gb"]),
        ("A100", {"cuda": (RTX_4090, 24564), "cuda-a100-sxm4-40gb": (A100, 81920)}, ["cuda-a100-sxm4-40gb-2"]),
        ("A100", {"cuda-torch": (RTX_4090, 24564)}, ["cuda"]),
    ],
)
def test_a_gpu_keeps_the_name_that_it_has_runs_under_and_no_other_takes_it(row, held, names, emulated, tmp_path):
    root = emulated(emulation.MACHINES[row])
    for name, (gpu, mebibytes) in held.items():
        facts = [{"name": None, "memory_bytes": None}, {"name": gpu, "memory_bytes": mebibytes * 2**20}]
        for place, device in enumerate(facts):  # of a run that found no device, and of one that did
            path = tmp_path / f"results/runs/{name}/model~m/replicate~{place}/metrics.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"device": device}))
    found = inventory.read(os.environ, root)
    choice = choosing.of(found, tmp_path / "results")
    assert [pick.name for pick in choice.picks] == ["cpu", *names]
    labels = [entry["label"] for entry in labelled(choice)]
    assert len({*labels}) == len(labels)
    gone = {name: gpu for name, (gpu, _) in held.items() if name == "cuda" and name not in names}
    assert [line for line in choice.lines if line.startswith("runs of")] == [
        f"runs of {name} → left out: they ran on {gpu}, which this machine does not have now"
        for name, gpu in gone.items()
    ]


@pytest.mark.parametrize("name", emulation.MACHINES)
def test_a_first_gpu_run_is_refused_where_nothing_trains_on_an_nvidia_gpu(name, emulated):
    told = emulation.MACHINES[name]
    found = inventory.read(os.environ, emulated(told))
    trains = any(device.startswith("cuda") for device in told["devices"])
    with contextlib.nullcontext() if trains else pytest.raises(check_place.Refusal) as refusal:
        check_place.require_gpu(found)
    if not trains:
        said = str(refusal.value)
        assert said.startswith("This needs a usable NVIDIA GPU: ") and "\n" not in said and ".." not in said
        assert "macos" in told or all(words in said for words in told.get("says", []))


def labelled(choice):
    return plan.devices({"devices": "auto"}, emulation.CATALOG, lambda: choosing.entries(choice, emulation.CATALOG))


def test_pytorch_s_own_list_is_asked_when_it_starts():
    names = ["sm_75", "sm_80", "sm_90a", "sm_120", "compute_120"]
    for capability, served in [((7, 0), False), ((8, 9), True), ((10, 0), False), ((12, 1), True)]:
        cuda = SimpleNamespace(
            get_arch_list=lambda: names,
            get_device_capability=lambda index, capability=capability: capability,
            get_device_name=lambda index: "a GPU",
        )
        with contextlib.nullcontext() if served else pytest.raises(devices.DeviceUnavailable, match="sm_75, sm_80"):
            torch_backend.require_kernels(SimpleNamespace(cuda=cuda, __version__="2.13.0"))


@pytest.mark.parametrize("names", [["cuda", "cuda-torch"], ["cuda", "cpu-torch"], ["cuda-torch", "cuda-jax"]])
def test_libraries_that_overwrite_each_other_are_refused(names):
    entries = [emulation.CATALOG[name] for name in names]
    with pytest.raises(UserError, match="cannot share one environment. Let conda make one for each"):
        lock_parts.parts_of(entries, nvidia=True)
    assert lock_parts.parts_of(entries, nvidia=False), "without an NVIDIA GPU none of them is installed"


@pytest.mark.parametrize(
    "system, processor, nvidia",
    [
        ("linux", "x86_64", False),
        ("linux", "x86_64", True),
        ("linux", "aarch64", False),
        ("linux", "aarch64", True),
        ("darwin", "arm64", False),
    ],
)
def test_what_make_installs_for_a_device_has_its_framework_on_this_processor(system, processor, nvidia):
    place = {"sys_platform": system, "platform_machine": processor, "python_full_version": "3.11.9"}
    for entry in emulation.CATALOG.values():
        found = set()
        for part in ["base", *lock_parts.parts_of([entry], nvidia, processor)]:
            lock = (ROOT / f"locks/{part}.txt").read_text(encoding="utf-8")
            rows = re.findall(r"^([\w-]+)==\S+(?: ; (.*?))? \\$", lock, re.MULTILINE)
            found |= {name for name, marker in rows if not marker or markers.Marker(marker).evaluate(place)}
        assert entry["backend"] in found, entry["label"]


def test_nothing_is_installed_for_a_gpu_that_a_named_framework_does_not_serve(emulated, capsys):
    emulated(emulation.MACHINES["GTX 980"])
    lock_parts.main([ROOT / "config.yaml"], ["cpu", "cuda", "cuda-torch"])
    said = capsys.readouterr()
    assert said.out.strip() == ""
    assert (
        "cuda: TensorFlow 2.19.1 has no kernels for compute capability 5.2 (6.0 to 9.0). Nothing is installed"
        in said.err
    )
    emulated(emulation.MACHINES["GH200 (ARM)"])
    lock_parts.main([ROOT / "config.yaml"], ["cuda", "cuda-torch"])
    said = capsys.readouterr()
    assert said.out == "torch\n", "TensorFlow's libraries would only overwrite PyTorch's"
    assert "cuda: there is no TensorFlow for NVIDIA GPUs on this processor" in said.err


def test_a_start_says_which_gpu_a_named_device_is_and_what_will_be_unavailable(emulated, tmp_path):
    named = [devices_of(name) for name in ("cpu", "cuda", "cuda-torch")]
    emulated(emulation.MACHINES["V100"])
    tensorflow, torch = choosing.foreseen(named, tmp_path)
    assert tensorflow == "Tesla V100-SXM2-16GB (16 GB, compute capability 7.0, driver 550.54.15) → cuda"
    assert torch.endswith(
        "→ cuda-torch: unavailable, PyTorch 2.13.0 has no kernels for compute capability 7.0 (7.5 to 12.0)"
    )
    emulated(emulation.MACHINES["RTX 3080, driver updated and not restarted"])
    assert all("version mismatch" in line for line in choosing.foreseen(named, tmp_path))
    assert choosing.foreseen(named[:1], tmp_path) == ()


def test_make_names_the_parts_and_says_what_it_found(emulated, monkeypatch, capsys):
    emulated(emulation.MACHINES["two RTX 3090"])
    monkeypatch.setattr(gpu_support, "own_list_of_tensorflow", lambda: None)
    for installed in (False, True):
        monkeypatch.setattr(lock_parts, "is_installed", lambda part, installed=installed: installed)
        lock_parts.main([ROOT / "config.yaml"], [])
        said = capsys.readouterr()
        assert said.out == "cuda\n"
        assert ("→ left out: same model as GPU 0" in said.err) is not installed, "once, before it installs"
    emulated(emulation.MACHINES["RTX 3080, driver updated and not restarted"])
    lock_parts.main([ROOT / "config.yaml"], [])
    assert "version mismatch" in capsys.readouterr().err, "as long as it fails"


@pytest.mark.parametrize("named", ["project", "metadata", "results", "cache"])
def test_a_full_disk_ends_make_in_a_sentence_where_snakemake_would_end_in_a_traceback(named, tmp_path, monkeypatch):
    places = {"project": tmp_path, "metadata": tmp_path / ".snakemake", "results": tmp_path / "results"}
    places["cache"] = tmp_path / "cache/snakemake"
    for folder in places.values():
        folder.mkdir(parents=True, exist_ok=True)
    for name in ("catalog", "schemas"):
        (tmp_path / name).symlink_to(ROOT / name)
    full = places[named]
    monkeypatch.setattr(lock_parts, "ROOT", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(disks, "fault_of", lambda folder: "No space left on device" if folder == full else None)
    with pytest.raises(
        disks.DiskFault, match=f"No space left on device .*{re.escape(str(full))}, for .*{named}.*Free some space"
    ):
        lock_parts.main([ROOT / "config.yaml"], [])


@pytest.mark.parametrize(
    "text, words",
    [
        ("titel: Mine", "titel: unknown key (did you mean title?)"),
        ("devices: cpu", "devices: 'cpu' is not allowed here. Write [cpu]."),
        ("devices:", "devices: null is not allowed here"),
        ("devices: [{name: mine}]", "devices.0.label: missing"),
        ("dataset: cifar10", "dataset: 'cifar10' is not a mapping of keys to values"),
        ("pathvars: results/mine", "pathvars: 'results/mine' is not a mapping of keys to values"),
    ],
)
def test_a_wrong_experiment_ends_make_in_a_sentence_before_anything_is_installed(text, words, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(f"mine.yaml: {words}")):
        lock_parts.main([ROOT / "config.yaml", tmp_path / "mine.yaml"], [])


def test_a_laptop_records_that_it_ran_on_battery(emulated, monkeypatch):
    (told,) = [told for told in emulation.MACHINES.values() if told.get("battery")]
    emulated(told)
    monkeypatch.setattr(sensors, "power_source", lambda: "battery")
    assert devices.describe_host()["power_source"] == "battery"


def test_the_page_shows_the_table_that_is_tested():
    text = emulation.PAGE.read_text(encoding="utf-8")
    assert emulation.table() in text, "run python tests/emulation.py"


def test_the_table_of_builds_is_of_the_pinned_versions():
    for processor in ("x86_64", "aarch64"):
        for build in gpu_support.builds(processor):
            lock = (ROOT / f"locks/{LOCKS[build.framework]}.txt").read_text()
            assert f"\n{build.framework}=={build.version} " in f"\n{lock}", build
            libraries = {int(major) for major in re.findall(r"^nvidia-cudnn-cu(\d+)==", lock, re.MULTILINE)}
            assert libraries == {build.cuda}


def test_tensorflow_s_own_list_is_what_the_table_says():
    (build,) = [build for build in gpu_support.builds("x86_64") if build.framework == "tensorflow"]
    own_list = gpu_support.own_list_of_tensorflow()
    assert own_list in ((), build.capabilities), "() on a processor for which TensorFlow has no build with CUDA"


@pytest.mark.parametrize(
    "capabilities, capability, served",
    [
        (["7.0"], "7.5", True),
        (["7.5"], "7.0", False),
        (["8.0", "9.0+PTX"], "10.0", False),
        (["12.0+PTX"], "12.1", True),
        (["6.0"], "6.1", True),
    ],
)
def test_kernels_serve_later_gpus_of_their_generation(capabilities, capability, served):
    assert gpu_support.serves(capabilities, capability) is served


@pytest.fixture
def silent_tool(tmp_path, monkeypatch):
    """An nvidia-smi that does not answer in time."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(nvidia, "SECONDS", 0.2)


def test_a_tool_that_never_answers_is_a_failure(silent_tool):
    assert "it did not answer within" in nvidia.listing().failure


def test_a_tool_that_not_even_a_kill_ends_is_left_behind(silent_tool, monkeypatch):
    """A process that is stuck in the driver takes no signal; here its kill does nothing."""
    kill, stuck = subprocess.Popen.kill, []
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: stuck.append(process))
    started = time.monotonic()
    failure = nvidia.listing().failure
    seconds = time.monotonic() - started
    (process,) = stuck
    assert process.poll() is None, "still there"
    kill(process)
    assert seconds < 30 and "it did not answer within 0.2 s”. The driver hangs" in failure
    process.wait(30)
