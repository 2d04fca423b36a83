"""The engine: the same bits everywhere, resume, extension, repair, refusal."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings

import dask
import numpy as np
import pytest
import xarray as xr
from helpers import ROOT, Noisy, everything, small_study

import biasvar as bv
from biasvar.errors import BiasvarError, RunError, StoreError, StoreLockedError, StudyChangedError, StudyError
from biasvar.execution import graph, records
from biasvar.execution.backends import Location
from biasvar.execution.store import Store


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Digest of the study run one task after another: the specification of all other ways."""
    path = tmp_path_factory.mktemp("reference") / "store.zarr"
    bv.run(everything(), path, scheduler="synchronous")
    return bv.digest(path)


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


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


def test_tasks_have_readable_names(study, store):
    from dask.utils import key_split

    Store(store).claim(study)
    (group, *_) = study.groups()
    blocks = Store(store).create(group, 16, 4, study.record_coordinates(group))
    tasks = graph.Tasks.of(graph.PackedStudy(study), store, blocks, [1, 3])
    assert [key_split(key) for key in tasks.__dask_keys__()] == ["n2:H0+H1"] * 2
    optimised = tasks.__dask_optimize__(tasks.__dask_graph__(), tasks.__dask_keys__())
    assert len(dict(optimised)) == 2  # one task per chunk, and none for chunks that are there


def simulated_blocks(monkeypatch, study, store, **options):
    """Run a study in this process and return which blocks were simulated."""
    seen = []
    simulate = type(study).simulate

    def spy(self, group, block, *work):
        # A trial, which is timed and not kept, is told how much of the work to do.
        if not work:
            seen.append((group.path, block))
        return simulate(self, group, block, *work)

    monkeypatch.setattr(type(study), "simulate", spy)
    bv.run(study, store, scheduler="synchronous", **options)
    monkeypatch.undo()
    return seen


def test_a_finished_store_is_not_simulated_again(study, store, monkeypatch):
    bv.run(study, store)
    assert simulated_blocks(monkeypatch, study, store) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"replicates": 24 * 64}, {("n2/H0+H1", b) for b in range(16, 24)} | {("n10/H0+H1", b) for b in range(16, 24)}),
        ({"noise": [0.0, 0.1, 0.5]}, set()),  # noise is integrated: nothing is new
        ({"n_train": [2, 5, 10]}, {("n5/H0+H1", b) for b in range(16)}),
        (
            {
                "hypotheses": {"H0": bv.Polynomial(0), "H1": bv.Polynomial(1), "H2": bv.Polynomial(2)},
                "n_train": [2, 10],
            },
            {(f"n{n}/H2", b) for n in (2, 10) for b in range(16)},
        ),
    ],
    ids=["replicates", "noise", "n_train", "hypotheses"],
)
def test_extension_simulates_only_what_is_new_and_equals_a_fresh_run(changes, expected, study, tmp_path, monkeypatch):
    grown, fresh = tmp_path / "grown.zarr", tmp_path / "fresh.zarr"
    before = bv.run(study, grown, blocks_per_chunk=5)  # 16 blocks: the last chunk is not full
    seen = simulated_blocks(monkeypatch, small_study(**changes), grown)
    assert set(seen) == expected
    assert len(seen) == len(expected)
    after = bv.open(grown)
    bv.run(small_study(**changes), fresh)
    assert bv.digest(grown) == bv.digest(fresh)
    if "replicates" not in changes:
        old = after.sel(hypothesis=before.hypothesis, n_train=before.n_train, noise=before.noise)
        np.testing.assert_array_equal(old.bias2.values, before.bias2.values)


