"""For ``dask worker --no-nanny --preload biasvar.execution.worker``: one thread per task, graceful end on SIGTERM.

A queue that takes a node back sends SIGTERM first. The worker then takes no more tasks, hands over what it holds, lets
the chunk that it is on be written, and leaves; a chunk that is cut short all the same is simulated again elsewhere.
"""

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Worker

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
for _name in _THREADS:  # libraries read them when they are loaded, which is later
    os.environ.setdefault(_name, "1")


async def dask_setup(worker: "Worker") -> None:
    """Leave gracefully on SIGTERM: Dask calls this when the worker starts."""
    loop = asyncio.get_running_loop()
    endings: set[asyncio.Task[Any]] = set()  # the loop itself holds tasks only weakly

    def told() -> None:
        if worker.status.name == "init":
            os._exit(0)  # it has nothing yet, and waits for a scheduler that may never come
        if not endings:  # a queue may tell the whole job, and a shell in it then its children once more
            endings.add(loop.create_task(_leave(worker)))

    loop.add_signal_handler(signal.SIGTERM, told)


async def _leave(worker: "Worker") -> None:
    try:
        await worker.close_gracefully(restart=False, reason="SIGTERM")
    except OSError:  # the scheduler, which would find a place for what the worker holds, is gone itself
        await worker.close(reason="SIGTERM")
