"""Result tables as text."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from biasvar.report.numbers import with_error
from biasvar.studies.base import Summary, nodes_of

COLUMNS = ("bias2", "variance", "irreducible_risk", "expected_risk", "empirical_risk")
HEADINGS = {
    "bias2": "bias2",
    "variance": "variance",
    "irreducible_risk": "noise",
    "expected_risk": "expected risk",
    "empirical_risk": "training error",
    "excess_risk": "excess risk",
    "estimation_error": "estimation error",
    "approximation_error": "approximation error",
}


def results(summary: Summary) -> str:
    """Lay out what a study found: risks and errors, or the best configuration of each optimizer."""
    if isinstance(summary, xr.DataTree):
        return optimizer_table(summary)
    return f"{risk_table(summary)}\n{counts(summary)}"


def failures(summary: Summary) -> str:
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
    return f"{failed} of {cells} cells failed, the first at {first}" if failed else ""


def optimizer_table(tree: xr.DataTree) -> str:
    """Lay out an optimizer study's summary: a row for each objective and optimizer, with its best configuration.

    That is the one which reaches the last target at the least cost, or, where none does, that with the lowest objective
    J at the last step. J is its objective there, with standard errors in the last digits in parentheses; costs are
    gradient evaluations, medians over replicates, each of the configuration that is cheapest for that target.

    Parameters
    ----------
    tree : xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.
    """
    targets = [f"cost to target {i + 1}" for i in range(max(node.sizes.get("target", 0) for node in tree.leaves))]
    header = ["objective", "optimizer", "best configuration", "J", *targets, "diverged"]
    rows = []
    for node in tree.leaves:
        found = node.to_dataset().load()
        costs = found.best_cost_to_target.values if targets else np.array([])
        chosen, last = _best(found), found.isel(step=-1)
        settings = ", ".join(f"{name}={value:.3g}" for name, value in chosen.items() if found.sizes[name] > 1)
        if targets and np.isfinite(costs[-1]) and "objective" in found:
            cell = last.sel(chosen)
            value = _objective(float(cell.objective), float(cell.objective_se))
        else:
            value = _objective(float(last.best_objective), float(last.best_objective_se))
        _, objective, optimizer = node.path.split("/")
        shown = [f"{cost:g}" if np.isfinite(cost) else "-" for cost in costs]
        diverged = float((found.outcome == "diverged").mean())
        rows.append([objective, optimizer, settings or "the only one", value, *shown, f"{diverged:.0%}"])
    return "\n".join(_align([header, *rows], left=(0, 1, 2)))


def _objective(value: float, error: float) -> str:
    """Write an objective; that of a single replicate is what one descent reached, though not what others would."""
    return f"{value:.4g}(?)" if np.isfinite(value) and np.isnan(error) else with_error(value, error, powers=True)


def _best(found: xr.Dataset) -> dict[str, float]:
    """Return the hyperparameters of the cheapest configuration to the last target, else of the lowest at the end."""
    axes = [str(name) for name in found.hyperparameter.values]
    if "target" in found.sizes and np.isfinite(found.best_cost_to_target.values[-1]):
        return {name: found[f"cheapest_{name}"].values[-1] for name in axes}
    return {name: found[f"best_{name}"].values[-1] for name in axes}


def risk_table(summary: xr.Dataset, columns: Sequence[str] = COLUMNS) -> str:
    """Lay out a risk study's summary: a row for each training-set size, noise level and hypothesis set.

    Digits in parentheses are standard errors in the last place, ``?`` stands for a number that has none. Flagged cells
    are explained below the table.

    Parameters
    ----------
    summary : xarray.Dataset
        What :func:`biasvar.run` or :func:`biasvar.open` returned.
    columns : sequence of str
        Variables shown.
    """
    summary = summary.load()
    header = ["n_train", "noise", "hypothesis", *(HEADINGS.get(name, name) for name in columns), "status"]
    rows, notes = [], []
    for n in summary.n_train.values:
        for noise in summary.noise.values:
            for label in summary.hypothesis.values:
                cell = summary.sel(n_train=n, noise=noise, hypothesis=label)
                numbers = [with_error(float(cell[name]), float(cell[f"{name}_se"])) for name in columns]
                status = str(cell.status.item())
                rows.append([str(n), f"{noise:g}", str(label), *numbers, status])
                if reason := str(cell.status_reason.item()):
                    notes.append(f"{label}, n_train={n}, noise={noise:g}: {reason}")
    return "\n".join([*_align([header, *rows], left=(2, len(header) - 1)), *notes, *_limits(summary)])


def _limits(summary: xr.Dataset) -> list[str]:
    """Say where test points, not training sets, make up most of a standard error."""
    if "quadrature_error" not in summary:  # a store of an older version
        return []
    # Errors add in squares: more than half of the square.
    led = summary.quadrature_error > np.sqrt(0.5) * summary.expected_risk_se
    if not led.any():
        return []
    cell = {dim: led[dim].values[i] for dim, i in zip(led.dims, np.argwhere(led.values)[0], strict=True)}
    where = f"{cell['hypothesis']}, n_train={cell['n_train']}, noise={cell['noise']:g}"
    way = "more test_points" if "point" in summary.dims else "the target's breakpoints, or more test_points"
    return [
        f"{where}{', and others' * (int(led.sum()) > 1)}: most of the standard error is that of the test points: "
        f"more replicates cannot lower it, {way} can"
    ]


def counts(summary: xr.Dataset) -> str:
    """Say how many training sets are behind a summary."""
    replicates = np.unique(summary.replicates.values[summary.replicates.values > 0])
    if replicates.size == 0:
        return "no replicates"
    spread = str(replicates[0]) if replicates.size == 1 else f"{replicates[0]} to {replicates[-1]}"
    return f"{spread} training sets a cell"


def _align(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if i in left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines
