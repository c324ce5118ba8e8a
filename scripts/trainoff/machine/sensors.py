"""Readings of a machine that may fail, and how its power supply is read. No reading is a reason to end or to lose a run."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

Value = TypeVar("Value")


def try_read(read: Callable[[], Value | None]) -> Value | None:
    """What `read` returns; None where it fails.

    psutil, drivers and system libraries raise errors of many kinds, and psutil lacks functions on some machines.
    """
    try:
        return read()
    except Exception:
        return None


def power_source(root: str | Path = "/") -> str | None:
    """ "mains" or "battery"; None where it is unknown or the machine has no battery of its own, as desktops and servers."""
    if platform.system() == "Linux":
        return try_read(lambda: _from_supplies(Path(root, "sys/class/power_supply")))
    return try_read(_from_psutil)


def _from_supplies(folder):
    """From the supplies that Linux lists (https://docs.kernel.org/power/power_supply_class.html), judged as UPower does.

    A supply of scope "Device" powers a mouse or a tablet, not the machine.
    """
    own = [supply for supply in folder.iterdir() if _text(supply / "scope") != "Device"]
    kinds = {supply: _text(supply / "type") or "" for supply in own}
    batteries = [supply for supply, kind in kinds.items() if kind == "Battery"]
    if not batteries:
        return None
    lines = [_text(supply / "online") for supply, kind in kinds.items() if kind.startswith(("Mains", "USB"))]
    # 1, or 2 for USB power of a programmable voltage.
    if any(online in ("1", "2") for online in lines):
        return "mains"
    states = {_text(battery / "status") for battery in batteries}
    if "Discharging" in states:
        return "battery"
    if states & {"Charging", "Full", "Not charging"}:
        return "mains"
    return "battery" if "0" in lines else None


def _from_psutil():
    battery = psutil.sensors_battery()
    if battery is None or battery.power_plugged is None:
        return None
    return "mains" if battery.power_plugged else "battery"


def _text(path):
    """The content of a file of the system; None where it is missing or cannot be read."""
    return try_read(lambda: path.read_text(encoding="ascii", errors="replace").strip())
