"""A kind of study of one's own: the largest of n uniforms, whose mean is n / (n + 1)."""

from typing import Annotated

import numpy as np

import biasvar as bv


class Maximum(bv.AverageStudy):
    """Ask how large the largest of n uniforms is, and how often it exceeds a bound."""

    kind = "maximum:Maximum"
    numbers = (bv.Number("maximum", "largest of n uniforms"), bv.Number("above", "share above the bound"))

    n: Annotated[tuple[int, ...], bv.Axis()]
    bound: Annotated[float, bv.Fixed()] = 0.9

    def replicate(self, generator, size, n):
        largest = generator.random((size, n)).max(axis=1)
        return np.column_stack([largest, largest > self.bound])


if __name__ == "__main__":
    import sys

    study = Maximum(name="maximum", n=(1, 2, 5), replicates=2**18, block_size=2**10)
    bv.run(study, sys.argv[1], scheduler="threads", blocks_per_chunk=4, progress=False)
