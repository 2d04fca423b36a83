"""A study of built-in parts has one digest on any x86-64 machine: here it is run as if by older ones.

Each library that looks at the CPU is told to see less of it, in a process of its own.
"""

import os
import subprocess
import sys

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__ as dispatched

OLDER = {
    "BLAS": {"OPENBLAS_CORETYPE": "Nehalem"},
    "NumPy": {"NPY_DISABLE_CPU_FEATURES": " ".join(dispatched)},
    "C library": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F"},
    "Numba": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""},
}
#: What makes a study of each kind.
STUDIES = {
    "optimizer": """
grid = np.array([(i * 7919 + 13) % 10007 / 5003.5 - 1 for i in range(120)]).reshape(40, 3)
y = np.round(grid @ [1.0, 2.0, 3.0] + grid[::-1, 0], 3)
some = {
    "ravine": bv.Quadratic([1, 100]), "matrix": bv.Quadratic(matrix=[[2, 1], [1, 2]]),
    "turned": bv.Quadratic([1, 5], angle=30), "saddle": bv.Saddle(), "valley": bv.Rosenbrock(), "beale": bv.Beale(),
    "lse": bv.LogSumExp([[1, 2], [-1, 0], [0, -1]], [0, 1, -1]),
    "squared": bv.EmpiricalRisk((grid, y), "squared"),
    "logistic": bv.EmpiricalRisk((grid, y > 0), "logistic", penalty=0.1, held_out=0.2),
    "softmax": bv.EmpiricalRisk((grid, np.sign(np.round(y))), "softmax", penalty=0.1),
    "mlp": bv.EmpiricalRisk((grid, y), "squared", model=bv.MLP(3)),
}
study = bv.OptimizerStudy(
    name="every-cpu", objectives=some, batch_size=[None, 8], steps=60, replicates=2,
    optimizers={
        "adam": bv.Adam(0.1, schedule=bv.Cosine()), "nesterov": bv.Nesterov([0.001, 0.01]),
    },
    constraints={
        "valley": bv.Ball(0.5, dim=2), "turned": bv.Affine([[1, 2]], [1]), "beale": bv.Simplex(dim=2),
        "ravine": bv.Halfspace([1, 1], -0.5), "matrix": bv.Box(-0.5, [1, None]),
    },
    record=["objective", "gradient_norm", "distance", "excess_risk", "gap", "sharpness"], record_steps=[0, 7, 60],
)
""",
    "constraints": """
rules = [bv.SGD, bv.Momentum, bv.Nesterov, bv.Lion, bv.AdaGrad, bv.RMSProp, bv.RMSPropNesterov, bv.AdaDelta, bv.Adam]
rules += [bv.AdamW, bv.AMSGrad, bv.NAdam]
schedules = [None, bv.ConstantRate(), bv.InverseSqrt(5), bv.StepDecay(0.7, every=3), bv.Cosine(0.1)]
lse = bv.LogSumExp([[1, 2, 0], [-1, 0, 1], [0, -1, 1], [0.3, 0, -2]], [0, 1, -1, 0.5])
study = bv.OptimizerStudy(
    name="every-cpu", objectives={"ball": lse, "affine": lse},
    constraints={"ball": bv.Ball(0.7, [0.2, 0.1, -0.3]), "affine": bv.Affine([[1, 2, 3]], [1])},
    optimizers={f"{rule.__name__}-{i}": rule([0.01, 0.3], schedule=schedules[i % 5]) for i, rule in enumerate(rules)},
    steps=40, replicates=2, record=["objective", "gradient_norm", "gap", "parameters"],
)
""",
    "risk": """
study = bv.RiskStudy(
    name="every-cpu", target=bv.Sine(), inputs=bv.Uniform(-1, 1), n_train=[2, 12], noise=[0.0, 0.3], replicates=2**13,
    block_size=2**9, hypotheses={
        "H0": bv.Polynomial(0), "H1": bv.Polynomial(1), "ridge": bv.Ridge(3, 0.1), "wide": bv.Polynomial(15),
        "neighbours": bv.NearestNeighbors(2), "smoother": bv.KernelSmoother(0.2), "bins": bv.Histogram([0.0], 1),
        "stopped": bv.Descended(bv.Polynomial(1), bv.SGD(0.1), 50),
    },
)
""",
    "plane": """
study = bv.RiskStudy(
    name="every-cpu", target=bv.Linear([1.0, 2.0]), inputs=bv.Normal(0, 1, dim=2), n_train=12, noise=0.3,
    hypotheses={"H1": bv.Polynomial(1), "H2": bv.Polynomial(2)}, replicates=512, block_size=32, test_points=64,
)
""",
    "classification": """
study = bv.ClassificationStudy(
    name="every-cpu", inputs=bv.GaussianClasses(means=[-1, 1], stds=[1, 2]), n_train=[4, 12], replicates=512,
    losses=["zero_one", "logistic", "squared", "hinge", "exponential", "brier"], block_size=32, hypotheses={
        "logistic": bv.LinearClassifier(1, "logistic", 1.0), "hinge": bv.LinearClassifier(2, "hinge", 1.0),
        "pooled": bv.Discriminant(), "each": bv.Discriminant("each"), "squared": bv.Polynomial(1),
    },
)
""",
    "tradeoff": """
study = bv.TradeoffStudy(
    name="every-cpu", target=bv.Sine(), inputs=bv.Uniform(-1, 1), model=bv.Polynomial(3), n_train=[10, 20], noise=0.5,
    optimizers={"descent": bv.SGD([0.05, 0.2]), "adam": bv.Adam(0.1)}, budgets=[200, 2000], replicates=512,
    block_size=32,
)
""",
    "data": """
x = np.array([(i * 7919 + 13) % 10007 / 5003.5 - 1 for i in range(120)]).reshape(60, 2)
study = bv.DataStudy(
    name="every-cpu", data=(x, np.round(x @ [1.0, 2.0] + x[::-1, 0], 3)), n_train=[10, 20], replicates=1024,
    hypotheses={"line": bv.Polynomial(1), "ridge": bv.Ridge(2, 0.1), "neighbours": bv.NearestNeighbors(3)},
)
""",
    "convexity": """
study = bv.ConvexityStudy(
    name="every-cpu", segments=1000, block_size=500,
    objectives={
        "ravine": bv.Quadratic([1, 100]), "matrix": bv.Quadratic(matrix=[[2, 1], [1, 2]]), "saddle": bv.Saddle(),
        "valley": bv.Rosenbrock(), "beale": bv.Beale(), "lse": bv.LogSumExp([[1, 2], [-1, 0], [0, -1]], [0, 1, -1]),
        "long": bv.Rosenbrock(6), "norm": bv.Norm(3, dim=3), "quasi": bv.Norm(0.5, dim=3), "most": bv.Norm(np.inf, 2),
        "ball": bv.Indicator(bv.Ball(1, dim=2)), "flat": bv.LogSumExp([[1, 2, 0], [-1, 0, 1]], [0, 1]),
        "softmax": bv.EmpiricalRisk("iris", "softmax", penalty=0.1),
        "mlp": bv.EmpiricalRisk("iris", "squared", model=bv.MLP(2)),
    },
    within={
        "valley": bv.Box(-2, 2, dim=2), "beale": bv.Ball(2, dim=2), "lse": bv.Simplex(dim=2), "flat": bv.Simplex(dim=3),
        "norm": bv.Ball(1, dim=3),
    },
)
""",
}
RUN = """
import numpy as np, biasvar as bv
{study}
bv.run(study, "store.zarr", scheduler="synchronous", progress=False)
print(bv.digest("store.zarr"))
"""


def digest(kind, folder, **env):
    """Run a study in a process of its own, and return its digest."""
    folder.mkdir()
    command = [sys.executable, "-W", "ignore", "-c", RUN.format(study=STUDIES[kind])]
    done = subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_has_one_digest_whatever_libraries_see_of_the_cpu(kind, tmp_path):
    usual = digest(kind, tmp_path / "usual")
    assert {name: digest(kind, tmp_path / name, **env) for name, env in OLDER.items()} == dict.fromkeys(OLDER, usual)
