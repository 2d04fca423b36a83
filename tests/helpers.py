"""What tests of many rooms use: studies small enough to run in a blink, closed forms, the command line."""

import itertools
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import biasvar as bv

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / "workflows"
#: Seconds after which a state is waited for no more: on a busy machine everything takes twenty times as long.
PATIENCE = 600
#: So that no two places of a session have one name.
numbers = itertools.count()
#: Every bundled study at a size that takes a blink, with all the variables that it has.
SMALL_STUDIES = {
    "adaptive-methods": ["steps=5", "record_steps=[0, 1, 5]", "replicates=2"],
    "breast-cancer": ["replicates=256", "block_size=16", "n_train=[20, 50]"],
    "convexity": ["segments=128", "block_size=64", "search=2"],
    "double-descent": ["replicates=256", "block_size=16", "test_points=16", "hypotheses.p32=null"],
    "extremes": ["replicates=256", "block_size=16"],
    "hyperparameter-grid": ["steps=2", "record_steps=[1, 2]", "replicates=2"],
    "learning-curves": ["replicates=256", "block_size=16", "test_points=8", "n_train=[20, 40]"],
    "portfolio": ["steps=5", *(f"optimizers.{name}=null" for name in ("nesterov", "adagrad", "rmsprop"))],
    "ravine": ["steps=5", "replicates=2", *(f"optimizers.{name}=null" for name in ("nesterov", "adagrad", "rmsprop"))],
    "surrogates": ["replicates=256", "block_size=16", "test_points=8", "n_train=[10]"],
    "tradeoff": ["replicates=256", "block_size=16", "test_points=8", "n_train=[20, 30]"],
    "tradeoff-of-scale": ["replicates=256", "block_size=16", "test_points=8", "n_train=[5, 20]", "budgets=[20, 50]"],
    "two-point-sine": ["replicates=1024", "block_size=64", "test_points=8"],
}

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


def command(*arguments, cwd, **options):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "biasvar.cli", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **options,
    )


def small_study(**changes):
    fields = {
        "name": "small",
        "target": bv.Sine(),
        "inputs": bv.Uniform(-1, 1),
        "hypotheses": {"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
        "n_train": [2, 10],
        "noise": [0.0, 0.5],
        "replicates": 16 * 64,
        "block_size": 64,
    }
    return bv.RiskStudy(**{**fields, **changes})


class Noisy:
    """A user's own set, with simulated label noise: the mean label, at every place."""

    def fit_predict(self, x, y, at, rng):
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1)


class Moody:
    """A user's own set that fails in some blocks."""

    def fit_predict(self, x, y, at, rng):
        if x[0, 0] > 0.5:
            raise RuntimeError("not in the mood")
        return np.zeros(at.shape[:2])


def everything():
    """A study with every way of fitting: nested, mapped, smoothed and simulated."""
    return small_study(
        hypotheses={
            "H1": bv.Polynomial(1),
            "H3": bv.Polynomial(3),
            "ridge": bv.Ridge(2, 0.1),
            "near": bv.NearestNeighbors(2),
            "mean": Noisy(),
        },
        n_train=[10, 12],
    )


def classified():
    """A small classification study, with fits that are trained, smoothed and simulated."""
    return bv.ClassificationStudy(
        name="classified",
        inputs=bv.GaussianClasses(means=[-1, 1], stds=[2, 1]),
        hypotheses={
            "logistic": bv.LinearClassifier(1, "logistic", 0.1),
            "hinge": bv.LinearClassifier(1, "hinge", 0.1),
            "nearest": bv.NearestNeighbors(3),
            "quadratic": bv.Discriminant("each"),
        },
        losses=["zero_one", "logistic", "hinge"],
        n_train=[5, 8],
        noise=[0.0, 0.1],
        replicates=16 * 32,
        block_size=32,
    )


def from_data():
    """A small study of one data set, of which nothing but numbers is known."""
    x = np.random.default_rng(1).uniform(-1, 1, (60, 2))
    return bv.DataStudy(
        name="from-data",
        data=(x, np.sin(3 * x[:, 0]) + x[:, 1]),
        hypotheses={"mean": Noisy(), "line": bv.Polynomial(1), "near": bv.NearestNeighbors(2)},
        n_train=[6, 10],
        replicates=16 * 32,
        block_size=32,
    )


def two_point_study(**changes):
    fields = {
        "name": "truth",
        "target": bv.Sine(),
        "inputs": bv.Uniform(-1, 1),
        "hypotheses": {"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
        "n_train": 2,
        "noise": 0.0,
        "replicates": 2**12,
        "block_size": 2**6,
    }
    return bv.RiskStudy(**{**fields, **changes})


def line_through(f, derivative):
    """The mean line through two points of f on [-1, 1], and the mean square of all, by quadrature over both points."""
    x, w = np.polynomial.legendre.leggauss(60)
    a, b, weights = x[:, None], x[None, :], np.outer(w, w) / 4
    # f has divided differences equal to the mean of its derivative in between: no cancellation where points are close.
    share, share_weights = (x + 1) / 2, w / 2
    slope = (share_weights * derivative(a[..., None] + (b - a)[..., None] * share)).sum(axis=-1)
    intercept = f(a) - slope * a
    at = x[:, None, None]
    lines = slope * at + intercept
    mean = (weights * lines).sum(axis=(1, 2))
    variance = (weights * (lines - mean[:, None, None]) ** 2).sum(axis=(1, 2))
    return w / 2 @ (mean - f(x)) ** 2, w / 2 @ variance


def sine(x):
    return np.sin(np.pi * x)


def sine_slope(x):
    return np.pi * np.cos(np.pi * x)


class KilledError(Exception):
    pass


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def messages(study, store, **options):
    """Run a study; return what was said."""
    said = []

    def listen(progress):
        said.extend(progress.messages)
        progress.messages.clear()

    bv.run(study, store, progress=listen, **options)
    return said


def new_place(kind, request):
    """Return the path or URL of a place that no one has used."""
    if kind == "local":
        return str(request.getfixturevalue("tmp_path") / f"store-{next(numbers)}.zarr")
    if kind == "s3":
        request.getfixturevalue("s3")
        return f"s3://studies/of mine/store-{next(numbers)}.zarr"
    return f"memory://store-{next(numbers)}"


def simulated_blocks(monkeypatch, study, store, **options):
    """Run a study in this process and return which blocks were simulated."""
    seen = []
    simulate = type(study).simulate

    def spy(self, group, block, *work):
        # A trial, which is timed and not kept, is told how much of the work to do.
        if not work:
            seen.append((group.path, block))
        return simulate(self, group, block, *work)

    monkeypatch.setattr(type(study), "simulate", spy)
    bv.run(study, store, scheduler="synchronous", **options)
    monkeypatch.undo()
    return seen
