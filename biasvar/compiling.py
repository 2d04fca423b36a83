"""Numba's compiler, with a folder for what it has compiled: kernels take ``njit`` from here."""

import logging
import os
import stat
import tempfile
from pathlib import Path

import numba
from numba import njit

from biasvar.errors import BiasvarError

__all__ = ["njit"]


def _find_folder() -> None:
    """Have Numba keep what it compiles in a temporary folder where it finds none that it can write to.

    Numba looks at ``NUMBA_CACHE_DIR``, beside the sources, and in the user's cache; processes that start from here
    inherit what is found, so that it is said once.

    Raises
    ------
    BiasvarError
        If temporary files cannot be written either.
    """
    try:
        njit(_probe, cache=True)
    except RuntimeError:  # Numba: "no locator available"
        folder = _temporary_folder()
        os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
        logging.getLogger("biasvar").warning(
            "compiled code is kept in %s, for no usual folder can be written; to choose one: NUMBA_CACHE_DIR", folder
        )


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


_find_folder()
