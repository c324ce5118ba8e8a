"""Nothing that is read can run: no pickles, no unpacking, no code from files; and logs tell nothing of their machine."""

import ast
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from project import ROOT

from trainoff import privacy
from trainoff.measure import models

SCRIPTS = [*ROOT.glob("scripts/**/*.py"), *ROOT.glob("benchmarks/*.py")]
# Modules that run what they read.
PICKLING = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
# Of these, what only hands work to processes of one's own.
TO_OWN_PROCESSES = {"joblib": {"Parallel", "delayed"}}
# {function: what makes a call of it safe}; None for one that may not be called at all.
GUARDED = {
    "eval": None,
    "exec": None,
    "extractall": None,
    "read_pickle": None,
    "unsafe_load": None,
    "full_load": None,
    "load_model": "safe_mode",
    "load_from_file": None,
}


def calls(tree):
    """(name of the function, the call) of every call in a module; `numpy.load` is named "load" and told by its module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            yield getattr(function, "attr", getattr(function, "id", None)), ast.unparse(function), node


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_no_script_loads_what_could_run(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        names = {alias.name for alias in node.names} if isinstance(node, (ast.Import, ast.ImportFrom)) else set()
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if names and names <= TO_OWN_PROCESSES.get(module, set()):
            continue
        names.add(module)
        assert not PICKLING & {name.split(".")[0] for name in names}, f"line {node.lineno}"
    for name, whole, call in calls(tree):
        options = {option.arg: ast.unparse(option.value) for option in call.keywords}
        assert options.get("allow_pickle", "False") == "False", f"line {call.lineno}"
        if whole == "model.compile" or whole.endswith("re.compile"):
            continue
        if name in GUARDED:
            assert options.get(GUARDED[name]) == "True", f"line {call.lineno}: {whole}"
        if whole == "torch.load":
            assert options.get("weights_only") == "True", f"line {call.lineno}"
        assert whole != "yaml.load", f"line {call.lineno}: yaml.safe_load reads data alone"


class Payload:
    """An object whose unpickling writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickles_in_arrays_and_weights_are_never_run(tmp_path):
    trace = tmp_path / "trace"
    array = np.empty(1, dtype=object)
    array[0] = Payload(trace)
    np.save(tmp_path / "images.npy", array, allow_pickle=True)
    np.savez(tmp_path / "weights.npz", array)
    with zipfile.ZipFile(tmp_path / "bare.npz", "w") as file:
        file.writestr("0000/kernel.npy", pickle.dumps(Payload(trace)))
    with pytest.raises(ValueError, match="pickle|Python objects"):
        np.load(tmp_path / "images.npy", mmap_mode="r")

    class Base:
        variables = weights = [type("Variable", (), {"path": "kernel"})()]

        def set_weights(self, arrays):
            self.arrays = arrays

    with pytest.raises((ValueError, KeyError)):
        models.load(Base(), tmp_path / "weights.npz")
    base = Base()
    models.load(base, tmp_path / "bare.npz")
    assert isinstance(base.arrays[0], bytes), "bytes that stay bytes; no model takes them for weights"
    assert not trace.exists()


def test_paths_in_logs_are_scrubbed(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/srv/people/alice")
    monkeypatch.setenv("LOGNAME", "alice")
    text = f'File "{ROOT}/scripts/train.py" in /srv/people/alice/x, /home/bob/y: {Path.cwd()} /Users/carol\n'
    assert privacy.scrub(text).replace("./", "") == 'File "scripts/train.py" in ~/x, ~/y: . ~\n'
    assert privacy.scrub("/srv/people/alice2 /homes") == "/srv/people/alice2 /homes"
    assert privacy.scrub("/scratch/alice/x.tgz: /data/alice") == "/scratch/<user>/x.tgz: /data/<user>"
    log = tmp_path / "log"
    log.write_bytes(b"\xff /home/bob/x\n")
    privacy.scrub_file(log)
    assert log.read_bytes() == b"\xff ~/x\n"
    privacy.scrub_file(tmp_path / "none")


TELLING = {
    "postgres://bob:hunter2@db.example.org/x": "hunter2",
    "scp alice:pw7@node7:/x": "pw7",
    "https://x.org/a?token=abc123&b=2": "abc123",
    "https://x.org/b?X-Amz-Signature=abcd&X-Amz-Credential=efgh": "abcd efgh",
    "Authorization: Bearer abc.def": "abc.def",
    "AUTHORIZATION=Basic Zm9vOmJhcg==": "Zm9v",
    "PASSPHRASE=correct horse": "correct horse",
    "DB_PASS=hunter2 GH_PAT='x y'": "hunter2 x",
    '{"Cookie": "sid=abc; other=1", "session_key": "klm"}': "abc klm",
    "ghp_0123456789abcdefghij eyJhbGciOi.eyJzdWIi.abc": "0123456789 zdWIi",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----": "MIIE",
    # The administrator's home stands in pieces, since the project names no path of a machine.
    " ".join(["/scratch/bob/x.tgz", "/lustre/users/carol/y", "/".join(["", "root", "z"])]): "bob carol root",
    r"C:\Users\bob\w.h5 c:/users/carol/x \\server\dave\x": "bob carol server dave",
    "bob@node7.cluster: bob@node7, carol@example.org": "bob node7 carol example",
    "10.1.2.3:8080, [fe80::1ff:fe23:4567:890a] aa:bb:cc:dd:ee:ff": "10.1 fe80 aa:bb",
}


@pytest.mark.parametrize("text", TELLING)
def test_secrets_and_people_are_known_by_shape(text):
    clean = privacy.scrub(text)
    assert not [word for word in TELLING[text].split() if word in clean], clean
    assert privacy.scrub(clean) == clean


def test_ordinary_words_stay_as_they_are():
    text = (
        "2026-01-02T13:00:10+00:00 W0000 00:00:1795599561.284155 std::vector<int> 2.19.1 torch 2.13.0+cu128 cpu@1a2b3c4d "
        "KeyError: 'block_1' tokens: 5 dropout=0.4 epochs=4 images/s /usr/lib/python3/x.py 127.0.0.1 @tf.function"
    )
    assert privacy.scrub(text) == text
    software = {"software": {"tensorrt": "10.0.1.6"}}
    assert privacy.private(software) == software


def test_an_experiment_keeps_the_names_of_its_files_alone():
    experiment = {
        "weights": "/home/bob/w.h5",
        "dataset": {"archive": r"D:\data\a.tgz"},
        "imports": ["imports/bob", "x/y.zip"],
        "energy": {"wall_meters": [{"file": "meters/desk.csv", "devices": ["cpu"]}]},
        "anything": ["~/secret/z", "USD/month", "https://example.org/a"],
        "grid": {"xla": [False]},
    }
    assert privacy.without_folders(experiment) == {
        "weights": "w.h5",
        "dataset": {"archive": "a.tgz"},
        "imports": ["bob", "y.zip"],
        "energy": {"wall_meters": [{"file": "desk.csv", "devices": ["cpu"]}]},
        "anything": ["z", "USD/month", "https://example.org/a"],
        "grid": {"xla": [False]},
    }


def test_a_home_that_is_the_root_is_nobodys(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert privacy.scrub("/usr/bin / x") == "/usr/bin / x"
