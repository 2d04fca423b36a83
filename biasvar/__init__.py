"""Why learning errs: bias, variance and noise of hypothesis sets, each with a true standard error.

The public names are listed in ``__init__.pyi``. They are imported when first used, so that ``import biasvar`` is quick.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from biasvar.accessor import Results
    from biasvar.studies.base import Summary

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def _results(summary: "Summary") -> "Results":
    from biasvar.accessor import Results

    return Results(summary)


def _offer_results(xarray: ModuleType) -> None:
    """Have Datasets and DataTrees offer ``summary.biasvar``, whoever opened them."""
    xarray.register_dataset_accessor("biasvar")(_results)
    xarray.register_datatree_accessor("biasvar")(_results)


class _AwaitXarray(MetaPathFinder):
    """Offer results as soon as xarray is imported: importing it here would take longer than many a command."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "xarray":
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        found = next((spec for spec in specs if spec is not None), None)
        # Those who only look for xarray do not execute it.
        if found is not None and found.loader is not None:
            execute = found.loader.exec_module

            def executed(module: ModuleType) -> None:
                execute(module)
                sys.meta_path.remove(self)
                _offer_results(module)

            found.loader.exec_module = executed  # type: ignore[method-assign]  # this loader's alone
        return found


if "xarray" in sys.modules:
    _offer_results(sys.modules["xarray"])
else:
    sys.meta_path.insert(0, _AwaitXarray())
