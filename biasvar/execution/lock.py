"""At most one run per store.

A local store has a lock of the operating system, which goes with its holder, however that ends. An object store has a
lease: an object beside the store, ``.NAME.lock``, that its holder writes anew all the time. One that stays the same
for a whole lease was left behind and is taken over. A newcomer measures that by its own clock alone, so that no clocks
are compared and none matters that is wrong or is set.

Creating, renewing and taking over are conditional writes, of which a server lets one succeed. Some servers ignore the
condition. There two runs may both believe that they hold the store until one of them renews next, a third of a lease
later, and finds another's token; until then both write the same bytes.
"""

import errno
import fcntl
import getpass
import json
import os
import secrets
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from biasvar.errors import StoreError, StoreLockedError
from biasvar.execution.location import Location, Place, object_store, reading, writing
from biasvar.execution.settings import seconds

Say = Callable[[str], None]
TELL_AFTER = 1.0  # seconds of waiting for a lock that may have been left behind
END_SECONDS = 5.0  # for taking one's lock away at the end; else it runs out by itself


class Hold(ABC):
    """A lock that is held."""

    @abstractmethod
    def tell(self, progress: Mapping[str, Any]) -> None:
        """Publish how far the run is, beside who holds the lock."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that the lock is still held.

        Raises
        ------
        StoreLockedError
            If another run has taken it over.
        """


@contextmanager
def exclusive(place: Place, say: Say | None = None) -> Iterator[Hold]:
    """Hold the lock of a store for the time of a run.

    Parameters
    ----------
    place
        The store.
    say
        Told that one has to wait, and for how long.

    Raises
    ------
    StoreLockedError
        If another run holds the store, saying which process on which host since when.
    """
    location = Location.of(place)
    with _KINDS[location.scheme][0](location, say or (lambda _: None)) as hold:
        yield hold


def holder(place: Place) -> dict[str, Any] | None:
    """Return who runs on a store, or None if no one does.

    Returns
    -------
    dict
        ``pid``, ``host``, ``user``, ``since`` and ``progress``, as last published; an object store adds ``heard``, when
        its holder was last heard of by the server's clock. A holder that by *this machine's* clock was not heard of
        for two leases is taken for gone. (That decides only what is said here; who gets the lock is never decided so.)
    """
    location = Location.of(place)
    found: dict[str, Any] | None = _KINDS[location.scheme][1](location)
    return found


def in_words(found: Mapping[str, Any] | None) -> str:
    """Say in words what :func:`holder` returned; empty text for no one."""
    if found is None:
        return ""
    if "pid" not in found:  # it has locked, but not yet written who it is
        return "another process"
    heard = f" (last heard of {found['heard']})" if "heard" in found else ""
    return f"process {found['pid']} of {found['user']} on {found['host']} since {found['since']}{heard}"


def _me() -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container without a user database
        user = str(os.getuid())
    started = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return {"pid": os.getpid(), "host": socket.gethostname(), "user": user, "since": started, "progress": {}}


def _locked(location: Location, found: Mapping[str, Any] | None) -> StoreLockedError:
    who = in_words(found) or "another process"
    return StoreLockedError(f"store {location}: {who} is running on it; wait for it, or choose another store")


# In this process


_held: dict[str, dict[str, Any]] = {}


class _MemoryHold(Hold):
    def __init__(self, name: str) -> None:
        self._name = name

    def tell(self, progress: Mapping[str, Any]) -> None:
        _held[self._name]["progress"] = dict(progress)

    def check(self) -> None:
        pass


@contextmanager
def _hold_memory(location: Location, say: Say) -> Iterator[Hold]:
    me = _me()
    if _held.setdefault(location.place, me) is not me:
        raise _locked(location, _memory_holder(location))
    try:
        yield _MemoryHold(location.place)
    finally:
        del _held[location.place]


def _memory_holder(location: Location) -> dict[str, Any] | None:
    return _held.get(location.place)


# In the file system


class _FileHold(Hold):
    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._me = descriptor, _me()
        self.tell({})

    def tell(self, progress: Mapping[str, Any]) -> None:
        # One line in one go; readers take the first line only, whatever is left of a longer one.
        with suppress(OSError):  # the disk may be full: the run will find out where it matters
            os.pwrite(self._descriptor, json.dumps(self._me | {"progress": dict(progress)}).encode() + b"\n", 0)

    def check(self) -> None:
        pass  # the kernel takes it from no one


@contextmanager
def _hold_file(location: Location, say: Say) -> Iterator[Hold]:
    path = _lock_file(location)
    with writing(location):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open_locked(path, location)
    if descriptor is None:
        raise _locked(location, _written(path))
    try:
        yield _FileHold(descriptor)
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _file_holder(location: Location) -> dict[str, Any] | None:
    path = _lock_file(location)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _written(path)
    except OSError:  # no locks here, so no holder
        return None
    finally:
        os.close(descriptor)
    return None


def _lock_file(location: Location) -> Path:
    path = Path(os.path.realpath(location.path))  # by whatever name it is called
    return path.with_name(f".{path.name}.lock")


def _open_locked(path: Path, location: Location) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            locked = _try_lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            raise StoreError(
                f"store {location}: its file system has no locks ({error.strerror}), and two runs might meet there; "
                "choose a path on another"
            ) from error
        # The last holder may have removed the file between our open and our lock: then we hold a ghost.
        if locked and _same_file(descriptor, path):
            return descriptor
        os.close(descriptor)
        if not locked:
            return None


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


