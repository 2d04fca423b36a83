"""A place for a store: the one class that all backends fill in, and what they have in common."""

import errno
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Union

from biasvar.errors import StoreError, StoreUnreachableError
from biasvar.execution import lock
from biasvar.execution.lock import Hold, Holder, Say

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

Place = Union[str, "os.PathLike[str]", "Location"]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
AT_A_TIME = 16  # keys of an object store, which takes its time for each
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EAGAIN}

#: The class of each scheme.
BACKENDS: dict[str, type["Location"]] = {}


class Refusal(NamedTuple):
    """What an error of a place is about."""

    reason: str
    advice: str
    #: Whether it may pass by itself, so that it is worth trying again.
    passing: bool


class Location(ABC):
    """A place for a store; make it with :meth:`of`.

    It travels to other processes as its URL alone. What opens the place (the credentials of an object store) each
    process reads from its own environment, so that it is in no graph, no store and no log.

    A backend is a subclass with ``scheme``, ``example``, :meth:`parse` and :meth:`open_zarr`; and with :meth:`hold` and
    :meth:`holder`, unless ``shared`` is False. Everything else has a default that works on what :meth:`open_zarr`
    returns.

    Parameters
    ----------
    place : str
        What :meth:`parse` has returned: an absolute path, ``bucket/key``, or a name.
    """

    #: The first part of its URLs.
    scheme: ClassVar[str]
    #: What error messages show as an address, for example ``s3://BUCKET/KEY``.
    example: ClassVar[str]
    #: Whether other processes can reach the place.
    shared: ClassVar[bool] = True
    #: Whether a place may contain ``@``, ``?`` and ``#``, which in most URLs stand beside secrets.
    any_characters: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        # The default lock is unseen by other processes: two runs would meet.
        if cls.shared and cls.hold is Location.hold:
            raise TypeError(f"{cls.__name__}: expected hold and holder, or shared = False")

    def __init__(self, place: str) -> None:
        self.place = place

    @classmethod
    def of(cls, value: Place) -> "Location":
        """Return the location that a path or a URL names.

        Raises
        ------
        StoreError
            If it is the URL of something unknown, or contains credentials.
        """
        if isinstance(value, Location):
            return value
        if not isinstance(value, str | os.PathLike):
            raise StoreError(f"store: expected a path or a URL, got {value!r}")
        text = os.fspath(value)
        url = _URL.fullmatch(text) if isinstance(value, str) else None
        if url is None:
            if re.match(rf"({'|'.join(BACKENDS)}):/", text):
                raise StoreError(f"store {text}: a Path cannot hold a URL; give it as text")
            # Absolute, since a run may change its working directory.
            return BACKENDS["file"](os.path.abspath(os.path.expanduser(text)))
        scheme, rest = url[1].lower(), url[2]
        backend = BACKENDS.get(scheme)
        # Nothing of a URL that may contain a secret is ever said: not even a part that only looks harmless.
        if re.search(r"[@?#]", rest) and not (backend and backend.any_characters):
            raise StoreError(
                f"store {scheme}://...: expected no credentials in the URL (nor @, ? or #); "
                "give them in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
            )
        if backend is None:
            *others, last = [known.example for known in BACKENDS.values()]
            raise StoreError(f"store {scheme}://...: expected {', '.join(others)} or {last}")
        return backend(backend.parse(rest))

    # What a backend says

    @classmethod
    @abstractmethod
    def parse(cls, rest: str) -> str:
        """Return the place that a URL names after ``scheme://``.

        Raises
        ------
        StoreError
            If it names none; the message quotes nothing of the URL.
        """

    @abstractmethod
    def open_zarr(self) -> "ZarrStore":
        """Open the place as a Zarr store, for reading and writing.

        Writing a key must be atomic: others see the old bytes or the new ones.
        """

    def hold(self, say: Say = lock.silent) -> AbstractContextManager[Hold]:
        """Hold the lock of a store for the time of a run.

        Parameters
        ----------
        say : callable
            Told that one has to wait, and for how long.

        Raises
        ------
        StoreLockedError
            From ``with``, if another run holds the store, saying which process on which host since when.
        """
        return lock.in_process(str(self))

    def holder(self) -> Holder | None:
        """Return who runs on a store, or None if no one does."""
        return lock.holder_in_process(str(self))

    def explain(self, error: Exception, *, writing: bool) -> Refusal | None:
        """Say what an error of the place is about; None if it is no refusal of the place."""
        if not isinstance(error, OSError):
            return None
        advice = "choose a path that can, or make room" if writing else "see to the disk and its permissions"
        return Refusal(error.strerror or str(error), advice, error.errno in _PASSING)

    def parents(self) -> Iterator["Location"]:
        """Yield the places that this one lies in, the nearest first; none where places do not lie in each other."""
        return iter(())

    def remove_partial_files(self) -> None:  # noqa: B027  # most backends show nothing half written
        """Remove what a killed writer left half written; only while no one writes."""

    # What all have in common

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}"

    def __repr__(self) -> str:
        return f"Location({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        return Location.of, (str(self),)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("Location", str(self))

    @cached_property
    def zarr(self) -> "ZarrStore":
        """The place as Zarr sees it, for reading and writing."""
        return self.open_zarr()

    @cached_property
    def _reader(self) -> "ZarrStore":
        return self.zarr.with_read_only(True)

    def exists(self) -> bool:
        """Tell whether anything is here."""
        return bool(self.children())

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a key, or None if it is not there.

        Raises
        ------
        StoreError
            If the place refuses, which is not the same.
        """
        return self.read_all([key])[0]

    def write(self, key: str, content: bytes) -> None:
        """Write the bytes of a key: whole, or not at all."""
        self.write_all({key: content})

    def delete(self, key: str) -> None:
        """Remove a key if it is there."""
        self.write_all({key: None})

    def read_all(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each key, None where it is not there; many at a time.

        Raises
        ------
        StoreError
            If the place refuses, which is not the same.
        """
        from zarr.core.buffer import default_buffer_prototype

        async def get(key: str) -> bytes | None:
            with suppress(*ABSENT):
                found = await self._reader.get(key, default_buffer_prototype())
                return None if found is None else found.to_bytes()
            return None

        with reading(self):
            return _each(get, keys)

    def write_all(self, files: Mapping[str, bytes | None]) -> None:
        """Write the bytes of each key, whole or not at all, in any order; remove those of None."""
        from zarr.core.buffer import default_buffer_prototype

        async def put(key: str) -> None:
            if (content := files[key]) is None:
                await self.zarr.delete(key)
            else:
                await self.zarr.set(key, default_buffer_prototype().buffer.from_bytes(content))

        with writing(self):
            _each(put, files)

    def delete_tree(self, prefix: str) -> None:
        """Remove all keys beneath a prefix."""
        from zarr.core.sync import sync

        with writing(self):
            sync(self.zarr.delete_dir(prefix))

    def children(self, prefix: str = "") -> list[str]:
        """Return the names directly beneath a prefix, sorted."""
        from zarr.core.sync import sync

        async def names() -> list[str]:
            return [name async for name in self._reader.list_dir(prefix)]

        with reading(self):
            return sorted(sync(names()))


