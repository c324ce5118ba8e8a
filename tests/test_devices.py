"""Exactly the named device, and one sentence where the software does not fit it. Nothing here needs the device."""

import os
import platform

import pytest

from trainoff.machine import choosing, devices, inventory, nvidia
from trainoff.supervise import software

GPUS = [
    {"uuid": "GPU-aa11", "name": "Tesla V100", "memory_bytes": 2**34, "driver": "550.54", "compute_capability": "7.0"},
    {"uuid": "GPU-bb22", "name": "H100", "memory_bytes": 2**36, "driver": "580.10", "compute_capability": "9.0"},
]
BLACKWELL = GPUS[1] | {"name": "RTX 5090", "compute_capability": "12.0"}
MAXWELL = GPUS[0] | {"name": "GTX 980", "compute_capability": "5.2"}
SOFTWARE = {"tensorflow": "2.19.1", "keras": "3.15.1", "torch": "2.13.0", "jax": "0.10.2", "numpy": "2.1.3"}
TORCH_FOR_CUDA_13 = ["filelock", "nvidia-cudnn-cu13==9.20.0.48; platform_system == 'Linux'", "cuda-toolkit==13.0.3.0"]
TORCH_FOR_CUDA_12 = ["filelock", "nvidia-cudnn-cu12==9.1.0.70; platform_system == 'Linux'"]


def device(backend, accelerator, index=0):
    return {"name": "it", "backend": backend, "accelerator": accelerator, "index": index, "threads": None}


def problem(backend, accelerator, gpu=None, precision="float32", requirements=(), own_list=None, **versions):
    installed = {key.replace("_", "-"): value for key, value in (SOFTWARE | versions).items() if value}
    return software.find_problem(
        device(backend, accelerator), precision, installed.get, lambda package: list(requirements), gpu, own_list
    )


@pytest.mark.parametrize(
    "found",
    [
        problem("tensorflow", "cpu"),
        problem("tensorflow", "cpu", tensorflow_metal="1.2.0"),
        problem("tensorflow", "metal", tensorflow_metal="1.2.0"),
        problem("tensorflow", "cuda", GPUS[0], nvidia_cudnn_cu12="9.3.0"),
        problem("torch", "cuda", GPUS[1], requirements=TORCH_FOR_CUDA_13),
        problem("torch", "cuda", GPUS[0], requirements=TORCH_FOR_CUDA_12),
        problem("torch", "metal"),
        problem("jax", "cuda", GPUS[0], jax_cuda12_plugin="0.10.2"),
        problem("tensorflow", "cuda", GPUS[0], precision="mixed_float16"),
        problem("tensorflow", "cuda", GPUS[1], precision="mixed_bfloat16"),
    ],
)
def test_what_goes_together_is_let_through(found):
    assert found is None


