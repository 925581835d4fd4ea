"""What long waves see of a structure: closed forms, bounds, and the arrival of a long pulse through resolved grains."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from wavesim.errors import WavesimError
from wavesim.fem import Medium, Mesh, Nodes, Raster, Sides, assemble, effective, from_packing, listen, start, stepper
from wavesim.fem.packing_mesh import SquarePacking
from wavesim.fem.source import StandingMode

SHIPPED = Path(__file__).parents[2] / "data/sample/packings.h5"
ROADS = ["conforming", "raster"]


@pytest.fixture(scope="module")
def few():
    """Sixteen disks of two sizes on a jittered lattice."""
    lattice = (np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2) + 0.5) / 4
    moved = lattice + np.random.default_rng(0).uniform(-0.01, 0.01, lattice.shape)
    return SquarePacking("few", moved, np.where(np.arange(16) % 3, 0.115, 0.1), 0.1 / 0.115)


@pytest.fixture(params=ROADS)
def road(request):
    if request.param == "conforming":
        pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    return request.param


@pytest.mark.parametrize("kind", ["rigid", "periodic"])
def test_layers_act_one_after_the_other_and_side_by_side(kind):
    """Across 1/<rho>, along <1/rho>, and 1/<1/kappa>: here of 1, 2, 1 and 8 in layers of a quarter."""

    def layers(x, y):
        return np.array([1.0, 2.0, 1.0, 8.0])[np.minimum((4 * x).astype(int), 3)] + 0 * y

    found = effective(Medium(layers, layers), Nodes((4, 2), 3), Sides.all(kind))
    assert found.bulk_modulus == pytest.approx(1 / np.mean([1, 1 / 2, 1, 1 / 8]), rel=1e-7)
    np.testing.assert_allclose(found.inverse_density, np.diag([1 / 3, (2 + 1 / 2 + 1 / 8) / 4]), rtol=1e-7, atol=1e-12)


def test_a_square_array_of_disks_has_rayleighs_conductivity(road):
    """With t = (1 + s)/(1 - s), s the disks' 1/rho and f their share: Perrins, McKenzie, McPhedran, Proc. R. Soc. A 369
    (1979) 207-225."""
    disk = SquarePacking("one", np.array([[0.5, 0.5]]), np.array([0.3]), 1.0)
    found = effective(*from_packing(disk, 0, road, 3.0, 5.0, 1 - 1e-9, 0.05))
    f, t = np.pi * 0.3**2, (1 + 1 / 5) / (1 - 1 / 5)
    exact = 1 - 2 * f / (t + f - 0.305827 * f**4 * t / (t**2 - 1.402958 * f**8) - 0.013362 * f**8 / t)
    tolerance = 1e-5 if road == "conforming" else 3e-3
    np.testing.assert_allclose(found.inverse_density, exact * np.eye(2), rtol=tolerance, atol=1e-12)
    assert found.bulk_modulus == pytest.approx(1 / (1 - f * 2 / 3), rel=tolerance)


def test_a_packing_lies_between_the_bounds_and_both_roads_meet(few):
    pytest.importorskip("gmsh", reason="the extra `mesh` is not installed")
    share = np.pi * np.sum((0.95 * few.radii) ** 2)
    speeds = []
    for road in ROADS:
        found = effective(*from_packing(few, 0, road, 20.0, 5.0, element_size=0.05))
        along = np.diag(found.inverse_density)
        assert (1 / (1 + 4 * share) * 1.05 < along).all() and (along < (1 - 0.8 * share) / 1.05).all()
        speeds.append(found.wave_speed)
    np.testing.assert_allclose(speeds[0], speeds[1], rtol=5e-3)


def test_grains_that_are_background_leave_a_standing_mode_as_it_is(few, road):
    """A packing filled solid, and a uniform medium's closed form, after a generic part of a period."""
    mode = StandingMode((1, 2))
    problem = assemble(*from_packing(few, 0, road, 1.0, 1.0, element_size=0.1), 0.37, (8, 8), degree=5)
    state = stepper.advance(problem.operator, start(problem, lambda x, y: mode.pressure(x, y, 0.0)))
    exact = problem.at_unknowns(lambda x, y: mode.pressure(x, y, 0.37))
    np.testing.assert_allclose(state.pressure, exact, atol=1e-5)
    found = effective(*from_packing(few, 0, road, 1.0, 1.0, element_size=0.1))
    np.testing.assert_allclose(found.wave_speed, 1.0, rtol=1e-8)


