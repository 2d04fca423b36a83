"""Marks on the fields of studies: what a field is to a store that holds an earlier state of the study.

A study's canonical JSON, how it is built again, by which rules it may extend what is stored, and what two studies of
one store come to together all follow from the marks, one on each field.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from biasvar.fields import Json
from biasvar.studies import components

#: Values of an axis, which can be sorted.
Values = Sequence[Any]
V = TypeVar("V")  # what a field is, and what it is in JSON


@dataclass(frozen=True)
class Mark(ABC, Generic[V]):
    """What a field is to a store.

    Parameters
    ----------
    written_as : str, optional
        The attribute that is written into JSON instead of the field: all of it where the field may be left out.
    silent : bool
        Whether the default is left out of JSON: then studies that are older than the field have the same JSON.
    """

    written_as: str = field(default="", kw_only=True)
    silent: bool = field(default=False, kw_only=True)

    #: Whether the field is part of the study's JSON.
    is_written = True

    def build(self, spec: object, where: str) -> Any:
        """Make the field's value of what YAML, JSON or Python says; ``where`` is for complaints."""
        return dict(spec) if isinstance(spec, Mapping) else spec

    def write(self, value: object) -> Any:
        """Return the value as JSON."""
        return components.plain(value)

    def components(self, value: object) -> Iterator[Any]:
        """Yield the components in the value."""
        yield from ()

    @abstractmethod
    def errors(self, where: str, stored: V, mine: V) -> list[str]:
        """Say why a study with ``mine`` does not extend a store with ``stored``, both as JSON; nothing if it does."""

    @abstractmethod
    def join(self, one: V, other: V) -> V:
        """Return the least value that extends both; one of them if there is none."""


class Fixed(Mark[V]):
    """What must be in the study as it is in the store.

    Examples
    --------
    >>> Fixed().errors("seed", stored=0, mine=1)
    ['seed: the store has 0, the study 1']
    """

    def errors(self, where: str, stored: V, mine: V) -> list[str]:
        """Complain of any difference."""
        return [] if stored == mine else [f"{where}: the store has {stored}, the study {mine}"]

    def join(self, one: V, other: V) -> V:
        """Return the first."""
        return one


class Free(Mark[V]):
    """What says nothing of the numbers that are stored.

    Examples
    --------
    >>> Free().errors("description", stored="first try", mine="second try")
    []
    """

    def errors(self, where: str, stored: V, mine: V) -> list[str]:
        """Return nothing."""
        return []

    def join(self, one: V, other: V) -> V:
        """Return the first."""
        return one


class Unwritten(Free[V]):
    """What is not even part of the study's JSON."""

    is_written = False


class Axis(Mark[Values]):
    """Values of which a study may have more than the store.

    Examples
    --------
    >>> Axis().errors("n_train", stored=[2, 10], mine=[2, 5])
    ['n_train: the store has [10], which the study lacks']
    >>> Axis().join([2, 10], [2, 5])
    (2, 5, 10)
    """

    def errors(self, where: str, stored: Values, mine: Values) -> list[str]:
        """Complain of what the study lacks."""
        missing = [value for value in stored if value not in mine]
        return [f"{where}: the store has {missing}, which the study lacks"] if missing else []

    def join(self, one: Values, other: Values) -> tuple[Any, ...]:
        """Return the values of both, ascending if both are."""
        values = (*one, *(value for value in other if value not in one))
        ascending = list(one) == sorted(one) and list(other) == sorted(other)
        return tuple(sorted(values)) if ascending else values


