"""Reports of the bundled studies: CPU seconds and bytes of each, for docs/figures.md.

python benchmarks/reports.py [STUDY ...]

Each study is run as it is bundled, into a store of its own; then `biasvar report` is called three times as a user does,
so that its seconds have the start of Python and all imports in them, and those of its own processes alone. The least
is told.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import biasvar as bv

MOST_BYTES = 2_000_000
REPEATS = 3


def seconds_of(command):
    """Return the CPU seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # As where it is installed, Python keeps what it has compiled.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    print("| study | CPU seconds | MB |\n|---|---|---|", flush=True)
    biasvar = Path(sys.executable).with_name("biasvar")
    for name in sys.argv[1:] or bv.bundled():
        with tempfile.TemporaryDirectory() as folder:
            store, page = Path(folder) / "s.zarr", Path(folder) / "s.html"
            bv.run(bv.load(name), store, scheduler="threads", progress=False)
            seconds = min(seconds_of([biasvar, "report", store, "--out", page]) for _ in range(REPEATS))
            size = page.stat().st_size
            print(f"| `{name}` | {seconds:.1f} | {size / 1e6:.2f} |", flush=True)
            assert size < MOST_BYTES


if __name__ == "__main__":
    main()
