"""What a summary comes to, in a few sentences made from its numbers: what is flagged, what leads, what dominates."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, product

import numpy as np
import xarray as xr

from biasvar.errors import several
from biasvar.notation import with_error
from biasvar.studies.base import Summary, error_name, nodes_of
from biasvar.views.best import descents_of, labels_of_best
from biasvar.views.diagnosis import diagnosed
from biasvar.views.findings import SURE, compared_axis, labelled, leaders, ranked, who_leads
from biasvar.views.tables import heading, sentences_of

MOST = 3  # sentences of a sort: more are a table

_FLAGS = {
    "failed": "that failed",
    "infinite": "with numbers that are infinite",
    "diverged": "that diverged",
    "se_unreliable": "with numbers that have no reliable standard error",
    "vote_undecided": "with a majority vote that is not known everywhere",
}


def conclusions(summary: Summary) -> list[str]:
    """Return sentences that say what was found, the flags first.

    Parameters
    ----------
    summary : xarray.Dataset or xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="two-points", target=bv.Sine(), inputs=bv.Uniform(-1, 1), n_train=[2], replicates=2**14,
    ...     block_size=2**8, hypotheses={"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
    ... )
    >>> for sentence in conclusions(bv.lazy(study).compute()):
    ...     print(sentence)
    At noise 0: H0 has the least, 0.75; H1 has 1.131 more, 95 % interval 1.129 to 1.133.
    Of 2 cells, bias2 dominates in 1, variance in 1.
    """
    summary = summary.load()
    return [*flags(summary), *findings(summary, diagnosed(summary))]


def findings(summary: Summary, diagnoses: Mapping[str, xr.Dataset]) -> list[str]:
    """Say what was found, without the flags: what leads, what dominates, and what the summary says itself."""
    leading = _BY_TABLE.get(summary.attrs.get("table", "cells"), _of_cells)(summary)
    said = [sentence for node in nodes_of(summary).values() for sentence in sentences_of(node)]
    return [*leading, *_dominant(diagnoses), *said]


def flags(summary: Summary) -> list[str]:
    """Say how many cells are not ``ok``, and name the first of each sort."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    cells = 0
    for path, node in nodes_of(summary).items():
        if "status" not in node:
            continue
        cells += int((node.status != "").sum())
        for flag in _FLAGS:
            at = np.argwhere((node.status == flag).values)
            counts[flag] += len(at)
            if len(at) and flag not in first:
                cell = node.status.isel(dict(zip(node.status.dims, at[0], strict=True)))
                first[flag] = ", ".join(filter(None, [path, labelled(cell, node.status.dims)]))
    return [
        f"{several(counts[flag], 'cell')} {said}, of {cells}; the first: {first[flag]}."
        for flag, said in _FLAGS.items()
        if counts[flag]
    ]


def _of_cells(summary: Summary) -> list[str]:
    """Say which cells have the least of what is compared."""
    return [sentence for node in nodes_of(summary).values() for sentence in islice(_leads(node), MOST)]


def _leads(node: xr.Dataset) -> Iterator[str]:
    """Say who errs least: in a sentence along one axis for each label of the others, and by how much at the last."""
    name = next((str(name) for name, variable in node.data_vars.items() if "compared_by" in variable.attrs), None)
    if name is None:
        return
    compared = compared_axis(node, name)
    along = [str(dim) for dim in node[name].dims if dim != compared]
    # Of two axes or more the longest of numbers is told in a sentence: who leads where.
    numbers = [dim for dim in along if node[dim].dtype.kind in "iuf"]
    told = max(numbers, key=lambda dim: node.sizes[dim], default="")
    others = [dim for dim in along if dim != told]
    for labels in product(*(node[dim].values for dim in others)):
        at = dict(zip(others, labels, strict=True))
        part = node.sel(at)
        where = labelled(part, others)
        ranges = who_leads(part, name) if told and part.sizes[told] > 1 else ""
        cell = part.isel({told: -1}) if told else part
        last = f"at {labelled(cell, [told])} " if ranges else ""
        sentence = "; ".join(filter(None, [ranges, last + _paired(cell, name, compared)]))
        yield f"At {where}: {sentence}." if where else f"{sentence[0].upper()}{sentence[1:]}."


