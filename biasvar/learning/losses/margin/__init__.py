"""Losses of scores for two classes: expected risk is Bayes risk, bias and variance, whatever the loss.

With L(x; g) the loss of a score g at x, averaged over labels, L* its least value, and the centre what a loss averages
of the scores of all training sets (scores themselves, votes for 0-1 loss, probabilities for Brier's):

    E(g_n) = bayes_risk + bias + variance,   bias = L(centre) - L*,   variance = E L(g_n) - L(centre),

averaged over x. Variance is what an average, or a vote, over all training sets would gain; bias is what even that pays.

References
----------
G. James, Variance and bias for general loss functions, 2003.
P. Bartlett, M. Jordan, J. McAuliffe, Convexity, classification, and risk bounds, 2006 (psi).
"""

from biasvar.learning.losses.margin.base import SURROGATES, MarginLoss
from biasvar.learning.losses.margin.names import BY_NAME, adapted

__all__ = ["BY_NAME", "SURROGATES", "MarginLoss", "adapted"]
