"""The parts that make a conforming mesh: cuts of polygons, fillings of hard ones, vertices moved on arcs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.fem import fill as filling_module
from wavesim.fem.arcs import interfaces, on_circles
from wavesim.fem.cut import SOFT, cut_coarse, cut_fine
from wavesim.fem.fill import ROUND, crosses_itself, fill
from wavesim.fem.mesh import Mesh
from wavesim.fem.relax import ALONG_X, FREE, ON_CIRCLE, Relaxation, arc_angles, slopes
from wavesim.fem.sampling import differentiation, lagrange

# Between grains at a corner of the square. Every other vertex makes a polygon that crosses itself, which Gmsh splits
# again and again.
NECK = [
    *((0.9642, 0.0), (1.0, 0.0), (1.0, 0.0055), (0.9701, 0.0133), (0.9499, 0.0366), (0.9465, 0.0673), (0.9612, 0.0945)),
    *((0.9541, 0.1082), (0.9252, 0.1122), (0.9036, 0.1319), (0.8971, 0.1603), (0.8849, 0.1646), (0.842, 0.1407)),
    *((0.8352, 0.1144), (0.8554, 0.0955), (0.8645, 0.0695), (0.8605, 0.0422), (0.8823, 0.0258), (0.9134, 0.0362)),
    (0.9447, 0.0263),
]
NO_DISKS = np.zeros((0, 3))
UNIT_CIRCLE = np.array([[0.0, 0.0, 1.0]])


def cost(quad: np.ndarray) -> float:
    """The sum of T^2 over the corners, corner by corner."""
    total = 0.0
    for k in range(4):
        a, b = quad[(k + 1) % 4] - quad[k], quad[k - 1] - quad[k]
        cross = a[0] * b[1] - a[1] * b[0]
        area = (cross + np.sqrt(cross**2 + 4 * SOFT**2)) / 2
        total += ((a @ a + b @ b) / 2 / area**2) ** 2
    return total


def quadrangulations(chain: list[int]):
    """All ways to cut a polygon into quadrilaterals along its diagonals."""
    if len(chain) == 2:
        yield []
        return
    for a in range(1, len(chain) - 2, 2):
        for b in range(a + 1, len(chain) - 1, 2):
            for left in quadrangulations(chain[: a + 1]):
                for middle in quadrangulations(chain[a : b + 1]):
                    for right in quadrangulations(chain[b:]):
                        yield [[chain[0], chain[a], chain[b], chain[-1]], *left, *middle, *right]


def test_the_cut_is_the_best_of_all_there_are():
    random = np.random.default_rng(3)
    angles = np.sort(2 * np.pi * (np.arange(10) + 0.7 * random.random(10)) / 10)
    polygon = np.column_stack([3 * np.cos(angles), np.sin(angles)]) * (1 + 0.3 * random.random((10, 1)))
    ways = list(quadrangulations(list(range(10))))
    assert len(ways) == 55  # as Fuss counted for decagons
    best = min(sum(cost(polygon[quad]) for quad in way) for way in ways)
    assert cut_fine(polygon, np.zeros(10), 4).cost == pytest.approx(best, rel=1e-12)
    assert cut_fine(polygon, np.zeros(10), 10).cost <= best


def test_coarse_parts_tile_their_polygon():
    angles = 2 * np.pi * np.arange(16) / 16
    polygon = np.column_stack([2 * np.cos(angles), np.sin(angles)])
    parts = cut_coarse(polygon, np.zeros(16), 1, 5)
    edges = [tuple(sorted(pair)) for part in parts for pair in pairwise([*part, part[0]])]
    rim = {tuple(sorted((k, (k + 1) % 8))) for k in range(8)}
    assert all(edges.count(edge) == (1 if edge in rim else 2) for edge in {*edges, *rim})


@pytest.mark.parametrize(
    "polygon",
    [
        [(0.948, 1), (0.961, 0.975), (1, 0.975), (1, 1), (0.985, 1), (0.97, 1)],  # a wall's side of three edges
        [(0.3446, 0), (0.3587, 0), (0.3729, 0), (0.3668, 0.0097)],  # a triangle with a flat side
        [(0.3467, 0), (0.3656, 0), (0.3846, 0), (0.3973, 0), (0.3656, 0.0121), (0.334, 0)],  # a shallow cap
        NECK,
    ],
)
def test_regions_with_flat_corners_are_filled_without_folds(polygon):
    if len(polygon) >= ROUND:
        pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    rim = np.array(polygon)
    (filling,) = fill([rim], [np.full(len(rim), -1)], NO_DISKS, np.ones(1), 0.03)
    assert np.isfinite(filling.hardest)
    corners = np.vstack([rim, filling.points])[filling.quads]
    mesh = Mesh(np.vstack([rim, filling.points]), filling.quads)  # refuses flat and folded cells
    x, y = rim.T
    assert mesh.areas.sum() == pytest.approx((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2, rel=1e-9)
    assert corners.shape[1:] == (4, 2)


@pytest.mark.parametrize(
    ("polygon", "crosses"),
    [
        ([(0, 0), (1, 0), (1, 1), (0, 1)], False),
        ([(0, 0), (2, 0), (2, 2), (1, 0.5), (0, 2)], False),  # a notch
        ([(0, 0), (1, 0), (2, 0), (2, 1), (0, 1)], False),  # a vertex on a straight side
        ([(0, 0), (1, 1), (1, 0), (0, 1)], True),  # a bow tie
        ([(0, 0), (2, 0), (2, 2), (1, -0.5), (0, 2)], True),  # a notch through the other side
        (NECK, False),
        (NECK[1::2], True),
    ],
)
def test_a_polygon_that_crosses_itself_is_told_from_others(polygon, crosses):
    for way in (polygon, polygon[::-1], polygon[2:] + polygon[:2]):
        assert crosses_itself(np.array(way, float)) == crosses


def test_gmsh_is_given_up_after_a_time(monkeypatch):
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    monkeypatch.setattr(filling_module, "MINUTES", 1e-4)
    with pytest.raises(WavesimError, match=r"gmsh did not end in 0\.0001 minutes; use another element_size"):
        fill([np.array(NECK)], [np.full(len(NECK), -1)], NO_DISKS, np.ones(1), 0.03)


@pytest.fixture
def bent():
    """Two cells outside of the unit circle and two inside, along its arcs."""
    angles = np.array([0, 0.9, np.pi / 2])
    on = np.column_stack([np.cos(angles), np.sin(angles)])
    points = np.vstack([on, [[2, -0.1], [1.5, 1.4], [0.1, 2.2]], 0.5 * on])
    quads = np.array([[0, 3, 4, 1], [1, 4, 5, 2], [6, 0, 1, 7], [7, 1, 2, 8]])
    return points, quads, np.array([0, 0, 1, 1]), np.array([0, 0, 0, -1, -1, -1, -1, -1, -1])


def test_slopes_of_a_bent_cell_are_those_of_its_map(bent):
    points, quads, tags, circle_of = bent
    arcs = interfaces(quads, tags, circle_of)
    assert (arcs >= 0).sum() == 4
    cross = slopes(points, quads, arc_angles(points, quads, arcs, UNIT_CIRCLE)).products(points)[2]
    places = on_circles(Mesh(points, quads, tags), UNIT_CIRCLE, circle_of, degree=8).shape.reshape(-1, 9, 9, 2)
    slope, at = differentiation(8), lagrange(8, np.array([0, 0.5, 1]))
    along, up = np.einsum("ij,ctjx->ctix", slope, places), np.einsum("ij,cjsx->cisx", slope, places)
    wanted = along[..., 0] * up[..., 1] - along[..., 1] * up[..., 0]
    np.testing.assert_allclose(cross, np.einsum("at,bs,cts->cab", at, at, wanted).ravel(), atol=1e-8)


def test_the_objective_of_relaxation_has_the_gradient_that_it_says(bent):
    points, quads, tags, circle_of = bent
    motion = np.array([ON_CIRCLE] * 3 + [FREE, FREE, ALONG_X] + [FREE] * 3)
    arcs = interfaces(quads, tags, circle_of)
    moving = Relaxation(points, motion, circle_of, UNIT_CIRCLE, quads, arcs, np.array([0.5, 0.5, 1, 1]), 0.7)
    moving.power = 2
    x = 0.05 * np.random.default_rng(0).standard_normal(2 * 5 + 3 + 1)
    steps = 1e-6 * np.eye(x.size)
    wanted = [(moving.objective(x + step)[0] - moving.objective(x - step)[0]) / 2e-6 for step in steps]
    np.testing.assert_allclose(moving.objective(x)[1], wanted, rtol=1e-6, atol=1e-8)
