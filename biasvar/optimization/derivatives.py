"""Whether derivatives are those of the values: comparisons along random directions, each with an error to rely upon.

A comparison needs a function of points and what is claimed to be its gradient, so gradients, Hessian products (the
gradient of u'grad) and Jacobians (J'u is the gradient of u'f) are compared by one routine.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from biasvar.montecarlo.linear_algebra import dots
from biasvar.optimization.noise import EPS, POINTS, WIDTHS, height_of_stairs, line_places, noise_along, noise_on_lines
from biasvar.optimization.objectives import Objective
from biasvar.optimization.slopes import STEPS, slope_of, steps

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

DIRECTIONS = 4  # per point
SURE = 4.0  # errors, from which on two numbers are not the same
VISIBLE = 0.01  # relative errors that have to be seen, for a comparison to say anything
ENOUGH = 1e-8  # gradient at the minimiser, relative to that elsewhere: the minimiser is given to so many digits
LONGEST_BATCH = 64
CLEAR = 100.0  # times the floor, from which on a remainder is one
POWER_STEPS = 4  # over which its power is found


@dataclass(frozen=True)
class Comparison:
    """What is claimed of a number, and what was found.

    Parameters
    ----------
    claimed, found : float
        The two numbers.
    error : float
        How far off the one found may be.
    scale : float
        What errors are relative to: the size of the terms that the number is a sum of.
    at : ndarray of shape (D,)
        The point.
    along : ndarray of shape (D,)
        The direction.
    kink : float
        By how much the slopes to both sides differ.
    component : int, optional
        The component that the number is, if it is one.
    """

    claimed: float
    found: float
    error: float
    scale: float
    at: Array = field(repr=False)
    along: Array = field(repr=False)
    kink: float = 0.0
    component: int | None = None

    @property
    def difference(self) -> float:
        """How far the two numbers are apart."""
        return abs(self.claimed - self.found)

    @property
    def ratio(self) -> float:
        """The difference in errors; infinite where there is one but no error."""
        if self.difference == 0:
            return 0.0
        return self.difference / self.error if self.error > 0 else np.inf

    @property
    def is_wrong(self) -> bool:
        """Whether what is claimed is not so: not even one of the slopes to both sides of a kink, or between them."""
        return bool(np.isfinite(self.error)) and self.difference > SURE * self.error + self.kink

    @property
    def is_clear(self) -> bool:
        """Whether an error that matters would have been seen."""
        return self.kink == 0 and self.resolution <= VISIBLE

    @property
    def resolution(self) -> float:
        """The smallest relative error that would have been seen."""
        if self.scale > 0:
            return SURE * self.error / self.scale
        return 0.0 if self.error == 0 else np.inf

    @property
    def relative(self) -> float:
        """The difference relative to the scale."""
        return self.difference / self.scale if self.scale > 0 else 0.0


def compare(value: Function, gradient: Function, x: Array, directions: Sequence[Array]) -> list[Comparison]:
    """Compare a gradient with differences of values along directions from a point.

    Parameters
    ----------
    value, gradient : callable
        Of points (K, D): values (K,) and gradients (K, D).
    x : ndarray of shape (D,)
        The point.
    directions : sequence of ndarray of shape (D,)
        As long as values are to be compared over: first differences are taken over their whole length.

    Examples
    --------
    >>> bowl = lambda x: (x**2).sum(axis=-1)
    >>> (one,) = compare(bowl, lambda x: 2 * x * (1 + 1e-9), np.array([1.0, 2.0]), [np.array([0.5, 1.0])])
    >>> one.is_wrong, one.resolution < 1e-12
    (True, True)
    """
    with np.errstate(all="ignore"):  # far out, where first differences reach, a function need not exist
        g = gradient(x[None])[0]
        lines = [_Line.of(value, x, v) for v in directions]
        # One line may be a lucky one.
        noise = max([line.noise for line in lines] + [EPS * float(np.abs(x * g).sum())])
        if g.any():  # else what does not change over the finest steps is as it is claimed to be
            noise = max([noise, *(height_of_stairs(line.above, line.below, line.middle) for line in lines)])
        own = max(noise_along(partial(_rate, gradient, line)) for line in lines)
        return [_compared(line, noise, g, own) for line in lines]


@dataclass(frozen=True)
class _Line:
    """Values along a line x + t v."""

    x: Array
    v: Array
    middle: float
    above: Array
    below: Array
    noise: float

    @classmethod
    def of(cls, value: Function, x: Array, v: Array) -> "_Line":
        t = np.concatenate([[0.0], steps(), -steps(), line_places().ravel()])
        values = value(x + t[:, None] * v)
        middle, above, below = float(values[0]), values[1 : STEPS + 1], values[STEPS + 1 : 2 * STEPS + 1]
        noise = float(noise_on_lines(values[2 * STEPS + 1 :].reshape(len(WIDTHS), POINTS)))
        return cls(x, v, middle, above, below, max(noise, EPS * abs(middle)))


def _rate(gradient: Function, line: _Line, t: Array) -> Array:
    """Return the slopes that a gradient claims along a line."""
    return dots(gradient(line.x + t[:, None] * line.v), line.v)


def _compared(line: _Line, noise: float, g: Array, own: float) -> Comparison:
    terms = g * line.v
    slope = slope_of(line.above, line.below, line.middle, noise)
    error = slope.error + 3 * own + 2 * EPS * float(np.abs(terms).sum())
    # Where no gradient is claimed at all, the value itself says what would be little.
    scale = max(float(np.sqrt(np.square(terms).sum())), abs(slope.value)) if terms.any() else abs(line.middle)
    return Comparison(float(terms.sum()), slope.value, error, scale, line.x, line.v, slope.kink)


def located(value: Function, gradient: Function, wrong: Comparison) -> Comparison:
    """Find a component in which a gradient is wrong, by halving the coordinates that the direction goes along.

    Returns
    -------
    Comparison
        Of one component, where it is wrong by itself; else the one given.
    """
    some = np.arange(len(wrong.at))
    while len(some) > 1:
        halves = np.array_split(some, 2)
        found = [_along(value, gradient, wrong, half) for half in halves]
        some = halves[int(np.argmax([one.ratio for one in found]))]
    last = _along(value, gradient, wrong, some)
    if not last.is_wrong:
        return wrong
    length, component = wrong.along[some[0]], int(some[0])
    one = abs(length)
    return Comparison(
        last.claimed / length, last.found / length, last.error / one, last.scale / one, last.at, last.along,
        last.kink / one, component,
    )  # fmt: skip


def _along(value: Function, gradient: Function, wrong: Comparison, some: NDArray[np.intp]) -> Comparison:
    direction = np.zeros_like(wrong.along)
    direction[some] = wrong.along[some]
    return compare(value, gradient, wrong.at, [direction])[0]


def random_directions(generator: np.random.Generator, spread: Array, count: int = DIRECTIONS) -> list[Array]:
    """Draw directions that go along every coordinate, by 0.5 to 1.5 of its spread, to either side."""
    signs = generator.choice([-1.0, 1.0], size=(count, len(spread)))
    return list(signs * generator.uniform(0.5, 1.5, size=(count, len(spread))) * spread)


# What is asked of an objective: each yields comparisons, and says where a wrong one is wrong


@dataclass(frozen=True)
class Asked:
    """A comparison, and the function of points and its gradient that were compared, if differences were."""

    comparison: Comparison
    value: Function | None = None
    gradient: Function | None = None

    def located(self) -> Comparison:
        """Return the comparison, of one component if one is wrong."""
        if self.value is None or self.gradient is None:
            return self.comparison
        return located(self.value, self.gradient, self.comparison)


def gradients(objective: Objective, points: Array, spread: Array, generator: np.random.Generator) -> Iterator[Asked]:
    """Compare the gradient with differences of values."""
    value, gradient = _numbers(objective.value), _numbers(objective.gradient)
    for x in points:
        for one in compare(value, gradient, x, random_directions(generator, spread)):
            yield Asked(one, value, gradient)


def hessian_products(
    objective: Objective, points: Array, spread: Array, generator: np.random.Generator
) -> Iterator[Asked]:
    """Compare H u with differences of u'grad, whose gradient it is."""
    for x in points:
        u, *directions = random_directions(generator, spread, DIRECTIONS + 1)
        value, product = partial(_slope, objective, u), partial(_product, objective, u)
        for one in compare(value, product, x, directions):
            yield Asked(one, value, product)


