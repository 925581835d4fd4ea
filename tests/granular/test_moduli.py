"""Moduli against the closed forms of lattices, finite differences of a plain energy, and the engine under strain."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from lattices import face_centred_cubic, square, triangular

from wavesim.errors import WavesimError
from wavesim.granular import Mixture, Packing
from wavesim.granular._lammps import Engine
from wavesim.granular.jamming import Protocol, jam
from wavesim.granular.moduli import (
    SaddleError,
    acoustic_tensor,
    bulk_modulus,
    carrying_fraction,
    partial_bulk_moduli,
    shear_modulus,
    wave_speeds,
)
from wavesim.granular.packing import force_scale
from wavesim.provenance import generator


@pytest.mark.parametrize("spacing", [0.95, 0.99999])
def test_the_triangular_lattice_has_the_bulk_modulus_of_its_closed_form(spacing):
    """p = sqrt(3) k (1 - r) / r on an area that goes like r^2, so K = -(r / 2) dp/dr = sqrt(3) k / (2 r)."""
    assert bulk_modulus(triangular(spacing)) == pytest.approx(np.sqrt(3) / (2 * spacing), rel=1e-9)


@pytest.mark.parametrize("spacing", [0.95, 0.99999])
def test_the_face_centred_cubic_lattice_has_the_bulk_modulus_of_its_closed_form(spacing):
    """p = 2 sqrt(2) k (1 - r) / r^2 in a volume that goes like r^3, so K = -(r / 3) dp/dr."""
    expected = 2 * np.sqrt(2) / 3 * (2 - spacing) / spacing**2
    assert bulk_modulus(face_centred_cubic(spacing)) == pytest.approx(expected, rel=1e-9)


def test_rattlers_do_not_change_the_bulk_modulus():
    lattice = triangular(0.99)
    vacant = np.delete(lattice.positions, 14, axis=0)
    species = np.ones(35, int)
    alone = Packing(vacant, np.full(35, 0.5), species, lattice.box)
    inside = Packing(
        np.concatenate([vacant, lattice.positions[14:15]]),
        np.append(np.full(35, 0.5), 0.2),
        np.append(species, 0),
        lattice.box,
    )
    assert bulk_modulus(inside) == pytest.approx(bulk_modulus(alone), rel=1e-12)
    assert bulk_modulus(alone) < bulk_modulus(lattice)
    assert carrying_fraction(inside) == pytest.approx(alone.phi) and inside.phi > alone.phi
    assert wave_speeds(inside) == pytest.approx(wave_speeds(alone), rel=1e-12)


def test_particles_without_contacts_have_no_bulk_modulus():
    with pytest.raises(WavesimError, match="no contact"):
        bulk_modulus(triangular(1.01))


@pytest.mark.parametrize("spacing", [0.95, 0.99999])
def test_the_triangular_lattice_has_the_shear_modulus_of_its_closed_form(spacing):
    """Isotropic: G = sqrt(3) k / 4 (1 - 3 delta / r), so that c_P^2 rho = K + G is 3 sqrt(3) k / 4 at r = 1."""
    packing = triangular(spacing)
    expected = np.sqrt(3) / 4 * (1 - 3 * (1 - spacing) / spacing)
    assert shear_modulus(packing) == pytest.approx(expected, rel=1e-9)
    speeds = np.sqrt(np.array([np.sqrt(3) / (2 * spacing) + expected, expected]) / packing.phi)
    assert wave_speeds(packing) == pytest.approx(speeds, rel=1e-9)


@pytest.mark.parametrize("spacing", [0.95, 0.99999])
def test_the_face_centred_cubic_lattice_has_the_shear_modulus_of_its_closed_form(spacing):
    """Of its two, sqrt(2) k / (4 r) (1 - 7 delta / r) and (2 - 6 delta / r), two fifths and three fifths."""
    packing = face_centred_cubic(spacing)
    expected = 2 * np.sqrt(2) / (5 * spacing) * (1 - 4 * (1 - spacing) / spacing)
    assert shear_modulus(packing) == pytest.approx(expected, rel=1e-9)
    along = np.sqrt((bulk_modulus(packing) + 4 / 3 * expected) / packing.phi)
    assert wave_speeds(packing) == pytest.approx((along, np.sqrt(expected / packing.phi)), rel=1e-9)


@pytest.mark.parametrize("side", [5, 6])
@pytest.mark.parametrize("measure", [bulk_modulus, partial_bulk_moduli, shear_modulus, wave_speeds])
def test_a_square_lattice_is_a_saddle_point_and_has_no_moduli(side, measure):
    """Waves have 2 k (1 - cos q_x) - 2 k (delta / r) (1 - cos q_y): negative for q_x = 0, 2 (n - 1) with both ways.

    Its pressure k (1 - r) / r grows under compression all the same, by K = k / (2 r), so that K > 0 does not tell.
    """
    lattice = square(0.98, side)
    assert lattice.balanced
    with pytest.raises(SaddleError, match="saddle point") as found:
        measure(lattice)
    assert found.value.directions == 2 * (side - 1)


def test_the_energy_falls_along_the_direction_that_a_saddle_point_names():
    lattice = square(0.98)
    with pytest.raises(SaddleError) as found:
        bulk_modulus(lattice)
    direction = found.value.direction
    assert np.linalg.norm(direction, axis=1).max() == pytest.approx(1)
    for step in (1e-3, -1e-3):
        assert replace(lattice, positions=lattice.positions + step * direction).energy < lattice.energy - 1e-9


def test_moduli_of_a_stable_packing_know_no_direction_in_which_the_energy_falls(packing):
    """All eigenvalues of the Hessian by numerical derivatives are positive but those of translations."""
    contacts, step = packing.backbone, 1e-6
    particles, ends = np.unique(contacts.pairs, return_inverse=True)
    first, second = ends.reshape(-1, 2).T
    reach = contacts.overlap + np.linalg.norm(contacts.vectors, axis=1)

    def gradient(u: np.ndarray) -> np.ndarray:
        moved = u.reshape(-1, packing.dim)
        vectors = contacts.vectors + moved[second] - moved[first]
        length = np.linalg.norm(vectors, axis=1)
        push = ((reach - length) / length)[:, None] * vectors
        out = np.zeros_like(moved)
        np.add.at(out, first, push)
        np.add.at(out, second, -push)
        return out.ravel()

    columns = step * np.eye(len(particles) * packing.dim)
    values = np.linalg.eigvalsh(np.array([gradient(e) - gradient(-e) for e in columns]) / (2 * step))
    assert np.abs(values[: packing.dim]).max() < 1e-7 < values[packing.dim]
    assert bulk_modulus(packing) > 0


def mixed(dim: int) -> Packing:
    """At a pressure high enough that the shear modulus and the prestress count."""
    mixture = Mixture(48, 0.7) if dim == 2 else Mixture(60, 0.6, 0.4, 3)
    return jam(mixture, generator(1, "moduli"), Protocol(pressure=3e-3, start_pressure=1e-2, tolerance=1e-9))


@pytest.fixture(scope="module", params=[2, 3])
def packing(request, elsewhere) -> Packing:
    return elsewhere(mixed, request.param)


def second_derivative(packing: Packing, deformation) -> float:
    """d^2 E / ds^2 of a box deformed by F(s), the particles following, from numerical derivatives of E alone."""
    contacts, step = packing.backbone, 1e-5
    particles, ends = np.unique(contacts.pairs, return_inverse=True)
    first, second = ends.reshape(-1, 2).T
    reach = contacts.overlap + np.linalg.norm(contacts.vectors, axis=1)
    n, dim = len(particles), packing.dim

    def gradient(u: np.ndarray, s: float) -> np.ndarray:
        moved = u.reshape(n, dim)
        vectors = contacts.vectors @ deformation(s).T + moved[second] - moved[first]
        length = np.linalg.norm(vectors, axis=1)
        push = ((reach - length) / length)[:, None] * vectors
        out = np.zeros((n, dim))
        np.add.at(out, first, push)
        np.add.at(out, second, -push)
        return out.ravel()

    def energy(s: float) -> float:
        return 0.5 * float(np.sum((reach - np.linalg.norm(contacts.vectors @ deformation(s).T, axis=1)) ** 2))

    rest = np.zeros(n * dim)
    columns = np.eye(n * dim) * step
    hessian = np.array([gradient(e, 0) - gradient(-e, 0) for e in columns]) / (2 * step)
    mixed_part = (gradient(rest, step) - gradient(rest, -step)) / (2 * step)
    wide = 1e-4
    curvature = (energy(wide) - 2 * energy(0) + energy(-wide)) / wide**2
    return curvature - mixed_part @ np.linalg.lstsq(hessian, mixed_part, rcond=1e-9)[0]


def test_moduli_are_second_derivatives_of_the_relaxed_energy(packing):
    """K from d^2 E / d(ln V)^2 = V (K - p); G from shears at constant volume, along and across the axes."""
    dim, volume = packing.dim, packing.volume
    along = second_derivative(packing, lambda s: np.exp(s / dim) * np.eye(dim))
    assert bulk_modulus(packing) == pytest.approx(along / volume + packing.pressure, rel=1e-4)

    found: dict[bool, list[float]] = {True: [], False: []}
    for a in range(dim):
        for b in range(a):
            strain = np.zeros((dim, dim))
            strain[a, b] = strain[b, a] = 1
            stretch = np.zeros((dim, dim))
            stretch[a, a], stretch[b, b] = 1, -1
            for turned, generator_of in ((True, strain), (False, stretch)):

                def deformation(s: float, m: np.ndarray = generator_of) -> np.ndarray:
                    values, vectors = np.linalg.eigh(m)
                    return vectors @ np.diag(np.exp(s / 2 * values)) @ vectors.T

                found[turned].append(second_derivative(packing, deformation) / volume)
    straight, across = np.mean(found[False]), np.mean(found[True])
    expected = (straight + across) / 2 if dim == 2 else (2 * straight + 3 * across) / 5
    assert shear_modulus(packing) == pytest.approx(expected, rel=1e-3)
    assert 0.01 < expected / bulk_modulus(packing) < 0.5


def test_the_acoustic_tensor_is_of_second_derivatives_along_a_plane_waves_strains(packing):
    dim = packing.dim
    direction = np.array([0.6, 0.8, 0.0])[:dim]
    tensor = acoustic_tensor(packing, direction)
    np.testing.assert_allclose(tensor, tensor.T, atol=1e-12)
    for along in (direction, np.array([0.8, -0.6, 0.0])[:dim], np.ones(dim) / np.sqrt(dim)):
        curvature = second_derivative(packing, lambda s, e=along: np.eye(dim) + s * np.outer(e, direction))
        assert along @ tensor @ along == pytest.approx(curvature / packing.volume, rel=1e-3, abs=1e-5)


def test_long_waves_in_all_directions_have_the_mean_moduli(packing):
    """K + 2 (D - 1) G / D along and G across, over 24 directions in a plane, or over the 26 of a cube's rule."""
    dim = packing.dim
    if dim == 2:
        angles = np.pi * np.arange(24) / 24
        directions, weights = np.column_stack([np.cos(angles), np.sin(angles)]), np.ones(24)
    else:  # exact for polynomials of degree 7 on the sphere (Stroud, 1971, U3: 7-1)
        directions = np.array([d for d in itertools.product((-1, 0, 1), repeat=3) if any(d)], float)
        weights = np.array([40, 32, 27])[(directions != 0).sum(axis=1) - 1] / 840.0
        directions /= np.linalg.norm(directions, axis=1)[:, None]
    tensors = np.array([acoustic_tensor(packing, one) for one in directions])
    along = np.einsum("di,dij,dj->d", directions, tensors, directions)
    across = (np.trace(tensors, axis1=1, axis2=2) - along) / (dim - 1)
    bulk, shear = bulk_modulus(packing), shear_modulus(packing)
    assert np.average(along, weights=weights) == pytest.approx(bulk + 2 * (dim - 1) / dim * shear, rel=1e-3)
    assert np.average(across, weights=weights) == pytest.approx(shear, rel=0.02)
    assert along.max() > 1.02 * along.min()  # it is a small packing


