"""Absorbing sides of meshes and of averages: against domains so large that no wall is met, and no growth, ever."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact.meshes import distorted, warped

from wavesim.errors import WavesimError
from wavesim.fem import Materials, Mesh, Nodes, Pulse, Raster, Sides, absorbing, assemble, stepper, uniform
from wavesim.fem.conforming_mesh import conforming
from wavesim.fem.margins import extended
from wavesim.fem.medium import Medium
from wavesim.fem.packing_mesh import SquarePacking
from wavesim.fem.refine import refined
from wavesim.fem.simulation import run
from wavesim.fem.window import seen

GRAINS = Materials((1.0, 20.0), (1.0, 5.0))
OPEN, ENDS = Sides.all("absorbing"), Sides("absorbing", "absorbing", "rigid", "rigid")
PLACES = np.random.default_rng(0).uniform(0, 1, (200, 2))
N = 10  # cells a side
# Disks that the walls cut at all angles.
PACKING = SquarePacking(
    "cut",
    np.array([[0.06, 0.1], [0.4, 0.3], [0.75, 0.12], [0.25, 0.62], [0.62, 0.6], [0.95, 0.5], [0.45, 0.9], [0.8, 0.85]]),
    np.array([0.12, 0.16, 0.14, 0.14, 0.13, 0.12, 0.1, 0.12]),
    1.0,
)


@pytest.fixture(scope="module")
def packing():
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    return conforming(PACKING, 0.95, 0.12)


def lattice(more=(0, 0), moved=0.25):
    """Cells of side 1/N, so many `more` beyond the unit square along x and y, whose corners alone are moved.

    Tag 1 above y = 1/2, where no corner is moved.
    """
    i, j = np.meshgrid(*(np.arange(-extra, N + extra + 1) for extra in more))
    inner = moved * ((i > 0) & (i < N) & (j > 0) & (j < N) & (j != N // 2))
    random = np.sin(12.9898 * i + 78.233 * j), np.sin(39.3 * i + 11.1 * j)
    points = np.stack([i + inner * random[0], j + inner * random[1]], axis=-1).reshape(-1, 2) / N
    corner = np.add.outer(np.arange(len(i) - 1) * i.shape[1], np.arange(i.shape[1] - 1)).ravel()
    cells = np.column_stack([corner, corner + 1, corner + i.shape[1] + 1, corner + i.shape[1]])
    return Mesh(points, cells, (points[cells].mean(axis=1)[:, 1] > 0.5).astype(int))


def heard(medium, mesh, sides, layer=0, place=(0.6, 0.4), width=0.07, frames=8, offset=(0.0, 0.0), **settings):
    """(frame, place) of the pressure at places of the unit square, each 0.2 later; its corner lies at `offset`."""
    problem = assemble(medium, mesh, 0.2, (4, 4), sides, layer, **{"steps": 40} | settings)
    pulse = Pulse((place[0] + offset[0], place[1] + offset[1]), width)
    state, receivers, traces = (
        stepper.init(problem.operator, problem.at_unknowns(pulse)),
        problem.at(PLACES + offset),
        [],
    )
    for _ in range(frames):
        state = stepper.advance(problem.operator, state)
        traces.append(receivers @ state.pressure)
    return np.array(traces)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_pulse_leaves_an_unstructured_mesh_as_it_would_a_larger_one(dtype):
    found = heard(uniform(), lattice(), OPEN, 3, dtype=dtype)
    wanted = heard(uniform(), lattice((9, 9)), Sides())
    assert 1e-6 < np.abs(found - wanted).max() < 2e-4
    assert np.abs(wanted[-1]).max() < 1e-2  # next to nothing of it is left by then


def test_what_comes_back_from_a_layer_of_one_wavelength_is_what_comes_back_on_a_rectangles_own_mesh():
    """A wave packet at normal incidence, in a channel of unstructured cells against one four times as long."""

    def channel(cells, layer=0):
        i, j = np.meshgrid(np.arange(cells + 1), np.arange(3))
        moved = 0.25 * np.sin(12.9898 * i + 0.3) * ((i > 0) & (i < 4 * N) & (j == 1))
        points = np.stack([i + moved, j + moved], axis=-1).reshape(-1, 2) * 0.1 / 3
        corner = np.add.outer(np.arange(2) * (cells + 1), np.arange(cells)).ravel()
        mesh = Mesh(points, np.column_stack([corner, corner + 1, corner + cells + 2, corner + cells + 1]))
        sides = Sides("rigid", "absorbing" if layer else "rigid", "periodic", "periodic")
        problem = assemble(uniform(), mesh, 1.5, (4, 4), sides, layer, steps=400)
        state = stepper.init(
            problem.operator, problem.at_unknowns(lambda x, y: np.cos(20 * np.pi * x) * np.exp(-50 * (x - 0.7) ** 2))
        )
        state = stepper.advance(problem.operator, state)
        return problem.at(np.column_stack([np.linspace(0, 4 / 3, 200), np.full(200, 0.03)])) @ state.pressure

    back = np.abs(channel(4 * N, 3) - channel(16 * N)).max() / 0.5  # half of the packet meets the layer
    assert 1e-5 < back < 1e-3  # 6e-4


def test_an_interface_runs_into_the_layer_and_straight_on():
    # Clear of the interface: a pulse across it sets off waves as short as the cells, which no layer takes well.
    found = heard(GRAINS, lattice(), ENDS, 4, place=(0.6, 0.2))
    wanted = heard(GRAINS, lattice((18, 0)), Sides(), place=(0.6, 0.2))
    assert 1e-6 < np.abs(found - wanted).max() < 3e-4 < 2e-3 * np.abs(wanted[-1]).max()
    # Had it ended at the side, a good part of the wave would have come back.
    tags = extended(lattice(), (18, 18, 0, 0))
    other = Mesh(tags.points, tags.cells, np.where(tags.beyond, 0, tags.tags))
    assert np.abs(heard(GRAINS, other, Sides(), place=(0.6, 0.2)) - wanted).max() > 1e-2


def test_a_mesh_of_squares_gives_what_a_rectangles_own_mesh_gives_to_rounding():
    """With tags, and with functions of place."""
    upper = Medium(lambda x, y: np.where(y > 0.5, 20.0, 1.0 + 0 * x), lambda x, y: np.where(y > 0.5, 5.0, 1.0 + 0 * x))
    smooth = Medium(lambda x, y: 1.5 + np.sin(5 * x + 3 * y), lambda x, y: 1.2 + np.cos(4 * x * y))
    sides = Sides("absorbing", "soft", "absorbing", "absorbing")
    for own, on_mesh in ((upper, GRAINS), (smooth, smooth)):
        found, wanted = heard(on_mesh, lattice(moved=0), sides, 3), heard(own, Nodes((N, N), 4), sides, 3)
        assert np.abs(found - wanted).max() < 1e-13


def test_averages_of_grains_that_are_everywhere_are_a_uniform_medium_to_rounding():
    nodes = Nodes((N, N), 4)
    for disks, kappa, rho in (([[0.3, 0.4, 0.2]], 1.0, 1.0), ([[0.5, 0.5, 5.0]], 4.0, 2.0)):
        found = heard(Raster(np.array(disks), kappa, rho, nodes), nodes, OPEN, 3)
        assert np.abs(found - heard(uniform(kappa, rho), nodes, OPEN, 3)).max() < 1e-13


@pytest.mark.parametrize("disks", [[[0.35, 0.4, 0.2], [0.72, 0.66, 0.18]], [[0.5, -1e6, 1e6 + 0.463]]])
def test_averages_of_disks_leave_as_in_a_larger_domain(disks):
    """Two disks inside, and a flat surface that cuts elements and both absorbing sides."""
    flat = len(disks) == 1
    nodes = Nodes((N, N), 4)
    found = heard(Raster(np.array(disks), 20.0, 5.0, nodes), nodes, ENDS, 4, frames=6)
    large = Nodes((5 * N, N), 4, (5.0, 1.0))
    moved = np.array(disks) + np.array([2.0, 0, 0])
    wanted = heard(Raster(moved, 20.0, 5.0, large), large, Sides(), offset=(2.0, 0.0), frames=6)
    assert 1e-6 < np.abs(found - wanted).max() < (3e-4 if flat else 1e-3)


def test_waves_leave_a_packing_as_if_its_grains_went_straight_on(packing):
    """Circles meet the sides at all angles; beyond them each wall's materials go on along straight lines."""
    wide = extended(packing, (16, 16, 16, 16))
    large = Mesh(wide.points, wide.cells, wide.tags, wide.shape)
    found = heard(GRAINS, packing, OPEN, 4, frames=5, steps=120)
    wanted = heard(GRAINS, large, Sides(), frames=5, steps=120)
    assert np.abs(found - wanted).max() < 1.5e-3 < 0.005 * np.abs(wanted[0]).max()
    assert np.abs(found - heard(GRAINS, packing, Sides(), frames=5, steps=120)).max() > 0.1


@pytest.mark.parametrize("strips", [(3, 3, 3, 3), (2, 0, 0, 4)])
def test_strips_are_rectangles_with_the_tags_of_the_cells_behind(packing, strips):
    wide = extended(packing, strips)
    corners, new = wide.points[wide.cells], wide.beyond
    assert new.sum() == len(wide.cells) - len(packing.cells) and not new[: len(packing.cells)].any()
    np.testing.assert_allclose(wide.extent.low + wide.extent.high, (0, 0, 1, 1), atol=1e-12)
    assert wide.areas.sum() == pytest.approx(np.prod(np.ptp(wide.points, axis=0)))
    np.testing.assert_allclose(corners[new][:, [0, 1, 2, 3], [0, 1, 0, 1]], corners[new][:, [3, 0, 1, 2], [0, 1, 0, 1]])
    assert (np.ptp(wide.shape[new], axis=1) <= np.ptp(corners[new], axis=1) + 1e-12).all()
    # At the place of the side nearest to it, a new cell's middle has the packing's own material.
    place = np.clip(corners[new].mean(axis=1), 1e-6, 1 - 1e-6)
    distance = [np.hypot(*(place - disk[:2]).T) - disk[2] for disk in seen(PACKING.positions, PACKING.radii, 0.95)]
    np.testing.assert_array_equal(wide.tags[new], np.min(distance, axis=0) < 0)