def test_extension_of_simulated_noise_adds_only_the_new_level(store, tmp_path, monkeypatch):
    base = {"hypotheses": {"mean": Noisy(), "H0": bv.Polynomial(0)}, "n_train": [5]}
    bv.run(small_study(**base), store)
    wider = small_study(**base, noise=[0.0, 0.25, 0.5])
    assert {path for path, _ in simulated_blocks(monkeypatch, wider, store)} == {"n5/mean@0.25"}
    bv.run(wider, tmp_path / "fresh.zarr")
    assert bv.digest(store) == bv.digest(tmp_path / "fresh.zarr")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "seed: the store has 0, the study 1"),
        ({"target": bv.Sine(2)}, "target"),
        ({"n_train": [2]}, r"n_train: the store has \[10\]"),
        ({"noise": [0.0]}, r"noise: the store has \[0.5\]"),
        ({"hypotheses": {"H0": bv.Polynomial(0)}}, "hypotheses: the store has H1"),
        ({"hypotheses": {"H0": bv.Polynomial(0), "H1": bv.Polynomial(2)}, "n_train": [2, 10]}, "hypotheses.H1"),
        ({"replicates": 16 * 128, "block_size": 128}, "block_size"),
        ({"sampler": "random"}, "sampler"),
        ({"replicates": None, "precision": {"bias2": 1.0}}, "replicates: the store has 1024, the study None"),
    ],
)
def test_a_changed_study_is_refused_with_the_difference(changes, words, study, store):
    bv.run(study, store)
    before = bv.digest(store)
    with pytest.raises(StudyChangedError, match=words):
        bv.run(small_study(**changes), store)
    assert bv.verify(store).ok
    assert bv.digest(store) == before


def test_fewer_replicates_are_refused(store):
    bv.run(small_study(replicates=24 * 64), store)
    with pytest.raises(StudyChangedError, match="only 1024"):
        bv.run(small_study(), store)


def test_names_that_look_alike_do_not_collide(store):
    constant = {label: bv.Polynomial(0) for label in ("a", "b")}
    bv.run(small_study(hypotheses=constant, n_train=[5]), store)
    more = constant | {
        "a+b": bv.Polynomial(1),
        "zarr.json": bv.Polynomial(2),
        "x.partial": bv.Constant(1),
        "c" * 300: bv.Ridge(1, 1),
    }
    summary = bv.run(small_study(hypotheses=more, n_train=[5]), store)
    assert "failed" not in summary.status.values
    assert bv.run(small_study(hypotheses=more, n_train=[5]), store).equals(summary)
    assert bv.verify(store).ok


MODULE = """
def f(x):
    return {factor} * x

class Mean:
    factor = {factor}

    def fit_predict(self, x, y, at, rng):
        return self.factor * y.mean(axis=1)[:, None] + 0 * at
"""


