"""Kill drivers, workers and schedulers at random moments, give the same command again, and compare the bits.

Run as ``python -m tests.torture --kills 200``. Each round is one study into a new store, on a scheduler and two workers
that are processes of this script's own; whatever is killed is started again, the driver with the command that it had
before. A round ends when the study is complete; its digest must be that of an undisturbed run in one process.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import biasvar as bv

STUDY = ["learning-curves", "--set", "replicates=16384"]
ENVIRONMENT = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "20",
    "DASK_BIASVAR__CONNECT_TIMEOUT": "60s",
    "DASK_BIASVAR__RETRY_WAIT": "0.2s",
    "DASK_BIASVAR__ATTEMPTS": "50",  # many kills may come before the next chunk does
}
PARTS = ("driver", "worker-0", "worker-1", "scheduler")
WEIGHTS = (4, 2, 2, 2)  # how often each is the victim
MAX_RESTARTS = 100  # of a driver that ends by itself without being done: it should not
PAUSE = 0.05


@dataclass
class Pieces:
    """A scheduler, two workers and a driver, started again whenever they have ended."""

    folder: Path
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)
    restarts: Counter = field(default_factory=Counter)

    def command(self, name: str, store: Path) -> list[str]:
        file = ["--scheduler-file", str(self.folder / "scheduler.json")]
        quiet = ["--dashboard-address", "127.0.0.1:0", *file]
        if name == "scheduler":
            return ["dask", "scheduler", "--host", "127.0.0.1", "--port", "0", *quiet]
        if name.startswith("worker"):
            alone = ["--no-nanny", "--nthreads", "1", "--preload", "biasvar.execution.worker", "--death-timeout", "30"]
            return ["dask", "worker", "--host", "127.0.0.1", "--local-directory", str(self.folder), *alone, *quiet]
        return ["biasvar.cli", "run", *STUDY, "--store", str(store), *file]

    def keep_alive(self, store: Path) -> int | None:
        """Start what is not running; return the driver's exit code once it says that it is done."""
        for name in ("scheduler", "worker-0", "worker-1", "driver"):
            process = self.processes.get(name)
            if process is not None and process.poll() is None:
                continue
            if name == "driver" and process is not None and process.returncode in (0, 1, 2, 4):
                return self.processes.pop(name).returncode
            if name == "scheduler":
                (self.folder / "scheduler.json").unlink(missing_ok=True)  # of the last one
            with open(self.folder / f"{name}.log", "ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", *self.command(name, store)],
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=os.environ | ENVIRONMENT,
                )
            self.restarts[name] += 1
        return None

    def kill(self, name: str) -> bool:
        """Kill -9 a part; tell whether it was there to be killed."""
        process = self.processes.get(name)
        if process is None or process.poll() is not None:
            return False
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True

    def end(self) -> None:
        for name in self.processes:
            self.kill(name)


def reference(folder: Path) -> str:
    store = folder / "reference.zarr"
    subprocess.run(
        [sys.executable, "-m", "biasvar.cli", "run", *STUDY, "--store", str(store), "--scheduler", "synchronous"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return bv.digest(store)


def torture(kills: int, seed: int, folder: Path, longest: float) -> int:
    """Kill so many processes; return how many rounds ended with other bits, or not at all."""
    chance, expected = random.Random(seed), reference(folder)
    pieces, killed, wrong, rounds = Pieces(folder), Counter(), 0, 0
    start = time.monotonic()
    try:
        while sum(killed.values()) < kills:
            store, rounds, began = folder / f"round-{rounds}.zarr", rounds + 1, time.monotonic()
            code, due, before = None, time.monotonic() + chance.uniform(0, longest), killed.total()
            while code is None and pieces.restarts["driver"] < kills + MAX_RESTARTS:
                code = pieces.keep_alive(store)
                if time.monotonic() > due and killed.total() < kills:
                    victim = chance.choices(PARTS, WEIGHTS)[0]
                    killed[victim] += pieces.kill(victim)
                    due = time.monotonic() + chance.uniform(0, longest)
                time.sleep(PAUSE)
            sound = code == 0 and bv.verify(store).ok and bv.digest(store) == expected
            wrong += not sound
            print(
                f"round {rounds}: {killed.total() - before} kills, {time.monotonic() - began:.0f} s, "
                f"exit code {code}, {'same bits' if sound else 'WRONG'}",
                flush=True,
            )
            if code is None:
                break
    finally:
        pieces.end()
    by_part = ", ".join(f"{part} {killed[part]}" for part in PARTS)
    print(f"{killed.total()} kills ({by_part}), {rounds} rounds, {wrong} wrong, {time.monotonic() - start:.0f} s")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=6.0, help="seconds between two kills, at most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="biasvar-torture-") as folder:
        return min(torture(options.kills, options.seed, Path(folder), options.longest), 1)


if __name__ == "__main__":
    sys.exit(main())
