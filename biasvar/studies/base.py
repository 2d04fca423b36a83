"""What studies and the engine hand each other: groups of cells, records of blocks, summaries."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import several
from biasvar.fields import Json

#: Cell keys that may stand in a path as they are: nothing that joins names, and no ending that Zarr's files have.
_PLAIN = re.compile(r"[A-Za-z0-9_@=()-][A-Za-z0-9_@=(). -]*(?<!\.json)(?<!\.partial)(?<![. ])")


@dataclass(frozen=True)
class Group:
    """Cells that are simulated together, from the same draws: one Dask layer, one group of Zarr arrays.

    Parameters
    ----------
    problem : str
        What the draws are for; groups of one problem share them block by block. For example ``"n10"``.
    cells : tuple of str
        Keys of the cells, unique within the problem. For example ``("H0", "H1")``.
    record_size : int
        Numbers in one cell's record of one block.
    label : str
        What the cells are called together, where their keys are long.
    edition : str
        Which records these are, where an extension of the study has others: :func:`edition_of` what they hold.
    """

    problem: str
    cells: tuple[str, ...]
    record_size: int
    label: str = ""
    edition: str = ""

    @property
    def block_bytes(self) -> int:
        """Bytes of one block's records, before compression."""
        return 8 * len(self.cells) * self.record_size

    @property
    def title(self) -> str:
        """A short name: the label, else all cells, or the first and last of many."""
        if self.label:
            return self.label
        return "+".join(self.cells) if len(self.cells) <= 3 else f"{self.cells[0]}+...+{self.cells[-1]}"

    @property
    def path(self) -> str:
        """Where the group lies beneath ``blocks/``: readable where names are short and plain, unique always."""
        return f"{self.problem}/{self._name}"

    @property
    def _name(self) -> str:
        name = self.label or "+".join(self.cells)
        plain = not (self.label or self.edition)
        if plain and len(name) <= 80 and all(_PLAIN.fullmatch(cell) for cell in self.cells):
            return name
        whole = [*self.cells, "", self.edition] if self.edition else self.cells
        digest = hashlib.sha256("\0".join(whole).encode()).hexdigest()[:12]
        return f"{re.sub(r'[^A-Za-z0-9]+', '_', name)[:40]}~{digest}"

    @property
    def task_name(self) -> str:
        """What its tasks are called on the dashboard, which cuts names short, and at a hyphen before a digit."""
        return f"{self.problem}:{self.title}".replace("-", "_")

    def to_json(self) -> dict[str, Any]:
        """Return the group as JSON."""
        # The key ``statistics`` is what stores say.
        return {
            "problem": self.problem,
            "cells": list(self.cells),
            "statistics": self.record_size,
            "label": self.label,
            "edition": self.edition,
        }

    @classmethod
    def from_json(cls, value: Json) -> "Group":
        """Make a group of its JSON."""
        # Stores of before have no editions.
        cells, edition = tuple(value["cells"]), str(value.get("edition", ""))
        return cls(str(value["problem"]), cells, int(value["statistics"]), str(value["label"]), edition)


def problem_name(n_train: int) -> str:
    """Return what the engine calls the draws of one training-set size."""
    return f"n{n_train}"


def edition_of(statistic: Mapping[str, NDArray[Any]]) -> str:
    """Return a digest of what the numbers of a record are, as a study's ``record_coordinates`` say."""
    numbers = [f"{moment}[{place}]" for moment, place in zip(statistic["moment"], statistic["place"], strict=True)]
    return hashlib.blake2b(json.dumps(numbers).encode(), digest_size=8).hexdigest()


class BlockRecords(NamedTuple):
    """One block of one group: one record per cell, and for cells that failed the reason (else empty text)."""

    records: NDArray[np.float64]  # (cells, statistics)
    failures: tuple[str, ...]
    traceback: str = ""  # of the first failure that was an exception


