"""Measurements on a packing, against closed forms and brute force. No engine."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lattices import face_centred_cubic, triangular

from wavesim.errors import WavesimError
from wavesim.granular import Packing


def two_disks(distance: float) -> Packing:
    """A small and a large disk across the periodic boundary, on a line at 30 degrees."""
    direction = np.array([np.sqrt(3) / 2, 0.5])
    positions = np.stack([np.array([0.05, 1.0]), np.array([0.05, 1.0]) - distance * direction]) % [4.0, 5.0]
    return Packing(positions, np.array([0.3, 0.5]), np.array([0, 1]), np.array([4.0, 5.0]))


def test_two_disks_have_the_energy_the_stress_and_the_forces_of_one_spring():
    packing, overlap, distance = two_disks(0.7), 0.1, 0.7
    normal = -np.array([np.sqrt(3) / 2, 0.5])
    assert packing.contacts.overlap == pytest.approx([overlap], rel=1e-12)
    assert packing.contacts.kind.tolist() == ["LS"]
    assert packing.energy == pytest.approx(overlap**2 / 2, rel=1e-12)
    assert packing.stress == pytest.approx(overlap * distance * np.outer(normal, normal) / 20, rel=1e-12)
    assert packing.pressure == pytest.approx(overlap * distance / 40, rel=1e-12)
    assert packing.forces == pytest.approx(np.stack([-overlap * normal, overlap * normal]), rel=1e-12)
    assert packing.phi == pytest.approx(np.pi * (0.3**2 + 0.5**2) / 20, rel=1e-12)
    assert packing.small_fraction == pytest.approx(9 / 34, rel=1e-12)


def test_two_disks_apart_carry_nothing():
    packing = two_disks(0.81)
    assert len(packing.contacts) == 0
    assert packing.energy == packing.pressure == packing.coordination == packing.coordination_all == 0
    assert packing.rattlers.all()
    assert not packing.balanced


@given(seed=st.integers(0, 2**32 - 1), dim=st.sampled_from([2, 3]), count=st.integers(2, 40), ratio=st.floats(0.1, 1.0))
def test_contacts_are_those_found_by_trying_every_image_of_every_pair(seed, dim, count, ratio):
    rng = np.random.default_rng(seed)
    box = rng.uniform(2.0, 4.0, dim)
    species = rng.integers(0, 2, count)
    radii = np.where(species == 0, ratio / 2, 0.5)
    # Positions outside the box and exactly on its border are the same particles as their images inside.
    positions = rng.choice([0.0, 1.0, -1e-18], (count, dim)) * box + rng.uniform(-1, 2, (count, dim)) * box
    positions[0] = -1e-18
    packing = Packing(positions, radii, species, box)

    images = np.array(list(itertools.product(range(-4, 5), repeat=dim))) * box
    expected = {}
    for i, j in itertools.combinations(range(count), 2):
        distance = np.linalg.norm(positions[j] - positions[i] + images, axis=1).min()
        if distance < radii[i] + radii[j]:
            expected[i, j] = radii[i] + radii[j] - distance
    found = packing.contacts
    assert [tuple(pair) for pair in found.pairs.tolist()] == sorted(expected)
    assert found.overlap == pytest.approx([expected[pair] for pair in sorted(expected)], abs=1e-12)
    kinds = ["".join(sorted("SL"[species[k]] for k in pair)) for pair in sorted(expected)]
    assert found.kind.tolist() == kinds


@pytest.mark.parametrize("spacing", [0.95, 0.999])
def test_a_lattice_has_the_pressure_of_its_closed_form(spacing):
    disks, spheres = triangular(spacing), face_centred_cubic(spacing)
    assert disks.pressure == pytest.approx(np.sqrt(3) * (1 - spacing) / spacing, rel=1e-10)
    assert spheres.pressure == pytest.approx(2 * np.sqrt(2) * (1 - spacing) / spacing**2, rel=1e-10)
    assert (disks.coordination, spheres.coordination) == (6, 12)
    assert disks.energy == pytest.approx(36 * 3 * (1 - spacing) ** 2 / 2, rel=1e-10)
    assert disks.balanced and spheres.balanced
    assert disks.rattler_fraction == spheres.rattler_fraction == 0


def test_a_rattler_that_leans_on_a_rattler_is_one():
    """In a vacancy, disk A touches two of the lattice and B; B touches A and one of the lattice. B goes, then A."""
    lattice = triangular(0.995)
    vacancy = 14
    centre = lattice.positions[vacancy]
    a = centre + 0.39 * np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    b = centre - np.array([0.16, 0.0])
    packing = Packing(
        np.concatenate([np.delete(lattice.positions, vacancy, axis=0), [a, b]]),
        np.append(np.full(35, 0.5), [0.2, 0.35]),
        np.append(np.ones(35, int), [0, 0]),
        lattice.box,
    )
    degree = np.bincount(packing.contacts.pairs.ravel(), minlength=37)
    assert degree[-2:].tolist() == [3, 2]
    assert np.flatnonzero(packing.rattlers).tolist() == [35, 36]
    assert packing.rattler_fraction == 2 / 37
    contacts = 3 * 36 - 6
    assert packing.coordination == 2 * contacts / 35
    assert packing.coordination_all == 2 * (contacts + 4) / 37


def test_a_packing_out_of_balance_is_told():
    lattice = triangular(0.99)
    moved = lattice.positions.copy()
    moved[0] += [1e-3, 0]
    packing = replace(lattice, positions=moved)
    assert packing.unbalanced_force > 1e-2
    assert not packing.balanced


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"box": np.array([1.9, 5.0])}, "two large diameters"),
        ({"radii": np.ones(3)}, "expected"),
        ({"positions": np.zeros((2, 4))}, "expected"),
        ({"box": np.ones(3) * 5}, "expected"),
    ],
)
def test_a_packing_that_cannot_be_is_refused(change, words):
    with pytest.raises(WavesimError, match=words):
        replace(two_disks(0.7), **change)
