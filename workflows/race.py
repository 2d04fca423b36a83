"""Six update rules race from one start, and one experiment is repeated many times: the animations of the README.

The rules are tuned alike: each runs at the settings, of a grid, that bring it to the target first and keep it there.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

import biasvar as bv

GIF_WIDTH = 700  # pixels, as wide as README pages show them
LESSON = """
What to see
- In the ravine along the axes AdaGrad is there after {adagrad[0]:g} steps, and plain descent after {sgd[0]:g}:
  scaling each coordinate by its own gradients makes that ravine round.
- It is an artefact of the axes. In the same ravine, turned by 30 degrees, AdaGrad takes {adagrad[1]:g} steps and
  plain descent {sgd[1]:g}; {first} is the first, after {least:g}: the axes are nothing to it.
- On the saddle plain descent lingers, for its steps are as small as the gradient: {sgd[2]:g} of them. Adaptive rules
  take a long step however small the gradient is: {adagrad[2]:g} for AdaGrad.
- The animation has settings that stay in the picture; some are a few steps slower than the best.
- Two points of a sine: lines through them differ so much that constants predict better."""


def race_study(count: int) -> bv.OptimizerStudy:
    """Return the race, of so many learning rates: each step is recorded."""
    rates, momenta, steps = bv.logspace(1e-3, 3, count), [0.5, 0.7, 0.8, 0.9], 250
    return bv.OptimizerStudy(
        name="race",
        objectives={
            "ravine": bv.Quadratic(eigenvalues=[1, 40]),
            "turned-ravine": bv.Quadratic(eigenvalues=[1, 40], angle=30),
            "saddle": bv.Saddle(eigenvalues=[1, -0.3]),
        },
        optimizers={
            "sgd": bv.SGD(rates),
            "momentum": bv.Momentum(rates, momentum=momenta),
            "nesterov": bv.Nesterov(rates, momentum=momenta),
            "adagrad": bv.AdaGrad(rates),
            "rmsprop": bv.RMSProp(rates, rho=[0.9, 0.99]),
            "adam": bv.Adam(rates, beta2=[0.99, 0.999]),
        },
        initial={"ravine": [-1.9, 0.55], "turned-ravine": [-1.92, -0.474], "saddle": [-1.2, 1e-4]},
        # Descents stop at the second, so that it is seen which ones stay at the first.
        targets={"ravine": [1e-6, 1e-12], "turned-ravine": [1e-6, 1e-12], "saddle": [-0.3, -0.31]},
        steps=steps,
        record=["objective", "parameters"],
        record_steps=range(steps + 1),
        replicates=1,
    )


def steps_to_stay(tree: xr.DataTree) -> dict[str, list[float]]:
    """Return, for each rule, the fewest steps to the first target of each objective, there to stay."""
    found: dict[str, list[float]] = {}
    for objective in tree.children.values():
        for label, node in objective.children.items():
            found.setdefault(label, []).append(float(node.steps_to_stay.isel(target=0).min()))
    return found


def table(steps: dict[str, list[float]], objectives: Sequence[str]) -> str:
    """Lay out steps by rule and objective."""
    rows = [("optimizer", *objectives), *((label, *(f"{n:g}" for n in each)) for label, each in steps.items())]
    return "\n".join("".join([f"{label:12}", *(f"{n:>16}" for n in rest)]) for label, *rest in rows)


def save(film: "bv.animate.Film", path: Path) -> str:
    """Save a film as mp4 and as gif, and say how large they are and how long that took."""
    sizes = []
    for suffix, width in ((".mp4", 1120), (".gif", GIF_WIDTH)):
        start = time.perf_counter()
        saved = film.save(path.with_suffix(suffix), width=width)
        sizes.append(f"{saved} {saved.stat().st_size / 1e6:.2f} MB, {time.perf_counter() - start:.1f} s")
    return "; ".join(sizes)


def main(argv: Sequence[str] | None = None) -> None:
    """Run both studies, print who is first, and save the animations."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", default="race.zarr", help="Zarr store to fill [%(default)s]")
    parser.add_argument("--repeat-store", default="two-point-sine.zarr", help="another for the sine [%(default)s]")
    parser.add_argument("--out", default="figures", help="folder of the animations [%(default)s]")
    parser.add_argument("--rates", type=int, default=29, help="learning rates of each grid [%(default)s]")
    parser.add_argument("--sets", type=int, default=2000, help="training sets that are drawn [%(default)s]")
    parser.add_argument("--replicates", type=int, default=2**17, help="and that numbers are made of [%(default)s]")
    args = parser.parse_args(argv)

    study = race_study(args.rates)
    tree = bv.run(study, args.store)
    steps = steps_to_stay(tree)
    print("steps to the target, there to stay, at the best settings", table(steps, list(study.objectives)), sep="\n")
    first = min(steps, key=lambda label: steps[label][1])
    print(LESSON.format(**steps, first=first, least=steps[first][1]))

    sine = bv.load("two-point-sine", [f"replicates={args.replicates}"])
    summary = bv.run(sine, args.repeat_store)
    print("race:", save(bv.animate.race(tree, study.objectives), Path(args.out) / "race"))
    print(
        "repeat:",
        save(bv.animate.repeat(sine, summary, n_train=2, noise=0.0, count=args.sets), Path(args.out) / "repeat"),
    )


if __name__ == "__main__":
    main()
