"""What the person who waits is told: everything on a terminal, only beginnings and ends in a log."""

import io
import json
import subprocess
import sys
import threading
import time

import pytest
import synthetic
from project import ROOT

import find_report
from trainoff.errors import UserError
from trainoff.supervise import progress

RUN = {
    "device": {"name": "cpu"},
    "model": "mobilenetv2",
    "batch_size": 32,
    "img_dim": 96,
    "trainable": True,
    "precision": "float32",
    "xla": False,
    "learning_rate": 0.0005,
    "optimizer": "adam",
    "replicate": 1,
    "epochs": 4,
}
WINDOW = {"epoch": 2, "images": 640, "seconds": 9.0, "val_accuracy": 0.34, "warm_up": False}
OK = {"run": {"img_dim": 96}, "status": "ok", "throughput": {"images_per_second": 71.1}}
CRASHED = {"status": "timed_out", "failure": {"message": "The run took longer than protocol.timeout_minutes."}}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(terminal, tmp_path, record=OK):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"started": 0, "records": ["a", "b", "c"]}))
    said = progress.Progress(plan, "b", terminal)
    said.begin(RUN)
    said.say("waiting for other programs")
    said.say(progress.event_words({"event": "first_step", "seconds": 12.3}))
    said.say(progress.event_words({"event": "window", "window": WINDOW}))
    said.end(progress.outcome_words(record))
    return terminal.getvalue()


def test_a_log_holds_beginning_news_and_end_only(tmp_path):
    lines = told(io.StringIO(), tmp_path).splitlines()
    assert lines[0] == "[1/3] cpu · mobilenetv2 · batch 32 · 96 px · all weights · learning rate 0.0005 · replicate 1"
    assert lines[1] == "      waiting for other programs"
    assert lines[2].startswith("      finished at 71 images/s, after ")
    assert len(lines) == 3


def test_a_terminal_shows_the_speed_of_the_moment_in_one_line(tmp_path):
    text = told(Terminal(), tmp_path)
    assert "\r\x1b[K      epoch 2: 71 images/s, validation accuracy 34%; 0 of 3 runs done, about " in text
    assert text.count("\n") == 3, "the line of the moment is written over"


def test_turns_say_how_long_the_rest_may_take(tmp_path):
    progress.write_plan(tmp_path / "plan.json", ["a", "b", "c"])
    terminal = Terminal()
    lines = progress.Progress(tmp_path / "plan.json", "b", terminal, kind="turns", max_minutes=5)
    lines.begin_with("turns of cpu and gpu")
    lines.say(progress.Passing("session 1: undecided"))
    lines.end("gpu is 2.00× as fast as cpu")
    text = terminal.getvalue()
    assert "[1/3] turns of cpu and gpu\n" in text and "session 1: undecided; 0 of 3 turns done" in text
    assert text.endswith("gpu is 2.00× as fast as cpu, after 0 s; 2 more, at most about 10 min\n")


def test_turns_that_took_longer_than_their_minutes_say_so_of_the_rest(tmp_path):
    progress.write_plan(tmp_path / "plan.json", ["a", "b", "c"])
    terminal = Terminal()
    lines = progress.Progress(tmp_path / "plan.json", "b", terminal, kind="turns", max_minutes=0.2)
    lines.started -= 70
    lines.end("cpu: crashed: It fell over.")
    assert terminal.getvalue().endswith("cpu: crashed: It fell over, after 70 s; 2 more, at most about 2 min\n")


def test_the_plan_of_an_earlier_version_stops_no_run(tmp_path):
    """A workflow that imports this one runs its jobs without a new plan."""
    (tmp_path / "plan.json").write_text('{"started": 0, "metrics": ["a"]}')
    terminal = Terminal()
    progress.Progress(tmp_path / "plan.json", "a", terminal).begin(RUN)
    assert "[1/1] cpu" in terminal.getvalue()


def test_a_failed_run_tells_its_reason_at_once(tmp_path):
    assert "timed out: The run took longer than protocol.timeout_minutes, after " in told(
        io.StringIO(), tmp_path, CRASHED
    )


def test_a_finished_sweep_is_told_from_one_that_did_something(tmp_path):
    assert find_report.words(0, tmp_path) == ""
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/runs.csv").write_text('device,reason\ncpu,"two\nlines"\ncpu,\n')
    report = tmp_path / "report.html"
    report.write_text("")
    written = report.stat().st_mtime
    assert find_report.words(written - 1, tmp_path) == f"Report: {report}"
    assert find_report.words(written + 1, tmp_path).startswith("Everything was finished already: 2 runs, ")
    (tmp_path / "tables/runs.csv").write_text("device,reason\ncpu,\n")
    assert find_report.words(written + 1, tmp_path).startswith("Everything was finished already: 1 run, ")


def test_the_last_experiment_file_names_the_results(tmp_path):
    for name, text in (("a", "title: A"), ("b", "pathvars: {results: results/b}")):
        (tmp_path / name).write_text(text)
    assert find_report.results_of([tmp_path / "a"]) == "results"
    assert find_report.results_of([tmp_path / "a", tmp_path / "b"]) == "results/b"


@pytest.mark.parametrize(
    "text", ["pathvars: results/mine", "pathvars: {results: ''}", "pathvars: {results: 3}", "# nothing", None]
)
def test_make_clean_superseded_names_a_file_that_it_cannot_use(tmp_path, text):
    if text:
        (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match="mine.yaml: .*Expected"):
        find_report.results_of([tmp_path / "mine.yaml"])


def test_runs_that_end_elsewhere_are_told_of_as_they_appear(tmp_path):
    records = synthetic.records([{"name": "node"}], failures={1: "crashed"})[:2]
    paths = [tmp_path / f"{place}.json" for place in range(2)]
    paths[0].write_text(json.dumps(records[0]))
    terminal = io.StringIO()
    thread = threading.Thread(target=progress.follow, args=(paths, terminal, 0.01))
    thread.start()
    while "[1/2]" not in terminal.getvalue():
        time.sleep(0.01)
    paths[1].write_text("{")
    paths[1].write_text(json.dumps(records[1]))
    thread.join(10)
    first, second = terminal.getvalue().splitlines()
    assert first.startswith("[1/2] node · mobilenetv2") and "images/s; about" in first
    assert "crashed: " in second and second.endswith("that was the last")


def test_replaced_records_are_removed_wherever_the_results_are(tmp_path):
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    elsewhere = tmp_path / "on another disk"
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "mine.yaml").write_text(json.dumps({"pathvars": {"results": str(elsewhere)}}))
    places = [tmp_path / "results", tmp_path / "results/study", elsewhere]
    for place in places:
        (place / "superseded/runs").mkdir(parents=True)
        (place / "report.html").touch()
    command = ["make", "--file", ROOT / "Makefile", "clean-superseded"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert [(place / "superseded").exists() for place in places] == [False, False, True]
    subprocess.run([*command, "CONFIG=mine.yaml"], cwd=tmp_path, check=True, capture_output=True)
    assert not (elsewhere / "superseded").exists() and all((place / "report.html").exists() for place in places)
