"""Descents within sets have the same bits everywhere, and go on from where they ended."""

import numpy as np
import pytest

import biasvar as bv

RULES = {name: getattr(bv, name)([0.01, 0.1]) for name in ("RMSPropNesterov", "Adam")}
INPUTS = np.random.default_rng(0).normal(size=(30, 3))


class Orthant:
    """A user's set, in an order of its own in memory."""

    dim = 3

    def contains(self, theta):
        return (theta >= 0).all(axis=-1)

    def project(self, theta):
        return np.ascontiguousarray(np.maximum(theta, 0))


def study(**changes):
    loss = bv.EmpiricalRisk(data=(INPUTS, (INPUTS[:, 0] > 0).astype(float)), loss="logistic")
    sets = {
        "ball": bv.Ball(0.5, [0.3, 0.0, 0.1]),
        "plane": bv.Affine([[1, 1, 0]], [0.5]),
        "own": Orthant(),
    }
    fields = {
        "name": "kept-within",
        "objectives": dict.fromkeys(sets, loss),
        "constraints": sets,
        "optimizers": RULES,
        "batch_size": [None, 4],
        "steps": 30,
        "replicates": 2,
        "keep_state": True,
    }
    return bv.OptimizerStudy(**{**fields, **changes})


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    store = tmp_path_factory.mktemp("reference") / "within.zarr"
    bv.run(study(), store, scheduler="synchronous")
    return bv.digest(store)


@pytest.mark.parametrize(("scheduler", "chunk"), [("threads", 1), pytest.param("processes", 2, marks=pytest.mark.slow)])
def test_same_bits_on_every_scheduler(scheduler, chunk, store, reference):
    bv.run(study(), store, scheduler=scheduler, blocks_per_chunk=chunk)
    assert bv.digest(store) == reference


def test_what_has_kept_its_state_goes_on_with_the_bits_of_one_run(store, reference):
    bv.run(study(steps=20), store, scheduler="synchronous")
    bv.run(study(), store, scheduler="synchronous")
    assert bv.digest(store) == reference


def test_a_configuration_has_the_same_bits_whichever_others_stand_beside_it(store, reference):
    few = {name: type(rule)(0.1) for name, rule in RULES.items()}
    bv.run(study(optimizers=few), store, scheduler="synchronous")
    bv.run(study(), store, scheduler="synchronous")
    assert bv.digest(store) == reference
