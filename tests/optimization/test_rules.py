"""One contract for every update rule, and the same paths as torch's, a plain Python loop's, and by hand."""

import json
import pickle
from collections import defaultdict
from dataclasses import FrozenInstanceError
from math import cos, pi, sin, sqrt
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from biasvar.errors import StudyError
from biasvar.optimization.rules import UpdateRule, adapted, advance, descend, logspace
from biasvar.optimization.rules.adam import Adam, AdamW, AMSGrad, NAdam
from biasvar.optimization.rules.adaptive import AdaDelta, AdaGrad, RMSProp, RMSPropNesterov
from biasvar.optimization.rules.momentum import SGD, Lion, Momentum, Nesterov
from biasvar.optimization.schedules import ConstantRate, Cosine, InverseSqrt, StepDecay
from biasvar.studies.public import public_classes

RULES = [
    SGD(),
    Momentum(),
    Nesterov(),
    Lion(),
    Lion(weight_decay=0.1),
    AdaGrad(),
    RMSProp(),
    RMSProp(epsilon_inside=True),
    RMSPropNesterov(),
    RMSPropNesterov(epsilon_inside=True),
    AdaDelta(),
    Adam(),
    AdamW(),
    AMSGrad(),
    NAdam(),
]
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)
LIMITS = {"learning_rate": (0.001, 0.5), "epsilon": (1e-8, 0.1)}


def test_every_rule_is_a_member():
    assert {type(rule) for rule in RULES} == set(public_classes("optimization.rules", UpdateRule).values())


# The contract


def trajectories(rule, count, seed=0, d=3):
    """Draw starts (d, count), gradients of six steps, and hyperparameters of each trajectory."""
    rng = np.random.default_rng(seed)
    hyper = {name: rng.uniform(*LIMITS.get(name, (0.1, 0.99)), count) for name in rule.hyperparameters}
    return rng.normal(size=(d, count)), rng.normal(size=(6, d, count)), hyper


def run(rule, theta, gradients, hyper):
    """Return all arrays after the last step, theta first."""
    state = rule.init(theta)
    for step, gradient in enumerate(gradients, start=1):
        theta, state = rule.update(theta, gradient, state, step, **hyper)
    return (theta, *state)


def chosen(arrays, which):
    return [np.ascontiguousarray(array[..., which]) for array in arrays]


@every_rule
def test_update_writes_into_no_argument_and_returns_none_of_them(rule):
    theta, gradients, hyper = trajectories(rule, 7)
    theta, *state = run(rule, theta, gradients, hyper)
    arguments = [theta, gradients[0], *state, *hyper.values()]
    before = [argument.tobytes() for argument in arguments]
    after, states = rule.update(theta, gradients[0], tuple(state), 7, **hyper)
    assert [argument.tobytes() for argument in arguments] == before
    assert not any(np.shares_memory(new, old) for new in (after, *states) for old in arguments)
    assert after.tobytes() != before[0]
    again, _ = rule.update(theta, gradients[0], tuple(state), 7, **hyper)
    assert again.tobytes() == after.tobytes()


@every_rule
def test_state_is_of_parameters_or_of_trajectories(rule):
    theta, gradients, hyper = trajectories(rule, 7)
    start, end = rule.init(theta), run(rule, theta, gradients, hyper)[1:]
    assert isinstance(start, tuple)
    assert [array.shape for array in start] == [array.shape for array in end]
    for array in (*start, *end):
        assert array.dtype == np.float64
        assert array.shape in ((3, 7), (7,))


@every_rule
def test_a_trajectory_has_the_same_bits_in_any_company(rule):
    theta, gradients, hyper = trajectories(rule, 45)
    gradients[2, :, 5] = np.nan
    gradients[3, 1, 6] = np.inf
    together = run(rule, theta, gradients, hyper)
    assert np.isnan(together[0][:, 5]).all()
    subsets = [[k] for k in range(0, 45, 4)] + [slice(None, None, -1), slice(3, 36), slice(1, 18), [6, 5, 4, 4]]
    for which in subsets:
        start, steps, *values = chosen([theta, gradients, *hyper.values()], which)
        alone = run(rule, start, steps, dict(zip(hyper, values, strict=True)))
        assert [array.tobytes() for array in alone] == [array.tobytes() for array in chosen(together, which)]


