"""Cells that fail alone: a user's code may raise anything, and the other cells of a group go on."""

import traceback
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import MACHINE_FAULTS, sentence
from biasvar.studies.base import BlockRecords, Group


def attempted(group: Group, size: int, simulate: Callable[[str], NDArray[np.float64] | str]) -> BlockRecords:
    """Simulate each cell of a block by itself.

    Parameters
    ----------
    group : Group
        The cells.
    size : int
        Numbers in a record.
    simulate : callable
        Returns a cell's record, or says in a sentence why there is none.
    """
    records = np.full((len(group.cells), size), np.nan)
    failures, trace = [""] * len(group.cells), ""
    for i, key in enumerate(group.cells):
        try:
            found = simulate(key)
        except MACHINE_FAULTS:
            raise  # not the cell's fault: nothing to remember
        except Exception as error:
            failures[i] = sentence(error) or "failed"
            trace = trace or "".join(traceback.format_exception(error))
        else:
            if isinstance(found, str):
                failures[i] = found
            else:
                records[i] = found
    return BlockRecords(records, tuple(failures), trace)
