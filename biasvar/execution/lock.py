"""At most one run per store: what the locks of all backends have in common.

A backend says how its lock is held (:meth:`~biasvar.execution.backends.base.Location.hold`) and who holds it
(:meth:`~biasvar.execution.backends.base.Location.holder`); here is what a holder is and says.
"""

import getpass
import json
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from biasvar.errors import StoreLockedError

Say = Callable[[str], None]
#: Who holds a lock: ``pid``, ``host``, ``user``, ``since`` and ``progress``, as last published.
Holder = dict[str, Any]


def silent(message: str) -> None:
    """Say nothing."""


class Hold(ABC):
    """A lock that is held."""

    @abstractmethod
    def tell(self, progress: Mapping[str, object]) -> None:
        """Publish how far the run is, beside who holds the lock."""

    def check(self) -> None:  # noqa: B027  # most locks are taken from no one
        """Make sure that the lock is still held.

        Raises
        ------
        StoreLockedError
            If another run has taken it over.
        """


def me() -> Holder:
    """Return this process as the holder of a lock."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container without a user database
        user = str(os.getuid())
    started = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return {"pid": os.getpid(), "host": socket.gethostname(), "user": user, "since": started, "progress": {}}


def parsed(text: bytes) -> Holder:
    """Return what a lock says, or only empty progress if that is half written."""
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict) and {"pid", "host", "user", "since", "progress"} <= found.keys():
            return found
    return {"progress": {}}


def in_words(found: Holder | None) -> str:
    """Say in words who holds a lock; empty text for no one."""
    if found is None:
        return ""
    # It has locked, but not yet written who it is.
    if "pid" not in found:
        return "another process"
    heard = f" (last heard of {found['heard']})" if "heard" in found else ""
    return f"process {found['pid']} of {found['user']} on {found['host']} since {found['since']}{heard}"


def taken(place: object, found: Holder | None) -> StoreLockedError:
    """Return the error that says who holds a place."""
    who = in_words(found) or "another process"
    return StoreLockedError(f"store {place}: {who} is running on it; wait for it, or choose another store")


# For places that no other process can reach


_held: dict[str, Holder] = {}


class _InProcessHold(Hold):
    def __init__(self, place: str) -> None:
        self._place = place

    def tell(self, progress: Mapping[str, object]) -> None:
        _held[self._place]["progress"] = dict(progress)


@contextmanager
def in_process(place: str) -> Iterator[Hold]:
    """Hold a place against other threads of this process."""
    mine = me()
    # One step of a dict, so that of two threads one gets it.
    if _held.setdefault(place, mine) is not mine:
        raise taken(place, _held.get(place))
    try:
        yield _InProcessHold(place)
    finally:
        del _held[place]


def holder_in_process(place: str) -> Holder | None:
    """Return who holds a place in this process."""
    return _held.get(place)