class Begun(NamedTuple):
    """What a store holds of one block by an earlier edition of a study, with fewer units of work per block."""

    work: int
    cells: tuple[str, ...]
    records: NDArray[np.float64]  # (cells, statistics of that edition)
    failures: tuple[str, ...]


class Chunk(NamedTuple):
    """Consecutive blocks of one group, as stored."""

    records: NDArray[np.float64]  # (cells, blocks, statistics)
    failures: NDArray[np.object_]  # (cells, blocks)

    @property
    def blocks(self) -> int:
        """How many there are."""
        return int(self.failures.shape[1])

    def part(self, start: int, stop: int) -> "Chunk":
        """Return some of them."""
        return Chunk(self.records[:, start:stop], self.failures[:, start:stop])

    @classmethod
    def joined(cls, parts: "Sequence[Chunk]") -> "Chunk":
        """Return several that follow each other as one, in memory of its own."""
        records, failures = zip(*parts, strict=True)
        return cls(np.concatenate(records, axis=1), np.concatenate(failures, axis=1))


def first_failure(reasons: Iterable[str]) -> str:
    """Return why something failed first; nothing if it did not."""
    return str(next(filter(None, reasons), ""))


#: What makes of a leaf, some consecutive blocks of which the index of the first is given, what a summary needs of it.
Reducer = Callable[[Chunk, int], Any]


class BlockSource(Protocol):
    """Where the blocks of a study are that a summary is made of: a store, or memory."""

    def groups(self) -> list[Group]:
        """Return all groups that belong to the study."""

    def reduced(self, group: Group, known: object = None) -> Any:
        """Return what a group's blocks come to: what the study's ``reducer`` makes of leaves, joined in a tree.

        ``known`` is what is known of all blocks by an earlier pass over them.
        """


Summary = xr.Dataset | xr.DataTree


def error_name(variable: xr.DataArray) -> str:
    """Return which variable has another's standard error: the one that its attribute names, or the usual one."""
    return str(variable.attrs.get("error", f"{variable.name}_se"))


def nodes_of(summary: Summary) -> dict[str, xr.Dataset]:
    """Take a summary apart: its datasets by path, the root's (``""``) first, each with all its coordinates.

    Beside them a plain ``xarray.open_datatree`` gives the blocks of a store, too, of which a summary is made.
    """
    if isinstance(summary, xr.Dataset):
        return {"": summary}
    paths = {node.path.strip("/"): node for node in summary.subtree}
    return {path: _whole(node) for path, node in paths.items() if path.split("/")[0] != "blocks"}


def _whole(node: xr.DataTree) -> xr.Dataset:
    """Return a node's dataset with those coordinates of the nodes above that are along its own dims."""
    own = node.to_dataset(inherit=False)
    inherited = node.to_dataset(inherit=True).coords
    return own.assign_coords({name: inherited[name] for name in own.dims if name not in own and name in inherited})


def summary_of(nodes: Mapping[str, xr.Dataset]) -> Summary:
    """Put a summary together: a Dataset if it has a root only, else a DataTree."""
    if set(nodes) == {""}:
        return nodes[""]
    return xr.DataTree.from_dict({f"/{path}": dataset for path, dataset in nodes.items()})


def failed_cells(summary: Summary) -> str:
    """Say in one line how many cells failed and why the first one did; nothing if none did."""
    cells = failed = 0
    first = ""
    for path, node in nodes_of(summary).items():
        if "status" not in node:
            continue
        wrong = np.argwhere(node.status.values == "failed")
        cells, failed = cells + node.status.size, failed + len(wrong)
        if len(wrong) and not first:
            cell = node.isel(dict(zip(node.status.dims, wrong[0], strict=True)))
            labels = [path] * bool(path) + [f"{axis}={cell[axis].item()}" for axis in node.status.dims]
            first = f"{', '.join(labels)}: {cell.status_reason.item()}"
    return f"{failed} of {several(cells, 'cell')} failed, the first at {first}" if failed else ""
