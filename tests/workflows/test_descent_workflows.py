"""The workflows on gradient descent as people run them, small: their claims in numbers, the tables, the pictures."""

import importlib.util
import json

import dask
import numpy as np
import pytest
import xarray as xr
from helpers import WORKFLOWS

import biasvar as bv
from biasvar.errors import BiasvarError
from biasvar.views import figures

PNG = b"\x89PNG\r\n\x1a\n"


class Ran:
    """What one run of a workflow left behind: the store, what it printed, and the figures it saved."""

    def __init__(self, name, folder, capsys, monkeypatch, *options):
        self.store, self.figure = folder / f"{name}.zarr", folder / "pictures" / f"{name}.png"
        self.drawn = []

        def save(figure, path):
            self.drawn.append(figure)
            return original(figure, path)

        original = figures.save
        monkeypatch.setattr(figures, "save", save)
        spec = importlib.util.spec_from_file_location(name, WORKFLOWS / f"{name}.py")
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        with dask.config.set(scheduler="threads"):  # starting workers takes longer than these
            self.module.main([str(option) for option in ("--store", self.store, "--figure", self.figure, *options)])
        self.printed = capsys.readouterr().out

    @property
    def tree(self) -> xr.DataTree:
        return bv.open(self.store).load()

    @property
    def panels(self):
        """The axes of each figure but for colour bars."""
        return [[panel for panel in figure.axes if panel.get_label() != "<colorbar>"] for figure in self.drawn]

    def rows(self, *starts):
        """Return the words of the printed lines that begin like this."""
        lines = (line.split() for line in self.printed.splitlines())
        return [words for words in lines if words[: len(starts)] == list(starts)]


def is_picture(path):
    content = path.read_bytes()
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    return content.startswith(PNG) and width * height > 100_000 and len(content) > 20_000


def labels(panel):
    return panel.get_xlabel(), panel.get_ylabel()


def legend(panel):
    return [text.get_text() for text in panel.get_legend().get_texts()]


def mean_and_error(values):
    return float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5


RULES = ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"]


def test_ravine_plain_descent_jitters_and_the_others_need_not(tmp_path, capsys, monkeypatch):
    ran = Ran("ravine", tmp_path, capsys, monkeypatch, "--replicates", 8)
    cells = {label: ran.module.Cells.of(ran.tree[f"ravine/{label}"].to_dataset()) for label in RULES}
    limit = float(cells["sgd"].choosers.steps.min())
    assert 450 < limit < 650  # 1 - 0.0178 a step, from some 0.5 to 1e-9: 20 / 0.036 = 560
    calmest = {label: judged(each, each.calmest(limit)) for label, each in cells.items()}
    plain, plain_error = mean_and_error(calmest["sgd"].jitter.values)
    assert plain == 1
    for label in RULES[1:]:
        jitter, error = mean_and_error(calmest[label].jitter.values)
        assert plain - jitter > 0.5 + 3 * np.hypot(plain_error, error), label
        assert calmest[label].steps.median() < limit, label

    fastest = judged(cells["momentum"], cells["momentum"].fastest())
    jitter, error = mean_and_error(fastest.jitter.values)
    assert plain - jitter > 3 * np.hypot(plain_error, error)
    assert fastest.steps.median() < limit / 2

    slow = cells["sgd"].data.sel(configuration=cells["sgd"].data.learning_rate < 0.0099)  # one side: 1 - 100 e > 0
    assert not slow.jitter.any()
    assert (slow.steps.median("replicate") > 1.5 * limit).all()
    assert [row[0] for label in RULES for row in ran.rows(label)] == [label for label in RULES for _ in range(2)]
    assert all(float(row[-1].partition("(")[0]) == 1 for row in ran.rows("sgd"))

    paths, (curves,), (limited,) = ran.panels
    assert [panel.get_title().partition("\n")[0] for panel in paths] == RULES
    assert {panel.get_aspect() for panel in paths} == {1.0}
    starts = {tuple(panel.lines[0].get_xydata()[0]) for panel in paths}
    assert len(starts) == 1  # all from one point
    assert labels(curves) == ("steps", "J of ravine")
    assert (curves.get_xscale(), curves.get_yscale()) == ("symlog", "log")
    assert legend(limited) == RULES
    assert {0.02} in [set(line.get_xdata()) for line in limited.lines]
    # Beyond the limit plain descent is nowhere at the target, below it somewhere.
    rates, steps = limited.lines[0].get_xydata().T
    assert rates[np.isfinite(steps)].max() < 0.02 < rates.max()
    assert is_picture(ran.figure)


def judged(cells, choice):
    return cells.data.isel(configuration=choice, replicate=slice(1, None, 2))


