"""What goes wrong on the way: user code that raises, workers that die, schedulers that are lost."""

import os
import signal
import subprocess
import sys
import time

import dask
import numpy as np
import pytest
from helpers import PATIENCE, command, small_study

import biasvar as bv
from biasvar.errors import RunError, SchedulerError, StudyError
from biasvar.execution import addresses, graph, schedulers
from biasvar.execution.status import failures
from biasvar.studies.base import failed_cells


class Moody:
    """Raise so many times, and then not any more.

    How often is told by the environment, for what an object holds is part of what a study is.
    """

    def fit_predict(self, x, y, at, rng):
        if left := int(os.environ.get("BAD_MOMENTS", "0")):
            os.environ["BAD_MOMENTS"] = str(left - 1)
            raise ValueError("a bad moment")
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1)


class Mean:
    def fit_predict(self, x, y, at, rng):
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1)


def one_set(hypothesis, **changes):
    return small_study(hypotheses={"a": hypothesis, "H0": bv.Polynomial(0)}, n_train=[5], **changes)


@pytest.mark.parametrize(("bad", "tries", "fails"), [(0, 1, False), (2, 3, False), (1, 1, True), (3, 3, True)])
def test_a_block_is_tried_so_many_times(bad, tries, fails, monkeypatch):
    study = one_set(Moody(), noise=[0.0])
    (group,) = study.groups()
    monkeypatch.setenv("BAD_MOMENTS", str(bad))
    with dask.config.set({"biasvar.tries": tries}):
        outcome = graph._simulate_block(study, group, 0, [])
    assert (bool(outcome.traceback), os.environ["BAD_MOMENTS"]) == (fails, "0")


def test_what_raises_always_is_recorded_with_its_traceback_and_the_rest_goes_on(store, monkeypatch):
    monkeypatch.setenv("BAD_MOMENTS", str(10**9))
    summary = bv.run(one_set(Moody()), store, scheduler="synchronous")
    assert set(summary.status.sel(hypothesis="a").values.ravel()) == {"failed"}
    assert set(summary.status.sel(hypothesis="H0").values.ravel()) == {"ok"}
    (trace,) = failures(store).values()
    assert "Traceback" in trace
    assert 'raise ValueError("a bad moment")' in trace
    assert failed_cells(summary).startswith("2 of 4 cells failed, the first at hypothesis=a")
    assert bv.verify(store).ok


def test_failures_are_simulated_again_on_request_only(store, monkeypatch):
    monkeypatch.setenv("BAD_MOMENTS", str(10**9))
    bv.run(one_set(Moody()), store, scheduler="synchronous")
    monkeypatch.setenv("BAD_MOMENTS", "0")
    assert "failed" in bv.run(one_set(Moody()), store, scheduler="synchronous").status.values
    mended = bv.run(one_set(Moody()), store, scheduler="synchronous", retry_failed=True)
    assert "failed" not in mended.status.values
    assert not failures(store)
    assert bv.verify(store).ok


USER = """
import numpy as np, os, time

def sometimes(x):
    if x.size == 5 * 64 and x.flat[0] > 0.9 and os.path.exists("bad"):  # in training sets, not in the quadrature
        raise ValueError("I do not like this")
    return x

class Killer:
    def fit_predict(self, x, y, at, rng):
        if len(y) == 64 and abs(x[0, 0]) < 0.03:
            os._exit(1)
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1)

class Slow:
    def fit_predict(self, x, y, at, rng):
        if len(y) == 64:
            time.sleep(0.1)
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1)
"""

STUDY = """
name: mine
target: {target}
inputs: {{Uniform: {{low: -1, high: 1}}}}
hypotheses: {{a: "mine:{name}"}}
n_train: [5]
noise: [0.0]
replicates: {replicates}
block_size: 64
sampler: random
"""


def user_study(folder, name="Slow", target="Sine", replicates=64 * 64):
    (folder / "mine.py").write_text(USER)
    (folder / "mine.yaml").write_text(STUDY.format(name=name, target=target, replicates=replicates))


