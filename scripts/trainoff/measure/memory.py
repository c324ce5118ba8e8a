"""The words of frameworks, allocators and the system that say that memory ran out."""

import re

_WORDS = re.compile(
    r"std::bad_alloc|out of memory|can(?:not|'t) allocate memory|failed to allocate|RESOURCE_EXHAUSTED|MemoryError"
    # A new thread needs memory for its stack, so a limit on memory may show there first.
    r"|pthread_create failed: Resource temporarily unavailable|can't start new thread"
    # oneDNN, below TensorFlow and torch on CPUs: 1 is dnnl_out_of_memory in its dnnl_status_t, and torch leaves it out.
    # https://uxlfoundation.github.io/oneDNN/enum_dnnl_status_t.html
    r"|Operation received an exception:\s*Status: 1\b|could not create a primitive(?! descriptor)",
    re.IGNORECASE,
)


def words_of_exhaustion(text):
    """The part of `text` that says that memory ran out, or None."""
    found = _WORDS.search(text)
    return found and found.group()
