"""Why learning errs: bias, variance and noise of hypothesis sets, each with a true standard error.

The public names are listed in ``__init__.pyi``. They are imported when first used, so that ``import biasvar`` is quick.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
