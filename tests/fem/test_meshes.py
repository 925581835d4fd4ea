"""Waves on meshes that are no grids: distorted quadrilaterals, triangles, tagged cells, periodic sides."""

from __future__ import annotations

import numpy as np
import pytest
from exact.meshes import distorted
from exact.modes import Mode, PlaneWave

from wavesim.errors import WavesimError
from wavesim.fem import locate, stepper, uniform
from wavesim.fem.boundary import Sides
from wavesim.fem.medium import Materials, Medium
from wavesim.fem.mesh import Mesh
from wavesim.fem.sampling import Nodes
from wavesim.fem.simulation import assemble

PLACES = np.random.default_rng(1).uniform(0, 1, (800, 2))


def error_of(exact, mesh, time, degree, steps, sides=None, medium=None):
    problem = assemble(medium or uniform(), mesh, time, (4, 4), sides or Sides(), degree=degree, steps=steps)
    start = [problem.at_unknowns(lambda x, y, k=k: exact.fields(x, y, 0.3)[k]) for k in range(2)]
    state = stepper.advance(problem.operator, stepper.init(problem.operator, *start))
    wanted = exact.fields(*PLACES.T, 0.3 + time)[0]
    return np.linalg.norm(problem.at(PLACES) @ state.pressure - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize(("degree", "elements", "level"), [(2, (8, 16), 1e-3), (4, (6, 12), 2e-6), (5, (4, 8), 1e-6)])
def test_distorted_quadrilaterals_keep_the_order_of_their_elements(degree, elements, level):
    mode = Mode((2, 1))
    errors = [error_of(mode, distorted(n), 0.8 * 2 * np.pi / mode.frequency, degree, 150) for n in elements]
    assert np.log2(np.divide(*errors)) > degree + 0.6, errors
    assert errors[1] < level, errors


def test_triangles_are_of_the_second_order():
    mode = Mode((2, 1))
    errors = [
        error_of(mode, distorted(n, cells="triangles"), 0.8 * 2 * np.pi / mode.frequency, 1, 240) for n in (16, 32)
    ]
    assert np.log2(np.divide(*errors)) > 1.8, errors
    assert errors[1] < 1e-2, errors
    with pytest.raises(WavesimError, match="lumped elements are of degree 1"):
        error_of(mode, distorted(4, cells="triangles"), 1.0, 2, 100)


def test_periodic_sides_of_a_mesh_whose_nodes_face_each_other():
    line = distorted(8)
    points = line.points.copy()
    for along, across in ((0, 1), (1, 0)):  # the outer corners back to an even spacing, as distorted leaves them not
        rim = (points[:, across] < 1e-9) | (points[:, across] > 1 - 1e-9)
        points[rim, along] = np.round(points[rim, along] * 8) / 8
    wave = PlaneWave((1, 1))
    assert error_of(wave, Mesh(points, line.cells, line.tags), 1.1, 4, 200, Sides.all("periodic")) < 1e-3
    with pytest.raises(WavesimError, match="do not face each other"):
        error_of(wave, line, 1.1, 4, 200, Sides.all("periodic"))


def test_tagged_cells_have_their_materials():
    # The same medium by tags on a distorted mesh, and as functions on a fine rectangle.
    materials = Materials((1.0, 9.0), (1.0, 2.0))
    medium = Medium(lambda x, y: np.where(x > 0.5, 9.0, 1.0) + 0 * y, lambda x, y: np.where(x > 0.5, 2.0, 1.0) + 0 * y)
    fields = []
    for mesh, own, degree in ((distorted(12), materials, 5), (Nodes((16, 16), 6), medium, 6)):
        problem = assemble(own, mesh, 0.4, (4, 4), degree=degree)
        start = problem.at_unknowns(lambda x, y: np.exp(-((x - 0.22) ** 2 + (y - 0.4) ** 2) / (2 * 0.06**2)))
        state = stepper.advance(problem.operator, stepper.init(problem.operator, start))
        fields.append(problem.at(PLACES) @ state.pressure)
    assert np.linalg.norm(fields[0] - fields[1]) < 1e-3 * np.linalg.norm(fields[1])
    with pytest.raises(WavesimError, match="tags up to 1, the medium has 1 values"):
        assemble(Materials((1.0,), (1.0,)), distorted(4), 0.4, (4, 4))


def test_cell_averages_of_a_polynomial_are_exact():
    problem = assemble(uniform(), distorted(6), 0.1, (5, 7), degree=4)
    field = problem.at_unknowns(lambda x, y: x**2 * y + 3 * y)
    found = (problem.sampling @ field).reshape(5, 7)
    x, y = np.linspace(0, 1, 8), np.linspace(0, 1, 6)
    squares, lines = np.diff(x**3 / 3) * 7, np.diff(y**2 / 2) * 5
    np.testing.assert_allclose(found, lines[:, None] * squares + 3 * lines[:, None], atol=2e-5)


def test_places_are_found_in_their_cells_and_outside_is_refused():
    mesh = distorted(7, 0.3)
    cell, (s, t) = locate.locate(mesh.points[mesh.cells], PLACES)
    v0, v1, v2, v3 = (mesh.points[mesh.cells[cell, k]] for k in range(4))
    s, t = s[:, None], t[:, None]
    mapped = (1 - s) * (1 - t) * v0 + s * (1 - t) * v1 + s * t * v2 + (1 - s) * t * v3
    np.testing.assert_allclose(mapped, PLACES, atol=1e-12)
    with pytest.raises(WavesimError, match=r"\(1\.3, 0\.2\) lies outside the mesh"):
        locate.locate(mesh.points[mesh.cells], np.array([[0.5, 0.5], [1.3, 0.2]]))


def test_a_medium_that_is_not_positive_is_refused_with_the_place():
    medium = Medium(lambda x, y: 1 - 2 * x + 0 * y, lambda x, y: 1 + 0 * x * y)
    with pytest.raises(WavesimError, match="kappa and rho must be positive and finite"):
        assemble(medium, Nodes((4, 4), 2), 0.1, (4, 4))


def test_a_place_in_a_long_cell_beside_many_small_ones_is_found():
    rows = np.linspace(0, 1, 61)  # of small cells, all nearer to (1.1, 0.5) than the long cell's centre
    left = np.array([(x, y) for y in rows for x in (0.9, 1.0)])
    small = [(2 * k, 2 * k + 1, 2 * k + 3, 2 * k + 2) for k in range(60)]
    long = np.array([(9.0, 0.0), (9.0, 1.0), (1.001, 0.0), (1.001, 1.0)])
    cells = np.vstack([left, long])[np.vstack([small, [(124, 122, 123, 125)]])]
    found, (_, t) = locate.locate(cells, np.array([[1.1, 0.5]]))
    assert found.tolist() == [60] and t[0] == pytest.approx(0.5)
