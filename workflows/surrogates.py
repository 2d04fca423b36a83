"""Surrogate losses and the true error: four errors of 0-1 loss, and what a surrogate's excess promises.

A learner that minimises a surrogate pays four times: the best line is no Bayes rule (approximation), the surrogate's
best line is not the best line (surrogate), training sets are finite (estimation), and an optimizer may stop early (here
none does).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

import biasvar as bv
from biasvar.notation import with_error
from biasvar.views import figures, tables

ERRORS = ("bayes_risk", "approximation_error", "surrogate_error", "estimation_error", "expected_risk")
LESSON = """
What to see
- The errors of a row add up to its risk. The surrogate error does not fall with more examples: the hinge's line is
  nearly the best one, that of the logistic loss is not, for all its probabilities.
- Every dot of the second figure lies beyond the bound: a small surrogate excess promises a small 0-1 excess.
- The third figure shades where the majority of all fits votes against Bayes: all of the bias comes from there."""


def errors_table(summary: xr.Dataset) -> str:
    """Lay out the four errors of 0-1 loss for the sets whose best in class is known."""
    cells = summary.sel(loss="zero_one", noise=summary.noise[0])
    lines = [f"{'set':14}{'n':>5}  " + "".join(f"{tables.heading(summary, name):>22}" for name in ERRORS)]
    for label in cells.hypothesis.values:
        for n in cells.n_train.values:
            cell = cells.sel(hypothesis=label, n_train=n)
            if cell.approximation_error.notnull():
                numbers = (with_error(float(cell[name]), float(cell[f"{name}_se"])) for name in ERRORS)
                lines.append(f"{label:14}{n:5}  " + "".join(f"{number:>22}" for number in numbers))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study, print its errors and save three figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", default="surrogates.zarr", help="Zarr store to fill [%(default)s]")
    parser.add_argument("--figure", default="figures/surrogates.png", help="picture to save [%(default)s]")
    parser.add_argument("--replicates", type=int, help="training sets per cell [those of the bundled study]")
    args = parser.parse_args(argv)

    study = bv.load("surrogates", [f"replicates={args.replicates}", "block_size=128"] if args.replicates else [])
    summary = bv.run(study, args.store)
    print(errors_table(summary), tables.counts(summary), LESSON, sep="\n")
    path, noise = Path(args.figure), float(summary.noise[0])
    some = ["logistic", "hinge", "nearest mean", "quadratic"]
    figures.save(bv.plot.sources_of_error(summary, noise=noise), path)
    figures.save(bv.plot.margins(summary, noise=noise), path.with_name(f"{path.stem}_margins{path.suffix}"))
    votes = bv.plot.votes(summary, hypothesis=some, n_train=int(summary.n_train[0]), noise=noise)
    figures.save(votes, path.with_name(f"{path.stem}_votes{path.suffix}"))


if __name__ == "__main__":
    main()