def test_a_target_that_raises_somewhere_fails_its_cells_and_the_exit_says_so(tmp_path):
    user_study(tmp_path, target='"mine:sometimes"')
    (tmp_path / "bad").touch()
    done = command("run", "mine.yaml", "--scheduler", "synchronous", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "1 of 1 cell failed" in done.stderr
    assert "I do not like this" in done.stderr
    assert "importing mine:sometimes from " + str(tmp_path / "mine.py") in done.stderr
    told = command("status", "--tracebacks", "mine.zarr", cwd=tmp_path)
    assert command("merge", "mine.zarr", "--store", "merged.zarr", cwd=tmp_path).returncode == 4
    assert "in sometimes" in told.stdout
    assert "complete" in told.stdout


def test_failures_are_tried_again_where_what_was_about_them_is_mended_and_other_code_is_refused(tmp_path):
    user_study(tmp_path, target='"mine:sometimes"')
    (tmp_path / "bad").touch()
    run = ["run", "mine.yaml", "--scheduler", "synchronous"]
    first = command(*run, cwd=tmp_path)
    (tmp_path / "bad").unlink()
    again, mended = command(*run, cwd=tmp_path), command(*run, "--retry-failed", cwd=tmp_path)
    assert [done.returncode for done in (first, again, mended)] == [4, 4, 0], mended.stderr
    assert command("verify", "mine.zarr", cwd=tmp_path).returncode == 0
    (tmp_path / "mine.py").write_text(USER.replace("x.flat[0] > 0.9", "False"))
    other = command(*run, "--retry-failed", cwd=tmp_path)
    assert other.returncode == 2
    assert "(target: has other code or data than when the store was made)" in other.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_chunk_that_ends_its_workers_is_recorded_and_the_rest_goes_on(tmp_path):
    user_study(tmp_path, "Killer")
    environment = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}  # fewer deaths, sooner told
    done = command("run", "mine.yaml", "--workers", "2", cwd=tmp_path, env=environment)
    assert done.returncode == 4, done.stderr
    assert "the worker process ended while it simulated chunk" in done.stderr
    assert "KilledWorker" in command("status", "--tracebacks", "mine.zarr", cwd=tmp_path).stdout
    assert command("verify", "mine.zarr", cwd=tmp_path).returncode == 0


class Dask:
    """A scheduler and a worker of our own, as processes that can be killed."""

    def __init__(self, folder):
        self.folder, self.file, self.processes = folder, folder / "scheduler.json", {}

    def start(self, name):
        common = ["--scheduler-file", str(self.file), "--dashboard-address", "127.0.0.1:0"]
        of = {
            "scheduler": ["scheduler", "--host", "127.0.0.1", "--port", "0"],
            "worker": ["worker", "--no-nanny", "--nthreads", "1", "--preload", "biasvar.execution.worker"],
        }
        log = open(self.folder / f"{name}.log", "ab")  # noqa: SIM115  # the process writes to it
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "dask", *of[name], *common], cwd=self.folder, stdout=log, stderr=log
        )
        log.close()

    def kill(self, name, how=signal.SIGKILL):
        self.processes[name].send_signal(how)
        return self.processes.pop(name).wait(timeout=PATIENCE)


@pytest.fixture
def remote(tmp_path):
    pieces = Dask(tmp_path)
    pieces.start("scheduler")
    pieces.start("worker")
    yield pieces
    for name in list(pieces.processes):
        pieces.kill(name)


