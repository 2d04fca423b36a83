"""Ten copies of a data set: one online epoch is ten epochs over one copy, and a step of all examples costs ten times.

There is nothing random: examples come in the order of the data, and both start at zero.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import biasvar as bv
from biasvar.views import figures

COPIES = {"one copy": 1, "ten copies": 10}
STYLES = ((figures.VERMILION, "-", 4), (figures.BLACK, "--", 1.5), (figures.SKY, "-", 4), (figures.BLUE, "--", 1.5))
EPOCHS = (0.01, 0.1, 1, 10, 100)
LEVELS = (0.1, 0.01, 0.001)
LESSON = """
What to see
- The mean loss over ten copies is that over one: both have the same minimum. Batch descent pays ten times for each step
  and gets the same step; online descent takes ten times as many, in one epoch.
- Online descent is near the minimum when batch descent on ten copies has taken its first step. Real data are redundant
  too, though never exactly: that is why minibatches win at first.
- At a constant rate online descent does not settle: near the minimum, batch descent is the better one."""


def objectives() -> dict[str, bv.EmpiricalRisk]:
    """Return the loss on one copy and on ten."""
    out = {}
    for label, times in COPIES.items():
        data = bv.repeated("breast_cancer", times)
        out[label.replace(" ", "-")] = bv.EmpiricalRisk(data=data, loss="logistic", penalty=0.01)
    return out


def descent_study(name: str, rates: tuple[float, ...], size: int | None, looks: list[int]) -> bv.OptimizerStudy:
    """State one way of descent, online (``size`` 1) or batch (None), on both sets."""
    losses = objectives()
    start = [0.0] * losses["one-copy"].dim
    return bv.OptimizerStudy(
        name=name,
        objectives=losses,
        optimizers={"sgd": bv.SGD(learning_rate=rates)},
        steps=looks[-1],
        batch_size=[size],
        order="fixed",
        replicates=1,
        initial=dict.fromkeys(losses, start),
        record=["objective", "parameters"],
        record_steps=looks,
    )


def above_minimum(tree: xr.DataTree, label: str, loss: bv.EmpiricalRisk) -> xr.DataArray:
    """Return J less its minimum along the descent whose rate is lowest at the end."""
    node = tree[f"{label}/sgd"].to_dataset().load().squeeze("batch_size")
    best = node.objective.isel(learning_rate=int(node.objective.isel(step=-1).argmin("learning_rate")))
    return (best - loss.minimum).expand_dims("replicate")


def cost_table(curves: dict[str, xr.DataArray]) -> str:
    """Lay out the gradient evaluations after which J is so little above its minimum."""
    lines = [f"{'gradient evaluations until J - J* <':36}" + "".join(f"{level:>12}" for level in LEVELS)]
    for label, curve in curves.items():
        costs = [curve.gradient_evaluations.values[curve.values[0] <= level] for level in LEVELS]
        lines.append(f"{label:36}" + "".join(f"{cost[0] if cost.size else '-':>12}" for cost in costs))
    return "\n".join(lines)


def draw(curves: dict[str, xr.DataArray], examples: int) -> Figure:
    """Draw how far above its minimum J is; a second axis counts epochs, an arrow says how much more the same costs."""
    lines = {}
    for (label, curve), (color, style, width) in zip(curves.items(), STYLES, strict=True):
        # Of each two the second takes the same steps: it is dashed, for it may lie upon the first.
        lines[label] = curve.assign_attrs(color=color, linestyle=style, linewidth=width, marker="")
    title = "Ten copies cost batch descent ten times as much, and online descent nothing"
    figure = bv.plot.curves({"objective above its minimum, J - J*": lines}, x="gradient_evaluations", title=title)
    (panel,) = figure.axes
    panel.legend(loc="lower left", frameon=False)
    epochs = panel.twiny()
    scale = panel.xaxis.get_transform()
    epochs.set_xscale("symlog", linthresh=scale.linthresh, linscale=scale.linscale)
    epochs.spines["right"].set_visible(False)
    epochs.set(xlim=panel.get_xlim(), xlabel="epochs over one copy")
    epochs.set_xticks([count * examples for count in EPOCHS], [f"{count:g}" for count in EPOCHS])
    cheap, dear = list(curves.values())[2:]
    half = cheap.sizes["step"] // 2
    (low, high), value = (float(curve.gradient_evaluations[half]) for curve in (cheap, dear)), cheap.values[0, half]
    panel.annotate("", (high, value), (low, value), arrowprops={"arrowstyle": "->"})
    panel.text((low * high) ** 0.5, 1.2 * value, rf"$\times$ {high / low:g}", ha="center", va="bottom")
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Run both studies, print what is equal and what it costs, and save the figure."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split()))
    parser.add_argument("--store", type=Path, default=Path("online-vs-batch.zarr"), help="Zarr store [%(default)s]")
    parser.add_argument("--figure", type=Path, default=Path("figures/online-vs-batch.png"), help="[%(default)s]")
    parser.add_argument("--steps", type=int, default=30, help="steps of batch descent [%(default)s]")
    args = parser.parse_args(argv)

    losses = objectives()
    examples = losses["one-copy"].examples
    looks = [0, 1, 3, 10, 30, 100, 300, *(epochs * examples for epochs in (1, 2, 3, 5, 7, 10))]
    study = descent_study("online", bv.logspace(1e-4, 1e-1, 13), 1, looks)
    online = bv.run(study, args.store)
    study = descent_study("batch", bv.logspace(1e-2, 10, 13), None, list(range(args.steps + 1)))
    batch = bv.run(study, args.store.with_name("online-vs-batch-all.zarr"))

    ten_epochs, one_epoch = (online[f"{label}/sgd"].parameters.values for label in losses)
    same = "equal, bit for bit" if np.array_equal(ten_epochs, one_epoch) else "DIFFERENT"
    rates, looks, _ = online["one-copy/sgd"].parameters.squeeze().shape
    print(f"10 online epochs on one copy, 1 on ten copies: {same} ({rates} learning rates at {looks} steps)")
    costs = [int(batch[f"{label}/sgd"].gradient_evaluations.sel(step=1).item()) for label in losses]
    print(f"one step of batch descent: {costs[0]} gradients on one copy, {costs[1]} on ten copies\n")

    curves = {
        f"{way}, {label.replace('-', ' ')}": above_minimum(tree, label, losses[label])
        for way, tree in (("online", online), ("batch", batch))
        for label in losses
    }
    print(cost_table(curves), LESSON, sep="\n")
    print("figure:", figures.save(draw(curves, examples), args.figure))


if __name__ == "__main__":
    main()