def test_the_grid_and_the_share_that_it_cannot_hold_are_of_the_square_alone():
    """A wave with the same zeros at the sides and in the layer; on a mesh of the square, where both are proved."""
    wave = Pulse((0.5, 0.5), 0.07)
    runs = []
    for sides in (OPEN, Sides()):
        problem = assemble(uniform(), warped(8, degree=5), 0.05, (12, 18), sides, 3, degree=5)
        runs.append(run(problem, stepper.init(problem.operator, problem.at_unknowns(wave)), 2)[0])
    np.testing.assert_allclose(runs[0].pressure, runs[1].pressure, atol=1e-8)
    np.testing.assert_allclose(runs[0].unresolved_share, runs[1].unresolved_share, rtol=1e-5)
    # Nor does what is in the layer alone count.
    problem = assemble(uniform(), lattice(), 0.05, (4, 4), OPEN, 6)
    state = stepper.init(problem.operator, problem.at_unknowns(Pulse((-0.3, 0.5), 0.03)))
    assert np.abs(run(problem, state, 1)[0].pressure).max() < 1e-8


def test_a_refined_mesh_and_a_higher_degree_come_nearer_to_the_same_waves(packing):
    """As fast as an initial pulse in sharp grains lets them; a layer twice as thick changes next to nothing."""
    fine = refined(packing)
    np.testing.assert_allclose(extended(fine, (6, 6, 6, 6)).margins, extended(packing, (3, 3, 3, 3)).margins)
    runs = ((packing, 3, 3), (packing, 3, 5), (fine, 6, 3), (packing, 6, 5), (fine, 6, 5))
    *fields, best = (heard(GRAINS, m, OPEN, layer, frames=2, width=0.1, steps=340, degree=p) for m, layer, p in runs)
    coarse, higher, finer, thick = (np.linalg.norm(field - best) / np.linalg.norm(best) for field in fields)
    assert max(higher, finer) < 0.45 * coarse < 0.045, (coarse, higher, finer)
    assert abs(thick - higher) < 0.01 * coarse


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("steps", [20_000, pytest.param(50_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["mesh", "averages"])
def test_noise_does_not_grow_in_packings_at_the_largest_step(packing, kind, steps, order, dtype):
    nodes = Nodes((8, 8), 3)
    disks = seen(PACKING.positions, PACKING.radii, 0.95)
    medium, mesh = (GRAINS, packing) if kind == "mesh" else (Raster(disks, 20.0, 5.0, nodes), nodes)
    operator = assemble(medium, mesh, 0.5, (4, 4), OPEN, 2, order=order, dtype=dtype, degree=3).operator
    state, sizes = stepper.init(operator, np.random.default_rng(0).standard_normal(operator.mass.size)), []
    first = np.linalg.norm(state.pressure)
    while state.steps < steps:
        state = stepper.advance(operator, state)
        sizes.append(np.linalg.norm(state.pressure) / first)
    peaks = [part.max() for part in np.array_split(sizes, 5)]
    assert peaks[0] < 2 and peaks[-1] <= 1.01 * peaks[1] and np.isfinite(sizes).all(), peaks


def test_a_wall_in_the_layers_place_would_be_seen(monkeypatch):
    monkeypatch.setattr(absorbing, "damping", lambda extent, points, *_: np.zeros((2, len(points))))
    found, wanted = heard(uniform(), lattice(), OPEN, 3), heard(uniform(), lattice((9, 9)), Sides())
    assert np.abs(found - wanted).max() > 0.05


def test_what_no_layer_can_be_put_around_is_refused():
    for mesh, says in (
        (distorted(4, cells="triangles"), "mesh with quadrilaterals"),
        (Mesh(distorted(4).points @ [[1, 0.1], [-0.1, 1]], distorted(4).cells), "does not fill that from"),
        (hole(), "does not fill that from .* mesh it all"),
        (bulged(), "at the absorbing side right have bent edges along it; use straight ones"),
    ):
        with pytest.raises(WavesimError, match=says):
            assemble(uniform(), mesh, 0.1, (4, 4), Sides(right="absorbing"), 2, degree=1)
    with pytest.raises(WavesimError, match="needs at least one element"):
        assemble(uniform(), distorted(4), 0.1, (4, 4), OPEN)


def hole():
    """A square of 3 x 3 cells without the one in the middle."""
    mesh = distorted(3, 0.0)
    return Mesh(mesh.points, mesh.cells[np.abs(mesh.points[mesh.cells].mean(axis=1) - 0.5).max(axis=1) > 0.1])


def bulged():
    """Cells whose edges along the right side, alone, are moved along it between their ends."""
    mesh = warped(4, degree=2)
    shape = mesh.shape.copy()
    middle = (np.abs(shape[..., 0] - 1) < 1e-9) & (np.abs(shape[..., 1] * 8 % 2 - 1) < 1e-6)
    shape[..., 1] += 0.01 * middle
    return replace(mesh, shape=shape)
