"""What it costs to have one more of a family in the package: a file of its own, and one line of the public names."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import pytest

import biasvar as bv
from biasvar.studies import components
from biasvar.studies.public import public_classes

PACKAGE = Path(bv.__file__).parent
IMPORTS = """\
from typing import Annotated, ClassVar
import numpy as np
from biasvar.fields import Real, component
"""
RISK = """\
name: s
target: {Linear: [1.0]}
inputs: {Uniform: [-1, 1]}
hypotheses: {H: {Polynomial: 0}}
n_train: 4
replicates: 4096
block_size: 128
"""
DESCENT = """\
kind: optimizer
name: s
objectives: {J: {Quadratic: {eigenvalues: [1.0, 2.0]}}}
optimizers: {r: SGD}
steps: 4
replicates: 2
"""


@dataclass(frozen=True)
class Addition:
    """A new class in the package: where it stands, its source, and a study that knows it by its name alone."""

    file: str
    source: str
    study: str
    variable: str

    @property
    def line(self):
        """The line of the public names."""
        name = self.source.partition("class ")[2].partition("(")[0].partition(":")[0]
        return f"from .{self.file.removesuffix('.py').replace('/', '.')} import {name} as {name}\n"


ADDITIONS = {
    "law of inputs": Addition(
        "learning/inputs.py",
        """
@component
class HalfUniform(Uniform):
    low: Real = 0.0
    high: Real = 0.5
""",
        RISK.replace("{Uniform: [-1, 1]}", "HalfUniform"),
        "expected_risk",
    ),
    "target": Addition(
        "learning/targets.py",
        """
@component
class Cube:
    smooth = True

    def __call__(self, x):
        return x**3
""",
        RISK.replace("{Linear: [1.0]}", "Cube"),
        "expected_risk",
    ),
    "hypothesis set": Addition(
        "learning/hypotheses/half_mean.py",
        IMPORTS
        + """
from biasvar.learning.hypotheses.base import LinearSmoother

@component
class HalfMean(LinearSmoother):
    factor: Real = 0.5

    def weights(self, x, at):
        return np.full((len(x), at.shape[1], x.shape[1]), self.factor / x.shape[1])
""",
        RISK.replace("{Polynomial: 0}", "HalfMean"),
        "expected_risk",
    ),
    "loss with a measure": Addition(
        "learning/losses/quartic_loss.py",
        IMPORTS
        + """
from biasvar.learning.losses.base import Loss
from biasvar.learning.measures import Measure

def twice(averages):
    return 2 * Loss.measures[0].value(averages)

def influence(averages):
    return 2 * Loss.measures[0].influence(averages)

@component
class QuarticLoss(Loss):
    measures: ClassVar = (*Loss.measures, Measure("twice", "twice the risk", "twice", value=twice, influence=influence))

    def value(self, labels, predictions):
        return (labels - predictions) ** 4
""",
        RISK + "loss: QuarticLoss\n",
        "twice",
    ),
    "objective": Addition(
        "optimization/objectives/quartic.py",
        IMPORTS
        + """
from biasvar.optimization.objectives.base import Described, Objective

@component
class Quartic(Described, Objective):
    scale: Real = 1.0
    dim = 2

    def value(self, theta):
        return self.scale * (theta**4).sum(axis=-1)

    def gradient(self, theta, batch=None):
        return 4 * self.scale * theta**3
""",
        DESCENT.replace("{Quadratic: {eigenvalues: [1.0, 2.0]}}", "Quartic"),
        "objective",
    ),
    "set of parameters": Addition(
        "optimization/sets/diagonal.py",
        IMPORTS
        + """
from biasvar.optimization.sets.base import ConvexSet

@component
class Diagonal(ConvexSet):
    offset: Real = 0.0
    dim = 2

    def contains(self, theta):
        return np.abs(theta[..., 1] - theta[..., 0] - self.offset) < 1e-9

    def project(self, theta, weights=None):
        middle = (theta.sum(axis=-1, keepdims=True) - self.offset) / 2
        return np.concatenate([middle, middle + self.offset], axis=-1)
""",
        DESCENT + "constraints: {J: {Diagonal: 1.0}}\n",
        "objective",
    ),
    "update rule": Addition(
        "optimization/rules/signs.py",
        IMPORTS
        + """
from biasvar.optimization.rules.base import Positives, UpdateRule

@component
class Signs(UpdateRule):
    learning_rate: Positives = (0.01, 0.1)

    def init(self, theta):
        return ()

    def update(self, theta, gradient, state, step, *, learning_rate):
        return theta - learning_rate * np.sign(gradient), ()
""",
        DESCENT.replace("SGD", "Signs"),
        "objective",
    ),
    "schedule": Addition(
        "optimization/schedules.py",
        """
@component
class Halved:
    def __call__(self, step, steps):
        return 0.5
""",
        DESCENT.replace("SGD", "{SGD: {schedule: Halved}}"),
        "objective",
    ),
    "kind of study": Addition(
        "studies/maximum.py",
        IMPORTS
        + """
from biasvar.studies.average import AverageStudy, Number
from biasvar.studies.marks import Axis

class Maximum(AverageStudy):
    kind = "maximum"
    numbers = (Number("maximum", "largest of n uniforms"),)

    n: Annotated[tuple[int, ...], Axis()]

    def replicate(self, generator, size, n):
        return generator.random((size, n)).max(axis=1)
""",
        "kind: maximum\nname: s\nn: [1, 3]\nreplicates: 4096\n",
        "maximum",
    ),
}

RUN_ALL = """
import json, sys
import numpy as np
import xarray as xr
import biasvar as bv

found = {}
for name, (text, variable) in json.load(sys.stdin).items():
    path = f"{name}.yaml".replace(" ", "-")
    with open(path, "w") as file:
        file.write(text)
    study, store = bv.load(path), path.replace("yaml", "zarr")
    summary = bv.run(study, store, scheduler="synchronous", progress=False)
    node = summary if isinstance(summary, xr.Dataset) else summary["J/r"]
    found[name] = [bool(np.isfinite(node[variable]).all()), bv.load(store) == study, bv.__file__]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_one_more_of_a_family_is_its_file_and_a_line(tmp_path):
    copytree(PACKAGE, tmp_path / "biasvar")
    names = tmp_path / "biasvar" / "__init__.pyi"
    for addition in ADDITIONS.values():
        with (tmp_path / "biasvar" / addition.file).open("a") as file:
            file.write(addition.source)
        with names.open("a") as file:
            file.write(addition.line)
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps({name: (each.study, each.variable) for name, each in ADDITIONS.items()}),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {name: [True, True, str(tmp_path / "biasvar" / "__init__.py")] for name in ADDITIONS}


def test_families_are_those_among_the_public_names():
    assert {getattr(bv, name) for name in bv.__all__} >= components.OURS
    assert {"SGD", "Adam", "Nesterov"} <= set(components.OPTIMIZERS)
    assert {"Polynomial", "Ridge", "Estimator"} <= set(components.HYPOTHESES)
    assert set(components.LOSSES) == {"Squared"}
    abstract = {bv.Inputs, bv.HypothesisSet, bv.Loss, bv.Objective, bv.UpdateRule}
    assert not components.OURS & abstract
    assert {each.kind for each in public_classes("studies", bv.Study).values()} >= {"risk", "optimizer"}
