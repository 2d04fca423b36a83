"""Where a store is: a local path, ``s3://bucket/key``, or ``memory://name``; all are read and written alike."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Union
from urllib.parse import unquote

from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore

from biasvar.errors import MissingDependencyError, StoreError, StoreUnreachableError

Place = Union[str, "os.PathLike[str]", "Location"]

#: Of one request to an object store: enough for a chunk on a slow line, and half a minute until silence is told.
REQUEST_SECONDS = 25.0
#: How long a request that failed at once is tried again.
RETRY_SECONDS = 20.0

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]+")
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EAGAIN}

_memory: dict[str, dict[str, Any]] = {}


class Location:
    """A place for a store; make it with :meth:`of`.

    It travels to other processes as its URL alone. What opens the place (the credentials of an object store) each
    process reads from its own environment, so that it is in no graph, no store and no log.

    Parameters
    ----------
    scheme : str
        ``file``, ``s3`` or ``memory``.
    place : str
        An absolute path, ``bucket/key``, or a name.
    """

    def __init__(self, scheme: str, place: str) -> None:
        self.scheme, self.place = scheme, place

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
            if re.match(r"(s3|file|memory):/", text):
                raise StoreError(f"store {text}: a Path cannot hold a URL; give it as text")
            return cls("file", os.path.abspath(os.path.expanduser(text)))  # a run may change its working directory
        return cls(url[1].lower(), _place(url[1].lower(), url[2]))

    def __str__(self) -> str:
        return self.place if self.scheme == "file" else f"{self.scheme}://{self.place}"

    def __repr__(self) -> str:
        return f"Location({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> Any:
        return Location.of, (str(self),)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("Location", str(self))

    @property
    def shared(self) -> bool:
        """Tell whether other processes can reach it."""
        return self.scheme != "memory"

    @property
    def path(self) -> Path:
        """Where it is in the file system: of local places only."""
        return Path(self.place)

    @cached_property
    def zarr(self) -> ZarrStore:
        """The place as Zarr sees it, for reading and writing."""
        match self.scheme:
            case "file":
                return LocalStore(self.place)
            case "memory":
                return MemoryStore(_memory.setdefault(self.place, {}))
            case _:
                from zarr.storage import ObjectStore

                return ObjectStore(object_store(self.place))

    @cached_property
    def _reader(self) -> ZarrStore:
        return self.zarr.with_read_only(True)  # the other kind makes a local folder where there is none

    def exists(self) -> bool:
        """Tell whether anything is here."""
        if self.scheme == "file" and not self.path.is_dir():
            return self.path.exists()
        return bool(self.children())

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a key, or None if it is not there.

        Raises
        ------
        StoreError
            If the place refuses, which is not the same.
        """
        with reading(self), suppress(*_ABSENT):
            found = sync(self._reader.get(key, default_buffer_prototype()))
            return None if found is None else found.to_bytes()
        return None

    def write(self, key: str, data: bytes) -> None:
        """Write the bytes of a key: whole, or not at all."""
        with writing(self):
            sync(self.zarr.set(key, default_buffer_prototype().buffer.from_bytes(data)))

    def delete(self, key: str) -> None:
        """Remove a key if it is there."""
        with writing(self):
            sync(self.zarr.delete(key))

    def delete_tree(self, prefix: str) -> None:
        """Remove all keys beneath a prefix."""
        with writing(self), suppress(ValueError):  # of a local store, if it is a file
            sync(self.zarr.delete_dir(prefix))

    def children(self, prefix: str = "") -> list[str]:
        """Return the names directly beneath a prefix, sorted."""

        async def names() -> list[str]:
            return [name async for name in self._reader.list_dir(prefix)]

        with reading(self):
            return sorted(sync(names()))

    def remove_partial_files(self) -> None:
        """Remove what a killed writer left half written (object stores show nothing half); only while no one writes."""
        if self.scheme != "file":
            return
        with writing(self):
            for folder, _, files in os.walk(self.place):
                for name in files:
                    if name.endswith(".partial"):
                        Path(folder, name).unlink(missing_ok=True)


def _place(scheme: str, rest: str) -> str:
    """Return what a URL names after its scheme."""
    # Nothing of a URL that may contain a secret is ever said: not even a part that only looks harmless.
    if re.search(r"[@?#]", rest) and scheme != "file":
        raise StoreError(
            f"store {scheme}://...: expected no credentials in the URL (nor @, ? or #); "
            "give them in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
        )
    match scheme:
        case "file":
            if not rest.startswith("/"):
                raise StoreError("store file://...: expected an absolute path, as in file:///data/study.zarr")
            return os.path.abspath(unquote(rest))
        case "s3":
            bucket, *keys = [part for part in rest.split("/") if part] or [""]
            if not _BUCKET.fullmatch(bucket) or not keys or {".", ".."} & set(keys):
                raise StoreError("store s3://...: expected s3://BUCKET/KEY, as in s3://studies/sine.zarr")
            return "/".join([bucket, *keys])
        case "memory":
            if not rest.strip("/"):
                raise StoreError("store memory://: expected a name, as in memory://sine")
            return rest.strip("/")
    raise StoreError(f"store {scheme}://...: expected a local path, s3://BUCKET/KEY or memory://NAME")


