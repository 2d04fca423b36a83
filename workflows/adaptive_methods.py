"""AdaGrad never forgets a gradient, and stalls; RMSProp and Adam forget, and go on.

The learning rate of each has the least median objective of half of the random starts; the other half judge it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

import biasvar as bv
from biasvar.views import figures

SHOWN = (0, 10, 100, 800, 2000)
LESSON = """
What to see
- The walls of the valley have gradients of thousands, its floor of less than one. AdaGrad divides by the root of the
  sum of all squares: given a rate as long as the way to go it is quick on the walls, but the effective rate of
  each coordinate can only fall, and it creeps along the floor.
- RMSProp and Adam divide by running means: on the floor their effective rates rise, RMSProp's a thousandfold. They come
  down the walls more slowly, in steps about as long as the learning rate, and end below AdaGrad: RMSProp from
  {rmsprop} starts, Adam from {adam}.
- RMSProp's steps stay as long as its learning rate, so that it ends at a floor of its own; Adam's momentum averages
  the last jitter out."""


def measure(study: bv.OptimizerStudy, node: xr.Dataset) -> xr.Dataset:
    """Return objective and effective rate of the best learning rate, over the replicates that did not choose it."""
    objective = study.objectives["rosenbrock"]
    paths = node.parameters.squeeze([n for n in node.hyperparameter.values if n != "learning_rate"], drop=True)
    paths = paths.transpose("learning_rate", "replicate", "step", "parameter")
    with np.errstate(over="ignore", invalid="ignore"):  # infinite where diverged
        values = np.nan_to_num(objective.value(paths.values), nan=np.inf)
    best = int(np.median(values[:, ::2, -1], axis=1).argmin())
    path, steps = paths.isel(learning_rate=best).values[1::2], node.step.values
    pairs = np.flatnonzero(np.diff(steps) == 1)
    moves = np.linalg.norm(path[:, pairs + 1] - path[:, pairs], axis=-1)
    slopes = np.linalg.norm(objective.gradient(path[:, pairs]), axis=-1)
    return xr.Dataset(
        {"objective": (("replicate", "step"), values[best, 1::2]), "rate": (("replicate", "pair"), moves / slopes)},
        {"step": steps, "pair": steps[pairs + 1], "learning_rate": float(paths.learning_rate[best])},
    )


def table(measured: dict[str, xr.Dataset]) -> str:
    """Lay out median objectives along the descent, the quartiles of the last, and starts that end below AdaGrad."""
    heading = f"{'optimizer':10}{'learning rate':>14}" + "".join(f"{f'step {step}':>12}" for step in SHOWN)
    lines = [f"{'':24}median objective J after", heading + f"{'quartiles':>22}{'below AdaGrad':>15}"]
    for label, found in measured.items():
        medians = "".join(
            f"{value:12.2g}" for value in found.objective.sel(step=list(SHOWN)).median("replicate").values
        )
        low, high = np.quantile(found.objective.isel(step=-1), (0.25, 0.75))
        lines.append(
            f"{label:10}{float(found.learning_rate):14.3g}{medians}{f'{low:.1g} to {high:.1g}':>22}"
            f"{below_adagrad(measured, label) if label != 'adagrad' else '-':>15}"
        )
    return "\n".join(lines)


def below_adagrad(measured: dict[str, xr.Dataset], label: str) -> str:
    """Write from how many of the starts a rule ends below AdaGrad."""
    below = measured[label].objective.isel(step=-1) < measured["adagrad"].objective.isel(step=-1)
    return f"{int(below.sum())} of {below.size}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study, print its table and save its figures."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split()))
    parser.add_argument("--store", default="adaptive-methods.zarr", help="Zarr store to fill [%(default)s]")
    parser.add_argument("--figure", default="figures/adaptive-methods.png", help="picture to save [%(default)s]")
    parser.add_argument("--replicates", type=int, default=64, help="random starts [%(default)s]")
    args = parser.parse_args(argv)

    study = bv.load("adaptive-methods", [f"replicates={args.replicates}"])
    tree = bv.run(study, args.store)
    nodes = {label: tree[f"rosenbrock/{label}"].to_dataset().load() for label in study.optimizers}
    measured = {label: measure(study, node) for label, node in nodes.items()}
    print(table(measured))
    print(LESSON.format(**{label: below_adagrad(measured, label) for label in measured}))

    panels = {
        "objective J": {label: found.objective for label, found in measured.items()},
        "effective rate, |step| / |gradient|": {
            label: found.rate.rename(pair="step") for label, found in measured.items()
        },
    }
    print("figure:", figures.save(bv.plot.curves(panels), args.figure))
    paths = bv.plot.paths(tree, at={label: {"learning_rate": float(m.learning_rate)} for label, m in measured.items()})
    print("figure:", figures.save(paths, Path(args.figure).with_name("adaptive-paths.png")))


if __name__ == "__main__":
    main()