def test_ravine_jitter_is_what_it_says(tmp_path):
    """By hand: one rate halves the steep coordinate, the other changes its sign too."""
    study = bv.OptimizerStudy(
        name="hand",
        objectives={"ravine": bv.Quadratic(eigenvalues=[1, 100])},
        optimizers={"sgd": bv.SGD(learning_rate=[0.005, 0.015])},
        steps=12,
        replicates=2,
        initial={"ravine": [1.0, 1.0]},
        targets={"ravine": [1e-9]},
        record=["objective", "parameters"],
        record_steps=[0, 1, 2, 3, 10, 12],
    )
    spec = importlib.util.spec_from_file_location("ravine", WORKFLOWS / "ravine.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cells = module.Cells.of(bv.lazy(study)["ravine/sgd"].to_dataset().compute())
    np.testing.assert_array_equal(cells.data.jitter.transpose("configuration", "replicate"), [[0, 0], [1, 1]])
    assert np.isinf(cells.data.steps).all()


def test_online_descent_gains_from_copies_what_batch_descent_pays(tmp_path, capsys, monkeypatch):
    ran = Ran("online_vs_batch", tmp_path, capsys, monkeypatch, "--steps", 12)
    one, ten = (ran.tree[f"{label}/sgd"].to_dataset() for label in ("one-copy", "ten-copies"))
    np.testing.assert_array_equal(one.parameters, ten.parameters)
    assert int(one.step[-1]) == 5690
    assert float(np.abs(one.parameters.isel(step=-1)).min()) > 0  # they moved
    np.testing.assert_allclose(one.objective, ten.objective, rtol=1e-12)
    assert "equal, bit for bit (13 learning rates at 13 steps)" in ran.printed
    assert "569 gradients on one copy, 5690 on ten copies" in ran.printed

    batch = bv.open(ran.store.with_name("online-vs-batch-all.zarr")).load()
    cheap, dear = (batch[f"{label}/sgd"].to_dataset() for label in ("one-copy", "ten-copies"))
    np.testing.assert_allclose(cheap.parameters, dear.parameters, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(10 * cheap.gradient_evaluations, dear.gradient_evaluations)
    # After one epoch over ten copies, online descent is a hundred times nearer the minimum than the one batch step.
    minimum = ran.module.objectives()["ten-copies"].minimum
    online = float(ten.objective.isel(step=-1).min()) - minimum
    assert online * 100 < float(dear.objective.sel(step=1).min()) - minimum

    ((panel, epochs),) = ran.panels
    assert epochs.get_xlabel() == "epochs over one copy"
    # An epoch is 569 gradients, wherever one looks.
    (place,) = (
        tick for tick, text in zip(epochs.get_xticks(), epochs.get_xticklabels(), strict=True) if text.get_text() == "1"
    )
    ends = [axes.transData.transform((569, 0.1))[0] for axes in (panel, epochs)]
    assert (place, ends[0]) == (569, pytest.approx(ends[1]))
    assert labels(panel) == ("gradient evaluations", "objective above its minimum, J - J*")
    assert (panel.get_xscale(), panel.get_yscale()) == ("symlog", "log")
    first, second, third, fourth = (line.get_xydata() for line in panel.lines)
    np.testing.assert_allclose(first, second, rtol=1e-9)
    np.testing.assert_allclose(third * (10, 1), fourth, rtol=1e-6)
    names = {"online, one copy", "online, ten copies", "batch, one copy", "batch, ten copies"}
    assert {text.get_text() for text in panel.get_legend().get_texts()} == names
    assert {text.get_text() for text in panel.texts} == {r"$\times$ 10", ""}  # the arrow has no words
    assert is_picture(ran.figure)


def test_adagrad_stalls_where_rmsprop_and_adam_go_on(tmp_path, capsys, monkeypatch):
    ran = Ran("adaptive_methods", tmp_path, capsys, monkeypatch, "--replicates", 32)
    study = bv.load("adaptive-methods", ["replicates=32"])
    rules = ["adagrad", "rmsprop", "adam"]
    found = {rule: ran.module.measure(study, ran.tree[f"rosenbrock/{rule}"].to_dataset()) for rule in rules}
    for rule, cell in found.items():
        rates = study.optimizers[rule].learning_rate
        assert rates[0] < cell.learning_rate < rates[-1], rule  # the best is within the grid
    median = {rule: cell.objective.median("replicate") for rule, cell in found.items()}
    assert median["adagrad"].sel(step=10) < median["rmsprop"].sel(step=10) / 100  # quick at first
    assert median["adagrad"].sel(step=2000) > 3 * median["rmsprop"].sel(step=2000)
    assert median["adagrad"].sel(step=2000) > 3 * median["adam"].sel(step=2000)
    rise = {rule: cell.rate.median("replicate").sel(pair=[19, 2000]) for rule, cell in found.items()}
    rise = {rule: float(rate[1] / rate[0]) for rule, rate in rise.items()}
    assert rise["adagrad"] < 2
    assert rise["adam"] > 3
    assert rise["rmsprop"] > 100

    assert [row[0] for rule in rules for row in ran.rows(rule)] == rules
    wins = {rule: int(ran.rows(rule)[0][-3]) for rule in rules[1:]}  # of 16: 12 and more by luck once in 26 times
    assert min(wins.values()) >= 12
    (left, right), paths = ran.panels
    assert labels(left) == ("steps", "objective J")
    assert labels(right) == ("steps", "effective rate, |step| / |gradient|")
    assert {panel.get_yscale() for panel in (left, right)} == {"log"}
    assert {text.get_text() for text in right.texts} == set(rules)
    assert all(len(panel.collections) == 3 for panel in (left, right))  # a band each
    assert [panel.get_title().partition("\n")[0] for panel in paths] == rules
    assert is_picture(ran.figure)


SMALL = (
    "optimizers.adam.Adam.learning_rate={logspace: [1.0e-4, 10, 11]}",
    "optimizers.adam.Adam.beta1=[0, 0.9, 0.99]",
    "optimizers.adam.Adam.beta2=[0.9, 0.999]",
    "optimizers.adam.Adam.epsilon=[1.0e-8, 1.0e-1]",
    "batch_size=[4, 16]",
)


def test_learning_rate_matters_most(tmp_path, capsys, monkeypatch):
    changes = [part for change in SMALL for part in ("--set", change)]
    ran = Ran("hyperparameter_grid", tmp_path, capsys, monkeypatch, "--replicates", 4, *changes)
    node = ran.tree["cancer/adam"].to_dataset()
    last = node.isel(step=-1)
    assert int(last.draws.max()) == 11 * 3 * 2 * 2 * 2
    rate, others = last.sel(hyperparameter="learning_rate"), last.drop_sel(hyperparameter="learning_rate")
    for name in ("sensitivity", "total_sensitivity"):
        lead = rate[name] - others[name]
        assert (lead > 0.3 + 3 * np.hypot(rate[f"{name}_se"], others[f"{name}_se"])).all()
    assert ran.rows("hyperparameter")
    table = ran.printed.splitlines()
    heading = next(i for i, line in enumerate(table) if line.startswith("hyperparameter "))
    assert table[heading + 1].startswith("learning_rate ")

    assert (last.expected_best.diff("draws") < 3 * last.expected_best_se.isel(draws=slice(1, None))).all()
    assert float(last.expected_best[0]) > 5 * float(last.best_objective)
    loss = bv.load("hyperparameter-grid").objectives["cancer"]
    assert loss.minimum < float(last.best_objective) < 0.2
    assert 0.01 < float(last.best_learning_rate) < 3
    assert "best of 264 configurations" in ran.printed


def test_grid_figure(tmp_path, capsys, monkeypatch):
    changes = [part for change in (*SMALL, "steps=20", "record_steps=[20]") for part in ("--set", change)]
    ran = Ran("hyperparameter_grid", tmp_path, capsys, monkeypatch, "--replicates", 2, *changes)
    (heat,), (bars,), (best,) = ran.panels
    assert labels(heat) == ("learning rate", "beta1")
    assert [text.get_text() for text in heat.get_xticklabels()] == ["0.0001", "0.001", "0.01", "0.1", "1", "10"]
    node = ran.tree["cancer/adam"].to_dataset().isel(step=-1)
    shown = heat.images[0].get_array()
    np.testing.assert_allclose(shown, node.objective.min(["beta2", "epsilon", "batch_size"]).T)
    assert labels(best) == ("random configurations tried", "expected objective J of the best")
    top = str(node.hyperparameter.values[node.total_sensitivity.values.argmax()])
    assert bars.get_yticklabels()[0].get_text() == top.replace("_", " ")
    assert legend(bars) == ["alone", "with interactions"]
    assert is_picture(ran.figure)
    chosen = bv.plot.heat(ran.tree, rows="beta1", columns="learning_rate", batch_size=4, epsilon=1e-8)
    np.testing.assert_allclose(
        chosen.axes[0].images[0].get_array(), node.isel(batch_size=0, epsilon=0).objective.min("beta2").T
    )
    with pytest.raises(BiasvarError, match="'momentum' is no axis of the grid; choose from "):
        bv.plot.heat(ran.tree, rows="momentum")


@pytest.mark.parametrize("name", ["ravine", "adaptive-methods", "hyperparameter-grid"])
def test_studies_are_bundled(name):
    study = bv.load(name)
    assert study.name == name
    assert study.description
    assert json.dumps(study.to_json())


def test_the_bundled_grid_has_ten_thousand_configurations_in_five_dimensions():
    study = bv.load("hyperparameter-grid")
    assert np.prod([len(study.batch_size), *map(len, study.optimizers["adam"].hyperparameters.values())]) >= 10_000
    varied = [values for values in study.optimizers["adam"].hyperparameters.values() if len(values) > 1]
    assert len(varied) + (len(study.batch_size) > 1) == 5
    assert study.replicates >= 4
