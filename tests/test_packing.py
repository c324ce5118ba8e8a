"""Several trainings at once: they wait for each other, their rates add up, and one that falls over stops no other."""

import io
import json
import math
import time
from pathlib import Path

import pandas as pd
import project
import pytest
import synthetic
from pages import page
from test_train import RUN, data, job_on  # noqa: F401 (a fixture)

import compare_concurrency as packing_script
import train_together
from trainoff.analyze import packing
from trainoff.errors import UserError
from trainoff.machine import devices, nvidia
from trainoff.measure import packed
from trainoff.report import packs
from trainoff.supervise import metering


def test_a_real_pack_of_two_trains_side_by_side(data, tmp_path):  # noqa: F811
    record = train_together.pack(job_on(data, tmp_path / "pack.json"), RUN, 2)
    assert record["status"] == "ok", record["trainings"]
    assert packing.read(tmp_path / "pack.json") == record
    assert record["images_per_second"] == pytest.approx(sum(record["run_images_per_second"]))
    windows = [training["windows"] for training in record["trainings"]]
    assert [len(own) for own in windows] == [RUN["epochs"] - RUN["warm_up_epochs"]] * 2
    # Released together: nobody's first counted window had ended before the other's had begun.
    begun = [own[0]["ended"] - own[0]["seconds"] for own in windows]
    assert max(begun) < min(own[-1]["ended"] for own in windows)
    assert record["software"]["tensorflow"], "which versions it was measured with"
    assert record["memory_bytes"] > 10**8 and record["device_memory_bytes"] is None and record["mps"] is None
    # Replicates, not copies.
    assert windows[0][0]["loss"] != windows[1][0]["loss"]


def test_a_training_that_ends_early_holds_nobody_back(monkeypatch):
    ended = []

    def launch(module, run, files, log, timeout_minutes, say):
        if run["barrier"]["place"]:
            packed.wait(**run["barrier"])
        ended.append(run["barrier"]["place"])
        return run["seed"]

    monkeypatch.setattr(train_together, "launch", launch)
    outcomes, _ = train_together.together({"seed": 5, "device": {"accelerator": "cpu"}}, 3, {}, [None] * 3, 1)
    assert sorted(ended) == [0, 1, 2] and ended[0] == 0
    assert outcomes == [5, 6, 7]


@pytest.mark.parametrize("uuid, read", [("GPU-b", 22_222 * 2**20), ("MIG-c", None)])
def test_the_memory_of_a_pack_is_that_of_its_own_gpu(uuid, read, tmp_path, monkeypatch):
    """In a folder that is not on the PATH, as in WSL. Of a slice, the tool knows only what its whole card uses.

    A GPU that drives no screen uses nothing before the first training has started.
    """
    program = tmp_path / "nvidia-smi"
    program.write_text(
        f"""#!/bin/sh
        case "$*" in
        *memory.used*--id=GPU-b*) [ -e {tmp_path}/asked ] && echo 22222 || echo 0; touch {tmp_path}/asked ;;
        *) echo 111 ;;
        esac
        """
    )
    program.chmod(0o755)
    monkeypatch.setattr(nvidia, "WSL_FOLDER", tmp_path)
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: {0: {"uuid": uuid}})
    monkeypatch.setattr(train_together, "launch", lambda *arguments: time.sleep(1.5))
    monkeypatch.setattr(train_together, "MEMORY_SECONDS", 0.1)
    _, memory = train_together.together({"seed": 5, "device": {"accelerator": "cuda", "index": 0}}, 1, {}, [None], 1)
    assert memory["device_memory_bytes"] == read


def test_the_wait_comes_after_the_last_warm_up():
    def window(epoch):
        return {"event": "window", "window": {"epoch": epoch}}

    assert [packed.ends_warm_up(window(epoch), 2) for epoch in (1, 2, 3)] == [False, True, False]
    assert packed.ends_warm_up({"event": "first_step"}, 0) and not packed.ends_warm_up({"event": "first_step"}, 1)


def windows(*times):
    return [{"images": 100, "seconds": seconds, "ended": ended} for seconds, ended in times]


