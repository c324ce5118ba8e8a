"""Writes into envs/*.yaml the versions that the locks hold; `make lock` runs it.

A file's own list, above the line REST, is written by hand: what the rules' scripts import. Below it stands everything
these need in turn, so that an environment made next year is the one that was tested.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
REST = "      # What these need (written by make lock):\n"
PIN = re.compile(
    r'^ +- (?P<name>[\w.-]+)(?P<extra>\[[\w,-]+\])?==(?P<version>[^\s;]+)(; sys_platform == "\w+")?$', re.MULTILINE
)
# The parts besides base that an environment is made of, by what its own list names.
PARTS = {
    "[and-cuda]": ["cuda"],
    "torch==": ["torch"],
    "jax==": ["jax"],
    "[cuda12]": ["jax", "jax-cuda"],
    "wandb==": ["trackers"],
}


def read_lock(path: Path) -> dict[str, tuple[str, set[str], str]]:
    """{package: (version, packages that need it, marker)} of a lock that uv wrote.

    marker: "" for a package that goes everywhere, else for the one system that it is for.
    """
    lock = {}
    for block in re.split(r"\n(?=\w)", path.read_text(encoding="utf-8")):
        pin = re.match(r"([\w.-]+)==(\S+)(.*)", block)
        if pin:
            name, version, conditions = pin.groups()
            systems = set(re.findall("linux|darwin", conditions))
            marker = f'; sys_platform == "{systems.pop()}"' if len(systems) == 1 else ""
            if name in lock:
                raise ValueError(f"{path}: {name} has two versions; constrain it in pyproject.toml until it has one")
            lock[name] = version, set(re.findall(r"^ +# +(?:via )?([\w.-]+)$", block, re.MULTILINE)), marker
    return lock


def read_pins(path: Path) -> dict[str, str]:
    """{package: version} of an environment file."""
    return {pin["name"]: pin["version"] for pin in PIN.finditer(path.read_text(encoding="utf-8"))}


def pinned(text: str) -> str:
    """The text of an environment file with the locks' versions and with all that its own list needs."""
    lock = read_lock(ROOT / "locks/base.txt")
    for mark, parts in PARTS.items():
        if mark in text.split(REST)[0]:
            for part in parts:
                lock |= read_lock(ROOT / f"locks/{part}.txt")
    own = PIN.sub(lambda pin: f"      - {pin['name']}{pin['extra'] or ''}=={lock[pin['name']][0]}", text.split(REST)[0])
    listed = {pin["name"] for pin in PIN.finditer(own)}
    needed = set(listed)
    while more := {name for name, (_, users, _) in lock.items() if users & needed} - needed:
        needed |= more
    return own + REST + "".join(f"      - {name}=={lock[name][0]}{lock[name][2]}\n" for name in sorted(needed - listed))


if __name__ == "__main__":
    for path in sorted(ROOT.glob("envs/*.yaml")):
        path.write_text(pinned(path.read_text(encoding="utf-8")), encoding="utf-8")
