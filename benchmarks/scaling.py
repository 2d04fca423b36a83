"""What a cluster adds to simulation: more workers, many chunks, large stores.

    pip install -e '.[cluster]'
    python benchmarks/scaling.py                      # all parts, about ten minutes on two cores
    python benchmarks/scaling.py chunks --chunks 100000

``workers``  the medium study on one worker process and on two, in turn: wall time, their ratio beside that of bare
             processes (no Dask, no store: what the machine's second core adds at best), and the share of the
             workers' time that is not simulation, by Dask's own meters.
``chunks``   a study of so many tiny chunks through a scheduler in a process of its own: milliseconds per chunk, and the
             memory of scheduler and driver, which is not to grow with their number.
``reduce``   the summary of so many chunks, written straight into a store: by the driver alone, and by two workers; wall
             and processor seconds of each, and the driver's memory.
``million``  what a million chunks ask of a run's driver: a store with a million counts, in which five are missing.

Machines are shared: quote ratios, and medians of ``--rounds``.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is imported

import numpy as np
import psutil

import biasvar as bv
from biasvar.execution.clusters import LocalWorkers
from biasvar.execution.graph import Job, PackedStudy, Tasks
from biasvar.execution.records import Records
from biasvar.execution.schedulers import BATCH
from biasvar.execution.status import store_status
from biasvar.execution.store import Store
from biasvar.studies.blocks import simulate_blocks

PARTS = ("fixed", "workers", "chunks", "reduce", "million")
TASKS = 2000  # that do nothing, to compare with
IMPORTS = [sys.executable, "-c", "import xarray, zarr"]


SMALL = """
import tempfile, time
import biasvar as bv
from scaling import small, quiet

with tempfile.TemporaryDirectory() as folder:
    for name in ("risk", "grid"):
        seconds = []
        for i in range(6):
            start = time.process_time()
            bv.run(small(name), f"{folder}/{name}{i}.zarr", scheduler="synchronous", progress=quiet)
            seconds.append(time.process_time() - start)
        print(sorted(seconds[1:])[2])
"""


def small(name):
    """Return a study of next to nothing: of risks, or of a grid of 4,096 configurations."""
    if name == "risk":
        return tiny(16).replace(hypotheses={"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)}, n_train=[2, 10])
    rates, momenta = [0.001 * (i + 1) for i in range(64)], [0.01 * i for i in range(64)]
    return bv.OptimizerStudy(
        name="grid",
        objectives={"bowl": bv.Quadratic([1.0, 4.0])},
        optimizers={"momentum": bv.Momentum(learning_rate=rates, momentum=momenta)},
        steps=2,
        replicates=1,
    )


def cpu_seconds(command, **environment):
    """Return the processor's seconds that a command takes with all its children, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    ).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, printed


def fixed(rounds, folder):
    print("fixed: what is paid however small a study is, in processor seconds and in times `import xarray, zarr`")
    ours = {"DASK_SCHEDULER": "synchronous"}
    found = {}
    cpu_seconds([sys.executable, "-c", SMALL])  # compiles what is compiled once
    for i in range(rounds):
        run = [sys.executable, "-m", "biasvar.cli", "run", "two-point-sine", "--store", str(folder / f"fixed{i}.zarr")]
        again = [*run[:-1], str(folder / f"first{i}.zarr")]
        yardstick, _ = cpu_seconds(IMPORTS)
        risk, grid = map(float, cpu_seconds([sys.executable, "-c", SMALL])[1].split())
        one = {
            "import xarray, zarr": yardstick,
            "a small bv.run: risk": risk,
            "a small bv.run: 4,096 configurations": grid,
            "biasvar run two-point-sine": cpu_seconds(run, **ours)[0],
            "the same, nothing compiled yet": cpu_seconds(again, NUMBA_CACHE_DIR=str(folder / f"cache{i}"), **ours)[0],
        }
        for name, seconds in one.items():
            found.setdefault(name, []).append((seconds, seconds / yardstick))
    for name, rows in found.items():
        seconds, ratio = (median(column) for column in zip(*rows, strict=True))
        print(f"  {name:40} {seconds:6.2f} s  {ratio:6.2f} x", flush=True)


def simulated(scheduler):
    """Return the seconds that tasks spent simulating, in all; runs on the scheduler."""
    metrics = [span.cumulative_worker_metrics for span in scheduler.extensions["spans"].spans.values()]
    return sum(seconds for found in metrics for key, seconds in found.items() if key[-2:] == ("simulate", "seconds"))


def on_workers(count, folder):
    """Run the medium study on so many workers; return wall seconds and the seconds of simulation."""
    with LocalWorkers(count).client() as client:
        client.run(warm_up)
        start = time.perf_counter()
        bv.run(bv.load("learning-curves"), folder / f"{count}-{start}.zarr", scheduler=client, progress=quiet)
        wall = time.perf_counter() - start
        time.sleep(2)  # for the last heartbeat with its meters
        return wall, simulated(client.cluster.scheduler)


