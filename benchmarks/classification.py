"""Classification studies end to end against a loop of bare scikit-learn fits, rounds interleaved, on one core.

pip install -e '.[benchmarks]', then: python benchmarks/classification.py

A round of biasvar is a whole run into a store: drawing, fitting, charging 0-1 and logistic loss along x, the summary. A
round of scikit-learn is fits alone, to training sets that are there already, with its checks off.
"""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import tempfile
import time
from statistics import median

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

import biasvar as bv

ROUNDS = 5
CASES = {  # n, dimension, degree, replicates: p is 2 on a line and 6 in five dimensions
    "n=20, p=2": (20, 1, 1, 2**16),
    "n=100, p=2": (100, 1, 1, 2**15),
    "n=100, p=6": (100, 5, 1, 2**14),
}
THEIRS = 300  # fits in a round


def law(dim):
    """Two normal classes."""
    return bv.GaussianClasses(means=[-1, 1] if dim == 1 else [[-1, *[0] * (dim - 1)], [1, *[0] * (dim - 1)]])


def ours(n, dim, degree, replicates):
    """Return microseconds per training set of a run into a new store."""
    study = bv.ClassificationStudy(
        name="bench",
        inputs=law(dim),
        hypotheses={"logistic": bv.LinearClassifier(degree, "logistic", 1.0)},
        losses=["zero_one", "logistic"],
        n_train=[n],
        replicates=replicates,
        block_size=2**10,
        test_points=None if dim == 1 else 256,
    )
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        bv.run(study, f"{folder}/bench.zarr", scheduler="synchronous", progress=False)
        return (time.perf_counter() - begun) / replicates * 1e6


def theirs(n, dim):
    """Return microseconds per fit."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random((THEIRS, n)) < 0.5, 1.0, -1.0)
    y[:, 0], y[:, 1] = 1.0, -1.0
    x = rng.standard_normal((THEIRS, n, dim + 1))
    x[..., 0], x[..., 1] = 1.0, x[..., 1] + y
    model = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-6)
    begun = time.perf_counter()
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for features, labels in zip(x, y, strict=True):
            model.fit(features, labels)
    return (time.perf_counter() - begun) / THEIRS * 1e6


def main():
    """Print microseconds per fit and their ratio, case by case."""
    print(f"{'case':14}{'biasvar':>10}{'sklearn':>10}{'ratio':>8}   us per training set, medians of {ROUNDS} rounds")
    for label, (n, dim, degree, replicates) in CASES.items():
        ours(n, dim, degree, 2**14)  # compiles, and reads what is compiled
        rounds = [(ours(n, dim, degree, replicates), theirs(n, dim)) for _ in range(ROUNDS)]
        mine, other = (median(column) for column in zip(*rounds, strict=True))
        print(f"{label:14}{mine:10.1f}{other:10.0f}{median(b / a for a, b in rounds):8.0f}")


if __name__ == "__main__":
    main()
