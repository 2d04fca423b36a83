"""Twelve thousand configurations of Adam: which hyperparameters are worth a search, and how long a search."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

import biasvar as bv
from biasvar.notation import with_error
from biasvar.views import figures, tables

LESSON = """
What to see
- The learning rate explains {share} of the variance of ranks alone: search it first, on a logarithmic scale.
- What a hyperparameter explains with its interactions but not alone, it does at some values of the others only.
- {draws} random configurations are expected to come within 10 % of the best of all {count}: random search is cheap.
- All took as many steps: larger batches were paid for with as many times the gradients.
- The best of a grid looks better than it is. J is judged on the starts and orders that had no say in the choice."""


def best_configuration(node: xr.Dataset) -> str:
    """Write the best configuration with its uncertainty, and the share of leave-one-out choices that agree."""
    last = node.isel(step=-1)
    names = [str(name) for name in node.hyperparameter.values]
    settings = ", ".join(f"{name}={float(last[f'best_{name}']):.3g}" for name in names)
    cell = last.sel({name: last[f"best_{name}"] for name in names})
    value, risk = (
        with_error(float(data[name]), float(data[f"{name}_se"]))
        for data, name in ((last, "best_objective"), (cell, "excess_risk"))
    )
    return (
        f"best of {int(last.draws.max())} configurations, after {int(last.step)} steps: {settings}\n"
        f"J = {value}, held-out risk above that of the minimiser {risk}; "
        f"{float(last.best_share):.0%} of leave-one-out choices agree"
    )


def sensitivity_table(node: xr.Dataset) -> str:
    """Lay out what each hyperparameter explains of the variance of ranks, most important first."""
    last = node.isel(step=-1)
    last = last.isel(hyperparameter=last.total_sensitivity.argsort().values[::-1])
    lines = [f"{'hyperparameter':16}{'alone':>12}{'with interactions':>20}"]
    for name in last.hyperparameter.values:
        cell = last.sel(hyperparameter=name)
        alone, total = (
            with_error(float(cell[name]), float(cell[f"{name}_se"])) for name in ("sensitivity", "total_sensitivity")
        )
        lines.append(f"{name:16}{alone:>12}{total:>20}")
    return "\n".join(lines)


def search_table(node: xr.Dataset) -> str:
    """Lay out the expected objective of the best of so many random configurations."""
    last = node.isel(step=-1)
    lines = [f"{'random draws':>12}  expected J of the best"]
    for draws in last.draws.values:
        cell = last.sel(draws=draws)
        lines.append(f"{draws:>12}  {with_error(float(cell.expected_best), float(cell.expected_best_se))}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study, print its tables and save its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="hyperparameter-grid.zarr", help="Zarr store to fill [%(default)s]")
    parser.add_argument("--figure", default="figures/hyperparameter-grid.png", help="picture to save [%(default)s]")
    parser.add_argument("--replicates", type=int, default=6, help="starts and orders a configuration [%(default)s]")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a field of the study")
    args = parser.parse_args(argv)

    study = bv.load("hyperparameter-grid", [f"replicates={args.replicates}", *args.set])
    tree = bv.run(study, args.store)
    node = tree["cancer/adam"].to_dataset().load()
    print(tables.results(tree), best_configuration(node), sep="\n")
    print("\nshare of the variance of ranks", sensitivity_table(node), "", search_table(node), sep="\n")

    last = node.isel(step=-1)
    rate = last.sel(hyperparameter="learning_rate")
    near = last.expected_best <= 1.1 * last.best_objective
    share = with_error(float(rate.sensitivity), float(rate.sensitivity_se))
    print(LESSON.format(share=share, draws=int(last.draws[near].min()), count=int(last.draws.max())))

    path = Path(args.figure)
    map_of_two = bv.plot.heat(tree, rows="beta1", columns="learning_rate")
    print("figure:", figures.save(map_of_two, path))
    print("figure:", figures.save(bv.plot.sensitivity(tree), path.with_name(f"{path.stem}-sensitivity{path.suffix}")))
    print("figure:", figures.save(bv.plot.expected_best(tree), path.with_name(f"{path.stem}-luck{path.suffix}")))


if __name__ == "__main__":
    main()
