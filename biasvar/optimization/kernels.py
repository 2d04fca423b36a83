"""Compiled steps, put together of what a rule does to numbers, and of gradients and nearest points of columns.

Two modules are written of these: one of a single step, wherever the gradient comes from, and one of many steps along
the gradient of an objective, within a set or without, in which a few trajectories stay in the cache over all of them.
Both have the same arithmetic, and so the same bits.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import Compiled, generated, njit, python_of
from biasvar.optimization.columns import Array

TILE_NUMBERS = 1 << 13  # parameters that descend together, so that they and their state stay in the cache
LEAST_LANES, MOST_LANES = 64, 256


@dataclass(frozen=True)
class Arithmetic:
    """What a rule does to numbers, in compiled functions whose arguments have names.

    These are ``theta``, ``gradient``, those of the state, and hyperparameters, ``learning_rate`` among them.

    Parameters
    ----------
    each : compiled function
        Returns theta and its states after a step, as a tuple.
    states : sequence of str
        Numbers of the state that belong to a parameter.
    once : compiled function, optional
        Returns corrections after a step, then what is shared, as a tuple.
    corrections : sequence of str
        Numbers of the state that belong to a trajectory.
    shared : sequence of str
        What ``once`` works out for all parameters of a trajectory, and no one keeps.
    ahead : compiled function, optional
        Returns where the gradient is taken, if not at theta.
    metric : compiled function, optional
        Returns, of what is known after a step, the weight of a parameter in the norm that the step was made in, if that
        is not the Euclidean one. What all weights of a trajectory are multiplied by does not matter.
    velocity : str
        Which of the states, if any, is the step that was made.
    """

    each: Compiled
    states: tuple[str, ...] = ()
    once: Compiled | None = None
    corrections: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    ahead: Compiled | None = None
    metric: Compiled | None = None
    velocity: str = ""

    @cached_property
    def hyper(self) -> tuple[str, ...]:
        """Names of the hyperparameters."""
        named = [name for part in self.parts for name in _arguments(part)]
        known = {"theta", "gradient", *self.states, *self.corrections, *self.shared}
        return tuple(dict.fromkeys(name for name in named if name not in known))

    @property
    def parts(self) -> tuple[Compiled, ...]:
        """The functions that there are."""
        return tuple(part for part in (self.each, self.once, self.ahead, self.metric) if part is not None)

    def start(self, theta: Array) -> tuple[Array, ...]:
        """Return the state before the first step, all zero."""
        of_trajectories = (np.zeros(theta.shape[1:]) for _ in self.corrections)
        return (*(np.zeros(theta.shape) for _ in self.states), *of_trajectories)

    def step(
        self, theta: Array, gradient: Array, state: Sequence[Array], hyper: Sequence[Array]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return theta and state after a step."""
        theta, *after = self._module.step(theta, gradient, *state, *hyper)
        return theta, tuple(after)

    def lead(self, theta: Array, state: Sequence[Array], hyper: Sequence[Array]) -> Array:
        """Return where the gradient is taken."""
        place = np.empty_like(theta)
        self._module.lead(place, theta, *state, *hyper)
        return place

    def weigh(self, state: Sequence[Array], hyper: Sequence[Array]) -> Array:
        """Return the weights (D, K) of the norm that a step was made in, from the state after it."""
        weights = np.empty(state[0].shape)
        self._module.weigh(weights, *state, *hyper)
        return weights

    def descend(
        self,
        slope: "Slope",
        theta: Array,
        state: Sequence[Array],
        hyper: Sequence[Array],
        factors: Array,
        nearest: "Nearest | None" = None,
    ) -> Array:
        """Take as many steps as there are factors on the learning rate, in place; return the last gradients."""
        lanes = min(max(TILE_NUMBERS // len(theta), LEAST_LANES), MOST_LANES)
        slopes = np.empty_like(theta)
        near, data = (None, ()) if nearest is None else (nearest.of(self), nearest.data)
        descend = _module(self, slope.function, near).descend
        descend(lanes, factors, slopes, theta, *state, *hyper, *slope.data, *data)
        return slopes

    @cached_property
    def _module(self) -> ModuleType:
        return _module(self)


@dataclass(frozen=True)
class Slope:
    """The gradient of an objective, in a compiled function of columns.

    Parameters
    ----------
    function : compiled function
        ``function(theta, out, ...)`` puts gradients at theta (D, K) into ``out``. What it makes of a column depends on
        that alone, to the last bit.
    data : tuple of ndarray
        What else it is given.
    """

    function: Compiled
    data: tuple[NDArray[np.float64], ...] = ()

    def __call__(self, columns: Array) -> Array:
        """Return gradients (D, K)."""
        columns = np.ascontiguousarray(columns, dtype=float)
        out = np.empty_like(columns)
        self.function(columns, out, *self.data)
        return out


@dataclass(frozen=True)
class Nearest:
    """The nearest points of a set, in compiled functions of columns.

    Parameters
    ----------
    function : compiled function
        ``function(theta, ...)`` puts the point of the set that is nearest to each column of theta (D, K) in its place.
    weighted : compiled function, optional
        ``weighted(theta, weights, ...)`` does so in norms with such weights (D, K), which it may overwrite; None where
        the nearest point is the same in all.
    data : tuple of ndarray or float
        What else they are given.
    """

    function: Compiled
    weighted: Compiled | None = None
    data: tuple[NDArray[np.float64] | float, ...] = ()

    def __call__(self, columns: Array, weights: Array | None = None) -> Array:
        """Return the nearest points (D, K)."""
        theta = np.array(columns, dtype=float, order="C")
        if weights is None or self.weighted is None:
            self.function(theta, *self.data)
        else:
            self.weighted(theta, np.array(weights, dtype=float, order="C"), *self.data)
        return theta

    def of(self, rule: Arithmetic) -> Compiled:
        """Return the function that finds nearest points in the norm of a rule."""
        return self.function if rule.metric is None or self.weighted is None else self.weighted


@njit(cache=True, nogil=True, error_model="numpy")
def cut(array, start, stop):  # type: ignore[no-untyped-def]
    """Return some columns as an array of their own."""
    out = np.empty((array.shape[0], stop - start))
    for d in range(array.shape[0]):
        for k in range(stop - start):
            out[d, k] = array[d, start + k]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def put(array, start, columns):  # type: ignore[no-untyped-def]
    """Put columns back."""
    for d in range(array.shape[0]):
        for k in range(columns.shape[1]):
            array[d, start + k] = columns[d, k]


@njit(cache=True, nogil=True, error_model="numpy")
def cut_few(array, start, stop):  # type: ignore[no-untyped-def]
    """Return some numbers, of trajectories, as an array of their own."""
    out = np.empty(stop - start)
    for k in range(stop - start):
        out[k] = array[start + k]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def put_few(array, start, numbers):  # type: ignore[no-untyped-def]
    """Put numbers back."""
    for k in range(len(numbers)):
        array[start + k] = numbers[k]


@cache
def _module(rule: Arithmetic, slope: Compiled | None = None, near: Compiled | None = None) -> ModuleType:
    given = {"each": rule.each, "once": rule.once, "ahead": rule.ahead, "metric": rule.metric}
    named = {name: part for name, part in (given | {"slope": slope, "near": near}).items() if part is not None}
    lines = ["import numpy as np", "from numba import njit", "", f"from {__name__} import cut, cut_few, put, put_few"]
    for name, part in named.items():
        lines.append(f"from {python_of(part).__module__} import {python_of(part).__name__} as {name}")
    lines += _step(rule)
    if rule.ahead is not None:
        lines += _lead(rule, rule.ahead)
    if rule.metric is not None:
        lines += _weigh(rule, rule.metric)
    if slope is not None:
        lines += _descend(rule, slope, near)
    name = "_".join(python_of(part).__name__.strip("_") for part in (rule.each, slope, near) if part is not None)
    return generated(name, "\n".join(lines) + "\n", [*named.values(), cut, cut_few, put, put_few])


def _step(rule: Arithmetic) -> list[str]:
    changed = ("theta", *rule.states, *rule.corrections)
    return [
        *_kernel("step", ["theta", "gradient", *_arrays(rule)]),
        *(f"    {name}_after = np.empty_like({name})" for name in changed),
        *(f"    {name} = np.empty(theta.shape[1])" for name in rule.shared),
        *_indented(1, _moves(rule, "_after")),
        f"    return {_tuple(changed, '_after')}",
    ]


def _moves(rule: Arithmetic, after: str) -> list[str]:
    """Return the loops of a step, whose results are put into arrays with such a name."""
    moved = ("theta", *rule.states)
    lines = []
    if rule.once is not None:
        known = f"{_tuple(rule.corrections, f'{after}[k]')} {_tuple(rule.shared, '[k]')}"
        lines += ["for k in range(theta.shape[1]):", f"    {known} = once({_numbers(rule.once, {})})"]
    arrays = _rows(("gradient", *moved)) | {name: f"{name}{after}[k]" for name in rule.corrections}
    return [
        *lines,
        "for d in range(theta.shape[0]):",
        "    for k in range(theta.shape[1]):",
        f"        {_tuple(moved, f'{after}[d, k]')} = each({_numbers(rule.each, arrays)})",
    ]


def _lead(rule: Arithmetic, ahead: Compiled) -> list[str]:
    return [
        *_kernel("lead", ["place", "theta", *_arrays(rule)]),
        "    for d in range(theta.shape[0]):",
        "        for k in range(theta.shape[1]):",
        f"            place[d, k] = ahead({_numbers(ahead, _rows(('theta', *rule.states)))})",
    ]


def _weigh(rule: Arithmetic, metric: Compiled) -> list[str]:
    return [
        *_kernel("weigh", ["weights", *_arrays(rule)]),
        "    for d in range(weights.shape[0]):",
        "        for k in range(weights.shape[1]):",
        f"            weights[d, k] = metric({_numbers(metric, _rows(rule.states))})",
    ]


def _descend(rule: Arithmetic, slope: Compiled, near: Compiled | None) -> list[str]:
    data = [f"data_{name}" for name in _arguments(slope)[2:]]
    of_parameters, of_trajectories = ("theta", *rule.states), (*rule.corrections, *rule.hyper)
    every = ("theta", *_arrays(rule))
    lead = [] if rule.ahead is None else [f"lead(place, {', '.join(every)})"]
    within = _Within(rule, near)
    return [
        *_kernel("descend", ["lanes", "factors", "slopes", *(f"all_{name}" for name in every), *data, *within.data]),
        "    for start in range(0, all_theta.shape[1], lanes):",
        "        stop = min(start + lanes, all_theta.shape[1])",
        *(f"        {name} = cut(all_{name}, start, stop)" for name in of_parameters),
        *(f"        {name} = cut_few(all_{name}, start, stop)" for name in of_trajectories),
        *(f"        {name} = np.empty(stop - start)" for name in rule.shared),
        *(f"        {name} = np.empty_like(theta)" for name in within.arrays),
        "        gradient, factor = np.empty_like(theta), 1.0",
        f"        place = {'theta' if rule.ahead is None else 'np.empty_like(theta)'}",
        "        for t in range(len(factors)):",
        "            if factors[t] != factor:",
        "                factor = factors[t]",
        "                for k in range(stop - start):",
        "                    learning_rate[k] = all_learning_rate[start + k] * factor",
        *_indented(3, [*lead, f"slope({', '.join(['place', 'gradient', *data])})"]),
        *_indented(3, within.moves(_moves(rule, ""))),
        "        put(slopes, start, gradient)",
        *(f"        put(all_{name}, start, {name})" for name in of_parameters),
        *(f"        put_few(all_{name}, start, {name})" for name in rule.corrections),
    ]


@dataclass(frozen=True)
class _Within:
    """What a step within a set has besides: what :func:`~biasvar.optimization.rules.advance` does after an update."""

    rule: Arithmetic
    near: Compiled | None

    @property
    def weights(self) -> Compiled | None:
        """The metric, where nearest points depend on it."""
        return self.rule.metric if self.near is not None and "weights" in _arguments(self.near) else None

    @property
    def velocity(self) -> str:
        """The state that is the step that was made."""
        return self.rule.velocity if self.near is not None else ""

    @property
    def arrays(self) -> list[str]:
        """Names of its arrays."""
        return ["weights"] * (self.weights is not None) + ["before"] * bool(self.velocity)

    @property
    def data(self) -> list[str]:
        """Names of what the set is given by."""
        known = [] if self.near is None else _arguments(self.near)
        return [f"set_{name}" for name in known if name not in ("theta", "weights")]

    def moves(self, moves: list[str]) -> list[str]:
        """Return the lines of a step, given those of one that no set keeps."""
        if self.near is None:
            return moves
        *first, each = moves
        if self.velocity:
            first.append("        before[d, k] = theta[d, k]")
        lines = [*first, each]
        if self.weights is not None:
            lines.append(f"        weights[d, k] = metric({_numbers(self.weights, _rows(self.rule.states))})")
        given = ["theta", *["weights"] * (self.weights is not None), *self.data]
        lines.append(f"near({', '.join(given)})")
        if self.velocity:
            lines += [
                "for d in range(theta.shape[0]):",
                "    for k in range(theta.shape[1]):",
                f"        {self.velocity}[d, k] = theta[d, k] - before[d, k]",
            ]
        return lines


def _kernel(name: str, arguments: Sequence[str]) -> list[str]:
    return ["", "", '@njit(cache=True, nogil=True, error_model="numpy")', f"def {name}({', '.join(arguments)}):"]


def _indented(depth: int, lines: Sequence[str]) -> list[str]:
    return ["    " * depth + line for line in lines]


def _arrays(rule: Arithmetic) -> list[str]:
    return [*rule.states, *rule.corrections, *rule.hyper]


def _rows(names: Sequence[str]) -> dict[str, str]:
    return {name: f"{name}[d, k]" for name in names}


def _numbers(function: Compiled, arrays: Mapping[str, str]) -> str:
    """Return the arguments of a function of numbers, from the arrays that these are in."""
    return ", ".join(arrays.get(name, f"{name}[k]") for name in _arguments(function))


def _tuple(names: Sequence[str], suffix: str) -> str:
    return "".join(f"{name}{suffix}, " for name in names).strip()


def _arguments(function: Compiled) -> list[str]:
    return list(inspect.signature(python_of(function)).parameters)