@every_rule
def test_parameters_do_not_see_each_other(rule):
    theta, gradients, hyper = trajectories(rule, 20)
    whole = run(rule, theta, gradients, hyper)[0]
    alone = run(rule, theta[1:2], gradients[:, 1:2], hyper)[0]
    assert alone.tobytes() == whole[1:2].tobytes()


@every_rule
def test_without_a_gradient_theta_stays_but_for_weight_decay(rule):
    theta, gradients, hyper = trajectories(rule, 7)
    expected = theta.copy()
    for _ in gradients:
        if "weight_decay" in hyper:
            expected = expected - hyper["learning_rate"] * hyper["weight_decay"] * expected
    np.testing.assert_allclose(run(rule, theta, 0 * gradients, hyper)[0], expected, rtol=1e-14, atol=0)


@every_rule
def test_no_number_is_so_small_that_processors_are_slow(rule):
    theta, _, hyper = trajectories(rule, 7)
    state = rule.init(theta)
    # Without an epsilon, too: a root of zero would be divided by.
    hyper = {name: 0 * values if name == "epsilon" else np.minimum(values, 0.9) for name, values in hyper.items()}
    for step in range(1, 12_001):
        slope = theta if step < 500 else 0 * theta
        theta, state = rule.update(theta, slope, state, step, **hyper)
        if step % 100 == 0:
            theta = 1e-5 * theta
    for array in (theta, *state):
        assert np.isfinite(array).all()
        assert not ((array != 0) & (np.abs(array) < np.finfo(float).tiny)).any()


@every_rule
def test_the_gradient_is_taken_at_lookahead_where_there_is_one(rule):
    theta, gradients, hyper = trajectories(rule, 7)
    theta, *state = run(rule, theta, gradients, hyper)
    if not isinstance(rule, Nesterov | RMSPropNesterov):
        assert rule.lookahead(theta, tuple(state), **hyper) is theta
        return
    ahead = rule.lookahead(theta, tuple(state), **hyper)
    still, _ = rule.update(theta, 0 * theta, tuple(state), 7, **hyper)  # no gradient: only the velocity moves theta
    np.testing.assert_allclose(ahead, still, rtol=1e-14)


@every_rule
def test_rules_are_values(rule):
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert eval(repr(rule)) == rule
    assert hash(eval(repr(rule))) == hash(rule)
    assert type(rule)(learning_rate=0.123) != rule
    with pytest.raises(FrozenInstanceError):
        rule.learning_rate = (1.0,)


@every_rule
def test_hyperparameters_are_axes_of_a_grid(rule):
    names = list(rule.hyperparameters)
    assert names[0] == "learning_rate"
    assert names == [name for name in vars(rule) if name not in ("epsilon_inside", "schedule")]
    assert all(len(values) == 1 for values in rule.hyperparameters.values())
    last = names[-1]
    grid = type(rule)(np.array([1, 0.1]), **{last: range(1)} if last != "learning_rate" else {})
    assert grid.hyperparameters["learning_rate"] == (1.0, 0.1)
    assert grid.hyperparameters[last][-1] == (0.0 if last != "learning_rate" else 0.1)
    assert {type(value) for values in grid.hyperparameters.values() for value in values} == {float}


@every_rule
def test_a_schedule_multiplies_the_learning_rate(rule):
    fields = rule.hyperparameters | {k: v for k, v in vars(rule).items() if k == "epsilon_inside"}
    halved = type(rule)(**fields | {"learning_rate": 0.05})
    scheduled = type(rule)(**fields | {"learning_rate": 0.1}, schedule=lambda step, steps: step / 2 / steps)
    first, second = (descend(each, np.sin, [1.0, 2.0], 1) for each in (halved, scheduled))
    assert first.tobytes() == second.tobytes()
    assert descend(scheduled, np.sin, [1.0, 2.0], 2)[1].tobytes() != first[1].tobytes()


SCALE_FREE = [
    AdaGrad(0.1, epsilon=0),
    RMSProp(0.1, epsilon=0),
    RMSPropNesterov(0.1, epsilon=0),
    *(kind(0.1, epsilon=0) for kind in (Adam, AdamW, AMSGrad, NAdam)),
    Lion(0.1),
]


