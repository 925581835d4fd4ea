"""Figures: written, of the stated size, not blank, and the right way up."""

import sys

import imageio.v2 as imageio
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from viz_stubs import disks_medium, write_packings

from wavesim.errors import WavesimError
from wavesim.viz import figures, style
from wavesim.viz.packing_figure import CHAIN, LARGE, SMALL, rattlers

RED, BLUE, WHITE = (103, 0, 31), (5, 48, 97), (247, 247, 247)  # the ends and the middle of RdBu_r


def picture(path):
    """(y, x, 3) int of a PNG, row 0 at the top."""
    return imageio.imread(path)[..., :3].astype(int)


def assert_drawn(path, width, height):
    """A PNG of `width` x `height` inches with more than a frame on it."""
    pixels = picture(path)
    assert pixels.shape[:2] == (round(height * style.DPI), round(width * style.DPI))
    assert pixels.std() > 10
    assert (pixels[:3] > 240).all() or (pixels[:, -3:] > 240).all()  # a margin: nothing runs over the edge


def share_of(pixels, colour, tolerance=12):
    return (np.abs(pixels - 255 * np.array(to_rgb(colour))).max(axis=-1) < tolerance).mean()


def corner_field(grid=32):
    """+1 in the lower right quarter, -1 in the upper left one: told apart from each of its mirror images."""
    field = np.zeros((grid, grid))
    field[: grid // 2, grid // 2 :] = 1.0
    field[grid // 2 :, : grid // 2] = -1.0
    return field


def test_paint_maps_the_ends_of_the_scale_to_red_and_blue_and_zero_to_white():
    colours = style.paint(np.array([[2.0, -2.0, 0.0, 9.0, np.nan]]), 2.0, np.zeros((1, 5)))
    assert np.allclose(colours[0, :2], [RED, BLUE], atol=2)
    assert np.allclose(colours[0, 2], WHITE, atol=3)
    assert np.allclose(colours[0, 3], RED, atol=2)  # saturates
    assert np.allclose(colours[0, 4], WHITE, atol=3)


def test_grain_share_is_the_area_share_of_the_disk():
    radius, medium = 0.25, np.ones((2, 64, 64))
    axis = (np.arange(64 * 8) + 0.5) / (64 * 8)
    inside = np.hypot(axis[None, :] - 0.5, axis[:, None] - 0.5) < radius
    share = inside.reshape(64, 8, 64, 8).mean((1, 3))
    medium[0] = 1 / (1 - share + share / 20)
    assert np.allclose(style.grain_share(medium), share, atol=1e-12)
    assert style.grain_share(medium).mean() == pytest.approx(np.pi * radius**2, rel=1e-3)
    assert style.grain_share(np.ones((2, 8, 8))).max() == 0


def test_fields_stand_with_y_up_and_x_to_the_right(tmp_path):
    truth = np.stack([corner_field()] * 2)
    path = figures.fields(tmp_path / "f.png", truth, {"pruned": 0 * truth}, np.ones((2, 32, 32)), [1], 1 / 32)
    pixels = picture(path)
    near = {name: np.argwhere(np.abs(pixels - colour).max(axis=-1) < 4) for name, colour in (("r", RED), ("b", BLUE))}
    # The first panel is the truth, up to a third of the width.
    first = {name: places[places[:, 1] < 0.3 * pixels.shape[1]].mean(axis=0) for name, places in near.items()}
    assert first["r"][0] > first["b"][0] + 50  # rows count from the top: positive pressure is low
    assert first["r"][1] > first["b"][1] + 50  # and right
    # The third is forecast less truth, here the truth with its sign turned.
    third = {
        name: p[(p[:, 1] > 0.6 * pixels.shape[1]) & (p[:, 1] < 0.85 * pixels.shape[1])] for name, p in near.items()
    }
    assert third["b"].mean(axis=0)[0] > third["r"].mean(axis=0)[0] + 50


def test_fields_has_a_row_for_each_frame_and_refuses_frames_that_are_not_there(tmp_path, toy_run):
    truth, forecasts, medium = toy_run
    path = figures.fields(tmp_path / "f.png", truth, forecasts, medium, [4, 12], 1 / 32)
    assert_drawn(path, 2.25 * 5 + 1.1, 2.25 * 2 + 0.35)
    with pytest.raises(WavesimError, match="20 frames"):
        figures.fields(tmp_path / "g.png", truth, forecasts, medium, [20], 1 / 32)
    assert not (tmp_path / "g.png").exists()


def test_grains_are_outlined_and_shaded(tmp_path):
    still = np.zeros((1, 64, 64))
    still[0, 0, 0] = 1.0
    plain = picture(figures.fields(tmp_path / "a.png", still, {"a": still}, np.ones((2, 64, 64)), [0], 1))
    grains = picture(figures.fields(tmp_path / "b.png", still, {"a": still}, disks_medium(), [0], 1))
    shade = np.abs(grains - 0.9 * np.array(WHITE)).max(axis=-1) < 4
    assert 0.2 < shade.mean() < 0.6 and (grains.sum(-1) < 450).mean() > (plain.sum(-1) < 450).mean() + 0.005


def test_the_magnification_is_the_largest_by_which_every_picture_fits_the_scale():
    error = np.zeros((3, 40, 40))
    error[1, :4] = -0.03  # a tenth of one picture
    assert style.magnification(error, 0.35) == 10 and style.magnification(error, 0.61) == 20
    assert style.magnification(error[0], 1.0) == 1 and style.magnification(error + np.nan, 1.0) == 1
    assert style.magnification(50 * error, 0.35) == 1
    error[2, 0, 0] = 9.0  # a crest of one cell may saturate
    assert style.magnification(error, 0.35) == 10
    assert [style.error_title(factor) for factor in (1, 10)] == ["error", "error x 10"]
    assert style.error_title(5, "pruned") == "error of pruned, x 5"


def test_small_errors_are_magnified_and_large_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "write", lambda figure, _: figure)
    truth = np.stack([corner_field()] * 2)
    for share, factor, title in ((0.03, 20, "error of a, x 20"), (0.7, 1, "error of a")):
        figure = figures.fields(tmp_path / "f.png", truth, {"a": (1 + share) * truth}, np.ones((2, 32, 32)), [1], 1)
        (image,) = figure.axes[2].images
        assert figure.axes[2].get_title() == title
        assert np.array_equal(image.get_array(), style.paint(factor * share * truth[1], 1.0, np.zeros((32, 32))))


def test_error_curves_are_drawn_in_the_colours_of_the_forecasters(tmp_path):
    rng = np.random.default_rng(0)
    curves = {name: rng.lognormal(-2, 0.2, (5, 30)) * np.linspace(0.1, 1, 30) for name in ("classical", "pruned")}
    path = figures.error_curves(tmp_path / "e.png", curves, 1 / 32, horizons={"pruned": 0.5})
    assert_drawn(path, 7.2, 4.2)
    for name in curves:
        assert share_of(picture(path), style.colour_of(name, 0)) > 1e-3


def test_other_curves_are_written(tmp_path):
    rounds = [
        dict(round=i, pq_index=0.2 + 0.1 * i, parameters=9000 - i, validation_error=0.1 + 0.01 * i) for i in range(3)
    ]
    assert_drawn(figures.pruning_rounds(tmp_path / "p.png", rounds), 6.4, 5.2)
    history = [dict(iteration=i, loss=1 / (i + 1), validation_error=0.5 if i % 5 else None) for i in range(20)]
    assert_drawn(figures.training_curves(tmp_path / "t.png", {"classical": history}), 9.0, 3.8)


def test_training_curves_start_at_zero_with_whole_iterations_and_mark_the_unrolls(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "write", lambda figure, _: figure)
    quick = [dict(iteration=i, loss=0.05 + i / 2000, unroll=8, validation_error=0.4) for i in (100, 120)]
    stages = [
        dict(iteration=i, loss=0.01 + i / 1e5, unroll=u, validation_error=0.2) for i, u in enumerate((1, 1, 4, 4))
    ]
    for history, marked in ((quick, {100: "unroll 8"}), (stages, {0: "unroll 1", 2: "4"})):
        figure = figures.training_curves(tmp_path / "t.png", {"classical": history, "compressed": history})
        figure.canvas.draw()
        for axis in figure.axes:
            assert axis.get_xlim()[0] == 0 and all(float(tick).is_integer() for tick in axis.get_xticks())
            assert {note.xy[0]: note.get_text() for note in axis.texts} == marked
        low, high = figure.axes[0].get_ylim()
        assert sum(low <= tick <= high for tick in figure.axes[0].get_yticks()) >= 2  # however little it spans


def test_pareto_draws_every_kind_and_names_the_one_it_does_not_know(tmp_path):
    rows = [
        dict(name="pruned", kind="forecaster", milliseconds=1.0, error=0.15),
        dict(name="6 steps", kind="coarse", milliseconds=0.5, error=0.8),
        *(dict(name=f"{n}", kind="fe", milliseconds=n**1.5 / 9, error=9 / n**1.5) for n in (8, 16, 32)),
        dict(name="56 (truth)", kind="truth", milliseconds=80.0, error=0.0),
        dict(name="persistence", kind="persistence", milliseconds=None, error=1.4),
    ]
    path = figures.pareto(tmp_path / "p.png", rows)
    assert_drawn(path, 7.2, 4.8)
    assert share_of(picture(path), style.PALETTE[1]) > 2e-4 and share_of(picture(path), style.PALETTE[3]) > 2e-4
    with pytest.raises(WavesimError, match="'magic' is not one of forecaster"):
        figures.pareto(tmp_path / "q.png", [dict(name="x", kind="magic", milliseconds=1.0, error=1.0)])


def test_packings_show_both_species_chains_and_hollow_rattlers(tmp_path):
    source = write_packings(tmp_path / "packings.h5")
    pixels = picture(figures.packings(tmp_path / "p.png", source))
    assert share_of(pixels, LARGE) > 0.2 and share_of(pixels, SMALL) > 0.02
    assert share_of(pixels, CHAIN, tolerance=40) > 0.01
    lattice = picture(figures.packings(tmp_path / "l.png", source, ["000000"]))
    # Disk 14 of the lattice sits at (2, 2 sqrt(3) / 2) of a box of 6 x 6 sqrt(3) / 2: hollow. Its neighbours are full.
    inside = np.argwhere(np.abs(lattice - 255 * np.array(to_rgb(LARGE))).max(axis=-1) < 12)
    (top, left), (bottom, right) = inside.min(axis=0), inside[inside[:, 0] < 0.88 * len(lattice)].max(axis=0)
    row, column = bottom - (bottom - top) * 2 / 6, left + (right - left) * 2 / 6
    assert (lattice[int(row) - 3 : int(row) + 4, int(column) - 3 : int(column) + 4] > 250).all()


def test_packings_refuses_what_is_not_there(tmp_path):
    source = write_packings(tmp_path / "packings.h5")
    with pytest.raises(WavesimError, match="no whole packing 000002"):
        figures.packings(tmp_path / "p.png", source, ["000002"])
    with pytest.raises(WavesimError, match="does not exist"):
        figures.packings(tmp_path / "p.png", tmp_path / "none.h5")


def test_a_chain_that_hangs_on_one_contact_is_all_rattlers():
    triangle = [(0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3)]  # four mutual contacts hold each other: three each
    tail = [(3, 4), (4, 5)]
    assert rattlers(6, np.array(triangle + tail)).tolist() == [False] * 4 + [True] * 2


def test_figures_leave_pyplot_alone(tmp_path):
    figures.pruning_rounds(tmp_path / "p.png", [dict(round=0, pq_index=0.2, parameters=1, validation_error=0.1)])
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