def counted(store):
    return len(list(store.glob("blocks/*/*/count/c/*")))


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def start_run(folder, *arguments, environment=()):
    return subprocess.Popen(
        [sys.executable, "-m", "biasvar.cli", "run", "mine.yaml", *arguments],
        cwd=folder,
        env=os.environ | dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_lost_scheduler_is_found_again_and_the_bits_are_the_same(remote, tmp_path):
    user_study(tmp_path)
    run = start_run(tmp_path, "--scheduler-file", str(remote.file), environment={"PYTHONPATH": str(tmp_path)})
    wait_for(lambda: counted(tmp_path / "mine.zarr") > 4)
    remote.kill("scheduler")
    remote.file.unlink()
    remote.kill("worker")
    for name in ("scheduler", "worker"):
        remote.start(name)
    _, stderr = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, stderr
    assert "chunks are left, going on from the store" in stderr
    assert command("run", "mine.yaml", "--store", "here.zarr", cwd=tmp_path).returncode == 0
    assert bv.digest(tmp_path / "mine.zarr") == bv.digest(tmp_path / "here.zarr")


def test_no_workers_are_waited_for_and_then_told(remote, tmp_path):
    remote.kill("worker")
    user_study(tmp_path)
    impatient = {
        "DASK_BIASVAR__ATTEMPTS": "1",
        "DASK_BIASVAR__NO_WORKERS_TIMEOUT": "2s",
        "DASK_BIASVAR__RETRY_WAIT": "0.1s",
    }
    run = start_run(tmp_path, "--scheduler-file", str(remote.file), environment=impatient)
    _, stderr = run.communicate(timeout=PATIENCE)
    assert run.returncode == 3
    assert "no workers; waiting for them" in stderr
    assert "no workers for 2 s; gave up" in stderr


def test_a_wrong_address_is_told_before_anything_is_written(study, store):
    with dask.config.set({"biasvar.connect-timeout": "1s"}), pytest.raises(SchedulerError, match=r"127\.0\.0\.1:9"):
        bv.run(study, store, scheduler="tcp://127.0.0.1:9")
    assert not store.exists()
    with dask.config.set({"biasvar.connect-timeout": "1s"}), pytest.raises(SchedulerError, match="no address in it"):
        bv.run(study, store, scheduler=addresses.SchedulerFile(store.with_name("none.json")))
    assert not store.exists()


def test_the_machines_faults_are_tried_again_and_then_told(store, monkeypatch):
    simulate, times = bv.RiskStudy.simulate, [1]

    def unlucky(self, group, block, *work):
        if times[0] and not work:  # not a trial's
            times[0] -= 1
            raise OSError("the network is down")
        return simulate(self, group, block, *work)

    monkeypatch.setattr(bv.RiskStudy, "simulate", unlucky)
    with dask.config.set({"biasvar.retry-wait": "0.1s"}):
        assert "failed" not in bv.run(small_study(), store, scheduler="threads").status.values
        times[0] = 10**9
        with pytest.raises(RunError, match="OSError: the network is down; gave up after 3 attempts"):
            bv.run(small_study(replicates=32 * 64), store, scheduler="threads")
    times[0] = 0
    assert bv.run(small_study(replicates=32 * 64), store).replicates.values.max() == 32 * 64


def test_tasks_are_annotated_and_in_a_span_of_their_study(study, store):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        seen = []
        scheduler = cluster.scheduler
        before = scheduler.update_graph

        async def spy(*arguments, **options):
            seen.append(options.get("annotations"))
            return await before(*arguments, **options)

        scheduler.handlers["update-graph"] = spy
        scheduler.stream_handlers["update-graph"] = spy
        bv.run(study, store, scheduler=client)
        spans = [span.name for span in scheduler.extensions["spans"].spans.values()]
    assert ("small",) in spans
    assert {annotations["biasvar"]["store"] for annotations in seen} == {str(store)}


def test_a_window_of_tasks_is_refilled_and_nothing_is_lost(study, store, tmp_path, monkeypatch):
    from distributed import Client, LocalCluster

    monkeypatch.setattr(schedulers, "WINDOW", 8)
    monkeypatch.setattr(schedulers, "BATCH", 4)
    monkeypatch.setattr("biasvar.execution.run.BATCH", 4)
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        bv.run(study, store, scheduler=client, blocks_per_chunk=1)
    bv.run(study, tmp_path / "other.zarr", scheduler="synchronous")
    assert bv.digest(store) == bv.digest(tmp_path / "other.zarr")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scheduler", "threads", "--workers", "2"], "one way to run"),
        (["--queue", "normal"], "--queue: belongs to --cluster"),
        (["--tls-ca-file", "ca.pem"], "--tls-ca-file"),
        (["--scheduler-file", "nowhere.json"], "nowhere.json"),
        (["--scheduler", "tcp://127.0.0.1:9"], "127.0.0.1:9"),
        (["--workers", "0"], "--workers"),
        (["--store", "ftp://x/y"], "s3://BUCKET/KEY"),
    ],
)
def test_bad_ways_to_run_get_one_line(arguments, words, tmp_path):
    environment = os.environ | {"DASK_BIASVAR__CONNECT_TIMEOUT": "1s"}
    done = command("run", "two-point-sine", *arguments, cwd=tmp_path, env=environment)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
    assert words in done.stderr
    assert not list(tmp_path.glob("*.zarr"))


def test_memory_stores_are_for_this_process(study):
    with pytest.raises(StudyError, match="other processes cannot reach it"):
        bv.run(study, "memory://small", scheduler="processes")
    assert bv.run(study, "memory://small").equals(bv.open("memory://small"))


@pytest.mark.slow
def test_the_commands_are_a_plug_in_of_dask(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dask", "biasvar", "studies"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "two-point-sine" in done.stdout, done.stderr


@pytest.mark.slow
def test_opening_a_store_imports_nothing_of_the_users(tmp_path):
    user_study(tmp_path)
    (tmp_path / "mine.py").write_text("from pathlib import Path\nPath('imported').touch()\n" + USER)
    assert command("run", "mine.yaml", "--set", "replicates=1024", cwd=tmp_path).returncode == 0
    (tmp_path / "imported").unlink()
    for verb in ("show", "status", "verify", "digest", "watch"):
        assert command(verb, "mine.zarr", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "imported").exists()