@pytest.mark.parametrize("rule", SCALE_FREE, ids=repr)
def test_steps_do_not_depend_on_the_scale_of_gradients(rule):
    theta, gradients, _ = trajectories(rule, 9)
    hyper = {name: np.full(9, values[0]) for name, values in rule.hyperparameters.items()}
    # Multiplied by a power of two, not even rounding differs.
    assert run(rule, theta, 1024 * gradients, hyper)[0].tobytes() == run(rule, theta, gradients, hyper)[0].tobytes()


# By hand: from theta = 1 along the gradient 2 theta

FIRST_STEPS = [
    (SGD(0.1), [0.8, 0.64]),
    (Momentum(0.1, 0.5), [0.8, 0.8 - 0.1 - 0.16]),
    (Nesterov(0.1, 0.5), [0.8, 0.8 - 0.1 - 0.14]),
    (AdaGrad(0.1, 2), [0.95, 0.95 - 0.19 / (2 + sqrt(4 + 3.61))]),
    (RMSProp(0.1, 0.75, 1), [0.9, 0.9 - 0.18 / (1 + sqrt(0.75 + 0.81))]),
    (RMSProp(0.1, 0.75, 1, epsilon_inside=True), [1 - 0.2 / sqrt(2)]),
    (RMSPropNesterov(0.1, 0.75, 0.5, 1), [0.9, 0.9 - 0.05 - 0.17 / (1 + sqrt(0.75 + 0.25 * 1.7**2))]),
    (RMSPropNesterov(0.1, 0.75, 0.5, 1, epsilon_inside=True), [1 - 0.2 / sqrt(2)]),
    (AdaDelta(0.5, 0.75, 1), [1 - sqrt(2) / 2]),
    (Adam(0.1, 0.5, 0.75, 2), [0.95, 0.95 - 0.1 * (1.45 / 0.75) / (sqrt((0.75 + 1.9**2 / 4) / 0.4375) + 2)]),
    (AdamW(0.1, 0.5, 0.75, 2, weight_decay=0.5), [0.9]),
    (AMSGrad(0.1, 0.5, 0.75, 2), [0.95, 0.95 - 0.1 * (1.45 / 0.75) / (sqrt((0.75 + 1.9**2 / 4) / 0.4375) + 2)]),
    (NAdam(0.1, 0.5, 0.75, 2), [1 - 0.1 * (2 / 3 + 2) / 4]),
    (Lion(0.1), [0.9, 0.8]),
    (Lion(0.1, weight_decay=0.5), [0.85]),
]


@pytest.mark.parametrize(("rule", "expected"), FIRST_STEPS, ids=repr)
def test_first_steps_are_those_computed_by_hand(rule, expected):
    path = descend(rule, lambda theta: 2 * theta, [1.0], len(expected))
    np.testing.assert_allclose(path[1:, 0, 0], expected, rtol=1e-14)


def test_amsgrad_remembers_the_largest_square():
    # Gradients 4, then 0: r falls from 4 to 3 to 2.25, its largest stays at 4.
    theta, state = np.array([[0.0]]), AMSGrad().init(np.array([[0.0]]))
    hyper = {"learning_rate": 1.0, "beta1": 0.5, "beta2": 0.75, "epsilon": 0.0}
    hyper = {name: np.array([value]) for name, value in hyper.items()}
    for step, gradient in enumerate((4.0, 0.0, 0.0), start=1):
        before = theta
        theta, state = AMSGrad().update(theta, np.array([[gradient]]), state, step, **hyper)
    assert state[1] == 2.25
    assert state[2] == 4
    np.testing.assert_allclose(theta - before, [[-(0.5 / 0.875) / sqrt(4 / (1 - 0.75**3))]], rtol=1e-14)


# In plain Python, one trajectory of one parameter at a time: x, gradient function, step, memory, hyperparameters


def sgd(x, g, t, m, h):
    return x - h.learning_rate * g(x)


def momentum(x, g, t, m, h):
    m["v"] = h.momentum * m["v"] - h.learning_rate * g(x)
    return x + m["v"]


def nesterov(x, g, t, m, h):
    m["v"] = h.momentum * m["v"] - h.learning_rate * g(x + h.momentum * m["v"])
    return x + m["v"]


