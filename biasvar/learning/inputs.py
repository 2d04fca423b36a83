"""Laws of the inputs x: how training points are drawn, and the test points that stand for the law.

A user's own law is any object that offers what is abstract in :class:`Inputs`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from biasvar.adapting import adapt, has, shown
from biasvar.errors import StudyError
from biasvar.fields import Points, PositiveInt, PositiveReal, Real, component
from biasvar.learning.quadrature import TestPoints, hermite_rule, legendre_rule
from biasvar.montecarlo.draws import Purpose, Stream
from biasvar.montecarlo.elementary import exps, normal_quantiles
from biasvar.montecarlo.sobol import scrambled_sobol

DEFAULT_NODES = 64  # per smooth piece, in one dimension
DEFAULT_TEST_POINTS = 2048  # in more dimensions
TAILS = 9.0  # standard deviations of a normal law, beyond which lies a probability of 1e-19
FINER = 7  # times as many test points show the error of a user's rule
PROBED_PANELS = 256  # in which narrow features of a target are looked for
TEST_REPLICATES = 16  # independent scrambles that make up those


class Inputs(ABC):
    """A law of the inputs: how training inputs are made of uniforms, and which test points stand for the law.

    A user's own law needs no base class: any object with the four abstract members is ``adapted`` when a study is
    validated.

    Examples
    --------
    >>> import numpy as np
    >>> import biasvar as bv
    >>> law = bv.Uniform(-1, 1)
    >>> isinstance(law, bv.Inputs), law.dim, law.uniforms_per_set(n_train=3)
    (True, 1, 3)
    >>> law.inputs_from(np.array([[0.0, 0.5, 0.75]]), n_train=3).ravel().tolist()
    [-1.0, 0.0, 0.5]
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension of one input."""

    @abstractmethod
    def uniforms_per_set(self, n_train: int) -> int:
        """Return how many random numbers a training set of ``n_train`` inputs takes."""

    @abstractmethod
    def inputs_from(self, uniforms: NDArray[np.float64], n_train: int) -> NDArray[np.float64]:
        """Turn uniforms (per set, size) into inputs (n_train, size), or (n_train, size, dim) in more dimensions."""

    @abstractmethod
    def test_points(self, count: int | None, breakpoints: Sequence[float], seed: int) -> TestPoints:
        """Return the points that stand for the law in expected risk."""

    def finer_points(self, count: int, breakpoints: Sequence[float]) -> TestPoints:
        """Return a one-dimensional rule that is finer than ``count`` test points: its averages show their error."""
        return self.test_points(FINER * count, breakpoints, 0)

    @property
    def exchangeable(self) -> bool:
        """Whether each uniform makes one input, all by the same function, so that it does not matter in which order."""
        return False

    def class_probability(self) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
        """Return P(y = +1 | x) as a function of x, of laws that are mixtures of two classes; else None."""
        return None

    def marginal(self) -> "Inputs":
        """Return the law of one coordinate, which polynomials in several coordinates are made orthonormal under.

        Raises
        ------
        StudyError
            If the law has several coordinates, and does not say.
        """
        if self.dim == 1:
            return self
        raise StudyError(f"inputs: {self!r} has no marginal(), the law of one coordinate, which polynomials need")


class Continuous(Inputs):
    """Inputs that have a density; what is abstract here is of one coordinate."""

    @abstractmethod
    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the inverse distribution function, elementwise."""

    @abstractmethod
    def support(self) -> tuple[float, float]:
        """Return between which ends one coordinate lies, but for a probability far below rounding."""

    @abstractmethod
    def density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the density of one coordinate at x, elementwise."""

    def scrambled_points(self, count: int | None, seed: int) -> TestPoints:
        """Return sixteen independent scrambles of a Sobol set, for laws of several coordinates."""
        log2_each = max((count or DEFAULT_TEST_POINTS) // TEST_REPLICATES, 1).bit_length() - 1
        sets = []
        for replicate in range(TEST_REPLICATES):
            generator = Stream(seed, "test points", replicate).generator(Purpose.TEST_POINTS)
            sets.append(self.inputs_from(scrambled_sobol(generator, self.dim, log2_each), 1)[0])
        points = len(sets) << log2_each
        replicates = np.repeat(np.arange(TEST_REPLICATES), 1 << log2_each)
        return TestPoints(np.concatenate(sets), np.full(points, 1 / points), replicates)


class Independent(Continuous):
    """Inputs whose coordinates are independent draws through one inverse distribution function."""

    def uniforms_per_set(self, n_train: int) -> int:
        """Return how many random numbers a training set takes: n_train times ``dim``."""
        return n_train * self.dim

    @property
    def exchangeable(self) -> bool:
        """Whether each uniform makes one input: in one dimension."""
        return self.dim == 1

    def inputs_from(self, uniforms: NDArray[np.float64], n_train: int) -> NDArray[np.float64]:
        """Turn uniforms (n_train * dim, size) into inputs (n_train, size) or (n_train, size, dim)."""
        x = self.quantile(uniforms)
        if self.dim == 1:
            return x
        return np.ascontiguousarray(np.moveaxis(x.reshape(n_train, self.dim, -1), 1, 2))

    def test_points(self, count: int | None, breakpoints: Sequence[float], seed: int) -> TestPoints:
        """Return a quadrature rule in one dimension, sixteen independent scrambles of a Sobol set in more."""
        if self.dim == 1:
            return TestPoints.deterministic(*self._rule(count or DEFAULT_NODES, breakpoints))
        return self.scrambled_points(count, seed)

    def finer_points(self, count: int, breakpoints: Sequence[float]) -> TestPoints:
        """Return the quadrature rule cut at seven more places."""
        cuts = self.quantile(np.arange(1, 8) / 8)
        return TestPoints.deterministic(*self._rule(count, [*breakpoints, *cuts.tolist()]))

    def marginal(self) -> "Inputs":
        """Return the law of one coordinate."""
        return replace(self, dim=1)  # type: ignore[type-var]

    @abstractmethod
    def _rule(self, size: int, breakpoints: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return nodes and weights of a one-dimensional quadrature."""


