"""Where the project lies: installing and running under an awkward path, and one sentence where it cannot work."""

import contextlib
import ensurepip
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pip
import project
import pytest

import check_place

ROOT = Path(__file__).parents[1]
AWKWARD = "My Drive, Bob's – OneDrive"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def place(tmp_path):
    """What installing needs of the project, under an awkward path, with locks of pip alone, which Python brings along."""
    folder = tmp_path / AWKWARD / "trainoff"
    for name in ("locks", "scripts", "catalog"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    # Debian keeps it elsewhere.
    wheels = ensurepip._WHEEL_PKG_DIR or Path(ensurepip.__file__).parent / "_bundled"
    (wheel,) = Path(wheels).glob("pip-*.whl")
    lock = f"pip=={wheel.name.split('-')[1]} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    for name in ("build", "base"):
        (folder / f"locks/{name}.txt").write_text(lock)
    return folder, os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent)}


# As after an update of the driver.
BROKEN = "#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'\nexit 18\n"


def test_a_path_with_spaces_and_a_python_without_ensurepip_are_no_obstacle(place, tmp_path):
    folder, environment = place
    python = tmp_path / "notebook/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "notebook"], check=True)
    (packages,) = (tmp_path / "notebook/lib").glob("python*/site-packages")
    # A pip that is there already, and what Debian leaves out.
    has_pip = Path(pip.__file__).parents[1]
    (packages / "as-in-a-notebook.pth").write_text(f"{has_pip}\nimport sys; sys.modules['ensurepip'] = None\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nvidia-smi").write_text(BROKEN)
    (tmp_path / "bin/nvidia-smi").chmod(0o755)
    done = subprocess.run(
        ["locks/install.sh", "base"],
        cwd=folder,
        env=environment | {"PYTHON": str(python), "PATH": f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "`devices: auto` means here:\n  CPU → cpu (TensorFlow)" in done.stdout
    if sys.platform == "linux":
        assert "“Failed to initialize NVML: Driver/library version mismatch”. The driver was updated" in done.stdout
    assert "about 3 GB of disk" in done.stdout
    module = subprocess.run([folder / ".venv/bin/python", "-m", "pip", "--version"], capture_output=True, text=True)
    assert str(folder / ".venv") in module.stdout
    program = subprocess.run([folder / ".venv/bin/pip", "--version"], capture_output=True, text=True)
    assert program.stdout == module.stdout, "programs start too, whose first line names the path of their Python"
    assert list((folder / ".venv").glob(".stamp-base-*"))
    again = subprocess.run(["locks/install.sh", "base"], cwd=folder, env=environment, capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (0, "")

    # As where somebody has activated .venv and then takes an update.
    with open(folder / "locks/base.txt", "a") as lock:
        lock.write("# another version\n")
    activated = environment | {"PATH": f"{folder}/.venv/bin{os.pathsep}{os.environ['PATH']}"}
    activated.pop("PYTHON", None)
    done = subprocess.run(["locks/install.sh", "base"], cwd=folder, env=activated, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Making .venv with" in done.stdout and f"{folder}/.venv" not in done.stdout
    assert (folder / ".venv/bin/python").exists()


def test_a_folder_reached_through_a_link_or_with_cdpath_is_the_same_folder(place, tmp_path):
    folder, environment = place
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "other/locks").mkdir(parents=True)
    said = []
    for cwd in (folder, tmp_path / "link"):
        done = subprocess.run(
            ["locks/install.sh", "base"],
            cwd=cwd,
            env=environment | {"PYTHON": sys.executable, "PWD": str(cwd), "CDPATH": str(tmp_path / "other")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(done.stdout)
    assert "Making .venv with" in said[0] and said[1] == "", "installed once"


@pytest.mark.parametrize("name, value", [("PIP_CONSTRAINT", "constraint.txt"), ("PIP_TARGET", "elsewhere")])
def test_a_container_s_variables_of_pip_change_nothing(name, value, place, tmp_path):
    folder, environment = place
    (tmp_path / "constraint.txt").write_text("pip==1.0\n")
    done = subprocess.run(
        ["locks/install.sh", "base"],
        cwd=folder,
        env=environment | {"PYTHON": sys.executable, name: str(tmp_path / value)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / ".venv/bin/pip").exists() and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "name, value, command",
    [
        ("PYTHONSAFEPATH", "1", "python scripts/lock_parts.py --devices cpu config.yaml"),
        ("PYTHONOPTIMIZE", "2", "python scripts/lock_parts.py --devices cpu config.yaml"),
        ("PYTHONPLATLIBDIR", "x", "python scripts/lock_parts.py --devices cpu config.yaml"),
        ("SNAKEMAKE_PROFILE", "for-other-workflows", "$(asked) --dry-run --snakefile more.smk"),
    ],
)
def test_a_variable_for_other_programs_does_not_stop_make(name, value, command, tmp_path):
    (tmp_path / "more.mk").write_text(f"try:\n\t@{command}\n")
    (tmp_path / "more.smk").write_text("rule nothing:\n")
    done = subprocess.run(
        ["make", "--file", ROOT / "Makefile", "--file", tmp_path / "more.mk", "try"],
        cwd=tmp_path if "asked" in command else ROOT,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", name: value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_locale_that_lacks_a_character_is_no_obstacle(place):
    folder, environment = place
    for script, arguments in (("check_place.py", ["base"]), ("find_report.py", ["0", "config.yaml"])):
        (folder / "results").mkdir(exist_ok=True)
        (folder / "results/report.html").touch()
        (folder / "config.yaml").write_text("{}")
        done = subprocess.run(
            [sys.executable, f"scripts/{script}", *arguments],
            cwd=folder,
            env=environment | {"PYTHONIOENCODING": "latin-1"},
            capture_output=True,
            encoding="latin-1",
        )
        assert done.returncode == 0, done.stderr
        assert ("CPU ? cpu" if script == "check_place.py" else "Bob's ? OneDrive") in done.stdout


def wheel(folder, name, version, files, requires=()):
    """Writes a package as pip installs it; returns its line of a lock."""
    distribution = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {other}\n" for other in requires)
    contents = files | {
        f"{distribution}.dist-info/METADATA": metadata,
        f"{distribution}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / f"{distribution}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in contents.items():
            archive.writestr(inside, text)
        record = "".join(f"{inside},,\n" for inside in [*contents, f"{distribution}.dist-info/RECORD"])
        archive.writestr(f"{distribution}.dist-info/RECORD", record)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def test_parts_whose_libraries_lie_in_the_same_folder_take_turns(place, tmp_path):
    folder, environment = place
    wheels, for_cpus = tmp_path / "wheels", tmp_path / "for-cpus"
    wheels.mkdir()
    for_cpus.mkdir()
    library = "nvidia/cudnn/version.txt"
    locks = {
        "cuda": wheel(wheels, "nvidia-cudnn-cu12", "9.3", {library: "12"}),
        "torch": wheel(wheels, "nvidia-cudnn-cu13", "9.20", {library: "13"})
        + wheel(wheels, "torch", "2.13.0", {"torch.py": "build = 'gpu'\n"}),
        "torch-cpu": wheel(for_cpus, "torch", "2.13.0+cpu", {"torch.py": "build = 'cpu'\n"}),
    }
    for part, lock in locks.items():
        (folder / f"locks/{part}.txt").write_text(lock)

    def install(part):
        found = f"{environment['PIP_FIND_LINKS']} {for_cpus if part == 'torch-cpu' else wheels}"
        told = environment | {"PYTHON": sys.executable, "PIP_FIND_LINKS": found}
        done = subprocess.run(["locks/install.sh", part], cwd=folder, env=told, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        (packages,) = (folder / ".venv/lib").glob("python*/site-packages")
        files = [packages / library, packages / "torch.py"]
        return [path.read_text() if path.exists() else None for path in files]

    install("base")
    assert install("torch-cpu") == [None, "build = 'cpu'\n"]
    assert install("torch") == ["13", "build = 'gpu'\n"], "not taken for the build for a CPU, of the same version"
    assert install("torch-cpu") == ["13", "build = 'gpu'\n"], "which trains on a CPU as well"
    assert install("cuda")[0] == "12"
    assert install("torch") == ["13", "build = 'gpu'\n"]
    assert install("torch") == ["13", "build = 'gpu'\n"]
    assert install("cuda")[0] == "12", "installed again, not taken for what is there"


def test_jobs_start_under_a_path_with_spaces(tmp_path):
    """The Python lies there as well, as it does in .venv."""
    folder = project.make(tmp_path / AWKWARD / "trainoff")
    (folder / "environment").symlink_to(Path(sys.executable).parents[1])
    done = subprocess.run(
        [folder / "environment/bin/python", *project.command("--until", "prepare_images")[1:]],
        cwd=folder,
        env=os.environ | {"PATH": f"{folder}/environment/bin{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert (folder / "results/images/img_dim~32/facts.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux alone")
@pytest.mark.parametrize(
    "libc, words",
    [
        ("'glibc 2.17'", "(on glibc 2.17; the packages are built for 2.28 or later"),
        ("int('none')", "(for a Linux without glibc, such as Alpine"),
        ("'glibc 2.28'", None),
    ],
)
def test_a_linux_for_which_the_packages_are_not_built_is_refused(libc, words, tmp_path):
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
exec '{sys.executable}' -c "import os; os.confstr = lambda name: {libc}
$4" "$5"
"""
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["locks/install.sh", "--python"],
        cwd=ROOT,
        env=os.environ | {"PYTHON": str(python)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (words is not None), done.stderr
    assert words in done.stderr if words else done.stdout


@pytest.mark.parametrize("character", ":{")
def test_make_refuses_before_it_installs(character, place, tmp_path):
    folder, environment = place
    moved = folder.rename(tmp_path / f"a{character}b")
    done = subprocess.run(["locks/install.sh", "base"], cwd=moved, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"contains the character {character!r}, which search paths or Snakemake cannot contain. Move" in done.stderr
    assert not (moved / ".venv").exists()


@pytest.mark.parametrize("names, words", [((), "no name or no home folder"), (("USER", "HOME"), None)])
def test_a_user_that_the_container_does_not_know_is_refused_without_a_name_or_a_home(
    names, words, tmp_path, monkeypatch
):
    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(check_place.Refusal, match=words) if words else contextlib.nullcontext():
        check_place.check_user()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_home_of_somebody_else_is_refused(monkeypatch):
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        Path(folder, "home/.cache").mkdir(parents=True)
        Path(folder, "home").chmod(0o700)
        monkeypatch.setenv("HOME", f"{folder}/home")
        os.seteuid(12345)
        try:
            with pytest.raises(check_place.Refusal, match="home cannot be written to .Permission.*XDG_CACHE_HOME="):
                check_place.check_user()
        finally:
            os.seteuid(0)


def test_a_path_that_is_not_utf_8_is_refused():
    with pytest.raises(check_place.Refusal, match=r"contains the character '.udce9', which"):
        check_place.check_folder(os.fsdecode(b"/home/me/caf\xe9"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize("option, words", [("noexec", "no program runs"), ("ro", "cannot be written to (Read-only")])
def test_a_mount_that_cannot_hold_an_environment_is_refused(option, words, tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("this container may not mount")
    try:
        with pytest.raises(check_place.Refusal) as refusal:
            check_place.check_folder(tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert words in str(refusal.value) and "Move the project" in str(refusal.value)


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path):
    with pytest.raises(check_place.Refusal, match="cannot be written to"):
        check_place.check_folder(tmp_path / "not-there")


@pytest.mark.parametrize("part, words", [("base", "takes about 4.0 GB"), ("torch", "8.2 GB"), ("dev", "0.6 GB")])
def test_a_disk_that_is_too_small_is_refused_with_what_is_needed(part, words, tmp_path):
    needed = float(words.split()[-2])
    with pytest.raises(check_place.Refusal, match=words):
        check_place.check_disk(part, tmp_path, tmp_path, lambda place: Usage(0, 0, (needed - 0.1) * 1e9))
    check_place.check_disk(part, tmp_path, tmp_path, lambda place: Usage(0, 0, (needed + 0.1) * 1e9))


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second disk")
def test_a_temporary_folder_that_is_too_small_is_named(tmp_path):
    free = {tmp_path: 100e9, "/dev/shm": 0.1e9}
    with pytest.raises(check_place.Refusal, match="/dev/shm has 0.1 GB free, .* 1.0 GB. Use another temporary folder"):
        check_place.check_disk("base", tmp_path, "/dev/shm", lambda place: Usage(0, 0, free[place]))
