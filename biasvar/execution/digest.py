"""One number for all results of a study: equal digests mean equal bits, wherever and however it was run."""

import hashlib

from biasvar.execution.backends import Place
from biasvar.execution.records import checksums
from biasvar.execution.store import Store
from biasvar.execution.summaries import summary_digest


def digest(store: Place) -> str:
    """Return the SHA-256 of a finished study's results: all records in order, and the summary.

    Equal digests mean equal bits, wherever and however the study was run.

    Parameters
    ----------
    store : path-like or str
        A store made by :func:`~biasvar.run`.

    Raises
    ------
    StoreError
        If the store is none, unfinished or damaged.

    Examples
    --------
    >>> import tempfile
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="mean", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)}, n_train=[4],
    ...     replicates=256, block_size=16,
    ... )
    >>> folder = tempfile.TemporaryDirectory()
    >>> first, second = f"{folder.name}/first.zarr", f"{folder.name}/second.zarr"
    >>> _ = bv.run(study, first, progress=False), bv.run(study, second, progress=False)
    >>> bv.digest(first) == bv.digest(second)
    True
    >>> folder.cleanup()
    """
    target = Store(store)
    summary = target.summary().load()
    cells: dict[tuple[str, str], bytes] = {}
    for group, records in target.groups().items():
        parts: list[list[bytes]] = [[] for _ in group.cells]
        first = 0
        for content in records.read_all():
            for part, row in zip(parts, checksums(group, first, content), strict=True):
                part.append(row.astype("<u8").tobytes())
            first += content.records.shape[1]
        cells |= {(group.problem, cell): b"".join(part) for cell, part in zip(group.cells, parts, strict=True)}
    total = hashlib.sha256(target.attributes()["study_hash"].encode())
    for (problem, cell), blocks in sorted(cells.items()):
        total.update(f"{problem}/{cell}/{len(blocks)}".encode())
        total.update(blocks)
    total.update(summary_digest(summary).encode())
    return total.hexdigest()
