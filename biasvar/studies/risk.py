"""Risk studies: how the expected risk of hypothesis sets splits into noise, bias and variance."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from biasvar.errors import StudyError
from biasvar.learning import losses
from biasvar.learning.decomposition import Problem
from biasvar.learning.losses import Loss
from biasvar.learning.losses.margin import MarginLoss
from biasvar.learning.losses.squared import Squared
from biasvar.studies import components
from biasvar.studies.marks import Component
from biasvar.studies.replicated import ReplicatedStudy
from biasvar.studies.sizes import check_magnitudes


class RiskStudy(ReplicatedStudy):
    """Ask how the expected risk of hypothesis sets splits into noise, squared bias and variance.

    Parameters
    ----------
    name : str
        Name of the study: letters, digits, ``.``, ``-`` and ``_``.
    target : callable
        f in y = f(x) + noise e. One of ``biasvar.learning.targets`` or any vectorised callable.
    inputs : Uniform, Normal, FixedDesign or alike
        Law of x.
    hypotheses : dict of str to hypothesis set
        What is fitted, by label; see ``biasvar.learning.hypotheses``.
    loss : Loss
        What a prediction costs: squared loss unless given. See ``biasvar.learning.losses``.
    n_train : sequence of int
        Training-set sizes.
    noise : sequence of float
        Standard deviations of the label noise, in units of y.
    replicates : int, optional
        Random training sets per cell, at least 256 and a multiple of ``block_size``; 131072 unless ``precision`` is
        given.
    block_size : int
        Replicates in a block, the unit of standard errors: there must be at least 16 blocks, and 256 replicates in
        all. A power of two for Sobol, whose points spread the better the more of them are in a block.
    sampler : {"sobol", "random"}
        Scrambled Sobol points through the inputs' inverse distribution function, or pseudo-random numbers.
    seed : int
        Seed of everything random in the study.
    precision : dict of str to float, optional
        Instead of ``replicates``: largest standard errors allowed, by variable, as in ``{"expected_risk": 1e-4}``.
        Blocks are doubled until every cell that has a standard error meets them.
    max_replicates : int, optional
        Where ``precision`` gives up; 2**24 unless given.
    test_points : int, optional
        Points at which risk over x is averaged: quadrature nodes per smooth piece in one dimension (64), Sobol points
        in more (2048).
    description : str
        A line about the study for people.

    Raises
    ------
    StudyError
        If a field is unknown, missing, of the wrong type or does not fit the others.

    References
    ----------
    Y. Abu-Mostafa, M. Magdon-Ismail, H.-T. Lin, Learning From Data, 2012, section 2.3.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="two-point-sine", target=bv.Sine(), inputs=bv.Uniform(-1, 1),
    ...     hypotheses={"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
    ...     n_train=[2, 10], noise=[0.0, 0.5], replicates=2**13, block_size=2**9,
    ... )
    >>> [group.path for group in study.groups()]
    ['n2/H0+H1', 'n10/H0+H1']
    """

    kind: ClassVar[str] = "risk"

    loss: Annotated[Any, Component(components.LOSSES, silent=True)] = Squared()

    def _check_components(self) -> None:
        if not callable(self.target):
            raise ValueError(f"target: expected a vectorised callable, got {self.target!r}")
        super()._check_components()
        if not isinstance(self.loss, components.Imported):  # those are imported when the study runs
            _ = self.losses_by_label

    def _check_labels(self) -> None:
        check_magnitudes(self.noise, self.problem)

    def _problem(self) -> Problem:
        return Problem.of(self.target, self.law, self.test_points, self.seed)

    def _losses(self) -> Mapping[str, Loss]:
        loss = losses.adapted(components.resolved(self.loss), "loss")
        if isinstance(loss, MarginLoss):
            raise StudyError(f"loss: {self.loss!r} is of scores for two classes; ask a ClassificationStudy")
        return {"": loss}