def symmetries(objective: Objective, points: Array, spread: Array, generator: np.random.Generator) -> Iterator[Asked]:
    """Compare u'Hv with v'Hu."""
    for x in points:
        u, v, w = random_directions(generator, spread, 3)

        def bilinear(t: Array, x: Array = x, u: Array = u, v: Array = v, w: Array = w) -> Array:
            # Everything moves along the line, so that all rounding shows.
            moved = v + t[:, None] * w
            return np.asarray((objective.hessian_product(x + t[:, None] * w, moved) * (u + t[:, None] * v)).sum(axis=1))

        terms = u * _numbers(partial(objective.hessian_product, x))(v[None])[0]
        others = v * _numbers(partial(objective.hessian_product, x))(u[None])[0]
        error = 3 * noise_along(bilinear) + 4 * EPS * float(np.abs(terms).sum() + np.abs(others).sum())
        scale = float(np.sqrt(np.square(terms).sum()))
        yield Asked(Comparison(float(terms.sum()), float(others.sum()), error, scale, x, v))


def batch_means(objective: Objective, points: Array, spread: Array, generator: np.random.Generator) -> Iterator[Asked]:
    """Compare the mean of gradients over batches, weighted by their sizes, with the gradient over all examples."""
    order = generator.permutation(objective.examples or 0)
    batches = _batches(order)
    for x in points:
        (u,) = random_directions(generator, spread, 1)

        def of_batches(theta: Array) -> Array:
            total = sum(len(batch) * objective.gradient(theta, batch) for batch in batches)
            return np.asarray(total / len(order), dtype=float)

        yield Asked(_same(of_batches, _numbers(objective.gradient), x, u))
        one, *_, last = batches
        twice = np.concatenate([one, last, one])  # as draws with replacement have them

        def of_parts(theta: Array, one: NDArray[np.intp] = one, last: NDArray[np.intp] = last) -> Array:
            total = 2 * objective.gradient(theta, one) * len(one) + objective.gradient(theta, last) * len(last)
            return np.asarray(total / (2 * len(one) + len(last)), dtype=float)

        yield Asked(_same(_numbers(partial(objective.gradient, batch=twice)), of_parts, x, u))