def lion(x, g, t, m, h):
    gradient = g(x)
    mixed = h.beta1 * m["m"] + (1 - h.beta1) * gradient
    m["m"] = h.beta2 * m["m"] + (1 - h.beta2) * gradient
    sign = (mixed > 0) - (mixed < 0)
    return x - h.learning_rate * (sign + h.weight_decay * x)


def adagrad(x, g, t, m, h):
    m["r"] += g(x) ** 2
    return x - h.learning_rate / (h.epsilon + sqrt(m["r"])) * g(x)


def rmsprop(x, g, t, m, h):
    m["r"] = h.rho * m["r"] + (1 - h.rho) * g(x) ** 2
    root = sqrt(h.epsilon + m["r"]) if h.epsilon_inside else h.epsilon + sqrt(m["r"])
    return x - h.learning_rate / root * g(x)


def rmsprop_nesterov(x, g, t, m, h):
    gradient = g(x + h.momentum * m["v"])
    m["r"] = h.rho * m["r"] + (1 - h.rho) * gradient**2
    root = sqrt(h.epsilon + m["r"]) if h.epsilon_inside else h.epsilon + sqrt(m["r"])
    m["v"] = h.momentum * m["v"] - h.learning_rate / root * gradient
    return x + m["v"]


def adadelta(x, g, t, m, h):
    m["r"] = h.rho * m["r"] + (1 - h.rho) * g(x) ** 2
    u = sqrt(m["s"] + h.epsilon) / sqrt(m["r"] + h.epsilon) * g(x)
    m["s"] = h.rho * m["s"] + (1 - h.rho) * u**2
    return x - h.learning_rate * u


def moments(x, g, t, m, h):
    m["s"] = h.beta1 * m["s"] + (1 - h.beta1) * g(x)
    m["r"] = h.beta2 * m["r"] + (1 - h.beta2) * g(x) ** 2
    m["q"] = max(m["q"], m["r"])
    return m["s"] / (1 - h.beta1**t), m["r"] / (1 - h.beta2**t), m["q"] / (1 - h.beta2**t)


def adam(x, g, t, m, h):
    s, r, _ = moments(x, g, t, m, h)
    return x - h.learning_rate * s / (sqrt(r) + h.epsilon)


def adamw(x, g, t, m, h):
    s, r, _ = moments(x, g, t, m, h)
    return x - h.learning_rate * h.weight_decay * x - h.learning_rate * s / (sqrt(r) + h.epsilon)


def amsgrad(x, g, t, m, h):
    s, _, q = moments(x, g, t, m, h)
    return x - h.learning_rate * s / (sqrt(q) + h.epsilon)


def nadam(x, g, t, m, h):
    _, r, _ = moments(x, g, t, m, h)
    ahead = h.beta1 * m["s"] / (1 - h.beta1 ** (t + 1)) + (1 - h.beta1) * g(x) / (1 - h.beta1**t)
    return x - h.learning_rate * ahead / (sqrt(r) + h.epsilon)


PLAIN = {
    SGD: sgd,
    Momentum: momentum,
    Nesterov: nesterov,
    Lion: lion,
    AdaGrad: adagrad,
    RMSProp: rmsprop,
    RMSPropNesterov: rmsprop_nesterov,
    AdaDelta: adadelta,
    Adam: adam,
    AdamW: adamw,
    AMSGrad: amsgrad,
    NAdam: nadam,
}


def plain_path(rule, start, steps, schedule, **hyper):
    x, memory, path = start, defaultdict(float), [start]
    for t in range(1, steps + 1):
        now = hyper | {"learning_rate": hyper["learning_rate"] * schedule(t, steps)}
        h = SimpleNamespace(**now, epsilon_inside=getattr(rule, "epsilon_inside", None))
        x = PLAIN[type(rule)](x, lambda at: at + 2 * sin(at), t, memory, h)
        path.append(x)
    return path


