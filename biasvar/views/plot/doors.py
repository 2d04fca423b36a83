"""What figures are made of: each says beside itself which numbers it needs, and is offered where they are."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import xarray as xr

from biasvar.views.plot.studies import study_of

Draw = TypeVar("Draw", bound=Callable[..., Any])

_NEEDS: dict[str, "Needs"] = {}


@dataclass(frozen=True)
class Needs:
    """What a node of a summary must have, that a figure can be made of it.

    Parameters
    ----------
    variables : collection of str
        Names of variables or coordinates.
    dims : collection of str
        Dimensions of the first of them.
    several : collection of str
        Dimensions with at least two labels.
    sizes : mapping of str to int
        Dimensions of just so many labels.
    labels : mapping of str to str
        A label that a coordinate must have.
    varied : int
        How many of the dimensions that the coordinate ``hyperparameter`` names have at least two labels.
    study : bool
        Whether the study is needed, too, and so must have no parts that are not biasvar's own.
    """

    variables: Collection[str]
    dims: Collection[str] = ()
    several: Collection[str] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    varied: int = 0
    study: bool = False

    def met_by(self, node: xr.Dataset) -> bool:
        """Tell whether a node has all that."""
        return (
            all(name in node.variables for name in self.variables)
            and set(self.dims) <= set(node[next(iter(self.variables))].dims)
            and all(node.sizes.get(dim, 0) > 1 for dim in self.several)
            and all(node.sizes.get(dim) == size for dim, size in self.sizes.items())
            and all(name in node.coords and label in node[name].values for name, label in self.labels.items())
            and (not self.varied or self._varied(node) >= self.varied)
            and (not self.study or study_of(node) is not None)
        )

    def _varied(self, node: xr.Dataset) -> int:
        return sum(node.sizes.get(str(name), 1) > 1 for name in node.hyperparameter.values)


def made_of(*variables: str, **more: Any) -> Callable[[Draw], Draw]:
    """Say what a figure needs: variables, and what else :class:`Needs` has."""

    def declared(draw: Draw) -> Draw:
        _NEEDS[draw.__name__] = Needs(variables, **more)
        return draw

    return declared


def needs_of(name: str) -> Needs | None:
    """Return what a figure needs of a summary, or nothing if it is made of something else."""
    return _NEEDS.get(name)
