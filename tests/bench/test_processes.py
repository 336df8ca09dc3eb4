"""A job that fails, takes too long or takes too much memory is told from one that is done."""

import subprocess

import numpy as np
import pytest

from bench.cluster.cost import peak_gb, timed
from bench.cluster.processes import Limits, run_job
from bench.cluster.worker import Job


@pytest.fixture
def job(tmp_path, world):
    arrays = {"vectors": world.vectors, "planted": world.label, "band": world.band, "sample": np.arange(50)}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return Job("hdbscan", str(tmp_path), 0)


def run(job, tmp_path, **limits):
    return run_job(job, tmp_path / "out", tmp_path / "compiled", Limits(**{"time_s": 120.0, **limits}))


def test_a_job_leaves_costs_and_labels(job, tmp_path):
    measured = run(job, tmp_path, memory_gb=30.0)
    assert measured["status"] == "ok"
    assert measured["memory_limit_gb"] == 30.0
    assert len(measured["passes"]) == 3
    assert 0.0 < measured["cpu_s"] < 60.0
    assert 0.02 < measured["peak_gb"] < 5.0
    label = np.load(tmp_path / "out" / "label.npy")
    assert len(label) == 1_000
    assert measured["clusters"] == label.max() + 1 > 1


def test_too_long(job, tmp_path):
    measured = run(job, tmp_path, time_s=0.2)
    assert (measured["status"], measured["reason"]) == ("over limit", "took more than 0.2 s")


def test_too_much_memory(job, tmp_path):
    measured = run(job, tmp_path, memory_gb=0.02)
    assert (measured["status"], measured["reason"]) == ("over limit", "held more than 0.02 GB")


def test_a_failure_says_why(job, tmp_path):
    np.save(tmp_path / "vectors.npy", np.full((100, 4), np.nan, np.float32))
    measured = run(job, tmp_path)
    assert measured["status"] == "failed"
    assert "ValueError" in measured["reason"]


def test_peak_is_the_process_own_and_not_inherited():
    held = np.ones(40_000_000)  # .32 GB
    child = subprocess.Popen(["sleep", "5"])
    try:
        assert held.nbytes / 1e9 < peak_gb()
        assert peak_gb(child.pid) < 0.1
    finally:
        child.kill()
        child.wait()
    assert peak_gb(child.pid) == 0.0


def test_cpu_of_children_counts_and_sleeping_does_not():
    _, busy = timed(
        lambda: subprocess.run(["sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"], check=True)
    )
    _, idle = timed(lambda: subprocess.run(["sleep", "0.3"], check=True))
    assert busy.cpu_s > 0.05
    assert idle.wall_s > 0.3
    assert idle.cpu_s < 0.2
