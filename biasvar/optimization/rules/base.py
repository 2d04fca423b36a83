"""What all update rules share: fields that are grid axes, the base class, and the step that says what they mean."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from sys import float_info
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BeforeValidator, ValidationInfo

from biasvar.adapting import adapt, has, offers
from biasvar.errors import StudyError
from biasvar.fields import one_or_more
from biasvar.optimization.sets import ConvexSet

Array = NDArray[np.float64]
State = tuple[Array, ...]
Schedule = Callable[[int, int], float]


@dataclass(frozen=True)
class _Axis:
    """Take one number or several, each within bounds, for a tuple of floats."""

    bounds: str
    admits: Callable[[float], bool]

    def __call__(self, value: object, info: ValidationInfo) -> tuple[float, ...]:
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
    def _is_number(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= float_info.max


#: A grid axis of numbers above zero, such as learning rates.
Positives = Annotated[tuple[float, ...], BeforeValidator(_Axis("0 < {} < inf", lambda value: value > 0))]
#: A grid axis of numbers from zero, such as epsilon and weight decay.
NonNegatives = Annotated[tuple[float, ...], BeforeValidator(_Axis("0 <= {} < inf", lambda value: value >= 0))]
#: A grid axis of numbers from zero to below one, such as momentum and rates of decay.
Fractions = Annotated[tuple[float, ...], BeforeValidator(_Axis("0 <= {} < 1", lambda value: 0 <= value < 1))]


class UpdateRule(ABC):
    """An update rule: pure functions on explicit state.

    Of ours, fields that are tuples of numbers are hyperparameters, each an axis of a grid. A user's own rule need not
    inherit from this: an object with ``init``, ``update`` and hyperparameters serves as it is (``adapted``).
    ``advance`` says what ``lookahead`` and ``schedule`` mean.

    Examples
    --------
    >>> import biasvar as bv
    >>> rule = bv.Momentum([0.01, 0.1], momentum=0.9)
    >>> isinstance(rule, bv.UpdateRule), rule.hyperparameters
    (True, {'learning_rate': (0.01, 0.1), 'momentum': (0.9,)})
    """

    @property
    def looks_ahead(self) -> bool:
        """Whether the gradient is wanted elsewhere than at theta: where a rule has a lookahead of its own."""
        return type(self).lookahead is not UpdateRule.lookahead

    @property
    def has_metric(self) -> bool:
        """Whether steps are the shortest in another norm than the Euclidean, and the rule says in which."""
        return type(self).metric is not UpdateRule.metric

    @property
    def linear(self) -> bool:
        """Whether steps are linear in all gradients so far: then descents on squares are linear in the labels."""
        return False

    @property
    def hyperparameters(self) -> dict[str, tuple[float, ...]]:
        """The grid axes by name, in the order of the fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, tuple)}

    @property
    def schedule(self) -> Schedule | None:
        """Factors on the learning rate, step by step; None leaves it as it is."""
        return None

    @abstractmethod
    def init(self, theta: Array) -> State:
        """Return the state before the first step, for theta of shape (D, K): D parameters of K trajectories."""

    # ``*_: Any, **hyper: Any`` is how mypy lets each rule name the hyperparameters that it has.
    def lookahead(self, theta: Array, state: State, *_: Any, **hyper: Any) -> Array:
        """Return where the gradient is wanted: at theta, unless a rule says otherwise."""
        return theta

    @abstractmethod
    def update(
        self, theta: Array, gradient: Array, state: State, step: int, *_: Any, **hyper: Any
    ) -> tuple[Array, State]:
        """Return theta and state after a step; ``step`` counts from 1, each hyperparameter has shape (K,).

        Nothing is written into the arguments.
        """

    def metric(self, state: State, *_: Any, **hyper: Any) -> Array | None:
        """Return the weights (D, K) of the norm that a step was made in, from the state after it.

        A rule that steps by -e g / w is in the norm sum_i w_i x_i^2: there the nearest point of a set is taken, so that
        it stands still where no step within the set leads down. None, the Euclidean norm, unless a rule says otherwise.
        """
        return None

    def moved(self, state: State, before: Array, after: Array) -> State:
        """Return the state when theta went from ``before`` to ``after``, which a set has changed."""
        return state


