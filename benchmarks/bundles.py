"""The cost of bundles: time, memory and size of writing, checking and merging them. python benchmarks/bundles.py [RUNS...]"""

import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import synthetic  # noqa: E402

import aggregate_runs  # noqa: E402
import bundle  # noqa: E402
from trainoff.exchange import bundles, merging  # noqa: E402

EXPERIMENT = {"title": "Made up", "training": {}, "protocol": {}}


def main(sizes):
    print("runs   step       processor seconds (of the clock)   µs or bytes per run")
    for runs in sizes:
        folder = Path(tempfile.mkdtemp(prefix="trainoff-bundles-"))
        try:
            measure(folder, runs)
        finally:
            shutil.rmtree(folder)
    print(f"maximum memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


def measure(folder, runs):
    """Prints the cost of a bundle with about this many runs, of ten devices, with ten epochs each."""
    devices = [
        {"name": f"gpu-{n}", "label": f"GPU {n}", "backend": "tensorflow", "accelerator": "cuda"} for n in range(10)
    ]
    records = synthetic.records(devices, grid=synthetic.GRID, replicates=max(1, runs // 80), epochs=10)
    metrics = synthetic.write(folder / "there", records)
    path = folder / "bundle.zip"

    def step(name, work):
        clock, processor = time.perf_counter(), time.process_time()
        work()
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        print(f"{len(metrics):<6} {name:<10} {processor:7.2f} ({clock:.2f})   {1e6 * processor / len(metrics):7.0f}")

    step(
        "write",
        lambda: bundle.main(metrics, [], EXPERIMENT, devices, None, folder / ".there", path, lambda words: None),
    )
    size = path.stat().st_size
    print(f"{len(metrics):<6} size        {size / 2**20:6.2f} MiB {size / len(metrics):5.0f}")
    step("survey", lambda: bundles.read_manifest(path))
    names = merging.survey([path], devices[:1], devices[0], folder / ".here").names
    step("unpack", lambda: merging.unpack([path], names, folder / "imported"))
    tables = [folder / name for name in ("runs.csv", "runs.parquet", "windows.csv", "windows.parquet")]
    step("aggregate", lambda: aggregate_runs.main([], *tables, folder / "imported", folder / ".here", ""))


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [80, 800, 8000])
