"""Inclusions: exact distances, areas and shares of circles, ellipses, rectangles and polygons."""

from __future__ import annotations

import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.fem.media import Circle, Ellipse, Medium, Polygon, Rectangle, inclusions, layered, packing

STIFF = {"bulk_modulus": 20.0, "density": 5.0}
CENTER, ANGLE = (0.52, 0.47), 0.7
COS, SIN = np.cos(ANGLE), np.sin(ANGLE)
CORNERS = [(0.1, 0.1), (0.9, 0.2), (0.8, 0.9), (0.5, 0.4), (0.2, 0.8)]  # a crown: not convex


def turned(first, second):
    """From the frame of a shape at CENTER, turned by ANGLE, to (x, y)."""
    return CENTER[0] + COS * first - SIN * second, CENTER[1] + SIN * first + COS * second


@pytest.mark.parametrize("axes", [(0.3, 0.12), (0.12, 0.3), (0.2, 0.2), (0.4, 0.004)])
def test_a_step_along_the_normal_is_the_distance_to_an_ellipse(axes):
    ellipse = Ellipse(CENTER, axes, ANGLE, **STIFF)
    t = np.linspace(0, 2 * np.pi, 97)
    normal = np.stack([np.cos(t) / axes[0], np.sin(t) / axes[1]])
    normal /= np.hypot(*normal)
    # Outside any step will do; inside one up to the smallest radius of curvature.
    for step in (0.0, 1e-3, 0.1, 10.0, -0.5 * min(axes) ** 2 / max(axes), -0.99 * min(axes) ** 2 / max(axes)):
        x, y = turned(axes[0] * np.cos(t) + step * normal[0], axes[1] * np.sin(t) + step * normal[1])
        np.testing.assert_allclose(ellipse.distance(x, y), step, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("long_axis", ["x", "y"])
def test_on_the_axes_and_in_the_middle_of_an_ellipse_the_distance_is_the_closed_form(long_axis):
    a, b = 0.3, 0.1
    ellipse = Ellipse((0.0, 0.0), (a, b) if long_axis == "x" else (b, a), **STIFF)

    def distance(along, across):
        return ellipse.distance(*((along, across) if long_axis == "x" else (across, along)))

    focal = a * a - b * b
    x = np.array([0.0, 1e-300, 1e-9, 0.1, focal / a * (1 - 1e-9)])
    np.testing.assert_allclose(distance(x, 0.0), -b * np.sqrt(1 - x**2 / focal), rtol=1e-12)
    x = np.array([focal / a, focal / a * (1 + 1e-9), 0.28, 0.3, 0.5])
    np.testing.assert_allclose(distance(-x, 0.0), x - a, rtol=1e-9, atol=1e-15)
    y = np.array([0.0, 0.05, 0.1, 0.7])
    np.testing.assert_allclose(distance(0.0, y), y - b, rtol=1e-13, atol=1e-15)


def test_the_distance_to_an_ellipse_is_that_to_the_nearest_of_many_points_on_it():
    axes = (0.3, 0.1)
    t = np.linspace(0, 2 * np.pi, 20001)
    points = np.stack([axes[0] * np.cos(t), axes[1] * np.sin(t)])
    first, second = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 300))
    nearest = np.hypot(first[:, None] - points[0], second[:, None] - points[1]).min(axis=1)
    distance = Ellipse(CENTER, axes, ANGLE, **STIFF).distance(*turned(first, second))
    # Points lie at most a * dt apart, and the nearest one half of that away from the foot.
    np.testing.assert_allclose(np.abs(distance), nearest, rtol=0, atol=axes[0] * (t[1] - t[0]) / 2)
    np.testing.assert_array_equal(distance < 0, (first / axes[0]) ** 2 + (second / axes[1]) ** 2 < 1)


