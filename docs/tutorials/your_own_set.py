"""A hypothesis set of your own.

A set is anything that can be fitted: one method is enough. Another one takes label noise out of the simulation.
"""

# %%
# The shortest one
# ----------------
# ``fit_predict`` gets many training sets at once: ``x`` and ``y`` of shape (sets, n), and for each set the places
# ``at`` where it has to predict. Here the median of the labels is predicted everywhere.
import numpy as np

import biasvar as bv


class Median:
    """Predicts the median label."""

    def fit_predict(self, x, y, at, rng):
        return np.broadcast_to(np.median(y, axis=1)[:, None], (len(y), at.shape[1]))


# %%
# It stands beside bundled sets in a study, and is compared with them on the same training sets.
study = bv.RiskStudy(
    name="median",
    target=bv.Sine(),
    inputs=bv.Uniform(-1, 1),
    hypotheses={"mean": bv.Polynomial(0), "median": Median()},
    n_train=[5],
    noise=[0.0, 0.5],
    replicates=2**12,
    block_size=2**8,
)
summary = bv.lazy(study).compute()
print(summary.biasvar.to_text())

# %%
# What a fit looks like
# ---------------------
# Before a long run, look at single fits: a mistake in ``fit_predict`` is seen at once.
picture = bv.plot.fits(study, noise=0.5, count=60)

# %%
# Linear in the labels? Say so
# ----------------------------
# Fits such as means, ridge regression or smoothers are sums of labels with weights that depend on x alone. Given the
# weights, label noise needs no random draws: its part of bias and variance is integrated, for all noise levels at once.


class Shrunken:
    """Predicts a share of the mean label."""

    def __init__(self, share):
        self.share = share

    def weights(self, x, at):
        return np.full((*at.shape, x.shape[1]), self.share / x.shape[1])


shares = {f"{share:g} of the mean": Shrunken(share) for share in (0.5, 1.0)}
summary = bv.lazy(study.replace(hypotheses=shares)).compute()
print(summary.biasvar.to_text())

# %%
# Half of the mean has a quarter of its variance and the same bias: on average both predict 0.
differences = bv.plot.differences(summary)

# %%
# Any estimator of scikit-learn is a set, too: ``bv.Estimator(DecisionTreeRegressor(max_depth=2))``. Laws, targets,
# losses, objectives and update rules of your own are added the same way: :doc:`/extending` has one of each.
