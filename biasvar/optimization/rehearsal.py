"""Call objectives and update rules once, as a descent will, and refuse in one line what would go wrong later."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import BiasvarError, StudyError, vectorise_hint
from biasvar.optimization import columns, keeping
from biasvar.optimization.conditions import Surface
from biasvar.optimization.descent import log_spaced
from biasvar.optimization.objectives import Objective
from biasvar.optimization.rules import UpdateRule, advance
from biasvar.optimization.rules.base import State
from biasvar.optimization.sets import ConvexSet

Array = NDArray[np.float64]
POINTS = 3
EVERY_STEP = 10_000  # up to which schedules are called


def rehearse_objective(objective: Objective, where: str, points: Array, batch: NDArray[np.intp] | None = None) -> None:
    """Call an objective at points.

    Parameters
    ----------
    objective : Objective
        What is called.
    where : str
        Its name, for messages.
    points : ndarray of shape (P, D)
        Where it is called.
    batch : ndarray of int, optional
        Examples of a minibatch, where there will be any.

    Raises
    ------
    StudyError
        On exceptions, wrong shapes, what is not real or not finite, and functions that write into their argument or do
        not return the same again.
    """
    count, dim = points.shape
    value = _called(objective.value, f"{where}.value", points, (count,))
    gradient = _called(objective.gradient, f"{where}.gradient", points, points.shape)
    if batch is not None:
        _called(lambda theta: objective.gradient(theta, batch), f"{where}.gradient", points, points.shape)
    finite = np.isfinite(value) & np.isfinite(gradient).all(axis=1)
    if not finite.all():
        raise StudyError(f"{where}: value or gradient is not finite at theta={points[~finite][0]}")
    minimizer = objective.minimizer
    if minimizer is not None and np.shape(minimizer) != (dim,):
        raise StudyError(f"{where}.minimizer: expected shape ({dim},), got {np.shape(minimizer)}")
    if objective.has_held_out:
        _called(objective.risk, f"{where}.risk", points, (count,))


def rehearse_set(within: ConvexSet, where: str, points: Array) -> Array:
    """Call a set with points, and return the nearest points within it.

    Parameters
    ----------
    within : ConvexSet
        What is called.
    where : str
        Its name, for messages.
    points : ndarray of shape (P, D)
        Where it is called.

    Raises
    ------
    StudyError
        On exceptions, wrong shapes, what is not real or not finite, functions that write into their argument or do not
        return the same again, nearest points that are not in the set or have others nearer to them, and a support that
        falls short of them.
    """
    nearest = _called(within.project, f"{where}.project", points, points.shape)
    if not np.isfinite(nearest).all():
        raise StudyError(f"{where}.project: returned {nearest[~np.isfinite(nearest).all(axis=1)][0]}, not finite")
    inside = _called(within.contains, f"{where}.contains", nearest, (len(points),)).astype(bool)
    if not inside.all():
        raise StudyError(f"{where}: does not contain {nearest[~inside][0]}, which project returned as a nearest point")
    again = _called(within.project, f"{where}.project", nearest, points.shape)
    if not np.allclose(again, nearest, rtol=1e-9, atol=1e-9):
        raise StudyError(f"{where}.project: moves points that it returned, {nearest[0]} to {again[0]}")
    _check_support(_called(within.support, f"{where}.support", points, (len(points),)), where, points, nearest)
    return nearest


def _check_support(reach: Array, where: str, directions: Array, nearest: Array) -> None:
    """Refuse what is less than points of the set reach: a gap would promise too much."""
    seen = (directions @ nearest.T).max(axis=1)
    short = reach < seen - 1e-9 * (1 + np.abs(seen))
    if short.any():
        first = int(short.argmax())
        raise StudyError(
            f"{where}.support: returned {reach[first]:.6g} in the direction {directions[first]}, though a point of the "
            f"set is {seen[first]:.6g} that way; expected the greatest <s, direction> of all points s"
        )


def rehearse_function(surface: Surface, where: str, points: Array) -> None:
    """Call a function, and those of its derivatives that it has, at points of which some are in its domain.

    Raises
    ------
    StudyError
        On exceptions, wrong shapes, what is not real or not a number, and functions that write into their argument, do
        not return the same again, or are infinite at all points.
    """
    with np.errstate(all="ignore"):
        _called(surface.value, f"{where}.value", points, points.shape[:1])
        try:
            inside = points[np.isfinite(surface.values(points))]
        except StudyError as error:
            raise StudyError(f"{where}.{error}") from error
        if not len(inside):
            raise StudyError(
                f"{where}.value: is infinite at {len(points)} random points, so none is in its domain; choose another "
                "set or law in within"
            )
        if surface.gradient is not None:
            _called(surface.gradient, f"{where}.gradient", inside, inside.shape)
        if surface.product is not None:
            product = surface.product
            _called(lambda v: product(inside, v), f"{where}.hessian_product", np.ones_like(inside), inside.shape)


def points_near(initial: Array) -> Array:
    """Return a few points near one, itself the first: generic, and not random."""
    return initial + 0.1 * np.arange(POINTS)[:, None] * np.cos(np.arange(len(initial)))


def rehearse_rule(
    rule: UpdateRule,
    label: str,
    objective: Objective,
    initial: Array,
    hyper: Mapping[str, float],
    steps: int,
    keep_state: bool = False,
) -> None:
    """Let an update rule take its first step, twice.

    Parameters
    ----------
    rule : UpdateRule
        What is called.
    label : str
        Its name, for messages.
    objective : Objective
        What it minimises.
    initial : ndarray of shape (D,)
        Where it starts.
    hyper : mapping of str to float
        One configuration.
    steps : int
        How many steps there will be, for the schedule.
    keep_state : bool
        Whether its state will be kept.

    Raises
    ------
    StudyError
        On exceptions, wrong shapes, what is not real, functions that write into their arguments, states that are not
        told apart by trajectories, or cannot be kept though they are to be, and rules that do not return the same for
        the same: those that draw random numbers, or remember what is not in their state.
    """
    where = f"optimizers.{label}"
    values = {name: np.full(2, value) for name, value in hyper.items()}
    try:
        for width in (2, 3):
            _check_state(rule.init(np.repeat(initial[:, None], width, axis=1)), width, where)
        theta = np.repeat(initial[:, None], 2, axis=1)
        paths = [_first_step(rule, where, objective, theta, values, steps, keep_state) for _ in range(2)]
    except BiasvarError:
        raise
    except Exception as error:  # a user's rule may raise anything
        raise StudyError(f"{where}: {type(error).__name__}: {error}{vectorise_hint(error)}") from error
    if not all(np.array_equal(one, other, equal_nan=True) for one, other in zip(*paths, strict=True)):
        raise StudyError(
            f"{where}: takes another step the second time, from the same start; a rule draws no random numbers of its "
            "own, and remembers in its state alone"
        )


def rehearse_schedule(schedule: Callable[[int, int], float], label: str, steps: int) -> None:
    """Call a schedule at all steps, or, where there are very many, at the first ones and then ever more rarely.

    Raises
    ------
    StudyError
        On exceptions, and on factors that are not finite, negative, or not the same the second time.
    """
    where = f"optimizers.{label}.schedule"
    for step in sorted({*range(1, min(steps, EVERY_STEP) + 1), *log_spaced(steps, 1000)}):
        try:
            factor, again = float(schedule(step, steps)), float(schedule(step, steps))
        except Exception as error:  # a user's schedule may raise anything
            raise StudyError(f"{where}: {type(error).__name__} at step {step} of {steps}: {error}") from error
        if not 0 <= factor < np.inf:
            raise StudyError(
                f"{where}: returned {factor} at step {step} of {steps}; expected a finite factor of at least 0"
            )
        if factor != again:
            raise StudyError(
                f"{where}: returned {factor} at step {step} of {steps}, and {again} the second time; a schedule "
                "depends on the step alone, and draws no random numbers"
            )


def _first_step(
    rule: UpdateRule,
    where: str,
    objective: Objective,
    theta: Array,
    hyper: Mapping[str, Array],
    steps: int,
    keep_state: bool,
) -> list[NDArray[Any]]:
    """Return theta and the state after a step."""
    state = rule.init(theta)
    arguments = [theta, *hyper.values(), *(part for part in columns.leaves(state) if np.ndim(part))]
    before = [array.copy() for array in arguments]

    def slope(place: Array) -> Array:
        found = np.asarray(objective.gradient(place.T), dtype=float).T
        arguments.append(found)
        before.append(found.copy())
        return found

    if objective.within is not None and rule.has_metric:
        _check_metric(rule, where, slope, theta, state, hyper)
    found, after = advance(rule, slope, theta, state, 1, steps, hyper, objective.within)
    if np.shape(found) != theta.shape or np.asarray(found).dtype.kind != "f":
        raise StudyError(
            f"{where}.update: expected theta as real numbers of shape {theta.shape}, got "
            f"{np.asarray(found).dtype} of shape {np.shape(found)}"
        )
    if not all(np.array_equal(one, other, equal_nan=True) for one, other in zip(arguments, before, strict=True)):
        raise StudyError(f"{where}.update: writes into its arguments; return new arrays")
    shapes = [[np.shape(part) for part in columns.leaves(each)] for each in (state, after)]
    if shapes[0] != shapes[1]:
        raise StudyError(f"{where}.update: returned a state of another form than that of init")
    if keep_state and (why := keeping.unfit(rule, found, after)):
        raise StudyError(f"{where}: {why}; keep_state keeps it only as init made it, so change that, or leave it out")
    return [np.asarray(part) for part in (found, *columns.leaves(after))]


def _check_metric(
    rule: UpdateRule,
    where: str,
    slope: Callable[[Array], Array],
    theta: Array,
    state: State,
    hyper: Mapping[str, Array],
) -> None:
    place = rule.lookahead(theta, state, **hyper) if rule.looks_ahead else theta
    weights = np.asarray(rule.metric(rule.update(theta, slope(place), state, 1, **hyper)[1], **hyper))
    if weights.shape != theta.shape or weights.dtype.kind not in "iuf":
        raise StudyError(
            f"{where}.metric: expected weights as real numbers of shape {theta.shape}, got {weights.dtype} of shape "
            f"{weights.shape}"
        )
    if (weights < 0).any():
        raise StudyError(f"{where}.metric: has the weight {weights.min():g}, expected none below 0")


def _check_state(state: object, width: int, where: str) -> None:
    for part in columns.leaves(state):
        if isinstance(part, np.ndarray) and part.shape[-1:] == (width,):
            continue
        if isinstance(part, bool | int | float | np.number):
            continue
        got = f"an array of shape {part.shape}" if isinstance(part, np.ndarray) else f"{type(part).__name__}"
        raise StudyError(
            f"{where}.init: the state of {width} trajectories has {got}; expected arrays whose last axis is the "
            "trajectories, numbers, or tuples, lists and dicts of them"
        )


def _called(function: Callable[[Array], Any], name: str, points: Array, shape: tuple[int, ...]) -> Array:
    given = points.copy()
    try:
        found, again = np.asarray(function(given)), np.asarray(function(points.copy()))
    except Exception as error:  # a user's objective may raise anything
        raise StudyError(
            f"{name}: raised {type(error).__name__} on theta of shape {points.shape}: {error}{vectorise_hint(error)}"
        ) from error
    if found.shape != shape:
        raise StudyError(f"{name}: returned shape {found.shape} for theta of shape {points.shape}, expected {shape}")
    if found.dtype.kind not in "biuf":
        raise StudyError(f"{name}: returned {found.dtype} numbers, expected real ones")
    if not np.array_equal(given, points):
        raise StudyError(f"{name}: writes into its argument; work on a copy")
    if not np.array_equal(found, again, equal_nan=True):
        raise StudyError(f"{name}: returns other numbers the second time; it must draw no random numbers of its own")
    return found.astype(float)