# Object stores


def object_store(place: str) -> Any:
    """Return obstore's client of a bucket, or of what is beneath a key in it.

    It is configured by the environment: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``,
    ``AWS_ENDPOINT_URL``, ``AWS_ALLOW_HTTP`` and so on.

    Raises
    ------
    MissingDependencyError
        If obstore is not installed.
    """
    # By the environment too: whoever corrects it in a session need not start another.
    return _client(place, tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@lru_cache(maxsize=16)
def _client(place: str, environment: tuple[tuple[str, str], ...]) -> Any:
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise MissingDependencyError("obstore", "s3") from error
    bucket, _, prefix = place.partition("/")
    # Not as client_options, for they would replace those of the environment (AWS_ALLOW_HTTP, a proxy).
    limits: Any = {"timeout": f"{REQUEST_SECONDS * 1000:.0f}ms", "connect_timeout": "5s"}
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=limits,
        retry_config={"max_retries": 10, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


# Refusals


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
        if isinstance(error, _ABSENT) or not _is_refusal(error):
            raise
        raise _refused(location, "read", error, "nothing was changed") from _quotable(error)


@contextmanager
def writing(location: Location) -> Iterator[None]:
    """Turn the refusals of a place that is written to into one line."""
    try:
        yield
    except Exception as error:
        if not _is_refusal(error):
            raise
        kept = "what is done is kept, and the same run goes on from there"
        raise _refused(location, "written", error, kept) from _quotable(error)


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.startswith("obstore")


def _quotable(error: Exception) -> Exception | None:
    return error if isinstance(error, OSError) else None  # obstore's errors quote the endpoint, with all it contains


def _refused(location: Location, what: str, error: Exception, kept: str) -> StoreError:
    if location.scheme == "s3":
        reason, advice, passing = _explained(str(error))
    else:
        code = error.errno if isinstance(error, OSError) else None
        reason = getattr(error, "strerror", None) or str(error)
        advice = "choose a path that can, or make room" if what == "written" else "see to the disk and its permissions"
        passing = code in _PASSING
    kind = StoreUnreachableError if passing else StoreError
    return kind(f"store {location}: cannot be {what}: {reason}; {advice}; {kept}")


_EXPLANATIONS = (  # what an error of obstore contains, what that means, what to do, whether it may pass by itself
    (r"NoSuchBucket", "there is no such bucket", "make it, or name another", False),
    (r"BadScheme", "its endpoint is not https", "set AWS_ALLOW_HTTP=true if that is meant", False),
    (
        r"Missing (Secret)?AccessKey|//169\.254\.",
        "no credentials",
        "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
        False,
    ),
    (r"kind: Timeout|TimedOut", "no answer from {endpoint}", "see to AWS_ENDPOINT_URL and the network", True),
    (r"dns error", "no address for {endpoint}", "see to AWS_ENDPOINT_URL and the network", True),
    (r"ConnectionRefused", "{endpoint} refuses the connection", "see to AWS_ENDPOINT_URL and the network", True),
    (r"status code: 40[13]", "{status}", "see to the credentials and the bucket's policy", False),
    (r"status code: (5\d\d|429)", "{status} from {endpoint}", "see to the server", True),
    (r"status code: ", "{status}", "see to the server", False),
    (r"HTTP error|HttpError", "no connection to {endpoint}", "see to AWS_ENDPOINT_URL and the network", True),
    (r"", "{first}", "see to AWS_ENDPOINT_URL and the credentials", False),
)


def _explained(message: str) -> tuple[str, str, bool]:
    """Say in words what an error of obstore, a page of text, is about."""
    clean = re.sub(r"://[^/@\s]*@", "://", message)
    status, code = re.search(r"status code: (\d+ ?[\w ]*)", clean), re.search(r"<Code>(\w+)</Code>", clean)
    endpoint = re.search(r"https?://[^/\s]+", clean)
    words = {
        "status": (status[1].strip() if status else "") + (f" ({code[1]})" if code else ""),
        "endpoint": endpoint[0] if endpoint else "the server",
        "first": clean.partition("\n")[0],
    }
    for pattern, reason, advice, passing in _EXPLANATIONS:
        if re.search(pattern, clean):
            return reason.format(**words), advice, passing
    raise AssertionError("the last pattern fits all")
