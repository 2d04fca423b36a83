"""What studies of random training sets from a law have in common: replicates in blocks, sizes, precision."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field

from biasvar.fields import NonNegativeReal, PositiveInt, PositiveReal, one_or_more
from biasvar.learning import inputs
from biasvar.learning.decomposition import Problem
from biasvar.learning.inputs import Inputs
from biasvar.montecarlo.draws import MAX_DIMENSION, Block, Sampler, Stream
from biasvar.studies import components, repeats, sizes
from biasvar.studies.base import Group, Summary, problem_name
from biasvar.studies.marks import AtLeast, AtMost, Axis, Component, Fixed
from biasvar.studies.study import Study

S = TypeVar("S", bound=Summary)

FINGERPRINT_POINTS = 32


class DrawnStudy(Study[S], Generic[S]):
    """A study of what is learnt from many random training sets that a law gives.

    A kind of study adds what learns, and the law of labels.
    """

    instead_of: ClassVar[Mapping[str, tuple[str, ...]]] = repeats.INSTEAD_OF

    #: How many replicates there are unless it is said.
    default_replicates: ClassVar[int] = 2**17

    target: Annotated[Any, Component(components.TARGETS)]
    inputs: Annotated[Any, Component(components.INPUTS)]
    n_train: Annotated[tuple[PositiveInt, ...], BeforeValidator(one_or_more), Field(min_length=1), Axis()]
    noise: Annotated[tuple[NonNegativeReal, ...], BeforeValidator(one_or_more), Field(min_length=1), Axis()] = (0.0,)
    replicates: Annotated[PositiveInt | None, AtLeast()] = None
    block_size: Annotated[PositiveInt, Fixed()] = 2**12
    sampler: Annotated[Sampler, Fixed()] = "sobol"
    precision: Annotated[dict[str, PositiveReal] | None, AtMost()] = None
    max_replicates: Annotated[PositiveInt | None, AtLeast()] = None
    test_points: Annotated[PositiveInt | None, Fixed()] = None

    def _completed(self, fields: Mapping[str, object]) -> Mapping[str, Any]:
        return repeats.completed(fields, self.default_replicates)

    def _fit_together(self) -> None:
        self._check_components()
        for axis in ("n_train", "noise"):
            values = getattr(self, axis)
            if len(set(values)) < len(values):
                raise ValueError(f"{axis}: {list(values)} has a value twice; list each once")
        dimension = max(self.law.uniforms_per_set(n) + n for n in self.n_train)
        if self.sampler == "sobol" and dimension > MAX_DIMENSION:
            raise ValueError(
                f"sampler: 'sobol' reaches {MAX_DIMENSION} dimensions, n_train={max(self.n_train)} needs {dimension}; "
                "use sampler='random'"
            )
        self._check_sizes()
        # It may ask for test points, of which there may be too many.
        self._check_replicates()
        self._check_labels()

    @abstractmethod
    def _check_labels(self) -> None:
        """Refuse, with a ValueError, noise levels or a target that make no law of labels."""

    @abstractmethod
    def _problem(self) -> Problem:
        """Return the law of data with its test points."""

    @abstractmethod
    def _precise(self) -> Collection[str]:
        """Return the variables whose standard errors may be asked for."""

    def _check_components(self) -> None:
        _ = self.law

    def _check_sizes(self) -> None:
        largest = max(self.n_train)
        sizes.check_draws(self.block_size, largest, max(self.law.uniforms_per_set(largest), largest))
        if self.test_points is not None:
            sizes.check_test_points(self.test_points, self.law.dim)

    def _check_replicates(self) -> None:
        if self.sampler == "sobol" and self.block_size & (self.block_size - 1):
            lower = 1 << (self.block_size.bit_length() - 1)
            raise ValueError(
                f"block_size: {self.block_size} is not a power of two, which sampler 'sobol' needs; "
                f"use {lower} or {2 * lower}, or sampler='random'"
            )
        repeats.check(self, self._precise)

    # What it is

    @cached_property
    def law(self) -> Inputs:
        """The law of inputs, imported and adapted."""
        return inputs.adapted(components.resolved(self.inputs), "inputs")

    @cached_property
    def problem(self) -> Problem:
        """The law of data with its test points."""
        return self._problem()

    # What the engine asks

    def fingerprint_values(self) -> list[float]:
        """Return some test points, and the target there."""
        some = np.linspace(0, len(self.problem.f) - 1, FINGERPRINT_POINTS).astype(int)
        x = self.problem.test.x[some].reshape(FINGERPRINT_POINTS, -1)
        return [float(len(self.problem.f)), *x[:, 0].tolist(), *self.problem.f[some].tolist()]

    def changed_values(self, stored: Sequence[float]) -> str:
        """Say whether the target or the test points have changed."""
        mine = self.fingerprint_values()
        # Not to the last bit: mathematical functions differ between CPUs.
        if len(mine) == len(stored) and np.allclose(mine, stored, rtol=1e-6, atol=1e-9):
            return ""
        points = len(mine) // 2 + 1
        what = "the target's values" if np.allclose(mine[:points], stored[:points]) else "the test points"
        return f"{what} are not those that the store was made with"

    @property
    def open_goal(self) -> str:
        """``precision``, if it is given."""
        return "" if self.precision is None else "precision"

    def blocks_needed(self, summary: S | None = None) -> dict[str, int]:
        """Return how many blocks each training-set size needs: doubled where ``precision`` is not reached yet."""
        return repeats.blocks_needed(self, summary)

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Training-set sizes by problem."""
        return {problem_name(n): n for n in self.n_train}

    def _draws(self, group: Group, block: int, size: int) -> Block:
        """Return one block's random numbers, the same for all groups of a problem."""
        return self.draws(self._sizes[group.problem], block, size)

    def draws(self, n_train: int, block: int, size: int) -> Block:
        """Return the random numbers of one block of training sets."""
        stream = Stream(self.seed, f"n_train={n_train}", block)
        return Block(self.sampler, stream, self.law.uniforms_per_set(n_train), size, self.law.exchangeable)

    def unmet_goals(self, summary: S) -> list[str]:
        """Say which standard errors are above what ``precision`` asks for."""
        return repeats.unmet_goals(self, summary)
