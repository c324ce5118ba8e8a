"""What of a shell's environment reaches a training: nothing that changes how fast or what it computes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from project import ROOT
from test_train import MOBILENETV2, RUN
from test_train import mobilenetv2 as mobilenetv2  # noqa: PLC0414 (a fixture)
from test_train import run as train_run

from trainoff import axes
from trainoff.errors import UserError
from trainoff.experiment import checks, plan
from trainoff.machine import devices, variables
from trainoff.workflow import validity

# Of each family one that people set, and what says only where something is.
HARMFUL = {
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL": "0",  # other bits of products and convolutions, at two thirds of the speed
    "TF2_BEHAVIOR": "0",
    "PJRT_NPROC": "1",
    "DISABLE_ADDMM_CUDA_LT": "1",
    "NPY_DISABLE_CPU_FEATURES": "AVX2",
    "NVIDIA_TF32_OVERRIDE": "0",
    "CUDA_LAUNCH_BLOCKING": "1",
    "PYTORCH_ENABLE_MPS_FALLBACK": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "float32",
    "OMP_PROC_BIND": "close",
    "KMP_AFFINITY": "compact",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
    "MALLOC_ARENA_MAX": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONSTARTUP": "/nowhere.py",
    "LD_PRELOAD": "",
}
HARMLESS = {
    "HTTPS_PROXY": "http://proxy:3128",
    "SLURM_JOB_ID": "7",
    "LD_LIBRARY_PATH": "/opt/cuda/lib64",
    "CUDA_HOME": "/opt/cuda",
    "TORCH_HOME": "/data/torch",
    "PYTHON": "python3.12",
    "TRAINOFF_ANYTHING": "1",
    "TF_CLI_CONFIG_FILE": "/etc/terraform.rc",
}
CPU = RUN["device"]


def child_environment(tmp_path, given, asked=None):
    """The environment that a child really has."""
    home = variables.make_keras_home(tmp_path / "keras", given)
    closed = variables.closed(os.environ | given, ROOT / "scripts", home, devices.environment(CPU), asked)
    code = (
        "import json, os, sys; ran = getattr(sys.modules.get('sitecustomize'), '__file__', None); "
        "print(json.dumps([dict(os.environ), sys.path, ran]))"
    )
    return json.loads(subprocess.run([sys.executable, "-c", code], env=closed, capture_output=True, check=True).stdout)


def test_what_changes_work_does_not_reach_a_child_and_what_says_where_things_are_does(tmp_path):
    there, _, _ = child_environment(tmp_path, HARMFUL | HARMLESS)
    assert not set(HARMFUL) & set(there)
    assert HARMLESS.items() <= there.items()


def test_names_of_what_is_left_out_without_what_is_set_here():
    assert variables.left_out(HARMFUL | HARMLESS | {"OMP_NUM_THREADS": "1", "KERAS_HOME": "/x"}) == sorted(HARMFUL)
    assert "TF_ENABLE_ONEDNN_OPTS" in variables.sentence(["TF_ENABLE_ONEDNN_OPTS"])
    assert variables.sentence([]) == ""


def test_thread_limits_are_those_of_the_device(tmp_path):
    there, _, _ = child_environment(tmp_path, dict.fromkeys(devices.THREAD_VARIABLES, "77"))
    assert {there[name] for name in devices.THREAD_VARIABLES} == {str(devices.usable_threads())}


def test_a_user_s_path_and_what_python_would_run_there_stay_outside(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/sitecustomize.py").write_text("")
    there, path, ran = child_environment(tmp_path, {"PYTHONPATH": str(tmp_path / "mine")})
    assert str(tmp_path / "mine") not in path
    assert str(ROOT / "scripts") in path
    # Python itself may have one, as Debian's does.
    assert ran != str(tmp_path / "mine/sitecustomize.py")


def test_a_user_s_settings_of_keras_stay_outside_and_downloads_do_not(tmp_path):
    usual = tmp_path / "usual"
    (usual / "models").mkdir(parents=True)
    (usual / "models/weights.h5").write_text("there")
    (usual / "keras.json").write_text('{"floatx": "float16", "image_data_format": "channels_first"}')
    home = variables.make_keras_home(tmp_path / "own", {"KERAS_HOME": str(usual)}, downloads=True)
    assert not (home / "keras.json").exists()
    assert (home / "models/weights.h5").read_text() == "there"
    without = variables.make_keras_home(tmp_path / "other", {"KERAS_HOME": str(usual)})
    assert list(without.iterdir()) == []


def test_weights_are_prepared_under_what_they_are_trained_under(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    before = dict(os.environ)
    with variables.closed_here():
        assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ
        home = Path(os.environ["KERAS_HOME"])
        assert home.is_dir()
    assert dict(os.environ) == before
    assert not home.exists()


def losses(record):
    assert record["status"] == "ok", record["failure"]
    return [window["loss"] for window in record["windows"]]


def test_a_variable_of_the_shell_changes_nothing_and_one_of_the_experiment_is_other_work(
    mobilenetv2, tmp_path, monkeypatch
):
    changes = {"model": "mobilenetv2", "architecture": MOBILENETV2, "deterministic": True, "epochs": 2}
    folders = [tmp_path / name for name in ("plain", "shell", "off", "on")]
    for folder in folders:
        folder.mkdir()
    plain = train_run(mobilenetv2, folders[0], **changes)
    # Which of both is usual depends on the processor; the other one rounds otherwise.
    for value, folder in enumerate(folders[2:]):
        asked = train_run(mobilenetv2, folder, variables={"TF_ENABLE_ONEDNN_OPTS": value}, **changes)
        if losses(asked) != losses(plain):
            break
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", str(value))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/keras.json").write_text('{"epsilon": 0.1, "floatx": "float16"}')
    shell = train_run(mobilenetv2, folders[1], **changes)
    assert losses(shell) == losses(plain)
    assert plain["host"]["variables_left_out"] == variables.left_out(os.environ.keys() - {"TF_ENABLE_ONEDNN_OPTS"})
    assert "TF_ENABLE_ONEDNN_OPTS" in shell["host"]["variables_left_out"]
    # Else the comparison above would show nothing.
    assert losses(asked) != losses(plain)


def config_with(asked):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return config | {"training": config["training"] | {"variables": asked}}


def identity(config):
    run = plan.training({**RUN, "device": CPU}, config, {RUN["model"]: RUN["architecture"]})
    return validity.identity(run, config, {}, "0", {}), run


def test_variables_of_the_experiment_identify_its_runs():
    plain, _ = identity(config_with(None))
    asked, run = identity(
        config_with({"XLA_FLAGS": "--xla_gpu_cuda_data_dir=x", "LD_PRELOAD": "/home/me/libjemalloc.so"})
    )
    assert "variables" not in plain
    # Paths are of this machine.
    assert asked["variables"] == {"XLA_FLAGS": "--xla_gpu_cuda_data_dir=x", "LD_PRELOAD": "libjemalloc.so"}
    assert run["variables"]["LD_PRELOAD"] == "/home/me/libjemalloc.so"
    settings = [validity.words_of_settings(validity.settings_of({"identity": one})) for one in (plain, asked)]
    assert settings[0] != settings[1]
    assert "libjemalloc.so" in settings[1]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"OMP_NUM_THREADS": 2}, "trainoff sets it for every training"),
        ({"PATH": "/x"}, "not one of those that change"),
        ({"tf_x": "1"}, "training.variables"),
        ({}, "training.variables"),
    ],
)
def test_variables_that_an_experiment_cannot_set(asked, words):
    schema = axes.into_experiment_schema(yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text()))
    models = yaml.safe_load((ROOT / "catalog/models.yaml").read_text())
    with pytest.raises(UserError, match=words):
        checks.check(config_with(asked), schema, models, "config.yaml")
    checks.check(config_with({"TF_ENABLE_ONEDNN_OPTS": 0}), schema, models, "config.yaml")
