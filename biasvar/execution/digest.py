"""One number for all results of a study: equal digests mean equal bits, wherever and however it was run."""

import hashlib

from biasvar.execution.backends import Place
from biasvar.execution.reading import Reading, read_through
from biasvar.execution.store import Store
from biasvar.execution.summaries import summary_digest
from biasvar.studies.base import Summary


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
    return digested(target, summary, read_through(target))


def digested(store: Store, summary: Summary, found: Reading) -> str:
    """Return the digest of a store whose blocks and summary have been read.

    Raises
    ------
    DamagedChunkError
        If blocks are damaged.
    """
    found.check()
    total = hashlib.sha256(store.attributes()["study_hash"].encode())
    for (problem, cell), blocks in sorted(found.checksums.items()):
        total.update(f"{problem}/{cell}/{len(blocks)}".encode())
        total.update(blocks)
    total.update(summary_digest(summary).encode())
    return total.hexdigest()
