"""The environment of a process that trains: variables that change how fast or what it computes are not passed on to it.

They would come from a shell's start file or a module of a cluster and leave no trace. What a training is to have of them stands
in the experiment (training.variables), where it identifies its runs. What only says where things are passes: paths of programs
and libraries, proxies, SLURM's variables.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

# Beginnings of names, by what reads them.
FAMILIES = {
    "TensorFlow": ("TF_", "AUTOGRAPH_"),
    "XLA": ("XLA_", "NPROC"),
    "JAX": ("JAX_",),
    "PyTorch": ("PYTORCH_", "TORCH_", "TORCHINDUCTOR_", "ATEN_", "LRU_CACHE_CAPACITY", "TRITON_"),
    "Keras": ("KERAS_",),
    "OpenMP": ("OMP_", "GOMP_", "KMP_", "LIBOMP_"),
    "mathematics on processors": (
        "MKL_",
        "DNNL_",
        "ONEDNN_",
        "OPENBLAS_",
        "GOTO_",
        "BLIS_",
        "VECLIB_",
        "NUMEXPR_",
        "TBB_",
    ),
    "CUDA": ("CUDA_", "CUBLAS_", "CUBLASLT_", "CUDNN_", "NCCL_", "NVIDIA_TF32_OVERRIDE"),
    "Apple's Metal": ("MTL_", "METAL_"),
    "memory": ("MALLOC_", "MIMALLOC_", "TCMALLOC_", "GLIBC_TUNABLES"),
    "the loader": ("LD_PRELOAD", "LD_AUDIT", "LD_BIND_", "DYLD_INSERT_LIBRARIES"),
    "Python": ("PYTHON",),
}
# Members of these families that say where something is, or what a person sees.
PASSED_ON = {
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_ROOT",
    "CUDA_DIR",
    "CUDA_CACHE_PATH",
    "CUDA_MPS_PIPE_DIRECTORY",
    "CUDA_MPS_LOG_DIRECTORY",
    "TORCH_HOME",
    "PYTHON",  # of make: which Python makes .venv
    "PYTHONHOME",
    "PYTHONNOUSERSITE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONUTF8",
    "PYTHONIOENCODING",
    "PYTHONUNBUFFERED",
}
# Terraform's, which begin as TensorFlow's do.
OTHERS = (
    "TF_CLI_",
    "TF_VAR_",
    "TF_LOG",
    "TF_DATA_DIR",
    "TF_WORKSPACE",
    "TF_IN_AUTOMATION",
    "TF_INPUT",
    "TF_PLUGIN_CACHE_DIR",
)
# Set for every process that trains, or by Snakemake for its jobs. A user's own values are replaced without a message.
SET_HERE = {
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "JAX_PLATFORMS",
    "KERAS_BACKEND",
    "KERAS_HOME",
    "KERAS_TORCH_DEVICE",
    "NPROC",
    "PYTHONPATH",
    "TF_CPP_MIN_LOG_LEVEL",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    *(f"{library}_NUM_THREADS" for library in ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")),
    "VECLIB_MAXIMUM_THREADS",
}
_CHANGES_WORK = re.compile("|".join(beginning for family in FAMILIES.values() for beginning in family))
# What Keras keeps in its home besides its settings: downloads, which a training may use again.
KERAS_DOWNLOADS = ("models", "datasets")


def changes_work(name: str) -> bool:
    """Whether a variable changes how fast or what a training computes, as far as its name tells."""
    return bool(_CHANGES_WORK.match(name)) and name not in PASSED_ON and not name.startswith(OTHERS)


def left_out(environment: Iterable[str]) -> list[str]:
    """Names of the variables of `environment` that are neither passed on nor replaced, sorted."""
    return sorted(name for name in environment if changes_work(name) and name not in SET_HERE)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without variables that change work."""
    return {name: value for name, value in environment.items() if not changes_work(name)}


def closed(
    environment: Mapping[str, str],
    python_path: str | Path,
    keras_home: str | Path,
    of_device: dict[str, str],
    asked: dict[str, Any] | None = None,
) -> dict[str, str]:
    """The environment of a process that trains.

    environment: of this process. python_path: folder of our modules, all that PYTHONPATH holds. keras_home: folder made for this
    process (see make_keras_home). of_device: as devices.environment gives it. asked: training.variables of the experiment.
    """
    own = {"PYTHONPATH": str(python_path), "KERAS_HOME": str(keras_home)}
    return passed_on(environment) | {name: str(value) for name, value in (asked or {}).items()} | own | of_device


def make_keras_home(folder: str | Path, environment: Mapping[str, str], downloads: bool = False) -> Path:
    """Makes a home for Keras at `folder` without anybody's keras.json, and returns it.

    environment: of this process, which may name a home of the user's. downloads: whether what Keras downloads lies where it would
    have lain, so that a model of the user's own need not fetch its weights for every run.
    """
    folder, usual = Path(folder), Path(environment.get("KERAS_HOME") or "~/.keras").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for name in KERAS_DOWNLOADS if downloads else ():
        try:
            (usual / name).mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to((usual / name).resolve())
        except OSError:  # a home that cannot be written to: Keras makes the folder here
            continue
    return folder


@contextlib.contextmanager
def closed_here(downloads: bool = False) -> Iterator[None]:
    """Closes the environment of this process, which has not imported Keras yet, until the block ends.

    Weights are then prepared under what they are trained under. downloads: as make_keras_home takes it.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="trainoff-") as folder:
        home = make_keras_home(folder, before, downloads)
        try:
            for name in left_out(before):
                del os.environ[name]
            os.environ["KERAS_HOME"] = str(home)
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def sentence(names: list[str]) -> str:
    """What to tell of variables that are not passed on; "" where there are none."""
    if not names:
        return ""
    return (
        f"Not passed on to trainings: {', '.join(names)}. To train with one of them, set it in the experiment: "
        "training: {variables: {NAME: value}}."
    )
