"""Where the best configurations of an optimizer study are: labels to select with."""

import numpy as np
import xarray as xr

from biasvar.errors import BiasvarError
from biasvar.studies.base import nodes_of


def best_configurations(
    tree: xr.DataTree, *, step: int | None = None, target: int | None = None
) -> dict[str, dict[str, float]]:
    """Return the labels of the best configuration of each objective and optimizer.

    The best is what has the lowest mean objective at a step, or what reaches a target at the least median cost.

    Parameters
    ----------
    tree : xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned for an optimizer study.
    step : int, optional
        A recorded step; the last one unless given.
    target : int, optional
        Number of a target, from 0; -1 is the last.

    Returns
    -------
    dict of str to dict of str to float
        By path, ``"objective/optimizer"``: each hyperparameter's value, and the batch size (0 for all examples).
        Those of which every configuration diverged, failed or missed the target are left out.

    Raises
    ------
    BiasvarError
        If step and target are both given, the step was not recorded, or there is no such target.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.OptimizerStudy(
    ...     name="bowl", objectives={"bowl": bv.Quadratic(eigenvalues=[1, 2])}, steps=10, replicates=2,
    ...     optimizers={"sgd": bv.SGD(learning_rate=[0.01, 0.1])}, targets={"bowl": [1e9, 1e-9]},
    ... )
    >>> tree = bv.lazy(study).compute()
    >>> bv.best_configurations(tree)
    {'bowl/sgd': {'learning_rate': 0.1, 'batch_size': 0.0}}
    >>> bv.best_configurations(tree, target=1)
    {}
    >>> node = tree["bowl/sgd"].to_dataset().sel(bv.best_configurations(tree)["bowl/sgd"])
    >>> node.objective.dims
    ('step',)
    """
    if step is not None and target is not None:
        raise BiasvarError("best_configurations: say step or target, not both")
    found = {path: labels_of_best(node, step, target) for path, node in descents_of(tree).items()}
    return {path: labels for path, labels in found.items() if labels}


def descents_of(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """Return what a study's optimizers came to, by path, ``"objective/optimizer"``."""
    return {path: node.load() for path, node in nodes_of(tree).items() if "step" in node.dims}


def labels_of_best(node: xr.Dataset, step: int | None = None, target: int | None = None) -> dict[str, float]:
    """Return the labels of the best configuration in one node; none if there is none."""
    if target is None:
        prefix, dim, place = "best", "step", _place_of(node, step)
    else:
        prefix, dim, place = "cheapest", "target", target
        if not -node.sizes.get("target", 0) <= target < node.sizes.get("target", 0):
            raise BiasvarError(f"target: there is no target {target}; the study has {node.sizes.get('target', 0)}")
    labels = {str(name): float(node[f"{prefix}_{name}"].isel({dim: place})) for name in node.hyperparameter.values}
    return {} if any(np.isnan(value) for value in labels.values()) else labels


def _place_of(node: xr.Dataset, step: int | None) -> int:
    steps = node.step.values.tolist()
    if step is not None and step not in steps:
        raise BiasvarError(f"step: {step} was not recorded; choose from {', '.join(map(str, steps))}")
    return -1 if step is None else steps.index(step)
