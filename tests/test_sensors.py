"""Sensors that fail end no run, and the power supply is the machine's own."""

import platform
from types import SimpleNamespace

import psutil
import pytest

from trainoff.machine import devices, sensors
from trainoff.supervise import conditions, readings

MAINS, NO_MAINS = {"type": "Mains", "online": "1"}, {"type": "Mains", "online": "0"}
USB_C, OPEN_USB_C = {"type": "USB", "online": "2", "scope": "System"}, {"type": "USB", "online": "0"}
MOUSE = {"type": "Battery", "scope": "Device", "status": "Discharging", "online": "1"}


def battery(status):
    return {"type": "Battery", "status": status, "energy_now": "", "energy_full": "500"}


@pytest.mark.parametrize(
    "supplies, source",
    [
        ({}, None),
        ({"hidpp_battery_0": MOUSE}, None),
        ({"hidpp_battery_0": MOUSE | {"status": "Charging"}}, None),
        ({"wacom_battery_0": MOUSE, "wacom_ac_0": MAINS | {"scope": "Device"}}, None),
        ({"ucsi-source-psy-USBC000:001": OPEN_USB_C}, None),
        ({"AC": MAINS}, None),
        ({"ADP1": MAINS, "BAT0": battery("Not charging")}, "mains"),
        ({"ACAD": MAINS, "BAT1": battery("Full")}, "mains"),
        ({"ACAD": MAINS, "BAT1": battery("Discharging")}, "mains"),
        ({"ADP1": NO_MAINS, "ucsi-source-psy": USB_C, "BAT0": battery("Charging")}, "mains"),
        ({"macsmc-battery": battery("Charging")}, "mains"),
        ({"ADP1": NO_MAINS, "BAT0": battery("Discharging"), "BAT1": battery("Unknown")}, "battery"),
        ({"ADP1": NO_MAINS, "hidpp_battery_0": MOUSE | {"status": "Charging"}, "BAT0": battery("Unknown")}, "battery"),
        ({"BAT0": battery("Discharging")}, "battery"),
        ({"BAT0": battery("Unknown")}, None),
    ],
)
def test_the_power_source_is_that_of_the_machine_itself(supplies, source, tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    for supply, facts in supplies.items():
        folder = tmp_path / "sys/class/power_supply" / supply
        folder.mkdir(parents=True)
        for name, text in facts.items():
            (folder / name).write_text(f"{text}\n")
    assert sensors.power_source(tmp_path) == source


@pytest.mark.parametrize(
    "found, source",
    [
        (None, None),
        (SimpleNamespace(power_plugged=None), None),
        (SimpleNamespace(power_plugged=True), "mains"),
        (SimpleNamespace(power_plugged=False), "battery"),
    ],
)
def test_a_mac_s_power_source_is_psutil_s(found, source, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(psutil, "sensors_battery", lambda: found, raising=False)
    assert sensors.power_source() == source


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
@pytest.mark.parametrize("lacking", [False, True])
def test_sensors_that_fail_end_no_run(system, lacking, monkeypatch):
    """As in virtual machines, in containers, and on kernels that lack a folder: psutil raises, or lacks the function."""

    def broken(*_, **__):
        raise OSError(19, "No such device")

    monkeypatch.setattr(platform, "system", lambda: system)
    for name in ("sensors_battery", "sensors_temperatures", "cpu_freq", "swap_memory", "cpu_times", "getloadavg"):
        if lacking:
            monkeypatch.delattr(psutil, name, raising=False)
        else:
            monkeypatch.setattr(psutil, name, broken, raising=False)
    monkeypatch.setattr(conditions.usable, "available_memory_bytes", broken)
    monkeypatch.setattr(conditions.shutil, "which", lambda program: program)
    monkeypatch.setattr(conditions.subprocess, "run", broken)
    found = conditions.describe(None, 0.0, conditions.read(), conditions.read())
    unknown = {"other_cores_during", "memory_available_bytes_after", "swapped_bytes_during", "clock_mhz_after"}
    assert {found[name] for name in unknown | {"temperature_celsius_after"}} == {None} and found["busy"] is False
    assert devices.describe_host()["power_source"] in (None, "mains", "battery")
    assert all(readings._value(readings._host()[name]) is None for name in ("cpu_mhz", "cpu_celsius", "load_cores"))
