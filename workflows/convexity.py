"""Convex or not: chords and tangents, curvature, and the plane where Rosenbrock's valley bends down.

A function is convex if and only if its gradient's tangents lie below it (the first-order characterisation). Both proofs
are at work here: whichever condition is violated, it ends in one chord that lies below the function, by values alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import biasvar as bv
from biasvar.views import figures, tables

LESSON = """
What to see
- Random segments find nothing wrong with Rosenbrock's valley in 20 dimensions, where its Hessian is indefinite at 94 %
  of points: ask for eigenvalues where there are many parameters.
- The half-norm is no norm, and not convex. The 1-norm is convex: it bends at kinks alone, elsewhere there are ties.
- mu and L are bounds: gradient descent on the quadratic needs a learning rate below 2 / L = 0.02.
- "no violation" is a limit of what is left, not a proof: a dent that is small enough is seen by no sample."""


class Annulus:
    """What lies between two circles: not convex, though each circle is round."""

    dim = 2

    def contains(self, theta: np.ndarray) -> np.ndarray:
        """Return whether points are between them."""
        return np.abs((theta**2).sum(axis=-1) - 1.25) < 0.75


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study, print its verdicts and save three figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", default="convexity.zarr", help="Zarr store to fill [%(default)s]")
    parser.add_argument("--figure", default="figures/convexity.png", help="picture to save [%(default)s]")
    parser.add_argument("--segments", type=int, help="segments per objective [those of the bundled study]")
    args = parser.parse_args(argv)

    bundled = bv.load("convexity", [f"segments={args.segments}", "block_size=256"] if args.segments else [])
    study = bundled.replace(
        objectives={**bundled.objectives, "annulus": bv.Indicator(Annulus())},
        within={**bundled.within, "annulus": bv.Box(-1.5, 1.5, dim=2)},
    )
    tree = bv.run(study, args.store)
    print(tables.results(tree), LESSON, sep="\n")
    path = Path(args.figure)
    some = ["quadratic", "log-sum-exp", "rosenbrock", "norm-half", "network"]
    figures.save(bv.plot.witness(tree, objectives=some), path)
    spread = bv.plot.curvature(tree, objectives=["quadratic", "logistic", "rosenbrock", "rosenbrock-20"])
    figures.save(spread, path.with_name(f"{path.stem}_curvature{path.suffix}"))
    plane = bv.plot.plane(tree, objectives=["quadratic", "rosenbrock", "annulus"])
    figures.save(plane, path.with_name(f"{path.stem}_plane{path.suffix}"))


if __name__ == "__main__":
    main()
