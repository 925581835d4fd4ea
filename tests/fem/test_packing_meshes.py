"""Resolved packings: disks at the walls, conforming quadrilaterals, averages on a grid; the two roads meet.

How a mesh is made, step by step, is in test_meshing.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.fem import Materials, stepper
from wavesim.fem.conforming_mesh import conforming, jacobians
from wavesim.fem.packing_mesh import SquarePacking, read
from wavesim.fem.raster import Raster
from wavesim.fem.refine import refined
from wavesim.fem.sampling import Nodes
from wavesim.fem.simulation import assemble
from wavesim.fem.window import CAP, SMALLEST, seen

MOST = 130  # steps a frame of a 32nd of a crossing at (20, 5), degree 4 and an element size of 0.03
SHIPPED = Path(__file__).parents[2] / "data/sample/packings.h5"


@pytest.fixture(scope="module")
def packings():
    return read(SHIPPED)


@pytest.fixture(scope="module")
def mesh(packings):
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    return conforming(packings[0])


def area_in_square(disks):
    """Of disks within the unit square: strips of the exact chord lengths."""
    x = (np.arange(4000) + 0.5) / 4000
    total = 0.0
    for cx, cy, radius in disks:
        half = np.sqrt(np.maximum(radius**2 - (x - cx) ** 2, 0))
        total += np.mean(np.clip(cy + half, 0, 1) - np.clip(cy - half, 0, 1))
    return total


def test_no_wall_leaves_a_sliver_of_a_disk_or_beside_it(packings):
    for packing in packings[:8]:
        disks, gap = seen(packing.positions, packing.radii, 0.95), 2 * (1 / 0.95 - 1)
        inward = np.column_stack([disks[:, :2], 1 - disks[:, :2]]) / disks[:, 2:]
        clear, cut = inward > 1 + gap - 1e-9, np.abs(inward) < 1 - CAP
        assert (clear | cut).all()
        assert (disks[:, 2] >= SMALLEST * 0.95 * packing.radii.min() - 1e-12).all()
        apart = np.hypot(*np.moveaxis(disks[:, None, :2] - disks[None, :, :2], 2, 0)) + 9 * np.eye(len(disks))
        assert (apart > disks[:, 2] + disks[None, :, 2].T).all()


def test_a_disk_away_from_the_walls_is_seen_as_it_is_and_one_at_a_wall_by_the_rule():
    one = np.array([0.1])
    np.testing.assert_allclose(seen([[0.5, 0.5]], one, 1.0), [[0.5, 0.5, 0.1]])
    np.testing.assert_allclose(seen([[0.09, 0.5]], one, 1.0), [[0.09, 0.5, 0.09]])  # grazed: clear of the wall
    cut = seen([[0.03, 0.5]], one, 1.0)  # cut, with its image beyond the other wall
    np.testing.assert_allclose(cut, [[0.03, 0.5, 0.1], [1.03, 0.5, 0.1]])
    np.testing.assert_allclose(seen([[0.08, 0.5]], one, 0.9)[:, 2], [0.08 / (1 + 2 / 0.9 - 2)])
    with pytest.raises(WavesimError, match=r"radius_scale 1\.5"):
        seen([[0.5, 0.5]], one, 1.5)


def test_the_cells_cover_the_square_and_the_disks(mesh, packings):
    problem = assemble(Materials((1.0, 4.0), (1.0, 1.0)), mesh, 1 / 32, (8, 8), degree=4)
    tags, weights = problem.space.tags, problem.space.weights
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    wanted = area_in_square(seen(packings[0].positions, packings[0].radii, 0.95))
    assert weights[tags == 1].sum() == pytest.approx(wanted, rel=2e-5)  # no arc stays a chord
    assert mesh.areas[mesh.tags == 1].sum() < 0.98 * wanted  # as all would without a shape


def test_edges_meet_and_interfaces_lie_on_the_circles(mesh, packings):
    disks = seen(packings[0].positions, packings[0].radii, 0.95)
    edges = np.sort(np.stack([mesh.cells, np.roll(mesh.cells, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    _, first, back, count = np.unique(
        edges @ [len(mesh.points), 1], return_index=True, return_inverse=True, return_counts=True
    )
    rim = mesh.points[edges[first[count == 1]]]
    on_wall = [np.isclose(rim[:, :, axis], end, atol=1e-9).all(axis=1) for axis in (0, 1) for end in (0, 1)]
    assert np.any(on_wall, axis=0).all()  # an edge of one cell alone is on a wall: no hanging vertices
    tags = np.bincount(back.ravel(), np.repeat(mesh.tags, 4))
    ends = mesh.points[edges[first[(count == 2) & (tags == 1)]]].reshape(-1, 2)
    distance = np.hypot(ends[:, None, 0] - disks[:, 0], ends[:, None, 1] - disks[:, 1]) - disks[:, 2]
    assert len(ends) > 500
    assert np.abs(distance).min(axis=1).max() < 1e-9


def test_the_mesh_is_good_and_its_steps_are_few(mesh):
    quality = mesh.quality(0.03, (1.0, 2.0))
    assert quality.scaled_jacobian > 0.1
    assert quality.time_step > 0.12
    problem = assemble(Materials((1.0, 20.0), (1.0, 5.0)), mesh, 1 / 32, (8, 8), degree=4)
    assert problem.operator.mass.size < 37_000
    assert problem.operator.steps <= 50  # a mesh with slivers between near neighbours took 1,747


def test_both_roads_meet(mesh, packings):
    disks, fields = seen(packings[0].positions, packings[0].radii, 0.95), []
    roads = [(Materials((1.0, 4.0), (1.0, 1.0)), mesh, 4)]
    roads += [(Raster(disks, 4.0, 1.0, Nodes((n, n), 4)), Nodes((n, n), 4), 4) for n in (16, 32, 64)]
    for medium, on, degree in roads:
        problem = assemble(medium, on, 0.25, (32, 32), degree=degree)
        start = problem.at_unknowns(lambda x, y: np.exp(-((x - 0.37) ** 2 + (y - 0.58) ** 2) / 0.005))
        fields.append(
            problem.sampling @ stepper.advance(problem.operator, stepper.init(problem.operator, start)).pressure
        )
    errors = [np.linalg.norm(field - fields[0]) / np.linalg.norm(fields[0]) for field in fields[1:]]
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2], errors
    assert errors[2] < 0.01, errors


def test_averages_of_a_flat_interface_are_those_of_its_layers():
    nodes = Nodes((1, 1), 2)
    raster = Raster(np.array([[-1000.0, 0.5, 1000.5]]), 20.0, 5.0, nodes)  # flat: grain left of x = 0.5
    places = np.stack(np.meshgrid(*(axis.element_points.ravel() for axis in nodes.axes)), axis=-1).reshape(-1, 2)
    bulk_modulus, tensor = raster.evaluate(places)  # the point in the middle stands for half of each
    np.testing.assert_allclose(bulk_modulus[3:6], [20, 1 / (0.5 + 0.5 / 20), 1], rtol=1e-9)
    np.testing.assert_allclose(tensor[0, 0, 3:6], [1 / 5, 1 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(tensor[1, 1, 3:6], [1 / 5, 0.6, 1], rtol=1e-6)


def test_control_cells_tile_an_axis_and_are_its_quadrature():
    axis = Nodes((3, 1), 4, (2.0, 1.0)).axes[0]
    begin, size = axis.control_cells(axis.element_points.ravel())
    np.testing.assert_allclose(begin[1:], (begin + size)[:-1], atol=1e-14)
    assert (begin[0], (begin + size)[-1]) == pytest.approx((0, 2), abs=1e-14)
    assert (size * axis.element_points.ravel() ** 7).sum() == pytest.approx(2**8 / 8, rel=1e-7)


def test_averages_are_refused_on_another_mesh_than_theirs():
    raster = Raster(np.array([[0.5, 0.5, 0.2]]), 4.0, 1.0, Nodes((8, 8), 4))
    with pytest.raises(WavesimError, match="no point of 8 elements of degree 4"):
        assemble(raster, Nodes((7, 7), 4), 0.1, (8, 8))


def test_a_refined_mesh_has_the_same_curves(mesh):
    fine = refined(mesh)
    assert len(fine.cells) == 4 * len(mesh.cells) and jacobians(fine).min() > 0
    coarse, again = (
        assemble(Materials((1.0, 4.0), (1.0, 1.0)), one, 1 / 32, (8, 8), degree=degree).space
        for one, degree in ((mesh, 4), (fine, 4))
    )
    for tag in (0, 1):
        wanted = coarse.weights[coarse.tags == tag].sum()
        assert again.weights[again.tags == tag].sum() == pytest.approx(wanted, rel=1e-9)


def check(packing: SquarePacking, radius_scale: float, element_size: float) -> None:
    """That a packing has a mesh, a good one, of the right area."""
    made = conforming(packing, radius_scale, element_size)
    disks = seen(packing.positions, packing.radii, radius_scale)
    assert jacobians(made).min() > 0
    problem = assemble(Materials((1.0, 20.0), (1.0, 5.0)), made, 1 / 32, (8, 8), degree=4)
    grain = problem.space.weights[problem.space.tags == 1].sum()
    assert grain == pytest.approx(area_in_square(disks), rel=5e-5)
    assert problem.operator.steps < MOST * 0.03 / element_size


def test_a_packing_whose_small_grains_are_of_the_elements_size_has_a_mesh(packings):
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    check(packings[1], 0.95, 0.03)


@pytest.mark.slow
def test_every_packing_has_a_mesh(packings):
    for number, packing in enumerate(packings):
        check(packing, (0.9, 0.95, 0.97)[number % 3], (0.03, 0.025, 0.02)[number // 3 % 3])


@pytest.mark.parametrize(("number", "element_size"), [(0, 0.04), (8, 0.04), (45, 0.05)])
def test_elements_as_coarse_as_small_grains_make_a_mesh(number, element_size):
    """Two edges in a row on a circle or a wall, and corners that only their arcs make convex: once each refused."""
    mesh = conforming(read(SHIPPED)[number], element_size=element_size)
    assert mesh.scaled_jacobians().min() > 0.05 and jacobians(mesh).min() > 0


def test_necks_have_their_declared_width():
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    two = SquarePacking("two", np.array([[0.35, 0.5], [0.65, 0.5]]), np.array([0.15, 0.15]), 1.0)
    open_, joined = (conforming(two, 0.9, 0.06, curved=False, neck=neck) for neck in (0.0, 0.4))
    assert joined.areas.min() > 0
    area, wide = joined.areas[joined.tags == 1].sum() - 0.0, 0.4 * 0.135
    half = wide / 2
    chord = 2 * np.sqrt(0.135**2 - half**2)  # along the line of centres, of the neck's sides in both disks
    corners = np.abs(joined.points - 0.5)
    on_neck = np.isclose(corners[:, 1], half, atol=1e-12) & (corners[:, 0] < 0.03)
    assert on_neck.sum() == 4
    np.testing.assert_allclose(corners[on_neck, 0], 0.15 - chord / 2, atol=1e-12)
    middle = np.abs(joined.points[joined.cells].mean(axis=1) - 0.5).max(axis=1) < 1e-9
    assert joined.tags[middle].tolist() == [1] and area > open_.areas[open_.tags == 1].sum()


def test_touching_grains_are_refused_with_what_to_change():
    touching = SquarePacking("two", np.array([[0.3, 0.5], [0.5, 0.5]]), np.array([0.1, 0.1]), 1.0)
    with pytest.raises(WavesimError, match="use a radius_scale below 1"):
        conforming(touching, 1.0)
