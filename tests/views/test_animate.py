"""Animations: what their frames show of the numbers, files that decode, and what is refused. Looks are for people."""

import subprocess
import sys
from itertools import combinations

import imageio_ffmpeg
import numpy as np
import pytest
from helpers import command
from PIL import Image

import biasvar as bv
from biasvar.errors import BiasvarError, MissingDependencyError
from biasvar.views.animate.choose import film_of
from biasvar.views.animate.film import FPS, moments_of
from biasvar.views.animate.repeat import running_estimates
from biasvar.views.figures import BLACK, BLUE, ORANGE, VERMILION

STEPS = 120
START = np.array([-1.9, 0.55])


def race_study(**changes):
    fields = {
        "name": "race",
        "objectives": {"ravine": bv.Quadratic([1, 40]), "saddle": bv.Saddle([1, -0.3]), "space": bv.Rosenbrock(3)},
        "optimizers": {"sgd": bv.SGD([0.01, 0.045, 1.0]), "momentum": bv.Momentum([0.01, 0.03], momentum=[0.8])},
        "initial": {"ravine": START, "saddle": [-1.2, 1e-2], "space": [0.0, 0.0, 0.0]},
        "targets": {"ravine": [1e-2, 1e-6], "saddle": [-0.3, -0.31], "space": [1e-9, 1e-10]},
        "steps": STEPS,
        "record": ["objective", "parameters"],
        "record_steps": range(STEPS + 1),
        "replicates": 1,
    }
    return bv.OptimizerStudy(**{**fields, **changes})


