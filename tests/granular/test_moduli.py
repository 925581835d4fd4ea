"""The bulk modulus against the closed forms of lattices; against strain, see test_jamming."""

from __future__ import annotations

import numpy as np
import pytest
from lattices import face_centred_cubic, triangular

from wavesim.errors import WavesimError
from wavesim.granular import Packing
from wavesim.granular.moduli import bulk_modulus


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


def test_particles_without_contacts_have_no_bulk_modulus():
    with pytest.raises(WavesimError, match="no contact"):
        bulk_modulus(triangular(1.01))