def minimizers(objective: Objective, points: Array, spread: Array, generator: np.random.Generator) -> Iterator[Asked]:
    """Compare the slope at the minimiser, along random directions, with zero."""
    x = objective.minimizer
    if x is None:
        return
    x = np.asarray(x, dtype=float)
    gradient = _numbers(objective.gradient)
    for u in random_directions(generator, spread):
        slopes = float(np.median(np.abs(gradient(points) * u).sum(axis=1)))
        own = noise_along(lambda t, u=u: dots(gradient(x + t[:, None] * u), u))  # type: ignore[misc]
        # Rounding of the minimiser itself, times the curvature.
        near = dots(gradient(np.stack([x + EPS * np.abs(x), x - EPS * np.abs(x)])), u)
        error = max(3 * own + float(np.abs(near[1] - near[0])), ENOUGH * slopes / SURE)
        yield Asked(Comparison(float(dots(gradient(x[None])[0], u)), 0.0, error, slopes, x, u))


def minima(objective: Objective, points: Array, spread: Array, generator: np.random.Generator) -> Iterator[Asked]:
    """Compare the minimum with the value at the minimiser, and with the least value at points."""
    least, minimizer = objective.minimum, objective.minimizer
    if least is None:
        return
    value = _numbers(objective.value)
    places = points if minimizer is None else np.concatenate([np.asarray(minimizer, dtype=float)[None], points])
    values = value(places)
    low = int(np.argmin(values))
    if minimizer is None and least < values[low]:
        return
    noise = 16 * _Line.of(value, places[low], spread).noise
    scale = float(np.median(values) - values[low])
    yield Asked(
        Comparison(float(least), float(values[low]), max(noise, ENOUGH * scale / SURE), scale, places[low], spread)
    )


