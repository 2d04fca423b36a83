"""A ravine, a hundred times as steep across as along: plain descent jitters, momentum and adaptive steps need not.

Jitter is the share of steps, of the first forty on the way to the target, at which the steep coordinate changes sign.
Half of the random starts choose a configuration, the other half judge it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

import biasvar as bv
from biasvar.notation import with_error
from biasvar.views import figures

LOOKS = [*range(41), *range(50, 200, 10), *range(200, 600, 25), *range(600, 1501, 150)]  # each step to begin with
TARGET = 1e-9
LESSON = """
What to see
- Plain descent is quick along the ravine only if it crosses at every step: at its best rate, a share of {sgd[0]} of its
  steps change sides. Below a rate of 1/100 it stays on one side, and takes twice as long.
  Above 2 / L = {limit:g}, which the curvature at the minimiser says, it leaves; it is quickest at {quickest:.4g}.
- Momentum averages out what changes sign. In plain descent's time it gets by with a share of {momentum[1]}; the
  quickest pays with {momentum[0]}. Nesterov's, at a rate of 1/100, lands on the floor at once and stays: {nesterov[1]}.
- Adaptive rules scale each coordinate by its own gradients: to them the ravine, lying along the axes, is round. Given a
  rate as long as the way to go, AdaGrad and RMSProp arrive in a few leaps from side to side."""


@dataclass(frozen=True)
class Cells:
    """All configurations of an update rule, in one row."""

    data: xr.Dataset  # jitter, steps: (configuration, replicate)

    @classmethod
    def of(cls, node: xr.Dataset) -> "Cells":
        """Measure jitter on the way to the target."""
        steep, step = node.parameters.isel(parameter=1), node.step.values
        steps = node.steps_to_target.isel(target=0)
        after, before = steep.isel(step=slice(1, None)), steep.isel(step=slice(0, -1)).values
        counted = (after.step <= steps) & xr.DataArray(np.diff(step) == 1, dims="step")
        jitter = (np.sign(after) * np.sign(before) < 0).where(counted).mean("step")
        data = node[["parameters"]].assign(jitter=jitter, steps=steps)
        return cls(data.stack(configuration=list(node.hyperparameter.values)))

    @property
    def choosers(self) -> xr.Dataset:
        """What the replicates that choose know of each configuration."""
        data = self.data[["jitter", "steps"]].isel(replicate=slice(0, None, 2))
        return xr.Dataset({"jitter": data.jitter.mean("replicate"), "steps": data.steps.median("replicate")})

    def fastest(self) -> int:
        """Choose the configuration that is first at the target."""
        return int(self.choosers.steps.argmin("configuration"))

    def calmest(self, steps: float) -> int:
        """Choose, of those at the target after so many steps, the one with the least jitter, then the fastest."""
        known = self.choosers
        rank = np.lexsort((known.steps.values, known.jitter.values, known.steps.values > steps))
        return int(rank[0])

    def row(self, label: str, choice: int) -> tuple[str, str, str, str]:
        """Write a configuration with the steps and the jitter of the replicates that had no say in its choice."""
        judged = self.data.isel(configuration=choice, replicate=slice(1, None, 2))
        error = judged.jitter.std("replicate", ddof=1) / np.sqrt(judged.sizes["replicate"])
        jitter = with_error(round(float(judged.jitter.mean("replicate")), 3), float(error))
        return label, self.settings(choice), f"{float(judged.steps.median('replicate')):g}", jitter

    def settings(self, choice: int) -> str:
        """Write the hyperparameters of a configuration that differ over the grid."""
        index = self.data.indexes["configuration"]
        names = [name for name in index.names if len(index.unique(name)) > 1]
        return ", ".join(f"{name.replace('_', ' ')} {self.data[name].values[choice]:.3g}" for name in names)

    def labels(self, choice: int) -> dict[str, float]:
        """Return the hyperparameters of a configuration."""
        index = self.data.indexes["configuration"]
        return {str(name): float(self.data[name].values[choice]) for name in index.names}


def table(rows: dict[str, tuple[str, str, str, str]]) -> str:
    """Lay out configurations with steps and jitter."""
    lines = [("optimizer", "configuration", "median steps", "jitter"), *rows.values()]
    return "\n".join(f"{label:10}{what:36}{steps:>16}{jitter:>14}" for label, what, steps, jitter in lines)


def shows_both(cells: Cells) -> int:
    """Return a start that is as far along the ravine as it can be, and about a fifth of that up its wall."""
    start = np.abs(cells.data.parameters.isel(step=0, configuration=0))
    shallow, steep = (start.isel(parameter=i).values for i in (0, 1))
    return int(np.argmax(shallow - np.abs(5 * steep - shallow)))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study, print its tables and save its figures."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split()))
    parser.add_argument("--store", default="ravine.zarr", help="Zarr store to fill [%(default)s]")
    parser.add_argument("--figure", default="figures/ravine.png", help="picture to save [%(default)s]")
    parser.add_argument("--replicates", type=int, default=24, help="random starts [%(default)s]")
    args = parser.parse_args(argv)

    looks = [f"steps={LOOKS[-1]}", f"record_steps={LOOKS}", "record=[objective, parameters]"]
    study = bv.load("ravine", [f"replicates={args.replicates}", *looks, f"targets.ravine=[{TARGET}]"])
    tree = bv.run(study, args.store)
    cells = {label: Cells.of(tree[f"ravine/{label}"].to_dataset().load()) for label in study.optimizers}

    fastest = {label: each.row(label, each.fastest()) for label, each in cells.items()}
    limit = float(cells["sgd"].choosers.steps.min())
    chosen = {label: each.calmest(limit) for label, each in cells.items()}
    calmest = {label: each.row(label, chosen[label]) for label, each in cells.items()}
    print(f"fastest configurations to J = {TARGET:.0e}", table(fastest), "", sep="\n")
    print(f"calmest of those that are as quick as plain descent's, {limit:g} steps", table(calmest), sep="\n")
    known = tree["ravine"].to_dataset()
    bounds = {"limit": float(known.learning_rate_limit), "quickest": float(known.quickest_learning_rate)}
    print(LESSON.format(**{label: (fastest[label][-1], calmest[label][-1]) for label in cells}, **bounds))

    path = Path(args.figure)
    at = {label: each.labels(chosen[label]) for label, each in cells.items()}
    calm = "Plain descent crosses the ravine at every step; in as many, momentum and adaptive steps need not"
    paths = bv.plot.paths(tree, at=at, replicate=shows_both(cells["sgd"]), title=calm)
    print("figure:", figures.save(paths, path))
    print("figure:", figures.save(bv.plot.curves(tree), path.with_name(f"{path.stem}-curves{path.suffix}")))
    print("figure:", figures.save(bv.plot.learning_rates(tree), path.with_name(f"{path.stem}-rates{path.suffix}")))


if __name__ == "__main__":
    main()
