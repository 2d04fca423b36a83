"""The workflow of the animations, small: what it says, and the files that it leaves."""

import importlib.util

import imageio_ffmpeg
import numpy as np
from helpers import WORKFLOWS
from PIL import Image

import biasvar as bv


def test_the_race_is_lost_where_the_axes_are_turned(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("race", WORKFLOWS / "race.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stores = ["--store", str(tmp_path / "race.zarr"), "--repeat-store", str(tmp_path / "sine.zarr")]
    module.main([*stores, "--out", str(tmp_path), "--rates", "15", "--sets", "60", "--replicates", str(2**16)])
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines()[2:8]}
    steps = {label: np.array(numbers, dtype=float) for label, numbers in rows.items()}
    assert list(steps) == ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"]
    for label in ("adagrad", "rmsprop"):
        assert steps[label][0] < steps["sgd"][0] / 4
        assert steps[label][1] > steps["sgd"][1] / 4
    # What does not look at single coordinates sees the same ravine, but for rounding.
    for label in ("sgd", "momentum", "nesterov"):
        assert abs(steps[label][0] - steps[label][1]) <= 1
        assert steps[label][2] > steps["adagrad"][2]
    tree = bv.open(tmp_path / "race.zarr")
    assert float(tree["saddle/sgd"].steps_to_stay.isel(target=0).min()) == steps["sgd"][2]
    for name in ("race", "repeat"):
        with Image.open(tmp_path / f"{name}.gif") as image:
            assert image.size[0] == 700
            assert image.n_frames > 50
        frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / f"{name}.mp4"))
        assert frames > 100
        assert seconds > 8
