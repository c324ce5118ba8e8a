"""Makes a channel named conda-forge on this disk: the Python that runs this, and pip, setuptools and wheel as packages.

    python make_channel.py FOLDER PATCHELF

Enough for envs/*.yaml, which take everything else from pip.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

NOT_NEEDED = ("site-packages", "test", "tests", "__pycache__", "idlelib", "lib2to3", "config-*")
PIP = ["pip = pip._internal.cli.main:main", "pip3 = pip._internal.cli.main:main"]


def pack(folder, target, name, version, depends, entry_points=None):
    """Packs what lies in `folder` as a conda package below `target`; returns (subdir, file name, entry of the index).

    entry_points: of a package for any Python; None for one of this system.
    """
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    anywhere = entry_points is not None
    subdir = "noarch" if anywhere else "linux-64"
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends, "subdir": subdir}
    if anywhere:
        index["noarch"] = "python"
    paths = [
        {
            "_path": path,
            "path_type": "softlink" if (folder / path).is_symlink() else "hardlink",
            "sha256": hashlib.sha256((folder / path).read_bytes()).hexdigest(),
            "size_in_bytes": (folder / path).stat().st_size,
        }
        for path in files
    ]
    info = {"index.json": index, "paths.json": {"paths": paths, "paths_version": 1}}
    if anywhere:
        link = {"noarch": {"type": "python", "entry_points": entry_points}, "package_metadata_version": 1}
        info["link.json"] = link
    (folder / "info").mkdir()
    (folder / "info/files").write_text("\n".join(files) + "\n")
    for part, content in info.items():
        (folder / "info" / part).write_text(json.dumps(content))
    package = target / subdir / f"{name}-{version}-0.tar.bz2"
    package.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package, "w:bz2", compresslevel=1) as archive:
        for path in ["info/files", *(f"info/{part}" for part in info), *files]:
            archive.add(folder / path, path, recursive=False)
    content = package.read_bytes()
    hashes = {"md5": hashlib.md5(content).hexdigest(), "sha256": hashlib.sha256(content).hexdigest()}
    return subdir, package.name, index | hashes | {"size": len(content)}


def python_in(folder, patchelf):
    """Copies this Python, its libraries and its standard library to `folder`, fit to be moved."""
    base, name = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    for part in ("bin", "lib"):
        (folder / part).mkdir(parents=True)
    shutil.copy2(base / "bin" / name, folder / "bin" / name)
    for link in ("python", "python3"):
        os.symlink(name, folder / "bin" / link)
    for library in base.glob(f"lib/lib{name}.so*"):
        shutil.copy2(library, folder / "lib" / library.name, follow_symlinks=False)
    standard = folder / "lib" / name
    shutil.copytree(base / "lib" / name, standard, symlinks=True, ignore=shutil.ignore_patterns(*NOT_NEEDED))
    (standard / "site-packages").mkdir()
    (standard / "site-packages/README.txt").touch()
    subprocess.run([patchelf, "--set-rpath", "$ORIGIN/../lib", folder / "bin" / name], check=True)
    return folder


def main(folder, patchelf):
    target = Path(folder, "conda-forge")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        version = ".".join(map(str, sys.version_info[:3]))
        made = [pack(python_in(scratch / "python", patchelf), target, "python", version, [])]
        download = ["-m", "pip", "download", "-q", "--no-deps", "-d", scratch / "wheels", "pip", "setuptools", "wheel"]
        subprocess.run([sys.executable, *download], check=True, stderr=subprocess.DEVNULL)
        for wheel in sorted((scratch / "wheels").glob("*.whl")):
            name, version = wheel.name.split("-")[:2]
            packages = scratch / name / "site-packages"
            zipfile.ZipFile(wheel).extractall(packages)
            needs = ["python >=3.10", *(["setuptools", "wheel"] if name == "pip" else [])]
            made.append(pack(scratch / name, target, name, version, needs, PIP if name == "pip" else []))
    for subdir in ("linux-64", "noarch"):
        packages = {name: entry for place, name, entry in made if place == subdir}
        index = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}, "repodata_version": 1}
        (target / subdir / "repodata.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main(*sys.argv[1:])
