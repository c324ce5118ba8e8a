"""A finished sweep that tests share, and what property tests try.

Property tests try some hundred inputs, always the same; with --hypothesis-profile=volume thousands of new ones.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import time

import project
import psutil
import pytest
from hypothesis import HealthCheck, settings
from machine import Machine

settings.register_profile(
    "default", max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("volume", settings.get_profile("default"), max_examples=5000, derandomize=False)
settings.load_profile("default")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished tiny experiment, made once: every process of the tests has a copy."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with open(shared / "finished", "a+") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        made.seek(0)
        folder = made.read()
        if not folder:
            folder = sweep_that_was_killed(tmp_path_factory.mktemp("h0me-of-somebody"))
            made.write(str(folder))
    return shutil.copytree(folder, tmp_path_factory.mktemp("finished") / "trainoff", symlinks=True)


def sweep_that_was_killed(home):
    """A tiny experiment, finished below `home`. Its first sweep is killed, with all it started, while the second run trains."""
    folder = project.make(home / "trainoff")
    # Nothing of this is to be found in the results, and none of it needs the network.
    environment = project.environment() | project.PRIVATE | {"HOME": str(home)}
    sweep = subprocess.Popen(
        [*project.without_network(), *project.command()],
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 600
    while not project.metrics_files(folder) and sweep.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    (first,) = project.metrics_files(folder)
    while not trainings(sweep.pid) and sweep.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    children = trainings(sweep.pid)
    assert children, "the second training never started"
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children), "a training outlived its sweep"
    assert project.metrics_files(folder) == [first]
    before = first.stat().st_mtime_ns

    done = subprocess.run(
        [*project.without_network(), *project.command()], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert first.stat().st_mtime_ns == before, "a finished run was trained again"
    return folder


def trainings(pid):
    """Training processes below the process `pid`."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if "trainoff.measure.child" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished experiment to change; file times are kept."""
    return shutil.copytree(finished, tmp_path / "trainoff", symlinks=True)


@pytest.fixture
def here(tmp_path):
    """This machine, with runs on its CPU."""
    return Machine(tmp_path / "here", ["cpu"])


@pytest.fixture
def there(tmp_path):
    """Another machine, with runs on two GPUs, one of which failed."""
    return Machine(tmp_path / "there", ["cuda", "v100"], failures={2: "crashed"})
