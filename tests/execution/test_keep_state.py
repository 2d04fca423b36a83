"""Optimizer studies that keep states: with more steps their descents go on, with the bits of one run of all steps."""

import numpy as np
import pytest
from helpers import messages

import biasvar as bv
from biasvar.errors import StudyChangedError, StudyError
from biasvar.execution.store import Store
from biasvar.optimization import trajectories
from biasvar.optimization.descent import Outcome
from biasvar.studies.base import Begun
from biasvar.studies.optimizer import labels_of

RNG = np.random.default_rng(3)
X = RNG.normal(size=(11, 20))
Y = (X[:, 0] > 0).astype(float)
GOES_ON = "steps: 30 in the store, 50 now: descents go on from where they ended"
AGAIN = "steps: 30 in the store, 50 now: descents are simulated again, from the start"
RULES = ["SGD", "Momentum", "Nesterov", "Lion", "AdaGrad", "RMSProp", "RMSPropNesterov", "AdaDelta", "Adam", "AdamW"]
RULES += ["AMSGrad", "NAdam"]


def kept(**changes):
    fields = {
        "name": "kept",
        "objectives": {"loss": bv.EmpiricalRisk(data=(X, Y), loss="logistic", penalty=0.1)},
        "optimizers": {"sgd": bv.SGD(learning_rate=[0.001, 0.1, 3]), "adam": bv.Adam(learning_rate=[0.1, 0.2])},
        "batch_size": [None, 3],
        "steps": 30,
        "replicates": 2,
        "keep_state": True,
    }
    return bv.OptimizerStudy(**{**fields, **changes})


@pytest.fixture
def taken_up(monkeypatch):
    """After how many steps each run of trajectories of a task that goes on began: 0 from the start."""
    found, inside = [], []
    run, go_on = trajectories.run, bv.OptimizerStudy.go_on

    def spied_run(descent, initial, hyper, batches, begun=None):
        if inside:
            found.append(0 if begun is None else begun.descent.steps)
        return run(descent, initial, hyper, batches, begun)

    def spied(self, *arguments):
        inside.append(True)
        try:
            return go_on(self, *arguments)
        finally:
            inside.pop()

    monkeypatch.setattr(trajectories, "run", spied_run)
    monkeypatch.setattr(bv.OptimizerStudy, "go_on", spied)
    return found


def assert_as_at_once(study, store, tmp_path):
    bv.run(study, tmp_path / "at-once.zarr", scheduler="synchronous")
    assert bv.digest(store) == bv.digest(tmp_path / "at-once.zarr")
    assert bv.verify(store).ok
    assert not Store(store).earlier()


def assert_goes_on(short, long):
    """Blocks of a longer study, made of those of a shorter one, are those of a run of all its steps."""
    for before, group in zip(short.groups(), long.groups(), strict=True):
        assert long.work_begun(group, short.record_coordinates(before)) == short.steps
        for block in range(short.replicates):
            records, failures, _ = short.simulate(before, block)
            found = long.go_on(group, block, [Begun(short.steps, before.cells, records, failures)])
            wanted = long.simulate(group, block)
            assert found.failures == wanted.failures
            assert np.array_equal(found.records, wanted.records, equal_nan=True)


@pytest.mark.parametrize(
    ("schedule", "order"),
    [(None, "shuffled"), (bv.InverseSqrt(warmup=4), "replacement"), (bv.StepDecay(0.5, every=7), "fixed")],
    ids=repr,
)
def test_every_rule_goes_on_with_the_bits_of_one_run(schedule, order, taken_up):
    every = {rule: getattr(bv, rule)(learning_rate=[0.01, 0.2, 5], schedule=schedule) for rule in RULES}
    short = kept(optimizers=every, order=order, replicates=1)
    assert_goes_on(short, short.replace(steps=50))
    assert set(taken_up) == {30}


@pytest.mark.parametrize(("scheduler", "chunk"), [("threads", 1), pytest.param("processes", 2, marks=pytest.mark.slow)])
def test_on_every_scheduler_and_with_more_of_all_at_once(scheduler, chunk, store, tmp_path):
    bv.run(kept(), store, scheduler=scheduler, blocks_per_chunk=chunk)
    rates = {"sgd": bv.SGD(learning_rate=[0.001, 0.03, 0.1, 3]), "nag": bv.Nesterov(learning_rate=0.01)}
    more = kept(steps=50, replicates=5, optimizers=kept().optimizers | rates, batch_size=[None, 3, 5])
    assert messages(more, store, scheduler=scheduler, blocks_per_chunk=chunk) == [GOES_ON]
    assert_as_at_once(more, store, tmp_path)


def test_schedules_that_depend_on_the_number_of_steps_begin_anew(store, tmp_path, taken_up):
    rules = {"cosine": bv.SGD(learning_rate=0.1, schedule=bv.Cosine()), "adam": bv.Adam(learning_rate=0.1)}
    short = kept(optimizers=rules, batch_size=None)
    bv.run(short, store)
    said = messages(short.replace(steps=50), store, scheduler="synchronous")
    assert said == [f"{GOES_ON}, but those of cosine from the start: schedules there depend on the number of steps"]
    # Of two replicates; those that begin anew are given nothing to go on with.
    assert taken_up == [30] * 2
    assert_as_at_once(short.replace(steps=50), store, tmp_path)


class Cliff:
    """A bowl that raises on one side, far out, and is undefined on the other."""

    dim = 2

    def value(self, theta):
        return (theta**2).sum(axis=1)

    def gradient(self, theta, batch=None):
        if (theta[:, 1] > 40).any():
            raise RuntimeError("over the edge")
        slope = 2 * theta
        slope[theta[:, 1] < -40] = np.nan
        return slope


