"""How large a study may be: what cannot fit is refused before anything is allocated."""

from collections.abc import Sequence

import numpy as np

from biasvar.learning.decomposition import Problem
from biasvar.learning.fits import Coefficients

#: Of a block's draws, which are all in memory at once, a few times over.
DRAW_BYTES = 1 << 32
#: Of the matrices of a least-squares set.
MODEL_BYTES = 1 << 32
#: Of one block's records in a store: no codec takes more in a chunk.
RECORD_BYTES = (1 << 31) - 1
#: Of all records of a study.
STUDY_BYTES = 1 << 50
#: Of a quadrature rule: what a rule costs grows with their square.
NODES = 1 << 14
#: Of y: its fourth power times the square of a noise gain must be a number.
LARGEST = 1e70


def check_test_points(count: int, dim: int) -> None:
    """Refuse test points that take too long to find, or whose averages no store holds.

    Raises
    ------
    ValueError
        Naming the field, and what would do.
    """
    if dim == 1 and count > NODES:
        raise ValueError(
            f"test_points: expected at most {NODES} quadrature nodes, got {count}; give breakpoints instead"
        )
    each = 3 * 8 * count
    if each > RECORD_BYTES:
        raise ValueError(
            f"test_points: {count} take {in_words(each)} for each block and hypothesis set, and a store holds "
            f"{in_words(RECORD_BYTES)} at most; use fewer"
        )


def check_draws(block_size: int, n_train: int, dimension: int) -> None:
    """Refuse blocks whose draws are too many: ``dimension`` numbers per replicate."""
    if (size := 8 * dimension * block_size) > DRAW_BYTES:
        raise ValueError(
            f"block_size: {block_size} replicates with n_train={n_train} draw {in_words(size)} at once, at most "
            f"{in_words(DRAW_BYTES)} are possible; use a smaller block_size or n_train"
        )


def check_magnitudes(noise: Sequence[float], problem: Problem) -> None:
    """Refuse labels so large that standard errors of squared losses overflow."""
    for what, size in (("noise", max(noise)), ("target", float(np.abs(problem.f).max()))):
        if size > LARGEST:
            raise ValueError(
                f"{what}: reaches {size:.3g}, and standard errors of risks are kept in fourth powers of y, which "
                f"overflow above {LARGEST:g}; state y in larger units"
            )


def check_model(where: str, fit: object, points: int) -> None:
    """Refuse least-squares sets that have too many coefficients."""
    if not isinstance(fit, Coefficients):
        return
    p = fit.model.size
    if (size := 8 * p * max(p, points)) > MODEL_BYTES:
        raise ValueError(
            f"{where}: {p} coefficients take {in_words(size)} in one matrix, at most {in_words(MODEL_BYTES)} are "
            "possible; use a lower degree"
        )


def in_words(size: float) -> str:
    """Say how many bytes that is.

    Examples
    --------
    >>> in_words(2**32)
    '4.29 GB'
    """
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} EB"
