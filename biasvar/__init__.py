"""Why learning errs: bias, variance and noise of hypothesis sets, each with a true standard error.

The public names are all here. They are imported when first used, so that ``import biasvar`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from biasvar.execution.lazy import lazy as lazy
    from biasvar.execution.plan import plan as plan
    from biasvar.execution.run import open_store as open  # noqa: A004, F401  # bv.open, like zarr.open
    from biasvar.execution.run import run as run
    from biasvar.execution.verify import digest as digest
    from biasvar.execution.verify import verify as verify
    from biasvar.learning.hypotheses import (
        Constant as Constant,
    )
    from biasvar.learning.hypotheses import (
        Estimator as Estimator,
    )
    from biasvar.learning.hypotheses import (
        Interpolator as Interpolator,
    )
    from biasvar.learning.hypotheses import (
        KernelSmoother as KernelSmoother,
    )
    from biasvar.learning.hypotheses import (
        LeastSquares as LeastSquares,
    )
    from biasvar.learning.hypotheses import (
        NearestNeighbors as NearestNeighbors,
    )
    from biasvar.learning.hypotheses import (
        Polynomial as Polynomial,
    )
    from biasvar.learning.hypotheses import (
        Ridge as Ridge,
    )
    from biasvar.learning.inputs import FixedDesign as FixedDesign
    from biasvar.learning.inputs import Normal as Normal
    from biasvar.learning.inputs import Uniform as Uniform
    from biasvar.learning.targets import Linear as Linear
    from biasvar.learning.targets import PolynomialTarget as PolynomialTarget
    from biasvar.learning.targets import Sine as Sine
    from biasvar.learning.targets import Step as Step
    from biasvar.studies.catalog import bundled as bundled
    from biasvar.studies.catalog import load as load
    from biasvar.studies.risk import RiskStudy as RiskStudy
    from biasvar.studies.risk_summary import confidence_interval as confidence_interval

_HOMES = {
    "lazy": "execution.lazy",
    "plan": "execution.plan",
    "run": "execution.run",
    "open": "execution.run:open_store",
    "digest": "execution.verify",
    "verify": "execution.verify",
    "RiskStudy": "studies.risk",
    "confidence_interval": "studies.risk_summary",
    "load": "studies.catalog",
    "bundled": "studies.catalog",
    "Uniform": "learning.inputs",
    "Normal": "learning.inputs",
    "FixedDesign": "learning.inputs",
    "Sine": "learning.targets",
    "PolynomialTarget": "learning.targets",
    "Linear": "learning.targets",
    "Step": "learning.targets",
    "Polynomial": "learning.hypotheses",
    "Ridge": "learning.hypotheses",
    "LeastSquares": "learning.hypotheses",
    "NearestNeighbors": "learning.hypotheses",
    "KernelSmoother": "learning.hypotheses",
    "Constant": "learning.hypotheses",
    "Interpolator": "learning.hypotheses",
    "Estimator": "learning.hypotheses",
}
__all__ = [*_HOMES, "__version__"]  # names of the table above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'biasvar' has no attribute {name!r}")
    home, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(f"biasvar.{home}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
