"""Layers: whose is which place, exact shares of cells, and interfaces that win or lose nothing."""

from __future__ import annotations

import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.fem.media import layered


def test_a_place_has_the_values_of_the_layer_that_it_lies_in():
    medium = layered([0.25, 0.5], [1.0, 4.0, 9.0], [2.0, 3.0, 5.0])
    x = np.array([-7.0, 0.0, np.nextafter(0.25, 0), 0.25, 0.4, 0.5, 1.0, 9.0])
    np.testing.assert_array_equal(medium.bulk_modulus(x, 0 * x), [1, 1, 1, 4, 4, 9, 9, 9])
    np.testing.assert_array_equal(medium.density(x, 0 * x), [2, 2, 2, 3, 3, 5, 5, 5])


@pytest.mark.parametrize(
    ("direction", "normal"),
    [
        ("x", (1, 0)),
        ("y", (0, 1)),
        (np.pi / 6, (np.sqrt(3) / 2, 0.5)),
        (np.pi, (-1, 0)),
        (-np.pi / 4, (0.5**0.5, -(0.5**0.5))),
    ],
)
def test_layers_follow_one_another_along_the_direction(direction, normal):
    medium = layered([-0.3, 0.2], [1.0, 4.0, 9.0], [2.0, 3.0, 5.0], direction)
    # Half way into each of the layers, and anywhere along it.
    along, across = np.array([[-0.5], [0.0], [0.5]]), np.linspace(-3, 3, 7)
    x, y = along * normal[0] - across * normal[1], along * normal[1] + across * normal[0]
    np.testing.assert_array_equal(medium.bulk_modulus(x, y), np.repeat([[1], [4], [9]], 7, axis=1))
    np.testing.assert_array_equal(medium.density(x, y), np.repeat([[2], [3], [5]], 7, axis=1))


@pytest.mark.parametrize("direction", ["x", "y"])
def test_cells_hold_the_exact_shares_of_sharp_layers(direction):
    # Bounds at 13 and 22 fortieths: cells of 8 fortieths hold 5/8 of layer 0 and 3/8 of layer 1, then 6/8 and 2/8.
    cells = layered([13 / 40, 22 / 40], [1.0, 4.0, 9.0], [2.0, 3.0, 5.0], direction).cells((5, 5), parts=8)
    profile = cells[:, 0, :] if direction == "x" else cells[:, :, 0]
    np.testing.assert_allclose(
        cells[0], np.broadcast_to(profile[0], (5, 5)) if direction == "x" else cells[0][:, :1] * np.ones(5)
    )
    compressibility = [1, 5 / 8 + 3 / 8 / 4, 6 / 8 / 4 + 2 / 8 / 9, 1 / 9, 1 / 9]
    np.testing.assert_allclose(profile[0], 1 / np.array(compressibility), rtol=1e-13)
    np.testing.assert_allclose(profile[1], [2, 2 * 5 / 8 + 3 * 3 / 8, 3 * 6 / 8 + 5 * 2 / 8, 5, 5], rtol=1e-13)


def test_cells_average_a_smooth_interface_as_its_integral_says():
    width, bound, cells, parts = 0.1, 0.43, 8, 64
    edges = np.linspace(0, 1, cells + 1)
    integral = (
        edges + width / 2 * np.log(np.cosh(2 * (edges - bound) / width))
    ) / 2  # of (1 + tanh(2 (x - b) / w)) / 2
    share = np.diff(integral) * cells
    got = layered([bound], [1.0, 20.0], [1.0, 5.0], interface_width=width).cells((1, cells), parts=parts)
    # The midpoint rule errs by h^2 / 24 times the largest second derivative, (2/w)^2 / 2 * 4 / sqrt(27), and the jump.
    bound_of_error = (1 / (cells * parts)) ** 2 / 24 * (2 / width) ** 2 * 2 / np.sqrt(27)
    np.testing.assert_allclose(got[1, 0], 1 + 4 * share, rtol=0, atol=4 * bound_of_error)
    np.testing.assert_allclose(1 / got[0, 0], 1 - 0.95 * share, rtol=0, atol=0.95 * bound_of_error)


@pytest.mark.parametrize("width", [0.01, 0.1, 0.5])
def test_a_layer_keeps_its_thickness_whatever_the_width_of_its_interfaces(width):
    medium = layered([0.47, 0.53], [1.0, 20.0, 1.0], [1.0, 5.0, 1.0], interface_width=width)
    # The profile vanishes within rounding 10 widths away; the sum over an
    # analytic one is exact but for exp(-pi^2 w / 2h) = 1e-43.
    spacing = width / 20
    x = np.arange(0.5 - 10 * width - 0.03, 0.5 + 10 * width + 0.03, spacing)
    assert (medium.density(x, x) - 1).sum() * spacing == pytest.approx(4 * 0.06, rel=1e-9)
    assert (1 - 1 / medium.bulk_modulus(x, x)).sum() * spacing == pytest.approx(0.95 * 0.06, rel=1e-9)


@pytest.mark.parametrize("angle", [0.1, 1.0, 2.5, -2.0])
def test_a_line_through_the_centre_halves_the_square_at_any_angle(angle):
    # The points of the cells are symmetric about the centre, so that not even their number matters.
    bound = (np.cos(angle) + np.sin(angle)) / 2
    for width in (0.0, 0.2):
        (kappa,), (rho,) = layered([bound], [1.0, 3.0], [1.0, 5.0], angle, width).cells((1, 1), parts=64)
        assert rho.item() == pytest.approx(3.0, rel=1e-13)
        assert 1 / kappa.item() == pytest.approx((1 + 1 / 3) / 2, rel=1e-13)


def test_one_layer_without_bounds_fills_the_plane():
    x = np.linspace(-5, 5, 11)
    np.testing.assert_array_equal(layered([], [3.0], [2.0], 0.3).bulk_modulus(x, x[:, None]), np.full((11, 11), 3.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (([0.5], [1.0], [1.0, 1.0]), "must be 2 of each"),
        (([0.5, 0.4], [1.0] * 3, [1.0] * 3), "increase"),
        (([0.4, 0.4], [1.0] * 3, [1.0] * 3), "increase"),
        (([np.nan], [1.0] * 2, [1.0] * 2), "finite"),
        (([0.5], [1.0, 0.0], [1.0, 1.0]), "bulk_modulus"),
        (([0.5], [1.0, 1.0], [1.0, -1.0]), "density"),
        (([0.5], [1.0, 1.0], [1.0, 1.0], "z"), "direction"),
        (([0.5], [1.0, 1.0], [1.0, 1.0], "x", -0.1), "interface_width"),
    ],
)
def test_layers_that_cannot_be_are_refused(settings, message):
    with pytest.raises(WavesimError, match=message):
        layered(*settings)
