"""Schedulers that run already: by their address, by the file that has it, or by a user's Client."""

import gc
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from biasvar.errors import SchedulerError, StudyError
from biasvar.execution.connection import Connection
from biasvar.execution.settings import seconds

if TYPE_CHECKING:
    from distributed import Client, Security

AN_ADDRESS = "tcp://127.0.0.1:8786"
PROTOCOLS = ("tcp", "tls", "ws", "wss", "ucx", "inproc")
#: What a Client may raise that is refused or finds no one: a bad certificate is an OSError, none at all a TypeError.
_UNANSWERED = (OSError, TimeoutError, ValueError, TypeError, RuntimeError)
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Address(Connection):
    """A scheduler that runs already, by its address."""

    address: str
    security: "Security | None" = None

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Connect, for the time of a ``with``."""
        with _connect(lambda: self.address, self.security) as client:
            yield client


@dataclass(frozen=True)
class SchedulerFile(Connection):
    """A scheduler that runs already, or soon, by the file that it writes its address to."""

    path: Path
    security: "Security | None" = None

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Connect, for the time of a ``with``."""
        with _connect(self._address, self.security) as client:
            yield client

    def _address(self) -> str:
        try:
            found = json.loads(self.path.read_text())["address"]
        except (OSError, ValueError, KeyError, TypeError) as error:  # not there yet, or half written
            raise SchedulerError(
                f"scheduler file {self.path}: no address in it ({type(error).__name__}); "
                f"start one with: dask scheduler --scheduler-file {self.path}"
            ) from error
        try:
            return checked_address(found)
        except StudyError as error:
            raise StudyError(f"scheduler file {self.path}: {error}") from error


def checked_address(value: object) -> str:
    """Return the address of a Dask scheduler, with its protocol.

    Raises
    ------
    StudyError
        If it is none: without a host or a port, or of something else, such as the dashboard.

    Examples
    --------
    >>> checked_address("127.0.0.1:8786")
    'tcp://127.0.0.1:8786'
    """
    if not isinstance(value, str):
        raise StudyError(f"scheduler: expected an address such as {AN_ADDRESS}, got {value!r}")
    address = value if "://" in value else f"tcp://{value}"
    try:
        parts = urlsplit(address)
        complete = bool(parts.hostname and parts.port)
    except ValueError:  # a port that is no number, or too large
        complete = False
    if parts.scheme in ("http", "https"):
        raise StudyError(
            f"scheduler {value}: is the address of a dashboard; give the scheduler's own, such as {AN_ADDRESS}"
        )
    if parts.scheme not in PROTOCOLS:
        raise StudyError(f"scheduler {value}: unknown protocol {parts.scheme!r}; use one of {', '.join(PROTOCOLS)}")
    if not complete and parts.scheme != "inproc":
        raise StudyError(f"scheduler {value}: expected a host and a port, as in {AN_ADDRESS}")
    return address


class Borrowed(Connection):
    """A user's own Client, and once that has lost its scheduler, a new one to the same address."""

    def __init__(self, client: "Client") -> None:
        self._own: Client | None = client
        # A Client keeps the address of a scheduler that it has lost.
        self._address, self._security = client.scheduler.address, client.security  # type: ignore[union-attr]

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Take the user's Client the first time, and connect anew from then on."""
        if self._own is not None:
            own, self._own = self._own, None
            yield own
            return
        with _connect(lambda: str(self._address), self._security) as client:
            yield client


def security(ca_file: Path | None, cert: Path | None, key: Path | None) -> "Security | None":
    """Return what a TLS connection needs; None if no file is given.

    Raises
    ------
    StudyError
        If a file is missing, or cannot be read.
    """
    files = {"--tls-ca-file": ca_file, "--tls-cert": cert, "--tls-key": key}
    if not any(files.values()):
        return None
    for option, file in files.items():
        if file is None:
            raise StudyError(f"{option}: is missing; TLS needs all of {', '.join(files)}")
        if not os.access(file, os.R_OK):
            raise StudyError(f"{option}: {file} cannot be read")
    from distributed import Security

    return Security(
        tls_ca_file=str(ca_file),
        tls_client_cert=str(cert),
        tls_client_key=str(key),
        tls_scheduler_cert=str(cert),
        tls_scheduler_key=str(key),
        tls_worker_cert=str(cert),
        tls_worker_key=str(key),
        require_encryption=True,
    )


@contextmanager
def _connect(address_now: Callable[[], str], security: "Security | None") -> Iterator[Any]:
    from distributed import Client

    timeout = seconds("connect-timeout")
    address = _found(address_now, timeout)
    _check_certificate(address, security)
    try:
        client = Client(address, timeout=timeout, security=security, set_as_default=False)
    except _UNANSWERED as error:
        gc.collect()  # for the same reason: let it be now, and not while the next one starts
        raise _unanswered(address, error) from error
    with _quiet_log():
        try:
            yield client
        finally:
            client.close(timeout=timeout)


def _check_certificate(address: str, security: "Security | None") -> None:
    """Refuse TLS without a certificate here: a Client would, too, but hang when it is collected."""
    from distributed import Security

    if not address.startswith("tls://"):
        return
    if (security or Security()).get_connection_args("client")["ssl_context"] is None:
        raise SchedulerError(
            f"scheduler {address}: TLS needs a certificate; give --tls-ca-file, --tls-cert and --tls-key, or set "
            "distributed.comm.tls in Dask's configuration"
        )


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Keep the client from logging a traceback when its scheduler is lost: the run tells that in a line."""
    logs = [logging.getLogger(f"distributed.{name}") for name in ("batched", "client", "comm", "core")]
    before = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.CRITICAL)
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)


def _found(address_now: Callable[[], str], timeout: float) -> str:
    """Wait until someone listens at an address, which may change: a scheduler may be starting.

    A Client that fails may hang its process when it is collected; a socket does not.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            address = address_now()
            _knock(address, max(deadline - time.monotonic(), POLL_SECONDS))
            return address
        except SchedulerError:
            if time.monotonic() > deadline:
                raise
        except OSError as error:
            if time.monotonic() > deadline:
                raise _unanswered(address, error) from error
        time.sleep(POLL_SECONDS)


def _unanswered(address: str, error: Exception) -> SchedulerError:
    what = " ".join(str(error).split()) or type(error).__name__
    return SchedulerError(f"no Dask scheduler answers at {address}: {what}; is it running?")


def _knock(address: str, timeout: float) -> None:
    parts = urlsplit(address)
    if parts.scheme in ("tcp", "tls") and parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=timeout).close()
