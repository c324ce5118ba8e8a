"""The environment of a training process: variables that change its speed or results are not passed on to it.

They would come from a shell's startup file or a cluster's module and leave no trace. An experiment sets the variables that a
training needs (training.variables), and they identify its runs. Variables that only locate things are passed on: paths of
programs and libraries, proxies, SLURM's variables.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

# Prefixes of names, by the software that reads them.
FAMILIES = {
    "TensorFlow": ("TF_", "TF2_", "TENSORFLOW_", "AUTOGRAPH_"),
    "XLA": ("XLA_", "NPROC", "PJRT_NPROC"),
    "JAX": ("JAX_",),
    "PyTorch": (
        "PYTORCH_",
        "TORCH_",
        "TORCHDYNAMO_",
        "TORCHINDUCTOR_",
        "ATEN_",
        "DISABLE_ADDMM_CUDA_LT",
        "LRU_CACHE_CAPACITY",
        "TRITON_",
    ),
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
        "NPY_",
        "NUMPY_",
        "TBB_",
    ),
    "CUDA": ("CUDA_", "CUBLAS_", "CUBLASLT_", "CUDNN_", "NCCL_", "NVIDIA_TF32_OVERRIDE"),
    "Apple's Metal": ("MTL_", "METAL_"),
    "memory": ("MALLOC_", "MIMALLOC_", "TCMALLOC_", "GLIBC_TUNABLES"),
    "the loader": ("LD_PRELOAD", "LD_AUDIT", "LD_BIND_", "DYLD_INSERT_LIBRARIES"),
    "Python": ("PYTHON",),
}
# Members of these families that only locate files or affect the output.
PASSED_ON = {
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_ROOT",
    "CUDA_DIR",
    "CUDA_CACHE_PATH",
    "CUDA_MPS_PIPE_DIRECTORY",
    "CUDA_MPS_LOG_DIRECTORY",
    "TORCH_HOME",
    "PYTHON",  # read by make: the Python that creates .venv
    "PYTHONHOME",
    "PYTHONNOUSERSITE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONUTF8",
    "PYTHONIOENCODING",
    "PYTHONUNBUFFERED",
}
# Terraform's variables, which have TensorFlow's prefix.
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
# Set for every training process, or by Snakemake for its jobs. The user's values are replaced without a message.
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
# Folders with downloads in Keras' home, which a training may reuse.
KERAS_DOWNLOADS = ("models", "datasets")


def changes_work(name: str) -> bool:
    """Whether a variable changes a training's speed or results, judged by its name."""
    return bool(_CHANGES_WORK.match(name)) and name not in PASSED_ON and not name.startswith(OTHERS)


def left_out(environment: Iterable[str]) -> list[str]:
    """The names of the variables in `environment` that are neither passed on nor replaced, sorted."""
    return sorted(name for name in environment if changes_work(name) and name not in SET_HERE)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without the variables that change a training's speed or results."""
    return {name: value for name, value in environment.items() if not changes_work(name)}


def closed(
    environment: Mapping[str, str],
    python_path: str | Path,
    keras_home: str | Path,
    of_device: dict[str, str],
    asked: dict[str, Any] | None = None,
) -> dict[str, str]:
    """The environment of a training process.

    environment: of this process. python_path: the folder of our modules, the only one in PYTHONPATH. keras_home: a folder made
    for this process (see make_keras_home). of_device: from devices.environment. asked: training.variables of the experiment.
    """
    paths = {"PYTHONPATH": str(python_path), "KERAS_HOME": str(keras_home)}
    return passed_on(environment) | {name: str(value) for name, value in (asked or {}).items()} | paths | of_device


def make_keras_home(folder: str | Path, environment: Mapping[str, str], downloads: bool = False) -> Path:
    """Makes a home for Keras at `folder` without the user's keras.json, and returns it.

    environment: of this process, which may name the user's Keras home. downloads: whether to link the user's downloads, so that
    their own model does not download its weights for every run.
    """
    folder, usual = Path(folder), Path(environment.get("KERAS_HOME") or "~/.keras").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for name in KERAS_DOWNLOADS if downloads else ():
        try:
            (usual / name).mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to((usual / name).resolve())
        except OSError:  # the user's home cannot be written to: Keras makes the folder here
            continue
    return folder


@contextlib.contextmanager
def closed_here(downloads: bool = False) -> Iterator[None]:
    """Closes the environment of this process, which has not imported Keras yet, until the block ends.

    Weights are then prepared in the environment in which they are trained. downloads: see make_keras_home.
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
    """A sentence on the variables that are not passed on; "" where there are none."""
    if not names:
        return ""
    return (
        f"Not passed on to trainings: {', '.join(names)}. To train with one of them, set it in the experiment: "
        "training: {variables: {NAME: value}}."
    )