@pytest.mark.parametrize("what", ["target", "hypotheses"])
def test_an_edited_function_of_the_same_name_is_noticed(what, store, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    use = {"target": {"target": "edited:f"}, "hypotheses": {"hypotheses": {"m": "edited:Mean"}}}[what]
    for factor in (1, 3):
        (tmp_path / "edited.py").write_text("#" * factor + MODULE.format(factor=factor))
        monkeypatch.delitem(sys.modules, "edited", raising=False)
        if factor == 1:
            bv.run(small_study(**use, n_train=[5]), store, scheduler="synchronous")
        else:
            with pytest.raises(StudyChangedError, match=what):
                bv.run(small_study(**use, n_train=[5]), store, scheduler="synchronous")


@pytest.mark.parametrize("use", [{"target": "unheard:f"}, {"hypotheses": {"m": "unheard:Mean"}}], ids=["target", "set"])
def test_a_module_that_workers_lack_is_told(use, client, store, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unheard.py").write_text(MODULE.format(factor=1))
    with pytest.raises(StudyError, match="No module named 'unheard'"):
        bv.run(small_study(**use, n_train=[5]), store, scheduler=client)
    assert bv.run(small_study(**use, n_train=[5]), store, scheduler="synchronous").status.values.any()


def test_a_study_that_cannot_be_pickled_is_told(client, store):
    lock = threading.Lock()

    def target(x):
        with lock:
            return x

    with pytest.raises(StudyError, match="cannot be pickled"):
        bv.run(small_study(target=target), store, scheduler=client)
    assert bv.run(small_study(target=target), store, scheduler="threads").replicates.values.all()


class Spoiler:
    """Write into whatever it is given."""

    def fit_predict(self, x, y, at, rng):
        for array in (x, y):
            with contextlib.suppress(ValueError):
                array -= 100.0
        at -= 100.0
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1)


def test_a_set_that_writes_into_its_arguments_spoils_no_other(tmp_path):
    alone, together = {"near": bv.NearestNeighbors(2)}, {"bad": Spoiler(), "near": bv.NearestNeighbors(2)}
    one = bv.run(small_study(hypotheses=alone, n_train=[5]), tmp_path / "a.zarr")
    two = bv.run(small_study(hypotheses=together, n_train=[5]), tmp_path / "b.zarr")
    xr.testing.assert_equal(one.expected_risk, two.expected_risk.sel(hypothesis=["near"]))
    mean = bv.run(small_study(hypotheses={"mean": Noisy()}, n_train=[5]), tmp_path / "c.zarr")
    np.testing.assert_array_equal(two.empirical_risk.sel(hypothesis="bad"), mean.empirical_risk.sel(hypothesis="mean"))


class Broken:
    def fit_predict(self, x, y, at, rng):
        raise self.error


def test_the_machines_faults_are_not_remembered_as_the_sets(store):
    broken = Broken()
    broken.error = OSError("the disk is gone")
    study = small_study(hypotheses={"b": broken}, n_train=[5])
    with pytest.raises(OSError, match="the disk is gone"):  # already when its cost is tried out
        bv.run(study, store)
    assert "records" not in str(list(store.glob("blocks/*/*/count/c/*")))


def test_a_hook_that_raises_leaves_the_store_as_it_was(store, study):
    class Talkative(Noisy):
        def tail_index(self, inputs, n_train):
            raise RuntimeError("no idea")

    before = bv.run(study, store)
    sets = {"H0": bv.Polynomial(0), "H1": bv.Polynomial(1), "t": Talkative()}
    with pytest.raises(StudyError, match=r"hypotheses.t: RuntimeError: no idea"):
        bv.run(small_study(hypotheses=sets), store)
    xr.testing.assert_equal(bv.open(store).load().bias2, before.bias2)


def test_a_link_to_a_held_store_is_held_too(study, store):
    bv.run(study, store)
    link = store.with_name("link.zarr")
    link.symlink_to(store)
    with Location.of(store).hold(), pytest.raises(StoreLockedError):
        bv.run(study, link)


def test_a_store_may_be_reached_by_a_relative_path_from_a_changing_directory(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    bv.run(study, "here.zarr", progress=lambda _: os.chdir(tmp_path / "elsewhere"), blocks_per_chunk=4)
    assert bv.verify(tmp_path / "here.zarr").ok


def test_precision_that_is_not_reached_is_told_once_or_raised(store):
    study = small_study(replicates=None, precision={"bias2": 1e-12}, max_replicates=2**11)
    with pytest.warns(bv.BiasvarWarning, match="precision not reached: the largest standard error of bias2 is") as told:
        summary = bv.run(study, store)
    assert len(told) == 1
    with pytest.raises(RunError, match="precision not reached"):
        bv.run(study, store, strict=True)
    assert bv.open(store).equals(summary)


def test_failed_cells_are_told_once_or_raised(store):
    study = small_study(hypotheses={"H0": bv.Polynomial(0), "H5": bv.Polynomial(5)}, n_train=[3])
    with pytest.warns(bv.BiasvarWarning, match="study small: 2 of 4 cells failed, the first at hypothesis=H5") as told:
        bv.run(study, store)
    assert len(told) == 1
    with pytest.raises(RunError, match="2 of 4 cells failed"):
        bv.run(study, store, strict=True)


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


def test_altered_coordinates_are_found_and_mended(store):
    bv.run(small_study(), store)
    for name in ("place", "moment", "cell"):
        file = next(store.glob(f"blocks/n2/*/{name}/c/0"))
        content = bytearray(file.read_bytes())
        content[-6] ^= 1
        file.write_bytes(content)
        assert "coordinates of blocks/n2/H0+H1 are damaged" in str(bv.verify(store)), name
        bv.run(small_study(), store)
        assert bv.verify(store).ok


def test_a_store_that_was_put_into_another_is_noticed_and_kept(store):
    for inner in (store / "inner.zarr", store / "blocks" / "inner.zarr"):
        bv.run(small_study(), store)
        shutil.copytree(store, store.parent / "copy.zarr")
        shutil.move(store.parent / "copy.zarr", inner)
        assert "another store lies in this one" in str(bv.verify(store))
        bv.run(small_study(), store)
        assert bv.verify(inner).ok
        shutil.rmtree(inner)
        assert bv.verify(store).ok


def test_a_client_serves_as_scheduler(client, study, store):
    assert bv.run(study, store, scheduler=client).equals(bv.lazy(study).compute(scheduler="synchronous"))


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "import biasvar as bv\nfrom helpers import small_study\n"
        f"bv.run(small_study(), {str(tmp_path / 's.zarr')!r}, scheduler='processes')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "if __name__ == '__main__':" in done.stderr
    assert "BrokenProcessPool" not in done.stderr.splitlines()[-1]


# Damage


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path):
    path.write_bytes(os.urandom(path.stat().st_size))


def delete(path):
    path.unlink()


def swap(path):
    other = path.with_name(str((int(path.name) + 1) % 2)) if path.name.isdigit() else path
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


CHUNKS = {
    "records": "blocks/n2/H0+H1/records/c/0/1/0",
    "checksum": "blocks/n2/H0+H1/checksum/c/0/1",
    "count": "blocks/n2/H0+H1/count/c/1",
    "metadata": "blocks/n2/H0+H1/records/zarr.json",
    "group": "blocks/n2/H0+H1/zarr.json",
    "summary": "bias2/c/0/0/0",
    "summary metadata": "bias2/zarr.json",
    "root": "zarr.json",
    "blocks": "blocks/zarr.json",
    "problem": "blocks/n2/zarr.json",
    "coordinate": "blocks/n2/H0+H1/moment/zarr.json",
}


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("harm", [truncate, garbage, delete])
def test_verify_finds_damage_and_run_repairs_it(harm, chunk, study, store):
    bv.run(study, store, blocks_per_chunk=8)
    before = bv.digest(store)
    harm(store / CHUNKS[chunk])
    assert not bv.verify(store).ok
    bv.run(study, store)
    assert bv.verify(store).ok
    assert bv.digest(store) == before


@pytest.mark.parametrize("size", [1, 3000, records.SPAN_BYTES])
def test_chunks_read_together_are_the_same_and_damage_is_told_of_the_right_one(
    size, study, store, tmp_path, monkeypatch
):
    bv.run(study, tmp_path / "whole.zarr", blocks_per_chunk=16)
    monkeypatch.setattr(records, "SPAN_BYTES", size)
    bv.run(study, store, blocks_per_chunk=1)
    assert bv.digest(store) == bv.digest(tmp_path / "whole.zarr")
    for chunk in (3, 5):
        garbage(store / f"blocks/n2/H0+H1/checksum/c/0/{chunk}")
    told = bv.verify(store).problems
    assert len(told) == 2
    for problem, chunk in zip(told, (3, 5), strict=True):
        assert f"chunk {chunk} of blocks/n2/H0+H1" in problem


def run_and_lose(lost, store):
    """Run, and delete something after three chunks; return what was said."""
    said = []

    def delete_once(progress):
        place = store / lost
        if progress.done == 3 and not said:
            said.append("three chunks")
            place.unlink() if place.is_file() else shutil.rmtree(place)
        said.extend(progress.messages)

    bv.run(small_study(), store, scheduler="synchronous", blocks_per_chunk=4, progress=delete_once)
    return said


@pytest.mark.parametrize("lost", ["blocks/n2/H0+H1/count/zarr.json", "blocks/n2/H0+H1/zarr.json", "blocks/n2/H0+H1"])
def test_what_is_deleted_during_a_run_is_simulated_again(lost, store, tmp_path):
    bv.run(small_study(), tmp_path / "sound.zarr")
    assert any("metadata of blocks/n2/H0+H1 was lost" in line for line in run_and_lose(lost, store))
    assert bv.verify(store).ok
    assert bv.digest(store) == bv.digest(tmp_path / "sound.zarr")


def test_groups_that_are_deleted_during_a_run_are_told_in_a_line(store, tmp_path):
    bv.run(small_study(), tmp_path / "sound.zarr")
    words = "metadata of blocks/.* is missing or damaged .*the same run goes on from there"
    with dask.config.set({"biasvar.retry-wait": "0.1s"}), pytest.raises(RunError, match=words):
        run_and_lose("blocks", store)
    bv.run(small_study(), store)
    assert bv.digest(store) == bv.digest(tmp_path / "sound.zarr")


def test_a_lost_reason_is_damage(store):
    study = small_study(hypotheses={"moody": Moody()}, n_train=[5])
    bv.run(study, store)
    before = bv.digest(store)
    next(store.glob("blocks/n5/*/failure/c/0/0")).unlink()
    assert not bv.verify(store).ok
    assert set(bv.run(study, store).status.values.ravel()) == {"failed"}
    assert bv.digest(store) == before


def test_chunks_that_changed_places_are_found(study, store):
    bv.run(study, store, blocks_per_chunk=8)
    before = bv.digest(store)
    folder = store / "blocks/n2/H0+H1/records/c/0"
    (folder / "0").rename(folder / "x")
    (folder / "1").rename(folder / "0")
    (folder / "x").rename(folder / "1")
    found = bv.verify(store)
    assert len(found.problems) == 2
    assert "checksum" in found.problems[0]
    bv.run(study, store)
    assert bv.digest(store) == before


def test_a_half_written_file_is_swept_away(study, store):
    bv.run(study, store)
    orphan = store / "blocks/n2/H0+H1/records/c/0/0/0.1234.partial"
    orphan.write_bytes(b"half")
    bv.run(study, store)
    assert not orphan.exists()


# Kills and locks

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
    [("synchronous", 0.0), ("synchronous", 0.3), ("threads", 0.1), ("threads", 0.4), ("processes", 0.2)],
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
    deadline = time.monotonic() + 60
    while not list(store.glob("blocks/*/*/count/c/*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    bv.run(everything(), store, scheduler="synchronous")
    assert bv.verify(store).ok
    assert bv.digest(store) == reference


def test_a_second_run_is_refused_and_told_who_holds_the_store(study, store):
    with Location.of(store).hold():
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()} of"):
            bv.run(study, store)
        assert Location.of(store).holder()["pid"] == os.getpid()
    assert Location.of(store).holder() is None
    bv.run(study, store)


def test_only_one_of_many_gets_the_lock(store):
    inside, most, refused = [], [], []

    def contend():
        for _ in range(50):
            try:
                with Location.of(store).hold():
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except StoreLockedError:
                refused.append(1)

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 400


# Stores that are something else


def test_a_path_that_holds_something_else_is_refused_and_left_alone(study, tmp_path):
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="not a biasvar store"):
        bv.run(study, folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_a_foreign_zarr_store_is_refused_and_left_alone(study, tmp_path):
    path = tmp_path / "foreign.zarr"
    data = xr.Dataset({"a": ("x", np.arange(3.0))})
    data.to_zarr(path, consolidated=False)
    with pytest.raises(StoreError, match="not a biasvar store"):
        bv.run(study, path)
    xr.testing.assert_identical(xr.open_zarr(path, consolidated=False).load(), data)


def test_a_file_is_refused(study, tmp_path):
    path = tmp_path / "file.zarr"
    path.write_text("hello")
    with pytest.raises(StoreError, match="not a biasvar store"):
        bv.run(study, path)
    assert path.read_text() == "hello"


def test_an_unfinished_store_is_not_opened(study, store):
    Store(store).claim(study)
    with pytest.raises(StoreError, match="has not finished"):
        bv.open(store)


def test_a_missing_store_is_told(tmp_path):
    for read in (bv.open, bv.verify, bv.digest):
        with pytest.raises(StoreError, match="does not exist"):
            read(tmp_path / "nowhere.zarr")


@pytest.mark.parametrize("scheduler", ["fast", "tcp://127.0.0.1:1"])
def test_a_scheduler_that_is_not_there_is_told(scheduler, study, store):
    with dask.config.set({"biasvar.connect-timeout": "1s"}), pytest.raises(BiasvarError, match="scheduler"):
        bv.run(study, store, scheduler=scheduler)
    assert not store.exists()


# Opening without us


def test_plain_xarray_opens_the_root_without_a_warning(study, store):
    summary = bv.run(study, store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xr.open_zarr(store).load()
        tree = xr.open_datatree(store, engine="zarr", consolidated=False)
    for name in summary.data_vars:
        kind = float if summary[name].dtype == float else object
        np.testing.assert_array_equal(opened[name].values.astype(kind), summary[name].values.astype(kind))
    assert opened.attrs["seed"] == 0
    assert tree["blocks/n2/H0+H1"].records.dims == ("cell", "block", "statistic")
    assert (tree["blocks/n2/H0+H1"]["count"] == study.block_size).all()


def test_every_variable_has_a_label_and_a_standard_error(study, store):
    summary = bv.run(study, store)
    for name, variable in summary.data_vars.items():
        assert variable.attrs["long_name"], name
    numbers = [name for name in summary.data_vars if summary[name].dims[:3] == ("hypothesis", "n_train", "noise")]
    without = {"tail_index", "bias2_shift", "quadrature_error", "replicates", "block_count", "status", "status_reason"}
    for name in numbers:
        if not name.endswith("_se") and name not in without:
            assert f"{name}_se" in summary


# Precision


def test_precision_adds_blocks_until_it_is_reached(store, tmp_path):
    goal = {"expected_risk": 2e-3}
    study = small_study(replicates=None, precision=goal, max_replicates=2**18, noise=[0.0])
    summary = bv.run(study, store)
    assert (summary.expected_risk_se <= goal["expected_risk"]).all()
    replicates = summary.replicates.sel(noise=0.0)
    assert (replicates.sel(n_train=10) < replicates.sel(n_train=2)).all()  # each size has what it needs
    bv.run(study, tmp_path / "other.zarr", scheduler="threads", blocks_per_chunk=3)
    assert bv.digest(store) == bv.digest(tmp_path / "other.zarr")


def test_tighter_precision_extends(store, monkeypatch):
    loose = small_study(replicates=None, precision={"expected_risk": 4e-3}, max_replicates=2**18, noise=[0.0])
    tight = small_study(replicates=None, precision={"expected_risk": 2e-3}, max_replicates=2**18, noise=[0.0])
    first = bv.run(loose, store)
    seen = simulated_blocks(monkeypatch, tight, store)
    n10 = int(first.replicates.sel(n_train=10).max()) // 64
    assert min(block for path, block in seen if path.startswith("n10")) >= n10
    with pytest.raises(StudyChangedError, match="precision"):
        bv.run(loose, store)


def test_precision_gives_up_at_max_replicates_and_ignores_what_has_no_error(store):
    study = small_study(replicates=None, precision={"expected_risk": 1e-9}, max_replicates=2**11, n_train=[2])
    summary = bv.run(study, store)
    assert (summary.replicates == 2**11).all()
    infinite = small_study(
        replicates=None, precision={"variance": 1e-9}, noise=[0.5], n_train=[2], hypotheses={"H1": bv.Polynomial(1)}
    )
    assert int(bv.run(infinite, store.with_name("b.zarr")).replicates.max()) == 16 * 64


class Late:
    """Fail in few blocks: with this seed in none of the first sixteen."""

    def fit_predict(self, x, y, at, rng):
        if x[0, 0] > 0.9:
            raise RuntimeError("too far right")
        return np.zeros(at.shape[:2])


def test_precision_is_not_sought_where_everything_fails(store):
    few = small_study(
        replicates=None,
        precision={"bias2": 1e-9},
        max_replicates=2**12,
        hypotheses={"H3": bv.Polynomial(3)},
        n_train=[3, 10],
        noise=[0.0],
    )
    status = bv.run(few, store).status.squeeze()
    assert status.sel(n_train=3).item() == "failed"
    assert status.sel(n_train=10).item() == "ok"
    late = small_study(
        replicates=None,
        precision={"empirical_risk": 1e-9},
        max_replicates=2**12,
        hypotheses={"late": Late()},
        n_train=[5],
        noise=[0.0],
        seed=5,
    )
    place = store.with_name("late.zarr")
    assert set(bv.run(late, place).status.values.ravel()) == {"failed"}
    assert sum(records.blocks for records in Store(place).groups().values()) > 16  # it went on before it failed
    assert bv.verify(place).ok


# Failures of a user's set


class Moody:
    def fit_predict(self, x, y, at, rng):
        if x[0, 0] > 0.5:
            raise RuntimeError("not in the mood")
        return np.zeros(at.shape[:2])


def test_a_failing_set_fails_alone_and_says_why(store):
    summary = bv.run(small_study(hypotheses={"H0": bv.Polynomial(0), "moody": Moody()}, n_train=[5]), store)
    moody, sound = (summary.sel(hypothesis=h, n_train=5, noise=0.5) for h in ("moody", "H0"))
    assert moody.status.item() == "failed"
    assert "not in the mood" in moody.status_reason.item()
    assert np.isnan(moody.expected_risk)
    assert sound.status.item() == "ok"
    assert bv.verify(store).ok


def test_too_few_points_fail_in_words(store):
    summary = bv.run(small_study(hypotheses={"H3": bv.Polynomial(3)}, n_train=[3]), store)
    assert summary.status.values.ravel().tolist() == ["failed", "failed"]
    assert "4 coefficients" in summary.status_reason.values.ravel()[0]
