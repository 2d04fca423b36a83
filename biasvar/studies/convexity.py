"""Convexity studies: whether functions are convex on a domain, how badly not, and what bounds their curvature."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property, partial
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from biasvar.adapting import offers, said
from biasvar.errors import StudyError
from biasvar.fields import NonNegativeInt, PositiveInt, Real, as_tuple
from biasvar.learning.inputs import Normal, is_law
from biasvar.montecarlo.proportions import trials_for
from biasvar.montecarlo.streams import Purpose, Stream
from biasvar.optimization import objectives, rehearsal, sets
from biasvar.optimization.conditions import CONDITIONS, Sample, Surface
from biasvar.optimization.evidence import Evidence
from biasvar.optimization.objectives.sets import Indicator
from biasvar.optimization.segments import Domain, Segments
from biasvar.studies import components
from biasvar.studies.attempts import attempted
from biasvar.studies.base import BlockRecords, BlockSource, Group
from biasvar.studies.convexity_fields import Finer, Within, check_domain, told
from biasvar.studies.convexity_summary import ConvexityGrid, packed, record_of
from biasvar.studies.derivatives import check_derivatives
from biasvar.studies.labels import check_known, check_labels, named
from biasvar.studies.marks import AtLeast, Axis, Component, Fixed, Labelled
from biasvar.studies.study import Study

Array = NDArray[np.float64]

SEGMENTS = 100_000  # unless they are given
MIN_BLOCKS = 2  # so that quantiles have a standard error
REHEARSED = 64  # points that objectives are called at before anything runs
CHECKED = 8  # at which derivatives are checked where that is asked for
FINGERPRINT_POINTS = 2
UNIT = 256  # segments: of fewer, noise and search would be most of the work


class ConvexityStudy(Study[xr.DataTree]):
    """Ask whether functions are convex on a domain, how badly not, and between which bounds their curvature lies.

    On random segments from x to y with z = x + theta (y - x) between, four conditions are measured, each as curvature
    v'Hv averaged along the segment with another weight, so that mu <= all of them <= L if f is mu-strongly convex and
    its gradient L-Lipschitz:

        jensen        (1 - theta) f(x) + theta f(y) - f(z) >= 0                    takes values
        first_order   f(y) - f(x) - <grad f(x), y - x> >= 0                        and a gradient
        monotone      <grad f(y) - grad f(x), y - x> >= 0                          and a gradient
        second_order  the least eigenvalue of the Hessian at x >= 0                and products with the Hessian

    A violation is below zero by more than rounding and noise can explain. It is turned into a chord that lies below f,
    told by values alone, whose points floating-point numbers have exactly: a witness that anyone can check. Values that
    are infinite are outside the domain of f, which must be convex too.

    Parameters
    ----------
    name : str
        Name of the study: letters, digits, ``.``, ``-`` and ``_``.
    objectives : dict of str to objective or callable
        The functions by label: objectives, see ``biasvar.optimization.objectives``; the :class:`Indicator` of a set;
        or f(theta) of arrays (..., D), of which ``jensen`` alone is measured.
    within : dict of str to set or law, optional
        Where: a set that has points at random, uniform in it, or the law of each coordinate. ``Normal(0, 1)`` unless
        given.
    conditions : sequence of str
        Which of the four conditions.
    segments : int
        How many, at least; rounded up to whole blocks. 100,000 unless ``resolution`` is given.
    resolution : float
        Instead of ``segments``: the largest probability of a violation that may remain where none is seen, at 95 %.
    search : int
        From how many points of a block negative curvature is searched downhill, where none is at random ones.
        What it finds changes the verdict, never a rate.
    block_size : int
        Segments in a block.
    seed : int
        Seed of everything random in the study. Objectives on one domain see the same segments.
    description : str
        A line about the study for people.

    Raises
    ------
    StudyError
        If a field is unknown, missing, of the wrong type or does not fit the others.

    References
    ----------
    S. Boyd, L. Vandenberghe, Convex Optimization, 2004, section 3.1.
    J. Chinneck, Discovering the characteristics of mathematical programs via sampling, 2002.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.ConvexityStudy(
    ...     name="valley", objectives={"valley": bv.Rosenbrock()}, within={"valley": bv.Box(-2, 2, dim=2)},
    ...     segments=8192, block_size=1024,
    ... )
    >>> root = bv.lazy(study).compute().to_dataset()
    >>> root.verdict.sel(objective="valley", condition="jensen").item()
    'not convex'
    """

    kind: ClassVar[str] = "convexity"
    instead_of: ClassVar[Mapping[str, tuple[str, ...]]] = {"segments": ("resolution",), "resolution": ("segments",)}

    objectives: Annotated[dict[str, Any], Labelled(Component(components.OBJECTIVES))]
    within: Annotated[Mapping[str, Any], Labelled(Within(), written_as="domains")] = MappingProxyType({})
    conditions: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1), Axis()] = CONDITIONS
    segments: Annotated[PositiveInt | None, AtLeast()] = None
    resolution: Annotated[Annotated[Real, Field(gt=0, lt=1)] | None, Finer()] = None
    search: Annotated[NonNegativeInt, Fixed()] = 8
    block_size: Annotated[PositiveInt, Fixed()] = 2**12

    def _completed(self, fields: Mapping[str, object]) -> Mapping[str, Any]:
        given = fields.get("segments") is not None or fields.get("resolution") is not None
        return fields if given else {**fields, "segments": SEGMENTS}

    def _fit_together(self) -> None:
        check_labels("objectives", self.objectives)
        unknown = [name for name in self.conditions if name not in CONDITIONS]
        if unknown or len(set(self.conditions)) < len(self.conditions):
            raise ValueError(f"conditions: expected some of {', '.join(CONDITIONS)}, got {', '.join(self.conditions)}")
        check_known("within", self.within, self.objectives)
        if self.segments is not None and self.resolution is not None:
            raise ValueError("resolution: cannot be combined with segments; give one of the two")
        if self.segments is not None and self.segments < MIN_BLOCKS * self.block_size:
            raise ValueError(
                f"segments: expected at least {MIN_BLOCKS} blocks of {self.block_size}, got {self.segments}; "
                "ask for more, or for a smaller block_size"
            )
        for label in self.objectives:
            if not self._is_imported(label):  # else when the study runs
                self._check(label)

    def _is_imported(self, label: str) -> bool:
        return any(isinstance(one, components.Imported) for one in (self.objectives[label], self.domains[label]))

    def _check(self, label: str) -> None:
        try:
            self.surface(label), self.domain(label)
        except StudyError as error:
            raise ValueError(str(error)) from error

    # What it is

    @property
    def domains(self) -> dict[str, Any]:
        """The set or law of each objective."""
        return {label: Normal() for label in self.objectives} | dict(self.within)

    def surface(self, label: str) -> Surface:
        """Return a function with the derivatives that it has."""
        given = components.resolved(self.objectives[label])
        # The gradient of an indicator says nothing of its set.
        if isinstance(given, Indicator):
            return Surface(given.value)
        if callable(given) and not offers(given, "value"):
            return Surface(given)
        with named(f"objectives.{label}"):
            known = objectives.adapted(given)
        return Surface(known.value, known.gradient, known.hessian_product if known.has_hessian_product else None)

    def dim(self, label: str) -> int:
        """Return how many parameters an objective has: as many as it says, or the set that it is asked on."""
        given, within = (components.resolved(each) for each in (self.objectives[label], self.domains[label]))
        own = cast("int | None", said(given, "dim"))
        if is_law(within):
            if own is None:
                raise StudyError(
                    f"objectives.{label}: has no dim; give it one, or a set of so many parameters in within"
                )
            return int(own)
        with named(f"within.{label}"):
            there = sets.adapted(within).dim
        if own is not None and int(own) != there:
            raise StudyError(f"within.{label}: is a set of {there} parameters, and the objective has {own}")
        return there

    def domain(self, label: str) -> Domain:
        """Return where an objective's segments lie."""
        dim, within = self.dim(label), components.resolved(self.domains[label])
        if is_law(within):
            return Domain(dim, within.uniforms_per_set(dim), lambda uniforms: within.inputs_from(uniforms.T, dim).T)
        known = sets.adapted(within)
        with named(f"within.{label}"):
            return Domain(dim, known.uniforms_per_point, known.place, known.contains)

    @cached_property
    def _streams(self) -> dict[str, str]:
        """What the segments of each objective are keyed by: their domain alone."""
        written: dict[str, Any] = self.to_json()["within"]
        return {label: json.dumps([written[label], self.dim(label)], sort_keys=True) for label in self.objectives}

    def _sample(self, label: str, block: int, size: int) -> tuple[Sample, Callable[[Array], NDArray[np.bool_]]]:
        """Return an objective on one block of segments, and what tells which points are in its domain."""
        stream, domain = Stream(self.seed, self._streams[label], block), self.domain(label)
        with named(f"within.{label}"):
            segments = Segments.draw(domain, stream.generator(Purpose.SEGMENTS), size)
        start = stream.generator(Purpose.DIRECTIONS).standard_normal((domain.dim, size)).T
        return Sample.of(self.surface(label), segments, start), segments.reach(domain)

    # What the engine asks

    @property
    def block_work(self) -> int:
        """Units of work per block."""
        return -(-self.block_size // UNIT)

    def call_user_code(self) -> None:
        """Call every objective at points of its domain."""
        for label in self.objectives:
            try:
                self._check(label)
            except ValueError as error:
                raise StudyError(str(error)) from error
            with named(f"within.{label}"), told():
                points = self._points(label, REHEARSED)
                check_domain(self.domain(label), points)
            rehearsal.rehearse_function(self.surface(label), f"objectives.{label}", points)

    def check_derivatives(self) -> dict[str, xr.Dataset]:
        """Compare the derivatives of each objective that has some with its values, at points of its domain."""
        found = {}
        for label in self.objectives:
            surface = self.surface(label)
            if surface.gradient is not None:
                points = self._points(label, REHEARSED)
                inside = points[np.isfinite(surface.values(points))][:CHECKED]
                with named(f"objectives.{label}"):
                    given = components.resolved(self.objectives[label])
                    found[label] = check_derivatives(given, at=inside, seed=self.seed)
        return found

    def _points(self, label: str, count: int) -> Array:
        """Return a few points of an objective's domain."""
        generator = Stream(self.seed, self._streams[label], 0).generator(Purpose.INITIAL_POINT)
        return self.domain(label).draw(generator, count)

    def fingerprint_values(self) -> dict[str, list[float]]:
        """Return each objective's values at a few points of its domain."""
        found: dict[str, list[float]] = {}
        for label in self.objectives:
            with suppress(Exception):  # a user's code may raise anything: its cells will say so
                points = self._points(label, FINGERPRINT_POINTS)
                values = self.surface(label).values(points)
                found[label] = np.where(np.isfinite(values), values, 1e300).tolist()
        return found

    def changed_values(self, stored: Mapping[str, Sequence[float]]) -> str:
        """Say which objective has changed, though its name is the same."""
        mine = self.fingerprint_values()
        for label, numbers in stored.items():
            # Not to the last bit: mathematical functions differ between CPUs.
            if label in mine and not np.allclose(mine[label], numbers, rtol=1e-6, atol=1e-9):
                return f"objectives.{label}: its values are not those that the store was made with"
        return ""

    def groups(self, stored: Collection[tuple[str, str]] = ()) -> list[Group]:
        """Arrange the conditions that are not stored yet: a group for each objective."""
        groups = []
        for label in self.objectives:
            known = [name for name in self.surface(label).conditions if name in self.conditions]
            cells = tuple(name for name in known if (label, name) not in stored)
            if cells:
                groups.append(Group(label, cells, record_of(self.dim(label)).size))
        return groups

    def blocks_needed(self, summary: xr.DataTree | None = None) -> dict[str, int]:
        """Return how many blocks each objective needs; more where few segments have both ends in its domain."""
        least = self.segments or trials_for(self.resolution or 1.0)
        blocks = dict.fromkeys(self.objectives, max(MIN_BLOCKS, -(-least // self.block_size)))
        if summary is None or self.resolution is None:
            return blocks
        for label, tested in self._tested(summary).items():
            drawn = int(summary["block_count"].sel(objective=label).max())
            if 0 < tested < least:
                blocks[label] = -(-least * drawn // tested)
        return blocks

    def _tested(self, summary: xr.DataTree) -> dict[str, int]:
        counts = summary["segments"].max("condition")
        return {label: int(counts.sel(objective=label)) for label in self.objectives}

    def record_coordinates(self, group: Group) -> dict[str, NDArray[Any]]:
        """Return what a block says of a condition."""
        return record_of(self.dim(group.problem)).coordinates

    def headline(self, group: Group, records: Array) -> Array:
        """Return each block's share of violations."""
        parts = record_of(self.dim(group.problem)).unpack(records)
        with np.errstate(invalid="ignore"):
            share: Array = parts["violations"] / parts["tested"]
        return share

    def simulate(self, group: Group, block: int, work: int | None = None) -> BlockRecords:
        """Measure the conditions on one block of segments."""
        size = self.block_size if work is None else min(self.block_size, work * UNIT)
        record = record_of(self.dim(group.problem))
        drawn = cache(partial(self._sample, group.problem, block, size))

        def one(condition: str) -> Array:
            sample, inside = drawn()
            # The same shifts for each condition, whichever others there are.
            shifts = partial(Stream(self.seed, self._streams[group.problem], block).generator, Purpose.ESTIMATOR)
            return packed(record, Evidence.of(sample, condition, inside, shifts, self.search))

        return attempted(group, record.size, one)

    # What comes of it

    @cached_property
    def grid(self) -> ConvexityGrid:
        """What is made of the records."""
        dims = {label: self.dim(label) for label in self.objectives}
        known = {label: self.surface(label).conditions for label in self.objectives}
        return ConvexityGrid(dims, known, self.conditions, self.block_size)

    def layout(self) -> xr.DataTree:
        """Return the empty labelled summary."""
        return self.grid.layout()

    def summarise(self, source: BlockSource) -> xr.DataTree:
        """Turn blocks into rates with exact limits, bounds of curvature, witnesses and verdicts."""
        return self.grid.summarise(source)

    def unmet_goals(self, summary: xr.DataTree) -> list[str]:
        """Say where fewer segments than ``resolution`` takes have both ends in the domain."""
        if self.resolution is None:
            return []
        needed = trials_for(self.resolution)
        short = {label: tested for label, tested in self._tested(summary).items() if tested < needed}
        return [
            f"resolution not reached: {tested} segments of {label} have both ends in its domain, it takes {needed}"
            for label, tested in short.items()
        ]
