"""First study in five minutes.

A target that nobody shows us, two points of it, and two ways to guess the rest: a constant or a line. Which is better?
"""

# %%
# State the question
# ------------------
# A study is a value: it says what is drawn and what is fitted. Nothing runs yet.
import tempfile
from pathlib import Path

import biasvar as bv

study = bv.RiskStudy(
    name="sine",
    target=bv.Sine(),  # f(x) = sin(pi x), which the fits never see
    inputs=bv.Uniform(-1, 1),  # where training and test points come from
    hypotheses={"constant": bv.Polynomial(0), "line": bv.Polynomial(1)},
    n_train=[2, 10],  # examples in a training set
    noise=[0.0, 0.5],  # standard deviations of the label noise
    replicates=2**14,  # training sets, each fitted by both
    block_size=2**10,
)

# %%
# See one experiment, and many
# ----------------------------
# Each thin line below is fitted to one training set of the study's own. Two points decide a line, and each pair
# decides differently: that is variance. That the mean of all lines is still not the sine is bias.
picture = bv.plot.fits(study, n_train=2)

# %%
# Ask what it will cost, and run it
# ---------------------------------
# The store keeps every block that is finished. Stopped, a run goes on from there; complete, it is only read.
print(bv.plan(study))
store = Path(tempfile.mkdtemp()) / "sine.zarr"
summary = bv.run(study, store)

# %%
# Read the answer
# ---------------
# Digits in parentheses are the standard error of the last ones. With two examples the constant wins although it is
# further from the truth on average: its fits hardly differ. With ten examples the line wins.
print(summary.biasvar.to_text())

# %%
# As pictures: what the risk is made of, and how it falls with more examples. Titles are findings of these numbers.
parts = bv.plot.decomposition(summary, n_train=2, noise=0.0)
curves = bv.plot.learning_curves(summary, noise=0.5)

# %%
# What would help?
# ----------------
# Which error dominates, and what lowers it, is said only where the numbers can tell.
print(bv.diagnose(summary).sentence)

# %%
# Go on
# -----
# Studies are values, so that another question is one word away; what is stored already is not simulated again.
more = study.replace(n_train=[2, 5, 10])
print(bv.run(more, store).sel(hypothesis="line", noise=0.5)[["expected_risk", "expected_risk_se"]].to_dataframe())
