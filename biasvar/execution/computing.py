"""What holds in a process while it computes: one BLAS thread, and no memory given back between arrays."""

import ctypes
import platform
from functools import cache
from threading import Lock
from types import TracebackType

from threadpoolctl import get_cached_controller

#: Of glibc's mallopt.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: Smaller arrays are taken from memory that earlier ones have left; glibc allows no more.
LARGEST_REUSED = 2**25
#: So much of such memory is not given back to the system.
MOST_KEPT = 2**27


class _Computing:
    """Hold BLAS and OpenMP to one thread in this process while anyone is inside: for the same bits, and full cores.

    The limit is the process's, not the thread's: the first one in sets it, the last one out takes it off.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0

    def __enter__(self) -> None:
        _keep_freed_memory()
        with self._lock:
            if self._inside == 0:
                # Looks for libraries again when modules were imported since: looking takes as long as a small task.
                self._limit = get_cached_controller().limit(limits=1)
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()


computing = _Computing()


@cache
def _keep_freed_memory() -> None:
    """Have this process keep what arrays leave for those to come.

    Else each array of more than 128 kB is new memory, which the system clears page by page: a third of the time of
    many a block, and two thirds in a worker that Dask has started, which gives back what is more than 64 kB.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_REUSED)
        libc.mallopt(M_TRIM_THRESHOLD, MOST_KEPT)