def jacobians(
    value: Function, jacobian: Function, points: Array, spread: Array, generator: np.random.Generator
) -> Iterator[Asked]:
    """Compare J'u with differences of u'f, whose gradient it is, for a map f from points (K, n) to (K, m)."""
    for x in points:
        (u,) = random_directions(generator, np.ones(value(x[None]).shape[1]), 1)

        def weighted(theta: Array, u: Array = u) -> Array:
            return dots(np.asarray(value(theta), dtype=float), u)

        def transposed(theta: Array, u: Array = u) -> Array:
            return dots(np.swapaxes(np.asarray(jacobian(theta), dtype=float), -1, -2), u)

        for one in compare(weighted, transposed, x, random_directions(generator, spread)):
            yield Asked(one, weighted, transposed)


# How well a gradient predicts


@dataclass(frozen=True)
class Remainders:
    """What Taylor's polynomials of degree 0, 1 and 2 leave of a function along a line.

    Parameters
    ----------
    values : ndarray of shape (orders, STEPS)
        |f(x + t v) - f(x)|, |... - t g'v| and |... - t^2 v'Hv / 2|, which go as t, t^2 and t^3.
    floor : float
        What noise in the values leaves of each.
    """

    values: Array
    floor: float

    @property
    def slopes(self) -> Array:
        """By which power of t each goes, over the finest steps at which it stands clear of the floor."""
        return np.array([_power(row, self.floor) for row in self.values])


def remainders(value: Function, gradient: Function, product: Function | None, one: Comparison) -> Remainders:
    """Return what Taylor's polynomials leave along the line of a comparison; ``product`` gives H v."""
    with np.errstate(all="ignore"):
        line, t = _Line.of(value, one.at, one.along), steps()
        left = [line.above - line.middle]
        left.append(left[0] - t * float(dots(gradient(one.at[None])[0], one.along)))
        if product is not None:
            left.append(left[1] - t**2 / 2 * float(dots(product(one.at[None])[0], one.along)))
    return Remainders(np.abs(np.stack(left)), line.noise)


def _power(row: Array, floor: float) -> float:
    clear = np.flatnonzero(np.isfinite(row) & (row > CLEAR * floor) & (row > 0))
    if len(clear) < 2:
        return np.nan
    last = clear[-1]
    first = max(int(clear[0]), int(last) - POWER_STEPS)
    return float(np.log2(row[first] / row[last]) / (last - first))


def _same(one: Function, other: Function, x: Array, u: Array) -> Comparison:
    """Compare two functions that are to be the same, but for rounding."""
    terms, others = one(x[None])[0] * u, other(x[None])[0] * u
    noise = sum(noise_along(lambda t, f=f: dots(f(x + t[:, None] * u), u)) for f in (one, other))  # type: ignore[misc]
    error = 3 * noise + 4 * EPS * float(np.abs(terms).sum() + np.abs(others).sum())
    component = int(np.argmax(np.abs(terms - others)))
    scale = float(np.sqrt(np.square(others).sum()))
    found = Comparison(float(terms.sum()), float(others.sum()), error, scale, x, u)
    if not found.is_wrong:
        return found
    size = u[component]
    claimed, right = float(terms[component] / size), float(others[component] / size)
    return Comparison(claimed, right, error / abs(size), scale / abs(size), x, u, component=component)


def _batches(order: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Cut examples into batches of 1, 2, 4, ... and what is left."""
    cuts = [2**k - 1 for k in range(1, LONGEST_BATCH.bit_length() + 1) if 2**k - 1 < len(order)]
    return [batch for batch in np.split(order, cuts) if len(batch)]


def _numbers(function: Function) -> Function:
    return lambda theta: np.asarray(function(theta), dtype=float)


def _slope(objective: Objective, u: Array, theta: Array) -> Array:
    return dots(np.asarray(objective.gradient(theta), dtype=float), u)


def _product(objective: Objective, u: Array, theta: Array) -> Array:
    return np.asarray(objective.hessian_product(theta, np.broadcast_to(u, theta.shape).copy()), dtype=float)
