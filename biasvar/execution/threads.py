"""One BLAS thread while tasks run: for the same bits, and because tasks already fill the cores."""

from threading import Lock
from types import TracebackType

from threadpoolctl import get_cached_controller


class _OneBlasThread:
    """Hold BLAS and OpenMP to one thread in this process while anyone is inside.

    The limit is the process's, not the thread's: the first one in sets it, the last one out takes it off.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0

    def __enter__(self) -> None:
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


one_blas_thread = _OneBlasThread()