def _paired(cell: xr.Dataset, name: str, compared: str) -> str:
    """Say which has the least, and how much more the next has: the paired difference, with its interval."""
    risk, difference = cell[name], cell[cell[name].attrs["compared_by"]]
    error = cell[error_name(difference)]
    order = ranked(risk)
    if not order:
        return f"no {heading(cell, name)} is known"
    leads = leaders(cell, name).sel({compared: order})
    least = f"{order[0]} has the least, {float(risk.sel({compared: order[0]})):.4g}"
    if len(order) == 1:
        return least
    more, se = (float(found.sel({compared: order[1], "versus": order[0]})) for found in (difference, error))
    if not np.isfinite(se):
        return f"{least}; {order[1]} has {more:.4g} more, of which no error is known"
    spread = f"95 % interval {more - SURE * se:.4g} to {more + SURE * se:.4g}" if se > 0 else "without error"
    unsure = ", so that they are not told apart" if leads[1] else ""
    return f"{least}; {order[1]} has {more:.4g} more, {spread}{unsure}"


def _dominant(diagnoses: Mapping[str, xr.Dataset]) -> list[str]:
    """Count which error dominates, over all cells."""
    names = [name for node in diagnoses.values() for name in node.dominant.values.ravel()]
    counts = Counter(str(name) for name in names if name)
    if not counts:
        return []
    (most, count), *others = [(name.replace("_", " "), count) for name, count in counts.most_common()]
    rest = "".join(f", {name} in {count}" for name, count in others)
    silent = len(names) - sum(counts.values())
    unknown = f"; in {silent} the numbers cannot tell" if silent else ""
    return [f"Of {several(len(names), 'cell')}, {most} dominates in {count}{rest}{unknown}."]


def _of_budgets(summary: Summary) -> list[str]:
    """Say how the best training-set size moves with the budget."""
    sentences = []
    for path, node in nodes_of(summary).items():
        if "best_n_train" not in node:
            continue
        for size, noise in product(node.batch_size.values, node.noise.values):
            best = node.best_n_train.sel(batch_size=size, noise=noise)
            batches = "all examples" if size == 0 else several(int(size), "example")
            where = f"{path}, {batches} per step" + (f", noise {noise:g}" if node.sizes["noise"] > 1 else "")
            budgets = best.budget.values[[0, -1]]
            ends = [f"{float(best.sel(budget=budget)):g} for {int(budget)} gradients" for budget in budgets]
            sentences.append(f"{where}: the best number of examples is {ends[0]}, {ends[1]}.")
    return sentences[:MOST]


def _of_best(summary: Summary) -> list[str]:
    """Say for each objective which optimizer is the cheapest to its last target, or the lowest at the end."""
    assert isinstance(summary, xr.DataTree)
    objectives: dict[str, dict[str, xr.Dataset]] = {}
    for path, node in descents_of(summary).items():
        name, optimizer = path.split("/")
        objectives.setdefault(name, {})[optimizer] = node
    sentences = []
    for name, leaves in islice(objectives.items(), 2 * MOST):
        reach = all(leaf.sizes.get("target", 0) for leaf in leaves.values())
        sentences.append(f"{name}: {(_cheapest if reach else _lowest)(leaves)}.")
    return sentences


def _cheapest(leaves: Mapping[str, xr.Dataset]) -> str:
    cost = {label: float(leaf.best_cost_to_target[-1]) for label, leaf in leaves.items()}
    order = sorted((label for label in cost if np.isfinite(cost[label])), key=lambda label: cost[label])
    goal = f"J = {float(next(iter(leaves.values())).target_value[-1]):g}"
    if not order:
        return f"no optimizer reached {goal}"
    rest = ", ".join(f"{label} {cost[label]:g}" for label in order[1:4])
    missed = [label for label in cost if label not in order]
    never = f"; {', '.join(missed)} did not reach it" if missed else ""
    first = f"{order[0]} reaches {goal} at the least cost, {cost[order[0]]:g} gradient evaluations"
    return f"{first}{f' ({rest})' if rest else ''}{never}"


def _lowest(leaves: Mapping[str, xr.Dataset]) -> str:
    last = {label: leaf.isel(step=-1) for label, leaf in leaves.items() if labels_of_best(leaf)}
    if not last:
        return "all configurations diverged or failed"
    written = {
        label: with_error(float(cell.best_objective), float(cell.best_objective_se), powers=True)
        for label, cell in last.items()
    }
    order = sorted(last, key=lambda label: float(last[label].best_objective))
    rest = ", ".join(f"{label} {written[label]}" for label in order[1:4])
    step = int(next(iter(last.values())).step)
    return f"{order[0]} is lowest at step {step}, J = {written[order[0]]}{f' ({rest})' if rest else ''}"


_BY_TABLE: Mapping[str, Callable[[Summary], list[str]]] = {
    "cells": _of_cells,
    "best": _of_best,
    "budgets": _of_budgets,
}
