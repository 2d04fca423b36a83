"""Data studies against the same fits in a bare loop, in one run on one core.

    pip install -e '.[benchmarks]'
    python benchmarks/data.py

Rows are estimators, numbers are fits, each with its predictions of all examples that the pair leaves, per second of CPU
time. Machines are shared, so both are measured in turn, for several rounds: medians of the rates, and of the ratios
within a round.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is imported

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

import biasvar as bv

N_TRAIN = 50
CASES: dict[str, Any] = {
    "tree": DecisionTreeRegressor(),
    "forest of 10": RandomForestRegressor(10),
    "ridge": Ridge(0.1),
}


def study(estimator: Any, replicates: int) -> bv.DataStudy:
    return bv.DataStudy(
        name="benchmark",
        data="diabetes",
        hypotheses={"set": bv.Estimator(estimator)},
        n_train=N_TRAIN,
        replicates=replicates,
        block_size=replicates // 16,
    )


def ours(made: bv.DataStudy) -> None:
    """Run the study as a user does: plan, graph, store, summary."""
    with tempfile.TemporaryDirectory() as folder:
        bv.run(made, f"{folder}/store.zarr", scheduler="synchronous", progress=False)


def bare(estimator: Any, replicates: int, sets: int) -> None:
    """Cut, fit and predict with scikit-learn, and nothing else."""
    rng = np.random.default_rng(0)
    x, y = load_diabetes(return_X_y=True)
    seeded = "random_state" in estimator.get_params()
    for seed in range(replicates):
        order = rng.permutation(len(y))
        for i in range(sets):
            chosen = order[N_TRAIN * i : N_TRAIN * (i + 1)]
            fresh = type(estimator)(**estimator.get_params() | ({"random_state": seed} if seeded else {}))
            fresh.fit(x[chosen], y[chosen]).predict(x[order])


def seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replicates", type=int, default=256, help="random cuts, a multiple of 16 [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured [%(default)s]")
    args = parser.parse_args()
    print(f"fits per CPU second, n_train={N_TRAIN} of 442, one core, medians of {args.rounds}\n")
    print("| set | ours, `bv.run` | scikit-learn, bare | ratio of times |\n|---|---|---|---|")
    for label, estimator in CASES.items():
        made = study(estimator, args.replicates)
        (cuts,) = made.cuts.values()
        fits = args.replicates * cuts.sets
        ours(made)
        bare(estimator, 16, cuts.sets)
        took = np.array(
            [
                (seconds(lambda m=made: ours(m)), seconds(lambda e=estimator, s=cuts.sets: bare(e, args.replicates, s)))
                for _ in range(args.rounds)
            ]
        )
        rates, ratio = np.median(fits / took, axis=0), np.median(took[:, 0] / took[:, 1])
        print(f"| {label} | {rates[0]:,.0f} | {rates[1]:,.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