@component
class Uniform(Independent):
    """Draw inputs uniformly from [low, high], independently in each of ``dim`` coordinates.

    Examples
    --------
    >>> Uniform(-1, 1).inputs_from(np.array([[0.25], [0.5]]), n_train=2).tolist()
    [[-0.5], [0.0]]
    """

    low: Real
    high: Real
    dim: PositiveInt = 1

    @model_validator(mode="after")
    def _ordered(self) -> "Uniform":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low}, high={self.high}")
        return self

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the inverse distribution function, elementwise."""
        x = (self.high - self.low) * uniforms
        x += self.low  # in place: half the memory to go through
        return x

    def support(self) -> tuple[float, float]:
        """Return ``low`` and ``high``."""
        return self.low, self.high

    def density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1 / (high - low)."""
        return np.full(x.shape, 1 / (self.high - self.low))

    def _rule(self, size: int, breakpoints: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return legendre_rule(self.low, self.high, size, breakpoints)


@component
class Normal(Independent):
    """Draw inputs from a normal law, independently in each of ``dim`` coordinates.

    Examples
    --------
    >>> Normal(1, 2).inputs_from(np.array([[0.5]]), n_train=1).tolist()
    [[1.0]]
    """

    mean: Real = 0.0
    std: PositiveReal = 1.0
    dim: PositiveInt = 1

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the inverse distribution function, elementwise."""
        return self.mean + self.std * normal_quantiles(uniforms)

    def support(self) -> tuple[float, float]:
        """Return the mean plus and minus nine standard deviations."""
        return self.mean - TAILS * self.std, self.mean + TAILS * self.std

    def density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the normal density."""
        z = (x - self.mean) / self.std
        density: NDArray[np.float64] = exps(-0.5 * z**2) / (np.sqrt(2 * np.pi) * self.std)
        return density

    def _rule(self, size: int, breakpoints: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not breakpoints:
            return hermite_rule(self.mean, self.std, size)
        # Gauss-Hermite cannot see a jump: integrate the density piece by piece, as far out as it is above rounding.
        x, weights = legendre_rule(self.mean - TAILS * self.std, self.mean + TAILS * self.std, size, breakpoints)
        weights = weights * exps(-0.5 * ((x - self.mean) / self.std) ** 2)
        return x, weights / weights.sum()


@component
class FixedDesign(Inputs):
    """Keep the inputs fixed, so that only the labels are random; risk is averaged over the same points.

    Every training set has these points in this order, so ``n_train`` must be their number.

    Examples
    --------
    >>> FixedDesign([0.0, 0.5, 1.0]).uniforms_per_set(n_train=3)
    0
    """

    points: Points = Field()

    @model_validator(mode="after")
    def _rectangular(self) -> "FixedDesign":
        lengths = {len(p) if isinstance(p, tuple) else 0 for p in self.points}
        if len(lengths) > 1:
            raise ValueError("points must all have the same number of coordinates")
        return self

    @property
    def dim(self) -> int:
        """Dimension of one input."""
        first = self.points[0]
        return len(first) if isinstance(first, tuple) else 1

    @property
    def _x(self) -> NDArray[np.float64]:
        x = np.asarray(self.points, dtype=float)
        return x[:, 0] if x.ndim == 2 and x.shape[1] == 1 else x

    def uniforms_per_set(self, n_train: int) -> int:
        """Return 0: nothing about the inputs is random."""
        if n_train != len(self.points):
            raise StudyError(
                f"n_train: {n_train} does not fit inputs FixedDesign of {len(self.points)} points; "
                f"set n_train to [{len(self.points)}]"
            )
        return 0

    def inputs_from(self, uniforms: NDArray[np.float64], n_train: int) -> NDArray[np.float64]:
        """Repeat the design for each replicate."""
        size = uniforms.shape[-1]
        x = self._x
        return np.ascontiguousarray(np.broadcast_to(x[:, None], (n_train, size, *x.shape[1:])))

    def test_points(self, count: int | None, breakpoints: Sequence[float], seed: int) -> TestPoints:
        """Return the design itself, each point with weight 1/n."""
        x = self._x
        return TestPoints.deterministic(x, np.full(len(x), 1 / len(x)))

    def finer_points(self, count: int, breakpoints: Sequence[float]) -> TestPoints:
        """Return the design: an average over it has no quadrature error."""
        return self.test_points(None, (), 0)

    def marginal(self) -> "FixedDesign":
        """Return the design of all coordinates together, one-dimensional."""
        return FixedDesign(tuple(self._x.reshape(-1).tolist()))


_MEMBERS = ("dim", "uniforms_per_set", "inputs_from", "test_points")


def is_law(value: object) -> TypeGuard[Inputs]:
    """Tell whether an object offers what a law of inputs must."""
    return isinstance(value, Inputs) or (not isinstance(value, type) and all(has(value, member) for member in _MEMBERS))


def adapted(own: object, where: str) -> Inputs:
    """Take a user's object for a law of inputs: the one door at which it is asked which members it has.

    Parameters
    ----------
    own : object
        An :class:`Inputs`, or any object with ``dim``, ``uniforms_per_set(n_train)``,
        ``inputs_from(uniforms, n_train)`` and ``test_points(count, breakpoints, seed)``.
    where : str
        What complaints begin with.

    Raises
    ------
    StudyError
        Naming the members that are missing.
    """
    if isinstance(own, Inputs):
        return own
    if is_law(own):
        return adapt(own, _Adapted, Inputs, OPTIONAL)
    missing = [] if isinstance(own, type) else [member for member in _MEMBERS if not has(own, member)]
    lacks = f"; one of your own needs {', '.join(missing)} too" if 0 < len(missing) < len(_MEMBERS) else ""
    raise StudyError(f"{where}: expected a law such as Uniform(-1, 1), got {own!r}{lacks}")


class _Adapted(Inputs):
    """A user's object with the members of a law."""

    def __init__(self, own: Inputs) -> None:
        self.own = own

    def __repr__(self) -> str:
        return shown(self.own)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Adapted) and self.own is other.own

    def __hash__(self) -> int:
        return id(self.own)

    @property
    def dim(self) -> int:
        return int(self.own.dim)

    def uniforms_per_set(self, n_train: int) -> int:
        return int(self.own.uniforms_per_set(n_train))

    def inputs_from(self, uniforms: NDArray[np.float64], n_train: int) -> NDArray[np.float64]:
        return np.asarray(self.own.inputs_from(uniforms, n_train), dtype=float)

    def test_points(self, count: int | None, breakpoints: Sequence[float], seed: int) -> TestPoints:
        return self.own.test_points(count, breakpoints, seed)

    def finer_points(self, count: int, breakpoints: Sequence[float]) -> TestPoints:
        return self.own.finer_points(count, breakpoints)

    @property
    def exchangeable(self) -> bool:
        return bool(self.own.exchangeable)

    def class_probability(self) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
        return self.own.class_probability()

    def marginal(self) -> Inputs:
        return adapted(self.own.marginal(), "inputs.marginal()")


OPTIONAL = ("finer_points", "exchangeable", "class_probability", "marginal")