def warm_up():
    """Load what a worker loads once in its life."""
    bv.plan(bv.load("learning-curves", ["n_train=[10]", "replicates=16384"]))


def quiet(_):
    pass


def simulate_some(blocks):
    """Simulate so many blocks of each group of the medium study; return the seconds."""
    study = bv.load("learning-curves")
    start = time.perf_counter()
    for group in study.groups():
        for block in range(blocks):
            study.simulate(group, block)
    return time.perf_counter() - start


def in_a_thread(blocks):
    """Do the same as workers do it: memory is handed out differently there."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(simulate_some, blocks).result()


def bare(count):
    """Return the seconds that so many processes take for the same blocks each, with nothing else."""
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        list(pool.map(in_a_thread, [1] * count))  # loads what is loaded once
        return max(pool.map(in_a_thread, [8] * count))


def workers(rounds, folder):
    print("workers: learning-curves, wall seconds on one and two workers, their ratio and that of bare processes,")
    print("         share of one worker's and of two workers' time that is not simulation")
    ratios, floors, shares = [], [], []
    for _ in range(rounds):
        (one, busy_one), (two, busy_two) = on_workers(1, folder), on_workers(2, folder)
        ratios.append(one / two)
        floors.append(2 * bare(1) / bare(2))
        shares.append(1 - busy_two / (2 * two))
        print(
            f"  {one:6.1f} s  {two:6.1f} s  {ratios[-1]:.2f} x and {floors[-1]:.2f} x bare  "
            f"{1 - busy_one / one:.1%} and {shares[-1]:.1%}",
            flush=True,
        )
    print(
        f"  median: {median(ratios):.2f} x where bare processes get {median(floors):.2f} x, "
        f"{median(shares):.1%} of two workers' time is not simulation"
    )


def tiny(chunks):
    return bv.RiskStudy(
        name="tiny",
        target=bv.Sine(),
        inputs=bv.Uniform(-1, 1),
        hypotheses={"H0": bv.Polynomial(0)},
        n_train=[2],
        replicates=16 * chunks,
        block_size=16,
    )


DRIVER = """
import json, resource, sys, time
sys.path.insert(0, {folder!r})
import biasvar as bv
from distributed import Client
from scaling import tiny

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

simulating = [0]
def note(_):
    simulating[0] = most()

start = time.perf_counter()
bv.run(tiny({chunks}), {store!r}, scheduler={address!r}, blocks_per_chunk=1, progress=note)
seconds, most_of_all = time.perf_counter() - start, most()
with Client({address!r}) as client:
    start = time.perf_counter()
    client.gather(client.map(int, range({tasks})))
    print(json.dumps([seconds, (time.perf_counter() - start) / {tasks}, simulating[0], most_of_all]))
"""


def many(chunks, folder):
    """Run a study of tiny chunks.

    Returns seconds, seconds of a task that does nothing, and MB at most: driver (simulating, in all), scheduler.
    """
    store = folder / f"{chunks}.zarr"
    with crew(folder) as (address, scheduler, *_):
        code = DRIVER.format(
            folder=str(Path(__file__).parent), chunks=chunks, store=str(store), address=address, tasks=TASKS
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as driver:
            most = 0.0
            while driver.poll() is None:
                most = max(most, scheduler.memory_info().rss / 2**20)
                time.sleep(0.2)
            seconds, task, *megabytes = json.loads(driver.stdout.read())
    return seconds, task, *megabytes, most


@contextmanager
def crew(folder):
    """Start a scheduler and two workers in processes of their own: yield the address, then the three processes."""
    file = folder / "scheduler.json"
    common = ["--host", "127.0.0.1", "--scheduler-file", str(file), "--dashboard-address", "127.0.0.1:0"]
    logs = subprocess.DEVNULL
    start = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen([*start, "scheduler", "--port", "0", *common], stdout=logs, stderr=logs)
    alone = ["--no-nanny", "--nthreads", "1", "--preload", "biasvar.execution.worker"]
    workers = [subprocess.Popen([*start, "worker", *alone, *common], stdout=logs, stderr=logs) for _ in range(2)]
    try:
        while not file.exists():
            time.sleep(0.1)
        processes = (psutil.Process(process.pid) for process in (scheduler, *workers))
        yield json.loads(file.read_text())["address"], *processes
    finally:
        for process in (*workers, scheduler):
            process.terminate()
            process.wait()
        file.unlink(missing_ok=True)


def chunks(largest, folder):
    print("chunks: of 16 training sets each, scheduler and two workers in processes of their own")
    counts = sorted({max(1000, largest // 10), largest})
    for count in counts:
        seconds, task, simulating, driver, scheduler = many(count, folder)
        print(
            f"  {count:7d} chunks: {seconds:7.1f} s, {1e3 * seconds / count:.1f} ms per chunk, "
            f"{seconds / count / task:.1f} x a Dask task that does nothing ({1e3 * task:.1f} ms); "
            f"driver {simulating:.0f} MB, and {driver:.0f} MB with the summary; scheduler {scheduler:.0f} MB",
            flush=True,
        )


def fill(place, count, chunks):
    """Simulate some chunks of a store of ``count``, each of one block, and write them."""
    study = tiny(count)
    (group,) = study.groups()
    records = Records(Store(place).location, group)
    for chunk in chunks:
        records.write(chunk, simulate_blocks(study, group, [chunk]), study.block_size)


def prepared(place, count):
    """Make a store with room for so many chunks; return where its counts lie."""
    study, store = tiny(count), Store(place)
    (group,) = study.groups()
    store.claim(study)
    store.create(group, count, 1, study.record_coordinates(group))
    return place / "blocks" / group.path / "count" / "c"


SUMMARY = """
import json, resource, sys, time
import biasvar as bv
from scaling import quiet, tiny

