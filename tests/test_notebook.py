"""A notebook as people use it: executed by a kernel, with its progress in what it shows."""

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = [
    """
import biasvar as bv
from dask.distributed import Client

study = bv.RiskStudy(
    name="notebook", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)},
    n_train=[2, 10], replicates=16 * 64, block_size=64,
)
""",
    'here = bv.run(study, "here.zarr", scheduler="threads", blocks_per_chunk=4)',
    """
with Client(n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
    there = bv.run(study, "there.zarr", scheduler=client, blocks_per_chunk=4)
""",
    'bv.run(study, "silent.zarr", scheduler="threads", progress=False)',
    'print(here.equals(there), bv.digest("here.zarr") == bv.digest("there.zarr"))',
]


def text_of(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.slow
def test_a_notebook_shows_progress_here_and_with_a_client(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    _, here, there, silent, same = notebook.cells
    for cell in (here, there):
        assert "simulating: 8/8" in text_of(cell)
        assert "least known: " in text_of(cell)
    assert "simulating" not in text_of(silent)
    assert text_of(same).strip() == "True True"
