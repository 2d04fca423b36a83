"""Tasks, schedulers and progress, as they are seen from outside."""

import os
import subprocess
import sys

import cloudpickle
import dask
import numpy as np
import pytest
from helpers import PATIENCE, ROOT, small_study

import biasvar as bv
from biasvar.errors import BiasvarError
from biasvar.execution import graph
from biasvar.execution.backends import Location
from biasvar.execution.store import Store


def test_tasks_have_readable_names(study, store):
    from dask.utils import key_split

    Store(store).claim(study)
    (group, *_) = study.groups()
    blocks = Store(store).create(group, 16, 4, study.record_coordinates(group))
    tasks = graph.Tasks(graph.PackedStudy(study), graph.Job.of(Location.of(store), blocks), [1, 3])
    assert [key_split(key) for key in tasks.__dask_keys__()] == ["n2:H0+H1"] * 2
    # What they share, and one task per chunk, but none for chunks that are there.
    assert {key_split(key) for key in tasks.__dask_graph__()} == {"study", "job", "n2:H0+H1"}
    assert len(tasks.__dask_graph__()) == 4


def test_data_travel_once_and_not_with_every_task(store):
    x = np.random.default_rng(0).standard_normal((4000, 25))
    made = bv.DataStudy(name="large", data=(x, x[:, 0]), hypotheses={"H0": bv.Polynomial(0)}, n_train=[5])
    Store(store).claim(made)
    (group,) = made.groups()
    blocks = Store(store).create(group, 16, 4, made.record_coordinates(group))
    tasks = graph.Tasks(graph.PackedStudy(made), graph.Job.of(Location.of(store), blocks), range(4))
    sizes = sorted(len(cloudpickle.dumps(task)) for task in tasks.__dask_graph__().values())
    assert len(sizes) == 6
    assert sizes[-1] > x.nbytes
    assert sizes[-2] < 10_000
    assert sizes[-3] < 300


def test_each_worker_gets_the_data_once_and_dask_warns_of_nothing(client, store):
    def count():
        from biasvar.execution import graph

        received, before = [], graph._ReceivedStudy.__init__

        def counted(self, content):
            received.append(len(content))
            before(self, content)

        graph._ReceivedStudy.__init__, graph.before, graph.received = counted, before, received

    def counted():
        from biasvar.execution import graph

        graph._ReceivedStudy.__init__ = graph.before
        return graph.received

    x = np.random.default_rng(0).standard_normal((4000, 25))
    made = bv.DataStudy(
        name="large",
        data=(x, x[:, 0]),
        hypotheses={"H0": bv.Polynomial(0)},
        n_train=[5, 6],
        replicates=16 * 16,
        block_size=16,
    )
    client.run(count)
    # Warnings are errors here.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 kB"}):
        bv.run(made, store, scheduler=client, blocks_per_chunk=1)
    for sizes in client.run(counted).values():
        assert len(sizes) == 1
        assert sizes[0] > x.nbytes


@pytest.mark.parametrize("blocks_per_chunk", [4, 16])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_the_last_call_of_progress_says_that_all_is_done(scheduler, blocks_per_chunk, store):
    calls = []
    bv.run(
        small_study(),
        store,
        scheduler=scheduler,
        blocks_per_chunk=blocks_per_chunk,
        progress=lambda progress: calls.append((progress.done, progress.total)),
    )
    chunks = 2 * 16 // blocks_per_chunk
    assert calls[-1] == (chunks, chunks)
    assert [done for done, _ in calls if done][:chunks] == list(range(1, chunks + 1))


@pytest.mark.parametrize("scheduler", ["fast", "tcp://127.0.0.1:1"])
def test_a_scheduler_that_is_not_there_is_told(scheduler, study, store):
    with dask.config.set({"biasvar.connect-timeout": "1s"}), pytest.raises(BiasvarError, match="scheduler"):
        bv.run(study, store, scheduler=scheduler)
    assert not store.exists()


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "import biasvar as bv\nfrom helpers import small_study\n"
        f"bv.run(small_study(), {str(tmp_path / 's.zarr')!r}, scheduler='processes')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode != 0
    assert "if __name__ == '__main__':" in done.stderr
    assert "BrokenProcessPool" not in done.stderr.splitlines()[-1]


def test_a_store_may_be_reached_by_a_relative_path_from_a_changing_directory(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    bv.run(study, "here.zarr", progress=lambda _: os.chdir(tmp_path / "elsewhere"), blocks_per_chunk=4)
    assert bv.verify(tmp_path / "here.zarr").ok
