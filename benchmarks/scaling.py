"""What a cluster adds to simulation: more workers, many chunks, large stores.

    pip install -e '.[cluster]'
    python benchmarks/scaling.py                      # all parts, about ten minutes on two cores
    python benchmarks/scaling.py chunks --chunks 100000

``workers``  the medium study on one worker process and on two, in turn: wall time, their ratio beside that of bare
             processes (no Dask, no store: what the machine's second core adds at best), and the share of the
             workers' time that is not simulation, by Dask's own meters.
``chunks``   a study of so many tiny chunks through a scheduler in a process of its own: milliseconds per chunk, and the
             memory of scheduler and driver, which is not to grow with their number.
``resume``   the store that this leaves: seconds until ``status``, and until a run knows that nothing is left to do.

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
from multiprocessing import get_context
from pathlib import Path
from statistics import median

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is imported

import psutil

import biasvar as bv
from biasvar.execution.clusters import LocalWorkers
from biasvar.execution.records import Records
from biasvar.execution.status import store_status
from biasvar.execution.store import Store

PARTS = ("fixed", "workers", "chunks", "resume")
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

    Returns store, seconds, seconds of a task that does nothing, and MB at most: driver (simulating, in all), scheduler.
    """
    file, store = folder / f"{chunks}.json", folder / f"{chunks}.zarr"
    common = ["--host", "127.0.0.1", "--scheduler-file", str(file), "--dashboard-address", "127.0.0.1:0"]
    logs = subprocess.DEVNULL
    start = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen([*start, "scheduler", "--port", "0", *common], stdout=logs, stderr=logs)
    alone = ["--no-nanny", "--nthreads", "1", "--preload", "biasvar.execution.worker"]
    crew = [subprocess.Popen([*start, "worker", *alone, *common], stdout=logs, stderr=logs) for _ in range(2)]
    try:
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        code = DRIVER.format(
            folder=str(Path(__file__).parent), chunks=chunks, store=str(store), address=address, tasks=TASKS
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as driver:
            most = 0.0
            while driver.poll() is None:
                most = max(most, psutil.Process(scheduler.pid).memory_info().rss / 2**20)
                time.sleep(0.2)
            seconds, task, *megabytes = json.loads(driver.stdout.read())
    finally:
        for process in (*crew, scheduler):
            process.terminate()
            process.wait()
    return store, seconds, task, *megabytes, most


def chunks_and_resume(parts, largest, folder):
    print("chunks: of 16 training sets each, scheduler and two workers in processes of their own")
    counts = sorted({max(1000, largest // 10), largest})
    for count in counts:
        store, seconds, task, simulating, driver, scheduler = many(count, folder)
        print(
            f"  {count:7d} chunks: {seconds:7.1f} s, {1e3 * seconds / count:.1f} ms per chunk, "
            f"{seconds / count / task:.1f} x a Dask task that does nothing ({1e3 * task:.1f} ms); "
            f"driver {simulating:.0f} MB, and {driver:.0f} MB with the summary; scheduler {scheduler:.0f} MB",
            flush=True,
        )
        if "resume" in parts:
            resume(count, store)


def resume(count, store):
    timings = {
        "status": lambda: store_status(store),
        "missing chunks": lambda: missing(store),
        "summary": lambda: again(count, store),
    }
    for name, function in timings.items():
        start = time.perf_counter()
        function()
        print(f"          {name}: {time.perf_counter() - start:.1f} s", flush=True)


def missing(store) -> list[list[int]]:
    return [records.missing() for records in Store(store).groups().values() if isinstance(records, Records)]


def again(count, store):
    """Run it again: scan, read and check every record, and summarise."""
    bv.run(tiny(count), store, scheduler="synchronous", blocks_per_chunk=1, progress=quiet)


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
        if "chunks" in parts or "resume" in parts:
            chunks_and_resume(parts, options.chunks, Path(folder))


if __name__ == "__main__":
    main()
