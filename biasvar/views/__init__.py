"""Tables and figures: they read summaries, and compute no study."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["animate", "plot"])
