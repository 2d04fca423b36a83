"""The tradeoff of large scale learning: what to do with a budget of gradients.

Three pictures: the best training-set size for each budget, on all examples and one at a time; the three errors against
the budget; and the path of stopped descent beside that of ridge regression.

L. Bottou and O. Bousquet, The tradeoffs of large scale learning, 2008. A. Ali, J. Z. Kolter, R. J. Tibshirani, A
continuous-time view of early stopping for least squares, 2019.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import biasvar as bv
from biasvar.views import figures, tables

EXAMPLES, RATE = 20, 0.1
LESSON = """
What to see
- Descent on all examples: for each budget there is a best number of examples. With fewer the estimation error is large,
  with more there is no budget left to come down: the best n grows with the budget.
- One example at a time: more examples never cost more than they bring. That is the paper in one figure.
- On few examples a descent that is stopped errs less than the minimum it heads for: the third error is negative.
- Stopped descent walks nearly the path of ridge regression, with 1 / (rate x steps) in the place of the penalty."""


class Ridge:
    """Ridge regression on the features that ``Polynomial(3)`` has, Legendre's: the intercept is penalised, too."""

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty

    def weights(self, x: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Return phi(at) (phi' phi / n + penalty)^-1 phi' / n for each training set."""
        phi, there = (np.polynomial.legendre.legvander(points, 3) * np.sqrt([1, 3, 5, 7]) for points in (x, at))
        transposed = np.swapaxes(phi, 1, 2) / x.shape[1]
        return there @ np.linalg.solve(transposed @ phi + self.penalty * np.eye(4), transposed)


def paths_study(replicates: int) -> bv.RiskStudy:
    """State the study of two paths from nothing to least squares: stopped descents, and ridge regressions."""
    cubic, rule, counts = bv.Polynomial(3), bv.SGD(RATE), (1, 2, 3, 5, 10, 15, 20, 30, 50, 100, 1000)
    steps = {f"descent {count}": bv.Descended(cubic, rule, steps=count) for count in counts}
    ridges = {f"ridge {count}": Ridge(1 / (RATE * count)) for count in counts}
    return bv.RiskStudy(
        name="paths",
        target=bv.Sine(),
        inputs=bv.Uniform(-1, 1),
        hypotheses=steps | ridges,
        n_train=[EXAMPLES],
        noise=[0.5],
        replicates=replicates,
        block_size=64,
    )


def draw_paths(summary: xr.Dataset) -> Figure:
    """Draw squared bias against variance along both paths."""
    figure, axes = figures.new_panels(1, 1)
    figure.set_size_inches(7, 5)
    panel, cells = axes[0, 0], summary.isel(n_train=0, noise=0)
    for family, color, marker in (("ridge", figures.BLACK, "s"), ("descent", figures.VERMILION, "o")):
        path = cells.sel(hypothesis=[label for label in cells.hypothesis.values if label.startswith(family)])
        panel.plot(path.variance, path.bias2, color=color, marker=marker, label=family)
    for label, x, y in zip(path.hypothesis.values, path.variance.values, path.bias2.values, strict=True):
        count = label.split()[1]
        if count[0] == "1":  # the others lie between
            panel.annotate(count, (x, y), (6, 4), textcoords="offset points", fontsize="small")
    panel.set(xscale="log", yscale="log", xlabel="variance (y²)", ylabel="bias² (y²)")
    panel.legend(frameon=False)
    figure.suptitle("Stopped descent walks nearly the path of ridge regression", fontweight="bold")
    about = f"{EXAMPLES} examples; numbers: steps of descent; the penalty beside them is 1 / ({RATE} x steps)"
    figure.supxlabel(about, **figures.SMALL)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Run both studies, print their tables and save three figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", type=Path, default=Path("scale.zarr"), help="Zarr store to fill [%(default)s]")
    parser.add_argument("--figure", type=Path, default=Path("figures/scale.png"), help="picture [%(default)s]")
    parser.add_argument("--replicates", type=int, default=2**11, help="training sets per cell [%(default)s]")
    args = parser.parse_args(argv)

    changes = [f"replicates={args.replicates}", f"block_size={args.replicates // 16}"]
    tree = bv.run(bv.load("tradeoff-of-scale", changes), args.store)
    print(tables.results(tree))
    paths = bv.run(paths_study(4 * args.replicates), args.store.with_name("paths.zarr"))
    print("", tables.cell_table(paths, ["bias2", "variance", "expected_risk"]), LESSON, sep="\n")

    print("figure:", figures.save(bv.plot.budget_curves(tree), args.figure))
    errors = bv.plot.three_errors(tree, n_train=EXAMPLES, batch_size=0)
    print("figure:", figures.save(errors, args.figure.with_name("three-errors.png")))
    print("figure:", figures.save(draw_paths(paths), args.figure.with_name("paths.png")))


if __name__ == "__main__":
    main()
