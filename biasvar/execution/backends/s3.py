"""Stores in an object store: ``s3://bucket/key``.

A store has a lease: an object beside it, ``.NAME.lock``, that its holder writes anew all the time. One that stays the
same for a whole lease was left behind and is taken over. A newcomer measures that by its own clock alone, so that no
clocks are compared and none matters that is wrong or is set.

Creating, renewing and taking over are conditional writes, of which a server lets one succeed. Some servers ignore the
condition. There two runs may both believe that they hold the store until one of them renews next, a third of a lease
later, and finds another's token; until then both write the same bytes.
"""

import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from biasvar.errors import MissingDependencyError, StoreError, StoreLockedError
from biasvar.execution import lock
from biasvar.execution.backends.base import Location, Refusal, reading, writing
from biasvar.execution.lock import Hold, Holder, Say
from biasvar.execution.settings import seconds

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

#: Of one request: enough for a chunk on a slow line, and half a minute until silence is told.
REQUEST_SECONDS = 25.0
#: For which a request that failed at once is tried again.
RETRY_SECONDS = 20.0
#: Of waiting for a lock that may have been left behind, before that is told.
TELL_AFTER = 1.0
#: For taking one's lock away at the end; else it runs out by itself.
END_SECONDS = 5.0

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]+")


class S3Location(Location):
    """A key in a bucket."""

    scheme = "s3"
    example = "s3://BUCKET/KEY"

    @classmethod
    def parse(cls, rest: str) -> str:
        """Return ``bucket/key``."""
        bucket, *keys = [part for part in rest.split("/") if part] or [""]
        if not _BUCKET.fullmatch(bucket) or not keys or {".", ".."} & set(keys):
            raise StoreError("store s3://...: expected s3://BUCKET/KEY, as in s3://studies/sine.zarr")
        return "/".join([bucket, *keys])

    def parents(self) -> Iterator[Location]:
        """Yield the keys above."""
        parts = self.place.split("/")
        return (S3Location("/".join(parts[:count])) for count in range(len(parts) - 1, 1, -1))

    def open_zarr(self) -> "ZarrStore":
        """Open what is beneath the key."""
        from zarr.storage import ObjectStore

        return ObjectStore(object_store(self.place))

    def explain(self, error: Exception, *, writing: bool) -> Refusal | None:
        """Say in words what an error of obstore is about."""
        if isinstance(error, OSError) or type(error).__module__.startswith("obstore"):
            return _explained(str(error))
        return None

    @contextmanager
    def hold(self, say: Say = lock.silent) -> Iterator[Hold]:
        """Take the lease and renew it all the time."""
        mine = lock.me() | {"token": secrets.token_hex(16), "lease": seconds("lease"), "renewals": 0}
        lease = _Lease(self)
        _acquire(lease, mine, say)
        hold = _LeaseHold(lease, mine)
        try:
            yield hold
        finally:
            hold.end()

    def holder(self) -> Holder | None:
        """Return what the lease says, and ``heard``: when its holder was last heard of, by the server's clock.

        A holder that by *this machine's* clock was not heard of for two leases is taken for gone. (That decides only
        what is said here; who gets the lock is never decided so.)
        """
        found = _Lease(self).read()
        if found is None:
            return None
        said, _, written = found
        silence = (datetime.now(UTC) - written).total_seconds()
        if silence > 2 * float(said.get("lease", seconds("lease"))):
            return None
        shown = {name: value for name, value in said.items() if name not in ("token", "lease", "renewals")}
        return shown | {"heard": written.strftime("%Y-%m-%d %H:%M:%S UTC")}


# The lease


class _Lease:
    """The lock object of a store: read, and written on conditions."""

    def __init__(self, location: "S3Location") -> None:
        parent, _, name = location.place.rpartition("/")
        self.location, self._objects, self._key = location, object_store(parent), f".{name}.lock"

    def read(self) -> tuple[Holder, str, datetime] | None:
        """Return what it says, its etag and when it was written, or None if it is not there."""
        try:
            with reading(self.location):
                found = self._objects.get(self._key)
                said = lock.parsed(bytes(found.bytes()))
        except FileNotFoundError:
            return None
        return said, str(found.meta["e_tag"]), found.meta["last_modified"]

    def write(self, content: Mapping[str, object], etag: str | None) -> bool:
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
    def __init__(self, lease: _Lease, me: Holder) -> None:
        self._lease, self._me, self._lost = lease, me, False
        self._news, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="biasvar-lease", daemon=True)
        self._thread.start()

    def tell(self, progress: Mapping[str, object]) -> None:
        self._me = self._me | {"progress": dict(progress)}
        self._news.set()

    def check(self) -> None:
        if self._lost:
            found = self._lease.read()
            raise StoreLockedError(
                f"store {self._lease.location}: {lock.in_words(found and found[0]) or 'another process'} has taken it "
                "over, for this run was not heard of for a whole lease; what is done is kept"
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


def _acquire(lease: _Lease, me: Holder, say: Say) -> None:
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
            raise lock.taken(lease.location, said)
        patience = max(me["lease"], float(said.get("lease", 0)))
        if asked - since > patience and lease.write(me, etag):
            return
        if asked - since > TELL_AFTER and not told:
            told = True
            say(
                f"store {lease.location}: {lock.in_words(said)} holds it, or was killed; "
                f"waiting {patience - (asked - since):.0f} s for a sign of life, then taking it over"
            )
        time.sleep(min(1.0, me["lease"] / 20))


# The client


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


def _explained(message: str) -> Refusal:
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
            return Refusal(reason.format(**words), advice, passing)
    raise AssertionError("the last pattern fits all")
