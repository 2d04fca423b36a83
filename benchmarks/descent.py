"""Update rules over grids of configurations against what one could use instead, in one run on one core.

    pip install -e '.[benchmarks]' optax torch
    python benchmarks/descent.py

Rows are problems, columns are ways to solve them, numbers are nanoseconds per parameter and step, in double precision.
Machines are shared, so columns are measured in turn, for several rounds: medians of the times, and of the ratios within
a round. With --constraints it only says what sets cost, which needs neither optax nor torch.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is imported
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, whatever a library makes of the flags

import numpy as np
from sklearn.datasets import load_breast_cancer

import biasvar as bv

BATCH = 32
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7


@dataclass(frozen=True)
class Case:
    """One row: an objective, how many configurations, and how many steps of each."""

    title: str
    objective: bv.Objective
    configurations: int
    dim: int
    steps: int
    torch_steps: int  # of one configuration: enough to know what a step costs

    @property
    def rates(self) -> np.ndarray:
        return np.geomspace(1e-4, 1e-1, self.configurations)

    @property
    def data(self) -> bool:
        return self.objective.examples is not None


def eigenvalues(dim: int) -> np.ndarray:
    return np.geomspace(1, 100, dim)


def breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_breast_cancer(return_X_y=True)
    return (x - x.mean(axis=0)) / x.std(axis=0), y.astype(float)


def cases() -> list[Case]:
    x, y = breast_cancer()
    return [
        Case("Adam, 2-D quadratic, 4096", bv.Quadratic(eigenvalues=eigenvalues(2)), 4096, 2, 120_000, 5000),
        Case("Adam, 64-D quadratic, 4096", bv.Quadratic(eigenvalues=eigenvalues(64)), 4096, 64, 6000, 5000),
        Case(
            "Adam, logistic 569 x 30, m=32, 1000",
            bv.EmpiricalRisk(data=(x, y), loss="logistic"),
            1000,
            30,
            15_000,
            5000,
        ),
    ]


def study(case: Case, rule: type = bv.Adam, within: object = None) -> bv.OptimizerStudy:
    known = {"beta1": BETA1, "beta2": BETA2, "epsilon": EPSILON} if rule is bv.Adam else {}
    return bv.OptimizerStudy(
        name="benchmark",
        objectives={"J": case.objective},
        constraints={} if within is None else {"J": within},
        # A tenth for plain descent, which does not come back from longer steps.
        optimizers={"rule": rule(case.rates if known else case.rates / 10, **known)},
        initial={"J": np.ones(case.dim)},
        batch_size=[BATCH if case.data else None],
        steps=case.steps,
        record_steps=[case.steps],
        record=["objective"],
        replicates=1,
    )


def end_to_end(case: Case) -> Callable[[], None]:
    """Run the study as a user does: plan, graph, store, summary."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            bv.run(study(case), f"{folder}/store.zarr", scheduler="synchronous")

    return run


def bare(case: Case, rule: type = bv.Adam, within: object = None) -> Callable[[], None]:
    """Descend, and nothing else."""
    made = study(case, rule, within)

    def run() -> None:
        for group in made.groups():
            made.simulate(group, 0)

    return run


