"""Laws of labels: how y comes about at x, given the target's value there."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import TargetError
from biasvar.montecarlo.draws import Block

Array = NDArray[np.float64]


class Labels(ABC):
    """How labels are drawn, and what the target and the noise level are called."""

    #: What the target and the noise level are, and their units.
    target: ClassVar[tuple[str, str]]
    noise: ClassVar[tuple[str, str]]
    #: Whether predictions are scores, which may be infinitely sure of a class.
    scores: ClassVar[bool] = False

    @abstractmethod
    def draw(self, f: Array, noise: float, block: Block) -> Array:
        """Return labels (n, K) of a block's training sets, where the target is f (n, K)."""

    def check(self, target: object, x: Array, f: Array) -> None:  # noqa: B027
        """Refuse values of the target that make no law of labels; the default refuses none.

        Raises
        ------
        TargetError
            Saying where.
        """


class AdditiveNoise(Labels):
    """y = f(x) + noise e, with a standard normal e."""

    target = "target f at x", "y"
    noise = "std of the label noise", "y"

    def draw(self, f: Array, noise: float, block: Block) -> Array:
        """Return f plus scaled normals, which are the same at all noise levels."""
        return f + noise * block.normals(len(f)) if noise else f


class TwoClasses(Labels):
    """y is +1 with probability f(x), else -1, and flipped with probability ``noise``.

    Examples
    --------
    >>> TwoClasses.flipped(np.array([0.0, 0.5, 1.0]), 0.25).tolist()
    [0.25, 0.5, 0.75]
    """

    target = "probability of y = +1 at x, without flips", "1"
    noise = "probability that a label is flipped", "1"
    scores = True

    @staticmethod
    def flipped(f: Array, noise: float) -> Array:
        """Return the probability of y = +1, flips included."""
        return noise + (1 - 2 * noise) * f if noise else f

    def draw(self, f: Array, noise: float, block: Block) -> Array:
        """Compare each probability with a uniform, which is the same at all noise levels."""
        return np.where(block.label_uniforms(len(f)) < self.flipped(f, noise), 1.0, -1.0)

    def check(self, target: object, x: Array, f: Array) -> None:
        """Refuse what is not a probability."""
        wrong = (f < 0) | (f > 1)
        if wrong.any():
            raise TargetError(
                f"target: {target!r} is {f[wrong][0]:.6g} at x={x[wrong][0]}, expected P(y = +1 | x), between 0 and 1"
            )
