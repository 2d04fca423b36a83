"""Risk studies against what one could use instead, in one run on one core.

    pip install -e '.[benchmarks]'
    python benchmarks/risk.py

Rows are problems, columns are ways to solve them, numbers are replicates (random training sets, with everything that is
fitted to one) per second of CPU time. Every measurement lasts at least ``--seconds``. Machines are shared, so columns
are measured in turn, for several rounds: medians of the rates, and of the ratios within a round.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is imported

import numpy as np
from mlxtend.evaluate import bias_variance_decomp
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.tree import DecisionTreeRegressor

import biasvar as bv

NOISE = tuple(round(0.1 * k, 1) for k in range(10))
GRID = np.linspace(-1, 1, 64)


@dataclass(frozen=True)
class Case:
    """One row: a study, and the same by other means; each function takes a number of replicates."""

    title: str
    study: Callable[[int], bv.RiskStudy]
    numpy: Callable[[int], None] | None
    rounds: Callable[[int], None]  # mlxtend
    bare: Callable[[int], None] | None = None  # the fits alone, by the library that makes them


def lines(replicates: int) -> bv.RiskStudy:
    return _study({"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)}, 2, (0.0,), replicates, 2**15)


def degrees(replicates: int) -> bv.RiskStudy:
    return _study({f"H{d}": bv.Polynomial(d) for d in range(6)}, 30, NOISE, replicates, 2**13)


def trees(replicates: int) -> bv.RiskStudy:
    tree = bv.Estimator(DecisionTreeRegressor(max_depth=3))
    return _study({"tree": tree}, 30, (0.3,), replicates, 2**6)


def _study(sets: dict, n_train: int, noise: tuple, replicates: int, block_size: int) -> bv.RiskStudy:
    blocks = max(16, -(-replicates // block_size))
    return bv.RiskStudy(
        name="benchmark",
        target=bv.Sine(),
        inputs=bv.Uniform(-1, 1),
        hypotheses=sets,
        n_train=n_train,
        noise=noise,
        replicates=blocks * block_size,
        block_size=block_size,
    )


def numpy_lines(replicates: int) -> None:
    """Fit constants and lines to batches of two points, and average their predictions: no loop over replicates."""
    rng = np.random.default_rng(0)
    for _ in range(replicates // 4096):
        x = rng.uniform(-1, 1, (4096, 2))
        y = np.sin(np.pi * x)
        slope = (y[:, 1] - y[:, 0]) / (x[:, 1] - x[:, 0])
        for a, b in ((np.zeros(4096), y.mean(axis=1)), (slope, y[:, 0] - slope * x[:, 0])):
            g = a[:, None] * GRID + b[:, None]
            g.mean(axis=0), g.var(axis=0)


def numpy_degrees(replicates: int) -> None:
    """Solve the normal equations of a batch for all noise levels at once, and average the predictions."""
    rng = np.random.default_rng(0)
    levels = np.array(NOISE)
    for _ in range(max(1, replicates // 1024)):
        x = rng.uniform(-1, 1, (1024, 30))
        y = np.sin(np.pi * x)[..., None] + rng.standard_normal((1024, 30, 1)) * levels
        for degree in range(6):
            v = np.polynomial.legendre.legvander(x, degree)
            vt = v.transpose(0, 2, 1)
            c = np.linalg.solve(vt @ v, vt @ y)
            g = np.polynomial.legendre.legvander(GRID, degree) @ c
            g.mean(axis=0), g.var(axis=0), ((v @ c - y) ** 2).mean(axis=(0, 1))


def mlxtend_rounds(estimators: list, n_train: int, levels: tuple) -> Callable[[int], None]:
    def rounds(replicates: int) -> None:
        rng = np.random.default_rng(0)
        for noise in levels:
            x = rng.uniform(-1, 1, (n_train, 1))
            y = np.sin(np.pi * x[:, 0]) + noise * rng.standard_normal(n_train)
            for estimator in estimators:
                bias_variance_decomp(
                    estimator, x, y, GRID[:, None], np.sin(np.pi * GRID), loss="mse", num_rounds=replicates
                )

    return rounds


def bare_trees(replicates: int) -> None:
    """Draw, fit and predict with scikit-learn, and nothing else."""
    rng = np.random.default_rng(0)
    for seed in range(replicates):
        x = rng.uniform(-1, 1, (30, 1))
        y = np.sin(np.pi * x[:, 0]) + 0.3 * rng.standard_normal(30)
        DecisionTreeRegressor(max_depth=3, random_state=seed).fit(x, y).predict(GRID[:, None])


CASES = [
    Case(
        "(a) H0 + H1, n=2",
        lines,
        numpy_lines,
        mlxtend_rounds([DummyRegressor(), LinearRegression()], 2, (0.0,)),
    ),
    Case(
        "(b) degrees 0-5, n=30, 10 noise levels",
        degrees,
        numpy_degrees,
        mlxtend_rounds([make_pipeline(PolynomialFeatures(d), LinearRegression()) for d in range(6)], 30, NOISE),
    ),
    Case(
        "(c) tree of depth 3, n=30",
        trees,
        None,
        mlxtend_rounds([DecisionTreeRegressor(max_depth=3)], 30, (0.3,)),
        bare_trees,
    ),
]


def end_to_end(study: Callable[[int], bv.RiskStudy]) -> Callable[[int], None]:
    """Run the study as a user does: plan, graph, store, summary."""

    def run(replicates: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            bv.run(study(replicates), f"{folder}/store.zarr", scheduler="synchronous")

    return run


def kernel(study: Callable[[int], bv.RiskStudy]) -> Callable[[int], None]:
    """Simulate blocks, and nothing else."""

    def run(replicates: int) -> None:
        made = study(replicates)
        (group,) = made.groups()
        for block in range(max(1, replicates // made.block_size)):
            made.simulate(group, block)

    return run


def floor(study: Callable[[int], bv.RiskStudy], noise: bool = False) -> Callable[[int], None]:
    """Draw uniforms and take NumPy's sine there (and draw the noise where it is simulated): no one can do without."""

    def run(replicates: int) -> None:
        made, rng = study(replicates), np.random.default_rng(0)
        shape = made.n_train[0], made.block_size
        for _ in range(max(1, replicates // made.block_size)):
            np.sin(np.pi * rng.uniform(-1, 1, shape))
            if noise:
                rng.standard_normal(shape)

    return run


def enough(work: Callable[[int], None], seconds: float, least: int) -> int:
    """Return how many replicates take that many CPU seconds, having warmed up."""
    replicates = least
    work(replicates)
    while True:
        start = time.process_time()
        work(replicates)
        took = time.process_time() - start
        if took >= seconds:
            return replicates
        grow = 1.2 * seconds / max(took, seconds / 50)
        replicates = max(least, int(replicates * max(grow, 1.1)) // least * least)


def rates(ways: dict[str, tuple[Callable[[int], None], int]], seconds: float, rounds: int) -> dict[str, np.ndarray]:
    """Return replicates per CPU second of each way, one number per round."""
    replicates = {name: enough(work, seconds, least) for name, (work, least) in ways.items()}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (work, _) in ways.items():
            start = time.process_time()
            work(replicates[name])
            found[name].append(replicates[name] / (time.process_time() - start))
    return {name: np.array(values) for name, values in found.items()}


def speed(seconds: float, rounds: int) -> None:
    """Print the main table."""
    print(f"replicates per CPU second, one core, at least {seconds:g} s a number, medians of {rounds}\n")
    print("| problem | ours, `bv.run` | ours, bare kernel | NumPy | scikit-learn, bare | mlxtend | floor | ratios |")
    print("|---|---|---|---|---|---|---|---|")
    for case in CASES:
        block = case.study(1).block_size
        ways = {"run": (end_to_end(case.study), 16 * block), "kernel": (kernel(case.study), block)}
        if case.numpy:
            ways["numpy"] = case.numpy, 4096
        if case.bare:
            ways["bare"] = case.bare, 64
        ways |= {"mlxtend": (case.rounds, 8), "floor": (floor(case.study, noise=case.bare is not None), block)}
        found = rates(ways, seconds, rounds)

        def times(name: str, found: dict[str, np.ndarray] = found) -> float:
            return float(np.median(found["run"] / found[name]))

        ratios = [f"{times('mlxtend'):.3g}x mlxtend"]
        if case.numpy:
            ratios.append(f"{times('numpy'):.3g}x NumPy")
        if case.bare:
            ratios.append(f"{1 / times('bare'):.2f}x the time of bare fits")
        ratios.append(f"{1 / times('floor'):.3g}x the time of the floor")
        columns = ("run", "kernel", "numpy", "bare", "mlxtend", "floor")
        cells = " | ".join(f"{np.median(found[name]):,.0f}" if name in found else "-" for name in columns)
        print(f"| {case.title} | {cells} | {', '.join(ratios)} |", flush=True)


def precision(goal: float = 1e-4) -> None:
    """Print CPU seconds to a standard error, for both samplers, and how variances of blocks of one size compare."""
    print(
        f"\nCPU seconds to a standard error of {goal:g} of the expected risk (on the sine, no noise, blocks of 2^15)\n"
    )
    print("| n_train | set | sobol | random | ratio | variance, random / sobol |")
    print("|---|---|---|---|---|---|")
    for n in (2, 5, 10, 30):
        took, errors = {}, {}
        for sampler in ("sobol", "random"):
            study = bv.RiskStudy(
                name="precision",
                target=bv.Sine(),
                inputs=bv.Uniform(-1, 1),
                hypotheses={f"H{degree}": bv.Polynomial(degree) for degree in range(min(n, 3))},
                n_train=n,
                replicates=2**20,
                block_size=2**15,
                sampler=sampler,
            )
            with tempfile.TemporaryDirectory() as folder:
                start = time.process_time()
                summary = bv.run(study, f"{folder}/store.zarr", scheduler="synchronous")
                seconds = time.process_time() - start
            errors[sampler] = summary.expected_risk_se.values.ravel()
            took[sampler] = seconds * (errors[sampler] / goal) ** 2
        for i, label in enumerate(study.hypotheses):
            sobol, random = took["sobol"][i], took["random"][i]
            gain = (errors["random"][i] / errors["sobol"][i]) ** 2
            print(f"| {n} | {label} | {sobol:.2g} | {random:.2g} | {random / sobol:.3g} | {gain:.3g} |", flush=True)


def memory() -> None:
    """Print the peak memory of two-point-sine at two sizes."""
    print("\npeak memory of two-point-sine\n\n| replicates | MB |\n|---|---|")
    code = (
        "import resource, sys, tempfile, biasvar as bv\n"
        "study = bv.load('two-point-sine', ['replicates=' + sys.argv[1]])\n"
        "bv.run(study, tempfile.mkdtemp() + '/s.zarr', scheduler='synchronous')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    for power in (17, 24):
        done = subprocess.run([sys.executable, "-c", code, str(2**power)], capture_output=True, text=True, check=True)
        print(f"| 2^{power} | {float(done.stdout):.0f} |", flush=True)


def cold_start(repeats: int = 5) -> None:
    """Print how long the first result takes, from nothing."""
    print(f"\ncold start, median of {repeats} wall times\n\n| command | seconds |\n|---|---|")
    commands = {
        'python -c "import xarray, zarr, dask.array"': [sys.executable, "-c", "import xarray, zarr, dask.array"],
        "biasvar run two-point-sine": [sys.executable, "-m", "biasvar.cli", "run", "two-point-sine"],
    }
    for title, command in commands.items():
        took = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                subprocess.run(command, cwd=folder, check=True, capture_output=True)
                took.append(time.perf_counter() - start)
        print(f"| `{title}` | {median(took):.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="least CPU time of a measurement [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured [%(default)s]")
    args = parser.parse_args()
    speed(args.seconds, args.rounds)
    precision()
    memory()
    cold_start()


if __name__ == "__main__":
    main()
