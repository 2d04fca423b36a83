"""The edge of stability: gradient descent on a network goes to where its steps are just not too long.

On a quadratic, steps of a learning rate above 2 / L diverge; L, the sharpness, is the greatest eigenvalue of the
Hessian. On a network it grows until it is about 2 / learning rate, and stays there.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import xarray as xr

import biasvar as bv
from biasvar.views import figures

RATES = (0.1, 0.2, 0.4, 0.8)
LOOKS = sorted({*np.geomspace(1, 4000, 40).round().astype(int).tolist(), 100, 300, 1000, 2000})
SHOWN = (100, 300, 1000, 2000, 4000)
LESSON = """
What to see
- At the largest rate, {largest:g}, sharpness times rate over 2 has been within {spread:.2f} of 1 since step {since}:
  any sharper, and steps across would grow.
- At the smallest, {smallest:g}, the network is not there yet: it goes from {first:.2f} to {last:.2f}, getting sharper.
- J goes on falling at the edge, though a quadratic of this sharpness would be on the point of diverging."""


def study(steps: int, replicates: int) -> bv.OptimizerStudy:
    """Return gradient descent on a network of eight units, fitted to the diabetes data."""
    return bv.OptimizerStudy(
        name="edge-of-stability",
        objectives={"network": bv.EmpiricalRisk(data="diabetes", loss="squared", model=bv.MLP(width=8))},
        optimizers={"sgd": bv.SGD(learning_rate=RATES)},
        initial={"network": bv.Normal(0, 0.3)},
        steps=steps,
        replicates=replicates,
        record=["objective", "sharpness"],
        record_steps=[step for step in LOOKS if step <= steps],
    )


def edge(node: xr.Dataset) -> xr.DataArray:
    """Return sharpness times learning rate over 2, which is 1 at the edge."""
    return (node.sharpness * node.learning_rate / 2).rename("edge")


def table(node: xr.Dataset, steps: Sequence[int]) -> str:
    """Lay out how far from the edge each learning rate is, and what J has come to."""
    lines = [
        "sharpness x learning rate / 2, and J at the last step",
        f"{'rate':>6}" + "".join(f"{f'step {s}':>12}" for s in steps) + f"{'J':>9}",
    ]
    for rate in node.learning_rate.values:
        cell = node.sel(learning_rate=rate)
        numbers = "".join(f"{value:12.3f}" for value in edge(cell).sel(step=list(steps)).values)
        lines.append(f"{rate:6g}{numbers}{float(cell.objective[-1]):9.3f}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study, print its table and save its figure."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split()))
    parser.add_argument("--store", default="edge-of-stability.zarr", help="Zarr store to fill [%(default)s]")
    parser.add_argument("--figure", default="figures/edge-of-stability.png", help="picture to save [%(default)s]")
    parser.add_argument("--replicates", type=int, default=4, help="random starts [%(default)s]")
    parser.add_argument("--steps", type=int, default=4000, help="steps of descent [%(default)s]")
    args = parser.parse_args(argv)

    tree = bv.run(study(args.steps, args.replicates), args.store)
    node = tree["network/sgd"].to_dataset().squeeze("batch_size").load()
    shown = [step for step in SHOWN if step <= args.steps]
    print(table(node, shown))
    ratio, since = edge(node), args.steps // 4
    late = ratio.sel(learning_rate=RATES[-1], step=ratio.step >= since)
    slow = ratio.sel(learning_rate=RATES[0])
    print(
        LESSON.format(
            largest=RATES[-1],
            smallest=RATES[0],
            spread=float(abs(late - 1).max()),
            since=since,
            first=float(slow[0]),
            last=float(slow[-1]),
        )
    )
    print("figure:", figures.save(bv.plot.sharpness(tree), args.figure))


if __name__ == "__main__":
    main()
