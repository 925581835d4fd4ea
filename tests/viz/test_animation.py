"""Films: one picture a frame, playable, and they move."""

import imageio.v2 as imageio
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from wavesim.errors import WavesimError
from wavesim.viz.figures import animate
from wavesim.viz.style import colour_of
from wavesim.viz.window import run_window


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_a_film_has_one_picture_for_each_frame_and_moves(tmp_path, toy_run, name):
    truth, forecasts, medium = toy_run
    path = animate(tmp_path / name, truth, {"compressed": forecasts["compressed"][:15]}, medium, 1 / 32)
    pictures = [picture[..., :3].astype(float) for picture in imageio.get_reader(path)]
    assert len(pictures) == 15
    height, width = pictures[0].shape[:2]
    assert height % 2 == width % 2 == 0 and 2.2 < width / height < 3.6
    error_then, error_now = (p[:, int(0.62 * width) : int(0.87 * width)] for p in (pictures[0], pictures[14]))
    assert np.abs(pictures[14] - pictures[3]).mean() > 2
    assert np.abs(error_now - error_then).mean() > 2  # the error's panel is empty at first


def test_a_gif_keeps_the_colours_of_what_is_thin(tmp_path, toy_run):
    truth, forecasts, medium = toy_run
    names = ("classical", "compressed", "pruned")
    made = {name: forecasts["compressed"] for name in names}
    path = animate(tmp_path / "film.gif", truth, made, medium, 1 / 32)
    picture = imageio.get_reader(path).get_data(14)[..., :3].astype(int)
    for name in names:
        full = 255 * np.array(to_rgb(colour_of(name, 0)))
        near = [np.abs(picture - (255 - share * (255 - full))).max(axis=-1) < 8 for share in (1.0, 0.7, 0.4)]
        assert np.any(near, axis=0).sum() > 5, name
    assert (picture == 255).all(axis=-1).mean() > 0.1


def test_an_error_of_two_percent_can_be_seen(tmp_path, toy_run):
    truth, _, medium = toy_run
    path = animate(tmp_path / "film.mp4", truth[5:11], {"a": 1.02 * truth[5:11]}, medium, 1 / 32)
    picture = imageio.get_reader(path).get_data(3).astype(int)
    error = picture[60:, int(0.62 * picture.shape[1]) : int(0.87 * picture.shape[1])]
    assert np.ptp(error, axis=-1).max() > 60  # as it is, it is all but grey: 5


def test_several_forecasts_stand_above_their_errors(tmp_path, toy_run):
    truth, forecasts, medium = toy_run
    path = animate(tmp_path / "film.mp4", truth[:4], forecasts, medium, 1 / 32, fps=8)
    reader = imageio.get_reader(path)
    assert reader.count_frames() == 4 and reader.get_meta_data()["fps"] == 8
    assert reader.get_data(0).shape[1] / reader.get_data(0).shape[0] < 2


def test_the_first_panel_stands_with_y_up(tmp_path):
    field = np.zeros((3, 32, 32))
    field[:, :8, 16:] = 1.0  # low, and right
    path = animate(tmp_path / "film.mp4", field, {"a": field}, np.ones((2, 32, 32)), 1.0)
    picture = imageio.get_reader(path).get_data(1)[:, :300].astype(int)
    rows, columns = np.nonzero((picture[..., 0] > 80) & (picture[..., 1] < 40) & (picture[..., 2] < 80))
    assert rows.mean() > 0.7 * picture.shape[0] and columns.mean() > 0.6 * picture.shape[1]


def test_other_suffixes_are_refused(tmp_path, toy_run):
    truth, forecasts, medium = toy_run
    with pytest.raises(WavesimError, match=r"\.mp4 or \.gif, not '\.avi'"):
        animate(tmp_path / "film.avi", truth, forecasts, medium, 1 / 32)
    with pytest.raises(WavesimError, match=r"film\.avi: a film is written as \.mp4 or \.gif, not '\.avi'"):
        run_window(None, record=tmp_path / "film.avi")  # before the session is asked for anything
    with pytest.raises(WavesimError, match="at least one forecast"):
        animate(tmp_path / "film.mp4", truth, {}, medium, 1 / 32)