@pytest.mark.parametrize("schedule", [ConstantRate(), InverseSqrt(4), Cosine(0.1)], ids=repr)
@every_rule
def test_paths_are_those_of_a_plain_loop(rule, schedule):
    starts = [-2.0, 0.7, 1.5, 3.0]
    axes = {
        "learning_rate": (0.02, 0.05, 0.1, 0.2),
        "momentum": (0.0, 0.5, 0.8, 0.9),
        "rho": (0.5, 0.9, 0.95, 0.99),
        "beta1": (0.0, 0.5, 0.9, 0.95),
        "beta2": (0.5, 0.9, 0.99, 0.999),
        "epsilon": (1e-1, 1e-2, 1e-3, 1e-4),
        "weight_decay": (0.0, 0.01, 0.1, 1.0),
    }
    fields = {name: axes[name] for name in rule.hyperparameters}
    options = {name: value for name, value in vars(rule).items() if name == "epsilon_inside"}
    ours = descend(type(rule)(**fields, **options, schedule=schedule), gradient_of_plain, [starts], 40)[:, 0]
    for k, start in enumerate(starts):
        theirs = plain_path(rule, start, 40, schedule, **{name: values[k] for name, values in fields.items()})
        np.testing.assert_allclose(ours[:, k], theirs, rtol=0, atol=1e-12)


def gradient_of_plain(theta):
    return theta + 2 * np.sin(theta)


def test_bias_corrections_are_powers_of_the_step_over_ten_thousand_steps():
    beta = np.array([0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999999])
    theta, one = np.zeros((1, len(beta))), np.ones(len(beta))
    rule = Adam()
    state = rule.init(theta)
    for t in range(1, 10_001):
        _, state = rule.update(theta, theta, state, t, learning_rate=one, beta1=beta, beta2=beta, epsilon=one)
        with np.errstate(divide="ignore"):
            exact = -np.expm1(t * np.log1p(-(1 - beta)))  # 1 - beta**t, where that is rounded to few digits as well
        for correction in state[2:]:
            assert (abs(correction / exact - 1) < 1e-13).all(), t


# torch's paths, made by data/torch_trajectories.py

TERMS = np.array([[1.0, 0.5, -0.3], [-0.7, 0.2, 1.1], [0.4, -1.3, 0.6], [-0.9, 0.8, -0.5], [0.1, -0.4, -0.8]])
OFFSETS = np.array([0.3, -0.2, 0.5, 0.1, -0.4])
INPUTS = np.array([[1, 0.5], [1, -1.2], [1, 2.1], [1, 0.3], [1, -0.6], [1, 1.4], [1, -2.0], [1, 0.9]])
LABELS = np.array([1, -1, 1, -1, 1, 1, -1, -1])


def quadratic(theta):
    return np.array([[1.0], [100.0]]) * theta


def log_sum_exp(theta):
    exponentials = np.exp(TERMS @ theta + OFFSETS[:, None])
    return TERMS.T @ (exponentials / exponentials.sum(axis=0))


def rosenbrock(theta):
    x, y = theta
    return np.stack([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)])


def logistic(theta):
    signed = LABELS[:, None] * INPUTS
    return -signed.T @ (1 / (1 + np.exp(signed @ theta))) / len(LABELS)


GRADIENTS = {"quadratic": quadratic, "log_sum_exp": log_sum_exp, "rosenbrock": rosenbrock, "logistic": logistic}

with np.load(Path(__file__).parent / "data" / "torch_trajectories.npz") as stored:
    TORCH = {name: stored[name] for name in stored.files if name != "cases"}
    CASES = json.loads(str(stored["cases"]))


@pytest.mark.parametrize("case", CASES)
def test_paths_are_those_of_torch(case):
    name, objective = case.split("-")
    theirs = TORCH[case]
    steps = len(theirs) - 1
    ours = descend(
        public_classes("optimization.rules", UpdateRule)[name](**CASES[case]), GRADIENTS[objective], theirs[0], steps
    )
    assert abs(theirs[-1] - theirs[0]).max() > 0.01
    if name == "Nesterov":
        # torch keeps theta + a v, where the gradient is taken, and v is the last step of theta.
        velocity = np.diff(ours, axis=0, prepend=ours[:1])
        ours = ours + CASES[case]["momentum"] * velocity
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * abs(theirs).max())