def _written(path: Path) -> dict[str, Any]:
    try:
        return _parsed(path.read_bytes().partition(b"\n")[0])
    except OSError:
        return _parsed(b"")


def _parsed(text: bytes) -> dict[str, Any]:
    """Return what a lock says, or only empty progress if that is half written."""
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict) and {"pid", "host", "user", "since", "progress"} <= found.keys():
            return found
    return {"progress": {}}


# In an object store


class _Lease:
    """The lock object of a store: read, and written on conditions."""

    def __init__(self, location: Location) -> None:
        parent, _, name = location.place.rpartition("/")
        self.location, self._objects, self._key = location, object_store(parent), f".{name}.lock"

    def read(self) -> tuple[dict[str, Any], str, datetime] | None:
        """Return what it says, its etag and when it was written, or None if it is not there."""
        try:
            with reading(self.location):
                found = self._objects.get(self._key)
                said = _parsed(bytes(found.bytes()))
        except FileNotFoundError:
            return None
        return said, str(found.meta["e_tag"]), found.meta["last_modified"]

    def write(self, content: Mapping[str, Any], etag: str | None) -> bool:
        """Replace the version ``etag``, or create it; return False if another was faster.

        It is read back: some servers ignore the condition, and a request that is repeated after its answer was lost
        fails on what it has itself written.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = "create" if etag is None else {"e_tag": etag}
        with writing(self.location), suppress(AlreadyExistsError, PreconditionError):
            self._objects.put(self._key, json.dumps(content).encode(), mode=mode)
        found = self.read()
        return found is not None and found[0].get("token") == content["token"]

    def remove(self, token: str) -> None:
        """Remove it if it is still ours."""
        found = self.read()
        if found and found[0].get("token") == token:
            with writing(self.location):
                self._objects.delete(self._key)


class _LeaseHold(Hold):
    def __init__(self, lease: _Lease, me: dict[str, Any]) -> None:
        self._lease, self._me, self._lost = lease, me, False
        self._news, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="biasvar-lease", daemon=True)
        self._thread.start()

    def tell(self, progress: Mapping[str, Any]) -> None:
        self._me = self._me | {"progress": dict(progress)}
        self._news.set()

    def check(self) -> None:
        if self._lost:
            found = self._lease.read()
            raise StoreLockedError(
                f"store {self._lease.location}: {in_words(found and found[0]) or 'another process'} has taken it over, "
                "for this run was not heard of for a whole lease; what is done is kept"
            )

    def end(self) -> None:
        """Let go. Should the network be away, no one waits for it: the lease runs out."""
        self._end.set()
        self._news.set()
        self._thread.join(END_SECONDS)

    def _keep(self) -> None:
        period = self._me["lease"] / 3
        while not self._lost:
            self._news.wait(period)
            self._news.clear()
            ended = self._end.is_set()
            with suppress(StoreError):  # the network may come back before anyone else wants the store
                self._lease.remove(self._me["token"]) if ended else self._renew()
            if ended:
                return
            self._end.wait(min(period, 1.0))  # news may come often

    def _renew(self) -> None:
        found = self._lease.read()
        if found is not None and found[0].get("token") != self._me["token"]:
            self._lost = True
            return
        # An etag may be no more than a checksum: what is written has to differ each time.
        self._me = self._me | {"renewals": self._me["renewals"] + 1}
        self._lost = not self._lease.write(self._me, found and found[1])


@contextmanager
def _hold_lease(location: Location, say: Say) -> Iterator[Hold]:
    me = _me() | {"token": secrets.token_hex(16), "lease": seconds("lease"), "renewals": 0}
    lease = _Lease(location)
    _acquire(lease, me, say)
    hold = _LeaseHold(lease, me)
    try:
        yield hold
    finally:
        hold.end()


def _acquire(lease: _Lease, me: dict[str, Any], say: Say) -> None:
    """Write the lock object, once the one that is there, if any, was left alone for a lease."""
    seen, since, told = None, 0.0, False
    while True:
        asked = time.monotonic()
        found = lease.read()
        if found is None:
            if lease.write(me, None):
                return
            continue  # another was faster
        said, etag, _ = found
        if seen is None:
            seen, since = etag, time.monotonic()
        if etag != seen:
            raise _locked(lease.location, said)
        patience = max(me["lease"], float(said.get("lease", 0)))
        if asked - since > patience and lease.write(me, etag):
            return
        if asked - since > TELL_AFTER and not told:
            told = True
            say(
                f"store {lease.location}: {in_words(said)} holds it, or was killed; "
                f"waiting {patience - (asked - since):.0f} s for a sign of life, then taking it over"
            )
        time.sleep(min(1.0, me["lease"] / 20))


def _lease_holder(location: Location) -> dict[str, Any] | None:
    found = _Lease(location).read()
    if found is None:
        return None
    said, _, written = found
    silence = (datetime.now(UTC) - written).total_seconds()
    if silence > 2 * float(said.get("lease", seconds("lease"))):
        return None
    shown = {name: value for name, value in said.items() if name not in ("token", "lease", "renewals")}
    return shown | {"heard": written.strftime("%Y-%m-%d %H:%M:%S UTC")}


_KINDS: dict[str, tuple[Any, Any]] = {
    "file": (_hold_file, _file_holder),
    "memory": (_hold_memory, _memory_holder),
    "s3": (_hold_lease, _lease_holder),
}
