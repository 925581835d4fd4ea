"""Media: grains, interfaces, periodic images, the symmetries of the square, and the cells' averages."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.fem import Medium, packing, random_pulse, uniform
from wavesim.fem.medium import cut, surface_distance
from wavesim.fem.packing_mesh import read
from wavesim.provenance import generator

RANDOM = np.random.default_rng(3)
POSITIONS, RADII = RANDOM.random((12, 2)), RANDOM.choice([0.05, 0.09], 12)
X, Y = RANDOM.random(400), RANDOM.random(400)


def test_distance_is_that_to_the_nearest_of_all_periodic_images():
    images = [(POSITIONS + np.array([i, j]), RADII) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    centres, radii = np.concatenate([c for c, _ in images]), np.concatenate([r for _, r in images])
    expected = (np.hypot(X[:, None] - centres[:, 0], Y[:, None] - centres[:, 1]) - radii).min(axis=1)
    np.testing.assert_allclose(surface_distance(POSITIONS, RADII, X, Y), expected, atol=1e-14)


def test_an_open_grid_equals_its_points():
    medium = packing(POSITIONS, RADII, 20.0, 5.0, 0.02)
    x, y = np.meshgrid(X[:20], Y[:30])
    np.testing.assert_array_equal(medium.density(X[None, :20], Y[:30, None]), medium.density(x, y))


def test_grain_and_background_have_their_values_and_the_surface_the_mixtures():
    medium = packing(np.array([[0.5, 0.5]]), np.array([0.5]), 20.0, 5.0, 0.01, radius_scale=0.5)
    x, y = np.array([0.5, 0.02, 0.75, 0.5]), np.array([0.5, 0.5, 0.5, 0.25])
    np.testing.assert_allclose(medium.bulk_modulus(x, y), [20, 1, *[2 / (1 + 1 / 20)] * 2], rtol=1e-9)
    np.testing.assert_allclose(medium.density(x, y), [5, 1, 3, 3], rtol=1e-9)


def test_a_packing_that_fills_the_square_is_uniform():
    solid, same = packing(POSITIONS, RADII + 2, 20.0, 5.0, 0.02), uniform(20.0, 5.0)
    for field in ("bulk_modulus", "density"):
        np.testing.assert_allclose(getattr(solid, field)(X, Y), getattr(same, field)(X, Y), rtol=1e-12)


# What the symmetry does to a point, written out: mirror x (bit 0), mirror y (bit 1), then exchange the axes (bit 2).
MOVES = [
    lambda x, y: (x, y),
    lambda x, y: (1 - x, y),
    lambda x, y: (x, 1 - y),
    lambda x, y: (1 - x, 1 - y),
    lambda x, y: (y, x),
    lambda x, y: (y, 1 - x),
    lambda x, y: (1 - y, x),
    lambda x, y: (1 - y, 1 - x),
]


@pytest.mark.parametrize("symmetry", range(8))
def test_a_cut_is_the_same_medium_seen_from_elsewhere(symmetry):
    shift = np.array([0.37, 0.81])
    whole = packing(POSITIONS, RADII, 20.0, 5.0, 0.02)
    moved = packing(cut(POSITIONS, shift, symmetry), RADII, 20.0, 5.0, 0.02)
    x, y = MOVES[symmetry](X, Y)
    for field in ("bulk_modulus", "density"):
        seen = getattr(moved, field)((x + shift[0]) % 1, (y + shift[1]) % 1)
        np.testing.assert_allclose(seen, getattr(whole, field)(X, Y), rtol=1e-9)


def test_cells_average_compressibility_and_density_in_the_right_place():
    # A jump at x = 0.3125, a quarter into the third of eight cells, and a density that rises along y.
    medium = Medium(lambda x, y: np.where(x < 0.3125, 1.0, 20.0) + 0 * y, lambda x, y: 1 + y + 0 * x)
    cells = medium.cells((4, 8))
    compressibility = [1, 1, (1 + 1 / 20) / 2, *[1 / 20] * 5]
    np.testing.assert_allclose(cells[0], np.tile(1 / np.array(compressibility), (4, 1)), rtol=1e-13)
    np.testing.assert_allclose(cells[1], np.tile([[1.125], [1.375], [1.625], [1.875]], 8), rtol=1e-13)


def test_pulses_keep_three_widths_from_the_walls():
    pulses = [random_pulse(0.05, generator(0, k)) for k in range(200)]
    centers = np.array([pulse.center for pulse in pulses])
    assert centers.min() >= 0.15 and centers.max() <= 0.85
    assert centers.min() < 0.17 and centers.max() > 0.83
    with pytest.raises(WavesimError, match="pulse_width"):
        random_pulse(0.2, generator(0))


def test_bad_grains_are_refused():
    with pytest.raises(WavesimError, match="should be"):
        packing(POSITIONS, RADII[:-1], 20.0, 5.0, 0.02)
    with pytest.raises(WavesimError, match="density"):
        packing(POSITIONS, RADII, 20.0, -5.0, 0.02)


def write_packing(path, box, complete=True):
    with h5py.File(path, "w") as file:
        group = file.create_group("000000")
        group["positions"], group["radii"], group["box"] = [[1.0, 3.0]], [0.5], box
        group.attrs["size_ratio"] = 0.5
        if complete:
            group.attrs["complete"] = True


def test_packings_are_scaled_to_the_unit_square(tmp_path):
    write_packing(tmp_path / "p.h5", [4.0, 4.0])
    (square,) = read(tmp_path / "p.h5")
    np.testing.assert_allclose(square.positions, [[0.25, 0.75]])
    np.testing.assert_allclose(square.radii, [0.125])


@pytest.mark.parametrize(
    ("box", "complete", "message"),
    [([4.0, 5.0], True, "square"), ([4.0, 4.0, 4.0], True, "square"), ([4.0, 4.0], False, "no whole packing")],
)
def test_packings_that_waves_cannot_use_are_refused(tmp_path, box, complete, message):
    write_packing(tmp_path / "p.h5", box, complete)
    with pytest.raises(WavesimError, match=message):
        read(tmp_path / "p.h5")


def test_a_file_that_is_missing_or_no_hdf5_is_refused(tmp_path):
    with pytest.raises(WavesimError, match="does not exist"):
        read(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(WavesimError, match="not a whole HDF5"):
        read(tmp_path / "text.h5")
