"""What every objective J(theta) offers, and how a user's own one is taken in.

Trajectories are kept as C-contiguous arrays (D, K) and handed over as their transposed views (K, D): ours read and
return those without a copy.
"""

import dataclasses
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from biasvar.adapting import adapt, offers, said
from biasvar.errors import StudyError
from biasvar.optimization.sets import ConvexSet

Array = NDArray[np.float64]
Batch = NDArray[np.intp]


class Objective(ABC):
    """A function J of parameters theta that is minimised.

    A user's own objective need not inherit from this: an object with ``value``, ``gradient`` and, unless every start is
    given, ``dim`` serves as it is (``adapted``); each other member is used where it is there.

    Examples
    --------
    >>> import numpy as np
    >>> import biasvar as bv
    >>> ravine = bv.Quadratic(eigenvalues=[1, 100])
    >>> isinstance(ravine, bv.Objective), ravine.dim
    (True, 2)
    >>> float(ravine.value(np.array([1.0, 1.0]))), ravine.gradient(np.array([1.0, 1.0])).tolist()
    (50.5, [1.0, 100.0])
    """

    @property
    def dim(self) -> int:
        """D, the number of parameters."""
        raise StudyError("has no dim; give it one, or say where it starts in initial")

    @abstractmethod
    def value(self, theta: Array) -> Array:
        """Return J, shape (...), for theta of shape (..., D)."""

    @abstractmethod
    def gradient(self, theta: Array, batch: Batch | None = None) -> Array:
        """Return the gradient of J, shape (..., D).

        ``batch`` is None, or a one-dimensional array of the numbers of the examples to average over; a penalty counts
        in full in any batch.
        """

    def hessian_product(self, theta: Array, v: Array) -> Array:
        """Return the Hessian at theta times v, shape (..., D); theta has the shape of v, or is one point (D,).

        Unless an objective knows better, by central differences of the gradient: right to about ten digits.
        """
        theta, v = np.asarray(theta, dtype=float), np.asarray(v, dtype=float)
        length = np.sqrt((v * v).sum(axis=-1, keepdims=True))
        far = np.cbrt(np.finfo(float).eps) * (1 + np.abs(theta).max(axis=-1, keepdims=True))
        step = far / np.where(length > 0, length, 1.0)
        above, below = self.gradient(theta + step * v), self.gradient(theta - step * v)
        product: Array = (above - below) / (2 * step)
        return product

    @property
    def has_hessian_product(self) -> bool:
        """Whether it knows Hessian products better than by differences of the gradient."""
        return type(self).hessian_product is not Objective.hessian_product

    @property
    def minimizer(self) -> Array | None:
        """Where the least value is attained, shape (D,); None where that is unknown, or nowhere."""
        return None

    @property
    def minimum(self) -> float | None:
        """The least value; None where it is unknown, or not attained."""
        return None if self.minimizer is None else float(self.value(self.minimizer))

    @property
    def within(self) -> ConvexSet | None:
        """The set that parameters are kept in; None for all of space."""
        return None

    def minimizer_within(self, within: ConvexSet) -> Array | None:
        """Return where the least value in a set is attained; None where that is unknown.

        Unless an objective knows better, that is where it is the least of all, if that is in the set.
        """
        known = self.minimizer
        return known if known is not None and within.contains(known) else None

    @property
    def examples(self) -> int | None:
        """How many training examples there are; None for an objective without data."""
        return None

    @property
    def has_held_out(self) -> bool:
        """Whether examples are held out, on which ``risk`` is measured."""
        return False

    def risk(self, theta: Array) -> Array:
        """Return the mean loss over examples held out, without penalty, shape (...).

        Raises
        ------
        StudyError
            If none are held out.
        """
        raise StudyError(f"{type(self).__name__} has no held-out examples to measure risk on")

    @property
    def elementwise(self) -> bool:
        """Whether no matrix product is taken over parameters.

        BLAS may add up in another order when there are fewer columns. Where it is not asked, few configurations need
        not be padded to as many as a tile holds, for the same bits.
        """
        return False


class _Adapted(Objective):
    """A user's own objective."""

    def __init__(self, own: Objective) -> None:
        self.own = own

    @property
    def dim(self) -> int:
        return int(self.own.dim)

    def value(self, theta: Array) -> Array:
        return self.own.value(theta)

    def gradient(self, theta: Array, batch: Batch | None = None) -> Array:
        # One without data need not know of batches.
        return self.own.gradient(theta) if batch is None else self.own.gradient(theta, batch)

    def hessian_product(self, theta: Array, v: Array) -> Array:
        return self.own.hessian_product(theta, v)

    @property
    def minimizer(self) -> Array | None:
        own = self.own.minimizer
        return None if own is None else np.asarray(own, dtype=float)

    @property
    def minimum(self) -> float | None:
        own = self.own.minimum
        return super().minimum if own is None else float(own)

    @property
    def examples(self) -> int | None:
        own = self.own.examples
        return None if own is None else int(own)

    @property
    def has_held_out(self) -> bool:
        return bool(self.own.has_held_out)

    def risk(self, theta: Array) -> Array:
        return self.own.risk(theta)

    @property
    def elementwise(self) -> bool:
        return bool(self.own.elementwise)


