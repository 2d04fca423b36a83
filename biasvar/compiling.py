"""Numba's compiler, with a folder for what it has compiled: kernels take ``njit`` from here.

Kernels that are put together of parts are modules written into the same folder, for Numba keeps only what it has
compiled of a file.
"""

import hashlib
import inspect
import logging
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from uuid import uuid4

import numba
from numba import njit
from numba.core.dispatcher import Dispatcher

from biasvar.errors import BiasvarError

__all__ = ["Compiled", "generated", "njit", "python_of"]

#: Any time will do that is always the same: Numba compiles anew when a source has changed its time.
_TIME = 10**9
_LOCK = threading.Lock()

#: A function that ``njit`` has compiled.
Compiled = Callable[..., Any]


def python_of(function: Compiled) -> FunctionType:
    """Return what a function was before it was compiled."""
    python: FunctionType = function.py_func  # type: ignore[attr-defined]
    return python


def generated(name: str, text: str, parts: Iterable[Compiled]) -> ModuleType:
    """Return the module of a text, written beside what Numba has compiled, so that it is compiled once on a machine.

    The file's name has the hash of all that the text stands for, so that other versions and other workers may write
    into the same folder.

    Parameters
    ----------
    name : str
        What it is called, but for the hash.
    text : str
        Its source.
    parts : iterable of compiled functions
        What it imports. Their sources are part of the hash, and those of all compiled functions that they call.

    Raises
    ------
    BiasvarError
        If it cannot be written.
    """
    total = hashlib.sha256(text.encode())
    for source in sorted({inspect.getsource(module) for part in parts for module in _modules(part, set())}):
        total.update(source.encode())
    full = f"biasvar_{name}_{total.hexdigest()[:16]}"
    with _LOCK:
        if full not in sys.modules:
            # Not .py: this is no module of any package, wherever the folder is.
            path = _FOLDER / f"{full}.kernel"
            _write(path, text)
            module = ModuleType(full)
            module.__file__ = str(path)
            exec(compile(text, path, "exec"), vars(module))
            # Numba looks it up when it reads what it has kept.
            sys.modules[full] = module
        return sys.modules[full]


def _modules(function: Compiled, known: set[Compiled]) -> Iterator[ModuleType]:
    """Yield the modules of a compiled function and of those that it calls."""
    if function in known:
        return
    known.add(function)
    python = python_of(function)
    yield sys.modules[python.__module__]
    for name in python.__code__.co_names:
        called = python.__globals__.get(name)
        if isinstance(called, Dispatcher):
            yield from _modules(called, known)


def _write(path: Path, text: str) -> None:
    """Write a file that others may write or read at the same time, unless it is there."""
    draft = path.with_suffix(f".{uuid4().hex}")
    try:
        if path.exists() and path.read_text() == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text)
        os.utime(draft, (_TIME, _TIME))
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise BiasvarError(
            f"{path}: code to be compiled cannot be written ({error.strerror}); name a folder that can: NUMBA_CACHE_DIR"
        ) from error


def _find_folder() -> Path:
    """Return where Numba keeps what it compiles: a temporary folder where it finds none that it can write to.

    Numba looks at ``NUMBA_CACHE_DIR``, beside the sources, and in the user's cache; processes that start from here
    inherit what is found, so that it is said once.

    Raises
    ------
    BiasvarError
        If temporary files cannot be written either.
    """
    try:
        return Path(njit(_probe, cache=True).stats.cache_path)  # type: ignore[attr-defined]
    except RuntimeError:  # Numba: "no locator available"
        folder = _temporary_folder()
        os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
        logging.getLogger("biasvar").warning(
            "compiled code is kept in %s, for no usual folder can be written; to choose one: NUMBA_CACHE_DIR", folder
        )
        return folder


def _probe() -> None: ...


def _temporary_folder() -> Path:
    """Return this user's own folder among the temporary ones: what lies in it is code, and will be run."""
    try:
        folder = Path(tempfile.gettempdir(), f"biasvar-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return folder
        return Path(tempfile.mkdtemp(prefix="biasvar-"))
    except OSError as error:
        raise BiasvarError(
            f"no folder for compiled code can be written ({error.strerror}); name one that can: NUMBA_CACHE_DIR"
        ) from error


_FOLDER = _find_folder()
