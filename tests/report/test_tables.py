"""Tables: what is printed where a number, or its standard error, does not exist."""

import numpy as np
import pytest
from helpers import two_point_study

from biasvar.report.numbers import with_error
from biasvar.report.tables import cell_table
from biasvar.studies.blocks import run_in_memory


@pytest.mark.parametrize("value", [-118.3, 0.5, 0.0])
def test_a_number_of_unknown_error_is_not_printed(value):
    assert with_error(value, np.nan) == "?"
    assert with_error(np.inf, np.nan) == "inf"
    assert with_error(np.nan, np.nan) == "-"


def test_a_table_shows_no_squared_bias_without_an_error():
    summary = run_in_memory(two_point_study(noise=[0.5], replicates=256, block_size=16))
    assert summary.status.sel(hypothesis="H1") == "infinite"
    summary["bias2"][:], summary["bias2_se"][:] = -118.3, np.nan
    table = cell_table(summary)
    assert "118" not in table
    row = next(line for line in table.splitlines() if " H1 " in line).split()
    assert row[3:7] == ["?", "inf", "0.25", "inf"]
