"""Examples that an empirical risk averages over: arrays, or a set that scikit-learn ships; whole, split or repeated.

Arrays are taken as they are. Of a named set every column is standardised, and so are its labels where they are real
numbers (diabetes), by the mean and standard deviation of the training examples; classes are the numbers 0, 1, ...
"""

import hashlib
from functools import cached_property, lru_cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import BeforeValidator

from biasvar.errors import MissingDependencyError, StudyError
from biasvar.fields import component
from biasvar.optimization.objectives.base import Described, written_as

#: Sets by name, with how many classes their labels have; None where labels are real numbers.
NAMED: dict[str, int | None] = {"breast_cancer": 2, "diabetes": None, "digits": 10, "iris": 3, "wine": 3}

Pair = tuple[NDArray[np.float64], NDArray[Any]]


class Array:
    """Hold a read-only copy of an array: equal, hashed, printed and written by its shape and content.

    Examples
    --------
    >>> Array(np.zeros((3, 2)))
    Array(3 x 2, 0f15b45a)
    >>> Array(np.zeros((3, 2))) == Array(np.zeros((3, 2)))
    True
    """

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = np.array(values, order="C")
        self.values.flags.writeable = False

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of type, shape and content."""
        head = f"{self.values.dtype.str} {self.values.shape}\n"
        return hashlib.sha256(head.encode() + self.values.tobytes()).hexdigest()

    def to_fields(self) -> dict[str, Any]:
        """Return what identifies it, as JSON."""
        return {"shape": list(self.values.shape), "sha256": self.sha256}

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"Array({' x '.join(map(str, self.values.shape))}, {self.sha256[:8]})"

    def __reduce__(self) -> tuple[type, tuple[NDArray[Any]]]:
        return Array, (self.values,)  # an array alone would come back writable

    def __dask_tokenize__(self) -> str:
        return self.sha256


def _matrix(value: object) -> Any:
    if value is None or isinstance(value, Array):
        return value
    x = _numbers(_array(value, "X"), "X")
    if x.ndim != 2 or 0 in x.shape:
        raise StudyError(f"expected X of shape (examples, features), got {x.shape}; one feature is X.reshape(-1, 1)")
    return Array(x)


def _labels(value: object) -> Any:
    if value is None or isinstance(value, Array):
        return value
    y = _array(value, "y")
    if y.dtype.kind not in "US":
        y = _numbers(y, "y")
    if y.ndim != 1:
        raise StudyError(f"expected y of shape (examples,), got {y.shape}; give one label per example")
    return Array(y)


def _array(value: object, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
        return np.asarray(array.tolist()) if array.dtype == object else array  # as pandas holds text
    except ValueError as error:
        raise StudyError(f"expected rows of {name} of one length; pad or drop what is longer") from error


def _numbers(values: NDArray[Any], name: str) -> NDArray[np.float64]:
    if values.dtype.kind not in "biuf":
        raise StudyError(f"expected {name} to be {'numbers' if name == 'X' else 'numbers or text'}, got {values.dtype}")
    values = values.astype(float)
    if not np.isfinite(values).all():
        where = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
        raise StudyError(f"expected {name} to be finite, got {values[where]} at {where}; drop or fill such examples")
    return values


Inputs = Annotated[Any, BeforeValidator(_matrix)]
Labels = Annotated[Any, BeforeValidator(_labels)]


@component
class Examples(Described):
    """Hold examples and their labels: arrays, or a set that scikit-learn ships, read when it is first needed.

    Parameters
    ----------
    X, y : array_like
        Examples, shape (m, p), and their labels, shape (m,): numbers or text.
    name : str
        Instead of X and y: breast_cancer, diabetes, digits, iris or wine, standardised.

    Raises
    ------
    StudyError
        Unless they are a pair X, y of one length, or the name of a set.

    Examples
    --------
    >>> Examples(X=[[1.0], [2.0]], y=["ham", "spam"]).classes
    2
    >>> training, held_out = Examples(name="iris").split(0.2)
    >>> training[0].shape, held_out[0].shape
    ((120, 4), (30, 4))
    """

    X: Inputs = None
    y: Labels = None
    name: str | None = None

    def __post_init__(self) -> None:
        if (self.X is None) != (self.y is None):
            raise StudyError("expected X and y together, got only one of them; give both, or a name")
        if (self.X is None) == (self.name is None):
            got = "neither" if self.X is None else "both"
            raise StudyError(f"expected X and y, or the name of a set, got {got}; give one of the two")
        if self.name is not None and self.name not in NAMED:
            raise StudyError(f"unknown set {self.name!r}; choose one of {', '.join(NAMED)}, or give X and y")
        if self.X is not None and len(self.X.values) != len(self.y.values):
            raise StudyError(
                f"y: got {len(self.y.values)} labels for {len(self.X.values)} examples; give one label per example"
            )

    @property
    def classes(self) -> int | None:
        """How many different labels there are, without reading a named set; None where these are real numbers."""
        return NAMED[self.name] if self.name is not None else len(np.unique(self.y.values))

    @property
    def has_text(self) -> bool:
        """Whether labels are text."""
        return self.name is None and self.y.values.dtype.kind in "US"

    def labels(self) -> NDArray[Any]:
        """Return the classes, sorted, without reading a named set."""
        return np.unique(self.y.values) if self.name is None else np.arange(float(self.classes or 0))

    def split(self, held_out: float) -> tuple[Pair, Pair]:
        """Return training examples and those held out, each a pair (X, y); of a named set they are standardised.

        Raises
        ------
        StudyError
            If a fraction other than 0 holds out all examples, or none.
        """
        inputs, labels = (self.X.values, self.y.values) if self.name is None else load(self.name)
        aside = held_out_mask(len(labels), held_out)
        if held_out and (aside.all() or not aside.any()):
            raise StudyError(
                f"held_out: {held_out} of {len(aside)} examples holds out {'all' if aside.all() else 'none'}; try 0.25"
            )
        training, tested = (inputs[~aside], labels[~aside]), (inputs[aside], labels[aside])
        if self.name is None:
            return training, tested
        return _standardised(training, training, self.name), _standardised(tested, training, self.name)


def examples_of(data: object) -> Any:
    """Take the name of a set, a pair (X, y) or how a component is written for :class:`Examples`."""
    if isinstance(data, str):
        return Examples(name=data)
    if isinstance(data, tuple | list) and len(data) == 2:
        return Examples(X=data[0], y=data[1])
    data = written_as(Examples)(data)
    if not isinstance(data, Examples):
        raise StudyError(f"expected a pair (X, y) or the name of a set, got {type(data).__name__}")
    return data


def held_out_mask(examples: int, fraction: float) -> NDArray[np.bool_]:
    """Mark the examples to hold out, as evenly spread as can be: every fourth for a fraction of 0.25.

    Examples
    --------
    >>> held_out_mask(8, 0.25).astype(int).tolist()
    [0, 0, 0, 1, 0, 0, 0, 1]
    """
    counts = np.floor(np.arange(examples + 1) * fraction + 1e-9)  # 100 * 0.29 is not quite 29
    aside: NDArray[np.bool_] = np.diff(counts) > 0
    return aside


@lru_cache(maxsize=len(NAMED))
def load(name: str) -> Pair:
    """Read a set that scikit-learn ships, as it is there: X of shape (m, p) and y of shape (m,).

    Raises
    ------
    MissingDependencyError
        Without scikit-learn.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingDependencyError("scikit-learn", "estimators") from error
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return np.asarray(x, dtype=float), np.asarray(y, dtype=float)


