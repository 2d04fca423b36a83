"""Plans, stores and runs: the one room that knows Dask and Zarr."""

import sys

from biasvar.errors import BiasvarError

if sys.flags.optimize:
    # Zarr 3.1 has assertions that do what has to be done.
    raise BiasvarError("Python without assertions (-O, PYTHONOPTIMIZE) cannot run studies; start it without")
