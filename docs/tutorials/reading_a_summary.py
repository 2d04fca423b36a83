"""Reading a summary.

A summary is an xarray Dataset: labelled numbers, each beside its standard error. Here is what to look at, and in which
order: flags first, then parts, then differences.
"""

# %%
import biasvar as bv

study = bv.RiskStudy(
    name="summary",
    target=bv.Sine(),
    inputs=bv.Uniform(-1, 1),
    hypotheses={"H0": bv.Polynomial(0), "H1": bv.Polynomial(1), "H3": bv.Polynomial(3)},
    n_train=[2, 5, 20],
    noise=[0.0, 0.3],
    replicates=2**13,
    block_size=2**9,
)
summary = bv.lazy(study).compute()  # without a store; ``bv.run`` and ``bv.open`` give the same Dataset
print(summary.sizes)

# %%
# Flags first
# -----------
# ``status`` says what can be said of a cell. The line through two noisy points may be as steep as you please: its risk
# has no mean, and a plain average of simulated risks would show some number all the same.
print(summary.status.to_series().value_counts())
infinite = summary.where(summary.status == "infinite", drop=True)
print(infinite.status_reason.to_series().replace("", float("nan")).dropna().iloc[0])
flags = bv.plot.status_map(summary)

# %%
# Then the parts of a risk
# ------------------------
# Expected risk is noise, squared bias and variance: an identity of the numbers, not a model of them.
cell = summary.sel(hypothesis="H1", n_train=20, noise=0.3)
print(float(cell.irreducible_risk + cell.bias2 + cell.variance), float(cell.expected_risk))

# %%
# An estimate ``v`` has its standard error in ``v_se``. Its interval is not always twice that to both sides: those of
# squared biases reach further to the right, as their estimates do.
for part in ("bias2", "variance"):
    print(f"{part:10}{float(cell[part]):.6f} +- {float(cell[part + '_se']):.6f}")
print(bv.confidence_interval(cell, "bias2"))

# %%
# Then differences
# ----------------
# All hypothesis sets see the same training sets. A difference of two risks therefore is known far better than either
# risk, and has a standard error of its own. Never subtract two numbers and add their errors.
pair = summary.sel(hypothesis="H3", versus="H1", n_train=20, noise=0.3)
print(float(pair.excess_risk_difference), "+-", float(pair.excess_risk_difference_se))
print("as if independent: +-", float((cell.expected_risk_se**2 + pair.expected_risk_se**2) ** 0.5))
differences = bv.plot.differences(summary, noise=0.3)

# %%
# As tables
# ---------
# The printed table, for a page or a paper; ``records`` has all numbers in full.
print(summary.biasvar.to_text("md"))
print(summary.biasvar.records().columns.tolist())
