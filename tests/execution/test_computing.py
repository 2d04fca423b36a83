"""What holds while tasks run: one thread of BLAS and OpenMP, and memory that is used again."""

import json
import os
import platform
import subprocess
import sys

import pytest

CODE = """
import json
import numpy
from threadpoolctl import threadpool_info
from biasvar.execution.computing import computing

def threads():
    return {library["user_api"]: library["num_threads"] for library in threadpool_info()}

with computing, computing:
    first = threads()
before = threads()
import sklearn.ensemble  # brings OpenMP
with computing:
    later = threads()
print(json.dumps([first, before, later, threads()]))
"""


def test_libraries_that_are_loaded_between_tasks_are_limited_too():
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment)
    first, before, later, after = json.loads(done.stdout)
    assert first == {"blas": 1}
    assert before == {"blas": 2}
    assert later == {"blas": 1, "openmp": 1}
    assert after == {"blas": 2, "openmp": 2}


FAULTS = """
import resource
import numpy as np
from biasvar.execution.computing import computing

def new_pages(arrays):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(arrays):
        np.ones(2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = new_pages(100)
with computing:
    new_pages(1)
    print(given_back, new_pages(100))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries do not have mallopt")
def test_memory_that_arrays_leave_is_used_again_even_in_a_process_that_dask_has_started():
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=environment)
    given_back, kept = (int(number) for number in done.stdout.split())
    # Two megabytes are 512 pages, or one where the system has large ones.
    assert given_back >= 100
    assert kept < given_back / 10
