"""Does the one model of noise keep what it promises, on experiments of known truth?"""

import numpy as np
import pytest
import yaml

from trainoff.analyze import noise, simulation
from trainoff.analyze.simulation import Noise

EQUAL, UNEQUAL, OTHER_WAY_ROUND = (0.02,) * 8, (0.01, 0.03) * 4, (0.03, 0.01) * 4
GPU = noise.Kind("gpu", 0.015, 2.0)


@pytest.mark.parametrize(
    "spreads",
    [(EQUAL, EQUAL), (UNEQUAL, UNEQUAL), (UNEQUAL, OTHER_WAY_ROUND)],
    ids=["equal noise", "unequal noise", "unequal noise, the other way round on the other device"],
)
@pytest.mark.parametrize("replicates", [2, 3, 5])
def test_intervals_hold_the_truth(replicates, spreads):
    draw, hits = np.random.default_rng(replicates), []
    for _ in range(100):
        devices = [
            simulation.device(draw, Noise(spread, 0.01), 8, replicates, 9, ratio=ratio)
            for spread, ratio in zip(spreads, (1.3, 1.0), strict=True)
        ]
        intervals = [compared.interval for compared in simulation.ratios(*devices, GPU)]
        hits.append(np.mean([low <= 1.3 <= high for low, high in intervals]))
    assert 0.93 <= np.mean(hits) <= 0.97


def test_intervals_of_single_runs_hold_the_truth_over_the_devices_of_a_kind():
    draw, hits = np.random.default_rng(1), []
    for _ in range(200):
        spreads = GPU.spread * GPU.factor ** draw.normal(size=2)
        devices = [simulation.device(draw, Noise(spread, 0.005), 8, 1, 3) for spread in spreads]
        hits.append(
            np.mean(
                [low <= 1 <= high for low, high in (compared.interval for compared in simulation.ratios(*devices, GPU))]
            )
        )
    assert 0.93 <= np.mean(hits) <= 0.98


def test_pooling_finds_small_differences():
    many = simulation.simulate(
        np.random.default_rng(2), Noise(0.02, 0.02, kind=GPU), 40, 8, replicates=3, windows=9, ratio=1.07
    )
    assert simulation.found_rate(many) >= 0.86


def test_one_loud_configuration_raises_no_alarm():
    scatter = Noise((0.01,) * 7 + (0.1,), 0.01, kind=GPU)
    many = simulation.simulate(np.random.default_rng(3), scatter, 80, 8, replicates=3, windows=9)
    assert simulation.false_alarm_rate(many) <= 0.07


def test_the_runs_count_for_more_than_the_kind():
    draw = np.random.default_rng(4)
    samples = [noise.Sample(tuple(draw.normal(0, 0.02, 3)), 0.0) for _ in range(8)]
    spreads = noise.spreads(samples, noise.Kind("virtual_cpu", 0.12, 1.6))
    assert {spread.source for spread in spreads} == {"runs"}
    assert all(0.01 < spread.variance**0.5 < 0.04 for spread in spreads)


def test_other_devices_of_a_kind_move_what_is_known_of_it():
    assert noise.informed(GPU, []) == GPU
    assert 0.015 < noise.informed(GPU, [0.06]).spread < 0.06
    assert noise.typical([noise.Sample((1.0,), 0.0)]) is None


def test_the_catalog_names_every_kind_and_its_source():
    with open("catalog/noise.yaml", encoding="utf-8") as file:
        catalog = yaml.safe_load(file)
    runs = [
        ({"accelerator": "cuda", "device_name": "NVIDIA H100 80GB HBM3"}, "datacenter_gpu"),
        ({"accelerator": "cuda", "device_name": "Tesla V100-SXM2-16GB"}, "datacenter_gpu"),
        ({"accelerator": "cuda", "device_name": "NVIDIA H100 80GB HBM3", "gpu_percent": 97.0}, "datacenter_gpu"),
        ({"accelerator": "cuda", "device_name": "NVIDIA H100 80GB HBM3", "gpu_percent": 42.0}, "waiting_gpu"),
        ({"accelerator": "cuda", "device_name": "NVIDIA GeForce RTX 4090"}, "desktop_gpu"),
        ({"accelerator": "cuda", "device_name": "NVIDIA RTX 4060 Laptop GPU", "power_source": "mains"}, "laptop"),
        ({"accelerator": "metal", "device_name": "Apple M1", "power_source": None}, "apple_gpu"),
        ({"accelerator": "cpu", "device_name": None, "virtual": True}, "virtual_cpu"),
        ({"accelerator": "cpu", "device_name": None, "virtual": False}, "bare_cpu"),
        ({"accelerator": "cpu", "device_name": None, "power_source": float("nan"), "virtual": None}, "unknown"),
    ]
    for run, kind in runs:
        assert noise.kind_name(run) == kind
    assert {kind for _, kind in runs} == set(catalog)
    assert all(entry["source"] and entry["date"] for entry in catalog.values())
