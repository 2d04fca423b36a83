"""Everything biasvar raises on purpose, in one small tree."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class BiasvarError(Exception):
    """Base of all errors that biasvar raises on purpose; ``str`` is one readable line.

    Examples
    --------
    >>> import biasvar as bv
    >>> try:
    ...     bv.load("two-point-sine", ["replicates=100"])
    ... except bv.BiasvarError as error:
    ...     print(type(error).__name__, len(str(error).splitlines()))
    StudyError 1
    """


class BiasvarWarning(UserWarning):
    """Tell that a run finished with less than was asked for: cells failed, or goals were missed.

    Examples
    --------
    >>> import warnings
    >>> import biasvar as bv
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", bv.BiasvarWarning)  # from here on a run that lacks something raises
    ...     try:
    ...         warnings.warn("a cell failed", bv.BiasvarWarning)
    ...     except bv.BiasvarWarning as warning:
    ...         print(warning)
    a cell failed
    """


class StudyError(BiasvarError, ValueError):
    """Report a study that cannot be run as stated: which field, what value, and the way out.

    Examples
    --------
    >>> import biasvar as bv
    >>> try:
    ...     bv.load("two-point-sine", ["replicates=100"])
    ... except StudyError as error:
    ...     print(str(error).partition(";")[0])
    study two-point-sine: replicates: 100 is too few for standard errors
    """


class TargetError(StudyError):
    """Report a target function that returned a wrong shape, or values that are not finite.

    Examples
    --------
    >>> import biasvar as bv
    >>> try:
    ...     bv.load("two-point-sine").replace(target=lambda x: x[:1])
    ... except TargetError as error:
    ...     print(str(error).partition("returned ")[-1].partition(";")[0])
    shape (1,) for inputs of shape (64,), expected (64,)
    """


class SettingError(BiasvarError, ValueError):
    """Report a setting of Dask's configuration that is unknown, or has a value that it cannot have.

    Examples
    --------
    >>> import dask
    >>> import biasvar as bv
    >>> with dask.config.set({"biasvar.task-seconds": "soon"}):
    ...     try:
    ...         bv.plan(bv.load("two-point-sine"))
    ...     except SettingError as error:
    ...         print(error)
    setting biasvar.task-seconds: expected a length of time such as '2s', got 'soon'
    """


class StoreError(BiasvarError):
    """Report a store that cannot be used: not one of ours, unwritable, or damaged beyond a run's repair.

    Examples
    --------
    >>> import biasvar as bv
    >>> try:
    ...     bv.open("memory://nothing")
    ... except StoreError as error:
    ...     print(error)
    store memory://nothing: does not exist; make it with: biasvar run STUDY --store memory://nothing
    """


class StoreLockedError(StoreError):
    """Report a store that another run holds, and who holds it.

    Examples
    --------
    >>> issubclass(StoreLockedError, StoreError)
    True
    """


class StudyChangedError(StoreError):
    """Report a store that belongs to a different study, and where the two differ.

    Examples
    --------
    >>> import tempfile
    >>> import biasvar as bv
    >>> study = bv.load("two-point-sine", ["replicates=256", "block_size=16"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = bv.run(study, f"{folder}/sine.zarr", progress=False)
    ...     try:
    ...         bv.run(study.replace(seed=1), f"{folder}/sine.zarr", progress=False)
    ...     except StudyChangedError as error:
    ...         print("seed" in str(error))
    True
    """


class DamagedChunkError(StoreError):
    """Report a stored chunk whose bytes are not what was written: which one, and why.

    Examples
    --------
    >>> import types
    >>> print(DamagedChunkError(types.SimpleNamespace(path="risk/0"), 3, "its checksum differs"))
    chunk 3 of blocks/risk/0 is damaged: its checksum differs
    """

    # A Group of a study, which stands in a room above this one.
    def __init__(self, group: Any, chunk: int, why: str) -> None:
        super().__init__(f"chunk {chunk} of blocks/{group.path} is damaged: {why}")
        self.group, self.chunk, self.why = group, chunk, why

    def __reduce__(self) -> tuple[type, tuple[Any, int, str]]:
        return type(self), (self.group, self.chunk, self.why)


class StoreUnreachableError(StoreError):
    """Report a store that does not answer now, but may later: nothing is known to be missing.

    Examples
    --------
    >>> issubclass(StoreUnreachableError, StoreError)
    True
    """


class SchedulerError(BiasvarError):
    """Report a Dask scheduler that does not answer, or refuses.

    Examples
    --------
    >>> issubclass(SchedulerError, BiasvarError), issubclass(SchedulerError, StudyError)  # the study is not at fault
    (True, False)
    """


class RunError(BiasvarError):
    """Report a run that could not go on though its study is sound: what is stored is kept, and the same run goes on.

    Examples
    --------
    >>> issubclass(RunError, BiasvarError), issubclass(RunError, StudyError)  # the study is not at fault
    (True, False)
    """


class MissingDependencyError(BiasvarError, ImportError):
    """Report an optional library that is not installed, and the command that installs it.

    Examples
    --------
    >>> print(MissingDependencyError("matplotlib", "figures"))
    matplotlib is not installed; install it with: pip install 'biasvar[figures]'
    """

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; install it with: pip install 'biasvar[{extra}]'")
        self.library, self.extra = library, extra

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.library, self.extra)


#: What is the machine's fault, not that of a study or a user's function: a failure that is not remembered.
MACHINE_FAULTS = (MissingDependencyError, MemoryError, OSError)


def several(number: int, noun: str) -> str:
    """Say how many of something there are.

    Examples
    --------
    >>> several(1, "chunk"), several(2, "chunk")
    ('1 chunk', '2 chunks')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folder of a file that is written within; a file that cannot be is told as bad input is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise BiasvarError(f"{path}: cannot be written ({error.strerror or error}); choose another path") from error


def sentence(error: Exception) -> str:
    """Say in a line what was raised: of ours the message alone, of others their kind too."""
    kind = "" if isinstance(error, BiasvarError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())


def vectorise_hint(error: BaseException) -> str:
    """Say what to do about an error that a function raises because it expects one number and gets an array.

    Examples
    --------
    >>> import math, numpy as np
    >>> try:
    ...     math.sin(np.zeros(2))
    ... except TypeError as error:
    ...     vectorise_hint(error)
    '; it gets many numbers at once, in an array: vectorise it (np.where for if, np.sin for math.sin, or np.vectorize)'
    """
    if not re.search(r"truth value of an array|only .*arrays can be converted to Python scalars", str(error)):
        return ""
    return (
        "; it gets many numbers at once, in an array: "
        "vectorise it (np.where for if, np.sin for math.sin, or np.vectorize)"
    )
