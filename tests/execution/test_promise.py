"""Which of two promises of same bits a store has: what calls other people's code is found, wherever it stands."""

import json

import pytest
from click.testing import CliRunner
from sklearn.tree import DecisionTreeRegressor

import biasvar as bv
from biasvar.cli import main
from biasvar.execution.promise import promise
from biasvar.execution.store import Store

ANYWHERE = "same bits on any x86-64 machine"


def mine(x):
    """A target of a user's own."""
    return x**2


class Mean:
    """A set of a user's own."""

    def fit_predict(self, x, y, at, rng):
        return 0 * at + y.mean(axis=1, keepdims=True)


class MyAverage(bv.RiskStudy):
    """A kind of study of a user's own."""


def study(kind=bv.RiskStudy, hypothesis=None, **fields):
    """Make a study of a moment."""
    hypotheses = {"line": bv.Polynomial(1), "other": hypothesis or bv.Ridge(1, 0.5)}
    fields = {"target": bv.Sine(), "inputs": bv.Uniform(-1, 1), **fields}
    return kind(name="promise", hypotheses=hypotheses, n_train=[4], replicates=256, block_size=16, **fields)


PARTS = {
    "built in": (study(), ""),
    "stopped": (study(hypothesis=bv.Descended(bv.Polynomial(1), bv.SGD(0.1), 5)), ""),
    "target": (study(target=mine), "mine"),
    "set": (study(hypothesis=Mean()), "Mean"),
    "scikit-learn": (study(hypothesis=bv.Estimator(DecisionTreeRegressor(max_depth=1))), "DecisionTreeRegressor"),
    "kind": (study(MyAverage), "MyAverage"),
    "two": (study(target=mine, hypothesis=Mean()), "Mean and mine"),
}


@pytest.mark.parametrize("part", PARTS)
def test_it_is_said_what_narrows_the_promise(part, tmp_path):
    of, names = PARTS[part]
    bv.run(of, tmp_path / "s.zarr", scheduler="synchronous", progress=False)
    found = bv.verify(tmp_path / "s.zarr")
    narrower = f"same bits on the same kind of CPU with the same libraries, which {names} call"
    assert found.ok
    assert found.promise == (ANYWHERE if not names else narrower + ("" if " and " in names else "s"))
    assert str(found).endswith(f"all sound; {found.promise}")


def test_older_arithmetic_promises_less(tmp_path):
    bv.run(study(), tmp_path / "s.zarr", scheduler="synchronous", progress=False)
    attributes = Store(tmp_path / "s.zarr").attributes()
    assert promise(attributes) == ANYWHERE
    assert promise({**attributes, "numerics": 2}).endswith("which arithmetic number 2 calls")


def test_the_command_line_keeps_the_digest_by_itself(tmp_path):
    bv.run(study(), tmp_path / "s.zarr", scheduler="synchronous", progress=False)
    told = CliRunner().invoke(main, ["digest", str(tmp_path / "s.zarr")])
    assert told.stdout == f"{bv.digest(tmp_path / 's.zarr')}\n"
    assert told.stderr == f"{ANYWHERE}\n"
    checked = CliRunner().invoke(main, ["verify", "--json", str(tmp_path / "s.zarr")])
    assert json.loads(checked.stdout)["promise"] == ANYWHERE
