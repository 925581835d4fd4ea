"""Sampling and assembly against dolfinx's own evaluation and against integrals in closed form."""

from __future__ import annotations

import h5py  # noqa: F401 - before dolfinx
import numpy as np
import pytest
from dolfinx import fem, geometry, mesh
from mpi4py import MPI

from wavesim.fem import _dolfinx
from wavesim.fem.sampling import Nodes, at, cell_averages, cell_centres, lobatto

LENGTHS = (1.5, 0.8)


def wave(x, y):
    """No symmetry of any kind, so that an exchanged or mirrored axis shows."""
    return x**3 * y + np.sin(3 * x + y**2)


def evaluated_by_dolfinx(nodes, points):
    """Nodal interpolant of `wave` at points (points, 2), all by dolfinx."""
    corners = [np.zeros(2), np.array(nodes.lengths)]
    domain = mesh.create_rectangle(MPI.COMM_SELF, corners, nodes.elements, cell_type=mesh.CellType.quadrilateral)
    old = _dolfinx.BEFORE_0_7
    space = (fem.FunctionSpace if old else fem.functionspace)(domain, ("Lagrange", nodes.degree))
    function = fem.Function(space)
    function.interpolate(lambda x: wave(x[0], x[1]))
    points = np.column_stack([points, np.zeros(len(points))])
    tree = geometry.BoundingBoxTree(domain, 2) if old else geometry.bb_tree(domain, 2)
    candidates = (geometry.compute_collisions if old else geometry.compute_collisions_points)(tree, points)
    cells = geometry.compute_colliding_cells(domain, candidates, points)
    return function.eval(points, [cells.links(i)[0] for i in range(len(points))])[:, 0]


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5])
def test_values_at_places_equal_those_of_dolfinx(degree):
    nodes = Nodes((5, 3), degree, LENGTHS)
    x, y = np.meshgrid(cell_centres(9, LENGTHS[0]), cell_centres(7, LENGTHS[1]))
    field = wave(nodes.x[None, :], nodes.y[:, None]).ravel()
    places = np.column_stack([x.ravel(), y.ravel()])
    np.testing.assert_allclose(at(nodes, places) @ field, evaluated_by_dolfinx(nodes, places), atol=1e-12)


@pytest.mark.parametrize("grid", [(7, 9), (3, 5), (16, 16)])
def test_cell_averages_of_a_polynomial_are_exact(grid):
    nodes = Nodes((5, 3), 3, LENGTHS)
    field = (nodes.x[None, :] ** 3 * nodes.y[:, None] ** 2).ravel()
    x, y = np.linspace(0, LENGTHS[0], grid[1] + 1), np.linspace(0, LENGTHS[1], grid[0] + 1)
    expected = np.outer(np.diff(y**3) / 3 / np.diff(y), np.diff(x**4) / 4 / np.diff(x))
    np.testing.assert_allclose((cell_averages(nodes, grid) @ field).reshape(grid), expected, atol=1e-13)


def test_nodes_are_the_extrema_that_tables_list():
    # Abramowitz and Stegun, table 25.6, n = 4 and 5.
    np.testing.assert_allclose(lobatto(3) * 2 - 1, [-1, -np.sqrt(1 / 5), np.sqrt(1 / 5), 1], atol=1e-14)
    np.testing.assert_allclose(lobatto(4) * 2 - 1, [-1, -np.sqrt(3 / 7), 0, np.sqrt(3 / 7), 1], atol=1e-14)


@pytest.mark.parametrize("degree", range(1, 9))
def test_mass_sums_to_the_integral_of_the_compressibility(degree):
    nodes = Nodes((4, 3), degree, LENGTHS)
    space = _dolfinx.space(nodes)
    mass = space.mass(space.evaluate(lambda x, y: 1 / (1 + x * y)))
    (a, b), area = LENGTHS, LENGTHS[0] * LENGTHS[1]
    assert mass.min() > 0
    assert mass.sum() == pytest.approx(area + a**2 * b**2 / 4, rel=1e-13)


@pytest.mark.parametrize("degree", [2, 4, 6])
def test_stiffness_is_the_energy_of_a_gradient(degree):
    # p = x^2 + 3 y, 1/rho = 1 + x: the integral of (1 + x)(4 x^2 + 9) over [0, a] x [0, b]; exact where 2p - 1 >= 3.
    nodes = Nodes((4, 3), degree, LENGTHS)
    space = _dolfinx.space(nodes)
    stiffness = space.stiffness(space.evaluate(lambda x, y: 1 / (1 + x + 0 * y)))
    p = space.points[:, 0] ** 2 + 3 * space.points[:, 1]
    a, b = LENGTHS
    exact = b * (4 * a**3 / 3 + 9 * a + a**4 + 9 * a**2 / 2)
    assert p @ stiffness @ p == pytest.approx(exact, rel=1e-10)  # the medium is taken a billionth inside the elements
    assert abs(stiffness - stiffness.T).max() < 1e-12 * abs(stiffness).max()
    assert np.abs(stiffness @ np.ones(p.size)).max() < 1e-11 * abs(stiffness).max()


def test_only_the_entries_along_the_two_axes_are_kept():
    nodes = Nodes((20, 20), 4)
    space = _dolfinx.space(nodes)
    stiffness = space.stiffness(np.ones(space.weights.size))
    assert stiffness.nnz / stiffness.shape[0] < 11
