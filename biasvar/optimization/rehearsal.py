"""Call objectives and update rules once, as a descent will, and refuse in one line what would go wrong later."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import BiasvarError, StudyError
from biasvar.optimization.objectives import Objective
from biasvar.optimization.rules import UpdateRule, advance

Array = NDArray[np.float64]
POINTS = 3


def rehearse_objective(
    objective: Objective, label: str, initial: Array, batch: NDArray[np.intp] | None = None, check: bool = False
) -> None:
    """Call an objective near a point.

    Parameters
    ----------
    objective : Objective
        What is called.
    label : str
        Its name, for messages.
    initial : ndarray of shape (D,)
        Where it is called.
    batch : ndarray of int, optional
        Examples of a minibatch, where there will be any.
    check : bool
        Whether the gradient is compared with finite differences of the value.

    Raises
    ------
    StudyError
        On exceptions, wrong shapes, what is not real or not finite, functions that write into their argument, and
        gradients that are not those of the value.
    """
    where, dim = f"objectives.{label}", len(initial)
    points = initial + 0.1 * np.arange(POINTS)[:, None] * np.cos(np.arange(dim))  # generic, and not random
    value = _called(objective.value, f"{where}.value", points, (POINTS,))
    gradient = _called(objective.gradient, f"{where}.gradient", points, points.shape)
    if batch is not None:
        _called(lambda theta: objective.gradient(theta, batch), f"{where}.gradient", points, points.shape)
    if not (np.isfinite(value).all() and np.isfinite(gradient).all()):
        raise StudyError(f"{where}: value or gradient is not finite near the initial point {initial}")
    minimizer = objective.minimizer
    if minimizer is not None and np.shape(minimizer) != (dim,):
        raise StudyError(f"{where}.minimizer: expected shape ({dim},), got {np.shape(minimizer)}")
    if objective.has_held_out:
        _called(objective.risk, f"{where}.risk", points, (POINTS,))
    if check:
        _check_gradient(objective, where, points, gradient)


def rehearse_rule(
    rule: UpdateRule,
    label: str,
    gradient: Callable[[Array], Any],
    initial: Array,
    hyper: Mapping[str, float],
    steps: int,
) -> None:
    """Let an update rule take one step.

    Parameters
    ----------
    rule : UpdateRule
        What is called.
    label : str
        Its name, for messages.
    gradient : callable
        The objective's, on points (..., D).
    initial : ndarray of shape (D,)
        Where it starts.
    hyper : mapping of str to float
        One configuration.
    steps : int
        How many steps there will be, for the schedule.

    Raises
    ------
    StudyError
        On exceptions, wrong shapes, what is not real, and functions that write into their arguments.
    """
    where = f"optimizers.{label}"
    theta = np.repeat(initial[:, None], 2, axis=1)
    values = {name: np.full(2, value) for name, value in hyper.items()}
    try:
        state = rule.init(theta)
        arguments = [theta, *values.values(), *_arrays(state)]
        before = [array.copy() for array in arguments]

        def slope(place: Array) -> Array:
            found = np.asarray(gradient(place.T), dtype=float).T
            arguments.append(found)
            before.append(found.copy())
            return found

        found, _ = advance(rule, slope, theta, state, 1, steps, values)
    except BiasvarError:
        raise
    except Exception as error:  # a user's rule may raise anything
        raise StudyError(f"{where}: {type(error).__name__}: {error}") from error
    if np.shape(found) != theta.shape or np.asarray(found).dtype.kind != "f":
        raise StudyError(
            f"{where}.update: expected theta as real numbers of shape {theta.shape}, got "
            f"{np.asarray(found).dtype} of shape {np.shape(found)}"
        )
    if not all(np.array_equal(one, other, equal_nan=True) for one, other in zip(arguments, before, strict=True)):
        raise StudyError(f"{where}.update: writes into its arguments; return new arrays")


def _arrays(state: Any) -> list[NDArray[Any]]:
    parts = state if isinstance(state, tuple | list) else (state,)
    return [part for part in parts if isinstance(part, np.ndarray)]


def _called(function: Callable[[Array], Any], name: str, points: Array, shape: tuple[int, ...]) -> Array:
    given = points.copy()
    try:
        found = np.asarray(function(given))
    except Exception as error:  # a user's objective may raise anything
        raise StudyError(f"{name}: raised {type(error).__name__} on theta of shape {points.shape}: {error}") from error
    if found.shape != shape:
        raise StudyError(f"{name}: returned shape {found.shape} for theta of shape {points.shape}, expected {shape}")
    if found.dtype.kind not in "biuf":
        raise StudyError(f"{name}: returned {found.dtype} numbers, expected real ones")
    if not np.array_equal(given, points):
        raise StudyError(f"{name}: writes into its argument; work on a copy")
    return found.astype(float)


def _check_gradient(objective: Objective, where: str, points: Array, gradient: Array) -> None:
    for i in range(points.shape[1]):
        width = 1e-6 * np.maximum(1.0, np.abs(points[:, i]))
        up, down = points.copy(), points.copy()
        up[:, i] += width
        down[:, i] -= width
        slope = (np.asarray(objective.value(up)) - np.asarray(objective.value(down))) / (2 * width)
        off = np.abs(slope - gradient[:, i])
        allowed = 1e-4 * (np.abs(slope) + np.abs(gradient).max() + 1e-6)
        if (off > allowed).any():
            worst = int(np.argmax(off - allowed))
            raise StudyError(
                f"{where}.gradient: component {i} is {gradient[worst, i]:.6g} at theta={points[worst]}, "
                f"but finite differences of value give {slope[worst]:.6g}"
            )
