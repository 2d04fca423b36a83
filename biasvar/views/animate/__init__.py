"""Animations, each a noun for what moves: ``bv.animate.race(tree, objectives)``, ``bv.animate.repeat(study, summary)``.

Each returns a ``Film``, which saves itself as mp4, gif or webp. Numbers on it are the
summary's; titles say what they say.
"""

from biasvar.views.animate.race import race
from biasvar.views.animate.repeat import repeat

__all__ = ["race", "repeat"]