@pytest.mark.parametrize(
    "found, words",
    [
        (problem("tensorflow", "cpu", tensorflow="2.20.0", tensorflow_metal="1.2.0"), "breaks TensorFlow 2.20.0"),
        (problem("tensorflow", "metal"), "Install tensorflow-metal==1.2.0"),
        (
            problem("torch", "cuda", GPUS[0], requirements=TORCH_FOR_CUDA_13, torch="2.14.0"),
            "no longer serves Tesla V100",
        ),
        (
            problem("torch", "cuda", GPUS[0], requirements=TORCH_FOR_CUDA_13),
            "has kernels for compute capability 7.5 to 12.0, and Tesla V100 has 7.0. Use the device `cuda` (TensorFlow 2.19.1)",
        ),
        (
            problem("jax", "cuda", GPUS[0], jax_cuda12_plugin="0.10.2", nvidia_cudnn_cu12="9.28.0.42"),
            "Tesla V100 has 7.0. Use the device `cuda` (TensorFlow 2.19.1)",
        ),
        (
            problem("tensorflow", "cuda", BLACKWELL, nvidia_cudnn_cu12="9.3.0", own_list=("6.0", "9.0+PTX")),
            "6.0 to 9.0, and RTX 5090 has 12.0. Use the device `cuda-torch` (PyTorch 2.13.0)",
        ),
        (problem("tensorflow", "cuda", MAXWELL, nvidia_cudnn_cu12="9.3.0"), "No framework here supports it"),
        (problem("tensorflow", "cuda", GPUS[1], own_list=()), "is a CPU build here"),
        (problem("torch", "cuda", GPUS[0], torch=None), "7.5 to 12.0), for Tesla V100. Use the device `cuda`"),
        (problem("jax", "cuda", GPUS[0], jax_cuda13_plugin="0.10.2"), "no longer serves Tesla V100"),
        (
            problem("torch", "cuda", GPUS[1] | {"driver": "550.54"}, requirements=TORCH_FOR_CUDA_13),
            "Install driver 580 or later",
        ),
        (problem("torch", "cuda", GPUS[1], torch="2.13.0+cpu"), "is a CPU build here"),
        (problem("jax", "cuda", GPUS[1]), "is a CPU build here"),
        (problem("torch", "cpu", torch=None), "PyTorch is not installed in this environment"),
        (problem("jax", "cpu", keras=None), "Keras is not installed in this environment"),
        (problem("tensorflow", "cuda", GPUS[0], precision="mixed_bfloat16"), "mixed_bfloat16 needs 8.0"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_sentence_with_the_fix(found, words):
    assert words in found
    assert "\n" not in found


@pytest.mark.parametrize(
    "visible, names",
    [
        (None, ["Tesla V100", "H100"]),
        ("1", ["H100"]),
        ("1,0", ["H100", "Tesla V100"]),
        ("GPU-bb", ["H100"]),
        ("", []),
        ("-1", []),
        ("0,7,1", ["Tesla V100"]),
    ],
)
def test_gpus_are_those_that_the_environment_leaves(visible, names):
    cards = [gpu | {"number": place, "prohibited": False, "slices": None} for place, gpu in enumerate(GPUS)]
    assert [gpu["name"] for gpu in nvidia.allowed(cards, visible)] == names


def test_a_gpu_is_named_to_the_framework_by_what_no_order_can_change(monkeypatch):
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: dict(enumerate(GPUS)))
    assert devices.environment(device("torch", "cuda", 1))["CUDA_VISIBLE_DEVICES"] == "GPU-bb22"
    assert devices.environment(device("torch", "cuda"))["KERAS_TORCH_DEVICE"] == "cuda"
    assert devices.environment(device("jax", "cuda"))["JAX_PLATFORMS"] == "cuda"


def test_a_cpu_run_sees_no_gpu_and_has_the_threads_it_was_given():
    for backend in ("tensorflow", "torch", "jax"):
        found = devices.environment(device(backend, "cpu") | {"threads": 3})
        assert found["CUDA_VISIBLE_DEVICES"] == ""
        assert found["OMP_NUM_THREADS"] == "3"
        assert found["KERAS_BACKEND"] == backend
    assert devices.environment(device("torch", "metal"))["KERAS_TORCH_DEVICE"] == "mps"


def test_nvidia_smi_is_read_as_it_prints(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "GPU-aa11, Tesla V100-SXM2-16GB, 16384, 550.54.15, 7.0"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [pick.name for pick in choosing.of(inventory.read(), tmp_path).picks][:2] == ["cpu", "cuda"]
    assert devices.describe("cuda", 0) == {
        "name": "Tesla V100-SXM2-16GB",
        "memory_bytes": 16384 * 2**20,
        "cores": None,
        "driver": "550.54.15",
        "compute_capability": "7.0",
    }
    with pytest.raises(devices.DeviceUnavailable, match=r"1 usable NVIDIA GPU\(s\), and the device has index 1"):
        devices.require("cuda", 1)


@pytest.mark.parametrize(
    "printed, name",
    [
        (["BIOS Model name: Neoverse-V2 CPU @ 3.1GHz", "  Model name:     Neoverse-V2"], "Neoverse-V2"),
        (["Model name:  Cortex-X925", "  Core(s): 10", "Model name:  Cortex-A725"], "Cortex-X925 + Cortex-A725"),
        (["Model name:  -"], "aarch64"),
    ],
)
def test_an_arm_processor_is_named_though_linux_gives_only_numbers(printed, name, tmp_path, monkeypatch):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n")
    lines = "\n".join(printed)
    (tmp_path / "lscpu").write_text(f'#!/bin/sh\n[ "$LC_ALL" = C ] && echo "{lines}" || echo "Modellname: {name}"\n')
    (tmp_path / "lscpu").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setattr(platform, "processor", lambda: "aarch64")
    assert devices.cpu_name(tmp_path) == name