start, before = time.perf_counter(), time.process_time()
bv.run(tiny({count}), {store!r}, scheduler={scheduler!r}, progress=quiet)
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([time.perf_counter() - start, time.process_time() - before, most, bv.open({store!r}).summary_digest]))
"""


def used(processes):
    """Return the processor's seconds that each process has taken."""
    return np.array([sum(process.cpu_times()[:2]) for process in processes])


def reduce(rounds, count, folder):
    print(f"reduce: the summary of {count} chunks, by the driver alone and by two workers")
    place = folder / "reduce.zarr"
    prepared(place, count)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(fill, [place] * 2, [count] * 2, [range(0, count, 2), range(1, count, 2)]))
    ratios = []
    with crew(folder) as (address, *processes):
        for _ in range(rounds):
            digests, walls = set(), []
            for scheduler in ("synchronous", address):
                before = used(processes)
                code = SUMMARY.format(count=count, store=str(place), scheduler=scheduler)
                wall, driver, most, digest = json.loads(cpu_seconds([sys.executable, "-c", code])[1])
                digests.add(digest)
                walls.append(wall)
                others = " + ".join(f"{seconds:.1f}" for seconds in used(processes) - before)
                print(
                    f"  {'alone' if scheduler == 'synchronous' else 'two workers':12} {wall:6.1f} s; driver "
                    f"{driver:.1f} s of processor, {most:.0f} MB; scheduler and workers {others} s",
                    flush=True,
                )
            assert len(digests) == 1
            ratios.append(walls[0] / walls[1])
    print(f"  median: {median(ratios):.2f} x as fast, and the same bits")


def million(folder):
    """Print what a million chunks take of a driver; in a process of its own, for the memory."""
    count, place = 1_000_000, folder / "million.zarr"
    counts = prepared(place, count)
    counts.mkdir(parents=True, exist_ok=True)
    content = np.int64(16).tobytes()
    for chunk in range(count):
        if chunk % 200_000 != 7:
            (counts / str(chunk)).write_bytes(content)
    code = f"from scaling import ask; ask({str(place)!r}, {count})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def ask(place, count):
    study, store = tiny(count), Store(place)
    (records,) = store.groups().values()
    job = Job.of(store.location, records)
    parts = {
        "plan": lambda: bv.plan(study),
        "the missing ones": lambda: records.missing(),
        "status": lambda: store_status(place),
        "what a killed run left half written": lambda: (store.remove_partial_files(), records.begun()),
        "the graphs of all tasks": lambda: [
            len(tasks.__dask_graph__()) for tasks in Tasks(PackedStudy(study), job, range(count)).batches(BATCH)
        ],
    }
    print(f"million: {count} chunks of which five are missing, in processor seconds of the driver")
    assert len(records.missing()) == 5
    for name, part in parts.items():
        before = time.process_time()
        part()
        print(f"  {name:36} {time.process_time() - before:6.2f} s", flush=True)
    print(f"  {'memory at most':36} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all of them unless given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=20_000)
    options = parser.parse_args()
    parts = options.parts or PARTS
    with tempfile.TemporaryDirectory(prefix="biasvar-scaling-") as folder:
        if "fixed" in parts:
            fixed(options.rounds, Path(folder))
        if "workers" in parts:
            workers(options.rounds, Path(folder))
        if "chunks" in parts:
            chunks(options.chunks, Path(folder))
        if "reduce" in parts:
            reduce(options.rounds, options.chunks, Path(folder))
        if "million" in parts:
            million(Path(folder))


if __name__ == "__main__":
    main()