def test_partial_bulk_moduli_sum_to_the_whole(packing):
    parts = partial_bulk_moduli(packing)
    assert list(parts) == ["LL", "LS", "SS"]
    assert sum(parts.values()) == pytest.approx(bulk_modulus(packing), rel=1e-6)
    assert min(parts.values()) > 0


def squeezed(packing: Packing, step: float) -> Packing:
    """Relaxed by the engine at a packing fraction larger by the part `step`."""
    with Engine(packing.positions, packing.radii, packing.species, packing.box) as engine:
        engine.scale((1 + step) ** (-1 / packing.dim))
        engine.relax(1e-10 * force_scale(packing.pressure, packing.radii, packing.dim), 100_000)
        state = engine.state()
    return replace(packing, positions=state.positions, box=state.box)


def test_partial_bulk_moduli_are_how_the_partial_pressures_grow(elsewhere, packing):
    step = 1e-6
    less, more = (elsewhere(squeezed, packing, sign * step) for sign in (-1, 1))

    def pressure(packing: Packing, kind: str) -> float:
        c = packing.contacts
        lengths = np.linalg.norm(c.vectors, axis=1)
        return float((c.overlap * lengths)[c.kind == kind].sum() / (packing.dim * packing.volume))

    for kind, part in partial_bulk_moduli(packing).items():
        slope = (pressure(more, kind) - pressure(less, kind)) / (2 * step)
        assert part == pytest.approx(slope, rel=0.01, abs=0.002)


def test_the_virial_pressure_is_how_the_energy_falls_with_the_volume(packing):
    """-dE/dV at fixed relative positions, by a central difference of the energies of two boxes."""

    def energy(factor: float) -> float:
        return replace(packing, positions=packing.positions * factor, box=packing.box * factor).energy

    step = 1e-6
    rate = (energy(1 + step) - energy(1 - step)) / (
        packing.volume * ((1 + step) ** packing.dim - (1 - step) ** packing.dim)
    )
    assert packing.pressure == pytest.approx(-rate, rel=1e-5)
