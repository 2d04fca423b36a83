"""One thread of BLAS and OpenMP while tasks run, whichever libraries are loaded when."""

import json
import os
import subprocess
import sys

CODE = """
import json
import numpy
from threadpoolctl import threadpool_info
from biasvar.execution.threads import one_blas_thread

def threads():
    return {library["user_api"]: library["num_threads"] for library in threadpool_info()}

with one_blas_thread, one_blas_thread:
    first = threads()
before = threads()
import sklearn.ensemble  # brings OpenMP
with one_blas_thread:
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
