"""Workers reduce what there are many of: the same bits, whatever becomes of them."""

import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers import PATIENCE, classified, from_data, small_study

import biasvar as bv
from biasvar.execution import blocks
from biasvar.execution.store import Store

STUDIES = {
    "risk": lambda: small_study(replicates=16 * 600, block_size=16, test_points=8, n_train=[2]),
    "classification": lambda: classified().replace(
        replicates=16 * 130, block_size=16, test_points=8, n_train=[5], noise=[0.1]
    ),
    "data": lambda: from_data().replace(replicates=16 * 150, block_size=16),
    "tradeoff": lambda: bv.load(
        "tradeoff-of-scale",
        ["replicates=1600", "block_size=16", "test_points=8", "n_train=[5]", "budgets=[20, 50]"],
    ),
}

SLOW = ("classification", "tradeoff")


@pytest.fixture
def by_workers(monkeypatch):
    """So little is worth a task, and what is done by workers is noted."""
    monkeypatch.setattr(blocks, "TASK_SECONDS", 1e-4)
    monkeypatch.setattr(blocks, "SECONDS_PER_BYTE_SENT", 0.0)
    noted = []
    reduce = blocks.Workers.reduce

    def note(self, work, count):
        found = reduce(self, work, count)
        noted.append((count, len(found)))
        return found

    monkeypatch.setattr(blocks.Workers, "reduce", note)
    return noted


def digest_of(study, path, **how):
    bv.run(study, path, **how)
    return bv.digest(path)


@pytest.mark.parametrize("kind", ["risk", "data", *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW)])
def test_workers_reduce_to_the_same_bits(kind, client, store, tmp_path, by_workers):
    study = STUDIES[kind]()
    expected = digest_of(study, tmp_path / "alone.zarr", scheduler="synchronous", blocks_per_chunk=100)
    assert not by_workers
    assert digest_of(study, store, scheduler=client, blocks_per_chunk=7) == expected
    assert by_workers
    assert all(found == count > 1 for count, found in by_workers)
    assert bv.verify(store).ok


def test_more_replicates_and_a_merge_come_to_the_same_bits(client, store, tmp_path, by_workers):
    study = STUDIES["risk"]().replace(n_train=[2, 10])
    expected = digest_of(study, tmp_path / "alone.zarr", scheduler="synchronous")
    bv.run(study.replace(replicates=16 * 300, n_train=[2]), store, scheduler=client, blocks_per_chunk=9)
    assert digest_of(study, store, scheduler=client, blocks_per_chunk=9) == expected
    bv.run(study.replace(n_train=[10]), tmp_path / "ten.zarr", scheduler="threads")
    bv.merge([store, tmp_path / "ten.zarr"], tmp_path / "whole.zarr")
    assert bv.digest(tmp_path / "whole.zarr") == expected


def test_what_is_lost_with_workers_the_driver_does(client, store, tmp_path, by_workers, monkeypatch):
    study = STUDIES["risk"]()
    expected = digest_of(study, tmp_path / "alone.zarr", scheduler="synchronous")
    own, driver = blocks.Branches.do, os.getpid()

    def odd(self, study, index):
        if index % 2 and os.getpid() != driver:
            raise MemoryError
        return own(self, study, index)

    client.run(lambda: setattr(blocks.Branches, "do", odd))
    try:
        assert digest_of(study, store, scheduler=client, blocks_per_chunk=7) == expected
    finally:
        client.run(lambda: setattr(blocks.Branches, "do", own))
    assert any(0 < found < count for count, found in by_workers)


@pytest.mark.parametrize("harm", ["garbage", "loss"])
def test_damage_that_a_worker_finds_is_told_and_repaired(harm, client, store, tmp_path, by_workers):
    study = STUDIES["risk"]()
    expected = digest_of(study, tmp_path / "alone.zarr", scheduler="synchronous")
    said = []

    def spoil(progress):
        said.extend(progress.messages)
        if progress.stage == "summarising" and not any("simulating it again" in line for line in said):
            place = store / "blocks/n2/H0+H1/records/c/0/40/0"
            if harm == "loss":
                place.unlink(missing_ok=True)
            else:
                place.write_bytes(place.read_bytes()[:-8] + np.array([7.0]).tobytes())

    assert digest_of(study, store, scheduler=client, blocks_per_chunk=7, progress=spoil) == expected
    assert any("chunk 40 of blocks/n2/H0+H1 is damaged" in line and "simulating it again" in line for line in said)
    assert bv.verify(store).ok
    assert Store(store).attributes()["complete"]


def test_what_is_not_reduced_is_not_sent(client, store, monkeypatch, by_workers):
    monkeypatch.setattr(blocks, "SECONDS_PER_BYTE_SENT", 1.0)
    bv.run(STUDIES["data"](), store, scheduler=client, blocks_per_chunk=7)
    assert not by_workers


def test_a_worker_that_is_killed_in_the_middle_of_a_reduction_changes_no_bit(store, tmp_path, by_workers):
    from distributed import Client, LocalCluster

    study = STUDIES["risk"]()
    expected = digest_of(study, tmp_path / "alone.zarr", scheduler="synchronous")
    own, killed = blocks.Branches.do, tmp_path / "killed"

    def do(self, study, index):
        if index == 3 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return own(self, study, index)

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        client.run(lambda: setattr(blocks.Branches, "do", do))
        assert digest_of(study, store, scheduler=client, blocks_per_chunk=7) == expected
    assert killed.exists()
    assert all(found == count > 1 for count, found in by_workers)


DRIVER = """
import os, pickle, signal, sys
from pathlib import Path
from distributed import Client, LocalCluster
import biasvar as bv
from biasvar.execution import blocks

blocks.TASK_SECONDS, blocks.SECONDS_PER_BYTE_SENT = 1e-4, 0.0
reduce = blocks.Workers.reduce
if sys.argv[3] == "kill":
    def half(self, work, count):
        assert len(reduce(self, work, count // 2)) > 1
        os.kill(os.getpid(), signal.SIGKILL)
    blocks.Workers.reduce = half

if __name__ == "__main__":
    study = pickle.loads(Path(sys.argv[1]).read_bytes())
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        with Client(cluster) as client:
            bv.run(study, sys.argv[2], scheduler=client, blocks_per_chunk=7, progress=False)
"""


def test_a_driver_that_is_killed_in_the_middle_of_a_reduction_goes_on_to_the_same_bits(store, tmp_path):
    study = STUDIES["risk"]()
    expected = digest_of(study, tmp_path / "alone.zarr", scheduler="synchronous")
    (tmp_path / "study.pickle").write_bytes(pickle.dumps(study))
    (tmp_path / "driver.py").write_text(DRIVER)

    def drive(how):
        command = [sys.executable, tmp_path / "driver.py", tmp_path / "study.pickle", store, how]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert drive("kill").returncode == -signal.SIGKILL
    assert not Store(store).attributes()["complete"]
    assert (done := drive("go on")).returncode == 0, done.stderr
    assert bv.digest(store) == expected
