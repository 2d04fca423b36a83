__version__: str

from .execution.lazy import lazy as lazy
from .execution.plan import plan as plan
from .execution.run import open as open  # noqa: A004
from .execution.run import run as run
from .execution.verify import digest as digest
from .execution.verify import verify as verify
from .learning.hypotheses import Constant as Constant
from .learning.hypotheses import Estimator as Estimator
from .learning.hypotheses import Interpolator as Interpolator
from .learning.hypotheses import KernelSmoother as KernelSmoother
from .learning.hypotheses import LeastSquares as LeastSquares
from .learning.hypotheses import NearestNeighbors as NearestNeighbors
from .learning.hypotheses import Polynomial as Polynomial
from .learning.hypotheses import Ridge as Ridge
from .learning.inputs import FixedDesign as FixedDesign
from .learning.inputs import Normal as Normal
from .learning.inputs import Uniform as Uniform
from .learning.targets import Linear as Linear
from .learning.targets import PolynomialTarget as PolynomialTarget
from .learning.targets import Sine as Sine
from .learning.targets import Step as Step
from .studies.catalog import bundled as bundled
from .studies.catalog import load as load
from .studies.risk import RiskStudy as RiskStudy
from .studies.risk_summary import confidence_interval as confidence_interval