def sine_study(**changes):
    fields = {
        "name": "sine",
        "target": bv.Sine(),
        "inputs": bv.Uniform(-1, 1),
        "hypotheses": {"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
        "n_train": [2, 8],
        "noise": [0.0, 0.5],
        "replicates": 2**14,
        "block_size": 2**9,
    }
    return bv.RiskStudy(**{**fields, **changes})


@pytest.fixture(scope="module")
def tree():
    return bv.lazy(race_study()).compute()


@pytest.fixture(scope="module")
def race(tree):
    return bv.animate.race(tree, race_study().objectives)


@pytest.fixture(scope="module")
def summary():
    return bv.lazy(sine_study()).compute()


def shown(film, moment):
    """Return the data of the lines that a frame shows, and its texts, colours aside."""
    lines, texts = [], []
    for artist in film.scene.show(moment):
        if hasattr(artist, "get_xydata"):
            lines.append((artist.axes, np.array(artist.get_xydata())))
        elif hasattr(artist, "get_text"):
            texts.append(artist.get_text())
    return lines, texts


def words(figure):
    return [text.get_text() for panel in figure.axes for text in panel.texts] + [
        text.get_text() for text in figure.texts
    ]


# Races


def test_a_race_shows_paths_up_to_the_step(race, tree):
    upper, saddle = race.figure.axes[0], race.figure.axes[2]
    assert [upper.get_title().splitlines()[0], saddle.get_title().splitlines()[0]] == ["ravine", "saddle"]
    node = tree["ravine/sgd"].to_dataset()
    rate = float(node.learning_rate[int(node.steps_to_stay.isel(target=0).values.argmin())])
    path = np.array([START * (1 - rate * np.array([1, 40])) ** step for step in range(STEPS + 1)])
    for moment in (0, 1, 7):
        lines, texts = shown(race, moment)
        above = [data for axes, data in lines if axes is upper]
        np.testing.assert_allclose(above[0], path[: moment + 1], atol=1e-12)
        assert sorted(len(data) for data in above) == [1, 1, moment + 1, moment + 1]  # two paths, their heads
        assert texts == [f"step {moment:4d}"]
        curve = next(data for axes, data in lines if axes is race.figure.axes[1])
        np.testing.assert_array_equal(curve[:, 0], range(moment + 1))
        np.testing.assert_allclose(curve[:, 1], path[: moment + 1] ** 2 @ [0.5, 20])


def test_a_race_says_who_is_first(race, tree):
    for panel, label in zip(race.figure.axes[::2], ("ravine", "saddle"), strict=True):
        steps = {
            rule: float(tree[f"{label}/{rule}"].steps_to_stay.isel(target=0).min()) for rule in ("sgd", "momentum")
        }
        first = min(steps, key=steps.get)
        last = max(steps, key=steps.get)
        rest = f"last {last}, {steps[last]:.0f}" if np.isfinite(steps[last]) else f"not {last}"
        said = f"first {first}, {steps[first]:.0f} steps; {rest}"
        assert panel.get_title().splitlines()[1] == said
        assert f"{first} on {label}" in race.figure.texts[0].get_text()
    assert [text.get_text() for text in race.figure.legends[0].get_texts()] == ["sgd", "momentum"]


def test_axes_of_a_race_are_equal_and_hold_the_start_and_the_end(race):
    for panel in race.figure.axes[::2]:
        (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
        box = panel.get_position()
        width, height = race.figure.get_size_inches() * (box.width, box.height)
        assert (right - left) / width == pytest.approx((top - bottom) / height, rel=0.02)
    (left, right), (bottom, top) = race.figure.axes[0].get_xlim(), race.figure.axes[0].get_ylim()
    for x, y in (START, (0, 0)):
        assert left < x < right
        assert bottom < y < top
    assert race.figure.axes[1].get_ylabel() == "$J - J^*$"
    assert race.figure.axes[3].get_ylabel() == "J"  # a saddle has no least value


def test_settings_that_leave_the_picture_are_not_shown():
    study = race_study(
        objectives={"bowl": bv.Quadratic([1, 1])},
        # Rate 1 is at the bottom after one step; momentum at a long rate swings far beyond it.
        optimizers={"momentum": bv.Momentum([0.05, 1.9], momentum=[0.2])},
        initial={"bowl": [2.0, 0.0]},
        targets={"bowl": [1e-2, 1e-9]},
    )
    film = bv.animate.race(bv.lazy(study).compute(), study.objectives)
    (left, right), _ = film.figure.axes[0].get_xlim(), None
    (_, data), *_ = shown(film, STEPS)[0]
    assert left < data[:, 0].min()
    assert data[:, 0].max() < right


def test_without_targets_the_least_in_the_end_races(tree):
    study = race_study(objectives={"ravine": bv.Quadratic([1, 40])}, initial={"ravine": START}, targets={})
    film = bv.animate.race(bv.lazy(study).compute(), study.objectives, title="My words")
    assert film.figure.texts[0].get_text() == "My words"
    assert "lowest in the end" in " ".join(words(film.figure))
    assert film.figure.axes[0].get_title() == "ravine"
    assert film.moments[-1][0] == STEPS


def test_time_runs_a_step_a_frame_and_then_faster(race):
    moments = [moment for moment, _ in race.moments]
    assert moments[:41] == list(range(41))
    assert (np.diff(moments[41:]) >= 1).all()
    assert moments[-1] == max(moments) <= STEPS
    assert race.moments[-1][1] > 2 * FPS
    assert race.seconds == sum(held for _, held in race.moments) / FPS
    assert np.diff([moment for moment, _ in moments_of(10_000)]).max() > 1000


# Repeated experiments


def test_fits_pile_up_into_what_is_stored(summary):
    study = sine_study()
    film = bv.animate.repeat(study, summary, n_train=2, noise=0.0, count=100)
    drawn = bv.replicates(study.replace(sampler="random"), n_train=2, noise=0.0, count=100)
    scene = film.scene
    scene.begin()
    left = [np.array(artist.get_ydata()) for artist in scene.leave(3)]
    np.testing.assert_array_equal(left, drawn.prediction.values[:, :3].reshape(-1, drawn.sizes["at"]))
    assert len(list(scene.leave(5))) == 4  # two more of each set
    lines, texts = shown(film, 5)
    assert texts == ["5 training sets"]
    panel = film.figure.axes[0]
    points = next(data for axes, data in lines if axes is panel and len(data) == 2)
    np.testing.assert_array_equal(points, np.stack([drawn.x[4], drawn.y[4]], axis=-1))
    lines, texts = shown(film, 101)
    assert texts == [f"{2**14:,} training sets"]
    mean = [data for axes, data in lines if axes is panel][-1]
    cell = summary.sel(hypothesis="H0", n_train=2, noise=0.0)
    np.testing.assert_allclose(mean[:, 1], cell.mean_prediction)


def test_stored_numbers_stand_beside_the_running_ones(summary):
    film = bv.animate.repeat(sine_study(), summary, n_train=2, noise=0.0, count=400)
    below = film.figure.axes[3]
    cell = summary.sel(hypothesis="H1", n_train=2, noise=0.0)
    dashed = [line.get_ydata()[0] for line in below.lines if line.get_linestyle() == "--"]
    assert dashed == [float(cell.bias2), float(cell.variance)]
    assert [text.get_text() for text in below.texts] == ["bias²\n0.207", "variance\n1.68"]
    assert film.figure.texts[0].get_text().startswith("H0 errs least: 0.75 against 1.88")
    running = [data for axes, data in shown(film, 400)[0] if axes is below]
    for data, value in zip(running, dashed, strict=True):
        assert data[-1, 0] == 400
        assert abs(data[-1, 1] - value) < 0.5  # five standard errors or so


def test_what_is_infinite_is_said_to_be(summary):
    film = bv.animate.repeat(sine_study(), summary, n_train=2, noise=0.5, count=50)
    assert "variance\ninfinite" in [text.get_text() for text in film.figure.axes[3].texts]
    assert len(list(film.frames(320, [51]))) == 1


def test_running_estimates_are_those_of_a_plain_jackknife():
    rng = np.random.default_rng(0)
    fits, target, weights = rng.normal(size=(9, 4)), rng.normal(size=4), rng.dirichlet(np.ones(4))

    def both(some):
        variance = some.var(axis=0, ddof=1) @ weights
        return np.array([(some.mean(axis=0) - target) ** 2 @ weights - variance / len(some), variance])

    left_out = np.array([both(np.delete(fits, i, axis=0)) for i in range(9)])
    errors = np.sqrt(8 / 9 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    bias2, bias2_se, variance, variance_se = running_estimates(fits, target, weights)
    np.testing.assert_allclose([bias2, variance], both(fits), rtol=1e-12)
    np.testing.assert_allclose([bias2_se, variance_se], errors, rtol=1e-12)


def test_of_many_sets_three_are_shown():
    study = sine_study(hypotheses={f"H{d}": bv.Polynomial(d) for d in range(5)}, n_train=[12], noise=[0.5])
    film = bv.animate.repeat(study, bv.lazy(study).compute(), count=20)
    titles = [panel.get_title() for panel in film.figure.axes if panel.get_title()]
    assert (titles[0], titles[-1], len(titles)) == ("H0", "H4", 3)


# Files


def test_what_moves_is_all_that_changes(race):
    still, later = race.frames(400, [0, 20])
    height = 400 * race.figure.get_figheight() / race.figure.get_figwidth()
    assert still.shape == later.shape == (int(height), 400, 3)
    changed = (still != later).any(axis=-1).mean()
    assert 0 < changed < 0.2
    again, _ = race.frames(400, [0, 20])
    np.testing.assert_array_equal(still, again)


def test_an_mp4_decodes(race, tmp_path):
    path = race.save(tmp_path / "new" / "race.mp4", width=401)
    drawn = next(race.frames(401, [0]))
    height = len(drawn) // 2 * 2
    decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(decode, capture_output=True, check=True)
    assert f"400x{height}" in done.stderr.decode()
    assert f"{FPS} fps" in done.stderr.decode()
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, 400, 3)
    assert len(frames) == sum(held for _, held in race.moments)
    assert np.abs(frames[0].astype(float) - drawn[:height, :400]).mean() < 4  # of 255


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_pictures_that_move_decode(race, tmp_path, suffix):
    path = race.save(tmp_path / f"race{suffix}", width=320)
    with Image.open(path) as image:
        assert image.n_frames == len(race.moments)
        assert image.size[0] == 320
        assert image.info["loop"] == 0
        drawn = list(race.frames(320))
        seconds = 0.0
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            seconds += image.info["duration"] / 1000
            if number in (0, 30, image.n_frames - 1):
                assert np.abs(np.asarray(image.convert("RGB"), float) - drawn[number]).mean() < 6
    assert seconds == pytest.approx(race.seconds, rel=0.05)  # gifs count hundredths


def test_gifs_keep_the_colours_of_thin_lines(tmp_path):
    rates = {"adagrad": bv.AdaGrad([0.5]), "adam": bv.Adam([0.3])}
    study = race_study(objectives={"ravine": bv.Quadratic([1, 40])}, initial={"ravine": START}, targets={})
    study = study.replace(optimizers={**study.optimizers, **rates})
    path = bv.animate.race(bv.lazy(study).compute(), study.objectives).save(tmp_path / "race.gif", width=600)
    with Image.open(path) as image:
        image.seek(image.n_frames - 1)
        pixels = np.asarray(image.convert("RGB"), float).reshape(-1, 3)
    for color in (BLACK, BLUE, ORANGE, VERMILION):
        wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(pixels - wanted).max(axis=1).min() < 12, color


@pytest.mark.parametrize("columns", [1, 2])
def test_no_words_are_cut_or_upon_each_other(columns, summary):
    labels = ["ravine", "saddle"][:columns]
    study = race_study(
        **{
            field: {label: getattr(race_study(), field)[label] for label in labels}
            for field in ("objectives", "initial", "targets")
        }
    )
    sets = [f"H{number}" for number in range(columns)]
    films = [
        (bv.animate.race(bv.lazy(study).compute(), study.objectives), STEPS),
        (bv.animate.repeat(sine_study(), summary.sel(hypothesis=sets), n_train=2, noise=0.0, count=20), 21),
    ]
    for film, moment in films:
        next(film.frames(1000, [moment]))
        figure, renderer = film.figure, film.figure.canvas.get_renderer()
        written = [*figure.texts, *figure.legends, *(panel.title for panel in figure.axes)]
        boxes = [each.get_window_extent(renderer) for each in written]
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
        for one, other in combinations([box for box in boxes if box.width > 1], 2):
            assert not one.overlaps(other)


def test_who_does_not_arrive_runs_at_the_lowest_end():
    study = race_study(
        objectives={"ravine": bv.Quadratic([1, 40])},
        optimizers={"sgd": bv.SGD([1e-5, 0.02, 1e-4, 0.06])},
        initial={"ravine": START},
        targets={"ravine": [1e-30, 1e-31]},
    )
    film = bv.animate.race(bv.lazy(study).compute(), study.objectives)
    assert film.figure.axes[0].get_title() == "ravine"
    (_, path), *_ = shown(film, STEPS)[0]
    np.testing.assert_allclose(path[-1, 0], START[0] * (1 - 0.02) ** STEPS)


# Refusals


def test_other_endings_are_refused_in_a_line(race, tmp_path):
    for name, got in (("race.avi", "'.avi'"), ("race", "'no ending'")):
        with pytest.raises(BiasvarError, match=r"expected a name that ends in \.mp4, \.gif, \.webp") as caught:
            race.save(tmp_path / name)
        assert str(caught.value).endswith(got)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_move_is_refused_in_a_line(tree, summary):
    study = race_study()
    with pytest.raises(BiasvarError, match="no objective has paths of two parameters"):
        bv.animate.race(tree, {"space": study.objectives["space"]})
    with pytest.raises(BiasvarError, match="no objective has paths of two parameters"):
        bv.animate.race(tree, {})
    with pytest.raises(BiasvarError, match="needs bias2, variance"):
        bv.animate.repeat(sine_study(), tree)
    plane = sine_study(inputs=bv.Uniform(-1, 1, dim=2), target=bv.Linear([1, 2]), test_points=32, n_train=[8])
    with pytest.raises(BiasvarError, match="sine: has nothing that moves; expected") as caught:
        film_of(plane, bv.lazy(plane).compute())
    assert "\n" not in str(caught.value)
    assert film_of(study, tree).figure.axes[0].get_title().startswith("ravine")
    assert film_of(sine_study(), summary).figure.axes[0].get_title() == "H0"


def test_missing_libraries_are_told_in_a_line(race, tree, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingDependencyError, match=r"imageio-ffmpeg .* pip install 'biasvar\[figures\]'"):
        race.save(tmp_path / "race.mp4")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="matplotlib"):
        bv.animate.race(tree, race_study().objectives)


def test_the_command_makes_a_film_of_a_store(tmp_path):
    bv.run(race_study(), tmp_path / "race.zarr")
    done = command("animate", "race.zarr", "--out", "race.gif", "--width", "300", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "race.gif" in done.stdout
    with Image.open(tmp_path / "race.gif") as image:
        assert image.size[0] == 300
    wrong = command("animate", "nowhere.zarr", "--out", "race.avi", cwd=tmp_path)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert "ends in .mp4" in wrong.stderr
