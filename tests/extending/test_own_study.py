"""A kind of study of one's own has what ours have: same bits, resumption, extension, tables, errors that cover."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import command
from maximum import Maximum

import biasvar as bv
from biasvar.execution import blocks
from biasvar.studies.blocks import run_in_memory

SMALL = {"replicates": 2**13, "block_size": 2**8}


def study(**changes):
    return Maximum(**{"name": "maximum", "n": (1, 2, 5), **SMALL, **changes})


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    store = tmp_path_factory.mktemp("maximum") / "reference.zarr"
    bv.run(study(), store, scheduler="synchronous", progress=False)
    return store


def test_its_numbers_are_true(reference):
    summary = bv.open(reference)
    n = summary.n
    # Four standard errors of 32 blocks, six numbers: a false alarm in 600.
    assert (abs(summary.maximum - n / (n + 1)) < 4 * summary.maximum_se).all()
    assert (abs(summary.above - (1 - 0.9**n)) < 4 * summary.above_se).all()
    assert set(summary.status.values) == {"ok"}


def test_its_intervals_cover():
    outcomes = []
    for seed in range(200):
        summary = run_in_memory(study(n=(3,), seed=seed, replicates=2**10, block_size=2**6))
        bounds = bv.confidence_interval(summary, "maximum").squeeze()
        outcomes.append(bool(bounds.low <= 3 / 4 <= bounds.high))
    # Binomial(200, 0.95) is within 177 and 200 with an error rate of 1e-4.
    assert sum(outcomes) >= 177


@pytest.mark.slow
def test_workers_reduce_it_to_the_same_bits(tmp_path, monkeypatch):
    from distributed import Client, LocalCluster

    # So little is worth a task.
    monkeypatch.setattr(blocks, "TASK_SECONDS", 1e-4)
    monkeypatch.setattr(blocks, "SECONDS_PER_BYTE_SENT", 0.0)
    sent, reduce = [], blocks.Workers.reduce

    def note(*asked):
        found = reduce(*asked)
        sent.extend(cell.series["maximum"].shape for _, part in sorted(found.items()) for cell in part.cells)
        return found

    monkeypatch.setattr(blocks.Workers, "reduce", note)
    many = study(n=(1, 3), replicates=16 * 600, block_size=16)
    bv.run(many, tmp_path / "alone.zarr", scheduler="synchronous", progress=False)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        bv.run(many, tmp_path / "s.zarr", scheduler=client, blocks_per_chunk=7, progress=False)
    assert bv.digest(tmp_path / "s.zarr") == bv.digest(tmp_path / "alone.zarr")
    # Of nine leaves, and of what is left, workers send the average of each block, for two cells.
    assert sent == [(64,)] * 18 + [(24,)] * 2


@pytest.mark.parametrize(
    "scheduler",
    ["threads", pytest.param("processes", marks=pytest.mark.slow), pytest.param("client", marks=pytest.mark.slow)],
)
def test_the_same_bits_everywhere(scheduler, reference, tmp_path):
    if scheduler == "client":
        from distributed import Client, LocalCluster

        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**options) as cluster, Client(cluster) as client:
            bv.run(study(), tmp_path / "s.zarr", scheduler=client, blocks_per_chunk=8, progress=False)
    else:
        bv.run(study(), tmp_path / "s.zarr", scheduler=scheduler, blocks_per_chunk=8, progress=False)
    assert bv.digest(tmp_path / "s.zarr") == bv.digest(reference)


def test_a_killed_run_goes_on(tmp_path):
    store, script = tmp_path / "killed.zarr", Path(__file__).parent / "maximum.py"
    process = subprocess.Popen([sys.executable, script, store])
    try:
        while not list(store.glob("blocks/*/*/count/c/*")):
            assert process.poll() is None, "the run ended before it could be killed"
    finally:
        process.kill()
        process.wait()
    large = study(replicates=2**18, block_size=2**10)
    bv.run(large, store, scheduler="threads", progress=False)
    bv.run(large, tmp_path / "once.zarr", scheduler="threads", progress=False)
    assert bv.digest(store) == bv.digest(tmp_path / "once.zarr")


def test_it_is_extended_and_refused(reference, tmp_path):
    store = tmp_path / "extended.zarr"
    bv.run(study(n=(1, 2), replicates=2**12), store, scheduler="synchronous", progress=False)
    bv.run(study(), store, scheduler="synchronous", progress=False)
    assert bv.digest(store) == bv.digest(reference)
    with pytest.raises(bv.BiasvarError, match=r"bound: the store has 0.9, the study 0.5"):
        bv.run(study(bound=0.5), store, scheduler="synchronous", progress=False)


def test_it_is_shown(reference, tmp_path):
    shown = command("show", reference, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0].split() == ["n", "maximum", "above", "status"]
    cells = json.loads(command("show", "--json", reference, cwd=tmp_path).stdout)["cells"]
    assert [cell["n"] for cell in cells] == [1, 2, 5]
    assert all(0 < cell["maximum_se"] < 0.01 for cell in cells)


def test_a_heavy_tail_loses_its_error_and_a_failure_is_told():
    class Heavy(Maximum):
        def replicate(self, generator, size, n):
            if n == 5:
                raise ValueError("five is too many")
            return np.tile(generator.pareto(0.5, size)[:, None], 2)

    summary = bv.lazy(Heavy(name="heavy", n=(1, 5), replicates=2**13, block_size=2**8)).compute()
    assert list(summary.status.values) == ["infinite", "failed"]
    assert np.isnan(summary.maximum_se.values).all()
    assert "five is too many" in str(summary.status_reason.sel(n=5).item())


def test_bad_fields_are_told_in_a_line():
    with pytest.raises(bv.BiasvarError, match=r"replicates: expected a multiple of block_size=256 of at least 4096"):
        study(replicates=100)
    with pytest.raises(bv.BiasvarError, match="has a value twice"):
        study(n=(1, 1))


def test_a_store_gives_a_kind_with_a_plain_name_back(tmp_path, monkeypatch):
    (tmp_path / "lecture_kinds.py").write_text(
        "from typing import Annotated\n"
        "import biasvar as bv\n\n"
        "class Least(bv.AverageStudy):\n"
        "    kind = 'least'\n"
        "    numbers = (bv.Number('least', 'least of n uniforms'),)\n"
        "    n: Annotated[tuple[int, ...], bv.Axis()]\n\n"
        "    def replicate(self, generator, size, n):\n"
        "        return generator.random((size, n)).min(axis=1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from lecture_kinds import Least

    store, yaml = tmp_path / "s.zarr", tmp_path / "s.yaml"
    bv.run(Least(name="least", n=(1, 2), **SMALL), store, scheduler="synchronous", progress=False)
    loaded = bv.load(store)
    assert type(loaded) is Least
    assert loaded == Least(name="least", n=(1, 2), **SMALL)
    assert bv.load(store, ["n=[1, 2, 3]"]).n == (1, 2, 3)
    yaml.write_text("kind: lecture_kinds:Least\nname: least\nn: [1, 2]\nreplicates: 8192\n")
    assert bv.load(yaml) == loaded
    yaml.write_text("kind: lecture_kinds:Most\nname: least\n")
    with pytest.raises(bv.BiasvarError, match=r"kind: 'lecture_kinds:Most' cannot be imported: .*Most"):
        bv.load(yaml)
    yaml.write_text("kind: json:JSONDecoder\nname: least\n")
    with pytest.raises(bv.BiasvarError, match=r"'json:JSONDecoder' is no kind of study; derive its class"):
        bv.load(yaml)
    yaml.write_text("kind: [least]\nname: least\n")
    with pytest.raises(bv.BiasvarError, match=r"unknown kind \['least'\]; choose one of .*risk"):
        bv.load(yaml)


def test_a_kind_of_a_session_says_that_it_cannot_come_back(tmp_path):
    class Local(Maximum):
        kind = "local"

    bv.run(Local(name="local", n=(1,), **SMALL), tmp_path / "s.zarr", scheduler="synchronous", progress=False)
    with pytest.raises(bv.BiasvarError, match=r"kind: 'local' is of a script or a session, .* make the study as it"):
        bv.load(tmp_path / "s.zarr")


def test_replicates_that_have_changed_are_refused(tmp_path):
    class Squares(Maximum):
        def replicate(self, generator, size, n):
            return super().replicate(generator, size, n) ** 2

    bv.run(study(), tmp_path / "s.zarr", scheduler="synchronous", progress=False)
    with pytest.raises(bv.BiasvarError, match=r"replicate: cell n=1 has other values than those that the store"):
        bv.run(Squares(name="maximum", n=(1, 2, 5), **SMALL), tmp_path / "s.zarr", progress=False)
