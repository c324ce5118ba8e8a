"""Writes the versions in the locks into envs/*.yaml; `make lock` runs it.

The list above the line REST in each file is written by hand: the packages that the rules' scripts import. Below it follows
everything that these depend on, so that an environment made next year is the one that was tested.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
REST = "      # What these need (written by make lock):\n"
PIN = re.compile(
    r'^ +- (?P<name>[\w.-]+)(?P<extra>\[[\w,-]+\])?==(?P<version>[^\s;]+)(; sys_platform == "\w+")?$', re.MULTILINE
)
# Parts of an environment besides base, by what its list contains.
PARTS = {
    "[and-cuda]": ["cuda"],
    "torch==": ["torch"],
    "jax==": ["jax"],
    "[cuda12]": ["jax", "jax-cuda"],
    "wandb==": ["trackers"],
}


def read_lock(path: Path) -> dict[str, tuple[str, set[str], str]]:
    """{package: (version, packages that need it, marker)} of a lock that uv wrote.

    marker: "" for a package for every system, otherwise of the only system that it is for.
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


def pinned(text: str) -> str:
    """The text of an environment file with the locks' versions and with everything that its list depends on."""
    head = text.split(REST)[0]
    lock = read_lock(ROOT / "locks/base.txt")
    for mark, parts in PARTS.items():
        if mark in head:
            for part in parts:
                lock |= read_lock(ROOT / f"locks/{part}.txt")
    head = PIN.sub(lambda pin: f"      - {pin['name']}{pin['extra'] or ''}=={lock[pin['name']][0]}", head)
    listed = {pin["name"] for pin in PIN.finditer(head)}
    needed = set(listed)
    while more := {name for name, (_, users, _) in lock.items() if users & needed} - needed:
        needed |= more
    rest = (f"      - {name}=={lock[name][0]}{lock[name][2]}\n" for name in sorted(needed - listed))
    return head + REST + "".join(rest)


if __name__ == "__main__":
    for path in sorted(ROOT.glob("envs/*.yaml")):
        path.write_text(pinned(path.read_text(encoding="utf-8")), encoding="utf-8")
