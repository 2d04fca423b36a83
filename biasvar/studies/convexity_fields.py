"""Fields of convexity studies: how domains are written, and what of them is refused."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.learning.inputs import FixedDesign, is_law
from biasvar.optimization import sets
from biasvar.optimization.segments import Domain
from biasvar.studies import components
from biasvar.studies.marks import Fixed

Array = NDArray[np.float64]


class Within(Fixed[Any]):
    """A set of parameters, or the law of each."""

    def build(self, spec: object, where: str) -> Any:
        """Make the set or the law."""
        if isinstance(spec, str | Mapping):
            spec = components.build(spec, components.SETS | components.INPUTS, where)
        if isinstance(spec, FixedDesign) or (is_law(spec) and spec.dim != 1):
            raise StudyError(
                f"{where}: expected a set, or the law of one coordinate such as Normal(0, 1), got {spec!r}"
            )
        if not is_law(spec) and not isinstance(spec, components.Imported):
            try:
                sets.adapted(spec)
            except StudyError as error:
                raise StudyError(f"{where}: {error}; give a set, or a law such as Normal(0, 1)") from error
        return spec

    def write(self, value: object) -> Any:
        """Return its name and fields."""
        return components.describe(value, components.SETS | components.INPUTS)

    def components(self, value: object) -> Iterator[Any]:
        """Yield it."""
        yield value


class Finer(Fixed[float | None]):
    """A number that may be lower in a study than in the store."""

    def errors(self, where: str, stored: float | None, mine: float | None) -> list[str]:
        """Complain of a higher one, and of another way to say how many segments."""
        return [] if stored is not None and mine is not None and mine <= stored else super().errors(where, stored, mine)

    def join(self, one: float | None, other: float | None) -> float | None:
        """Return the lower."""
        return one if one is None or other is None else min(one, other)


def check_domain(domain: Domain, points: Array) -> None:
    """Refuse a set that does not contain its own points, or those between them."""
    if domain.contains is None:
        return
    inside = domain.contains(points)
    if not inside.any():
        raise StudyError("contains none of its own points; do place and contains agree?")
    ends = points[inside][: len(points[inside]) // 2 * 2].reshape(2, -1, domain.dim)
    between = domain.contains(ends.mean(axis=0))
    if not between.all():
        x, y = ends[:, int(np.argmin(between))].tolist()
        raise StudyError(
            f"is not convex: it has {x} and {y}, and not the point in the middle; ask of a convex set, and leave the "
            "rest to values that are infinite"
        )


@contextmanager
def told() -> Iterator[None]:
    """Say in a line what a user's set or law raises."""
    try:
        yield
    except StudyError:
        raise
    except Exception as error:
        raise StudyError(f"{type(error).__name__}: {error}") from error
