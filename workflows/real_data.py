"""Two real data sets and no law: which set learns better, and whether another data set would say so.

Diabetes (442 patients, squared loss) and breast cancer (569 masses, 0-1 loss). Every risk has two errors: that of the
random cuts, which more replicates shrink, and what another data set of this size would show.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import biasvar as bv
from biasvar.views import figures, tables

LOSSES = {"diabetes": "squared", "breast_cancer": "zero_one"}
SETS: dict[str, Mapping[str, Any]] = {
    "diabetes": {
        "tree": bv.Estimator(DecisionTreeRegressor()),
        "forest": bv.Estimator(RandomForestRegressor(10)),
        "ridge": bv.Ridge(1, penalty=0.01),
        "10-NN": bv.NearestNeighbors(10),
    },
    "breast_cancer": {
        "tree": bv.Estimator(DecisionTreeClassifier()),
        "forest": bv.Estimator(RandomForestClassifier(10)),
        "logistic": bv.LinearClassifier(1, loss="logistic", penalty=1.0),
        "5-NN": bv.NearestNeighbors(5),
    },
}
FOREST = "- A forest is its tree with much of the variance gone: the sum of bias² and noise hardly moves."
LESSON = """
What to see
- The error that another data set would show is many times that of the cuts, and no number of replicates shrinks it.
- Differences are paired: both sets saw the same examples, so their interval is narrower than those of the two risks."""


def data_study(data: str, labels: Sequence[str], n_train: Sequence[int], replicates: int) -> bv.DataStudy:
    """State the question for one data set; all its sets, or those that are named."""
    return bv.DataStudy(
        name=data.replace("_", "-"),
        data=data,
        hypotheses={label: each for label, each in SETS[data].items() if not labels or label in labels},
        n_train=n_train,
        loss=LOSSES[data],
        replicates=replicates,
    )


def compare(summary: xr.Dataset, one: str, other: str) -> str:
    """Say by how much the risk of one set is above another's, with the paired interval over other data sets."""
    bounds = bv.confidence_interval(summary, "expected_risk_difference")
    lines = []
    for n in summary.n_train.values:
        at = {"hypothesis": one, "versus": other, "n_train": n}
        difference, low, high = (
            float(found.sel(at)) for found in (summary.expected_risk_difference, bounds.low, bounds.high)
        )
        # NaN where cuts are too few, or the data, to tell.
        known = f"95 % of the law: {low:.3g} to {high:.3g}" if low <= high else "too few cuts or data for an interval"
        lines.append(f"{one} less {other}, n_train={n}: {difference:.3g}, {known}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run both studies, print their tables and comparisons and save a figure of each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", default="real-data.zarr", help="Zarr stores to fill, one per data set [%(default)s]")
    parser.add_argument("--figure", default="figures/real-data.png", help="pictures to save [%(default)s]")
    parser.add_argument("--replicates", type=int, default=1024, help="random cuts [%(default)s]")
    parser.add_argument("--n-train", type=int, nargs="+", default=[50, 100], help="training-set sizes [%(default)s]")
    parser.add_argument("--sets", nargs="+", default=[], help="which of the sets [all]")
    args = parser.parse_args(argv)

    store, picture = Path(args.store), Path(args.figure)
    for data in SETS:
        study = data_study(data, args.sets, args.n_train, args.replicates)
        summary = bv.run(study, store.with_name(f"{store.stem}-{data}{store.suffix}"))
        print(study.name, tables.results(summary), sep="\n")
        first, *others = study.hypotheses
        for other in others:
            print(compare(summary, first, other))
        figure = bv.plot.decomposition(summary)
        print("figure:", figures.save(figure, picture.with_name(f"{picture.stem}-{data}{picture.suffix}")), "\n")
    print(LESSON)
    if not args.sets or {"tree", "forest"} <= {*args.sets}:
        print(FOREST)


if __name__ == "__main__":
    main()
