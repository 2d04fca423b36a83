"""The tradeoff between bias and variance: risk against degree, and learning curves.

The learning curves are a study of their own, in learning-curves.zarr and learning-curves.png beside the first's.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

import biasvar as bv
from biasvar.notation import with_error
from biasvar.views import figures, tables

NOISE = 0.5
LESSON = """
What to see
- A higher degree buys bias² with variance. On 20 points degree 3 is best; higher ones fit the labels better and predict
  worse: the training error falls all the way while the expected risk explodes. ? stands where no standard error
  exists: there are so few points for so many coefficients that the loss has no finite variance.
- On 100 points variance is cheap: degrees 3 to 7 are nearly equal, and the sets that are too poor hardly improve.
- Learning curves: expected risk comes down and training error goes up, to the risk of the best in class. The poor set
  is there after few points and stays high, the rich one takes more points and gets lower: match the set to the data."""


def learning_study(replicates: int) -> bv.RiskStudy:
    """State the second study: three sets, from very few training points to many."""
    return bv.RiskStudy(
        name="learning-curves",
        target=bv.Sine(),
        inputs=bv.Uniform(-1, 1),
        hypotheses={f"H{degree}": bv.Polynomial(degree) for degree in (1, 3, 5)},
        n_train=[10, 12, 14, 17, 20, 25, 30, 40, 50, 70, 100, 200],
        noise=[NOISE],
        replicates=replicates,
        block_size=512,
    )


def learning_table(summary: xr.Dataset) -> str:
    """Lay out expected risks: a row for each training-set size, a column for each hypothesis set."""
    rows = [["n_train", *summary.hypothesis.values]]
    for n_train, cells in summary.sel(noise=NOISE).groupby("n_train"):
        numbers = zip(cells.expected_risk.values.flat, cells.expected_risk_se.values.flat, strict=True)
        rows.append([str(n_train), *(with_error(*number) for number in numbers)])
    return "\n".join(f"{n_train:>7}" + "".join(f"{text:>16}" for text in numbers) for n_train, *numbers in rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Run both studies, print their tables and save their figures."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split()))
    parser.add_argument("--store", type=Path, default=Path("tradeoff.zarr"), help="Zarr store to fill [%(default)s]")
    parser.add_argument("--figure", type=Path, default=Path("figures/tradeoff.png"), help="picture [%(default)s]")
    parser.add_argument("--replicates", type=int, default=2**16, help="training sets per cell [%(default)s]")
    args = parser.parse_args(argv)

    study = bv.load("tradeoff", [f"replicates={args.replicates}"])
    degrees = bv.run(study, args.store).sel(n_train=[20, 100], noise=[NOISE])
    print(tables.cell_table(degrees))
    curves = bv.run(learning_study(args.replicates), args.store.with_name("learning-curves.zarr"))
    print("\nexpected risk", learning_table(curves), tables.counts(curves), LESSON, sep="\n")

    figure = bv.plot.decomposition(degrees, noise=NOISE, top=1.0, axis="polynomials of degree 0 to 7")
    print("figure:", figures.save(figure, args.figure))
    figure = bv.plot.learning_curves(curves, noise=NOISE)
    print("figure:", figures.save(figure, args.figure.with_name("learning-curves.png")))


if __name__ == "__main__":
    main()