@dataclass(frozen=True)
class Selection(Mark[Sequence[str]]):
    """A selection of what is shown; of some it matters to the store whether they are in it.

    Parameters
    ----------
    decisive : tuple of str
        What must be in the study's selection if it is in the store's, and only then.
    """

    decisive: tuple[str, ...] = ()

    def errors(self, where: str, stored: Sequence[str], mine: Sequence[str]) -> list[str]:
        """Complain of a difference in what is decisive."""
        differing = [name for name in self.decisive if (name in stored) != (name in mine)]
        return [f"{where}: {name} must be in both or neither, of store and study" for name in differing]

    def join(self, one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
        """Return what is in either."""
        return (*one, *(value for value in other if value not in one))


class AtLeast(Mark[float | None]):
    """A number that may be larger in a study than in the store; None stands for another way to say how many.

    Examples
    --------
    >>> AtLeast().errors("replicates", stored=512, mine=256)
    ['replicates: the store has 512, the study only 256']
    >>> AtLeast().join(512, 256)
    512
    """

    def errors(self, where: str, stored: float | None, mine: float | None) -> list[str]:
        """Complain of a smaller number."""
        if (stored is None) != (mine is None):
            return [f"{where}: the store has {stored}, the study {mine}"]
        if stored is None or mine is None or mine >= stored:
            return []
        return [f"{where}: the store has {stored}, the study only {mine}"]

    def join(self, one: float | None, other: float | None) -> float | None:
        """Return the larger."""
        return one if one is None or other is None else max(one, other)


class AtMost(Mark[Mapping[str, float] | None]):
    """Bounds, by name, that may be lower or more in a study than in the store; None stands for no bounds at all.

    Examples
    --------
    >>> AtMost().errors("precision", stored={"bias2": 1e-3}, mine={"bias2": 1e-2})
    ['precision.bias2: the store has 0.001, the study 0.01']
    >>> AtMost().join({"bias2": 1e-3}, {"bias2": 1e-2, "variance": 1e-3})
    {'bias2': 0.001, 'variance': 0.001}
    """

    def errors(self, where: str, stored: Mapping[str, float] | None, mine: Mapping[str, float] | None) -> list[str]:
        """Complain of each bound that is higher or missing."""
        if stored is None or mine is None:
            return [] if stored == mine else [f"{where}: the store has {stored}, the study {mine}"]
        return [
            f"{where}.{name}: the store has {bound}, the study {mine.get(name)}"
            for name, bound in stored.items()
            if mine.get(name, float("inf")) > bound
        ]

    def join(self, one: Mapping[str, float] | None, other: Mapping[str, float] | None) -> Mapping[str, float] | None:
        """Return the lower of each."""
        if one is None or other is None:
            return one
        inf = float("inf")
        return {name: min(one.get(name, inf), other.get(name, inf)) for name in {**one, **other}}


@dataclass(frozen=True)
class Component(Mark[object]):
    """A component that is written by name, fixed but for the grid of an update rule.

    Parameters
    ----------
    known : mapping
        The components that have a name of their own.
    grid : bool
        Whether its fields that are lists are axes.
    """

    known: Mapping[str, Any]
    grid: bool = False

    def build(self, spec: object, where: str) -> Any:
        """Make the component."""
        return components.build(spec, self.known, where)

    def write(self, value: object) -> Any:
        """Return its name and fields."""
        return None if value is None else components.describe(value, self.known)

    def components(self, value: object) -> Iterator[Any]:
        """Yield the component, if there is one."""
        if value is not None:
            yield value

    def errors(self, where: str, stored: object, mine: object) -> list[str]:
        """Complain of another component, another field, or a value that a grid lacks."""
        if stored == mine:
            return []
        if _without_fingerprints(stored) == _without_fingerprints(mine):
            return [f"{where}: has other code or data than when the store was made"]
        if not self.grid or _name(stored) is None or _name(stored) != _name(mine):
            return Fixed[object]().errors(where, stored, mine)
        (old,), (new,) = cast(Json, stored).values(), cast(Json, mine).values()
        errors = []
        for name, value in old.items():
            mark: Mark[Any] = Axis() if isinstance(value, list) and isinstance(new.get(name), list) else Fixed()
            errors += mark.errors(f"{where}.{name}", value, new.get(name))
        return errors

    def join(self, one: object, other: object) -> object:
        """Return the first, with the grid of both."""
        if not self.grid or type(one) is not type(other) or not is_dataclass(one) or isinstance(one, type):
            return one
        axes = {name: value for name, value in vars(one).items() if isinstance(value, tuple)}
        joined = {name: Axis().join(value, getattr(other, name)) for name, value in axes.items()}
        return replace(one, **joined)


@dataclass(frozen=True)
class Labelled(Mark[Json]):
    """Things by label, of which a study may have more than the store.

    Parameters
    ----------
    each : Mark
        What one of them is.
    all_or_none : bool
        Whether more of them may be had only where the store has some.
    """

    each: Mark[Any]
    all_or_none: bool = False

    def build(self, spec: object, where: str) -> Any:
        """Make each."""
        if not isinstance(spec, Mapping):
            return spec
        return {label: self.each.build(value, f"{where}.{label}") for label, value in spec.items()}

    def write(self, value: object) -> Any:
        """Return each as JSON."""
        return {label: self.each.write(one) for label, one in cast(Json, value).items()}

    def components(self, value: object) -> Iterator[Any]:
        """Yield the components of all."""
        for one in cast(Json, value).values():
            yield from self.each.components(one)

    def errors(self, where: str, stored: Json, mine: Json) -> list[str]:
        """Complain of each that is another, or that the study lacks."""
        if self.all_or_none and bool(stored) != bool(mine):
            return Fixed[object]().errors(where, stored, mine)
        errors = []
        for label, value in stored.items():
            if label not in mine:
                errors.append(f"{where}: the store has {label}, which the study lacks")
            else:
                errors += self.each.errors(f"{where}.{label}", value, mine[label])
        return errors

    def join(self, one: Json, other: Json) -> Json:
        """Return all of both."""
        both = {label: self.each.join(one[label], other[label]) for label in one if label in other}
        return {**one, **both, **{label: value for label, value in other.items() if label not in one}}


def frozen(value: object) -> Any:
    """Return a mapping that cannot be changed; anything else as it is."""
    return MappingProxyType(value) if isinstance(value, dict) else value


def thawed(value: object) -> Any:
    """Return a copy of a frozen mapping that can be changed, and pickled; anything else as it is."""
    return dict(value) if isinstance(value, MappingProxyType) else value


def _without_fingerprints(spec: object) -> object:
    if not isinstance(spec, dict):
        return spec
    return {name: _without_fingerprints(value) for name, value in spec.items() if name != "fingerprint"}


def _name(spec: object) -> Any:
    """Return the name of a component in JSON whose fields are written; None of others."""
    return next(iter(spec)) if isinstance(spec, dict) and len(spec) == 1 and _has_fields(spec) else None


def _has_fields(spec: Mapping[str, object]) -> bool:
    (fields,) = spec.values()
    return isinstance(fields, dict)
