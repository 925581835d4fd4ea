"""Graded media: a Luneburg lens focuses rays, images and pictures interpolate in the right place, bad values raise."""

from __future__ import annotations

import imageio.v3 as imageio
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from wavesim.errors import WavesimError
from wavesim.fem.media import from_modulus, graded, image, luneburg, picture

X, Y = np.random.default_rng(5).random((2, 200))


@pytest.mark.parametrize("angle", [0.0, 2.1])
def test_parallel_rays_meet_at_the_rim_of_a_luneburg_lens_all_at_one_time(angle):
    """Rays obey dr/dq = p, dp/dq = grad(n^2) / 2, dt/dq = n^2, with |p| = n; see Born and Wolf, section 3.2."""
    center, radius, step = np.array([0.55, 0.4]), 0.3, 1e-6
    medium = luneburg((0.55, 0.4), radius)
    forward, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])

    def square_of_index(x, y):
        return medium.density(x, y) / medium.bulk_modulus(x, y)

    def rates(_, ray):
        x, y = ray[0], ray[1]
        # n^2 is a parabola: differences over 2 steps are exact to rounding, 1e-10. Only within a step of the rim do
        # they fall short, by up to half of the slope: steep rays, which take longer there, miss by about a step.
        slope_x = (square_of_index(x + step, y) - square_of_index(x - step, y)) / (2 * step)
        slope_y = (square_of_index(x, y + step) - square_of_index(x, y - step)) / (2 * step)
        return [ray[2], ray[3], slope_x / 2, slope_y / 2, square_of_index(x, y)]

    def leaves(_, ray):
        return float(np.hypot(ray[0] - center[0], ray[1] - center[1]) - radius)

    leaves.terminal, leaves.direction = True, 1.0
    for height in (-0.9, -0.5, 0.0, 0.2, 0.7, 0.95):
        depth = np.sqrt(1 - height**2)
        start = center + radius * (height * across - depth * forward)
        # A hair inside, so that the start is not taken for the end; the wave came from the plane before the lens.
        start = start + 1e-9 * forward
        wait = radius * (1 - depth) + 1e-9
        ray = solve_ivp(rates, (0, 3 * radius), [*start, *forward, wait], events=leaves, rtol=1e-9, atol=1e-11)
        (end,) = ray.y_events[0]
        np.testing.assert_allclose(end[:2], center + radius * forward, rtol=0, atol=1e-6)
        assert end[4] == pytest.approx(radius * (1 + np.pi / 2), abs=1e-6)


def test_outside_a_lens_is_the_background_and_in_its_middle_the_speed_is_least():
    medium = luneburg((0.5, 0.5), 0.25)
    x = np.array([0.0, 0.25, 0.2, 0.5, 0.8])
    np.testing.assert_allclose(medium.bulk_modulus(x, 0.5), [1, 1, 1, 0.5, 1], rtol=1e-14)
    np.testing.assert_array_equal(medium.density(x, 0.5), np.ones(5))


def test_the_speed_of_a_graded_medium_is_the_one_that_was_asked_for():
    medium = graded(lambda x, y: 1 + x + y**2, lambda x, y: 2 + np.sin(3 * x))
    np.testing.assert_allclose(np.sqrt(medium.bulk_modulus(X, Y) / medium.density(X, Y)), 1 + X + Y**2, rtol=1e-14)
    np.testing.assert_allclose(medium.density(X, Y), 2 + np.sin(3 * X), rtol=1e-14)
    np.testing.assert_allclose(graded(3.0, 2.0).bulk_modulus(X, Y), np.full(200, 18.0))
    moduli = from_modulus(lambda x, y: 1 + x * y, 4.0)
    np.testing.assert_allclose(moduli.bulk_modulus(X, Y), 1 + X * Y)
    np.testing.assert_allclose(moduli.density(X, Y), np.full(200, 4.0))


def test_a_function_of_one_coordinate_fills_the_shape_of_both():
    medium = from_modulus(lambda x, y: 1 + x, lambda x, y: 2)
    x, y = np.linspace(0, 1, 5)[None, :], np.linspace(0, 1, 3)[:, None]
    np.testing.assert_array_equal(medium.bulk_modulus(x, y), np.broadcast_to(1 + x, (3, 5)))
    np.testing.assert_array_equal(medium.density(x, y), np.full((3, 5), 2.0))
    assert medium.density(x, y).dtype == np.float64


def test_values_that_are_not_positive_are_refused_with_their_place():
    x, y = np.array([0.0, 0.5, 1.0]), np.array([0.25])
    for value in (0.0, -0.25, np.nan, np.inf):
        speed = graded(lambda x, y, value=value: np.where(x == 0.5, value, 1.0))
        with pytest.raises(WavesimError, match=r"wave_speed .* at \(0\.5, 0\.25\) must be positive"):
            speed.bulk_modulus(x, y)
    with pytest.raises(WavesimError, match=r"density -1 at"):
        from_modulus(1.0, lambda x, y: x - 1).density(x, y)
    with pytest.raises(WavesimError, match="bulk_modulus 0"):
        from_modulus(0.0)
    with pytest.raises(WavesimError, match="wave_speed -2"):
        graded(-2.0)
    with pytest.raises(WavesimError, match="radius"):
        luneburg(radius=0.0)


def test_a_function_whose_values_do_not_fit_the_points_is_refused():
    with pytest.raises(WavesimError, match=r"shape \(3, 3\) at points of shape \(3,\)"):
        from_modulus(lambda x, y: np.ones((3, 3))).bulk_modulus(np.zeros(3), np.zeros(3))