OPTIONAL = ("dim", "hessian_product", "minimizer", "minimum", "examples", "has_held_out", "risk", "elementwise")


def adapted(given: object) -> Objective:
    """Take in an objective: one of ours as it is, a user's plain object with its missing members filled in.

    Raises
    ------
    StudyError
        If a required member is missing, or a number is none.

    Examples
    --------
    >>> class Bowl:
    ...     dim = 2
    ...     def value(self, theta):
    ...         return (theta**2).sum(axis=-1)
    ...     def gradient(self, theta):
    ...         return 2 * theta
    >>> bowl = adapted(Bowl())
    >>> bowl.examples is None, bowl.has_held_out, bowl.hessian_product(np.zeros(2), np.ones(2)).round(6).tolist()
    (True, False, [2.0, 2.0])
    """
    if isinstance(given, Objective):
        return given
    if not offers(given, "value", "gradient"):
        raise StudyError(f"{given!r} has no value(theta) and gradient(theta)")
    for name in ("dim", "examples"):
        number = said(given, name)
        if number is not None and not _counts(number):
            raise StudyError(f"{given!r}: {name} is {number!r}, expected a positive integer")
    if said(given, "has_held_out") and not offers(given, "risk"):
        raise StudyError(f"{given!r} has_held_out, but no risk(theta); give it one")
    return adapt(given, _Adapted, Objective, OPTIONAL)


def _counts(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and bool(number > 0)


@runtime_checkable
class Fingerprinted(Protocol):
    """Data that are written as what identifies them."""

    def to_fields(self) -> dict[str, Any]:
        """Return what identifies it, as JSON."""


class Described:
    """Give a component its JSON, a short repr, and a pickle without what is quickly worked out again."""

    def __repr__(self) -> str:
        shown = (f"{name}={_short(value)}" for name, value in self._fields().items() if value is not None)
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_fields(self) -> dict[str, Any]:
        """Return the fields that are set, as JSON; an array by its shape and fingerprint."""
        return {name: _as_json(value) for name, value in self._fields().items() if value is not None}

    def __getstate__(self) -> dict[str, Any]:
        kept = self._fields().keys() | {"minimum", "minimizer"}
        return {name: value for name, value in self.__dict__.items() if name in kept}

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]


def check_dim(theta: NDArray[np.float64], dim: int) -> None:
    """Refuse theta that has not ``dim`` parameters on its last axis.

    Raises
    ------
    StudyError
        With both numbers.
    """
    if theta.shape[-1:] != (dim,):
        raise StudyError(f"theta: expected shape (..., {dim}), got {theta.shape}; parameters are the last axis")


def refuse_batch(objective: Objective, batch: Batch | None) -> None:
    """Refuse a batch of examples where there are none.

    Raises
    ------
    StudyError
        If ``batch`` is not None.
    """
    if batch is not None:
        raise StudyError(f"batch: {type(objective).__name__} has no examples to choose from; leave batch out")


def as_columns(theta: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Turn points (..., dim) into columns (dim, K), a view wherever one exists.

    Examples
    --------
    >>> kept = np.zeros((3, 5))
    >>> as_columns(kept.T, 3).flags.c_contiguous
    True
    """
    check_dim(theta, dim)
    points = theta if theta.ndim == 2 else theta.reshape(-1, dim)
    return points.T


def from_columns(columns: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Turn columns (dim, K) back into points of the given shape (..., dim)."""
    points = columns.T
    return points if points.shape == shape else points.reshape(shape)


def written_as(*kinds: type[Any]) -> Callable[[Any], Any]:
    """Return what builds a component within a component from how it is written: ``Name``, or ``{Name: fields}``."""
    known = {kind.__name__: kind for kind in kinds}

    def build(value: object) -> Any:
        if isinstance(value, str):
            return known[value]() if value in known else value
        if isinstance(value, Mapping) and len(value) == 1:
            ((name, fields),) = value.items()
            return known[name](**(fields or {})) if name in known else value
        return value

    return build


def _as_json(value: object) -> Any:
    if isinstance(value, Described):
        return {type(value).__name__: value.to_fields()}
    if isinstance(value, Fingerprinted):
        return value.to_fields()
    return [_as_json(item) for item in value] if isinstance(value, tuple) else value


def _short(value: object) -> str:
    if not isinstance(value, tuple):
        return repr(value)
    if isinstance(value[0], tuple) and len(value) * len(value[0]) > 9:
        return f"<{len(value)} x {len(value[0])}>"
    return reprlib.repr(value)