def test_torch_has_made_paths_of_every_rule_it_shares():
    shared = {kind.__name__ for kind in PLAIN} - {"Lion", "RMSPropNesterov"}
    assert set(CASES) == set(TORCH) == {f"{name}-{objective}" for name in shared for objective in GRADIENTS}


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Momentum(momentum=1.5), "Momentum.momentum: expected 0 <= momentum < 1, got 1.5"),
        (lambda: Momentum(momentum=[0.5, 1]), "Momentum.momentum: expected 0 <= momentum < 1, got 1"),
        (lambda: Nesterov(momentum=-0.1), "Nesterov.momentum: expected 0 <= momentum < 1, got -0.1"),
        (lambda: SGD(learning_rate=0), "SGD.learning_rate: expected 0 < learning_rate < inf, got 0"),
        (lambda: SGD(learning_rate=[0.1, np.inf]), "SGD.learning_rate: expected 0 < learning_rate < inf, got inf"),
        (lambda: SGD(learning_rate=float("nan")), "SGD.learning_rate: expected 0 < learning_rate < inf, got nan"),
        (lambda: SGD(learning_rate="0.1"), "SGD.learning_rate: expected 0 < learning_rate < inf, got '0.1'"),
        (lambda: SGD(learning_rate=[0.1, True]), "SGD.learning_rate: expected 0 < learning_rate < inf, got True"),
        (lambda: SGD(learning_rate=10**400), "SGD.learning_rate: expected 0 < learning_rate < inf, got 10+"),
        (lambda: SGD(learning_rate=True), "SGD.learning_rate: expected 0 < learning_rate < inf, got True"),
        (lambda: SGD(learning_rate=None), "SGD.learning_rate: expected 0 < learning_rate < inf, got None"),
        (lambda: SGD(learning_rate=[[0.1]]), r"SGD.learning_rate: expected 0 < learning_rate < inf, got \(0.1,\)"),
        (lambda: SGD(learning_rate=[]), "SGD.learning_rate: expected one number or more, got none"),
        (
            lambda: SGD(learning_rate=[0.1, 0.2, 0.1]),
            r"SGD.learning_rate: \[0.1, 0.2, 0.1\] has a value twice; list each once",
        ),
        (lambda: RMSProp(rho=1), "RMSProp.rho: expected 0 <= rho < 1, got 1"),
        (lambda: RMSProp(epsilon_inside=1), "RMSProp.epsilon_inside: input should be a valid boolean, got 1"),
        (lambda: Adam(beta1=1), "Adam.beta1: expected 0 <= beta1 < 1, got 1"),
        (lambda: Adam(beta2=-1), "Adam.beta2: expected 0 <= beta2 < 1, got -1"),
        (lambda: Adam(epsilon=-1e-8), "Adam.epsilon: expected 0 <= epsilon < inf, got -1e-08"),
        (lambda: AdamW(weight_decay=-1), "AdamW.weight_decay: expected 0 <= weight_decay < inf, got -1"),
        (lambda: Adam(lr=0.1), "Adam.lr: unknown field, with value 0.1; check its spelling"),
        (lambda: SGD(schedule=0.5), "SGD.schedule: input should be callable, got 0.5"),
        (lambda: StepDecay(factor=0.5), "StepDecay.every: is missing"),
        (lambda: StepDecay(factor=0, every=2), "StepDecay.factor: input should be greater than 0, got 0"),
        (lambda: InverseSqrt(warmup=0), "InverseSqrt.warmup: input should be greater than 0, got 0"),
        (lambda: Cosine(final=-1), "Cosine.final: input should be greater than or equal to 0, got -1"),
        (lambda: logspace(0, 1, 3), "logspace: expected 0 < low < high < inf, got low=0, high=1"),
        (lambda: logspace(2, 1, 3), "logspace: expected 0 < low < high < inf, got low=2, high=1"),
        (lambda: logspace(1, np.inf, 3), "logspace: expected 0 < low < high < inf, got low=1, high=inf"),
        (lambda: logspace(1, 2, 1), "logspace: expected an integer count of at least 2, got 1"),
        (lambda: logspace(1, 2, 2.5), "logspace: expected an integer count of at least 2, got 2.5"),
    ],
)
def test_impossible_rules_are_refused_in_a_line(make, message):
    with pytest.raises(StudyError, match=f"^{message}$"):
        make()


# Schedules and grids