def on_nodes(function, shape, lengths):
    x, y = np.linspace(0, lengths[0], shape[1])[None, :], np.linspace(0, lengths[1], shape[0])[:, None]
    return function(x, y)


@pytest.mark.parametrize(
    ("order", "function"),
    [
        (1, lambda x, y: 2 + x + 3 * y + x * y),
        (3, lambda x, y: 2 + x + 3 * y**3 + x**3 * y**2),
    ],
)
def test_an_image_of_a_polynomial_of_its_order_is_that_polynomial(order, function):
    lengths = (2.0, 1.5)
    field = image(on_nodes(function, (7, 9), lengths), lengths, order, "nodes")
    x, y = 2 * X, 1.5 * Y
    np.testing.assert_allclose(field(x, y), function(x, y), rtol=1e-12)
    x, y = np.sort(x)[None, :50], y[:40, None]
    np.testing.assert_allclose(field(x, y), function(x, y), rtol=1e-12)


@pytest.mark.parametrize(("order", "rate", "level"), [(1, 2, 6e-3), (3, 4, 5e-5)])
def test_the_error_of_an_image_falls_with_its_order(order, rate, level):
    def function(x, y):
        return 2 + np.sin(5 * x) * np.cos(4 * y)

    x, y = np.linspace(0, 1, 301)[None, :], np.linspace(0, 1, 307)[:, None]
    counts = np.array([17, 33, 65])
    errors = [
        np.abs(image(on_nodes(function, (n, n), (1, 1)), order=order, place="nodes")(x, y) - function(x, y)).max()
        for n in counts
    ]
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(np.abs(slopes - rate) < 0.3), (slopes, errors)
    assert errors[1] < level, errors


@pytest.mark.parametrize("order", [1, 3])
def test_the_values_of_an_image_lie_in_the_middle_of_their_cells(order):
    values = np.random.default_rng(2).uniform(1, 2, (5, 7))
    cells = from_modulus(image(values, (1.4, 1.0), order), image(values, (1.4, 1.0), order)).cells(
        (5, 7), (1.4, 1.0), 1
    )
    np.testing.assert_allclose(cells, np.stack([values, values]), rtol=1e-12)


def test_beyond_its_outermost_values_an_image_stays_constant():
    values = np.random.default_rng(2).uniform(1, 2, (5, 7))
    for order in (1, 3):
        field = image(values, order=order)
        beyond = field(np.array([0.0, -3.0, 1.0, 9.0]), np.array([0.0, -3.0, 1.0, 9.0]))
        np.testing.assert_allclose(beyond, values[[0, 0, -1, -1], [0, 0, -1, -1]], rtol=1e-12)


@pytest.mark.parametrize(
    ("pixels", "white"),
    [
        (np.uint8([[0, 255, 51], [102, 0, 0]]), 255),
        (np.uint16([[0, 65535, 13107], [26214, 0, 0]]), 65535),
        (np.repeat(np.uint8([[0, 255, 51], [102, 0, 0]])[:, :, None], 3, axis=2), 255),
        (np.dstack([np.uint8([[0, 255, 51], [102, 0, 0]])] * 3 + [np.uint8([[9, 99, 255], [0, 1, 2]])]), 255),
    ],
    ids=["grey", "16 bits", "colours", "transparent"],
)
def test_a_picture_stands_upright_between_low_and_high(tmp_path, pixels, white):
    imageio.imwrite(tmp_path / "p.png", pixels)
    field = picture(tmp_path / "p.png", low=1.0, high=3.0)
    x, y = np.array([[1, 3, 5]]) / 6, np.array([[0.25], [0.75]])
    np.testing.assert_allclose(field(x, y), [[1.8, 1, 1], [1, 3, 1.4]], rtol=1e-12)


def test_a_colour_counts_by_the_mean_of_its_parts(tmp_path):
    imageio.imwrite(tmp_path / "p.png", np.full((4, 4, 3), np.uint8([30, 60, 120])))
    assert picture(tmp_path / "p.png", 1.0, 2.0)(0.5, 0.5) == pytest.approx(1 + 70 / 255)


def test_images_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "text.png").write_text("no")
    for make, message in [
        (lambda: image(np.ones(5)), "must be \\(y, x\\)"),
        (lambda: image(np.ones((3, 9)), order=3), "4 or more"),
        (lambda: image(np.zeros((5, 5))), "value of an image 0"),
        (lambda: image(np.full((5, 5), np.nan)), "value of an image nan"),
        (lambda: image(np.ones((5, 5)), order=2), "order"),
        (lambda: image(np.ones((5, 5)), lengths=(0.0, 1.0)), "length"),
        (lambda: picture(tmp_path / "none.png", 1.0, 2.0), "cannot be read"),
        (lambda: picture(tmp_path / "text.png", 1.0, 2.0), "cannot be read"),
        (lambda: picture(tmp_path / "text.png", 0.0, 2.0), "low"),
    ]:
        with pytest.raises(WavesimError, match=message):
            make()


def test_a_cubic_that_swings_below_zero_is_refused_where_it_does():
    values = np.full((8, 8), 0.01)
    values[4:, :] = 1.0
    with pytest.raises(WavesimError, match="wave_speed -"):
        graded(image(values, order=3)).cells((32, 32), parts=1)
    assert graded(image(values, order=1)).cells((32, 32), parts=1).min() > 0
