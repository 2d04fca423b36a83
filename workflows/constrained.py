"""A portfolio: shares of a whole that vary least, by rules projected in their own norm, and by some that are not.

Shares are on the simplex: none is negative, and their sum is one. The usual recipe is to update, then to take the
nearest point by Euclidean distance. It is right for plain descent; the steps of adaptive rules are in another norm.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import biasvar as bv
from biasvar.views import figures
from biasvar.views.plot.optimizers import STYLES

DEVIATIONS = np.array([1.0, 1.5, 2.0, 4.0, 7.0, 10.0])  # of what six papers earn, in percent
CORRELATION = 0.3
OBJECTIVES = {
    "ravine": bv.Quadratic(eigenvalues=[1, 100]),
    "portfolio": bv.Quadratic(
        matrix=np.outer(DEVIATIONS, DEVIATIONS) * (CORRELATION + (1 - CORRELATION) * np.eye(len(DEVIATIONS)))
    ),
}
PLAIN, ADAPTIVE = bv.logspace(1e-4, 1e-1, 10), bv.logspace(1e-3, 1, 10)
RULES = {
    "sgd": bv.SGD(PLAIN),
    "momentum": bv.Momentum(PLAIN),
    "nesterov": bv.Nesterov(PLAIN),
    "adagrad": bv.AdaGrad(ADAPTIVE),
    "rmsprop": bv.RMSProp(ADAPTIVE),
    "adam": bv.Adam(ADAPTIVE),
}
NORMED = ("adagrad", "rmsprop", "adam")
LESSON = """
What to see
- The gap, the greatest <grad J, theta - s> over all portfolios s, bounds how far J is above the least, by the
  first-order condition of convexity: no minimum need be known. It ends below {gap:.0e} for all rules in their norm.
- From equal shares, the first step of AdaGrad, RMSProp and Adam is as long for every share. Projected by Euclidean
  distance it is undone: on the ravine they stay at J = {stuck:.4g}, {above:.4g} above the least, at every rate.
- The table of the study says so: a rule without metric may settle away from the minimum."""


class WithoutNorm:
    """An update rule that does not say in which norm its steps are: it is projected by Euclidean distance."""

    def __init__(self, rule: bv.UpdateRule) -> None:
        self.rule = rule

    @property
    def hyperparameters(self) -> Mapping[str, Sequence[float]]:
        """Return the grid of the rule."""
        return self.rule.hyperparameters

    def init(self, theta: np.ndarray) -> Any:
        """Return the state that the rule begins with."""
        return self.rule.init(theta)

    def update(self, theta: np.ndarray, gradient: np.ndarray, state: Any, step: int, **hyper: np.ndarray) -> Any:
        """Take the step of the rule."""
        return self.rule.update(theta, gradient, state, step, **hyper)


def study(steps: int) -> bv.OptimizerStudy:
    """Return descents of both objectives from equal shares, with and without the norms of the rules."""
    sizes = {label: objective.dim for label, objective in OBJECTIVES.items()}
    return bv.OptimizerStudy(
        name="constrained",
        objectives=OBJECTIVES,
        constraints={label: bv.Simplex(dim) for label, dim in sizes.items()},
        optimizers=RULES | {f"{label}-no-norm": WithoutNorm(RULES[label]) for label in NORMED},
        initial={label: np.full(dim, 1 / dim) for label, dim in sizes.items()},
        steps=steps,
        replicates=1,
        record=["objective", "gap", "parameters"],
    )


def best(tree: xr.DataTree, label: str) -> dict[str, xr.Dataset]:
    """Return the best configuration of each rule on an objective, along its descent."""
    found = bv.best_configurations(tree)
    return {rule: tree[f"{label}/{rule}"].to_dataset().sel(found[f"{label}/{rule}"]).load() for rule in tree[label]}


def table(cells: Mapping[str, xr.Dataset]) -> str:
    """Lay out J and its gap after the last step of the best learning rate of each rule, and the shares."""
    lines = [f"{'optimizer':18}{'rate':>9}{'J':>13}{'gap':>10}  shares"]
    for rule, cell in cells.items():
        last = cell.isel(step=-1)
        shares = " ".join(f"{share:.3f}" for share in last.parameters.values[0])
        lines.append(
            f"{rule:18}{float(last.learning_rate):9.3g}{float(last.objective):13.9f}{float(last.gap):10.1e}  {shares}"
        )
    return "\n".join(lines)


def draw(cells: Mapping[str, Mapping[str, xr.Dataset]]) -> Figure:
    """Draw the gap along the best descent of each rule on both objectives; rules without their norm are dashed."""
    panels: dict[str, dict[str, xr.DataArray]] = {}
    for label, found in cells.items():
        for rule, cell in found.items():
            own, _, without = rule.partition("-")
            color, mark = STYLES[own]
            dashed = {"linestyle": "--", "linewidth": 3} if without else {}
            gap = cell.gap.clip(min=np.finfo(float).eps).assign_attrs(color=color, marker=mark, **dashed)
            panels.setdefault(f"gap on the {label}, at least J - J*", {})[rule] = gap
    title = "Projected by Euclidean distance, adaptive rules stop away from the minimum; in their own norm, at it"
    return bv.plot.curves(panels, title=title)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study, print its tables and save its figure."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split()))
    parser.add_argument("--store", default="constrained.zarr", help="Zarr store to fill [%(default)s]")
    parser.add_argument("--figure", default="figures/constrained.png", help="picture to save [%(default)s]")
    parser.add_argument("--steps", type=int, default=2000, help="steps of descent [%(default)s]")
    args = parser.parse_args(argv)

    tree = bv.run(study(args.steps), args.store)
    cells = {label: best(tree, label) for label in OBJECTIVES}
    for label, found in cells.items():
        print(label, table(found), "", sep="\n")
    print(tree["ravine"].attrs["notes"])
    stuck = float(tree["ravine/adam-no-norm"].objective[..., -1].min())
    ends = [float(found[rule].gap[-1]) for found in cells.values() for rule in RULES]
    most = 10.0 ** np.ceil(np.log10(max(ends)))
    print(LESSON.format(gap=most, stuck=stuck, above=stuck - float(cells["ravine"]["sgd"].objective[-1])))
    print("figure:", figures.save(draw(cells), args.figure))


if __name__ == "__main__":
    main()
