"""What every set of parameters offers, and how a user's own one is taken in."""

import inspect
from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biasvar.adapting import adapt, offers, shown
from biasvar.errors import StudyError
from biasvar.optimization.kernels import Nearest

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SLACK = 1e-12  # relative to the numbers at hand: what rounding may put outside is inside


class ConvexSet(ABC):
    """A set of parameters theta of shape (..., D).

    A user's own set need not inherit from this: an object with ``contains(theta)`` serves as it is (``adapted``),
    with ``project(theta)`` also as a constraint. Each other member is used where it is there.

    Examples
    --------
    >>> import numpy as np
    >>> import biasvar as bv
    >>> box = bv.Box(-1, 1, dim=2)
    >>> isinstance(box, bv.ConvexSet), bool(box.contains(np.array([0.5, 2.0])))
    (True, False)
    >>> box.project(np.array([0.5, 2.0])).tolist()
    [0.5, 1.0]
    """

    @property
    def dim(self) -> int:
        """D, the number of parameters."""
        raise StudyError(f"{self!r} has no dim; give it one, the number of parameters")

    @abstractmethod
    def contains(self, theta: Array) -> Mask:
        """Return whether each point is in the set, shape (...), but for rounding."""

    def project(self, theta: Array, weights: Array | None = None) -> Array:
        """Return the point of the set that is the nearest to each, shape (..., D).

        Distances are sum_i w_i (x_i - theta_i)^2; weights are above zero, of the shape of theta, and 1 unless given.
        """
        raise StudyError(f"{type(self).__name__} has no project(theta), the nearest point of the set; give it one")

    @property
    def nearest(self) -> Nearest | None:
        """The nearest points of columns, where they are compiled, and may be compiled into descents."""
        return None

    @property
    def has_project(self) -> bool:
        """Whether it knows nearest points."""
        return type(self).project is not ConvexSet.project

    @property
    def takes_weights(self) -> bool:
        """Whether ``project`` knows weights."""
        return True

    @property
    def separable(self) -> bool:
        """Whether each parameter is kept by itself: then the nearest point is the same whatever the weights."""
        return False

    @property
    def elementwise(self) -> bool:
        """Whether no matrix product is taken over points; see :attr:`biasvar.Objective.elementwise`."""
        return False

    def support(self, direction: Array) -> Array:
        """Return how far the set reaches in each direction, max over s in it of <s, direction>, shape (...).

        Infinite where it has no end; NaN where that is not known.
        """
        return np.full(np.shape(direction)[:-1], np.nan)

    @property
    def uniforms_per_point(self) -> int:
        """How many random numbers a random point takes.

        Raises
        ------
        StudyError
            If the set has no uniform law.
        """
        if type(self).place is ConvexSet.place:
            raise self._without_law()
        return self.dim

    def place(self, uniforms: Array) -> Array:
        """Turn uniforms (..., uniforms_per_point) into points (..., D) that are uniform in the set."""
        raise self._without_law()

    def _without_law(self) -> StudyError:
        return StudyError(
            f"{type(self).__name__} has no uniform law of its points: it has no ends, or gives no place()"
        )


class _Adapted(ConvexSet):
    """A user's own set."""

    def __init__(self, own: ConvexSet) -> None:
        self.own = own

    def __repr__(self) -> str:
        return shown(self.own)

    @property
    def dim(self) -> int:
        return int(self.own.dim)

    def contains(self, theta: Array) -> Mask:
        inside = np.asarray(self.own.contains(theta))
        if inside.shape != np.shape(theta)[:-1] or inside.dtype != bool:
            raise StudyError(
                f"{self.own!r}.contains: returned shape {inside.shape} of {inside.dtype} for theta of shape "
                f"{np.shape(theta)}, expected {np.shape(theta)[:-1]} of bool"
            )
        return inside

    def project(self, theta: Array, weights: Array | None = None) -> Array:
        return self.own.project(theta, weights) if self.takes_weights else self.own.project(theta)

    @cached_property
    def takes_weights(self) -> bool:
        return "weights" in inspect.signature(self.own.project).parameters

    @property
    def separable(self) -> bool:
        return bool(self.own.separable)

    @property
    def elementwise(self) -> bool:
        return bool(self.own.elementwise)

    def support(self, direction: Array) -> Array:
        return self.own.support(direction)

    @property
    def uniforms_per_point(self) -> int:
        return int(self.own.uniforms_per_point)

    def place(self, uniforms: Array) -> Array:
        return self.own.place(uniforms)


OPTIONAL = ("dim", "project", "separable", "elementwise", "support", "uniforms_per_point", "place")


def adapted(given: object) -> ConvexSet:
    """Take in a set: one of ours as it is, a user's plain object with its missing members filled in.

    Raises
    ------
    StudyError
        If a required member is missing, or several sets are given for one.

    Examples
    --------
    >>> class Annulus:
    ...     dim = 2
    ...     def contains(self, theta):
    ...         return np.abs((theta**2).sum(axis=-1) - 1) < 0.5
    >>> adapted(Annulus()).contains(np.array([[1.0, 0.0], [0.0, 0.0]])).tolist()
    [True, False]
    """
    if isinstance(given, ConvexSet):
        return given
    if isinstance(given, list | tuple):
        raise StudyError(
            f"got {len(given)} sets, expected one: the nearest point of an intersection, such as a polyhedron, takes a "
            "solver of quadratic programs; give one"
        )
    if not offers(given, "contains"):
        raise StudyError(f"{given!r} has no contains(theta)")
    return adapt(given, _Adapted, ConvexSet, OPTIONAL)


def from_columns(columns: Array, shape: tuple[int, ...]) -> Array:
    """Return columns (D, K) as points of a shape (..., D), a view wherever there is one."""
    points = columns.T
    return points if points.shape == shape else points.reshape(shape)


def check_dim(theta: Array, dim: int) -> None:
    """Refuse theta that has not ``dim`` parameters on its last axis.

    Raises
    ------
    StudyError
        With both numbers.
    """
    if theta.shape[-1:] != (dim,):
        raise StudyError(f"theta: expected shape (..., {dim}), got {theta.shape}; parameters are the last axis")


class Columnwise(ConvexSet):
    """A set that is given by its nearest points of columns."""

    @property
    @abstractmethod
    def nearest(self) -> Nearest:
        """The nearest points of columns."""

    @property
    def elementwise(self) -> bool:
        """Whether no matrix product is taken: never."""
        return True

    def project(self, theta: Array, weights: Array | None = None) -> Array:
        """Return the point of the set that is the nearest to each, shape (..., D)."""
        check_dim(theta, self.dim)
        columns = theta.reshape(-1, theta.shape[-1]).T
        if weights is not None:
            weights = np.broadcast_to(weights, theta.shape).reshape(columns.T.shape).T
        return from_columns(self.nearest(columns, weights), theta.shape)
