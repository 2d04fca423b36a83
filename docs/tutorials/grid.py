"""A grid of hyperparameters.

Which update rule is best? The question has no answer before each rule has been tuned as well as the others. An
optimizer study runs whole grids, thousands of descents side by side.
"""

# %%
# State the question
# ------------------
# Each hyperparameter takes one value or several. Their product is the grid of a rule; ``logspace`` makes values a
# constant factor apart.
import biasvar as bv

rates = bv.logspace(1e-3, 1, 13)
study = bv.OptimizerStudy(
    name="grid",
    objectives={"ravine": bv.Quadratic(eigenvalues=[1, 50], angle=30)},
    optimizers={
        "sgd": bv.SGD(learning_rate=rates),
        "momentum": bv.Momentum(learning_rate=rates, momentum=[0.5, 0.8, 0.9, 0.95]),
        "adam": bv.Adam(learning_rate=rates, beta1=[0.5, 0.9], beta2=[0.9, 0.99, 0.999]),
    },
    targets={"ravine": [1e-2, 1e-6]},
    steps=400,
    replicates=8,  # random starts, the same for all
    record=["objective", "parameters"],
)
print(bv.plan(study))

# %%
# Who wins?
# ---------
# A summary is a tree here: a node for each objective and rule, with the hyperparameters as dimensions. The table says
# what each rule came to at its best, and how many of its descents diverged.
tree = bv.lazy(study).compute()
print(tree.biasvar.to_text())

# %%
# The descents of the best configurations, and what a wrong learning rate costs.
curves = bv.plot.curves(tree)
rates_matter = bv.plot.learning_rates(tree)

# %%
# What has to be tuned?
# ---------------------
# The share of the variance of ranks that each hyperparameter explains, alone and with its interactions: search first
# what explains most.
shares = bv.plot.sensitivity(tree)
costs = bv.plot.cost_map(tree, optimizer="momentum")

# %%
# One path of each
# ----------------
# ``at="inside"`` takes the best of the descents that stay in the picture.
paths = bv.plot.paths(tree, at="inside")

# %%
# Numbers of one configuration
# ----------------------------
# xarray selects by label. What did not reach its target has an infinite cost.
node = tree["ravine/momentum"].to_dataset()
cell = node.sel(momentum=0.9).isel(target=-1).squeeze("batch_size")
print(cell.median_cost_to_target.to_series())