def _each(do: Callable[[str], Awaitable[Any]], keys: Iterable[str]) -> list[Any]:
    """Do something with each key on Zarr's event loop, some at a time."""
    from zarr.core.common import concurrent_map
    from zarr.core.sync import sync

    return sync(concurrent_map([(key,) for key in keys], do, AT_A_TIME))


@contextmanager
def reading(location: Location) -> Iterator[None]:
    """Turn the refusals of a place that is read into one line; what is only not there passes through.

    Raises
    ------
    StoreError, StoreUnreachableError
        If the place refuses, or does not answer.
    """
    try:
        yield
    except Exception as error:
        refusal = None if isinstance(error, ABSENT) else location.explain(error, writing=False)
        if refusal is None:
            raise
        raise _refused(location, "read", refusal, "nothing was changed") from _quotable(error)


@contextmanager
def writing(location: Location) -> Iterator[None]:
    """Turn the refusals of a place that is written to into one line."""
    try:
        yield
    except Exception as error:
        refusal = location.explain(error, writing=True)
        if refusal is None:
            raise
        kept = "what is done is kept, and the same run goes on from there"
        raise _refused(location, "written", refusal, kept) from _quotable(error)


def _quotable(error: Exception) -> Exception | None:
    # Errors of clients quote the endpoint, with all it contains.
    return error if isinstance(error, OSError) else None


def _refused(location: Location, what: str, refusal: Refusal, kept: str) -> StoreError:
    kind = StoreUnreachableError if refusal.passing else StoreError
    return kind(f"store {location}: cannot be {what}: {refusal.reason}; {refusal.advice}; {kept}")