def order(examples: int, steps: int) -> np.ndarray:
    """Return the examples of each step of shuffled epochs; what an epoch leaves over is dropped."""
    rng = np.random.default_rng(0)
    an_epoch = examples // BATCH
    epochs = [
        rng.permutation(examples)[: an_epoch * BATCH].reshape(an_epoch, BATCH) for _ in range(steps // an_epoch + 1)
    ]
    return np.concatenate(epochs)[:steps]


def with_optax(case: Case) -> Callable[[], None]:
    """vmap over configurations, scan over steps, all jitted."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    x, y = (jnp.asarray(part) for part in breast_cancer())
    scale = jnp.asarray(eigenvalues(case.dim))

    def loss(theta, batch):
        if not case.data:
            return 0.5 * jnp.sum(scale * theta * theta)
        logits = x[batch] @ theta
        return jnp.mean(jax.nn.softplus(logits) - y[batch] * logits)

    batches = jnp.asarray(order(569, case.steps)) if case.data else jnp.zeros((case.steps, 0), int)

    def descend(rate):
        rule = optax.adam(rate, BETA1, BETA2, EPSILON)

        def step(carry, batch):
            theta, state = carry
            updates, state = rule.update(jax.grad(loss)(theta, batch), state, theta)
            return (optax.apply_updates(theta, updates), state), None

        theta = jnp.ones(case.dim)
        (theta, _), _ = jax.lax.scan(step, (theta, rule.init(theta)), batches)
        return theta

    compiled = jax.jit(jax.vmap(descend))
    rates = jnp.asarray(case.rates)
    return lambda: compiled(rates).block_until_ready()


def with_numpy(case: Case) -> Callable[[], None]:
    """All configurations at once, a row each."""
    x, y = breast_cancer()
    scale, rates = eigenvalues(case.dim), case.rates[:, None]

    def run() -> None:
        theta = np.ones((case.configurations, case.dim))
        mean, square = np.zeros_like(theta), np.zeros_like(theta)
        batches = order(569, case.steps) if case.data else None
        for t in range(1, case.steps + 1):
            if batches is None:
                g = scale * theta
            else:
                rows = x[batches[t - 1]]
                wrong = 1 / (1 + np.exp(-theta @ rows.T)) - y[batches[t - 1]]
                g = wrong @ rows / BATCH
            mean = BETA1 * mean + (1 - BETA1) * g
            square = BETA2 * square + (1 - BETA2) * g**2
            theta -= rates * (mean / (1 - BETA1**t)) / (np.sqrt(square / (1 - BETA2**t)) + EPSILON)

    return run


def with_torch(case: Case) -> Callable[[], None]:
    """One torch.optim.Adam a configuration, as its documentation has it; here for one of them."""
    import torch

    torch.set_num_threads(1)
    x, y = (torch.as_tensor(part) for part in breast_cancer())
    scale = torch.as_tensor(eigenvalues(case.dim))

    def run() -> None:
        theta = torch.ones(case.dim, dtype=torch.float64, requires_grad=True)
        rule = torch.optim.Adam([theta], lr=float(case.rates[0]), betas=(BETA1, BETA2), eps=EPSILON)
        batches = torch.as_tensor(order(569, case.torch_steps)) if case.data else None
        for t in range(case.torch_steps):
            rule.zero_grad()
            if batches is None:
                loss = 0.5 * (scale * theta * theta).sum()
            else:
                rows = batches[t]
                loss = torch.nn.functional.binary_cross_entropy_with_logits(x[rows] @ theta, y[rows])
            loss.backward()
            rule.step()

    return run


def constraints(rounds: int) -> None:
    """Say what a step costs by itself, and how much more within a box and a ball, on whose border descents end."""
    print(f"ns per parameter and step, one core, medians of {rounds}; what a set adds\n")
    print("| problem, configurations | free | box | ball |")
    print("|---|---|---|---|")
    for case in cases():
        few = replace(case, steps=max(case.steps // 20, 200))
        sets = (None, bv.Box(0.5, 2.0, dim=case.dim), bv.Ball(0.5, center=np.ones(case.dim)))
        for rule in (bv.SGD, bv.Adam):
            ways = [bare(few, rule, within) for within in sets]
            times = np.array([[seconds(way) for way in ways] for _ in range(rounds + 1)][1:])  # the first compiles
            free = np.median(times[:, 0]) / (few.dim * few.steps * few.configurations) * 1e9
            added = np.median(times / times[:, :1], axis=0) - 1
            title = case.title.replace("Adam", rule.__name__)
            print(f"| {title} | {free:.2f} | {added[1]:+.0%} | {added[2]:+.0%} |", flush=True)


def seconds(way: Callable[[], None]) -> float:
    start = time.process_time()
    way()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured [%(default)s]")
    parser.add_argument("--constraints", action="store_true", help="say only what sets cost")
    options = parser.parse_args()
    rounds = options.rounds
    if options.constraints:
        constraints(rounds)
        return
    print(f"ns per parameter and step, one core, double precision, medians of {rounds}\n")
    print("| problem, configurations | ours, `bv.run` | ours, bare | optax | with compiling | NumPy | torch | ratios |")
    print("|---|---|---|---|---|---|---|---|")
    for case in cases():
        ways = {
            "run": end_to_end(case),
            "bare": bare(case),
            "optax": with_optax(case),
            "numpy": with_numpy(case),
            "torch": with_torch(case),
        }
        number = dict.fromkeys(ways, case.dim * case.steps * case.configurations)
        number["torch"] = case.dim * case.torch_steps
        found: dict[str, list[float]] = {name: [] for name in ways}
        first = {}
        for turn in range(rounds + 1):
            for name, way in ways.items():
                took = seconds(way) / number[name] * 1e9
                if turn == 0:
                    first[name] = took  # compiles
                else:
                    found[name].append(took)
        times = {name: np.array(values) for name, values in found.items()}
        ratios = [
            f"{np.median(times['optax'] / times['run']):.2f}x optax",
            f"{np.median(times['numpy'] / times['run']):.2f}x NumPy",
            f"{np.median(times['torch'] / times['run']):.0f}x torch",
        ]
        cells = [np.median(times["run"]), np.median(times["bare"]), np.median(times["optax"]), first["optax"]]
        cells += [np.median(times["numpy"]), np.median(times["torch"])]
        print(f"| {case.title} | {' | '.join(f'{cell:.3g}' for cell in cells)} | {', '.join(ratios)} |", flush=True)


if __name__ == "__main__":
    main()
