"""Why learning errs: bias, variance and noise of hypothesis sets, each with a true standard error.

The public names are listed in ``__init__.pyi``. They are imported when first used, so that ``import biasvar`` is quick.
"""

from typing import Any

import lazy_loader

__version__ = "0.1.0"

_found, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

#: What gives summaries, which then have ``summary.biasvar``.
_OF_SUMMARIES = ("run", "open", "lazy", "merge")


def __getattr__(name: str) -> Any:
    found = _found(name)
    if name in _OF_SUMMARIES:
        import biasvar.accessor  # noqa: F401  # registers itself
    return found
