"""The two extremes: a constant that ignores the data, and an interpolator that believes every label."""

import argparse
from collections.abc import Sequence

import biasvar as bv
from biasvar.views import figures, tables

LESSON = """
What to see
- The inputs are fixed, ten points, and risk is averaged over the same points: only the labels are random.
- `ignore` predicts 0 whatever the labels say: its variance is exactly 0, all its excess risk is bias². Under-fitting.
- `believe` joins the labels by straight lines: its bias is exactly 0 and its variance that of the noise, sigma², so its
  risk is twice the noise while its training error is 0. Over-fitting.
- Least squares with p coefficients on n points has the variance sigma² p/n: 2/10 for the line, 4/10 for the cubic. Each
  coefficient costs sigma²/n and must earn it in bias²; the cubic's do, and it has the smallest risk on noisy labels."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study, print its table and save its figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="extremes.zarr", help="Zarr store to fill [%(default)s]")
    parser.add_argument("--figure", default="figures/extremes.png", help="picture to save [%(default)s]")
    parser.add_argument("--replicates", type=int, default=2**12, help="training sets per cell [%(default)s]")
    args = parser.parse_args(argv)

    study = bv.load("extremes", [f"replicates={args.replicates}"])
    summary = bv.run(study, args.store)
    print(tables.cell_table(summary), LESSON, sep="\n")

    print("figure:", figures.save(bv.plot.along_x(summary, n_train=10, noise=0.5), args.figure))


if __name__ == "__main__":
    main()
