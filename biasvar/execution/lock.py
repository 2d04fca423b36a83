"""One run a store: an operating-system lock that goes with its holder, however that ends."""

import fcntl
import getpass
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biasvar.errors import StoreError, StoreLockedError


@contextmanager
def exclusive(store: Path) -> Iterator[None]:
    """Hold the lock of ``store``, a file beside it, for the time of a run.

    The kernel drops the lock when the process ends, so that a killed run leaves nothing to clean up.

    Raises
    ------
    StoreLockedError
        If another run holds the store, saying which process on which host since when.
    """
    path = _lock_file(store)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open_locked(path)
    except OSError as error:
        raise StoreError(f"store {store}: cannot be written: {error.strerror}; choose a path that can") from error
    if descriptor is None:
        raise StoreLockedError(f"store {store}: {_name(path)} is running on it; wait for it, or choose another store")
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, json.dumps(_me()).encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def holder(store: Path) -> str | None:
    """Say who runs on ``store``, or None if no one does."""
    path = _lock_file(store)
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _name(path)
    finally:
        os.close(descriptor)
    return None


def _lock_file(store: Path) -> Path:
    store = Path(os.path.realpath(store))  # by whatever name it is called
    return store.with_name(f".{store.name}.lock")


def _open_locked(path: Path) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _try_lock(descriptor):
            os.close(descriptor)
            return None
        # The last holder may have removed the file between our open and our lock: then we hold a ghost.
        if _same_file(descriptor, path):
            return descriptor
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    for _ in range(20):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.005)  # someone may only be asking who holds it
        else:
            return True
    return False


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _me() -> dict[str, str | int]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container without a user database
        user = str(os.getuid())
    started = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return {"pid": os.getpid(), "host": socket.gethostname(), "user": user, "since": started}


def _name(path: Path) -> str:
    try:
        me = json.loads(path.read_text())
        return f"process {me['pid']} of {me['user']} on {me['host']} since {me['since']}"
    except (OSError, ValueError, KeyError):  # it has locked, but not yet written who it is
        return "another process"
