"""The same bits on every scheduler, in any chunks, after any kill."""

import os
import signal
import subprocess
import sys
import time

import dask
import pytest
import xarray as xr
from helpers import ROOT, classified, everything, from_data, until

import biasvar as bv


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Digest of the study run one task after another: the specification of all other ways."""
    path = tmp_path_factory.mktemp("reference") / "store.zarr"
    bv.run(everything(), path, scheduler="synchronous")
    return bv.digest(path)


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
@pytest.mark.parametrize("blocks_per_chunk", [3, 16])
def test_same_bits_on_local_schedulers(scheduler, blocks_per_chunk, store, reference):
    bv.run(everything(), store, scheduler=scheduler, blocks_per_chunk=blocks_per_chunk)
    assert bv.digest(store) == reference


@pytest.mark.parametrize("workers", [1, 2])
def test_same_bits_on_a_cluster(client, workers, store, reference):
    address = client.cluster.scheduler_address
    assert len(client.scheduler_info()["workers"]) == 2
    bv.run(everything(), store, scheduler=address if workers == 1 else None, blocks_per_chunk=5 * workers)
    assert bv.digest(store) == reference


KINDS = {"classified": classified, "from_data": from_data}


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Digests of studies of other kinds, run one task after another."""
    found = {}
    for kind, make in KINDS.items():
        path = tmp_path_factory.mktemp(kind) / "store.zarr"
        bv.run(make(), path, scheduler="synchronous")
        found[kind] = bv.digest(path)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheduler", ["threads", pytest.param("processes", marks=pytest.mark.slow), "cluster"])
def test_same_bits_of_studies_of_other_kinds(kind, scheduler, store, references, request):
    chosen = request.getfixturevalue("client") if scheduler == "cluster" else scheduler
    bv.run(KINDS[kind](), store, scheduler=chosen, blocks_per_chunk=3)
    assert bv.digest(store) == references[kind]


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import biasvar as bv
import helpers

def seen(progress):
    if progress.done >= 3:
        os.kill(os.getpid(), signal.SIGKILL)

bv.run(getattr(helpers, sys.argv[1])(), sys.argv[2], scheduler="synchronous", blocks_per_chunk=2, progress=seen)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_of_studies_of_other_kinds_after_a_kill(kind, store, references):
    script = KILLED.format(tests=str(ROOT / "tests"))
    killed = subprocess.run([sys.executable, "-c", script, kind, str(store)], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(store.glob("blocks/*/*/count/c/*"))
    assert not (store / "expected_risk").exists()
    bv.run(KINDS[kind](), store, scheduler="threads", blocks_per_chunk=2)
    assert bv.digest(store) == references[kind]


def test_same_bits_with_single_block_tasks(store, reference):
    bv.run(everything(), store, scheduler="synchronous", blocks_per_chunk=1)
    assert bv.digest(store) == reference


def test_lazy_computes_nothing_until_asked_and_then_the_same(study, store, monkeypatch):
    calls = []
    monkeypatch.setattr(bv.RiskStudy, "simulate", lambda *a: calls.append(a))
    lazy = bv.lazy(study)
    assert calls == []
    monkeypatch.undo()
    assert all(dask.is_dask_collection(variable.data) for variable in lazy.data_vars.values())
    xr.testing.assert_equal(lazy.compute(), bv.run(study, store))


def test_a_client_serves_as_scheduler(client, study, store):
    assert bv.run(study, store, scheduler=client).equals(bv.lazy(study).compute(scheduler="synchronous"))


DRIVER = """
import sys
import threading
import biasvar as bv
sys.path.insert(0, {tests!r})
from helpers import everything
if __name__ == "__main__":
    print("ready", flush=True)
    bv.run(everything(), sys.argv[1], scheduler=sys.argv[2], blocks_per_chunk=2)
"""


@pytest.mark.parametrize(
    ("scheduler", "delay"),
    [
        ("synchronous", 0.0),
        ("synchronous", 0.3),
        ("threads", 0.1),
        ("threads", 0.4),
        pytest.param("processes", 0.2, marks=pytest.mark.slow),
    ],
)
def test_same_bits_after_the_driver_is_killed(scheduler, delay, store, reference, tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(tests=str(ROOT / "tests")))
    process = subprocess.Popen(
        [sys.executable, str(script), str(store), scheduler],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    until(lambda: list(store.glob("blocks/*/*/count/c/*")) or process.poll() is not None)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    bv.run(everything(), store, scheduler="synchronous")
    assert bv.verify(store).ok
    assert bv.digest(store) == reference
