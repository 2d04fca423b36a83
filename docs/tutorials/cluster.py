"""On a cluster.

The same study, the same bits: on one core, on a laptop's, on a thousand. Only the scheduler is another one.
"""

# %%
# A cluster to try things out
# ---------------------------
# Any Dask cluster will do. This one has two workers within this process; in a batch system the address of its scheduler
# is what you have, ``Client("tcp://scheduler:8786")``.
import tempfile
from pathlib import Path

from distributed import Client, LocalCluster

import biasvar as bv

cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0")
client = Client(cluster)

# %%
# Run
# ---
# Workers write what they have simulated into the store themselves; the store must be a place that all of them see.
study = bv.RiskStudy(
    name="sine",
    target=bv.Sine(),
    inputs=bv.Uniform(-1, 1),
    hypotheses={f"H{degree}": bv.Polynomial(degree) for degree in (0, 1, 3)},
    n_train=[10, 20],
    noise=[0.5],
    replicates=2**14,
    block_size=2**8,
)
store = Path(tempfile.mkdtemp()) / "sine.zarr"
summary = bv.run(study, store, scheduler=client)
print(summary.biasvar.to_text())

# %%
# Watch
# -----
# The run adds a page to the scheduler's dashboard, ``/biasvar``: estimates so far, their standard errors as they fall,
# what is done. It shows events that any client can read. Without a cluster, ``biasvar watch STORE`` shows the same.
stamp, last = client.get_events("biasvar")[-1]
print(last["stage"], last["done"], "of", last["total"], "chunks,", last["headline"])
for problem, cell, blocks, mean, error in last["cells"][:3]:
    print(f"{problem} {cell}: {mean:.4f} +- {error:.4f} after {blocks} blocks")

# %%
# Lose everything but the store
# -----------------------------
# A worker, the scheduler or the driver may die at any time. Whatever runs next, here another scheduler altogether,
# simulates only what the store has not.
client.close()
cluster.close()
more = study.replace(n_train=[10, 20, 40])
summary = bv.run(more, store, scheduler="synchronous")
print(summary.expected_risk.sizes)

# %%
# The same bits
# -------------
# The digest of all results does not depend on where they were made.
elsewhere = store.with_name("elsewhere.zarr")
_ = bv.run(more, elsewhere, scheduler="synchronous")
print(bv.digest(store) == bv.digest(elsewhere))

# %%
# How to start workers on SLURM, in containers and on Kubernetes: :doc:`/containers`. What may break, and what then
# follows: :doc:`/clusters`.
