"""A study as a Dataset of Dask arrays: the same tasks without a store."""

from operator import getitem
from typing import Any, TypeVar, cast

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.delayed import Delayed, delayed

from biasvar.errors import StudyError
from biasvar.execution.attributes import as_text, study_attributes
from biasvar.execution.computing import computing
from biasvar.execution.graph import PackedStudy
from biasvar.execution.plan import TASKS_WANTED
from biasvar.studies.base import Chunk, Group, Summary, nodes_of, summary_of
from biasvar.studies.blocks import Memory, simulate_blocks
from biasvar.studies.study import Study, check_is_study

S = TypeVar("S", bound=Summary)


def lazy(study: Study[S]) -> S:
    """Lay a study out as a Dataset (or DataTree) of Dask arrays; nothing is computed until it is asked for.

    Parameters
    ----------
    study : RiskStudy or OptimizerStudy
        A study with a given number of blocks: what a goal such as ``precision`` takes is only known by computing.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        The variables of :func:`~biasvar.run`, with the same bits once computed.

    Raises
    ------
    StudyError
        If the study has such a goal.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="lazy", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)},
    ...     n_train=[2], replicates=2**14, block_size=2**10,
    ... )
    >>> risk = bv.lazy(study).expected_risk
    >>> type(risk.data).__module__.split(".")[0], risk.dims
    ('dask', ('hypothesis', 'n_train', 'noise'))
    """
    check_is_study(study)
    if goal := study.open_goal:
        raise StudyError(f"{goal}: a lazy study needs replicates, for what {goal} takes is only known by computing")
    blocks = study.blocks_needed()
    packed, token = PackedStudy(study), tokenize(study.to_json())
    node = delayed(packed, name=packed.key, traverse=False)
    parts = [(group, _records(node, token, group, blocks[group.problem])) for group in study.groups()]
    summary = delayed(_summarise, name=f"summarise-{token}")(node, parts)
    attributes = study_attributes(study)
    nodes = {
        path: layout.assign(
            {str(name): _delayed_copy(variable, summary, path) for name, variable in layout.data_vars.items()}
        )
        for path, layout in nodes_of(study.layout()).items()
    }
    nodes[""] = nodes[""].assign_attrs(as_text(attributes))
    return cast(S, summary_of(nodes))


def _delayed_copy(variable: xr.DataArray, summary: object, path: str) -> xr.DataArray:
    value = delayed(getitem)(summary, (path, variable.name))
    return variable.copy(data=da.from_delayed(value, variable.shape, dtype=variable.dtype, name=False))


def _records(node: Delayed, token: str, group: Group, blocks: int) -> list[Any]:
    """Return one delayed :class:`Chunk` for each of some equal runs of blocks."""
    size = -(-blocks // TASKS_WANTED)
    array = da.map_blocks(
        _simulate,
        chunks=((1,) * -(-blocks // size),),
        dtype=object,
        meta=np.empty(0, object),
        name=f"{group.task_name}-{tokenize(token, group)}",
        packed=node,
        group=group,
        blocks=blocks,
        size=size,
    )
    return list(array.to_delayed(optimize_graph=False).ravel())


def _simulate(
    block_id: tuple[int, ...] | None = None,
    packed: PackedStudy | None = None,
    group: Group | None = None,
    blocks: int = 0,
    size: int = 1,
) -> Any:
    if block_id is None or packed is None or group is None:
        return np.empty(1, object)  # Dask asks what a result looks like, with no arguments
    study = packed.study()
    with computing:
        return simulate_blocks(study, group, range(block_id[0] * size, min((block_id[0] + 1) * size, blocks)))


def _summarise(packed: PackedStudy, parts: list[tuple[Group, list[Chunk]]]) -> dict[Any, Any]:
    with computing:
        study = packed.study()
        summary = study.summarise(Memory(study, dict(parts)))
    return {
        (path, name): variable.values
        for path, node in nodes_of(summary).items()
        for name, variable in node.data_vars.items()
    }
