"""What a step of tradeoff studies costs for training sets of various sizes, in one run on one core.

    pip install -e '.[benchmarks]'
    python benchmarks/tradeoff.py

Rows are sizes, numbers are nanoseconds of CPU time for one step on one training set: of all examples by a linear rule,
which runs on eigenvalues and costs the same whatever the size; of all examples by Adam; of one example; and of all
examples in a NumPy loop over training sets side by side. Medians of several rounds.
"""

import argparse
import os
import time
from collections.abc import Callable

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is imported

import numpy as np

import biasvar as bv
from biasvar.learning.decomposition import Problem
from biasvar.learning.stopped import Bowls, Descents, stopped_records
from biasvar.learning.training_sets import TrainingSets
from biasvar.montecarlo.draws import Block, Stream

MODEL = bv.Polynomial(3)
INPUTS = bv.Uniform(-1, 1)
SETS = 512


def bowls_of(n: int) -> Bowls:
    problem = Problem.of(bv.Sine(), INPUTS, None, 0)
    sets = TrainingSets(problem, n, Block("random", Stream(0, "benchmark", 0), n, SETS))
    model = MODEL.linear_model(INPUTS)
    return Bowls(sets, model, problem.projection(MODEL, model))


def ours(bowls: Bowls, rule: bv.UpdateRule, batch_size: int, steps: int) -> None:
    hyper = {name: np.array(values) for name, values in rule.hyperparameters.items()}
    noise = () if rule.linear else (0.5,)
    stopped_records(bowls, Descents(rule, hyper, batch_size, (steps,), noise))


def loop(bowls: Bowls, steps: int) -> None:
    """Descend on all examples of all training sets, side by side."""
    phi, y = bowls.features, bowls.sets.f.T
    c = np.zeros((SETS, phi.shape[2]))
    for _ in range(steps):
        missed = np.einsum("kni,ki->kn", phi, c) - y
        c -= 0.05 * np.einsum("kni,kn->ki", phi, missed) / phi.shape[1]


def nanoseconds(work: Callable[[int], None], steps: int, rounds: int) -> float:
    """Time steps by difference, so that what comes before and after them is left out."""

    def seconds(count: int) -> float:
        start = time.process_time()
        work(count)
        return time.process_time() - start

    seconds(2)
    taken = [seconds(steps + 1) - seconds(1) for _ in range(rounds)]
    return 1e9 * float(np.median(taken)) / steps / SETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200, help="steps that are timed [%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured [%(default)s]")
    args = parser.parse_args()
    print(f"ns of CPU a step and training set, cubic on a sine, medians of {args.rounds}\n")
    print("| n_train | SGD, all examples | Adam, all examples | SGD, one example | NumPy loop, all examples |")
    print("|---|---|---|---|---|")
    for n in (10, 100, 1000):
        bowls = bowls_of(n)
        ways: list[Callable[[int], None]] = [
            lambda steps, b=bowls: ours(b, bv.SGD(0.05), 0, steps),
            lambda steps, b=bowls: ours(b, bv.Adam(0.01), 0, steps),
            lambda steps, b=bowls: ours(b, bv.SGD(0.05), 1, steps),
            lambda steps, b=bowls: loop(b, steps),
        ]
        print(
            f"| {n} | {' | '.join(f'{nanoseconds(way, args.steps, args.rounds):,.0f}' for way in ways)} |", flush=True
        )


if __name__ == "__main__":
    main()
