#!/bin/sh
# Installs one part of the locks into .venv, if it is missing: locks/install.sh base | dev | cuda | torch | …
# locks/install.sh --python only prints which Python would make .venv.
# A finished part leaves a stamp named after its lock, so a changed lock or an interrupted installation is repeated.
set -eu
# CDPATH would make cd search other folders. Without links, since the path decides what is installed again.
unset CDPATH
cd -P "$(dirname "$0")/.."
# As some containers set them: pip would refuse the versions of the locks, or install them elsewhere.
unset PIP_CONSTRAINT PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON
part=$1

# The stamp also depends on the folder: the programs in .venv/bin contain its path and break when it moves.
stamp_of() {
    echo ".venv/.stamp-$1-$({ pwd; cat locks/build.txt locks/base.txt "locks/$1.txt"; } | cksum | cut -d' ' -f1)"
}

# Prints nothing if the Python that runs it is suitable, otherwise the reason. Any Python from 2.7 on can run it.
check='
import os, platform, struct, sys
machine = sys.platform, platform.machine()
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") if sys.platform == "linux" else "glibc 2.28"
except (OSError, ValueError):
    libc = None
if sys.version_info[:2] not in [(3, 11), (3, 12)] or platform.python_implementation() != "CPython":
    print("%s %s" % (platform.python_implementation(), platform.python_version()))
elif machine not in [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")] or struct.calcsize("P") != 8:
    print("%d-bit for %s on %s" % (8 * struct.calcsize("P"), machine[0], machine[1]))
elif not libc:
    print("for a Linux without glibc, such as Alpine, for which the packages are not built")
elif [int(number) for number in libc.split()[1].split(".")[:2]] < [2, 28]:
    print("on %s; the packages are built for 2.28 or later: Debian 10, RHEL 8, Ubuntu 20.04" % libc)
else:
    try:
        import venv
        try:
            import ensurepip
        except ImportError:
            # Its own pip then fills .venv.
            import pip
            if int(pip.__version__.split(".")[0]) < 23:
                raise ImportError
    except ImportError:
        print("without venv or pip; on Debian and Ubuntu: apt install python%d.%d-venv" % sys.version_info[:2])
'

# Prints the path of the Python that runs it. For the Python in .venv, which is deleted before .venv is made again, it prints the
# Python that .venv was made with.
program='
import os, sys
print(sys._base_executable if os.path.realpath(sys.prefix) == os.path.realpath(".venv") else sys.argv[1])
'

# All on PATH, not only the first of a name: version managers leave names there that do not run.
candidates() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" || echo "$PYTHON"
        return
    fi
    for name in python3.12 python3.11 python3; do
        (
            IFS=:
            for folder in $PATH; do
                if [ -x "$folder/$name" ]; then echo "$folder/$name"; fi
            done
        )
    done
}

find_python() {
    candidates | (
        found=
        while read -r candidate; do
            reason=$("$candidate" -E -s -c "$check" 2>/dev/null </dev/null) || reason="does not run"
            if [ -z "$reason" ]; then
                "$candidate" -E -s -c "$program" "$candidate"
                exit
            fi
            found="$found, $candidate ($reason)"
        done
        found=${found:-, none on PATH}
        echo "No suitable Python. Needed: 64-bit CPython 3.11 or 3.12 for Linux or an Apple silicon Mac." \
            "Found: ${found#, }." \
            "Install one, or name one: make environment PYTHON=/path/to/python3.12" >&2
        exit 1
    )
}

if [ "$part" = --python ]; then
    find_python
    exit
fi

stamp=$(stamp_of "$part")
if [ -e "$stamp" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit
fi

# pip_install PART COMMAND, where COMMAND starts pip. Dependencies are not resolved: a lock lists them all.
pip_install() {
    name=$1
    shift
    "$@" install -qq --disable-pip-version-check --no-input --no-user --no-build-isolation --no-deps \
        --require-hashes -r "locks/$name.txt"
}

install() {
    pip_install "$1" .venv/bin/python -m pip
}

# Python's own venv needs ensurepip, which the Python of hosted notebooks and of Debian lacks.
make_venv() {
    echo "Making .venv with $1."
    rm -rf .venv
    if "$1" -E -s -c 'import ensurepip' 2>/dev/null; then
        "$1" -m venv .venv
        install build
    else
        "$1" -m venv --without-pip .venv
        pip_install build "$1" -m pip --python .venv/bin/python
    fi
}

# Whether any version of the part is installed.
is_there() {
    ls .venv/.stamp-"$1"-[0-9]* >/dev/null 2>&1
}

forget() {
    rm -f .venv/.stamp-"$1"-[0-9]*
}

# All frameworks install their NVIDIA libraries into the same folders. Those of another framework are removed, or they would be
# partly overwritten. pip cannot tell PyTorch's CPU build from the one with these libraries, since their versions are equal.
make_room() {
    for other in cuda torch jax-cuda; do
        if [ "$other" != "$1" ] && is_there "$other"; then
            echo "Removing the GPU libraries of the part $other from .venv to make room for those of $1."
            forget "$other"
            if [ "$other" = torch ]; then forget torch-cpu; fi
            sed -n 's/^\(nvidia-[a-z0-9-]*\)==.*/\1/p' "locks/$other.txt" | grep -v '^nvidia-ml-py$' |
                xargs .venv/bin/python -m pip uninstall -qq --disable-pip-version-check --yes
        fi
    done
    if [ "$1" = torch ] && is_there torch-cpu; then
        forget torch-cpu
        .venv/bin/python -m pip uninstall -qq --disable-pip-version-check --yes torch
    fi
}

# check_place.py refuses a place where the installation cannot work, and says what will be installed.
case $part in
base)
    python=$(find_python)
    "$python" -E scripts/check_place.py base
    make_venv "$python"
    ;;
torch-cpu)
    if [ -e "$(stamp_of torch)" ]; then # it also trains on a CPU
        touch "$stamp"
        exit
    fi
    .venv/bin/python scripts/check_place.py torch-cpu
    if ! install torch-cpu 2>/dev/null; then
        echo "pip finds no CPU build of PyTorch (docs/devices.md says how to tell pip where it is)."
        locks/install.sh torch
    fi
    touch "$stamp"
    exit
    ;;
cuda | torch | jax-cuda)
    .venv/bin/python scripts/check_place.py "$part"
    make_room "$part"
    ;;
*) .venv/bin/python scripts/check_place.py "$part" ;;
esac
install "$part"
touch "$stamp"