def test_only_time_in_which_all_trained_counts():
    slow, fast = windows((10, 10), (10, 20)), windows((5, 5), (5, 10), (5, 15))
    assert train_together.rates_of([slow, fast]) == [10, 20]
    # Left alone, the slow one got faster: that is not the rate of a pack.
    assert train_together.rates_of([windows((10, 10), (2, 12)), windows((5, 5), (5, 10))]) == [10, 20]
    assert train_together.rates_of([windows((30, 30)), windows((10, 10))])[0] == pytest.approx(100 / 30)


def record(at_once, rate, seconds, status="ok", device="gpu", trainable=True, joules=None):
    run = RUN | {"device": device, "trainable": trainable}
    ended = status == "ok"
    return {
        "run": run,
        "at_once": at_once,
        "status": status,
        "reason": "" if ended else "1 of 4: no memory left",
        "images_per_second": rate if ended else None,
        "seconds": seconds,
        "memory_bytes": at_once * 2**30,
        "device_memory_bytes": None,
        "mps": None,
        "joules": joules,
    }


# Which versions each measured job would note, where no framework is installed.
LIST_VERSIONS = """
import json
import sys

sys.path.insert(0, "scripts")
from trainoff.workflow import validity

validity.installed_versions = lambda device: dict.fromkeys(
    validity.packages_of(device)
)


include: "Snakefile"


onstart:
    jobs = [job for job in workflow.dag.jobs if "versions" in job.params.keys()]
    with open("versions.json", "w") as file:
        json.dump({job.output[0]: job.params.versions for job in jobs}, file)
    raise WorkflowError("listed")
"""


def test_nothing_is_measured_again_because_its_framework_is_no_longer_installed(tmp_path):
    """`make` exchanges the frameworks for NVIDIA's GPUs between runs, so the one that measured may be gone."""
    limits = {"batch_size": {"least": 8, "most": 8, "step": 8, "img_dim": 32}, "timeout_minutes": 1}
    limits["img_dim"] = {"least": 32, "most": 32, "step": 32, "batch_size": 8}
    folder = project.make(tmp_path / "trainoff", project.SMALL | {"devices": ["cpu-jax"], "limits": limits})
    (folder / "list.smk").write_text(LIST_VERSIONS)

    def versions():
        project.snakemake(folder, "--snakefile", "list.smk", "--", "compare_concurrency", "collect_limits")
        return json.loads((folder / "versions.json").read_text())

    paths, recorded = versions(), {"jax": "0.10.0", "jaxlib": "0.10.0", "keras": "3.15.1"}
    assert {Path(path).name for path in paths} == {"pack.json", "batch_size.json", "img_dim.json"}
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps({"software": recorded}))
    assert versions() == dict.fromkeys(paths, recorded)


PACKS = [
    record(1, 100, 60, joules=6000.0),
    record(2, 160, 80, joules=9000.0),
    record(4, None, 9, "out_of_memory"),
    record(1, 400, 30, trainable=False, joules=3000.0),
    record(2, 390, 70, trainable=False, joules=7000.0),
    record(1, 10, 600, device="cpu"),
    record(2, 11, 1100, device="cpu"),
    record(1, None, 5, "out_of_memory", device="cpu", trainable=False),
]


def test_the_table_holds_gain_slowdown_and_failures():
    table = packing.table(PACKS).set_index(["device", "trainable", "at_once"])
    pair = table.loc["gpu", True, 2]
    assert (pair["gain"], pair["slowdown"], pair["seconds_per_run"]) == (1.6, 1.25, 40)
    failed = table.loc["gpu", True, 4]
    assert failed["status"] == "out_of_memory" and math.isnan(failed["gain"]) and math.isnan(failed["seconds_per_run"])
    assert math.isnan(table.loc["cpu", True, 1]["joules_per_run"])


ASSUMPTIONS = {
    "currency": "USD",
    "electricity": {"per_kwh": 0.5},
    "devices": {"gpu": {"purchase": None, "rental": {"per_hour": 36.0, "minimum_hours": 0}}},
}