@pytest.mark.parametrize("steps", [7, 8, 15, 20, 40])
def test_what_has_stopped_or_failed_is_as_in_one_run(steps):
    rates = np.geomspace(0.001, 3, 30).round(4).tolist()
    short = bv.OptimizerStudy(
        name="ends",
        objectives={"cliff": Cliff(), "bowl": bv.Quadratic([1, 10])},
        optimizers={"sgd": bv.SGD(learning_rate=rates), "heavy": bv.Momentum(learning_rate=rates)},
        tolerance=0.1,
        targets={"cliff": [0.5, 0.1], "bowl": [1.0, 1e-12]},
        initial={"cliff": [2.0, 1.0]},
        steps=steps,
        replicates=3,
        keep_state=True,
    )
    assert_goes_on(short, short.replace(steps=100))
    ends = [short.descent(*labels_of(group)).unpack(short.simulate(group, 0).records)[1] for group in short.groups()]
    late = {Outcome.CONVERGED} if steps < 40 else set()
    assert set(np.concatenate(ends).tolist()) >= set(Outcome) - late


@pytest.mark.parametrize("steps", [[10, 30], [5, 10, 20]])
def test_other_looks_on_the_way_begin_anew_and_it_is_said(steps, store, tmp_path, taken_up):
    bv.run(kept(record_steps=[10]), store)
    (said,) = messages(kept(record_steps=steps, steps=50), store, scheduler="synchronous")
    if 30 in steps:
        assert (said, set(taken_up)) == (GOES_ON, {30})
    else:
        assert said == f"{AGAIN}, since record_steps up to 30 are not those of the store, 10, 30"
        assert not taken_up
    assert_as_at_once(kept(record_steps=steps, steps=50), store, tmp_path)


def test_a_store_goes_on_again_and_again_until_nothing_is_kept(store, tmp_path, taken_up):
    for steps, keeps in ((30, True), (50, True), (70, False)):
        looks = kept(steps=steps).all_record_steps
        last = kept(steps=steps, keep_state=keeps, record_steps=looks)
        bv.run(last, store, scheduler="synchronous")
    assert set(taken_up) == {30, 50}
    assert_as_at_once(last, store, tmp_path)


def test_as_many_steps_keep_states_in_both_or_neither(store):
    bv.run(kept(), store)
    with pytest.raises(StudyChangedError, match="keep_state: the store has True, the study False"):
        bv.run(kept(keep_state=False, record_steps=kept().all_record_steps), store)
    assert "keep_state" not in kept(keep_state=False).to_json()


def test_what_is_damaged_begins_anew(store, tmp_path, taken_up):
    bv.run(kept(batch_size=None), store, blocks_per_chunk=1)
    for path in store.glob("blocks/loss~sgd/*/records/c/0/0/0"):
        path.write_bytes(path.read_bytes()[:-3])
    bv.run(kept(batch_size=None, steps=50), store, scheduler="synchronous", blocks_per_chunk=1)
    # Two rules and replicates, but for the one that is damaged.
    assert taken_up == [30] * 3
    assert_as_at_once(kept(batch_size=None, steps=50), store, tmp_path)


class StoppedError(Exception):
    pass


def stop_after(done):
    def listen(progress):
        if progress.done == done:
            raise StoppedError

    return listen


def test_a_run_that_was_stopped_while_it_went_on_goes_on(store, tmp_path, taken_up):
    bv.run(kept(), store)
    with pytest.raises(StoppedError):
        bv.run(kept(steps=50), store, scheduler="synchronous", blocks_per_chunk=1, progress=stop_after(3))
    taken_up.clear()
    # Some blocks have 50 steps by now, all have 30, and each goes on from its longest.
    bv.run(kept(steps=80), store, scheduler="synchronous", blocks_per_chunk=1)
    assert set(taken_up) == {30, 50}
    assert_as_at_once(kept(steps=80), store, tmp_path)


# Rules of a user's own


class Own:
    """Has a state of many types and forms, and parameters that lie in Fortran's order."""

    learning_rate = (0.01, 0.1)
    hyperparameters = {"learning_rate": learning_rate}  # noqa: RUF012

    def init(self, theta):
        counts = np.zeros(theta.shape[1], np.int64)
        return {"t": 0, "seen": [counts, None], "mean": np.zeros_like(theta, np.float32), "odd": False, "w": 1.0}

    def update(self, theta, gradient, state, step, *, learning_rate):
        assert state["t"] == step - 1
        assert type(state["t"]) is int
        mean = (0.9 * state["mean"] + gradient / state["w"]).astype(np.float32)
        seen = state["seen"][0] + (gradient[0] > 0)
        after = {"t": step, "seen": [seen, None], "mean": mean, "odd": not state["odd"], "w": state["w"] * 0.99}
        rate = learning_rate * (1 + 0.01 * (seen % 3)) * (0.9 if state["odd"] else 1.0)
        return np.asfortranarray(theta - rate * mean), after


class Changes(Own):
    def update(self, theta, gradient, state, step, *, learning_rate):
        theta, after = super().update(theta, gradient, state, step, learning_rate=learning_rate)
        return theta, after | {"t": float(step)}


def test_a_rule_of_ones_own_goes_on(store, tmp_path, taken_up):
    short = kept(optimizers={"own": Own()})
    bv.run(short, store, scheduler="synchronous")
    assert messages(short.replace(steps=50), store, scheduler="synchronous") == [GOES_ON]
    assert set(taken_up) == {30}
    assert_as_at_once(short.replace(steps=50), store, tmp_path)


def test_a_state_that_changes_its_type_is_refused(store):
    with pytest.raises(StudyError, match=r"^optimizers.own: its state is int at first and float after a step; keep_st"):
        bv.run(kept(optimizers={"own": Changes()}), store)
    assert not store.exists()
