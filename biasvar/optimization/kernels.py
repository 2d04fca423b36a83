"""Compiled steps, put together of what a rule does to numbers and of an objective's gradient of columns.

Two modules are written of these: one of a single step, wherever the gradient comes from, and one of many steps along
the gradient of an objective, in which a few trajectories stay in the cache over all of them. Both have the same
arithmetic, and so the same bits.
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
    """

    each: Compiled
    states: tuple[str, ...] = ()
    once: Compiled | None = None
    corrections: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    ahead: Compiled | None = None

    @cached_property
    def hyper(self) -> tuple[str, ...]:
        """Names of the hyperparameters."""
        named = [name for part in self.parts for name in _arguments(part)]
        known = {"theta", "gradient", *self.states, *self.corrections, *self.shared}
        return tuple(dict.fromkeys(name for name in named if name not in known))

    @property
    def parts(self) -> tuple[Compiled, ...]:
        """The functions that there are."""
        return tuple(part for part in (self.each, self.once, self.ahead) if part is not None)

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

    def descend(
        self, slope: "Slope", theta: Array, state: Sequence[Array], hyper: Sequence[Array], factors: Array
    ) -> Array:
        """Take as many steps as there are factors on the learning rate, in place; return the last gradients."""
        lanes = min(max(TILE_NUMBERS // len(theta), LEAST_LANES), MOST_LANES)
        slopes = np.empty_like(theta)
        _module(self, slope.function).descend(lanes, factors, slopes, theta, *state, *hyper, *slope.data)
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
def _module(rule: Arithmetic, slope: Compiled | None = None) -> ModuleType:
    parts: list[Compiled] = [*rule.parts, cut, cut_few, put, put_few, *([] if slope is None else [slope])]
    name = "_".join(python_of(part).__name__.strip("_") for part in (rule.each, slope) if part is not None)
    return generated(name, _text(rule, slope), parts)


def _text(rule: Arithmetic, slope: Compiled | None) -> str:
    """Return the source of a module."""
    lines = ["import numpy as np", "from numba import njit", "", f"from {__name__} import cut, cut_few, put, put_few"]
    for name, part in {"each": rule.each, "once": rule.once, "ahead": rule.ahead, "slope": slope}.items():
        if part is not None:
            lines.append(f"from {python_of(part).__module__} import {python_of(part).__name__} as {name}")
    lines += _step(rule)
    if rule.ahead is not None:
        lines += _lead(rule, rule.ahead)
    if slope is not None:
        lines += _descend(rule, slope)
    return "\n".join(lines) + "\n"


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


def _descend(rule: Arithmetic, slope: Compiled) -> list[str]:
    data = [f"data_{name}" for name in _arguments(slope)[2:]]
    of_parameters, of_trajectories = ("theta", *rule.states), (*rule.corrections, *rule.hyper)
    every = ("theta", *_arrays(rule))
    lead = [] if rule.ahead is None else [f"lead(place, {', '.join(every)})"]
    return [
        *_kernel("descend", ["lanes", "factors", "slopes", *(f"all_{name}" for name in every), *data]),
        "    for start in range(0, all_theta.shape[1], lanes):",
        "        stop = min(start + lanes, all_theta.shape[1])",
        *(f"        {name} = cut(all_{name}, start, stop)" for name in of_parameters),
        *(f"        {name} = cut_few(all_{name}, start, stop)" for name in of_trajectories),
        *(f"        {name} = np.empty(stop - start)" for name in rule.shared),
        "        gradient, factor = np.empty_like(theta), 1.0",
        f"        place = {'theta' if rule.ahead is None else 'np.empty_like(theta)'}",
        "        for t in range(len(factors)):",
        "            if factors[t] != factor:",
        "                factor = factors[t]",
        "                for k in range(stop - start):",
        "                    learning_rate[k] = all_learning_rate[start + k] * factor",
        *_indented(3, [*lead, f"slope({', '.join(['place', 'gradient', *data])})", *_moves(rule, "")]),
        "        put(slopes, start, gradient)",
        *(f"        put(all_{name}, start, {name})" for name in of_parameters),
        *(f"        put_few(all_{name}, start, {name})" for name in rule.corrections),
    ]


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