def test_a_rectangle_is_as_far_as_the_polygon_with_its_corners():
    half = np.array([0.3, 0.1])
    corners = np.transpose(turned(*(half[:, None] * [[-1, 1, 1, -1], [-1, -1, 1, 1]])))
    x, y = np.random.default_rng(1).uniform(-0.5, 1.5, (2, 500))
    rectangle = Rectangle(CENTER, tuple(2 * half), ANGLE, **STIFF).distance(x, y)
    for order in (corners, corners[::-1]):
        np.testing.assert_allclose(Polygon(order, **STIFF).distance(x, y), rectangle, rtol=0, atol=1e-15)
    # By hand, in its own frame: the middle, beyond a side, beyond a corner at 3-4-5.
    x, y = turned(np.array([0.0, 0.45, 0.33, 0.28]), np.array([0.0, 0.05, -0.14, 0.0]))
    np.testing.assert_allclose(Rectangle(CENTER, (0.6, 0.2), ANGLE, **STIFF).distance(x, y), [-0.1, 0.15, 0.05, -0.02])


def test_a_polygon_that_is_not_convex_leaves_its_notch_outside():
    crown = Polygon(CORNERS, **STIFF)
    x, y = np.array([0.5, 0.5, 0.5, 0.3, 0.1]), np.array([0.45, 0.35, 1.4, 0.3, 0.3])
    np.testing.assert_array_equal(np.sign(crown.distance(x, y)), [1, -1, 1, -1, 1])
    # A notch's tip at (0.5, 0.4) between lines to (0.2, 0.8) and (0.8, 0.9): from straight below, the tip is nearest.
    assert crown.distance(0.5, 0.35) == pytest.approx(-0.05)


def areas():
    x, y = np.transpose(CORNERS)
    crown = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    return [
        (Circle(CENTER, 0.3, **STIFF), np.pi * 0.3**2),
        (Ellipse(CENTER, (0.35, 0.15), ANGLE, **STIFF), np.pi * 0.35 * 0.15),
        (Ellipse(CENTER, (0.15, 0.35), **STIFF), np.pi * 0.35 * 0.15),
        (Rectangle(CENTER, (0.6, 0.25), ANGLE, **STIFF), 0.6 * 0.25),
        (Polygon(CORNERS, **STIFF), crown),
    ]


