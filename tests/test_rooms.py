"""The rooms of the package: an import goes from a room to one that it rests on, never back."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "scripts/trainoff"
# {room: the rooms that it may import from}; "" stands for the modules beside the rooms, which all may use.
RESTS_ON = {
    "": set(),
    "machine": {""},
    "experiment": {"", "machine"},
    "measure": {"", "machine"},
    "prepare": {""},
    "workflow": {"", "machine", "experiment"},
    # How a script ends that a rule has started (trainoff.workflow.script) is the same for measured processes.
    "supervise": {"", "machine", "experiment", "measure", "workflow"},
    "analyze": {""},
    "exchange": {"", "workflow"},
    "report": {"", "analyze"},
    "own_script": {"", "machine", "measure", "exchange"},
}


def imported_rooms(path):
    """Rooms that a module imports from, "" for the modules beside the rooms."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "trainoff":
            parts = node.module.split(".")[1:]
            rooms.add(parts[0] if parts and parts[0] in RESTS_ON else "")
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("trainoff") for alias in node.names), f"{path}: from trainoff import …"
    return rooms


def test_every_room_says_what_it_rests_on():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {""} == set(RESTS_ON)


@pytest.mark.parametrize("room", RESTS_ON)
def test_imports_go_one_way(room):
    modules = PACKAGE.glob("*.py") if room == "" else PACKAGE.glob(f"{room}/**/*.py")
    for path in modules:
        wrong = imported_rooms(path) - RESTS_ON[room] - {room}
        assert not wrong, f"{path.relative_to(PACKAGE)} imports from {', '.join(sorted(wrong))}"


def test_no_script_shares_its_name_with_a_module():
    scripts = {path.stem for path in PACKAGE.parent.glob("*.py")}
    assert not scripts & {path.stem for path in PACKAGE.rglob("*.py")}
