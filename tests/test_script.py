"""What a person sees when a script ends badly: a sentence; the rest is in the log."""

import os
import subprocess
import sys

import pytest
from project import ROOT


@pytest.mark.parametrize(
    "error, code, sentence",
    [
        ("UserError('config.yaml: grid: nothing to run.')", 1, "config.yaml: grid: nothing to run."),
        (
            "OSError(28, 'No space left on device', 'results/x')",
            1,
            "No space left on device (results/x). The sweep stops, because this is not the device's fault; finished runs",
        ),
        ("KeyError('axis')", 1, "a bug in trainoff"),
        ("UserError('a\\x1b[2J\\rb\\u202ec' + 'x' * 9000)", 1, "a [2J b c" + "x" * 1900),
        ("KeyboardInterrupt()", 130, "Stopped. The next start continues"),
    ],
)
def test_an_error_is_a_sentence_on_the_terminal_and_no_traceback(error, code, sentence, tmp_path):
    program = f"""
from trainoff.errors import UserError
from trainoff.workflow.script import logged
with logged({str(tmp_path / "log")!r}):
    print("what the script says")
    raise {error}
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT / "scripts", capture_output=True, text=True)
    assert done.returncode == code
    assert sentence in done.stderr
    assert done.stderr.replace("\n", "").isprintable() and len(done.stderr) < 3000
    assert "Traceback" not in done.stderr and "what the script says" not in done.stdout + done.stderr
    log = (tmp_path / "log").read_text()
    assert "what the script says" in log
    assert ("Traceback" in log) == error.startswith(("KeyError", "OSError"))


def test_what_a_full_disk_does_not_take_never_reaches_the_terminal(tmp_path):
    program = f"""
import resource
from trainoff.workflow.script import logged
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
with logged({str(tmp_path / "log")!r}):
    print("what the script says")
    raise OSError(28, "No space left on device", "results/x")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "scripts",
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "No space left on device (results/x)" in done.stderr
    assert "Traceback" not in done.stderr and "what the script says" not in done.stdout + done.stderr


def test_what_comes_before_the_log_ends_in_a_sentence_too(tmp_path):
    """As when the disk is full while a replaced record and its log are moved: the log of that run stays as it was."""
    log = tmp_path / "log"
    log.write_text("of the run before\n")
    program = f"""
from trainoff.workflow.script import logged
def before():
    raise OSError(28, "No space left on device", "results/x")
with logged({str(log)!r}, before=before):
    print("never")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT / "scripts", capture_output=True, text=True)
    assert done.returncode == 1 and "No space left on device" in done.stderr and "Traceback" not in done.stderr
    assert log.read_text() == "of the run before\n"
