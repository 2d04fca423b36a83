"""Simulate one block: fit every cell to the same training sets, and keep what the loss wants averaged."""

import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import MACHINE_FAULTS, sentence
from biasvar.learning.decomposition import Problem
from biasvar.learning.fits import Fit
from biasvar.learning.losses.base import Cell, Loss
from biasvar.learning.training_sets import TrainingSets
from biasvar.montecarlo.draws import Block


class CellRecord(NamedTuple):
    """A cell's record of one block, or the reason why there is none."""

    record: NDArray[np.float64]
    failure: str = ""
    traceback: str = ""


def simulate_block(problem: Problem, cells: Sequence[Cell], n_train: int, block: Block) -> list[CellRecord]:
    """Fit every cell to the same training sets and take their moments.

    Parameters
    ----------
    problem : Problem
        The law of data.
    cells : sequence of Cell
        What is fitted and what it is charged; all see the same inputs and the same random numbers for labels, but for
        those that see a lattice. Their losses are of one kind.
    n_train : int
        Size of the training sets.
    block : Block
        The draws.

    Returns
    -------
    list of CellRecord
        One per cell. A set that fails on its own yields NaN and a sentence, and disturbs no other.
    """
    found: dict[int, CellRecord] = {}
    blocks = [replace(block, smooth=cell.loss.is_smooth(problem, cell, n_train)) for cell in cells]
    for on_lattice in {own.on_lattice for own in blocks}:
        alike = [i for i, own in enumerate(blocks) if own.on_lattice == on_lattice]
        sets = TrainingSets(problem, n_train, blocks[alike[0]])
        found |= zip(alike, _simulated(sets, [cells[i] for i in alike]), strict=True)
    return [found[i] for i in range(len(cells))]


def _simulated(sets: TrainingSets, cells: Sequence[Cell]) -> list[CellRecord]:
    """Fit cells to the training sets."""
    problem, outcomes = sets.problem, dict[int, CellRecord]()
    for indices, attempt in cells[0].loss.attempts(sets, cells):
        try:
            records = attempt()
        except MACHINE_FAULTS:
            raise  # the machine's fault, not the set's: nothing to remember
        except Exception as error:  # a user's set may raise anything: it fails, and the others go on
            _ = sets.f  # but where the law or the target is at fault no set is, and that is raised
            trace = "".join(traceback.format_exception(error))
            outcomes |= {i: _failed(cells[i].loss, problem, sentence(error), trace) for i in indices}
        else:
            outcomes |= {
                i: _checked(cells[i].loss, problem, record) for i, record in zip(indices, records, strict=True)
            }
    return [outcomes[i] for i in range(len(cells))]


def is_repeatable(problem: Problem, fit: Fit, noise: float, n_train: int, block: Block) -> bool:
    """Fit twice to the same training sets, with the same random numbers; tell whether predictions are the same.

    Where the set raises nothing can be told, and the answer is yes.
    """
    try:
        sets = TrainingSets(problem, n_train, block)
        labels = sets.labels(noise)
        one, other = (np.hstack([part for _, part in sets.predictions(fit, labels)]) for _ in range(2))
    # A user's code may raise anything, and is told of when it is simulated.
    except Exception:
        return True
    scale = float(np.abs(one[np.isfinite(one)]).max(initial=0))
    # Not to the last bit: a library may add numbers up in another order.
    return np.allclose(one, other, rtol=1e-6, atol=1e-9 * scale)


def _failed(loss: Loss, problem: Problem, reason: str, trace: str = "") -> CellRecord:
    size = loss.record(len(problem.f)).size
    return CellRecord(np.full(size, np.nan), " ".join(reason.split()) or "failed", trace)


def _checked(loss: Loss, problem: Problem, record: NDArray[np.float64]) -> CellRecord:
    if not loss.record(len(problem.f)).is_finite(record):
        return _failed(loss, problem, "predictions are not finite on some training sets")
    return CellRecord(record)