def test_schedules_are_the_factors_of_their_equations():
    for step in (1, 2, 7, 100):
        assert ConstantRate()(step, 100) == 1
        assert InverseSqrt()(step, 100) == pytest.approx(1 / sqrt(step), rel=1e-15)
        assert InverseSqrt(10)(step, 100) == pytest.approx(sqrt(10) * min(step**-0.5, step * 10**-1.5), rel=1e-14)
        assert StepDecay(0.1, 3)(step, 100) == pytest.approx(0.1 ** ((step - 1) // 3), rel=1e-15)
        assert Cosine(0.2)(step, 100) == pytest.approx(0.6 + 0.4 * cos(pi * (step - 1) / 100), rel=1e-15)
    assert Cosine(0.2)(101, 100) == pytest.approx(0.2, rel=1e-15)


@pytest.mark.parametrize("schedule", [ConstantRate(), InverseSqrt(3), StepDecay(0.5, 2), Cosine(0.1)], ids=repr)
def test_schedules_are_values(schedule):
    rule = Adam(schedule=schedule)
    assert pickle.loads(pickle.dumps(rule)) == eval(repr(rule)) == rule
    assert rule != Adam()


def test_logspace_has_equal_ratios_and_its_own_ends():
    values = logspace(0.003, 0.7, 11)
    assert (values[0], values[-1]) == (0.003, 0.7)
    np.testing.assert_allclose(np.diff(np.log(values)), np.log(0.7 / 0.003) / 10, rtol=1e-12)
    assert logspace(1e-5, 10, 7) == (0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
    assert logspace(1, 2, 2) == (1.0, 2.0)
    assert SGD(logspace(1e-3, 1, 4)).learning_rate == (0.001, 0.01, 0.1, 1.0)


# A user's own


class Plain:
    """Nesterov's rule, with a schedule, as a user may write it: no base class, no registration."""

    def __init__(self, momentum=(0.5, 0.9)):
        self.learning_rate, self.momentum, self.name = 0.1, momentum, "plain"

    @staticmethod
    def schedule(step, steps):
        return 1 - (step - 1) / steps

    def init(self, theta):
        return (np.zeros_like(theta),)

    def lookahead(self, theta, state, *, momentum, learning_rate):
        return theta + momentum * state[0]

    def update(self, theta, gradient, state, step, *, learning_rate, momentum):
        velocity = momentum * state[0] - learning_rate * gradient
        return theta + velocity, (velocity,)


def test_a_users_plain_rule_is_one_of_ours():
    rule = adapted(Plain())
    assert isinstance(rule, UpdateRule)
    assert rule.hyperparameters == {"learning_rate": (0.1,), "momentum": (0.5, 0.9)}
    ours = Nesterov(0.1, [0.5, 0.9], schedule=Plain.schedule)
    theirs, start = Plain(), np.ones((3, 2))
    found = [descend(each, lambda theta: theta**3, start, 9) for each in (theirs, ours)]
    np.testing.assert_allclose(*found, rtol=1e-14)


@every_rule
def test_ours_are_taken_as_they_are(rule):
    assert adapted(rule) is rule
    assert rule.schedule is None


def test_a_step_scales_the_rate_looks_ahead_and_updates():
    theta, velocity = np.array([[1.0, 2.0]]), np.array([[0.5, -1.0]])
    hyper = {"learning_rate": np.array([0.1, 0.2]), "momentum": np.array([0.5, 0.9])}
    seen = []

    def gradient(place):
        seen.append(place)
        return 2 * place

    after, (moved,) = advance(adapted(Plain()), gradient, theta, (velocity,), 2, 4, hyper)
    np.testing.assert_allclose(seen[0], [[1.25, 1.1]])
    np.testing.assert_allclose(moved, [[0.25 - 0.075 * 2.5, -0.9 - 0.15 * 2.2]])
    np.testing.assert_allclose(after, theta + moved)
    assert hyper["learning_rate"].tolist() == [0.1, 0.2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, r"3 has no init\(theta\) and update"),
        (Plain, "has no init"),
        (SimpleNamespace(init=1, update=1), "has no init"),
        (SimpleNamespace(init=len, update=len, lookahead=3), "lookahead cannot be called"),
        (SimpleNamespace(init=len, update=len, schedule=0.5), "schedule cannot be called"),
    ],
)
def test_what_is_no_rule_is_refused_in_a_line(given, message):
    with pytest.raises(StudyError, match=message) as caught:
        adapted(given)
    assert "\n" not in str(caught.value)
