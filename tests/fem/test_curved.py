"""Curved cells: exact waves on warped squares and on a circle that the mesh follows; files of meshes."""

from __future__ import annotations

import numpy as np
import pytest
from exact.circle import Circle, CirclePlaneWave
from exact.matter import Matter
from exact.meshes import round_mesh, warped
from exact.modes import Mode
from exact.profiles import gaussian

from wavesim.errors import WavesimError
from wavesim.fem import locate, stepper, uniform
from wavesim.fem.arcs import on_circles
from wavesim.fem.medium import Materials
from wavesim.fem.mesh import Mesh
from wavesim.fem.sampling import differentiation, lagrange, lobatto
from wavesim.fem.simulation import assemble

PLACES = np.random.default_rng(1).uniform(0, 1, (600, 2))


def relative(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def mode_error(mesh, degree, steps):
    mode = Mode((2, 1))
    time = 0.8 * 2 * np.pi / mode.frequency
    problem = assemble(uniform(), mesh, time, (4, 4), degree=degree, steps=steps)
    start = [problem.at_unknowns(lambda x, y, k=k: mode.fields(x, y, 0.3)[k]) for k in range(2)]
    state = stepper.advance(problem.operator, stepper.init(problem.operator, *start))
    return relative(problem.at(PLACES) @ state.pressure, mode.fields(*PLACES.T, 0.3 + time)[0])


@pytest.mark.parametrize(
    ("degree", "elements", "level"), [(1, (16, 32), 2e-2), (2, (8, 16), 2e-3), (3, (6, 12), 2e-4), (5, (4, 8), 2e-6)]
)
def test_curved_cells_keep_the_order_of_their_elements(degree, elements, level):
    errors = [mode_error(warped(n, degree=6), degree, 200) for n in elements]
    assert np.log2(np.divide(*errors)) > degree + 0.5, errors
    assert errors[1] < level, errors


def scattered_error(n, degree, bend=True, matter=None):
    """Of a plane pulse on a circle, where the sides of the square have not been heard yet."""
    circle = Circle((0.5, 0.5), 0.2, matter or Matter(4.0, 2.0))
    wave = CirclePlaneWave(gaussian(0.05, -0.3), circle, 0.4)
    mesh, circles, circle_of = round_mesh(n)
    mesh = on_circles(mesh, circles, circle_of, max(degree, 2)) if bend else mesh
    problem = assemble(
        Materials((1.0, circle.inside.bulk_modulus), (1.0, circle.inside.density)), mesh, 0.22, (4, 4), degree=degree
    )
    points = problem.space.points
    start = wave.fields(*points.T, 0.14)
    state = stepper.advance(problem.operator, stepper.init(problem.operator, *(field.ravel() for field in start)))
    angle, r = PLACES.T * [[2 * np.pi], [1]]
    r = 0.26 * np.sqrt(r)
    x, y = 0.5 + r * np.cos(angle), 0.5 + r * np.sin(angle)
    return relative(problem.at(np.column_stack([x, y])) @ state.pressure, wave.fields(x, y, 0.36)[0].ravel())


@pytest.mark.parametrize(("degree", "elements", "level"), [(2, (6, 12), 1e-2), (4, (3, 6), 1e-3)])
def test_a_mesh_that_follows_a_circle_gives_the_bessel_series(degree, elements, level):
    errors = [scattered_error(n, degree) for n in elements]
    assert np.log2(np.divide(*errors)) > degree + 0.4, errors
    assert errors[1] < level, errors


def test_chords_in_place_of_arcs_are_of_the_second_order_at_best():
    chords, arcs = (scattered_error(6, 4, bend) for bend in (False, True))
    assert chords > 20 * arcs


def test_a_stiff_heavy_grain_gives_the_bessel_series():
    assert scattered_error(6, 4, matter=Matter(20.0, 5.0)) < 2e-3


def test_areas_of_curved_cells_are_those_of_the_disk_and_the_square():
    mesh = on_circles(*round_mesh(4), degree=6)
    problem = assemble(uniform(), mesh, 0.1, (4, 4), degree=6)
    space = problem.space
    assert space.weights[space.tags == 1].sum() == pytest.approx(np.pi * 0.04, rel=1e-8)
    assert space.weights.sum() == pytest.approx(1, rel=1e-12)
    # Averages over cells of the grid meet curved edges: a linear field is known everywhere.
    x, y = (np.arange(4) + 0.5) / 4, (np.arange(4) + 0.5) / 4
    averages = (problem.sampling @ (space.points @ [2, -1])).reshape(4, 4)
    assert np.abs(averages - (2 * x[None, :] - y[:, None])).max() < 1e-12


def test_places_in_curved_cells_are_found_where_the_map_puts_them():
    mesh = warped(5, degree=3)
    s, t = np.random.default_rng(2).uniform(0, 1, (2, len(mesh.cells)))
    along_s, along_t = lagrange(3, s), lagrange(3, t)
    places = np.einsum("cj,ci,cjid->cd", along_t, along_s, mesh.positions(3).reshape(-1, 4, 4, 2))
    cell, found = locate.locate(mesh.positions(3), places)
    assert np.array_equal(cell, np.arange(len(mesh.cells)))
    assert np.abs(found - [s, t]).max() < 1e-10


@pytest.mark.parametrize("degree", [1, 2, 5, 8])
def test_slopes_of_the_nodal_polynomials_are_exact(degree):
    nodes = lobatto(degree)
    for power in range(degree + 1):
        wanted = power * nodes ** max(power - 1, 0)
        assert np.allclose(differentiation(degree) @ nodes**power, wanted, atol=1e-11)


def test_a_folded_cell_and_cells_that_do_not_meet_are_refused():
    mesh = warped(2, 2)
    folded = mesh.shape.copy()
    folded[0, 4] += 0.4
    with pytest.raises(WavesimError, match="is folded"):
        assemble(uniform(), Mesh(mesh.points, mesh.cells, shape=folded), 0.1, (2, 2), degree=3)
    apart = mesh.shape.copy()
    apart[0, 5] += 0.01
    with pytest.raises(WavesimError, match="do not meet"):
        Mesh(mesh.points, mesh.cells, shape=apart)
    with pytest.raises(WavesimError, match="begin and end at its corners"):
        Mesh(mesh.points, mesh.cells, shape=mesh.shape + 0.01)
    with pytest.raises(WavesimError, match=r"should be \(4, \(g \+ 1\)\^2, 2\)"):
        Mesh(mesh.points, mesh.cells, shape=mesh.shape[:, :5])


def test_cells_that_run_clockwise_keep_their_shape_when_turned():
    mesh = warped(3, 3)
    other = mesh.shape.reshape(-1, 4, 4, 2)[:, ::-1].reshape(-1, 16, 2)
    turned = Mesh(mesh.points, mesh.cells[:, ::-1], shape=other)
    assert np.array_equal(turned.cells, mesh.cells)
    assert np.array_equal(turned.shape, mesh.shape)
