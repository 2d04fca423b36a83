"""Convexity studies end to end against a loop over pairs of points, on one core.

python benchmarks/convexity.py

A round of biasvar is a whole run into a store: segments, four conditions, noise, chords, the search, the summary. The
loop does the same four conditions of one pair at a time in NumPy, with numpy.linalg.eigvalsh of Hessians by their
columns, and nothing else.
"""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import tempfile
import time
from statistics import median

import numpy as np

import biasvar as bv

ROUNDS = 5
BLOCK = 2**14
CASES = {  # objective, where, segments, pairs of the loop
    "Rosenbrock, 2": (bv.Rosenbrock(), bv.Box(-2, 2, dim=2), 2**20, 2000),
    "quadratic, 2": (bv.Quadratic([1, 100]), bv.Box(-2, 2, dim=2), 2**20, 2000),
    "log-sum-exp, 2": (bv.LogSumExp([[1, 0], [0, 1], [-1, -1]], [0, 0, 0]), bv.Box(-2, 2, dim=2), 2**19, 2000),
    "Rosenbrock, 20": (bv.Rosenbrock(20), bv.Box(-2, 2, dim=20), 2**18, 500),
    "softmax on iris, 12": (bv.EmpiricalRisk("iris", "softmax", penalty=0.01), bv.Normal(0, 1), 2**16, 200),
}


def ours(objective, within, segments):
    """Return microseconds per segment of a run into a new store, all four conditions together."""
    study = bv.ConvexityStudy(
        name="bench", objectives={"f": objective}, within={"f": within}, segments=segments, block_size=BLOCK
    )
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        bv.run(study, f"{folder}/bench.zarr", scheduler="synchronous", progress=False)
        return (time.process_time() - begun) / segments * 1e6


def theirs(objective, within, pairs):
    """Return microseconds per pair of the loop."""
    rng = np.random.default_rng(0)
    dim = objective.dim
    box = isinstance(within, bv.Box)
    points = rng.uniform(-2, 2, (pairs, 2, dim)) if box else rng.standard_normal((pairs, 2, dim))
    unit, bad = np.eye(dim), np.zeros(4, int)
    begun = time.process_time()
    for (x, y), theta in zip(points, rng.random(pairs), strict=True):
        fx, fy, fz = (objective.value(each) for each in (x, y, x + theta * (y - x)))
        gx, gy = objective.gradient(x), objective.gradient(y)
        hessian = objective.hessian_product(np.broadcast_to(x, unit.shape), unit)
        bad += [
            (1 - theta) * fx + theta * fy < fz,
            fy - fx < gx @ (y - x),
            (gy - gx) @ (y - x) < 0,
            np.linalg.eigvalsh(hessian)[0] < 0,
        ]
    return (time.process_time() - begun) / pairs * 1e6


def main():
    """Print microseconds per segment and their ratio, case by case."""
    print(f"{'case':20}{'biasvar':>10}{'loop':>10}{'ratio':>8}   us per segment, medians of {ROUNDS} rounds")
    for label, (objective, within, segments, pairs) in CASES.items():
        ours(objective, within, 2 * BLOCK)  # compiles, and reads what is compiled
        rounds = [(ours(objective, within, segments), theirs(objective, within, pairs)) for _ in range(ROUNDS)]
        mine, other = (median(column) for column in zip(*rounds, strict=True))
        print(f"{label:20}{mine:10.2f}{other:10.0f}{median(b / a for a, b in rounds):8.0f}")


if __name__ == "__main__":
    main()