class _Adapted(UpdateRule):
    """A user's own rule, which says its hyperparameters."""

    def __init__(self, own: UpdateRule) -> None:
        self.own = own

    @property
    def linear(self) -> bool:
        return bool(self.own.linear)

    @property
    def hyperparameters(self) -> dict[str, tuple[float, ...]]:
        return dict(self.own.hyperparameters)

    @property
    def schedule(self) -> Schedule | None:
        return self.own.schedule

    def init(self, theta: Array) -> State:
        return self.own.init(theta)

    def lookahead(self, theta: Array, state: State, **hyper: Array) -> Array:
        return self.own.lookahead(theta, state, **hyper)

    def update(self, theta: Array, gradient: Array, state: State, step: int, **hyper: Array) -> tuple[Array, State]:
        return self.own.update(theta, gradient, state, step, **hyper)

    def metric(self, state: State, **hyper: Array) -> Array | None:
        return self.own.metric(state, **hyper)

    def moved(self, state: State, before: Array, after: Array) -> State:
        return self.own.moved(state, before, after)


class _Numbered(_Adapted):
    """A user's own rule, whose hyperparameters are its fields that are one number or several."""

    @property
    def hyperparameters(self) -> dict[str, tuple[float, ...]]:
        found = {}
        for name, value in _fields_of(self.own).items():
            values = tuple(np.atleast_1d(value)) if isinstance(value, list | tuple | range | np.ndarray) else (value,)
            if all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values):
                found[name] = tuple(float(v) for v in values)
        return found


OPTIONAL = ("linear", "schedule", "lookahead", "metric", "moved")


def _fields_of(own: object) -> dict[str, object]:
    if is_dataclass(own):
        return {field.name: getattr(own, field.name) for field in fields(own)}
    return vars(own)


def adapted(given: object) -> UpdateRule:
    """Take in an update rule: one of ours as it is, a user's plain object with its missing members filled in.

    Its hyperparameters are what it says, else its fields that are numbers.

    Raises
    ------
    StudyError
        If a required member is missing, or an optional one cannot be called.

    Examples
    --------
    >>> class Own:
    ...     def __init__(self):
    ...         self.rate, self.name = [0.1, 0.2], "own"
    ...     def init(self, theta):
    ...         return ()
    ...     def update(self, theta, gradient, state, step, *, rate):
    ...         return theta - rate * gradient, ()
    >>> adapted(Own()).hyperparameters, adapted(Own()).schedule is None
    ({'rate': (0.1, 0.2)}, True)
    """
    if isinstance(given, UpdateRule):
        return given
    if not offers(given, "init", "update"):
        raise StudyError(f"{given!r} has no init(theta) and update(theta, gradient, state, step, ...)")
    for name in ("lookahead", "schedule", "metric", "moved"):
        if has(given, name) and not offers(given, name):
            raise StudyError(f"{given!r}: {name} cannot be called; expected a function, or leave it out")
    adapter = _Adapted if has(given, "hyperparameters") else _Numbered
    return adapt(given, adapter, UpdateRule, OPTIONAL)


