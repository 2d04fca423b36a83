"""Checks of derivatives, labelled: what agrees with the values, to how many digits, and what is wrong where."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from biasvar.adapting import offers, said
from biasvar.errors import StudyError
from biasvar.learning.inputs import Inputs, Normal, is_law
from biasvar.montecarlo.draws import Purpose, Stream, open_uniforms
from biasvar.optimization import derivatives, objectives, rehearsal
from biasvar.optimization.derivatives import Asked, Comparison
from biasvar.optimization.objectives import Objective
from biasvar.optimization.slopes import steps

Array = NDArray[np.float64]

#: A law, a point, or points.
Where = Inputs | ArrayLike | None

AGREES, WRONG, CANNOT_TELL = "agrees", "wrong", "cannot tell"
NEAR = 0.1  # how far around one point others are looked at, in units of its coordinates or 1

#: What is wrong, in words: of a component, of any number.
_GRADIENT = "{component} is {claimed} at theta={at}, but finite differences of value give {found}"
_WORDS = {
    "gradient": _GRADIENT,
    "jacobian": _GRADIENT,
    "hessian_product": "{component} is {claimed} at theta={at}, but finite differences of gradients give {found}",
    "symmetry": "u'Hv is {claimed} at theta={at}, but v'Hu is {found}",
    "batches": "{component} is {claimed} at theta={at} by gradients of batches, but {found} by those of all examples",
    "minimizer": "the slope at minimizer is {claimed} along a direction, expected {found}",
    "minimum": "is {claimed}, but value is {found} at theta={at}",
}
#: What a number is, where no component is wrong by itself.
_WHOLE = {"gradient": "the slope along a direction", "jacobian": "J'u along a direction", "hessian_product": "u'Hv"}
_PART = {"jacobian": "component {} of J'u", "hessian_product": "component {} of H u"}


class _Map(Protocol):
    """A function of theta (..., n) with m values, and its derivative."""

    def value(self, theta: Array) -> ArrayLike:
        """Return values (..., m)."""

    def jacobian(self, theta: Array) -> ArrayLike:
        """Return derivatives (..., m, n)."""


def check_derivatives(objective: object, at: Where = None, points: int = 8, seed: int = 0) -> xr.Dataset:
    """Compare an objective's derivatives with its values, along random directions from random points.

    Central differences over 32 halved steps are extrapolated; each difference comes with an error, made of the noise in
    the values (rounding, single precision, cancellation), of what extrapolation changes, and of what finer steps
    contradict. Derivatives that are off by more than 4 errors are wrong. What is checked is what the objective has: its
    gradient; Hessian products, against gradients, and their symmetry; the mean of gradients over batches; the gradient
    at ``minimizer``, and ``minimum``. Of a map, an object with ``value(theta)`` of shape (..., m) and
    ``jacobian(theta)`` of shape (..., m, n), it is the Jacobian.

    Parameters
    ----------
    objective : objective or map
        What is checked.
    at : law, or array_like of shape (D,) or (points, D), optional
        Where: the law of each coordinate, a point, which others around it join, or points. ``Normal(0, 1)`` unless
        given. Steps are as long as the points are spread.
    points : int
        How many points, at each of which there are 4 directions.
    seed : int
        Seed of points and directions.

    Returns
    -------
    xarray.Dataset
        Along ``what``: ``verdict`` is ``agrees``, ``wrong`` or ``cannot tell`` (at kinks, in noise); ``error`` is the
        largest relative difference; ``resolution`` the relative error that half of the comparisons would have seen;
        ``ratio`` the largest difference in errors; ``reason`` says what is wrong where. Along ``order`` and ``step``,
        ``remainder`` is what Taylor's polynomials leave along the worst line, and ``slope`` by which power of the step
        it goes; ``floor`` is what noise leaves.

    Raises
    ------
    StudyError
        If the objective raises, returns wrong shapes, or what is not finite at the points.

    References
    ----------
    N. Boumal, An Introduction to Optimization on Smooth Manifolds, 2023, section 4.8.

    Examples
    --------
    >>> import biasvar as bv
    >>> found = bv.check_derivatives(bv.Rosenbrock())
    >>> found.verdict.sel(what="gradient").item(), float(found.slope.sel(order=2).round(1))
    ('agrees', 2.0)
    >>> class Wrong:
    ...     dim = 2
    ...     def value(self, theta):
    ...         return (theta**4).sum(axis=-1)
    ...     def gradient(self, theta):
    ...         return 4 * theta**3 * np.array([1, 1 + 1e-6])
    >>> bv.check_derivatives(Wrong(), at=[[1.0, 2.0]]).reason.sel(what="gradient").item()[:45]
    'component 1 is 32.000032 at theta=[1. 2.], bu'
    """
    checked = _adapted(objective, at)
    places = _places(at, checked.dim, points, seed)
    checked.rehearse(places)
    spread = _spread(places)
    generator = Stream(seed, "check_derivatives", 0).generator(Purpose.DIRECTIONS)
    found = {what: list(ask(places, spread, generator)) for what, ask in checked.asks.items()}
    return _labelled(objective, checked, {what: asked for what, asked in found.items() if asked})


def wrong(found: xr.Dataset) -> list[str]:
    """Return what is wrong, as ``what: reason``, one line each."""
    bad = found.isel(what=np.flatnonzero(found.verdict.values == WRONG))
    return [f"{what}: {reason}" for what, reason in zip(bad.what.values, bad.reason.values, strict=True)]


@dataclass(frozen=True)
class _Checked:
    """An objective or a map: what is asked of it."""

    dim: int
    rehearse: Callable[[Array], None]
    asks: dict[str, Callable[[Array, Array, np.random.Generator], Iterator[Asked]]]
    product: Callable[[Array, Array], Array] | None = field(default=None, repr=False)


def _adapted(objective: object, at: Where) -> _Checked:
    if offers(objective, "jacobian", "value"):
        return _of_map(cast(_Map, objective), at)
    known = objectives.adapted(objective)
    name = type(objective).__name__

    def rehearse(places: Array) -> None:
        batch = None if known.examples is None else np.arange(min(2, known.examples))
        rehearsal.rehearse_objective(known, name, places, batch)

    checks: dict[str, Any] = {"gradient": derivatives.gradients}
    if known.has_hessian_product:
        checks |= {"hessian_product": derivatives.hessian_products, "symmetry": derivatives.symmetries}
    if known.examples is not None:
        checks["batches"] = derivatives.batch_means
    checks |= {"minimizer": derivatives.minimizers, "minimum": derivatives.minima}
    asks = {what: _bound(check, known) for what, check in checks.items()}
    return _Checked(_dim(objective, at), rehearse, asks, known.hessian_product if known.has_hessian_product else None)


def _bound(check: Callable[..., Iterator[Asked]], known: Objective) -> Callable[..., Iterator[Asked]]:
    return lambda places, spread, generator: check(known, places, spread, generator)


def _of_map(given: _Map, at: Where) -> _Checked:
    def rehearse(places: Array) -> None:
        values, jacobian = np.asarray(given.value(places)), np.asarray(given.jacobian(places))
        if values.ndim != 2 or len(values) != len(places):
            raise StudyError(
                f"value: returned shape {values.shape} for theta of shape {places.shape}, expected (..., m)"
            )
        expected = (*values.shape, places.shape[1])
        if jacobian.shape != expected:
            raise StudyError(
                f"jacobian: returned shape {jacobian.shape} for theta of shape {places.shape}, expected {expected}: "
                "a row per value, a column per parameter"
            )

    def ask(places: Array, spread: Array, generator: np.random.Generator) -> Iterator[Asked]:
        return derivatives.jacobians(_numbers(given.value), _numbers(given.jacobian), places, spread, generator)

    return _Checked(_dim(given, at), rehearse, {"jacobian": ask})


def _numbers(function: Callable[[Array], ArrayLike]) -> Callable[[Array], Array]:
    return lambda theta: np.asarray(function(theta), dtype=float)


def _dim(known: object, at: Where) -> int:
    if at is None or is_law(at):
        own = said(known, "dim")
        if own is None:
            raise StudyError(f"{known!r} has no dim; give it one, or points in at")
        return int(cast(int, own))
    shape = np.shape(cast("ArrayLike", at))
    return int(shape[-1]) if shape else 1


# Where


def _places(at: Where, dim: int, points: int, seed: int) -> Array:
    if points < 1:
        raise StudyError(f"points: expected at least 1, got {points}")
    law = Normal() if at is None else at
    generator = Stream(seed, "check_derivatives", 0).generator(Purpose.INITIAL_POINT)
    if is_law(law):
        return _drawn(law, dim, points, generator)
    try:
        given = np.asarray(law, dtype=float)
    except (TypeError, ValueError) as error:
        raise StudyError(f"at: expected a law such as Normal(0, 1), a point or points, got {at!r}") from error
    if given.ndim not in (1, 2) or not given.size or not np.isfinite(given).all():
        raise StudyError(f"at: expected a law, a point (D,) or points (P, D), finite, got shape {given.shape}")
    if given.ndim == 2:
        return given
    around = given + _size(given) * generator.uniform(-1, 1, size=(points - 1, len(given)))
    return np.concatenate([given[None], around])


def _drawn(law: Inputs, dim: int, points: int, generator: np.random.Generator) -> Array:
    if law.dim != 1:
        raise StudyError(f"at: expected the law of one coordinate, such as Normal(0, 1), got {law!r}")
    return np.stack([law.inputs_from(open_uniforms(generator, (dim, 1)), dim)[:, 0] for _ in range(points)])


def _size(place: Array) -> Array:
    return NEAR * np.where(place != 0, np.abs(place), 1.0)


def _spread(places: Array) -> Array:
    """Return how far each coordinate reaches; where it does not, a part of its size."""
    spread = places.std(axis=0)
    size = _size(np.abs(places).max(axis=0))
    return np.where(spread > 1e-6 * size, spread, size)


# What came of it


def _labelled(objective: object, checked: _Checked, found: dict[str, list[Asked]]) -> xr.Dataset:
    rows = [_row(what, asked) for what, asked in found.items()]
    said = {
        "verdict": "agrees, wrong or cannot tell",
        "error": "largest relative difference",
        "resolution": "relative error that half of the comparisons see",
        "ratio": f"largest difference in errors, wrong above {derivatives.SURE:g}",
        "comparisons": "comparisons",
        "reason": "what is wrong, or why nothing can be told",
    }
    out = xr.Dataset(
        {name: ("what", _column([row[name] for row in rows]), {"long_name": text}) for name, text in said.items()}
    )
    out = out.assign_coords(what=_column(list(found)))
    worst = max(next(iter(found.values())), key=lambda asked: asked.comparison.ratio)
    out.attrs = {"objective": repr(objective), "table": "derivatives"}
    return out.merge(_remainders(worst, checked), combine_attrs="override")


def _column(values: Sequence[object]) -> NDArray[Any]:
    array = np.array(values)
    return array.astype(object) if array.dtype.kind == "U" else array


def _row(what: str, asked: list[Asked]) -> dict[str, Any]:
    all_of_them = [one.comparison for one in asked]
    clear = [one for one in all_of_them if one.is_clear]
    worst = max((one for one in asked if one.comparison.is_wrong), key=lambda one: one.comparison.ratio, default=None)
    row = {
        "error": max((one.relative for one in clear or all_of_them), default=0.0),
        "resolution": float(np.median([one.resolution for one in clear or all_of_them])),
        "ratio": max(one.ratio for one in all_of_them),
        "comparisons": len(all_of_them),
    }
    if worst is not None:
        return row | {"verdict": WRONG, "reason": _reason(what, worst.located())}
    if 2 * len(clear) >= len(all_of_them):
        return row | {"verdict": AGREES, "reason": ""}
    return row | {"verdict": CANNOT_TELL, "reason": _doubt(all_of_them)}


def _reason(what: str, one: Comparison) -> str:
    whole = _WHOLE.get(what, "the slope along a direction")
    part = whole if one.component is None else _PART.get(what, "component {}").format(one.component)
    # As many digits as it takes to see that they differ.
    size = max(abs(one.claimed), abs(one.found))
    digits = int(np.clip(np.ceil(np.log10(size / one.difference)) + 3, 6, 17))
    at = np.array2string(one.at, precision=8, threshold=6, max_line_width=10**6)
    return _WORDS[what].format(
        component=part, claimed=f"{one.claimed:.{digits}g}", found=f"{one.found:.{digits}g}", at=at
    )


def _doubt(all_of_them: list[Comparison]) -> str:
    kinks = sum(one.kink > 0 for one in all_of_them)
    if 2 * kinks >= len(all_of_them):
        return f"the function has a kink at {kinks} of {len(all_of_them)} places; give other points in at"
    seen = float(np.median([one.resolution for one in all_of_them]))
    if not np.isfinite(seen):
        return "values near the points are not finite, or hardly change; give other points in at"
    return f"values are too noisy: relative errors below {seen:.1g} cannot be seen"


def _remainders(worst: Asked, checked: _Checked) -> xr.Dataset:
    one, value, gradient = worst.comparison, worst.value, worst.gradient
    if value is None or gradient is None:  # pragma: no cover - the first thing asked is always one of differences
        raise AssertionError
    own = checked.product
    product = None if own is None else lambda theta: np.asarray(own(theta, one.along[None]), dtype=float)
    left = derivatives.remainders(value, gradient, product, one)
    orders = np.arange(1, len(left.values) + 1)
    return xr.Dataset(
        {
            "remainder": (
                ("order", "step"),
                left.values,
                {"long_name": "what Taylor's polynomial of lower order leaves"},
            ),
            "slope": ("order", left.slopes, {"long_name": "power of the step by which it goes"}),
            "floor": ((), left.floor, {"long_name": "noise in values"}),
            "at": ("parameter", one.at, {"long_name": "point of the worst comparison"}),
            "along": ("parameter", one.along, {"long_name": "its direction, over a step of 1"}),
        },
        {"order": orders, "step": steps(), "parameter": np.arange(len(one.at))},
    )