def repeated(data: object, times: int = 10) -> Pair:
    """Repeat a whole set in sequence: the lecture's redundant data, whose gradients are no better for being dearer.

    One epoch in fixed order over the result is ``times`` epochs over the set, and the mean loss is the same function.

    Parameters
    ----------
    data : pair of arrays, str or Examples
        X and y; the name of a set, standardised; or examples.
    times : int
        How often the set appears.

    Returns
    -------
    X, y : ndarray
        Examples for an objective, shapes (times m, p) and (times m,).

    Raises
    ------
    StudyError
        For an unknown name, for arrays that are no pair of examples and labels, or for times below 1.

    Examples
    --------
    >>> X, y = repeated(([[1.0], [2.0]], [0, 1]), times=3)
    >>> X[:, 0].tolist(), y.tolist()
    ([1.0, 2.0, 1.0, 2.0, 1.0, 2.0], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    """
    if isinstance(times, bool) or not isinstance(times, int | np.integer) or times < 1:
        raise StudyError(f"times: expected a number of repetitions of at least 1, got {times!r}")
    try:
        (x, y), _ = examples_of(data).split(0.0)
    except StudyError as error:
        raise StudyError(f"data: {str(error).removeprefix('Examples: ')}") from error
    return np.tile(x, (times, 1)), np.tile(y, times)


def _standardised(pair: Pair, by: Pair, name: str) -> Pair:
    x, y = pair
    return _scaled(x, by[0]), _scaled(y, by[1]) if NAMED[name] is None else y


def _scaled(values: NDArray[Any], by: NDArray[Any]) -> NDArray[np.float64]:
    scale = by.std(axis=0)
    centred: NDArray[np.float64] = values - by.mean(axis=0)
    # A constant column becomes zero.
    return centred / np.where(scale > 0, scale, 1.0)
