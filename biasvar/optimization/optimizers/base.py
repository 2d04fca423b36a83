"""What all update rules share: fields that are grid axes, the base class, and the loop that says what they mean."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from math import isfinite
from sys import float_info
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BeforeValidator, ValidationInfo

from biasvar.errors import StudyError
from biasvar.fields import one_or_more

Array = NDArray[np.float64]
State = tuple[Array, ...]
Schedule = Callable[[int, int], float]


@dataclass(frozen=True)
class _Axis:
    """Take one number or several, each within bounds, for a tuple of floats."""

    bounds: str
    admits: Callable[[float], bool]

    def __call__(self, value: Any, info: ValidationInfo) -> tuple[float, ...]:
        numbers = one_or_more(value.tolist() if isinstance(value, np.ndarray) else value)
        name = info.field_name
        if numbers == ():
            raise ValueError("expected one number or more, got none")
        for number in numbers if isinstance(numbers, tuple) else (numbers,):
            if not self._is_number(number) or not self.admits(number):
                raise ValueError(f"expected {self.bounds.format(name)}, got {number!r}")
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{list(numbers)} has a value twice; list each once")
        return tuple(float(number) for number in numbers)

    @staticmethod
    def _is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= float_info.max


#: A grid axis of numbers above zero, such as learning rates.
Positives = Annotated[tuple[float, ...], BeforeValidator(_Axis("0 < {} < inf", lambda value: value > 0))]
#: A grid axis of numbers from zero, such as epsilon and weight decay.
NonNegatives = Annotated[tuple[float, ...], BeforeValidator(_Axis("0 <= {} < inf", lambda value: value >= 0))]
#: A grid axis of numbers from zero to below one, such as momentum and rates of decay.
Fractions = Annotated[tuple[float, ...], BeforeValidator(_Axis("0 <= {} < 1", lambda value: 0 <= value < 1))]


class Optimizer(ABC):
    """An update rule: two pure functions, ``init`` and ``update``, on explicit state.

    Fields that are tuples of numbers are its hyperparameters, each an axis of a grid. A rule that wants the gradient
    elsewhere than at theta has a third function, ``lookahead(theta, state, **hyper)``, that says where.
    """

    @property
    def hyperparameters(self) -> dict[str, tuple[float, ...]]:
        """The grid axes by name, in the order of the fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, tuple)}

    @abstractmethod
    def init(self, theta: Array) -> State:
        """Return the state before the first step, for theta of shape (D, K): D parameters of K trajectories."""

    @abstractmethod
    def update(
        self, theta: Array, gradient: Array, state: State, step: int, *_: Any, **hyper: Any
    ) -> tuple[Array, State]:
        """Return theta and state after a step; ``step`` counts from 1, each hyperparameter has shape (K,).

        Nothing is written into the arguments.
        """


def descend(rule: Any, gradient: Callable[[Array], ArrayLike], start: ArrayLike, steps: int) -> Array:
    """Follow an update rule: the plain loop that says what rules, lookahead and schedules mean.

    Parameters
    ----------
    rule : Optimizer or alike
        Each hyperparameter one number, or one for each trajectory.
    gradient : callable
        Gradient at theta, both of shape (D, K).
    start : array_like of shape (D,) or (D, K)
        Where to start.
    steps : int
        Number of steps.

    Returns
    -------
    ndarray of shape (steps + 1, D, K)
        Theta at the start and after each step.

    Examples
    --------
    >>> from biasvar.optimization.optimizers import SGD
    >>> descend(SGD([0.1, 0.5, 1.0]), lambda theta: 2 * theta, [[1.0, 1.0, 1.0]], 2)[:, 0].round(3).tolist()
    [[1.0, 1.0, 1.0], [0.8, 0.0, -1.0], [0.64, 0.0, 1.0]]
    """
    theta = np.array(start, dtype=float)
    theta = theta[:, None] if theta.ndim == 1 else theta
    axes = {name: np.broadcast_to(values, theta.shape[1:]).copy() for name, values in rule.hyperparameters.items()}
    lookahead, schedule = (getattr(rule, name, None) for name in ("lookahead", "schedule"))
    state = rule.init(theta)
    path = [theta]
    for step in range(1, steps + 1):
        hyper = dict(axes)
        if schedule is not None:
            hyper["learning_rate"] = axes["learning_rate"] * schedule(step, steps)
        at = theta if lookahead is None else lookahead(theta, state, **hyper)
        theta, state = rule.update(theta, np.asarray(gradient(at), dtype=float), state, step, **hyper)
        path.append(theta)
    return np.stack(path)


def logspace(low: float, high: float, count: int) -> tuple[float, ...]:
    """Return ``count`` numbers from ``low`` to ``high``, both exactly, each the same multiple of the one before.

    Those between are rounded to 15 digits, so that decades are the very numbers that one would write.

    Raises
    ------
    StudyError
        Unless 0 < low < high and count is an integer of at least 2.

    Examples
    --------
    >>> logspace(1e-4, 1, 5)
    (0.0001, 0.001, 0.01, 0.1, 1.0)
    """
    if not (isfinite(low) and isfinite(high) and 0 < low < high):
        raise StudyError(f"logspace: expected 0 < low < high < inf, got low={low!r}, high={high!r}")
    if isinstance(count, bool) or count != int(count) or count < 2:
        raise StudyError(f"logspace: expected an integer count of at least 2, got {count!r}")
    between = np.geomspace(low, high, int(count))[1:-1]
    return (float(low), *(float(f"{value:.15g}") for value in between), float(high))
