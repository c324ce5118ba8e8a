"""How much memory this process has used, and the words of frameworks and the system that say that memory ran out."""

import re
import resource
import sys
from pathlib import Path

_WORDS = re.compile(
    r"std::bad_alloc|out of memory|can(?:not|'t) allocate memory|failed to allocate|RESOURCE_EXHAUSTED|MemoryError"
    # A new thread needs memory for its stack, so a limit on memory may show there first.
    r"|pthread_create failed: Resource temporarily unavailable|can't start new thread"
    # NVIDIA's libraries, whose own buffers no longer fit: https://docs.nvidia.com/cuda/cublas/#cublasstatus-t
    r"|CU(?:BLAS|DNN|SOLVER|RAND|FFT)_(?:STATUS_)?ALLOC(?:ATION)?_FAILED"
    # oneDNN, below TensorFlow and torch on CPUs: 1 is dnnl_out_of_memory in its dnnl_status_t, and torch leaves it out.
    # https://uxlfoundation.github.io/oneDNN/enum_dnnl_status_t.html
    r"|Operation received an exception:\s*Status: 1\b|could not create a primitive(?! descriptor)",
    re.IGNORECASE,
)


def peak_of_process() -> int | None:
    """The most memory, in bytes, that this process has had resident so far; None where the system does not say."""
    # Of this program alone: what getrusage gives on Linux begins with the memory of the process that started it.
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss or None
    return None


def words_of_exhaustion(text: str) -> str | None:
    """The part of `text` that says that memory ran out, or None."""
    found = _WORDS.search(text)
    return found and found.group()