@pytest.mark.parametrize(("shape", "area"), areas(), ids=lambda value: type(value).__name__)
def test_cells_hold_the_area_of_a_sharp_shape(shape, area):
    side = 1024
    medium = inclusions([shape])
    compressibility = 1 / medium.cells((1, 1), parts=side)[0].item()
    mass = medium.cells((16, 16), parts=side // 16)[1].mean()
    # A piece that the outline does not cross counts right; one that it crosses straight errs by half of itself at most,
    # and one with a corner by all. In n parts that rise or fall, an outline of length s enters sqrt(2) s / h + 2 n
    # pieces of side h at most; n, and corners, are 5 at most.
    outline = {Circle: 1.9, Ellipse: 1.7, Rectangle: 1.7, Polygon: 3.4}[type(shape)]
    error = ((np.sqrt(2) * outline * side + 10) / 2 + 5) / side**2
    assert error < 0.02 * area
    assert mass == pytest.approx(1 + 4 * area, abs=4 * error)
    assert compressibility == pytest.approx(1 - 0.95 * area, abs=0.95 * error)


def test_the_mass_of_a_disk_with_a_wide_surface_is_that_of_a_fermi_distribution():
    # The share is 1 / (1 + exp(4 (r - R) / w)), and its integral over the plane pi R^2 + pi^3 w^2 / 48 but for
    # exp(-4 R / w) = 1e-11 (Sommerfeld's expansion ends here); the sum over points is exact to rounding.
    radius, width = 0.25, 0.04
    medium = inclusions([Circle((0.5, 0.5), radius, **STIFF, interface_width=width)])
    area = np.pi * radius**2 + np.pi**3 * width**2 / 48
    kappa, rho = medium.cells((1, 1), parts=512)
    # Beyond the walls, 6.25 widths away, the share is exp(-25) = 1e-11.
    assert rho.item() == pytest.approx(1 + 4 * area, rel=1e-9)
    assert 1 / kappa.item() == pytest.approx(1 - 0.95 * area, rel=1e-9)


def test_a_smooth_disk_is_a_packing_of_one_grain():
    x, y = np.linspace(0, 1, 41)[None, :], np.linspace(0, 1, 43)[:, None]
    disk = inclusions([Circle((0.5, 0.5), 0.2, **STIFF, interface_width=0.03)])
    grain = packing(np.array([[0.5, 0.5]]), np.array([0.2]), 20.0, 5.0, 0.03)
    np.testing.assert_allclose(disk.bulk_modulus(x, y), grain.bulk_modulus(x, y), rtol=1e-12)
    np.testing.assert_allclose(disk.density(x, y), grain.density(x, y), rtol=1e-12)


def test_the_last_shape_lies_on_top_and_the_background_shows_beside():
    below = layered([0.5], [2.0, 3.0], [1.0, 1.5])
    square, disk = Rectangle((0.5, 0.5), (0.6, 0.6), bulk_modulus=7.0), Circle((0.5, 0.5), 0.2, **STIFF)
    x, y = np.array([0.1, 0.9, 0.25, 0.5]), np.array([0.5, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(inclusions([square, disk], below).bulk_modulus(x, y), [2, 3, 7, 20], rtol=1e-15)
    np.testing.assert_allclose(inclusions([square, disk], below).density(x, y), [1, 1.5, 1, 5], rtol=1e-15)
    np.testing.assert_allclose(inclusions([disk, square], below).bulk_modulus(x, y), [2, 3, 7, 7], rtol=1e-15)
    assert isinstance(inclusions([]), Medium)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Circle(CENTER, 0.0, **STIFF), "radius"),
        (lambda: Circle(CENTER, 0.1, bulk_modulus=-1.0), "bulk_modulus"),
        (lambda: Circle(CENTER, 0.1, bulk_modulus=1.0, density=np.inf), "density"),
        (lambda: Circle(CENTER, 0.1, **STIFF, interface_width=-0.1), "interface_width"),
        (lambda: Ellipse(CENTER, (0.1, -0.1), **STIFF), "semi-axis"),
        (lambda: Rectangle(CENTER, (0.0, 0.1), **STIFF), "side"),
        (lambda: Polygon([(0, 0), (1, 1)], **STIFF), "3 or more"),
        (lambda: Polygon([(0, 0), (1, 1), (1,)], **STIFF), "pairs"),
        (lambda: Polygon([(0, 0), (1, 1), (1, np.nan)], **STIFF), "finite"),
        (lambda: Polygon([(0, 0), (1, 1), (0, 1), (0, 0)], **STIFF), "twice"),
        (lambda: inclusions([CENTER]), "no shape"),
    ],
)
def test_shapes_that_cannot_be_are_refused(make, message):
    with pytest.raises(WavesimError, match=message):
        make()


def test_open_grids_see_the_same_as_points_one_by_one() -> None:
    """On open grids only the rows and columns are looked at that a disk may reach."""
    rng = np.random.default_rng(0)
    places = zip(rng.uniform(-0.1, 1.1, (30, 2)), rng.uniform(0.02, 0.2, 30), (0.0, 0.0, 0.05) * 10, strict=True)
    medium = inclusions([Circle(tuple(c), r, bulk_modulus=9.0, density=4.0, interface_width=w) for c, r, w in places])
    x, y = np.linspace(0, 1, 41)[None], np.linspace(0, 1, 23)[:, None]
    points = [part.ravel() for part in np.broadcast_arrays(x, y)]
    for field in (medium.bulk_modulus, medium.density):
        np.testing.assert_array_equal(field(x, y).ravel(), field(*points))
    empty = inclusions([Circle((3.0, 0.5), 0.1, bulk_modulus=9.0)])
    assert (empty.bulk_modulus(x, y) == 1).all()