def mirrored(mesh: Mesh) -> Mesh:
    """A mesh of [0, a] x [0, b] and its image beyond x = a."""
    end = mesh.points[:, 0].max()

    def both(places):
        return np.concatenate([places, np.stack([2 * end - places[..., 0], places[..., 1]], axis=-1)])

    points = both(mesh.points)
    _, kept, number = np.unique(np.round(points, 9) + 0.0, axis=0, return_index=True, return_inverse=True)
    cells = number.ravel()[np.concatenate([mesh.cells, mesh.cells + len(mesh.points)])]
    return Mesh(points[kept], cells, np.tile(mesh.tags, 2), both(mesh.shape))


def strip(medium, mesh):
    """The unit square of a packing and its mirror images, four in a row."""
    if isinstance(medium, Raster):
        images = [medium.disks * [(-1) ** k, 1, 1] + [2 * ((k + 1) // 2), 0, 0] for k in range(4)]
        nodes = Nodes((4 * mesh.elements[0], mesh.elements[1]), mesh.degree, (4.0, 1.0))
        return Raster(np.concatenate(images), medium.bulk_modulus, medium.density, nodes), nodes
    return medium, mirrored(mirrored(mesh))


@pytest.mark.parametrize("contrast", [(20.0, 1.0), (1.0, 5.0)], ids=str)
def test_a_long_pulse_arrives_when_its_effective_speed_says(few, road, contrast):
    """A Gaussian starts at one end of a strip of four squares; one radian of it is at least 3.5 large diameters, and a
    wavelength 22. Other averages are far off: sqrt(<kappa>/<rho>) by a factor of 2.3 at (20, 1)."""
    packing = few if road == "conforming" else SHIPPED  # 64 jammed disks, whose mesh would take ten times the time
    medium, mesh = from_packing(packing, 0, road, *contrast, element_size=0.12 if road == "conforming" else 0.06)
    speed = effective(medium, mesh, degree=3).wave_speed[0]
    width, frame = 0.8, 0.05
    problem = assemble(*strip(medium, mesh), frame, (4, 4), degree=3)
    state = start(problem, lambda x, y: np.exp(-(x**2) / (2 * width**2)) + 0 * y)
    end = np.column_stack([np.full(8, 4.0 - 1e-9), (np.arange(8) + 0.5) / 8])
    heard = listen(problem, state, end, int(5 / speed / frame))
    pressure = heard.pressure.mean(axis=1)
    top = np.argmax(pressure)
    near = slice(top - 5, top + 6)
    bent, sloped, _ = np.polyfit(heard.times[near] - heard.times[top], pressure[near], 2)
    assert 4 / (heard.times[top] - sloped / (2 * bent)) == pytest.approx(speed, rel=0.01)
    assert abs(speed - 1) > 0.25


def test_a_medium_from_a_packing_s_file_has_its_grains_by_name_or_by_folder():
    """1/kappa of long waves is the mean over the areas; walls shrink some of the 64 grains, whose radii count 0.9."""
    with h5py.File(SHIPPED) as file:
        whole = 0.9**2 * np.pi * np.sum(file["000003/radii"][:] ** 2) / np.prod(file["000003/box"][:])
    place = (np.arange(1000) + 0.5) / 1000
    for path in (SHIPPED, SHIPPED.parent):
        medium, nodes = Medium.from_packing(
            path, 3, "raster", bulk_modulus=4.0, density=1.0, radius_scale=0.9, element_size=0.05, degree=3
        )
        inside = np.zeros((1000, 1000), bool)
        for x, y, radius in medium.disks:
            inside |= np.hypot(place - x, place[:, None] - y) < radius
        assert 0.8 * whole < inside.mean() < whole
        assert effective(medium, nodes).bulk_modulus == pytest.approx(1 / (1 - 0.75 * inside.mean()), rel=2e-3)


def test_what_cannot_be_is_refused(few):
    with pytest.raises(WavesimError, match="four rigid or four periodic sides"):
        effective(*from_packing(few, 0, "raster"), Sides("soft"))
    with pytest.raises(WavesimError, match="road 'smooth' must be 'conforming' or 'raster'"):
        from_packing(few, 0, "smooth")
    with pytest.raises(WavesimError, match=r"has no packing 99: it holds 0 to 47"):
        from_packing(SHIPPED, 99, "raster")
    with pytest.raises(WavesimError, match="density of the grains"):
        from_packing(SHIPPED, 1, density=0.0)
    with pytest.raises(WavesimError, match="radius_scale 2"):
        from_packing(SHIPPED, 1, "raster", radius_scale=2)