def advance(
    rule: UpdateRule,
    gradient: Callable[[Array], Array],
    theta: Array,
    state: State,
    step: int,
    steps: int,
    hyper: Mapping[str, Array],
    within: ConvexSet | None = None,
) -> tuple[Array, State]:
    """Take one step: the one place that says what lookahead, schedules, metrics and sets mean.

    The schedule multiplies the learning rate, the gradient is taken where the rule looks, then the rule updates. Where
    there is a set, theta is then its nearest point, in the norm of the rule, which is told of the step that was made.

    Parameters
    ----------
    rule : UpdateRule
        What updates.
    gradient : callable
        Gradient at points, both of shape (D, K).
    theta, state : ndarray of shape (D, K), tuple of ndarray
        Where the trajectories are.
    step, steps : int
        Which step this is, from 1, and how many there will be.
    hyper : mapping of str to ndarray of shape (K,)
        Hyperparameters of each trajectory.
    within : ConvexSet, optional
        What parameters are kept in.

    Returns
    -------
    theta, state
        After the step.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, Adaptive subgradient methods for online learning and stochastic optimization, 2011,
    for the norm of the nearest point.
    """
    if (schedule := rule.schedule) is not None and "learning_rate" in hyper:
        hyper = {**hyper, "learning_rate": hyper["learning_rate"] * schedule(step, steps)}
    place = rule.lookahead(theta, state, **hyper) if rule.looks_ahead else theta
    after, known = rule.update(theta, gradient(place), state, step, **hyper)
    if within is None:
        return after, known
    normed = rule.has_metric and within.takes_weights and not within.separable
    weights = rule.metric(known, **hyper) if normed else None
    nearest = within.project(after.T, None if weights is None else weights.T).T
    return nearest, rule.moved(known, theta, nearest)


def descend(
    rule: object,
    gradient: Callable[[Array], ArrayLike],
    start: ArrayLike,
    steps: int,
    within: ConvexSet | None = None,
) -> Array:
    """Follow an update rule from start to end: the plain loop that a study's descents are checked against.

    Parameters
    ----------
    rule : UpdateRule or alike
        Each hyperparameter one number, or one for each trajectory.
    gradient : callable
        Gradient at theta, both of shape (D, K).
    start : array_like of shape (D,) or (D, K)
        Where to start.
    steps : int
        Number of steps.
    within : ConvexSet, optional
        What parameters are kept in, from the start on.

    Returns
    -------
    ndarray of shape (steps + 1, D, K)
        Theta at the start and after each step.

    Examples
    --------
    >>> from biasvar.optimization.rules.momentum import SGD
    >>> descend(SGD([0.1, 0.5, 1.0]), lambda theta: 2 * theta, [[1.0, 1.0, 1.0]], 2)[:, 0].round(3).tolist()
    [[1.0, 1.0, 1.0], [0.8, 0.0, -1.0], [0.64, 0.0, 1.0]]
    """
    known, theta = adapted(rule), np.array(start, dtype=float)
    theta = theta[:, None] if theta.ndim == 1 else theta
    theta = theta if within is None else within.project(theta.T).T
    hyper = {name: np.broadcast_to(values, theta.shape[1:]).copy() for name, values in known.hyperparameters.items()}
    state = known.init(theta)

    def slope(place: Array) -> Array:
        return np.asarray(gradient(place), dtype=float)

    path = [theta]
    for step in range(1, steps + 1):
        theta, state = advance(known, slope, theta, state, step, steps, hyper, within)
        path.append(theta)
    return np.stack(path)


def looks(
    rule: UpdateRule, gradient: Callable[[Array], Array], start: Array, hyper: Mapping[str, Array], steps: Sequence[int]
) -> Iterator[Array]:
    """Follow an update rule and yield where it is after each of some numbers of steps, in one pass.

    Parameters
    ----------
    rule, gradient, hyper
        As for ``advance``.
    start : ndarray of shape (D, K)
        Where to start.
    steps : sequence of int
        Ascending; 0 is the start. The last one is the length of the descent.

    Yields
    ------
    ndarray of shape (D, K)

    Examples
    --------
    >>> from biasvar.optimization.rules.momentum import SGD
    >>> rate = {"learning_rate": np.array([0.5])}
    >>> [float(theta[0, 0]) for theta in looks(SGD(), lambda theta: theta, np.ones((1, 1)), rate, [0, 1, 3])]
    [1.0, 0.5, 0.125]
    """
    theta, state, step = start, rule.init(start), 0
    for stop in steps:
        while step < stop:
            step += 1
            theta, state = advance(rule, gradient, theta, state, step, steps[-1], hyper)
        yield theta


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
