"""Classification studies: how any loss of scores splits into Bayes risk, bias and variance, 0-1 loss among them."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from biasvar.errors import StudyError
from biasvar.learning.classes import TwoClassProblem, class_probability
from biasvar.learning.decomposition import Problem
from biasvar.learning.losses import Loss, margin
from biasvar.learning.losses.margin import BY_NAME
from biasvar.studies import components
from biasvar.studies.marks import Component, Labelled
from biasvar.studies.replicated import ReplicatedStudy

MAX_FLIPS = 0.5


class ClassificationStudy(ReplicatedStudy):
    """Ask how the expected risk of classifiers splits into Bayes risk, bias and variance, for surrogates and 0-1 loss.

    Labels are -1 and +1; the value of a fit is a score, and its class +1 where that is positive. For every loss

        expected_risk = bayes_risk + bias + variance,

    bias what the average over all training sets risks above Bayes risk (for 0-1 loss the majority's vote), variance
    what that average would gain. Two classes: more are not supported yet.

    Parameters
    ----------
    name : str
        Name of the study: letters, digits, ``.``, ``-`` and ``_``.
    inputs : GaussianClasses, Uniform, Normal, FixedDesign or alike
        Law of x.
    target : callable, optional
        P(y = +1 | x), such as ``Logistic([0, 2])`` or any vectorised callable; left out where inputs know it, as
        ``GaussianClasses`` do.
    hypotheses : dict of str to hypothesis set
        What is fitted, by label: ``LinearClassifier``, ``Discriminant``, ``Histogram``, an ``Estimator`` of any
        scikit-learn classifier, or any set of risk studies, fitted to labels -1 and +1.
    losses : sequence of str, or dict of str to loss
        What a score costs: ``zero_one``, ``logistic``, ``squared``, ``hinge``, ``squared_hinge``, ``exponential``,
        ``brier``, or, by a label of its own, an object with ``phi(margins)`` and its derivative ``slope(margins)``.
    n_train : sequence of int
        Training-set sizes.
    noise : sequence of float
        Probabilities that a label is flipped, below 1/2.
    replicates : int, optional
        Random training sets per cell, at least 256 and a multiple of ``block_size``; 131072 unless ``precision`` is
        given.
    block_size : int
        Replicates in a block, the unit of standard errors; a power of two for Sobol.
    sampler : {"sobol", "random"}
        Scrambled Sobol points, or pseudo-random numbers, for inputs and labels.
    seed : int
        Seed of everything random in the study.
    precision : dict of str to float, optional
        Instead of ``replicates``: largest standard errors allowed, by variable.
    max_replicates : int, optional
        Where ``precision`` gives up; 2**24 unless given.
    test_points : int, optional
        Quadrature nodes per panel in one dimension (16), Sobol points in more (2048).
    description : str
        A line about the study for people.

    Raises
    ------
    StudyError
        If a field is unknown, missing, of the wrong type or does not fit the others.

    References
    ----------
    G. James, Variance and bias for general loss functions, 2003.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.ClassificationStudy(
    ...     name="line", inputs=bv.GaussianClasses(means=[-1, 1]), hypotheses={"logistic": bv.LinearClassifier(1)},
    ...     n_train=[10], losses=["zero_one", "logistic"], replicates=2**13, block_size=2**9,
    ... )
    >>> [group.path for group in study.groups()]
    ['n10/logistic@0.0@zero_one+logistic@0.0@logistic']
    """

    kind: ClassVar[str] = "classification"

    target: Annotated[Any, Component(components.TARGETS)] = None
    losses: Annotated[dict[str, Any], Labelled(Component(components.MARGIN_LOSSES))]

    def _completed(self, fields: Mapping[str, object]) -> Mapping[str, Any]:
        named = fields.get("losses")
        if isinstance(named, str):
            named = [named]
        if isinstance(named, list | tuple):
            named = {name if isinstance(name, str) else type(name).__name__: name for name in named}
        if isinstance(named, Mapping):
            fields = {**fields, "losses": {label: _loss(loss) for label, loss in named.items()}}
        return super()._completed(fields)

    def _check_components(self) -> None:
        super()._check_components()
        if not self.losses:
            raise ValueError(f"losses: is empty; choose from {', '.join(BY_NAME)}")
        for label, loss in self.losses.items():
            if not components.LABEL.fullmatch(label):
                raise ValueError(f"losses: {label!r} cannot be a label; use letters, digits, . _ and -")
            if not isinstance(loss, components.Imported):
                margin.adapted(loss, f"losses.{label}")
        if self.target is not None and not callable(self.target):
            raise ValueError(f"target: expected P(y = +1 | x), a vectorised callable, got {self.target!r}")

    def _check_labels(self) -> None:
        if max(self.noise) >= MAX_FLIPS:
            raise ValueError(f"noise: expected probabilities of a flip below 1/2, got {max(self.noise):g}")
        _ = self.problem.f

    def _problem(self) -> Problem:
        target = class_probability(components.resolved(self.target), self.law)
        jumps = sorted({place for hypothesis in self.sets.values() for place in hypothesis.breakpoints})
        return TwoClassProblem.of(target, self.law, self.test_points, self.seed, jumps)

    def _losses(self) -> Mapping[str, Loss]:
        return {
            label: margin.adapted(components.resolved(loss), f"losses.{label}") for label, loss in self.losses.items()
        }


def _loss(loss: object) -> Any:
    """Take a loss's name in studies for the loss; pass all else on."""
    if not isinstance(loss, str) or ":" in loss or loss in components.MARGIN_LOSSES:
        return loss
    if loss not in BY_NAME:
        raise StudyError(f"losses: unknown name {loss!r}; choose from {', '.join(BY_NAME)}, or write module:name")
    return BY_NAME[loss]