def test_the_makespan_takes_the_best_number_for_each_configuration():
    spans = packing.makespans(packing.table(PACKS), 3, ASSUMPTIONS).set_index("device")
    gpu = spans.loc["gpu"]
    assert (gpu["runs"], gpu["one_at_a_time_seconds"], gpu["packed_seconds"]) == (6, 270, 210)
    assert gpu["at_once"] == "1, 2" and gpu["ratio"] == pytest.approx(270 / 210)
    assert (gpu["one_at_a_time_joules"], gpu["packed_joules"]) == (27000, 22500)
    assert (gpu["one_at_a_time_rented"], gpu["packed_rented"]) == pytest.approx((2.7, 2.1))
    assert math.isnan(gpu["packed_owned"])
    cpu = spans.loc["cpu"]
    assert cpu["reason"] == '{"code": "untrained_alone", "missing": 1, "total": 2}' and math.isnan(cpu["packed_joules"])
    assert cpu["packed_seconds"] == 550 * 3


def test_records_become_tables(tmp_path):
    paths = []
    for number, one in enumerate(PACKS):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(one))
    outputs = [(tmp_path / f"{name}.csv", tmp_path / f"{name}.parquet") for name in ("packing", "makespan")]
    packing_script.main(paths, 1, ASSUMPTIONS, *outputs)
    assert len(pd.read_parquet(outputs[0][1])) == len(PACKS) and len(pd.read_csv(outputs[1][0])) == 2
    paths[0].write_text("{}")
    with pytest.raises(UserError, match="not a pack's record"):
        packing_script.main(paths, 1, ASSUMPTIONS, *outputs)


def test_the_report_shows_both_tables_in_words():
    table = packing.table(PACKS)
    said = packs.in_words(table, packing.makespans(table, 3, ASSUMPTIONS), {"gpu": "A GPU"})
    assert said["makespan_headings"] == [
        "Energy, one at a time and several at once",
        "Cost, rented, one at a time and several at once",
    ]
    cpu, gpu = said["makespans"]
    assert gpu["label"] == "A GPU" and gpu["at_once"] == "1 or 2"
    assert gpu["further"] == ["27.0 kJ, 22.5 kJ", "2.70 USD, 2.10 USD"]
    assert cpu["further"] == ["not measured, not measured"] * 2
    cheap = packing.makespans(table, 3, ASSUMPTIONS)
    cheap[["one_at_a_time_rented", "packed_rented"]] /= 1000
    assert packs.in_words(table, cheap, {})["makespans"][1]["further"][1] == "0.00270 USD, 0.00210 USD", "not 0.00 USD"
    assert [pack["status_text"] for pack in said["packs"]].count("out of memory") == 2
    assert packs.in_words(None, None, {}) == {"makespans": [], "makespan_headings": [], "packs": []}


def test_the_page_tells_how_long_the_whole_sweep_takes(tmp_path):
    def add(tables):
        found = packing.table([one for one in PACKS if one["run"]["device"] == "cpu"])
        for name, table in (("packing", found), ("makespan", packing.makespans(found, 3, ASSUMPTIONS))):
            tables[name] = tmp_path / f"{name}.parquet"
            table.to_parquet(tables[name])

    devices = synthetic.DEVICES[:2]
    text, _ = page(tmp_path, devices, synthetic.records(devices, synthetic.SMALL_GRID), change=add)
    assert "Several runs at once" in text and "27 min 30 s" in text and "did not train even alone" in text


def test_the_energy_of_a_pack_is_read_beside_it_or_has_a_reason():
    with metering.metered(RUN["device"]) as energy:
        pass
    assert (energy["joules"] is None) == bool(energy["reason"])
    output = io.StringIO()
    metering.main("cpu", lambda: None, output)
    assert output.getvalue().startswith("ready\n") and "joules" in output.getvalue()


def test_an_energy_counter_that_hangs_does_not_hold_a_pack(monkeypatch):
    monkeypatch.setattr(metering, "PATIENCE_SECONDS", 0.001)
    # The module takes longer than that to be imported, like one whose driver hangs.
    with metering.metered(RUN["device"]) as energy:
        pass
    assert energy["joules"] is None and "did not answer" in energy["reason"]


def test_no_packs_give_empty_tables():
    table = packing.table([])
    assert list(table) == list(packing.COLUMNS) and packing.makespans(table, 1, ASSUMPTIONS).empty
