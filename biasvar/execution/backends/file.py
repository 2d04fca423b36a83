"""Stores in a file system: a path, or ``file:///path``.

A store has a lock of the operating system on a file beside it, ``.NAME.lock``, which goes with its holder, however that
ends.
"""

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote
from uuid import uuid4

from biasvar.errors import StoreError
from biasvar.execution import lock
from biasvar.execution.backends.base import ABSENT, Location, reading, writing
from biasvar.execution.lock import Hold, Holder, Say

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore


DRAFT = ".partial"


class FileLocation(Location):
    """An absolute path.

    Files are read and written here, without Zarr's event loop, which takes ten times as long as a small file does.
    """

    scheme = "file"
    example = "a local path"
    any_characters = True

    def __init__(self, place: str) -> None:
        if any(ord(letter) < 32 for letter in place):
            raise StoreError(f"store {place!r}: expected a name without line breaks and other control characters")
        if os.path.dirname(place) == place:
            raise StoreError(
                f"store {place}: is the root of the file system; name a folder in it, as in /data/study.zarr"
            )
        super().__init__(place)

    @classmethod
    def parse(cls, rest: str) -> str:
        """Return the absolute path."""
        if not rest.startswith("/"):
            raise StoreError("store file://...: expected an absolute path, as in file:///data/study.zarr")
        return os.path.abspath(unquote(rest))

    def __str__(self) -> str:
        return self.place

    @property
    def path(self) -> Path:
        """Where it is in the file system."""
        return Path(self.place)

    def open_zarr(self) -> "ZarrStore":
        """Open the folder."""
        from zarr.storage import LocalStore

        return LocalStore(self.place)

    def read_all(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of each file, None where there is none."""
        with reading(self):
            return [self._content(key) for key in keys]

    def _content(self, key: str) -> bytes | None:
        # Here and below: to make a Path takes as long as to open a file.
        try:
            with open(f"{self.place}/{key}", "rb") as file:
                return file.read()
        except ABSENT:
            return None

    def write_all(self, files: Mapping[str, bytes | None]) -> None:
        """Write each file under another name first, which it gets when it is whole; remove those of None."""
        with writing(self):
            for key, content in files.items():
                path = f"{self.place}/{key}"
                if content is None:
                    with suppress(*ABSENT):
                        os.unlink(path)
                else:
                    _write(f"{self._drafts(key)}/{uuid4().hex}{DRAFT}", path, content)

    def _drafts(self, key: str) -> str:
        """Return where a key's draft is written: beside the folder of an array's chunks, of which there may be many."""
        array, chunk, _ = f"/{key}".partition("/c/")
        return self.place + (array if chunk else os.path.dirname(array))

    def delete_tree(self, prefix: str) -> None:
        """Remove a folder, or a file, and all that is in it."""
        path = self.path / prefix
        with writing(self), suppress(*ABSENT):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def children(self, prefix: str = "") -> list[str]:
        """Return the names in a folder, sorted."""
        with reading(self), suppress(*ABSENT):
            return sorted(os.listdir(self.path / prefix))
        return []

    def exists(self) -> bool:
        """Tell whether anything is here."""
        if self.path.is_symlink() and not self.path.exists():
            raise StoreError(
                f"store {self}: is a link to {os.readlink(self.path)}, which does not exist; make that, or choose "
                "another path"
            )
        return super().exists() if self.path.is_dir() else self.path.exists()

    def parents(self) -> Iterator[Location]:
        """Yield the folders above, but the root."""
        return (FileLocation(str(folder)) for folder in list(self.path.parents)[:-1])

    def remove_partial_files(self) -> None:
        """Remove the files that did not get their names yet; no chunk is looked at."""
        with writing(self):
            for folder, folders, files in os.walk(self.place):
                folders[:] = [name for name in folders if name != "c"]
                for name in files:
                    if name.endswith(DRAFT):
                        Path(folder, name).unlink(missing_ok=True)

    @contextmanager
    def hold(self, say: Say = lock.silent) -> Iterator[Hold]:
        """Lock the file beside the store."""
        path = self._lock_file
        with writing(self):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = self._open_locked(path)
        if descriptor is None:
            raise lock.taken(self, _written(path))
        try:
            yield _FileHold(descriptor)
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def holder(self) -> Holder | None:
        """Return what the lock file says, if it is locked."""
        path = self._lock_file
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

    @property
    def _lock_file(self) -> Path:
        # The same file by whatever name the store is called.
        path = Path(os.path.realpath(self.path))
        return path.with_name(f".{path.name}.lock")

    def _open_locked(self, path: Path) -> int | None:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                locked = _try_lock(descriptor)
            except OSError as error:
                os.close(descriptor)
                if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                    raise
                raise StoreError(
                    f"store {self}: its file system has no locks ({error.strerror}), and two runs might meet there; "
                    "choose a path on another"
                ) from error
            # The last holder may have removed the file between our open and our lock: then we hold a ghost.
            if locked and _same_file(descriptor, path):
                return descriptor
            os.close(descriptor)
            if not locked:
                return None


class _FileHold(Hold):
    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._me = descriptor, lock.me()
        self.tell({})

    def tell(self, progress: Mapping[str, object]) -> None:
        # One line in one go; readers take the first line only, whatever is left of a longer one.
        # The disk may be full: the run will find out where it matters.
        with suppress(OSError):
            os.pwrite(self._descriptor, json.dumps(self._me | {"progress": dict(progress)}).encode() + b"\n", 0)


def _write(draft: str, path: str, content: bytes) -> None:
    try:
        try:
            _move_in(draft, path, content)
        except FileNotFoundError:
            for file in (draft, path):
                os.makedirs(os.path.dirname(file), exist_ok=True)
            _move_in(draft, path, content)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise


def _move_in(draft: str, path: str, content: bytes) -> None:
    with open(draft, "wb") as file:
        file.write(content)
    os.replace(draft, path)


def _try_lock(descriptor: int) -> bool:
    for _ in range(20):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Someone may only be asking who holds it.
            time.sleep(0.005)
        else:
            return True
    return False


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _written(path: Path) -> Holder:
    try:
        return lock.parsed(path.read_bytes().partition(b"\n")[0])
    except OSError:
        return lock.parsed(b"")
